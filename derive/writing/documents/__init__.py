"""Whole documents: of a layer, of a network, of a chapter, for a notebook."""
