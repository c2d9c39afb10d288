"""Numerical checks of a layer's maps, programs and kernels."""
