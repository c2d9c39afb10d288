"""Derivations that several files read, each made once."""

from functools import cache

from derive.latex.document import Document, derivation
from derive.layers import Layer


@cache
def derived(layer: Layer) -> Document:
    """The derivation of a layer; for tests that change nothing that it is made with."""
    return derivation(layer)
