"""The real symbols that stand for the components of variables, Gram matrices among them."""

from __future__ import annotations

from typing import Any

import numpy as np
import sympy

from ...language.expressions import Node
from ...language.reference import Sizes, shape_of
from ...language.spaces import Gram, Product, Real, Space, leaves

Value = Any  # an object array of SymPy expressions, or a tuple of values


def flat_components(value: Value) -> list[sympy.Expr]:
    """All components in order."""
    if isinstance(value, tuple):
        return [entry for part in value for entry in flat_components(part)]
    return list(value.ravel())


def symbols_of(name: str, space: Space, sizes: Sizes, symmetric: bool = False) -> Value:
    """The real symbols name_0_1, .. that stand for a variable's components."""
    if isinstance(space, Product):
        return tuple(
            symbols_of(f"{name}_{k}_", factor, sizes) for k, factor in enumerate(space.factors)
        )
    assert isinstance(space, Real)
    array = np.empty(shape_of(space, sizes), dtype=object)
    for place in np.ndindex(*array.shape):
        shown = sorted(place) if symmetric else place
        array[place] = sympy.Symbol("_".join([name, *map(str, shown)]), real=True)
    return array


def gram_matrix(gram: Gram, count: int) -> sympy.Matrix:
    """The Gram matrix, or its inverse, in symbols."""
    space = Real((sympy.Integer(count),) * 2, (None, None))
    matrix = sympy.Matrix(symbols_of(gram.name, space, {}, symmetric=True).tolist())
    return matrix.inv(method="ADJ") if gram.inverted else matrix


def gram_names(nodes: list[Node]) -> dict[str, Gram]:
    found: dict[str, Gram] = {}
    for node in nodes:
        for leaf in leaves(node.space):
            for gram in leaf.grams if isinstance(leaf, Real) else ():
                if gram is not None:
                    found[gram.name] = Gram(gram.name)
                    found[f"{gram.name}_inverse"] = Gram(gram.name, inverted=True)
    return found
