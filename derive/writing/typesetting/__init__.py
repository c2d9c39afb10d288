"""Spaces, expressions and maps in LaTeX."""
