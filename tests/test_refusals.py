"""What an expression refuses is a sentence with the fix; arithmetic with numbers is none of it."""

import math

import numpy as np
import pytest
import sympy

from derive import Hom, R, SpaceError, dims, elementwise_function, exp, form, indices, variable

n, m = dims("n m")
x, W, q = variable("x", R(n)), variable("W", Hom(R(m), R(n))), variable("q", R(4))
REFUSED = {
    "numpy.tanh": (lambda: np.tanh(x), r"numpy\.tanh .*R\(n\); use tanh from derive"),
    "numpy.exp": (lambda: np.exp(x), r"numpy\.exp .*; use exp from derive"),
    "numpy.sin": (lambda: np.sin(x), r"numpy\.sin .*; use .* or elementwise_function\(\.\.\)"),
    "numpy.sum": (lambda: np.sum(x), r"numpy\.sum .*; use total_sum from derive"),
    "numpy.mean": (lambda: np.mean(x), r"numpy\.mean .*; use mean from derive"),
    "numpy.dot": (lambda: np.dot(W, x), r"numpy\.dot .*; write W @ x"),
    "numpy.linalg.norm": (lambda: np.linalg.norm(x), r"numpy\.norm .*; use norm from derive"),
    "numpy.maximum": (lambda: np.maximum(x, 0), r"numpy\.maximum .*; write relu\(x\)"),
    "numpy.add.reduce": (lambda: np.add.reduce(x), r"numpy\.add "),
    "numpy.array": (lambda: np.array(x), r"numpy\.array .*; give the array itself as an argument"),
    "array @ x": (lambda: np.eye(3) @ x, r"numpy\.matmul .*; declare the matrix as an argument"),
    "array * x": (lambda: np.ones(3) * x, r"expected a number or an expression of the same space"),
    "transpose": (lambda: W.T, r"a transpose \(\.T\) .*R\(n, m\); declare .* transpose = form\("),
    "abs": (lambda: abs(x), r"abs .*elementwise_function\('absolute', sympy\.Abs\)"),
    "sum": (lambda: sum(x), r"R\(n\) can't be taken apart.*total_sum\(x\)"),
    "x > 0": (lambda: x > 0, r"an order \(<, >\) .*; write relu\(x\)"),
    "x <= x": (lambda: x <= x, r"an order \(<, >\) "),
    "n < x": (lambda: n < x, r"an order \(<, >\) "),
    "numpy number < x": (lambda: np.float64(1) < x, r"numpy\.less .*; write relu\(x\)"),
    "max": (lambda: max(x, 0), r"an order \(<, >\) .*; write relu\(x\)"),
    "if x": (lambda: 1 if x else 2, r"a truth value \(if, and, or, not\) .*; write relu\(x\)"),
    "not x": (lambda: not x, r"a truth value "),
    "2**x": (lambda: 2**x, r"2 \*\* x .*; write exp\(c \* x\) with the number c = log\(2\)"),
    "math.tanh": (lambda: math.tanh(x), r"float \(or a function of math\) .*; use tanh"),
    "sympy.tanh": (lambda: sympy.tanh(x), r"a function of SymPy .*R\(n\); use tanh"),
}


@pytest.mark.parametrize(("tried", "sentence"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused_says_what_to_write_instead(tried, sentence):
    with pytest.raises(SpaceError, match=sentence):
        tried()


@pytest.mark.parametrize("number", [np.float64(2), np.float32(2), np.int64(2), sympy.Integer(2), n])
def test_arithmetic_with_numbers_of_numpy_and_sympy_is_that_of_numbers(number):
    plain = number if isinstance(number, sympy.Expr) else 2
    assert number * x is x * plain and x * number is x * plain
    assert number + x is plain + x and number - x is plain - x and x - number is x - plain
    assert number / x is plain / x and x / number is x / plain


def test_a_power_and_the_ufunc_of_an_operator_are_the_operator():
    assert x ** np.float64(2) is x**2 and np.power(x, 2) is x**2
    assert np.multiply(2, x) is 2 * x and np.subtract(2, x) is 2 - x and np.divide(x, 2) is x / 2


def test_expressions_are_found_in_containers_by_identity():
    assert x in [W, x] and x not in (W, q) and {x: 1}[x] == 1 and (x == W) is False


def test_the_fixes_that_are_named_work():
    i, j = indices("i j")
    transpose = form("transpose", A=(i, j), to=(j, i))
    assert transpose(W).space == R(m, n)
    assert elementwise_function("absolute", sympy.Abs)(x).space == R(n)
    step = elementwise_function("psi", lambda t: sympy.Piecewise((t, t > 0), (0, True)))
    assert step(x).space == R(n)
    assert exp(sympy.log(2) * x).space == R(n)
