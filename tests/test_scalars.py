"""One fold, three algebras: they agree, a NaN stays a NaN, and the text reads well."""

import warnings

import mpmath as mp
import numpy as np
import pytest
import sympy
from sympy import Eq, Ne, Piecewise, Rational
from sympy.codegen.cfunctions import expm1, log1p

from derive.kernels.printing.cython.target import CYTHON
from derive.kernels.printing.scalars import ScalarText, Text, function_body
from derive.language.scalars.algebras import Arrays, Multiprecision
from derive.language.scalars.fold import evaluate
from derive.language.scalars.normal import normal_cdf, normal_gelu
from derive.language.scalars.scalars import ScalarError

a, b, t = sympy.symbols("a b t", real=True)
EXPRESSIONS = [
    t + a - 3 * b / 7,
    -t,
    -1 - t,
    t**2 * a**3 * b**7,
    (1 + t**2) ** Rational(-3, 2) * a,
    (2 + sympy.sin(t)) ** (a / 3),
    sympy.sqrt(1 + t**2) / (1 + sympy.exp(-a)) ** 2,
    sympy.log(1 + t**2) + sympy.tanh(a) * sympy.atan(b),
    sympy.sin(t) * sympy.cos(a) - sympy.sinh(b) / sympy.cosh(b),
    sympy.erf(t) + sympy.erfc(a) - expm1(b / 9) + log1p(t**2),
    sympy.Abs(t) * sympy.pi - sympy.E * a / sympy.sqrt(3),
    normal_cdf(t) + normal_gelu(a),
    Piecewise((a, t < 0), (b, t <= 1), (t, True)),
    Piecewise((a, (t < 0) & (b > 0)), (b, (t > 1) | Eq(a, b)), (t * a, True)),
    Piecewise((a, Ne(t, 0)), (b, True)),
    Piecewise((a, sympy.ITE(t < 0, t < -1, t > 1)), (b, True)),
    Piecewise((a, sympy.Xor(t < 0, b > 1)), (b, True)),
    Piecewise((a, ~((t < 0) | (a > 0))), (b, True)),
    Piecewise((Piecewise((1, a < 0), (2, True)), t < 0), (3, True)),
]


def points(seed: int, count: int = 40) -> dict[sympy.Symbol, np.ndarray]:
    generator = np.random.default_rng(seed)
    return {x: generator.normal(size=count) * 2 for x in (a, b, t)}


@pytest.mark.parametrize("expression", EXPRESSIONS, ids=str)
def test_multiprecision_is_sympys_own_value(expression):
    values = {x: v[:5] for x, v in points(1).items()}
    for row in range(5):
        with mp.workdps(40):
            exact = {x: sympy.Float(float(v[row]), 60) for x, v in values.items()}
            expected = mp.mpf(sympy.N(expression.xreplace(exact), 50))
            got = evaluate(expression, {x: v[row] for x, v in values.items()}, Multiprecision())
            assert mp.almosteq(got, expected, rel_eps=mp.mpf(10) ** -36)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("expression", EXPRESSIONS, ids=str)
def test_arrays_agree_with_multiprecision_and_keep_the_dtype(expression, dtype):
    values = {x: v.astype(dtype) for x, v in points(2).items()}
    got = evaluate(expression, values, Arrays())
    assert got.dtype == dtype
    for row in range(40):
        with mp.workdps(40):
            at = {x: v[row] for x, v in values.items()}
            exact = evaluate(expression, at, Multiprecision())
            # terms of size <= 40 after at most 20 roundings, cancellation allowed for
            size = max(1, abs(exact), *(abs(mp.mpf(float(v))) ** 2 for v in at.values()))
            assert abs(mp.mpf(float(got[row])) - exact) <= 20 * np.finfo(dtype).eps * size


def test_integers_are_float64():
    assert evaluate(t / 2, {t: np.array([1, 2])}, Arrays()).tolist() == [0.5, 1.0]


PIECEWISE = [e for e in EXPRESSIONS if isinstance(e, Piecewise)]


@pytest.mark.parametrize("expression", PIECEWISE, ids=str)
def test_a_nan_that_is_compared_stays_a_nan(expression):
    first_compared = expression.args[0][1].free_symbols
    for x in first_compared:
        values = {**points(3), x: np.full(40, np.nan)}
        assert np.isnan(evaluate(expression, values, Arrays())).all()
        row = {y: v[0] for y, v in values.items()}
        assert mp.isnan(evaluate(expression, row, Multiprecision()))


def test_a_later_comparison_does_not_spoil_an_earlier_branch():
    expression = Piecewise((1, t < 0), (2, a < 0), (3, True))
    values = {t: np.array([-1.0, 1.0, 1.0]), a: np.array([np.nan, np.nan, 1.0])}
    got = evaluate(expression, values, Arrays())
    assert got[0] == 1 and np.isnan(got[1]) and got[2] == 3


def test_an_untaken_branch_makes_no_nan_and_no_warning():
    expression = Piecewise((sympy.log(t), t > 0), (sympy.exp(-1000 * t) / t, t < -9), (0, True))
    values = {t: np.array([0.0, -1.0, 1.0], np.float32)}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        got = evaluate(expression, values, Arrays())
    assert got.tolist() == [0, 0, 0] and got.dtype == np.float32


def test_without_a_default_it_is_nan_where_no_condition_holds():
    values = {t: np.array([-1.0, 1.0])}
    got = evaluate(Piecewise((t, t < 0)), values, Arrays())
    assert got[0] == -1 and np.isnan(got[1])
    assert mp.isnan(evaluate(Piecewise((t, t < 0)), {t: 1}, Multiprecision()))


def test_where_there_is_no_real_value_multiprecision_is_nan():
    for expression in (sympy.log(t), sympy.sqrt(t), t ** Rational(1, 3), 1 / (1 + t)):
        assert mp.isnan(evaluate(expression, {t: -1}, Multiprecision()))


def test_a_deep_expression_is_no_deep_recursion():
    deep = t
    for _ in range(1500):  # beyond Python's 1000 frames
        deep = sympy.Add(1, sympy.Pow(deep, 2, evaluate=False), evaluate=False)
    assert np.isinf(evaluate(deep, {t: np.ones(2)}, Arrays())).all()


def test_a_shared_node_is_computed_once():
    class Counting(Arrays):
        calls = 0

        def call(self, name, *arguments):
            Counting.calls += 1
            return super().call(name, *arguments)

    shared = t
    for _ in range(30):
        shared = sympy.tanh(shared, evaluate=False)  # SymPy's own evaluation would not end
        shared = sympy.Add(shared, sympy.Pow(shared, 2, evaluate=False), evaluate=False)
    evaluate(shared, {t: np.ones(1)}, Counting())
    assert Counting.calls == 30


TEXTS = [
    (t, "t"),
    (-t, "-t"),
    (2 * t, "2*t"),
    (t / 2, "<real>0.5*t"),
    (t / 3 - 2, "<real>(1.0/3)*t - 2"),
    (t * 2**40, "<real>1099511627776.0*t"),
    (sympy.Float(0.044715) * t, "<real>0.044715*t"),
    (sympy.Integer(0), "<real>0"),
    (sympy.Integer(-1), "-<real>1"),
    (sympy.pi, "<real>3.141592653589793"),
    (sympy.oo, "<real>INFINITY"),
    (1 / t, "1/t"),
    (-a / b**2, "-a/(b*b)"),
    (a / (1 + b), "a/(1 + b)"),
    (1 - a - b, "1 - a - b"),
    (a * (1 + b), "a*(1 + b)"),
    (t**5, "pow(t, <real>5)"),
    (t**a, "pow(t, a)"),
    (2**t, "pow(<real>2, t)"),
    (t ** Rational(-3, 2), "1/(t*sqrt(t))"),
    (sympy.exp(-(t**2) / 2), "exp(-<real>0.5*t*t)"),
    (Piecewise((0, t <= 0), (t, True)), "<real>0 if t <= 0 else t"),
    (Piecewise((a, t <= 0), (b, True)), "a if t <= 0 else (b if t > 0 else t)"),
    (Piecewise((a, a >= b), (b, True)), "a if a >= b else (b if a < b else a + b)"),
    (
        Piecewise((-1, t < 0), (1, t > 0), (0, True)),
        "-<real>1 if t < 0 else (<real>1 if t > 0 else (<real>0 if t <= 0 else t))",
    ),
    (Piecewise((a, t < 0)), "a if t < 0 else t + <real>NAN"),
    (2 * Piecewise((a, t < 0), (t, True)), "2*(a if t < 0 else t)"),
    (-Piecewise((a, t < 0), (t, True)), "-(a if t < 0 else t)"),
    (
        Piecewise((a, (t < 0) | (b < 0)), (t + b, True)),
        "a if (b < 0 or t < 0) and b == b and t == t else b + t",
    ),
    (normal_cdf(-t), "normal_cdf(-t)"),
]


@pytest.mark.parametrize(("expression", "text"), TEXTS, ids=[text for _, text in TEXTS])
def test_text(expression, text):
    assert evaluate(expression, {a: "a", b: "b", t: "t"}, ScalarText(CYTHON)) == text


def test_a_given_text_of_a_sum_is_put_in_parentheses():
    assert evaluate(2 * t, {t: Text("x + 1", 1)}, ScalarText(CYTHON)) == "2*(x + 1)"


def test_common_subexpressions_have_names_that_no_argument_has():
    e = sympy.symbols("e", real=True)
    body = sympy.exp(-e) / (1 + sympy.exp(-e)) ** 2
    assert function_body(body, [e], CYTHON) == ([("r", "exp(-e)"), ("s", "1 + r")], "r/(s*s)")


def test_a_constant_body_has_a_typed_text():
    assert function_body(sympy.Integer(2), [t], CYTHON) == ([], "<real>2")


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        (sympy.gamma(t), "gamma in gamma.t.*known are .*tanh"),
        (sympy.Function("f")(t), "f in f.t.*known are"),
        (t + a, "no value for a; got values for t"),
        (t * sympy.I, "I is not a real number"),
    ],
    ids=["gamma", "undefined", "missing", "imaginary"],
)
def test_errors_name_the_part_and_what_is_known(expression, message):
    with pytest.raises(ScalarError, match=message):
        evaluate(expression, {t: np.ones(2)}, Arrays())


@pytest.mark.parametrize("function", [normal_cdf, normal_gelu])
def test_the_normal_functions_differentiate_and_rewrite_like_erf(function):
    plain = function(t).rewrite(sympy.erf)
    assert not plain.has(function)
    for x in (-30, -2, Rational(1, 3), 5):
        for left, right in ((function(t), plain), (function(t).diff(t), plain.diff(t))):
            difference = (left - right).xreplace({t: sympy.Float(x, 400)})
            assert abs(sympy.N(difference, 400)) < sympy.Integer(10) ** -380
