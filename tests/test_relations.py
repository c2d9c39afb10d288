"""Conditions in one normal form: comparisons without kinks, by And and Or, of the same truth."""

import itertools

import pytest
import sympy
from sympy import (
    ITE,
    Abs,
    And,
    Eq,
    Heaviside,
    Implies,
    Max,
    Min,
    Ne,
    Not,
    Or,
    Piecewise,
    Rational,
    Xor,
    sign,
)

from derive.language.scalars.declaring import operation
from derive.language.scalars.relations import KINKS, plain_condition

a, b, t = sympy.symbols("a b t", real=True)
CONDITIONS = [
    Abs(t) <= 1,
    Abs(t - a) > b,
    sympy.Ge(1, Abs(t)),
    2 * Abs(t) + 1 <= 3,
    Max(t, a, 1) > b,
    Min(t, a) < Max(b, 1),
    sign(t) > 0,
    a * sign(t) >= 0,
    Heaviside(t) > Rational(1, 4),
    Eq(Abs(t), 1),
    Ne(Abs(t), Rational(1, 2)),
    Eq(Abs(t), a),
    Not(Abs(t) > 1),
    Xor(t < 1, Abs(a) > 1),
    Implies(t > 0, a > 0),
    ITE(t < 0, t < -1, a > 1),
    And(Abs(t) < 1, Or(Max(a, b) > 0, Not(sign(b) > 0))),
    Abs(Abs(t) - 1) < Rational(1, 2),
    Piecewise((1, t < 0), (a, Abs(t) < 1), (2, True)) > Rational(3, 2),
]
NUMBERS = [Rational(n, 2) for n in (-4, -2, -1, 0, 1, 2, 3)]


@pytest.mark.parametrize("condition", CONDITIONS, ids=str)
def test_a_condition_keeps_its_truth_and_loses_its_kinks(condition):
    plain = plain_condition(condition)
    assert not plain.has(*KINKS, ITE, Xor, Not, Implies)
    symbols = sorted(condition.free_symbols, key=str)
    for row in itertools.product(NUMBERS, repeat=len(symbols)):
        at = dict(zip(symbols, row, strict=True))
        if condition.has(Heaviside):  # SymPy's Heaviside(0) is 1/2, the one here 0
            at = {x: v for x, v in at.items() if v}
        if len(at) == len(symbols):
            assert plain.xreplace(at) == condition.subs(at), at


def test_it_is_short_where_it_can_be():
    assert str(plain_condition(Abs(t) <= 1)) == "(t >= -1) & (t <= 1)"
    assert str(plain_condition(sign(t) > 0)) == "t > 0"
    assert str(plain_condition(Max(t, a) > 1)) == "(a > 1) | (t > 1)"


def test_it_is_done_when_an_operation_is_declared():
    psi = operation("f", lambda t: Piecewise((t, Abs(t) <= 1), (0, True)))
    assert not psi.body.has(Abs) and not psi.derivative().body.has(Abs)
    assert {t - 1, t + 1} <= {k if k.coeff(t) > 0 else -k for k in psi.kinks}
