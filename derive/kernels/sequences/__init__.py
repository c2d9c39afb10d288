"""Kernels over whole sequences, made of those of a step."""
