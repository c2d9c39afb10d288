"""Every law of scalar functions: exactly, with mpmath at several scales, and what it rewrites."""

import mpmath as mp
import numpy as np
import pytest
import sympy
from sympy import Float, Pow, Rational, cos, cosh, erf, exp, log, pi, sin, sinh, sqrt, tanh

from derive.evidence.checks.accuracy import spacing
from derive.evidence.proofs.field import vanishes
from derive.language.scalars.algebras import Arrays, Multiprecision
from derive.language.scalars.declaring import operation
from derive.language.scalars.fold import evaluate
from derive.language.scalars.laws import LAWS, Law, rewritten
from derive.language.scalars.rewriting import plain
from derive.language.scalars.shipped import OPERATION_OF
from derive.language.scalars.stable import StableFunction

t, a, b = sympy.symbols("t a b", real=True)
every = pytest.mark.parametrize("law", LAWS, ids=lambda law: law.name)
SCALES = (1e-6, 0.01, 0.7, 3.0, 25.0)


def numbers(law: Law) -> list[dict[sympy.Symbol, sympy.Expr]]:
    """Several choices of the numbers of a law: the positive symbols."""
    symbols = sorted((s for s in law.before.free_symbols if s.is_positive), key=str)
    whole, other = [(1, 1, 1), (2, 3, 1), (3, 2, 4)], [Rational(1, 2), 1, 3]
    rows = [{s: sympy.Integer(n) for s, n in zip(symbols, row, strict=False)} for row in whole]
    for row, number in zip(rows, other, strict=True):
        row.update({s: sympy.sympify(number) for s in symbols if not s.is_integer})
    return rows if symbols else [{}]


def same(left: sympy.Expr, right: sympy.Expr) -> bool:
    """One function, exactly: by the field, the sides or their exponentials (one to one).

    At 2u, so that sin and cos of half an angle are seen by their laws of addition.
    """
    double = {x: 2 * x for x in left.free_symbols | right.free_symbols}
    left, right = (sympy.expand_trig(plain(side, []).xreplace(double)) for side in (left, right))
    if left == right or vanishes([left - right]):
        return True
    return vanishes([exp(left) - exp(right)])


def sides(law: Law, row: dict[sympy.Symbol, sympy.Expr]) -> tuple[sympy.Expr, sympy.Expr]:
    return law.before.subs(row), law.after.subs(row)


@every
def test_a_law_is_proved_exactly(law):
    for row in numbers(law):
        assert same(*sides(law, row))


def test_what_is_no_law_is_not_proved():
    assert not same(log(1 + exp(t)), t + log(1 + exp(t)))
    assert not same(1 - cos(t), sin(t / 2) ** 2)


@every
def test_a_law_holds_numerically_at_every_scale(law):
    """With 60 digits: its own text, the plain one of both sides."""
    met = 0
    with mp.workdps(60):
        for row in numbers(law):
            before, after = sides(law, row)
            for size in SCALES:
                for sign in (1, -1):
                    symbols = sorted(before.free_symbols, key=str)
                    at = {x: sign * mp.mpf(size) / (k + 1) for k, x in enumerate(symbols)}
                    expected = evaluate(before, at, Multiprecision())
                    if mp.isfinite(expected):
                        found = evaluate(after, at, Multiprecision())
                        assert mp.almosteq(found, expected, 1e-40, mp.mpf(10) ** -40)
                        met += 1
    assert met >= 5


FORMULAS = [
    (log(1 / (1 + exp(-t))), "-softplus(-t)"),
    (log(1 - 1 / (1 + exp(-t))), "-softplus(t)"),
    (-a * log(1 / (1 + exp(-t))), "a*softplus(-t)"),
    (log(1 + exp(2 * t)), "softplus(2*t)"),
    (log(exp(a) + exp(b)), "logaddexp(a, b)"),
    (log(1 + t), "log1p(t)"),
    (exp(t) - 1, "expm1(t)"),
    (3 * t * exp(t) - 3 * t + a, "a + 3*t*expm1(t)"),
    (1 - cos(t), "2*sin(t/2)**2"),
    (log(cosh(t)), "log_cosh(t)"),
    (log((exp(t) + exp(-t)) / 2), "log_cosh(t)"),
    (log(exp(t) - 1), "log_expm1(t)"),
    (log(1 - exp(-t)), "log1mexp(t)"),
    (Pow(sqrt(t), 2, evaluate=False), "t"),
    (Pow(t**2, Rational(1, 2), evaluate=False), "Abs(t)"),
    (exp(log(t), evaluate=False), "t"),
    (log(exp(t), evaluate=False), "t"),
    (Pow(1 / t, -1, evaluate=False), "t"),
    (1 - 1 / (1 + exp(-t)), "sigmoid(-t)"),
    (exp(t) / (1 + exp(t)), "sigmoid(t)"),
    ((exp(t) - exp(-t)) / (exp(t) + exp(-t)), "tanh(t)"),
    ((exp(2 * t) - 1) / (exp(2 * t) + 1), "tanh(t)"),
    ((1 - exp(-2 * t)) / (1 + exp(-2 * t)), "tanh(t)"),
    (1 - 2 / (exp(2 * t) + 1), "tanh(t)"),
    (sinh(t) / cosh(t), "tanh(t)"),
    (1 / cosh(t) ** 2, "sech(t)**2"),
    (1 - tanh(t) ** 2, "sech(t)**2"),
    (1 - exp(-exp(t)), "-expm1(-exp(t))"),
    (log((1 + erf(t / sqrt(2))) / 2), "log_normal_cdf(t)"),
    (t * (1 + erf(t / sqrt(2))) / 2, "normal_gelu(t)"),
    (t / 2 * (1 + tanh(sqrt(2 / pi) * t)), "t*sigmoid(2*sqrt(2)*t/sqrt(pi))"),
    (t * log(t), "power_log(t, 1, 1)"),
    (sin(t) + sqrt(t) + t, "sqrt(t) + t + sin(t)"),
    (sqrt(a) * sqrt(b), "sqrt(a)*sqrt(b)"),
    (sqrt(1 + t) - 1, "root_less_1(t)"),
]


@pytest.mark.parametrize(("formula", "expected"), FORMULAS, ids=[str(f) for f, _ in FORMULAS])
def test_what_a_formula_becomes(formula, expected):
    """And it is the same function: proved by the field."""
    after, laws = rewritten(formula)
    assert str(after) == expected
    assert (after == formula) == (not laws)
    assert same(formula, after)


def test_like_terms_are_merged():
    after, _ = rewritten(sympy.Add(log(1 + t), log(1 + t), evaluate=False))
    assert str(after) == "2*log1p(t)"


def test_a_deep_formula_is_rewritten_without_recursion():
    deep = t
    for _ in range(3000):
        deep = sympy.Add(1, Pow(deep, 2, evaluate=False), evaluate=False)
    after, laws = rewritten(deep)
    assert after is deep and not laws


FUNCTIONS = [
    kind for own in StableFunction.__subclasses__() for kind in (own, *own.__subclasses__())
]
ONE = [kind for kind in FUNCTIONS if not kind.__name__.startswith("_") and 1 in kind.nargs]


@pytest.mark.parametrize("kind", ONE, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_stable_function_keeps_its_digits(kind, dtype):
    """Within 4 ulp of the plain formula in 700 digits, from 1e-8 to 80, of both signs if real."""
    size = 10.0 ** np.linspace(-8, 1.9, 60)
    points = np.concatenate([-size, size]).astype(dtype)
    values = evaluate(kind(t), {t: points}, Arrays())
    met = 0
    with mp.workdps(700):
        for x, value in zip(points, values, strict=True):
            exact = evaluate(kind(t).plain(), {t: float(x)}, Multiprecision())
            if mp.isfinite(exact) and abs(exact) > np.finfo(dtype).tiny:
                assert abs(mp.mpf(float(value)) - exact) <= 4 * spacing(exact, dtype)
                met += 1
    assert met >= 60


@pytest.mark.parametrize("kind", FUNCTIONS, ids=lambda kind: kind.__name__)
def test_the_derivative_of_a_stable_function(kind):
    """Against SymPy's derivative of its plain formula."""
    if kind.__name__.startswith("_"):
        return
    symbols = sympy.symbols("x y", real=True)[: max(n for n in kind.nargs)]
    arguments = [*symbols, sympy.Integer(2)][: max(n for n in kind.nargs)]
    function = kind(*arguments)
    for x in symbols:
        assert vanishes([plain(function.diff(x), []) - function.plain().diff(x)])


@pytest.mark.parametrize("kind", OPERATION_OF, ids=lambda kind: kind.__name__)
def test_the_operation_of_a_function_is_that_function(kind):
    psi = OPERATION_OF[kind]
    function = kind(*psi.arguments)
    assert same(psi.body, function)
    at = dict(zip(psi.arguments, (0.7, -0.3), strict=False))
    with mp.workdps(30):
        exact = mp.mpf(sympy.N(function.subs({x: Float(v, 30) for x, v in at.items()}), 25))
        assert mp.almosteq(exact, evaluate(psi.stable, at, Multiprecision()), 1e-20)


def test_a_law_applies_only_where_its_result_is_real():
    """log(v e^u) = log v + u for no negative number v."""
    for formula in (log(-exp(t)), log(-2 * cosh(t)), log(-exp(a) / (1 + exp(b)))):
        after, _ = rewritten(formula)
        assert not after.has(sympy.I) and after.has(log)


FAR = [
    # formula, arguments, value: no rewritten form overflows where the formula does not
    (lambda a, b: sqrt(a) * sqrt(b), (1e200, 1e200), 1e200),
    (lambda a, b: sqrt(a) * sqrt(b), (1e-200, 1e-200), 1e-200),
    (lambda t: sqrt(1 + t) - 1, (1e200,), 1e100),
    (lambda t: sqrt(1 + t) - 1, (-1.0,), -1),
    (lambda t: sqrt(1 + t) - 1, (1e-20,), 5e-21),
    (
        lambda a, b, c: (exp(a) - 1) * exp(b) * (exp(c) - 1),
        (-2.0, 0.5, 1e-9),
        np.expm1(-2.0) * np.exp(0.5) * np.expm1(1e-9),
    ),
    (lambda t: sqrt(1 + t**2) - 1, (1e200,), np.inf),  # as the formula itself, and no NaN
]


@pytest.mark.parametrize(("formula", "at", "value"), FAR)
def test_a_rewritten_form_reaches_as_far_as_the_formula(formula, at, value):
    with np.errstate(over="ignore"):
        assert float(operation("f", formula)(*at)) == pytest.approx(value, rel=1e-15)


POWERS = [
    # formula, d/da, d/db at a = 2, b = 3
    (lambda a, b: a ** (b + 1), 32, 16 * np.log(2)),
    (lambda a, b: a**b / a, 4, 4 * np.log(2)),
    (lambda a, b: b * a ** (b - 1), 12, 4 + 12 * np.log(2)),
    (lambda a, b: a ** (1 / b), 2 ** (-2 / 3) / 3, -(2 ** (1 / 3)) * np.log(2) / 9),
    (lambda a, b: sympy.Abs(a) ** (b - 1), 4, 4 * np.log(2)),
    (lambda a, b: a ** (b - 1) * exp(-a), 0, 4 * np.log(2) * np.exp(-2)),
]


@pytest.mark.parametrize(("formula", "by_a", "by_b"), POWERS)
def test_the_exponent_of_a_power_may_be_an_expression(formula, by_a, by_b):
    psi = operation("f", formula)
    assert float(psi.derivative(0)(2.0, 3.0)) == pytest.approx(by_a, rel=1e-14, abs=1e-15)
    assert float(psi.derivative(1)(2.0, 3.0)) == pytest.approx(by_b, rel=1e-14)
    crossed = (psi.derivative(0).derivative(1), psi.derivative(1).derivative(0))
    assert len({float(f(2.0, 3.0)) for f in crossed}) == 1


CONVENTIONS = [
    # formula, arguments, value, derivative by the first
    (lambda t: Pow(t**2, Rational(1, 2)), (0.0,), 0, 0),
    (lambda t: Pow(sqrt(t), 2), (0.0,), 0, 1),
    (lambda t: Pow(sqrt(t), 2), (-2.0,), -2, 1),
    (lambda t: 1 / (1 / t), (0.0,), 0, 1),
    (lambda t: exp(log(t)), (-2.0,), -2, 1),
    (lambda t: t * log(t), (0.0,), 0, -np.inf),
    (lambda t: t**2 * log(t), (0.0,), 0, 0),
    (lambda a, b: a**b, (0.0, 0.0), 1, 0),
    (lambda a, b: a**b, (0.0, 1.0), 0, 1),
    (lambda a, b: a**b, (0.0, 2.5), 0, 0),
    (lambda a, b: a**b, (2.0, 3.0), 8, 12),
    (lambda a, b: log(exp(a) + exp(b)), (800.0, -800.0), 800, 1),
]


@pytest.mark.parametrize(("formula", "at", "value", "slope"), CONVENTIONS)
def test_what_holds_by_convention_or_as_a_limit(formula, at, value, slope):
    psi = operation("f", formula)
    assert float(psi(*at)) == value
    assert float(psi.derivative(0)(*at)) == slope


def test_an_operation_says_which_laws_it_was_rewritten_by():
    psi = operation("f", lambda t: t * log(1 / (1 + exp(-t))))
    assert [law.name for law in psi.laws] == ["logistic function", "log sigmoid"]
    assert psi.body == t * log(1 / (1 + exp(-t)))  # which is printed
