"""psi and its derivatives: stable equals plain, derivatives are derivatives, kinks, NaN, ulps in C."""

import ctypes
import itertools
import subprocess
import sys
import sysconfig
from functools import cache
from pathlib import Path

import mpmath as mp
import numpy as np
import pytest
import sympy

import derive
from derive.operations import Operation, OperationError, leaky, operation, power, shipped
from derive.scalars import Multiprecision, cython_body, evaluate

ROOT = Path(derive.__file__).resolve().parent
POSITIVE = {"log", "sqrt"}
FLOATS = {np.float64: 700.0, np.float32: 88.0}  # exp(x) is finite and normal or nearly so
swish = operation("swish", lambda t, beta: t / (1 + sympy.exp(-beta * t)))
mish = operation("mish", lambda t: t * sympy.tanh(sympy.log(1 + sympy.exp(t))))
clip = operation("clip", lambda t: sympy.Max(0, sympy.Min(1, t / 6 + sympy.Rational(1, 2))))
declared = {psi.name: psi for psi in (swish, mish, clip, power(sympy.Rational(-3, 2)))}
POSITIVE.add("power_minus_3_over_2")


def up_to_second_order(psi: Operation) -> list[Operation]:
    found = [psi]
    for _ in range(2):
        found += [f.derivative(k) for f in found for k in range(len(psi.arguments))]
    return list(dict.fromkeys(found))


EVERY = [f for psi in shipped.values() for f in up_to_second_order(psi)]
MORE = EVERY + [f for psi in declared.values() for f in up_to_second_order(psi)]
every = pytest.mark.parametrize("psi", EVERY, ids=[f.name for f in EVERY])
more = pytest.mark.parametrize("psi", MORE, ids=[f.name for f in MORE])


def points(psi: Operation, largest: float, dtype=np.float64, count: int = 60) -> list[np.ndarray]:
    """One array for each argument: large, moderate and tiny ones, of both signs where psi allows."""
    generator = np.random.default_rng(len(psi.base))
    columns = []
    for _ in psi.arguments:
        parts = [generator.uniform(-size, size, count) for size in (largest, 40, 3)]
        parts.append(10.0 ** generator.uniform(-12, 0, count) * generator.choice([-1, 1], count))
        column = generator.permutation(np.concatenate(parts)).astype(dtype)
        columns.append(abs(column) if psi.base in POSITIVE else column)
    return columns


def exactly(psi: Operation, expression: sympy.Expr, row, digits: int):
    with mp.workdps(digits):
        return evaluate(expression, dict(zip(psi.arguments, row, strict=True)), Multiprecision())


# --- stable equals plain; a derivative is a derivative


@more
def test_stable_is_plain(psi):
    """1 - tanh^2 has 608 digits of cancellation at 700, 1 + erf has 320 at -38 (then it is 0)."""
    for row in itertools.islice(zip(*points(psi, 700, count=15), strict=True), 60):
        plain, stable = (exactly(psi, e, row, 720) for e in (psi.body, psi.stable))
        assert abs(stable - plain) <= mp.mpf(10) ** -50 * abs(plain) + mp.mpf(10) ** -700


@more
def test_body_is_in_plain_functions(psi):
    allowed = (sympy.exp, sympy.log, sympy.tanh, sympy.erf, sympy.Piecewise)
    assert all(isinstance(f, allowed) for f in psi.body.atoms(sympy.Function))


def derivatives(operations):
    return [(f, k) for f in operations if sum(f.orders) < 2 for k in range(len(f.arguments))]


@pytest.mark.parametrize(
    ("psi", "argument"), derivatives(MORE), ids=[f"{f.name}-{k}" for f, k in derivatives(MORE)]
)
def test_derivative_is_the_differential_quotient(psi, argument):
    """mpmath's difference is good to half its digits; kinks are no random points."""
    derived = psi.derivative(argument)
    orders = tuple(int(k == argument) for k in range(len(psi.arguments)))
    with mp.workdps(60):
        for row in itertools.islice(zip(*points(psi, 30, count=5), strict=True), 20):
            exact = [mp.mpf(float(x)) for x in row]

            def body(*at):
                return evaluate(
                    psi.body, dict(zip(psi.arguments, at, strict=True)), Multiprecision()
                )

            quotient = mp.diff(body, tuple(exact), orders)
            got = exactly(derived, derived.body, row, 60)
            assert abs(quotient - got) <= mp.mpf(10) ** -25 * (1 + abs(got))


def test_third_order_comes_from_sympy_and_does_not_overflow():
    third = shipped["sigmoid"].derivative().derivative().derivative()
    assert third.name == "sigmoid_d3"
    t = np.array([-800.0, -1.0, 0.0, 2.0, 800.0])
    exact = [float(exactly(third, third.body, [x], 800)) for x in t]
    np.testing.assert_allclose(third(t), exact, rtol=0, atol=8 * np.finfo(float).eps)


def test_mixed_derivatives_do_not_depend_on_the_order_of_differentiation():
    quotient = shipped["quotient"]
    assert quotient.derivative(0).derivative(1) == quotient.derivative(1).derivative(0)
    assert quotient.derivative(1).derivative(0).name == "quotient_d11"


def test_a_derivative_is_computed_once():
    assert shipped["gelu"].derivative() is shipped["gelu"].derivative()


def test_a_users_operation_of_a_shipped_name_has_its_own_derivative():
    other = operation("tanh", lambda t: t**2)
    assert other.derivative().body == 2 * other.arguments[0]


# --- kinks


KINKS = [
    ("relu", (0.0,), 0),
    ("leaky_relu", (0.0,), 0.01),
    ("elu", (0.0,), 1),
    ("absolute", (0.0,), 0),
]


@pytest.mark.parametrize(("name", "at", "slope"), KINKS, ids=[name for name, *_ in KINKS])
def test_the_derivative_at_a_kink(name, at, slope):
    psi = shipped[name]
    assert psi.kinks == psi.arguments and not psi.analytic
    assert psi.derivative()(*at) == slope


@pytest.mark.parametrize("name", ["maximum", "minimum"])
def test_a_tie_takes_the_first_argument(name):
    psi = shipped[name]
    assert [float(psi.derivative(k)(2.0, 2.0)) for k in (0, 1)] == [1, 0]


def test_max_min_abs_sign_and_heaviside_of_a_user_follow_the_table():
    def at_zero(formula):
        return float(operation("f", formula).derivative()(0.0))

    assert at_zero(lambda t: sympy.Max(t, 0)) == 0
    assert at_zero(lambda t: sympy.Min(t, 0)) == 0
    assert at_zero(lambda t: sympy.Abs(t)) == 0
    assert at_zero(lambda t: t * sympy.Heaviside(t)) == 0
    assert at_zero(lambda t: t * sympy.Heaviside(t, 1)) == 1
    assert at_zero(lambda t: t * sympy.sign(t)) == 0
    assert float(operation("f", lambda t: sympy.sign(t))(0.0)) == 0
    tie = operation("f", lambda b, a: sympy.Max(a, b))  # SymPy sorts to Max(a, b)
    assert [float(tie.derivative(k)(2.0, 2.0)) for k in (0, 1)] == [1, 0]


def test_nested_kinks_are_all_found():
    (t,) = clip.arguments
    assert set(clip.kinks) == {t - 3, t + 3}
    assert clip(np.array([-4.0, 0.0, 4.0])).tolist() == [0, 0.5, 1]


def test_smooth_operations_have_no_kinks_and_are_analytic():
    smooth = set(shipped) - {"relu", "leaky_relu", "elu", "absolute", "maximum", "minimum"}
    assert smooth == {name for name, psi in shipped.items() if psi.analytic and not psi.kinks}


def test_second_derivatives_that_vanish_are_known_to():
    zero = {psi.name for psi in EVERY if psi.is_zero}
    assert {"relu_d2", "leaky_relu_d2", "absolute_d2", "maximum_d11", "quotient_d20"} <= zero
    assert not {"elu_d2", "tanh_d2", "quotient_d11", "square_d2"} & zero
    assert shipped["square"].derivative().derivative().is_constant


# --- accuracy and NaN, in NumPy and in C


@cache
def library() -> object:
    """Every operation and order, emitted as text, compiled as the project does."""
    folder = Path(sysconfig_temporary())
    source = folder / "every_operation.pyx"
    source.write_text(module_text())
    include = sysconfig.get_paths()["include"]
    cython = [sys.executable, "-m", "cython", "-3", "-X", "cdivision=True", "-I", str(ROOT.parent)]
    subprocess.run([*cython, str(source)], check=True)
    flags = "-O3 -march=native -fno-math-errno -fno-trapping-math -ffp-contract=fast".split()
    warnings = ["-Wall", "-Wextra", "-Werror"]
    target = source.with_suffix(sysconfig.get_config_var("EXT_SUFFIX"))
    paths = [f"-I{include}", f"-I{ROOT / 'runtime'}"]
    command = ["gcc", *flags, *warnings, "-fPIC", "-shared", *paths]
    c_file = source.with_suffix(".c")
    subprocess.run([*command, str(c_file), "-o", str(target), "-lm"], check=True)
    return load(target)
