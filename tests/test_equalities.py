"""Branches that hold at one point: continued where there is a limit, else refused; and proved."""

import numpy as np
import pytest
import sympy
from sympy import Abs, Eq, Max, Min, Ne, Or, Piecewise, Rational, cos, exp, log, sin, tanh

from derive import Layer, R, dims, prove
from derive.evidence.checks.accuracy import findings
from derive.language.scalars import equalities, operations
from derive.language.scalars.declaring import operation
from derive.language.scalars.operations import OperationError
from derive.vocabulary.functions import function

n = dims("n")
CONTINUED = [
    # formula, the point, f, f', f'' there
    (lambda t: Piecewise((t**2, Ne(t, 1)), (1, True)), 1, [1, 2, 2]),
    (lambda t: Piecewise((1, Eq(t, 0)), ((exp(t) - 1) / t, True)), 0, [1, 1 / 2, 1 / 3]),
    (lambda t: Piecewise((sin(t) / t, Ne(t, 0)), (1, True)), 0, [1, 0, -1 / 3]),
    (
        lambda t: Piecewise((tanh(t) / t, t > 0), (1, Eq(t, 0)), (tanh(t) / t, True)),
        0,
        [1, 0, -2 / 3],
    ),
    (lambda t: t * Piecewise((sin(t) / t, Ne(t, 0)), (1, True)), 0, [0, 1, 0]),
    (
        lambda t: Piecewise(((1 - cos(t)) / t**2, Ne(t, 0)), (Rational(1, 2), True)),
        0,
        [0.5, 0, -1 / 12],
    ),
    (lambda t: Piecewise((t, Or(Eq(t, 1), Eq(t, 2))), (t, True)), 2, [2, 1, 0]),
    (lambda t: Piecewise((log(t) / (t - 1), Ne(t, 1)), (1, True)), 1, [1, -1 / 2, 2 / 3]),
    (lambda t: Piecewise((4, Eq(2 * t, 4)), (t**2, True)), 2, [4, 4, 2]),
    # the equality is hidden: in one of several, by an absolute value, a square, a nest, two kinks
    (lambda t: Piecewise((1, Or(Eq(t, 1), Eq(t, -1))), (t**2, True)), -1, [1, -2, 2]),
    (lambda t: Piecewise((t**2, Ne(Abs(t), 1)), (1, True)), 1, [1, 2, 2]),
    (lambda t: Piecewise((t**2, Ne(Abs(t), 1)), (1, True)), -1, [1, -2, 2]),
    (lambda t: Piecewise((1, (t - 1) ** 2 <= 0), (t**2, True)), 1, [1, 2, 2]),
    (lambda t: Piecewise((0, t**2 <= 0), (sin(t), True)), 0, [0, 1, 0]),
    (lambda t: Piecewise((sin(t), t**4 > 0), (0, True)), 0, [0, 1, 0]),
    (
        lambda t: Piecewise((Piecewise((1, t <= 1), (t**2, True)), t >= 1), (t**2, True)),
        1,
        [1, 2, 2],
    ),
    (lambda t: Piecewise((1, (Max(t, 1) <= 1) & (Min(t, 1) >= 1)), (t**2, True)), 1, [1, 2, 2]),
    (lambda t: Piecewise((t**2, Ne(t, 0.1)), (0.01, True)), 0.1, [0.01, 0.2, 2]),
]


@pytest.mark.parametrize(("formula", "at", "expected"), CONTINUED)
def test_derivatives_are_the_limits(formula, at, expected):
    psi = operation("f", formula)
    found = [float(f(float(at))) for f in (psi, psi.derivative(), psi.derivative().derivative())]
    assert found == pytest.approx(expected, abs=1e-15)


def test_another_argument_may_stand_in_the_limit():
    """sin(a t)/t with a at 0: by t 0 and -a^3/3, by a 1."""
    psi = operation("f", lambda t, a: Piecewise((a, Eq(t, 0)), (sin(a * t) / t, True)))
    twice = psi.derivative(0).derivative(0)
    assert [float(f(0.0, 2.0)) for f in (psi, psi.derivative(0), twice)] == [2, 0, -8 / 3]
    assert float(psi.derivative(1)(0.0, 2.0)) == 1


ALONE = [
    # a point that is left over by <, >: continued too, where both sides agree
    (lambda t: Piecewise((sin(t) / t, Abs(t) > 0), (1, True)), 0, [1, 0, -1 / 3]),
    (lambda t: Piecewise((sin(t) / t, (t < 0) | (t > 0)), (1, True)), 0, [1, 0, -1 / 3]),
    (lambda t: Piecewise((1, (t >= 0) & (t <= 0)), (sin(t) / t, True)), 0, [1, 0, -1 / 3]),
    (lambda t: Piecewise((t**2, t > 1), (t**2, t < 1), (1, True)), 1, [1, 2, 2]),
    (lambda t: Piecewise((sin(t) / t, (t < 0) | ((t > 0) & (t < 5))), (1, True)), 7, [1, 0, 0]),
    (
        lambda t: Piecewise((sin(t) / t, (t < 0) | ((t > 0) & (t < 5))), (1, True)),
        0,
        [1, 0, -1 / 3],
    ),
    (lambda t: Piecewise((t, t > 0), (-t, t < 0), (0, True)), 0, [0, 0, 0]),
    (lambda t: Piecewise((t**2, t > 0), (-(t**2), t < 0), (0, True)), 0, [0, 0, 0]),
]


@pytest.mark.parametrize(("formula", "at", "expected"), ALONE)
def test_a_point_left_over_by_comparisons_is_an_equality(formula, at, expected):
    psi = operation("f", formula)
    found = [float(f(float(at))) for f in (psi, psi.derivative(), psi.derivative().derivative())]
    assert found == pytest.approx(expected, abs=1e-15)
    assert np.isnan(psi(np.nan))


def test_two_arguments_that_are_equal_are_a_point_left_over():
    psi = operation("f", lambda a, b: Piecewise((sin(a - b) / (a - b), Abs(a - b) > 0), (1, True)))
    assert float(psi.derivative(0).derivative(0)(2.0, 2.0)) == pytest.approx(-1 / 3)


@pytest.mark.parametrize(("a", "b"), [(3.0, 3.0), (3.0, -3.0), (-2.0, 2.0), (2.0, 5.0)])
def test_two_absolute_values_that_are_equal_are_two_equalities(a, b):
    psi = operation("f", lambda a, b: Piecewise((a**2, Ne(Abs(a), Abs(b))), (b**2, True)))
    assert [float(psi.derivative(k)(a, b)) for k in (0, 1)] == [2 * a, 0]


REFUSED = [
    (lambda t: Piecewise((0, (t**2 - 2) ** 2 <= 0), (t, True)), "expected the equality"),
    (lambda t: Piecewise((3, t**2 <= 0), (cos(t), True)), "at t = 0 it is 3, and the limit is 1"),
    (lambda t: Piecewise((5, Eq(t, 1)), (t**2, True)), "at t = 1 it is 5, and the limit is 1"),
    (lambda t: Piecewise((0, Eq(t, 0)), (t * log(t), True)), "no finite limit"),
    (
        lambda t: Piecewise((0, Eq(t, 0)), (t * Abs(t), True)),
        "limits -2 from below and 2 from above",
    ),
    (lambda t: Piecewise((0, Eq(t, 0)), (t**2 * sin(1 / t), True)), "no finite limit"),
    (lambda t: Piecewise((0, Eq(t**2, 1)), (t, True)), "expected the equality of an argument"),
    (lambda t: Piecewise((t + t**2, t > 0), (t, t < 0), (0, True)), "write it with <, <=, >, >="),
    (
        lambda t: Piecewise((1, Eq(t, 1)), (2 - 1 / t, t > 1), (t, True)),
        "write it with <, <=, >, >=",
    ),
]


@pytest.mark.parametrize(("formula", "message"), REFUSED)
def test_what_is_not_smooth_is_refused_with_the_fix(formula, message):
    with pytest.raises(OperationError, match=f"f: .*{message}"):
        operation("f", formula)


def test_a_jump_between_numbers_is_no_branch_to_continue():
    psi = operation("f", lambda a, b: Piecewise((1, Eq(a, b)), (0, True)))
    assert float(psi(2.0, 2.0)) == 1 and psi.derivative(0).is_zero


def layer_of(formula) -> Layer:
    psi = function(operation("f", formula))
    return Layer.of("f", state={"x": R(n)}, output=lambda x: psi(x))


def test_a_wrong_derivative_at_the_point_is_never_called_proved(monkeypatch):
    """With SymPy's own derivative of the branch, 0; no random point meets t = 1."""
    formula = CONTINUED[0][0]
    assert all(verdict.proved for verdict in prove(layer_of(formula)))
    assert all(found.ok for found in findings("f", [layer_of(formula).output]))
    monkeypatch.setattr(equalities, "derivative", lambda f, x, plain: sympy.diff(f, x))
    operations._partial.cache_clear()
    operations._derivative.cache_clear()
    wrong = layer_of(formula)
    refuted = {verdict.map_name for verdict in prove(wrong) if not verdict.proved}
    assert refuted == {"D_x f(x)", "f_d1 at t = 1", "f_d2 at t = 1"}  # of the layer, of psi
    assert not all(found.ok for found in findings("f", [wrong.output]))
    operations._partial.cache_clear()
    operations._derivative.cache_clear()
