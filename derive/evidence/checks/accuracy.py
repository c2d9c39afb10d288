"""Elementwise operations in NumPy against mpmath, in units in the last place."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import Any

import mpmath as mp
import numpy as np
import sympy

from ...language.expressions import Elementwise, Node
from ...language.reference import Array
from ...language.scalars.algebras import Multiprecision
from ...language.scalars.equalities import points_of
from ...language.scalars.fold import evaluate
from ...language.scalars.operations import Operation
from ...language.walk import topological
from ..proofs import quotients
from .findings import Finding

# exp(x) is finite, and normal or nearly so
RANGE: dict[type[Any], float] = {np.float64: 700.0, np.float32: 88.0}
ULPS = 4.0
DIGITS = 400  # 1 + erf(-38) loses 330 of them
SCALES = (3.0, 40.0)  # of points, besides the whole range; near 0 there are poles
NEAR_ZERO = 0.01


def operations_of(roots: Iterable[Node]) -> list[Operation]:
    """The operations of expressions with their first and second derivatives."""
    found = [node.operation for node in topological(*roots) if isinstance(node, Elementwise)]
    return list(dict.fromkeys(psi for own in found for psi in up_to_second_order(own)))


def up_to_second_order(psi: Operation) -> list[Operation]:
    """psi and its first and second derivatives, except constant ones."""
    found = [psi]
    for _ in range(2):
        found += [f.derivative(k) for f in found for k in range(len(psi.arguments))]
    return [f for f in dict.fromkeys(found) if not f.is_constant]


def findings(layer: str, roots: Iterable[Node]) -> Iterator[Finding]:
    """Every operation of a layer: 4 ulp for values, 4 eps of the largest for derivatives."""
    for psi in operations_of(roots):
        for dtype in RANGE:
            group = f"{psi.name} in {dtype.__name__}, ulp"
            yield Finding(layer, "values", group, worst_error(psi, dtype), ULPS)  # type: ignore[arg-type]
        if not sum(psi.orders):
            for place, error in quotients.errors(psi):
                yield Finding(layer, "values", place, error, quotients.NEAR)


@cache
def worst_error(psi: Operation, dtype: Any) -> float:
    """The largest error of NumPy's values, in ulp."""
    columns, exact = sample(psi, dtype)
    return float(np.max(errors(psi, columns, exact, psi(*columns)), initial=0.0))


def points(psi: Operation, dtype: type[Any], count: int = 16) -> list[Array]:
    """An array for each argument: large, moderate and tiny entries of both signs."""
    random = np.random.default_rng(len(psi.base))
    columns: list[Array] = []
    for _ in psi.arguments:
        parts = [random.uniform(-size, size, count) for size in (RANGE[dtype], *SCALES)]
        parts.append(10.0 ** random.uniform(-12, 0, count) * random.choice([-1, 1], count))
        parts.append(_beside_equalities(psi))
        columns.append(random.permutation(np.concatenate(parts)).astype(dtype))
    return columns


def _beside_equalities(psi: Operation) -> Array:
    """Numbers on and beside those where a branch is taken that holds at a single number."""
    places = [float(point.c) for point in points_of(psi.body) if point.c.is_number]
    steps = (0, 1e-3, -1e-3, 1e-6, -1e-6)
    return np.array([place + step for place in dict.fromkeys(places) for step in steps])


def sample(psi: Operation, dtype: type[Any]) -> tuple[list[Array], list[Any]]:
    """Points where psi is real and in the range of the dtype, and its exact values there.

    If psi is not real at most points of both signs, such as log and sqrt, absolute values are used.
    """
    columns = points(psi, dtype)
    if sum(_is_inside(value, dtype) for value in _exactly(psi, columns)) < columns[0].size * 3 / 4:
        columns = [abs(column) for column in columns]
    exact = _exactly(psi, columns)
    inside = [_is_inside(value, dtype) for value in exact]
    kept = [np.ascontiguousarray(column[inside]) for column in columns]
    return kept, [value for value, holds in zip(exact, inside, strict=True) if holds]


def _is_inside(value: Any, dtype: type[Any]) -> bool:
    return bool(mp.im(value) == 0 and abs(value) < float(np.finfo(dtype).max) / 2)


def _exactly(psi: Operation, columns: Sequence[Array]) -> list[Any]:
    return [exactly(psi, psi.body, row, DIGITS) for row in zip(*columns, strict=True)]


def exactly(psi: Operation, expression: sympy.Expr, row: Sequence[Any], digits: int) -> Any:
    """An expression in psi's arguments at given numbers, in multiple precision."""
    with mp.workdps(digits):
        return evaluate(expression, dict(zip(psi.arguments, row, strict=True)), Multiprecision())


def spacing(exact: Any, dtype: type[Any]) -> Any:
    """The spacing of floats at a number; below the normal range, that of subnormal numbers."""
    info = np.finfo(dtype)
    exponent = max(mp.frexp(exact)[1] - 1 if exact else info.minexp, info.minexp)
    return mp.ldexp(1, int(exponent) - info.nmant)


def errors(psi: Operation, columns: Sequence[Array], exact: Sequence[Any], values: Array) -> Array:
    """Errors in ulp; for a derivative in eps of the largest absolute value nearby, if larger.

    Nearby are the points that lie no further out: within 3, within 40, within the whole range; for
    a point near 0, where a derivative may have a pole, all points are.
    """
    dtype = values.dtype.type
    units = [spacing(value, dtype) for value in exact]
    if sum(psi.orders):
        eps, ranges = float(np.finfo(dtype).eps), _ranges(columns)
        sizes = list(zip(ranges, map(abs, exact), strict=True))
        largest = {r: max(size for other, size in sizes if other <= r) for r in set(ranges)}
        units = [max(u, eps * largest[r]) for u, r in zip(units, ranges, strict=True)]
    pairs = zip(values, exact, units, strict=True)
    return np.array([float(abs(mp.mpf(float(v)) - e) / unit) for v, e, unit in pairs])


def _ranges(columns: Sequence[Array]) -> list[int]:
    """How far out each point lies: 0, 1 or 2, and 3 for a point with an argument near 0."""
    sizes = np.abs(np.stack(columns))
    near = sizes.min(axis=0) < NEAR_ZERO
    return [int(r) for r in np.where(near, 3, np.digitize(sizes.max(axis=0), SCALES))]
