"""What emitted kernels stand on: elementary functions, products, and the checked edge to Python."""
