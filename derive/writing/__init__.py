"""LaTeX: how spaces, expressions and maps look on paper, and derivations as a person writes them.

The notation is the thesis's: W x, tanh'(z) (.) (W v), u x^T, hooks for bilinear maps; it is free of
coordinates, so that no component index is printed.  What is emitted compiles with amsmath and
amssymb alone and reads the same in a notebook.
"""
