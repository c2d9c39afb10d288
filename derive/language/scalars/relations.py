"""One normal form of the conditions of a Piecewise, before anything is derived.

A condition becomes And and Or of comparisons whose sides have no kink in them: no ITE, Xor or Not;
no Abs, Max, Min, sign, Heaviside and no Piecewise inside a comparison.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice, product

import sympy
from sympy import Abs, And, Eq, Heaviside, Max, Min, Ne, Or, Piecewise, sign
from sympy.core.relational import Relational
from sympy.logic.boolalg import Boolean, BooleanFunction

KINKS = (Abs, Max, Min, sign, Heaviside, Piecewise)
Branches = Iterator[tuple[sympy.Expr, Boolean]]


def with_plain_conditions(expression: sympy.Expr) -> sympy.Expr:
    """The same function, every condition in the normal form.

    >>> t = sympy.Symbol("t", real=True)
    >>> with_plain_conditions(Piecewise((t**2, Abs(t) < 1), (t, True)))
    Piecewise((t**2, (t > -1) & (t < 1)), (t, True))
    """
    return expression.replace(
        lambda node: isinstance(node, Piecewise),
        lambda node: Piecewise(*((value, plain_condition(c)) for value, c in node.args)),
    )


def plain_condition(condition: Boolean) -> Boolean:
    """A condition in the normal form."""
    if isinstance(condition, Relational):
        return _resolved(condition)
    if isinstance(condition, BooleanFunction):
        simple = condition.to_nnf(simplify=False)
        if isinstance(simple, And | Or):
            return simple.func(*(plain_condition(part) for part in simple.args))
        return simple if simple == condition else plain_condition(simple)
    return condition


def _resolved(relation: Boolean) -> Boolean:
    """A comparison without kinks in its sides: by cases, on what each kink is there."""
    if not isinstance(relation, Relational):
        return relation
    if (direct := _DIRECT.get(relation.lhs.func, _none)(relation)) is not None:
        return plain_condition(direct)
    if isinstance(relation.rhs, Abs | Max | Min) and not isinstance(relation.lhs, KINKS):
        return _resolved(relation.reversed)
    kink = _innermost(relation)
    if kink is None:
        return _without_squares(relation)
    cases = (
        And(plain_condition(condition), _resolved(relation.xreplace({kink: value})))
        for value, condition in _branches(kink)
    )
    return Or(*cases)


def _without_squares(relation: Relational) -> Boolean:
    """A polynomial's even powers of factors taken out: u^2 v <= 0 is u = 0 or v <= 0.

    What remains never holds at a single point unless an equality says so.
    """
    squares, rest = _square_factors(relation.lhs - relation.rhs)
    if not squares or relation.rel_op in ("==", "!="):
        return relation
    left = relation.func(rest, 0)
    if relation.rel_op in ("<=", ">="):
        return Or(*(Eq(u, 0) for u in squares), left, evaluate=False)
    return And(*(Ne(u, 0) for u in squares), left, evaluate=False)


def _square_factors(difference: sympy.Expr) -> tuple[list[sympy.Expr], sympy.Expr]:
    """The factors of a rational polynomial to an even power, and the product of all others."""
    numbers = (x for x in difference.atoms(sympy.Number))
    if not difference.is_polynomial() or not all(x.is_Rational for x in numbers):
        return [], difference
    number, factors = sympy.factor_list(difference)
    even = [u for u, power in factors if power % 2 == 0]
    return even, sympy.Mul(number, *(u for u, power in factors if power % 2))


def _innermost(relation: Relational) -> sympy.Expr | None:
    """A kink whose arguments have none."""
    found = [node for node in sympy.postorder_traversal(relation) if isinstance(node, KINKS)]
    return found[0] if found else None


def _none(relation: Relational) -> None:
    return None


def _of_absolute(relation: Relational) -> Boolean | None:
    """-v < u < v, or u > v or u < -v."""
    (u,), v = relation.lhs.args, relation.rhs
    if relation.rel_op in ("<", "<="):
        return And(relation.func(u, v), relation.reversed.func(u, -v), evaluate=False)
    if relation.rel_op in (">", ">="):
        return Or(relation.func(u, v), relation.reversed.func(u, -v), evaluate=False)
    if not v.is_nonnegative:
        return None
    return (Or if relation.rel_op == "==" else And)(
        relation.func(u, v), relation.func(u, -v), evaluate=False
    )


def _of_extreme(relation: Relational) -> Boolean | None:
    """Max(a, b) < v where both are, Max(a, b) > v where one is; Min the other way."""
    if relation.rel_op not in ("<", "<=", ">", ">="):
        return None
    every = relation.rel_op.startswith("<") == isinstance(relation.lhs, Max)
    parts = (relation.func(part, relation.rhs) for part in relation.lhs.args)
    return (And if every else Or)(*parts, evaluate=False)


_DIRECT: dict[type, Callable[[Relational], Boolean | None]] = {
    Abs: _of_absolute,
    Max: _of_extreme,
    Min: _of_extreme,
}


def _branches(kink: sympy.Expr) -> Branches:
    """The values of a kink, and where each is taken."""
    if isinstance(kink, Piecewise):
        yield from _exclusive(kink)
    elif isinstance(kink, Max | Min):
        for value in kink.args:
            wins = sympy.Ge if isinstance(kink, Max) else sympy.Le
            yield value, And(*(wins(value, other) for other in kink.args if other != value))
    else:
        yield from _at_zero(kink)


def _at_zero(kink: sympy.Expr) -> Branches:
    """Abs, sign and Heaviside, with the values of this package at zero."""
    u = kink.args[0]
    if isinstance(kink, Abs):
        yield from ((u, u >= 0), (-u, u < 0))
        return
    low, at = (-1, 0) if isinstance(kink, sign) else (0, _heaviside_at_zero(kink))
    zero = And(u >= 0, u <= 0)  # a kink, not an equality that somebody wrote
    yield from ((sympy.Integer(low), u < 0), (sympy.sympify(at), zero), (sympy.S.One, u > 0))


def _heaviside_at_zero(kink: sympy.Heaviside) -> sympy.Expr:
    given = kink.args[1] if len(kink.args) > 1 else sympy.S.Half
    return sympy.S.Zero if given == sympy.S.Half else given


def _exclusive(piecewise: Piecewise) -> Branches:
    before: list[Boolean] = []
    for value, condition in piecewise.args:
        yield value, And(condition, *(sympy.Not(other) for other in before))
        before.append(condition)


PLACES = 729  # all of the grid for up to three arguments
GRID = tuple(sympy.Rational(n, 2) for n in (0, 1, -1, 2, -2, 5, -5, 2000, -2000))


def left_out(expression: sympy.Expr) -> dict[sympy.Symbol, sympy.Expr] | None:
    """A place where no condition of some Piecewise holds, sought among a few numbers.

    >>> t = sympy.Symbol("t", real=True)
    >>> left_out(Piecewise((t, t > 0)))
    {t: 0}
    """
    for piecewise in expression.atoms(Piecewise):
        conditions = [condition for _, condition in piecewise.args]
        if sympy.true in conditions:
            continue
        symbols = sorted(set().union(*(c.free_symbols for c in conditions)), key=str)
        for row in islice(product(GRID, repeat=len(symbols)), PLACES):
            at = dict(zip(symbols, row, strict=True))
            if all(condition.xreplace(at) == sympy.false for condition in conditions):
                return at
    return None
