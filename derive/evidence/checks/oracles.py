"""Numerical oracles: inner products, central differences and slopes of remainders, by NumPy alone.

They only evaluate expressions, by the reference, and use nothing of the calculus.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ...language.expressions import Node, Variable
from ...language.reference import Array, Value, values_of
from ...language.riesz import gram_variable
from ...language.spaces import Product, Real, Space
from .drawing import Point
from .findings import EPS, Finding, largest, vector
from .kinks import same_side
from .rounding import values_and_bounds

STEP = 6e-6  # eps**(1/3) balances rounding and truncation of a central difference: 1.6e-11 on tanh
TRUNCATION = 100 * STEP**2  # h^2/6 |f'''|, for f''' up to 600 times as large as the difference
STEPS = tuple(10.0 ** (-k / 2) for k in range(3, 10))  # half decades, 3e-2 to 3e-5
ABOVE_ROUNDING = 100.0  # a remainder so far above round-off gives its slope to 1 %

Values = Mapping[Variable, Value]
Directions = Mapping[Variable, Value]


def moved(x: Value, h: complex, v: Value) -> Value:
    """x + h v."""
    if isinstance(x, tuple):
        return tuple(moved(a, h, b) for a, b in zip(x, v, strict=True))
    return x + h * v


def moved_point(point: Point, h: complex, along: Directions) -> Point:
    """The point with some values moved by h along their directions."""
    there = {x: moved(point.values[x], h, v) for x, v in along.items()}
    return Point(point.sizes, {**point.values, **there})


# --- inner products


def riesz(space: Space, value: Value, values: Values) -> Value:
    """G x: the Gram matrix of each axis applied, with <x, y> = x . G y."""
    if isinstance(space, Product):
        return tuple(riesz(s, v, values) for s, v in zip(space.factors, value, strict=True))
    assert isinstance(space, Real)
    for axis, (gram, extent) in enumerate(zip(space.grams, space.shape, strict=True)):
        if gram is not None:
            matrix = values[gram_variable(gram, extent)]  # type: ignore[index]
            value = np.moveaxis(np.tensordot(matrix, value, (1, axis)), 0, axis)
    return value


@dataclass(frozen=True)
class Pairing:
    """<u, y>, the bound of its rounding error in eps, and the sum of its terms' absolute values."""

    value: float
    bound: float
    terms: float

    def __add__(self, other: Pairing) -> Pairing:
        return Pairing(self.value + other.value, self.bound + other.bound, self.terms + other.terms)

    def against(self, other: Pairing, layer: str, law: str, group: str) -> Finding:
        """Both are the same number, relative to the sum of absolute values, which is not near 0."""
        scale = max(self.terms, other.terms) or 1.0
        tolerance = EPS * (self.bound + other.bound) / scale
        return Finding(layer, law, group, abs(self.value - other.value) / scale, tolerance)


def pairing(space: Space, u: Value, found: tuple[Value, Value], values: Values) -> Pairing:
    """<u, y> in the inner product of the space, for a value y with its bound."""
    weights, y, bound = vector(riesz(space, u, values)), vector(found[0]), vector(found[1])
    terms = float(abs(weights) @ abs(y))
    operations = y.size + 4  # the sum, and products by the integers of a Gram matrix
    return Pairing(float(weights @ y), float(abs(weights) @ bound) + operations * terms, terms)


# --- differences


def quotients(roots: Sequence[Node], point: Point, along: Directions) -> list[tuple[Array, float]]:
    """(e(x + h v) - e(x - h v)) / 2h of expressions e, and the error allowed to each.

    Rounding: that of e, and that of x + h v, carried on by De.  Truncation: h^2/6 times the third
    derivative, and terms of order h^4.  With a step of 2h the first is four times as large, so that
    the two quotients differ by three times the truncation error.  All of this difference is
    allowed, a third for the truncation and the rest for the terms of higher order.
    """
    off = {x: _rounded(point.values[x]) for x in along}
    at_x = values_and_bounds(roots, point.values, point.sizes, off)
    near, wide = (_central(roots, point, h, along) for h in (STEP, 2 * STEP))
    found = []
    for (value, rounding), quotient, wider in zip(at_x, near, wide, strict=True):
        smooth = TRUNCATION * max(largest(quotient), largest(vector(value)))
        truncation = max(smooth, largest(wider - quotient))
        found.append((quotient, EPS * largest(rounding) / STEP + truncation))
    return found


def _central(roots: Sequence[Node], point: Point, h: float, along: Directions) -> list[Array]:
    above, below = (
        values_of(roots, there.values, there.sizes)
        for there in (moved_point(point, h, along), moved_point(point, -h, along))
    )
    return [(vector(a) - vector(b)) / (2 * h) for a, b in zip(above, below, strict=True)]


def _rounded(x: Value) -> Value:
    """The rounding error of x + h v in eps: half a unit in the last place."""
    return tuple(map(_rounded, x)) if isinstance(x, tuple) else abs(x) / 2


def slope(output: Node, point: Point, along: Directions, terms: Sequence[Array]) -> float:
    """The slope of log |f(x + h v) - f(x) - h t_1 - h^2 t_2 - ..| over log |h|.

    Infinite if the remainder is below round-off.  The larger slope of both signs of h is taken, as
    two terms of a series cannot cancel for both.
    """
    ((f, bound),) = values_and_bounds([output], point.values, point.sizes)
    rounding = EPS * (largest(bound) + largest(f) + sum(map(largest, terms)))
    kept = []
    for h in STEPS:
        both = [moved_point(point, sign * h, along) for sign in (1, -1)]
        if all(same_side(output, point, there) for there in both):
            signed = zip((h, -h), both, strict=True)
            remainder = max(_remainder(output, there, vector(f), s, terms) for s, there in signed)
            if remainder > ABOVE_ROUNDING * rounding:
                kept.append((np.log(h), np.log(remainder)))
    if len(kept) < 2:
        return np.inf
    near = np.array(kept[-4:])
    return float(np.polyfit(near[:, 0], near[:, 1], 1)[0])


def _remainder(output: Node, there: Point, f: Array, h: float, terms: Sequence[Array]) -> float:
    (moved_f,) = values_of([output], there.values, there.sizes)
    series = sum(h ** (k + 1) * term for k, term in enumerate(terms))
    return largest(vector(moved_f) - f - series)
