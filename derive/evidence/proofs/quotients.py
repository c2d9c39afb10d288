"""Derivatives at points where a branch on an equality is taken, which no random point hits.

The difference quotient of the body around such a point, in multiple precision, is compared with the
body of the derivative there.
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
NEAR = 1e-12  # a difference has the error STEP^2; (e^t - 1 - t)/t^2 and STEP lose 60 of 200 digits


def errors(psi: Operation) -> Iterator[tuple[str, float]]:
    """The errors of the first and second derivatives where an equality holds, by place."""
    for f in (psi, *_derivatives(psi)):
        for k, x in enumerate(psi.arguments):
            for point in dict.fromkeys(points_of(f.body)):
                derived = f.derivative(k)
                yield f"{derived.name} at {point.x} = {point.c}", _error(f, derived, x, point)


def _derivatives(psi: Operation) -> list[Operation]:
    return [psi.derivative(k) for k in range(len(psi.arguments))]


def _error(f: Operation, derived: Operation, x: sympy.Symbol, point: Point) -> float:
    """The error, relative to the derivative if that is large."""
    with mp.workdps(DIGITS):
        at = _place(f, point)
        above, below = (_value(f, {**at, x: at[x] + h}) for h in (mp.mpf(STEP), -mp.mpf(STEP)))
        quotient, found = (above - below) / (2 * mp.mpf(STEP)), _value(derived, at)
        error = abs(quotient - found) / (1 + abs(quotient))
        return float(error) if mp.isfinite(error) else mp.inf


def _place(f: Operation, point: Point) -> dict[sympy.Symbol, Any]:
    """A point on the equality, with arbitrary values of the other arguments."""
    others = {y: mp.mpf(k + 2) / 7 for k, y in enumerate(f.arguments) if y != point.x}
    return {**others, point.x: evaluate(point.c, others, Multiprecision())}


def _value(f: Operation, at: dict[sympy.Symbol, Any]) -> Any:
    return evaluate(f.body, at, Multiprecision())
