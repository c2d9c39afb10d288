"""Derivatives at the points where a branch on an equality is taken: no random point meets them.

The differential quotient of the body around such a point, in multiple precision, against the body
of the derivative there.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import mpmath as mp
import sympy

from ...language.scalars.algebras import Multiprecision
from ...language.scalars.equalities import Point, points_of
from ...language.scalars.fold import evaluate
from ...language.scalars.operations import Operation

DIGITS = 200
STEP = 1e-20
NEAR = 1e-12  # a difference is off by STEP^2; of 200 digits (e^t - 1 - t)/t^2 and STEP cancel 60


def errors(psi: Operation) -> Iterator[tuple[str, float]]:
    """What each derivative to the second is off by where an equality holds, by its place."""
    for f in (psi, *_derivatives(psi)):
        for k, x in enumerate(psi.arguments):
            for point in dict.fromkeys(points_of(f.body)):
                derived = f.derivative(k)
                yield f"{derived.name} at {point.x} = {point.c}", _error(f, derived, x, point)


def _derivatives(psi: Operation) -> list[Operation]:
    return [psi.derivative(k) for k in range(len(psi.arguments))]


def _error(f: Operation, derived: Operation, x: sympy.Symbol, point: Point) -> float:
    """Relative to the derivative where that is large."""
    with mp.workdps(DIGITS):
        at = _place(f, point)
        above, below = (_value(f, {**at, x: at[x] + h}) for h in (mp.mpf(STEP), -mp.mpf(STEP)))
        quotient, found = (above - below) / (2 * mp.mpf(STEP)), _value(derived, at)
        error = abs(quotient - found) / (1 + abs(quotient))
        return float(error) if mp.isfinite(error) else mp.inf


def _place(f: Operation, point: Point) -> dict[sympy.Symbol, Any]:
    """A point on the equality, the other arguments somewhere."""
    others = {y: mp.mpf(k + 2) / 7 for k, y in enumerate(f.arguments) if y != point.x}
    return {**others, point.x: evaluate(point.c, others, Multiprecision())}


def _value(f: Operation, at: dict[sympy.Symbol, Any]) -> Any:
    return evaluate(f.body, at, Multiprecision())
