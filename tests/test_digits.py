"""A formula that loses its digits or overflows is warned of when it is declared, with the fix."""

import warnings

import numpy as np
import pytest
import sympy
from sympy import Abs, Eq, Max, Min, Piecewise, cosh, erf, exp, log, sin, sqrt, tanh

from derive import AccuracyWarning, R, dims, elementwise_function, variable
from derive.evidence.checks.accuracy import exactly, spacing
from derive.language.scalars.algebras import Arrays
from derive.language.scalars.digits import check_given, loss
from derive.language.scalars.fold import evaluate
from derive.language.scalars.operations import OperationError
from derive.language.scalars.shipped import shipped

x = variable("x", R(dims("n")))
LOST = {
    "t - sin t": (
        lambda t: t - sin(t),
        r"t = 9.99999994e-09 in float64 it comes out as 0 .*loses.*stable=",
    ),
    "log cosh by its parts": (
        lambda t: Abs(t) - log(2 / (1 + exp(-2 * Abs(t)))),
        "it comes out as .* loses its digits",
    ),
    "overflow": (
        lambda t: log(log(1 + exp(t))),
        "t = -800 .* comes out as -inf and is -800.* overflows",
    ),
    "in float32": (lambda t: t**20 / (1 + t**20), "in float32 .* overflows"),
    "second derivative": (
        lambda t: (1 - sympy.cos(t)) / t,
        r"second derivative .*derivatives=\{2: \.\.\}",
    ),
    "beside an equality": (
        lambda t: Piecewise((1, Eq(t, 0)), ((exp(t) - 1) / t, True)),
        r"its derivative .*derivatives=\{1: \.\.\}",
    ),
    "far out": (lambda t: t / sqrt(1 + t**2), r"t = 1e\+200 in float64 it comes out as 0 and is 1"),
    "derivative far out": (
        lambda t: t * (1 + tanh(sqrt(2 / sympy.pi) * (t + 0.044715 * t**3))) / 2,
        r"t = 1e\+200 in float64 its derivative comes out as nan and is 1: .*overflows",
    ),
    "two arguments": (lambda a, b: (a**3 - b**3) - (a - b) * (a**2 + a * b), "loses its digits"),
}
KEPT = {
    "log cosh": lambda t: log(cosh(t)),
    "log Phi": lambda t: log((1 + erf(t / sqrt(2))) / 2),
    "t tanh exp": lambda t: t * tanh(exp(t)),
    "mish": lambda t: t * tanh(log(1 + exp(t))),
    "silu": lambda t: t / (1 + exp(-t)),
    "hard": lambda t: Max(0, Min(1, t / 6 + 0.5)),
    "gaussian": lambda t: exp(-(t**2)),
    "celu": lambda t: Max(0, t) + Min(0, exp(t) - 1),
    "domain": lambda t: sqrt(t) + log(t),
    "cross-entropy": lambda x, y: (
        -y * log(1 / (1 + exp(-x))) - (1 - y) * log(1 - 1 / (1 + exp(-x)))
    ),
    "power": lambda a, b: a**b,
    "number": lambda t: sympy.Integer(3),
    "oscillation": lambda t: sin(t / 3),
    "falling": lambda t: 1 / (1 + t**2),
    "exponential of one": lambda t: tanh(exp(t)) * exp(-exp(t)),
}


@pytest.mark.parametrize("name", LOST)
def test_a_loss_is_warned_of_with_the_place_and_the_fix(name):
    formula, message = LOST[name]
    with pytest.warns(AccuracyWarning, match=f"psi: at .*{message}") as said:
        elementwise_function("psi", formula)
    assert said[0].filename == __file__, "the warning is of the user's line"


@pytest.mark.parametrize("name", KEPT)
def test_a_formula_that_keeps_its_digits_is_not(name):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        elementwise_function("psi", KEPT[name])


@pytest.mark.parametrize("name", shipped)
def test_no_shipped_function_loses_digits(name):
    assert loss(shipped[name]) is None


def test_stable_and_derivatives_mend_it():
    """t - sin t by its series near 0."""

    def near(*coefficients):
        def made(t):
            return sum(c * t**k for k, c in coefficients)

        return made

    def piece(inner, outer):
        return lambda t: Piecewise((inner(t), Abs(t) < 0.5), (outer(t), True))

    f = sympy.factorial
    series = near(*((k, (-1) ** (k // 2 + 1) / f(k)) for k in range(3, 19, 2)))
    slope = near(*((k - 1, (-1) ** (k // 2 + 1) / f(k - 1)) for k in range(3, 19, 2)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        psi = elementwise_function(
            "psi",
            lambda t: t - sin(t),
            stable=piece(series, lambda t: t - sin(t)),
            derivatives={1: piece(slope, lambda t: 1 - sympy.cos(t)), 2: lambda t: sin(t)},
        )
    operation = psi(x).operation
    assert float(operation(1e-5)) == pytest.approx(1e-15 / 6, rel=1e-9)
    assert float(operation.derivative()(1e-5)) == pytest.approx(5e-11, rel=1e-9)


@pytest.mark.parametrize("t", [1e200, -1e200, 2e19, 40.5, -40.5])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_the_second_derivative_of_gelu_vanishes_far_out(t, dtype):
    if dtype == np.float64 or abs(t) < 1e38:
        assert shipped["gelu"].derivative().derivative()(np.array([t], dtype))[0] == 0


def test_the_first_derivative_of_gelu_keeps_its_digits_on_the_left():
    """Within 8 ulp of its own size down to where it is subnormal: t^2/2 is not rounded off."""
    psi, t = shipped["gelu"].derivative(), np.linspace(-38.4, -1, 400)
    exact = [exactly(psi, psi.body, [x], 700) for x in t]
    pairs = zip(psi(t), exact, strict=True)
    assert max(abs(float(v) - e) / spacing(e, np.float64) for v, e in pairs) <= 8


def test_a_complex_step_through_erfc():
    psi = shipped["erfc"]
    (argument,) = psi.arguments
    step = evaluate(psi.body, {argument: np.array([0.5 + 1e-30j])}, Arrays())
    assert step.imag[0] / 1e-30 == pytest.approx(float(psi.derivative()(0.5)), rel=1e-14)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"derivatives": {1: lambda t: 2 * sympy.cos(t)}}, r"derivatives\[1\] .* t = 0\.29 it is"),
        ({"derivatives": {2: lambda t: sin(t)}}, r"derivatives\[2\] is another function: at"),
        ({"stable": lambda t: t - t**3 / 6}, r"stable is another function: .* the formula is 0\."),
    ],
    ids=["first", "second", "stable"],
)
def test_a_form_of_another_function_is_refused(given, sentence) -> None:
    with pytest.raises(OperationError, match=sentence):
        elementwise_function("wave", lambda t: sin(t), **given)


def test_a_mixed_derivative_of_another_function_is_refused() -> None:
    sentence = r"product: derivatives\[\(1, 1\)\] .* the formula's derivative is 1;"
    with pytest.raises(OperationError, match=sentence):
        elementwise_function("product", lambda u, v: u * v, derivatives={(1, 1): lambda u, v: u})


@pytest.mark.parametrize("name", shipped)
def test_forms_that_are_shipped_are_of_their_functions(name) -> None:
    check_given(shipped[name])
