"""The Riesz map of an inner product space: x as the functional <x, .>, and back."""

from __future__ import annotations

from .expressions import (
    Node,
    aligned,
    array_space,
    axes,
    axis,
    contraction,
    parts,
    tuple_of,
    variable,
)
from .sizes import Size
from .spaces import Gram, Product, Real


def riesz(x: Node, inverse: bool = False) -> Node:
    """The Riesz map: G x on every axis with a Gram matrix G, or G^-1 x for the inverse."""
    if isinstance(x.space, Product):
        return tuple_of(riesz(part, inverse) for part in parts(x))
    space = array_space(x, "the Riesz map")
    for number, gram in enumerate(space.grams):
        if gram is not None:
            x = _along(gram.inverse if inverse else gram, space, number, x)
    return x


def _along(gram: Gram, space: Real, number: int, x: Node) -> Node:
    """A Gram matrix applied on one axis."""
    other = axis(space.rank)
    read, to = axes(0, space.rank), list(axes(0, space.rank))
    to[number] = other
    extent = space.shape[number]
    form_ = aligned((*space.shape, extent), [(other, axis(number)), read, tuple(to)])
    return contraction(space, form_, 2, (gram_variable(gram, extent), x))


def gram_variable(gram: Gram, extent: Size) -> Node:
    """The Gram matrix, or its inverse, as given data."""
    name = gram.name + ("_inverse" if gram.inverted else "")
    return variable(name, Real((extent, extent), (None, None)))
