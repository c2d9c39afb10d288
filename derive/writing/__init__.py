"""LaTeX: spaces, expressions and maps on paper, and derivations as a person would write them.

The notation is that of the thesis: W x, tanh'(z) (.) (W v), u x^T, hooks for bilinear maps.  It is
free of coordinates: no component index is printed.  The output needs only amsmath and amssymb, and
reads the same in a notebook.
"""
