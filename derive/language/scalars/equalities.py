"""Branches of a Piecewise that hold at one point: continued smoothly where the limit is proved.

Piecewise((sin(t)/t, Ne(t, 0)), (1, True)) is smooth, but the derivative of its second branch is 0
at every order.  Such a branch is put first, as (value, Eq(x, c)), and before each differentiation
its value v becomes v + L (x - c), L being the limit of the derivative of what holds around there.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import takewhile
from math import isfinite
from typing import Any

import sympy
from sympy import Abs, Eq, Ne, Or, Piecewise
from sympy.core.relational import Relational

from .limits import NEAR, NotContinued, limit, same, sample_rows
from .scalars import is_constant


@dataclass(frozen=True)
class Point:
    """x = c, with the value there and what holds around."""

    x: sympy.Symbol
    c: sympy.Expr
    value: sympy.Expr
    around: sympy.Expr


def separated(expression: sympy.Expr) -> sympy.Expr:
    """Every branch on an equality first, as (value, Eq(x, c)); raises NotContinued.

    Where all branches are numbers there is nothing to continue: a jump, such as that of a < b.

    >>> t = sympy.Symbol("t", real=True)
    >>> separated(Piecewise((t**2, Ne(t, 1)), (1, True)))
    Piecewise((1, Eq(t, 1)), (t**2, True))
    """
    exact = _in_decimals(expression)
    found = exact.replace(lambda node: isinstance(node, Piecewise), _separated)
    return expression if found == exact else found


def _in_decimals(expression: sympy.Expr) -> sympy.Expr:
    """Floats are read as the decimals that they print as, as coefficients are: 0.1 is 1/10."""
    if not expression.has(Piecewise):
        return expression
    floats = (x for x in expression.atoms(sympy.Float) if isfinite(float(x)))
    return expression.xreplace({x: sympy.Rational(repr(float(x))) for x in floats})


def _separated(piecewise: Piecewise) -> sympy.Expr:
    if all(is_constant(value) for value, _ in piecewise.args):
        return piecewise
    equalities = sorted(
        piecewise.atoms(Eq, Ne) & _conditions(piecewise), key=sympy.default_sort_key
    )
    if not equalities:
        return _with_isolated(piecewise)
    if nested := _flattened(piecewise):
        return _separated(nested)
    points = dict.fromkeys(_solved(equality) for equality in equalities)
    around = piecewise.xreplace(
        {e: sympy.false if isinstance(e, Eq) else sympy.true for e in equalities}
    )
    branches = [(_at(piecewise, equalities, x, c), Eq(x, c, evaluate=False)) for x, c in points]
    return Piecewise(*branches, (around, True), evaluate=False)


def _with_isolated(piecewise: Piecewise) -> sympy.Expr:
    """A branch that < and > leave one point for, such as (t < 0) | (t > 0), is one on an equality.

    Where what is around is not smooth there it is a kink, and stays as it is written.
    """
    if nested := _flattened(piecewise):
        found = _with_isolated(nested)
        return piecewise if found == nested else found
    places = _boundaries(piecewise)
    alone = [(x, c, k) for x, c in places if (k := _alone(piecewise, x, c)) is not None]
    branches, first = list(piecewise.args), []
    for x, c, k in alone:
        written = piecewise.args[k][0]
        point = Point(x, c, written.xreplace({x: c}), Piecewise(*_without(piecewise, x, c, k)))
        if _is_smooth(point, written):
            first.append((point.value, Eq(x, c, evaluate=False)))
            branches = _without(Piecewise(*branches, evaluate=False), x, c, k)
    return Piecewise(*first, *branches, evaluate=False) if first else piecewise


def _flattened(piecewise: Piecewise) -> Piecewise | None:
    """A Piecewise with others in its branches as one Piecewise; None where there are none."""
    if not any(value.has(Piecewise) for value, _ in piecewise.args):
        return None
    found = sympy.piecewise_fold(piecewise, evaluate=False)
    plain = isinstance(found, Piecewise) and not any(v.has(Piecewise) for v, _ in found.args)
    return found if plain else None


def _without(piecewise: Piecewise, x: sympy.Symbol, c: sympy.Expr, k: int) -> list[Any]:
    """The branches where x is not c; the k-th is left out if it is taken nowhere else."""
    branches = list(piecewise.args)
    value, condition = branches[k]
    if condition is not sympy.true:
        branches[k] = (value, sympy.And(condition, Ne(x, c)))
        return branches if condition != sympy.And(x >= c, x <= c) else _dropped(branches, k)
    others = Or(*(other for _, other in branches[:k]))
    if others != Or(x < c, x > c):
        return branches
    branches[k - 1] = (branches[k - 1][0], sympy.true)
    return branches[:k]


def _dropped(branches: list[Any], k: int) -> list[Any]:
    return [*branches[:k], *branches[k + 1 :]]


def _is_smooth(point: Point, written: sympy.Expr) -> bool:
    """Whether value and derivatives to the second are limits; raises where the second is not."""
    around = _expanded(point.around)
    try:
        if not same(limit(around, point.x, point.c), point.value):
            return False
        slope = limit(sympy.diff(around, point.x), point.x, point.c)
    except NotContinued:
        return False
    try:
        limit(sympy.diff(around, point.x, 2), point.x, point.c)
    except NotContinued:
        if same(slope, sympy.diff(written, point.x).xreplace({point.x: point.c})):
            return False
        raise
    return True


def _expanded(expression: sympy.Expr) -> sympy.Expr:
    """Absolute values by cases."""
    return expression.replace(Abs, lambda u: Piecewise((u, u >= 0), (-u, True)))


def _boundaries(piecewise: Piecewise) -> list[tuple[sympy.Symbol, sympy.Expr]]:
    """The places x = c where a comparison that is affine in an argument holds with equality."""
    found: dict[tuple[sympy.Symbol, sympy.Expr], None] = {}
    for _, condition in piecewise.args:
        for relation in sorted(condition.atoms(Relational), key=sympy.default_sort_key):
            with suppress(NotContinued):
                found[_solved(relation)] = None
    return list(found)


def _alone(piecewise: Piecewise, x: sympy.Symbol, c: sympy.Expr) -> int | None:
    """The number of the branch taken at x = c, if no place beside it takes the same branch."""
    others = sorted(piecewise.free_symbols - {x}, key=str)
    row = sample_rows(others)[0]

    def taken(at: sympy.Expr) -> int | None:
        here = {**row, x: at.xreplace(row)}
        holds = (k for k, (_, c) in enumerate(piecewise.args) if c.xreplace(here) == sympy.true)
        return next(holds, None)

    at, *beside = (taken(place) for place in (c, c + NEAR, c - NEAR))
    return None if at in beside else at


def _conditions(piecewise: Piecewise) -> set[sympy.Basic]:
    return set().union(*(condition.atoms(Eq, Ne) for _, condition in piecewise.args))


def _solved(equality: Eq | Ne) -> tuple[sympy.Symbol, sympy.Expr]:
    """x and c of an equality that is affine in a symbol x with a number before it."""
    difference = equality.lhs - equality.rhs
    for x in sorted(difference.free_symbols, key=str):
        slope = difference.diff(x)
        if slope.is_number and slope != 0:
            return x, sympy.expand(x - difference / slope)
    raise NotContinued(
        f"condition {equality}: expected the equality of an argument and a number or another "
        "argument; write it as Eq(t, c), or what is meant with <, <=, >, >="
    )


def _at(
    piecewise: Piecewise, equalities: Sequence[sympy.Basic], x: sympy.Symbol, c: sympy.Expr
) -> sympy.Expr:
    """The value where x = c."""
    known = {}
    for e in equalities:
        if _solved(e) == (x, c):
            known[e] = sympy.true if isinstance(e, Eq) else sympy.false
    return piecewise.xreplace(known).xreplace({x: c})


def points_of(expression: sympy.Expr) -> Iterator[Point]:
    """The equality branches of an expression that is `separated`; no jumps between numbers."""
    for node in sympy.preorder_traversal(expression):
        for point in _points(node) if isinstance(node, Piecewise) else ():
            if not (is_constant(point.around) and is_constant(point.value)):
                yield point


def _points(piecewise: Piecewise) -> list[Point]:
    """Its first branches, on an equality each or, where values are the same, on one of several."""
    first, rest = piecewise.args[: _count(piecewise)], piecewise.args[_count(piecewise) :]
    if not first or not rest:
        return []
    around = rest[0][0] if rest[0][1] is sympy.true else Piecewise(*rest)
    equalities = ((e, value) for value, condition in first for e in Or.make_args(condition))
    return [Point(*_solved(e), value, around) for e, value in equalities]


def _is_of_equalities(condition: sympy.Basic) -> bool:
    return all(isinstance(part, Eq) for part in Or.make_args(condition))


def _with_points(expression: sympy.Expr, value: Callable[[Point], sympy.Expr]) -> sympy.Expr:
    """The expression with other values where equalities hold."""

    def put_in(piecewise: Piecewise) -> sympy.Expr:
        points = _points(piecewise)
        branches = [(value(p), Eq(p.x, p.c, evaluate=False)) for p in points]
        return Piecewise(*branches, (points[0].around, True))

    return expression.replace(lambda node: isinstance(node, Piecewise) and _points(node), put_in)


def derivative(
    expression: sympy.Expr, by: sympy.Symbol, plain: Callable[[sympy.Expr], sympy.Expr]
) -> sympy.Expr:
    """The derivative; where an equality x = c holds, the limit of what holds around, in `plain`."""

    def continued(point: Point) -> sympy.Expr:
        slope = limit(sympy.diff(plain(point.around), point.x), point.x, point.c)
        return point.value + slope * (point.x - point.c)

    moved = sympy.diff(_with_points(expression, continued), by)
    return _with_points(moved, lambda point: point.value.xreplace({point.x: point.c}))


def check(expression: sympy.Expr, moved: Collection[sympy.Symbol], order: int = 2) -> None:
    """Raises NotContinued unless each value is the limit, and derivatives have one up to order.

    `moved` are the symbols that derivatives are taken by.
    """
    _check_places(expression, moved)
    for point in points_of(expression):
        if point.x not in moved:
            continue
        found = limit(point.around, point.x, point.c)
        if not same(found, point.value):
            raise NotContinued(
                f"at {point.x} = {point.c} it is {point.value}, and the limit is {found}; give the "
                "limit, or write a jump with <, <=, >, >="
            )
        around = point.around
        for _ in range(order):
            around = sympy.diff(around, point.x)
            limit(around, point.x, point.c)


def _check_places(expression: sympy.Expr, moved: Collection[sympy.Symbol]) -> None:
    """Raises NotContinued where an equality is left that is not a branch of its own."""
    for node in sympy.preorder_traversal(expression):
        if isinstance(node, Piecewise) and not all(is_constant(value) for value, _ in node.args):
            for condition, equality in _left_equalities(node):
                if equality.free_symbols & set(moved):
                    raise NotContinued(
                        f"condition {condition}: the derivatives where {equality} decides are not "
                        "those of the branch; write Eq(t, c) as the condition of a branch of its "
                        "own, or what is meant with <, <=, >, >="
                    )


def _left_equalities(piecewise: Piecewise) -> Iterator[tuple[sympy.Basic, Eq | Ne]]:
    """The equalities in the conditions that are not among its points."""
    points = [(point.x, point.c) for point in _points(piecewise)]
    for _, condition in piecewise.args[_count(piecewise) :]:
        for equality in sorted(condition.atoms(Eq, Ne), key=sympy.default_sort_key):
            if _solved(equality) not in points:
                yield condition, equality


def _count(piecewise: Piecewise) -> int:
    """How many branches on equalities come first."""
    return len(list(takewhile(lambda branch: _is_of_equalities(branch[1]), piecewise.args)))
