"""From statements to the text of a Cython module."""
