"""Limits of scalar expressions at a point: by series, by SymPy, and checked by numbers near by."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import mpmath as mp
import sympy
from sympy import Piecewise

from .algebras import Multiprecision
from .fold import evaluate
from .scalars import ScalarError

NEAR = sympy.Rational(1, 10**12)
DIGITS = 60


class NotContinued(ValueError):
    """No smooth continuation; the message says where, and what to write."""


@cache
def limit(expression: sympy.Expr, x: sympy.Symbol, c: sympy.Expr) -> sympy.Expr:
    """The finite limit at x = c from both sides, by SymPy, and held against numbers near by."""
    found = {side: _one_sided(expression, x, c, side) for side in "+-"}
    if not same(found["+"], found["-"]):
        raise NotContinued(
            f"at {x} = {c} there is a branch of its own, and around it {expression} has the limits "
            f"{found['-']} from below and {found['+']} from above; write it with <, <=, >, >="
        )
    return found["+"]


def _one_sided(expression: sympy.Expr, x: sympy.Symbol, c: sympy.Expr, side: str) -> sympy.Expr:
    h = sympy.Dummy("h", positive=True)
    branch = _branch_at(expression, x, c + (NEAR if side == "+" else -NEAR))
    moved = branch.xreplace({x: c + h if side == "+" else c - h})
    try:
        found = _quotient_of_series(branch, x, c)
        if found is None:
            found = sympy.limit(moved, h, 0, "+")
        finite = found.is_finite and found.is_extended_real is not False
        if finite and not found.has(sympy.Limit) and _is_near(moved, h, found):
            return found
    except (NotImplementedError, ValueError, TypeError, ScalarError, sympy.PoleError):
        pass
    raise NotContinued(
        f"at {x} = {c} there is a branch of its own, and no finite limit of {branch} there is "
        "found; write it with <, <=, >, >=, so that it is a kink with a derivative on one side"
    )


def _quotient_of_series(
    expression: sympy.Expr, x: sympy.Symbol, c: sympy.Expr
) -> sympy.Expr | None:
    """The limit by the first derivatives of numerator and denominator that do not vanish at c."""
    above, below = sympy.together(expression).as_numer_denom()
    for _ in range(9):
        top, bottom = above.xreplace({x: c}), below.xreplace({x: c})
        if not (top.is_finite and bottom.is_finite):
            return None
        if not same(bottom, sympy.S.Zero):
            return top / bottom
        if not same(top, sympy.S.Zero):
            return None
        above, below = sympy.diff(above, x), sympy.diff(below, x)
    return None


def _branch_at(expression: sympy.Expr, x: sympy.Symbol, at: sympy.Expr) -> sympy.Expr:
    """The expression with the branches that are taken at a point."""

    def taken(piecewise: Piecewise) -> sympy.Expr:
        for value, condition in piecewise.args:
            here = condition.xreplace({x: at})
            if here is sympy.true:
                return value
            if here is not sympy.false:
                return piecewise
        return sympy.nan

    return expression.replace(lambda node: isinstance(node, Piecewise), taken)


def sample_rows(symbols: Sequence[sympy.Symbol]) -> list[dict[sympy.Symbol, sympy.Expr]]:
    """Numbers for the other arguments."""
    places = [(3, 7, 11), (-5, 2, 13), (4, -9, -8)]
    return [
        {s: sympy.Rational(row[k % 3] * (k + 1), 8) for k, s in enumerate(symbols)}
        for row in (places if symbols else places[:1])
    ]


def _number(expression: sympy.Expr, at: dict[sympy.Symbol, sympy.Expr]) -> mp.mpf:
    return evaluate(expression.xreplace(at), {}, Multiprecision())


def _is_near(moved: sympy.Expr, h: sympy.Symbol, found: sympy.Expr) -> bool:
    """At h = 1e-12, to six digits, wherever there is a value."""
    symbols = sorted((moved.free_symbols | found.free_symbols) - {h}, key=str)
    with mp.workdps(DIGITS * 2):
        for row in sample_rows(symbols):
            here, there = _number(moved, {**row, h: NEAR}), _number(found, row)
            if mp.isfinite(there) and not abs(here - there) <= 1e-6 * (1 + abs(there)):
                return False
    return True


def same(a: sympy.Expr, b: sympy.Expr) -> bool:
    """Whether two expressions are one: by their text, else by their values to 50 digits."""
    if a == b:
        return True
    symbols = sorted(a.free_symbols | b.free_symbols, key=str)
    with mp.workdps(DIGITS):
        for row in sample_rows(symbols):
            here, there = _number(a, row), _number(b, row)
            if mp.isfinite(here) and not abs(here - there) <= mp.mpf(10) ** -50 * (1 + abs(here)):
                return False
    return True
