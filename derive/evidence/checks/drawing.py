"""What is drawn at random: sizes, elements of spaces, Gram matrices.

All entries are numbers of float32, so that both precisions are checked at the same points.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice, permutations
from math import log2

import numpy as np
import sympy

from ...language.expressions import Variable
from ...language.reference import Array, Sizes, Value, extent, shape_of
from ...language.riesz import gram_variable
from ...language.spaces import Gram, Indices, Product, Real, Space, leaves
from ...models.layers import Layer
from ...models.programs import BATCH

SIGNED = (-1.0, 1.0)
MANY = 64  # entries of an array; in one with 16 times as many, each is half as large


class NoPoint(ValueError):
    """No point was found where a layer is finite and away from its kinks."""


@dataclass(frozen=True)
class Point:
    """Sizes, and the values of a layer's arguments and Gram matrices."""

    sizes: dict[sympy.Symbol, int]
    values: dict[Variable, Value]


def unequal_sizes(layer: Layer, first: int = 3) -> dict[sympy.Symbol, int]:
    """Different sizes from `first` on, at which every extent in the layer is at least 1.

    Raises NoPoint if there are none among the first thousand choices.
    """
    for start in range(first, first + 8):
        for chosen in islice(permutations(range(start, start + len(layer.sizes))), 120):
            sizes = dict(zip(layer.sizes, chosen, strict=True))
            if layer.fits(sizes):
                return sizes
    raise NoPoint(f"layer {layer.name}: no sizes from {first} on make every extent at least 1")


def equal_sizes(layer: Layer, number: int) -> dict[sympy.Symbol, int] | None:
    """All sizes equal to that number; None if an extent would be below 1."""
    sizes = dict.fromkeys(layer.sizes, number)
    return sizes if layer.fits(sizes) else None


def uniform(
    random: np.random.Generator, shape: tuple[int, ...], between: tuple[float, float]
) -> Array:
    """Numbers of float32, as float64."""
    return random.uniform(*between, shape).astype(np.float32).astype(np.float64)


def draw(
    random: np.random.Generator,
    space: Space,
    sizes: Sizes,
    between: tuple[float, float] = SIGNED,
) -> Value:
    """A random element of a space; class indices are in their range.

    The entries of a large array are smaller, so that sums over it stay where psi is curved.
    """
    if isinstance(space, Product):
        return tuple(draw(random, factor, sizes, between) for factor in space.factors)
    assert isinstance(space, (Real, Indices))
    if isinstance(space, Indices):
        return random.integers(0, int(space.bound.subs(sizes)), shape_of(space, sizes))
    share = 2.0 ** -round(log2(max(1.0, extent(_own(space), sizes) / MANY)) / 4)
    return share * uniform(random, shape_of(space, sizes), between)


def _own(space: Real) -> sympy.Expr:
    """The number of entries of one point of a batch."""
    return sympy.Mul(*(size for size in space.shape if size != BATCH))


def grams_of(layer: Layer) -> dict[Gram, sympy.Expr]:
    """The Gram matrices of a layer's spaces, none inverted, with the extents of their axes."""
    spaces = [*(argument.variable.space for argument in layer.arguments), layer.output.space]
    real = [leaf for space in spaces for leaf in leaves(space) if isinstance(leaf, Real)]
    pairs = [pair for leaf in real for pair in zip(leaf.grams, leaf.shape, strict=True)]
    return {(g.inverse if g.inverted else g): extent for g, extent in pairs if g is not None}


def gram_values(random: np.random.Generator, layer: Layer, sizes: Sizes) -> dict[Variable, Value]:
    """G = L L^T and its inverse for a unit lower triangular L of whole numbers: both are exact."""
    values: dict[Variable, Value] = {}
    for gram, axis in grams_of(layer).items():
        order = int(axis.subs(sizes))
        lower = np.eye(order) + np.tril(random.integers(-1, 2, (order, order)), -1)
        inverse = np.rint(np.linalg.inv(lower))
        for side, matrix in ((gram, lower @ lower.T), (gram.inverse, inverse.T @ inverse)):
            name = gram_variable(side, axis)
            assert isinstance(name, Variable)
            values[name] = matrix
    return values
