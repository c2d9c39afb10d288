"""Kernels run in Python, statement by statement, behind the same edge."""
