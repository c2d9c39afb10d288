"""Derivations and texts that several tests read, each made once in a process."""

from dataclasses import fields
from functools import cache, cached_property

from derive.kernels.printing.cython.emit import Emitted, emit
from derive.models.layers import Layer
from derive.writing.documents.document import Document, derivation


class Kept(Document):
    """A derivation that is typeset once, however often it is read; that takes longest of all."""

    views = cached_property(Document.views.fget)
    tex = cached_property(Document.tex.fget)


@cache
def derived(layer: Layer) -> Document:
    """The derivation of a layer; for tests that change nothing that it is made with."""
    made = derivation(layer)
    return Kept(**{field.name: getattr(made, field.name) for field in fields(made)})


@cache
def emitted(layer: Layer) -> Emitted:
    """The texts of a layer's kernels; for tests of what is done with them."""
    return emit(layer)
