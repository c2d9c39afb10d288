"""Whether two expressions differ in value at a drawn point, to hundreds of digits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

import mpmath as mp
import numpy as np

from ...calculus.maps import variables_of
from ...language.expressions import Node, Variable
from ...language.reference import Array, Sizes, Value, shape_of
from ...language.spaces import Product, Real, Space
from ...language.walk import topological
from .edge_points import DIGITS, exactly
from .symbols import gram_names

Indexed: TypeAlias = "dict[Variable, Array]"
SCALES = (1.0, 1e-3, 20.0)  # of random entries; 1 + erf(-30) loses only 390 of DIGITS
FEW = 60  # digits for a first look; a difference counts only if more digits confirm it
APART = mp.mpf(10) ** -9  # a relative difference: far above the rounding of DIGITS


def are_apart(left: Node, right: Node, sizes: Sizes, indexed: Indexed, seed: int) -> bool:
    """Whether their values at a random point differ, or only one of them has a value there.

    More digits must confirm it, since a difference due to rounding then disappears.
    """
    return any(
        all(
            _places_apart(left, right, point, sizes, digits) for digits in (FEW, DIGITS, 2 * DIGITS)
        )
        for point in _points(left, right, sizes, indexed, seed)
    )


def _places_apart(
    left: Node, right: Node, point: Mapping[Variable, Value], sizes: Sizes, digits: int
) -> set[int]:
    pair = exactly([left, right], point, sizes, digits)
    with mp.workdps(digits):
        return {k for k, (a, b) in enumerate(zip(*pair, strict=True)) if _is_other(a, b)}


def _is_other(a: Any, b: Any) -> bool:
    """Two numbers that differ, or a number and NaN; an infinity may be due to rounding."""
    if mp.isfinite(a) and mp.isfinite(b):
        return bool(abs(a - b) > APART * (1 + abs(a)))
    return bool(mp.isfinite(a) and mp.isnan(b)) or bool(mp.isnan(a) and mp.isfinite(b))


def _points(
    left: Node, right: Node, sizes: Sizes, indexed: Indexed, seed: int
) -> Iterator[dict[Variable, Value]]:
    """Points with moderate, small and large entries: of both signs, negated, and positive."""
    variables, random = variables_of(left, right), np.random.default_rng(seed)
    grams = gram_names(topological(left, right))
    for scale in SCALES:
        drawn = {x: _drawn(x.space, sizes, random, scale) for x in variables if x not in indexed}
        for turn in (lambda v: v, np.negative, np.abs):
            point = {x: _turned(turn, value) for x, value in drawn.items()}
            point |= {
                x: np.eye(len(drawn[x])) * (0.5 if grams[x.name].inverted else 2.0)
                for x in drawn
                if x.name in grams
            }
            yield point | indexed


def _drawn(space: Space, sizes: Sizes, random: np.random.Generator, scale: float) -> Value:
    if isinstance(space, Product):
        return tuple(_drawn(factor, sizes, random, scale) for factor in space.factors)
    assert isinstance(space, Real)
    shape = shape_of(space, sizes)
    return scale * random.uniform(0.5, 1.5, shape) * random.choice([-1.0, 1.0], shape)


def _turned(turn: Any, value: Value) -> Value:
    return tuple(_turned(turn, v) for v in value) if isinstance(value, tuple) else turn(value)
