"""From a program's expressions to the text of a Cython module."""
