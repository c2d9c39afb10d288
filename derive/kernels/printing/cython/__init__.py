"""Kernels as Cython modules."""
