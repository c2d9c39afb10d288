"""Whether a formula keeps its digits: values in floating point against multiple precision.

At a few fixed points from 1e-8 to 800, of both signs, beside equalities, in float32 and float64;
for the function and its derivatives to the second.  An error as large as the change by a rounding
of an argument is allowed.  For a function of one argument and its derivative also where a square
overflows. A form given beside the formula is refused where it is another function.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import mpmath as mp
import numpy as np
import sympy

from .algebras import Rows
from .equalities import points_of
from .fold import evaluate
from .operations import Operation, OperationError


class AccuracyWarning(UserWarning):
    """An elementwise function whose formula loses its digits or overflows somewhere."""


SIZES = (1e-8, 1e-4, 0.01, 0.3, 1.0, 2.5, 6.0, 15.0, 36.0, 80.0, 300.0, 800.0)
SEVERAL = SIZES[1:10]  # for several arguments: their products reach further
BESIDE = (1e-3, 1e-6, 1e-9)  # how near to an equality
DIGITS, MORE_DIGITS = 50, 400  # 400 where 50 do not confirm: 1 + erf(-36) cancels 280
FAR = (1e200, 2e19)  # in float64, in float32
ROUNDINGS = 1024  # of eps: three digits, beside what a rounding of an argument changes
ORDINARY = (0.29, 0.71, 1.13, 1.87, 2.61)  # and their negatives: kinks are rarely there
ANOTHER = 1e-5  # relative to 1 and more: a series cut for float32 is nearer
DTYPES = (np.float64, np.float32)
Array = np.ndarray[Any, Any]
Columns = Sequence[Array]


@dataclass(frozen=True)
class Loss:
    """Where a value is wrong: of which derivative, at which arguments, in which dtype."""

    psi: Operation
    at: tuple[float, ...]
    dtype: np.dtype[Any]
    found: float
    exact: float

    def __str__(self) -> str:
        names = (str(argument) for argument in self.psi.arguments)
        place = ", ".join(f"{name} = {x:.9g}" for name, x in zip(names, self.at, strict=True))
        order = sum(self.psi.orders)
        what = ("it", "its derivative", "its second derivative")[order]
        how = "overflows" if not np.isfinite(self.found) else "loses its digits"
        digits = 17 if self.dtype == np.float64 else 9
        fix = f"derivatives={{{_key(self.psi.orders)}: ..}}" if order else "stable=.."
        return (
            f"{self.psi.base}: at {place} in {self.dtype} {what} comes out as "
            f"{self.found:.{digits}g} and is {self.exact:.{digits}g}: the formula {how}; give a "
            f"form that does not as {fix}"
        )


def loss(psi: Operation) -> Loss | None:
    """The first loss of digits of an operation and its derivatives to the second, or None."""
    columns = _points(psi)
    first = [psi.derivative(k) for k in range(len(psi.arguments))]
    second = [f.derivative(k) for f in first for k in range(len(psi.arguments))]
    for f in dict.fromkeys([psi, *first, *second]):
        if not f.is_constant and (found := _loss(f, columns) or _far_loss(f)):
            return found
    return None


def _far_loss(psi: Operation) -> Loss | None:
    """Far out, where a value is below 1, the absolute error counts: 0 for 1e-200 is no loss.

    For a function of one argument and its derivative: a square of the argument overflows there.
    """
    if len(psi.arguments) > 1 or sum(psi.orders) > 1:
        return None
    for dtype, size in zip(DTYPES, FAR, strict=True):
        column = np.array([size, -size], dtype)
        exact = _exact(psi, [column], DIGITS)
        slack = [s + 1 for s in _slack(psi, [column], exact)]
        for x, found, value, more in zip(column, psi(column), exact, slack, strict=True):
            if _is_lost(found, value, more, dtype):
                return Loss(psi, (float(x),), found.dtype, float(found), float(value))
    return None


def check_given(psi: Operation) -> None:
    """Raises OperationError where `stable` or a derivative given is of another function.

    At a few ordinary points, in multiple precision; far out and beside equalities `loss` looks.
    """
    numbers = np.array([*ORDINARY, *(-x for x in ORDINARY)])
    columns = [np.roll(numbers, 3 * k) for k in range(len(psi.arguments))]
    declared = (psi.orders, psi.stable)
    for orders, given in (declared, *psi.stable_derivatives):
        with mp.workdps(DIGITS):
            found, exact = (_values(psi, f, columns) for f in (given, _own(psi, orders)))
            pairs = enumerate(zip(found, exact, strict=True))
            row = next((k for k, pair in pairs if _is_another(*pair)), None)
        if row is not None:
            raise OperationError(
                _other(psi, orders, [c[row] for c in columns], found[row], exact[row])
            )


def _own(psi: Operation, orders: tuple[int, ...]) -> sympy.Expr:
    """The formula's derivative of these orders."""
    for k, order in enumerate(orders):
        for _ in range(order):
            psi = psi.derivative(k)
    return psi.body


def _is_another(found: Any, exact: Any) -> bool:
    """Two numbers further apart than any approximation that is meant for float32."""
    both = mp.isfinite(found) and mp.isfinite(exact)
    return bool(both and abs(found - exact) > ANOTHER * (1 + abs(exact)))


def _other(
    psi: Operation, orders: tuple[int, ...], at: Sequence[float], found: Any, exact: Any
) -> str:
    place = ", ".join(f"{x} = {c:g}" for x, c in zip(psi.arguments, at, strict=True))
    what, own = "stable", "formula"
    if any(orders):
        what, own = f"derivatives[{_key(orders)}]", "formula's derivative"
    return (
        f"{psi.base}: {what} is another function: at {place} it is {float(found):.6g}, the {own} "
        f"is {float(exact):.6g}; give that one in a form that keeps its digits, or leave it out"
    )


def _key(orders: tuple[int, ...]) -> int | tuple[int, ...]:
    """The orders as they are given in `derivatives`."""
    return orders[0] if len(orders) == 1 else orders


def _points(psi: Operation) -> Columns:
    """A column for each argument, every number exact in float32."""
    near = [
        float(point.c) + sign * step
        for point in points_of(psi.body)
        if point.c.is_number
        for step in BESIDE
        for sign in (1, -1)
    ]
    sizes = SIZES if len(psi.arguments) == 1 else SEVERAL
    numbers = np.array([*near, *sizes, *(-size for size in sizes)], np.float32)
    columns = [np.roll(numbers, k * (len(sizes) + 2)) for k in range(len(psi.arguments))]
    values = _exact(psi, columns, DIGITS)
    if sum(map(mp.isfinite, values)) < len(values) * 3 / 4:
        columns = [abs(column) for column in columns]
    return columns


def _exact(psi: Operation, columns: Columns, digits: int) -> list[Any]:
    with mp.workdps(digits):
        return _values(psi, psi.body, columns)


def _values(psi: Operation, formula: sympy.Expr, columns: Columns) -> list[Any]:
    given = {x: column.tolist() for x, column in zip(psi.arguments, columns, strict=True)}
    values: list[Any] = evaluate(formula, given, Rows(columns[0].size))
    return values


def _loss(psi: Operation, columns: Columns) -> Loss | None:
    exact = _exact(psi, columns, DIGITS)
    slack = _slack(psi, columns, exact)
    for dtype in DTYPES:
        found = psi(*(column.astype(dtype) for column in columns))
        rows = _suspects(found, exact, slack)
        surely = _exact(psi, [column[rows] for column in columns], MORE_DIGITS) if rows else []
        for row, value in zip(rows, surely, strict=True):
            if _is_lost(found[row], value, slack[row], dtype):
                place = tuple(float(column[row]) for column in columns)
                return Loss(psi, place, found.dtype, float(found[row]), float(value))
    return None


def _suspects(found: Array, exact: list[Any], slack: list[Any]) -> list[int]:
    """The rows in which few digits do not confirm the value."""
    dtype = found.dtype.type
    rows = enumerate(zip(found, exact, slack, strict=True))
    return [k for k, row in rows if _is_lost(*row, dtype) or mp.isinf(row[1])]


def _is_lost(found: Any, exact: Any, slack: Any, dtype: Any) -> bool:
    """Further off than so many roundings, at an exact value that is in the dtype's range."""
    info = np.finfo(dtype)
    if not mp.isfinite(exact) or abs(exact) > float(info.max) / 2:
        return False
    if not np.isfinite(found):
        return True
    allowed = ROUNDINGS * float(info.eps) * (abs(exact) + slack) + float(info.tiny)
    return bool(abs(mp.mpf(float(found)) - exact) > allowed)


def _slack(psi: Operation, columns: Columns, exact: list[Any]) -> list[Any]:
    """What a rounding of the arguments changes, over eps; for a derivative also its size near 1.

    That is at least 1: where a derivative is small, its absolute error counts.
    """
    changes = [mp.mpf(0)] * len(exact)
    for k in range(len(psi.arguments) if sum(psi.orders) < 2 else 0):
        slopes = _exact(psi.derivative(k), columns, DIGITS)
        parts = (abs(float(x) * s) for x, s in zip(columns[k], slopes, strict=True))
        changes = [c + (p if mp.isfinite(p) else 0) for c, p in zip(changes, parts, strict=True)]
    if not sum(psi.orders):
        return changes
    near = (all(0.3 < abs(x) < 3 for x in row) for row in zip(*columns, strict=True))
    inner = [abs(e) for e, is_near in zip(exact, near, strict=True) if is_near and mp.isfinite(e)]
    largest = max(inner, default=mp.mpf(1))
    return [c + max(largest, 1) for c in changes]
