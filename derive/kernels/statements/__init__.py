"""The statements a kernel is made of."""
