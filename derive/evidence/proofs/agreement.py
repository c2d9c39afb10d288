"""Whether two formulas agree as numbers, to many digits, where a proof in a field can't decide.

The field does not know that the logarithm of a product is a sum of logarithms, but laws by which
formulas are rewritten rely on it.  Each law is proved by itself; that the whole rewritten formula
equals the declared one is measured here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import mpmath as mp
import numpy as np
import sympy

from ...language.scalars.algebras import Multiprecision
from ...language.scalars.fold import evaluate

DIGITS = 60
POINTS = 4  # with entries of both signs, and as many with positive entries


def disagreement(
    left: Sequence[sympy.Expr], right: Sequence[sympy.Expr], seed: int = 0
) -> int | None:
    """The first component in which the two differ by more than half of the digits, or None.

    Points at which the left side is not a real number are skipped; if there are no others, the two
    are taken to differ.

    >>> x = sympy.Symbol("x", real=True)
    >>> disagreement([sympy.log(x**2)], [2 * sympy.log(sympy.Abs(x))])
    >>> disagreement([x, x], [x, 1 / x])
    1
    """
    symbols = sorted({s for e in (*left, *right) for s in e.free_symbols}, key=str)
    with mp.workdps(DIGITS):
        points = list(_points(symbols, seed))
        pairs = enumerate(zip(left, right, strict=True))
        return next((k for k, pair in pairs if not _agree(*pair, points)), None)


def _points(symbols: Sequence[sympy.Symbol], seed: int) -> Iterator[dict[sympy.Symbol, Any]]:
    rng = np.random.default_rng(seed)
    for number in range(2 * POINTS):
        entries = rng.normal(size=len(symbols))
        shown = entries if number < POINTS else np.abs(entries)
        yield {s: mp.mpf(float(x)) for s, x in zip(symbols, shown, strict=True)}


def _agree(
    left: sympy.Expr, right: sympy.Expr, points: Sequence[Mapping[sympy.Symbol, Any]]
) -> bool:
    values = [
        [evaluate(side, point, Multiprecision()) for side in (left, right)] for point in points
    ]
    real = [(a, b) for a, b in values if mp.isfinite(a)]
    allowed = mp.mpf(10) ** (-DIGITS // 2)
    return bool(real) and all(abs(a - b) <= allowed * (1 + abs(a)) for a, b in real)
