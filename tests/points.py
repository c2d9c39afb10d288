"""Points at which the laws are tested: seeded arrays of a space, and inner products of them."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from derive.language.expressions import Node, Variable
from derive.language.reference import flat_arrays, shape_of
from derive.language.spaces import Indices, Product, Space
from derive.language.walk import topological

EPS = float(np.finfo(np.float64).eps)


def draw(space: Space, sizes: Any, rng: np.random.Generator) -> Any:
    """A normal array of the space, class indices below their bound, a tuple for a product."""
    if isinstance(space, Product):
        return tuple(draw(factor, sizes, rng) for factor in space.factors)
    shape = shape_of(space, sizes)
    if isinstance(space, Indices):
        return rng.integers(0, int(space.bound.subs(sizes)), shape)
    return rng.normal(size=shape)


def draw_all(nodes: Iterable[Node], sizes: Any, seed: int = 0) -> dict[Variable, Any]:
    """A value for every variable of the expressions."""
    rng = np.random.default_rng(seed)
    variables = (node for node in topological(*nodes) if isinstance(node, Variable))
    return {x: draw(x.space, sizes, rng) for x in variables}


def pairing(a: Any, b: Any) -> float:
    """The standard inner product of two values."""
    return sum(np.vdot(x, y) for x, y in zip(flat_arrays(a), flat_arrays(b), strict=True))


def moved(value: Any, direction: Any, step: complex) -> Any:
    """value + step direction."""
    if isinstance(value, tuple):
        return tuple(moved(v, d, step) for v, d in zip(value, direction, strict=True))
    return value + step * direction


def close(a: Any, b: Any, factor: float) -> bool:
    """Every entry within factor * EPS of the largest entry of the group."""
    pairs = list(zip(flat_arrays(a), flat_arrays(b), strict=True))
    largest = max((np.abs(y).max(initial=0.0) for _, y in pairs), default=0.0)
    shapes = all(x.shape == y.shape for x, y in pairs)
    return shapes and all(np.all(np.abs(x - y) <= factor * EPS * largest) for x, y in pairs)
