"""Exact proofs: components in SymPy, and zero tests at random points of prime fields."""
