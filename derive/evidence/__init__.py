"""Proofs and numerical checks that formula, reference, kernels and differences agree."""
