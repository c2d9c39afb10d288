"""Kernels as plain C99 functions."""
