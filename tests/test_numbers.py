"""A number in a kernel is the nearest float64 as a literal, of any size; float32 rounds it once."""

from fractions import Fraction

import numpy as np
import pytest
import sympy
from conftest import QUICK, built

from derive import Hom, Layer, R, SpaceError, dims, elementwise_function, sqrt, total_sum, variable
from derive.kernels.printing.cython.target import CYTHON
from derive.kernels.printing.scalars import literal
from derive.language.expressions import coefficient, linear_combination
from derive.language.scalars.declaring import operation
from derive.language.scalars.operations import OperationError
from derive.language.text import Writer
from derive.tools.build import load_kernels, texts
from derive.writing.typesetting.scalar_functions import definition
from derive.writing.typesetting.writer import latex_writer

n, m = dims("n m")
NUMBERS = [1 / 3, 1.0507009873554805, 1e-10, 3e300, 1e-320, 10.0**12, 2**31, -0.1, 12345678901.5]
NUMBERS += [2**53 + 1, -(10**30), 7, 0.25]
coefficients = Layer.of(
    "coefficients",
    state={"x": R(n)},
    output=lambda x: tuple(number * x for number in NUMBERS),
)
inside = Layer.of(
    "numbers_inside",
    state={"x": R(n)},
    parameters={"W": Hom(R(n), R(m))},
    output=lambda x, W: (
        sqrt(x * x + 1e-12),
        (1 / 3) * (W @ x),
        (1e-10 / n) * x + x * (10**12 * m),
        elementwise_function("affine_of", lambda t: t / 3 + 10**13 + sympy.Float("1e-300") * t)(x),
        1.0507009873554805 * total_sum(x),
        x + 1e15 * (n + 10**10),
    ),
)


@pytest.fixture(scope="module")
def kernels(request):
    layers = {layer.name: layer for layer in (coefficients, inside)}
    folder = built(request, "numbers", lambda: texts(layers), QUICK)
    return {name: load_kernels(name, folder) for name in layers}


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_coefficient_is_right_to_one_ulp(kernels, dtype):
    """At x = 1 the product is the number itself; at 3 it is rounded once more."""
    found = kernels["coefficients"].forward(np.array([1, 3], dtype))
    for number, values in zip(NUMBERS, found, strict=True):
        for factor, value in zip((1, 3), values, strict=True):
            exact = Fraction(str(number)) * factor
            with np.errstate(over="ignore"):
                nearest = dtype(float(exact))
            # rounded to float64, to the dtype, and the product
            assert value == nearest or abs(value - nearest) <= 2 * np.spacing(abs(nearest))
            if factor == 1 and np.isfinite(nearest):
                assert abs(value - nearest) <= np.spacing(abs(nearest))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_numbers_anywhere_in_a_formula(kernels, dtype):
    x, W = np.array([1, 2, 3], dtype), np.ones((2, 3), dtype)
    root, product, sizes, affine, total, shifted = kernels["numbers_inside"].forward(x, W)
    close = 8 * np.finfo(dtype).eps  # a handful of roundings of positive terms
    np.testing.assert_allclose(root, np.sqrt(x.astype(float) ** 2 + 1e-12), rtol=close)
    np.testing.assert_allclose(product, [2, 2], rtol=close)
    np.testing.assert_allclose(sizes, x.astype(float) * (1e-10 / 3 + 2e12), rtol=close)
    np.testing.assert_allclose(affine, 1e13 + x.astype(float) / 3, rtol=close)
    np.testing.assert_allclose(total, 6 * 1.0507009873554805, rtol=close)
    np.testing.assert_allclose(shifted, 1e15 * (3 + 1e10) + x.astype(float), rtol=close)


@pytest.mark.parametrize(
    "number",
    [
        *(sympy.Rational(1, 3), sympy.Rational(10**40, 3), sympy.Rational(1, 10**40), sympy.pi),
        *(sympy.Integer(2**31), sympy.Integer(10) ** 300, sympy.Rational(1, 3 * 10**320)),
    ],
    ids=str,
)
def test_a_literal_is_the_nearest_float(number):
    text = literal(number, CYTHON)
    assert "." in text or "e" in text  # a floating-point literal, no whole number of C
    value = eval(text.removeprefix("<real>"))
    exact = (
        Fraction(int(number.p), int(number.q))
        if number.is_Rational
        else Fraction(str(sympy.N(number, 60)))
    )
    assert abs(Fraction(value) - exact) <= Fraction(float(np.spacing(value))) / 2


def test_a_number_beyond_floating_point_is_refused():
    with pytest.raises(SpaceError, match=r"below 1\.8e308.*401 digits; scale"):
        Layer.of("f", state={"x": R(n)}, output=lambda x: x * sympy.Integer(10) ** 400)
    with pytest.raises(OperationError, match=r"f: a number of 401 digits is beyond"):
        operation("f", lambda t: t * sympy.Integer(10) ** 400)
    assert literal(sympy.Integer(10) ** 400, CYTHON) == "<real>INFINITY"


DECIMALS = {
    "0.3333333333333333 x": (sympy.Rational("0.3333333333333333"), "0.3333333333333333 x"),
    "3e300 x": (3e300, r"3 \cdot 10^{300} x"),
    "-2.5e-20 x": (-2.5e-20, r"-2.5 \cdot 10^{-20} x"),
    "1/3 x": (sympy.Rational(1, 3), r"\frac{1}{3} x"),
    "1099511627776 x": (2**40, "1099511627776 x"),
    "0.3333333333333333/n x": (1 / 3, r"\frac{0.3333333333333333}{n} x"),
}


@pytest.mark.parametrize("text", DECIMALS)
def test_what_was_a_float_is_shown_as_it_was_written(text):
    x, (number, latex) = variable("x", R(n)), DECIMALS[text]
    node = linear_combination([(coefficient(number) / (n if "/n" in text else 1), x)])
    assert Writer({}).formula(node) == text
    assert latex_writer({}).formula(node) == latex


def test_so_are_the_numbers_in_a_function():
    third = sympy.Rational("0.3333333333333333")
    psi = operation("ff", lambda t: third * t + sympy.Integer(10) ** 200)
    assert definition(psi) == r"\operatorname{ff}(t) = 10^{200} + 0.3333333333333333 t"


BEYOND = [
    (lambda x: x * 10**400, 401),
    (lambda x: x + 10**310, 311),
    (lambda x: x / sympy.Rational(1, 10**400), 401),
    (lambda x: x * sympy.Float("1e400"), 401),
    (lambda x: (1e200 * x) * 1e200, 401),
    (lambda x: 1e308 * x + 1e308 * x, 309),
    (lambda x: x * 10**5000, 5001),  # more than Python prints
]


@pytest.mark.parametrize(("formula", "digits"), BEYOND)
def test_a_number_beyond_the_floats_is_refused_where_it_is_made(formula, digits):
    with pytest.raises(SpaceError, match=rf"below 1\.8e308.*{digits} digits; scale"):
        formula(variable("x", R(n)))


def test_a_float_of_sympy_beyond_the_floats_is_refused_too():
    with pytest.raises(OperationError, match="big: a number of 401 digits is beyond"):
        operation("big", lambda t: sympy.Float("1e400") * t)


def test_a_derivative_may_be_a_number():
    psi = operation("f", lambda t: 3 * t, derivatives={1: 3})
    assert float(psi.derivative()(2.0)) == 3
