"""Whole documents: of a layer, a network or a chapter, as LaTeX or for a notebook."""
