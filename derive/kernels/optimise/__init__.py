"""Passes over the statements of a kernel: each keeps what it computes."""
