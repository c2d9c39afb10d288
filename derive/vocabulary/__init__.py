"""The words of formulas: functions, products, convolution, pooling, and their laws."""
