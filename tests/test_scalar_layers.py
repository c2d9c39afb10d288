"""Compiled elementwise functions of a user: values, first and second derivatives at awkward points.

The exact values are mpmath's, of functions written here in Python: beside an equality, far out, at
kinks and where the formula as it is written overflows.
"""

import warnings
from collections.abc import Callable
from types import ModuleType

import mpmath as mp
import numpy as np
import pytest
import sympy
from conftest import QUICK, built
from sympy import (
    Abs,
    Eq,
    Max,
    Min,
    Ne,
    Piecewise,
    Rational,
    cos,
    cosh,
    erf,
    exp,
    log,
    pi,
    sign,
    sin,
    sqrt,
    tanh,
)

from derive import Layer, R, dims, elementwise_function
from derive.tools.build import load_kernels, texts

n = dims("n")
H = R(n)
HALF = Rational(1, 2)
FAR = [-800.0, -30.0, -3.0, -1e-6, 1e-6, 0.5, 3.0, 30.0, 800.0]
POSITIVE = [x for x in FAR if x > 0]
Exact = Callable[..., mp.mpf]


def phi(t):
    return mp.erfc(-t / mp.sqrt(2)) / 2


def gelu_by_tanh(t):
    return t / 2 * (1 + mp.tanh(mp.sqrt(2 / mp.pi) * (t + mp.mpf("0.044715") * t**3)))


SMOOTH: dict[str, tuple[Callable[[sympy.Symbol], sympy.Expr], Exact, list[float]]] = {
    "log_of_cosh": (lambda t: log(cosh(t)), lambda t: mp.log(mp.cosh(t)), FAR),
    "log_of_expm1": (lambda t: log(exp(t) - 1), lambda t: mp.log(mp.expm1(t)), POSITIVE),
    "log_of_1mexp": (lambda t: log(1 - exp(-t)), lambda t: mp.log(-mp.expm1(-t)), POSITIVE),
    "t_tanh_exp": (lambda t: t * tanh(exp(t)), lambda t: t * mp.tanh(mp.exp(t)), FAR),
    "cosh_below": (lambda t: 1 / cosh(t) ** 2, lambda t: mp.sech(t) ** 2, FAR),
    "tanh_by_exp": (
        lambda t: (exp(t) - exp(-t)) / (exp(t) + exp(-t)),
        lambda t: mp.tanh(t),
        FAR,
    ),
    "cloglog": (lambda t: 1 - exp(-exp(t)), lambda t: -mp.expm1(-mp.exp(t)), FAR),
    "log_phi": (lambda t: log((1 + erf(t / sqrt(2))) / 2), lambda t: mp.log(phi(t)), FAR[1:]),
    "gelu_tanh": (
        lambda t: t / 2 * (1 + tanh(sqrt(2 / pi) * (t + Rational("0.044715") * t**3))),
        gelu_by_tanh,
        [-30.0, -5.0, -3.0, 0.5, 3.0, 800.0],
    ),
    "log_1_plus": (lambda t: log(1 + t), lambda t: mp.log1p(t), [-0.5, 1e-9, 1e-3, 800.0]),
    "exp_less_1": (lambda t: exp(t) - 1, lambda t: mp.expm1(t), [-800.0, -1e-9, 1e-9, 3.0]),
    "versine": (lambda t: 1 - cos(t), lambda t: 2 * mp.sin(t / 2) ** 2, [-1e-8, 1e-4, 3.0]),
    "log_logistic": (lambda t: log(1 / (1 + exp(-t))), lambda t: -mp.log1p(mp.exp(-t)), FAR),
    "awkward": (
        lambda t: t / 3 + 1.0507009873554805 * t**2 + sympy.Float("1e-10") * t**3 + 10**12,
        lambda t: t / 3 + mp.mpf("1.0507009873554805") * t**2 + mp.mpf("1e-10") * t**3 + 10**12,
        FAR,
    ),
}


PIECES: dict[str, tuple[Callable[[sympy.Symbol], sympy.Expr], list[list[float]]]] = {
    # x, f, f', f''
    "huber": (
        lambda t: Piecewise((t * t / 2, Abs(t) <= 1), (Abs(t) - 1 / 2, True)),
        [[-3, 2.5, -1, 0], [-1, 0.5, -1, 1], [0.5, 0.125, 0.5, 1], [1, 0.5, 1, 1], [2, 1.5, 1, 0]],
    ),
    "hard_shrink": (
        lambda t: Piecewise((t, Abs(t) > HALF), (0, True)),
        [[-2, -2, 1, 0], [-0.5, 0, 0, 0], [0, 0, 0, 0], [0.75, 0.75, 1, 0]],
    ),
    "by_max": (
        lambda t: Piecewise((t**2, Max(t, -t) < Min(2, 3)), (4 * Abs(t) - 4, True)),
        [[-3, 8, -4, 0], [-1, 1, -2, 2], [1.5, 2.25, 3, 2], [2, 4, 4, 0]],
    ),
    "by_sign": (
        lambda t: Piecewise((t**3, sign(t) > 0), (-(t**2), True)),
        [[-2, -4, 4, -2], [0, 0, 0, -2], [2, 8, 12, 12]],
    ),
    "square_at_1": (
        lambda t: Piecewise((t**2, Ne(t, 1)), (1, True)),
        [[0.5, 0.25, 1, 2], [1, 1, 2, 2], [2, 4, 4, 2]],
    ),
    "exprel": (
        lambda t: Piecewise((1, Eq(t, 0)), ((exp(t) - 1) / t, True)),
        [[0, 1, 1 / 2, 1 / 3], [1, np.e - 1, 1, np.e - 2]],
    ),
    "sinc": (
        lambda t: Piecewise((sin(t) / t, Ne(t, 0)), (1, True)),
        [[0, 1, 0, -1 / 3], [np.pi, 0, -1 / np.pi, 2 / np.pi**2]],
    ),
}


def smooth_l1(a, b):
    return Piecewise(((a - b) ** 2 / 2, Abs(a - b) < 1), (Abs(a - b) - HALF, True))


def declared(name, formula):
    """Two of them lose digits beside their equality, and are warned of."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return elementwise_function(name, formula)


FUNCTIONS = {**SMOOTH, **PIECES}


def singles() -> Layer:
    psi = [declared(name, row[0]) for name, row in FUNCTIONS.items()]
    return Layer.of(
        "scalar_functions",
        state={"x": H ** len(psi)},
        output=lambda x: tuple(f(z) for f, z in zip(psi, x, strict=True)),
    )


def pairs() -> Layer:
    power = declared("power_of", lambda a, b: a**b)
    distance = declared("distance", smooth_l1)
    return Layer.of(
        "scalar_pairs",
        state={"x": H, "y": H},
        output=lambda x, y: (power(x, y), distance(x, y)),
    )


@pytest.fixture(scope="module")
def kernels(request) -> dict[str, ModuleType]:
    layers = {layer.name: layer for layer in (singles(), pairs())}
    folder = built(request, "scalars", lambda: texts(layers), QUICK)
    return {name: load_kernels(name, folder) for name in layers}


def orders(module: ModuleType, place: int, at: list[float], dtype) -> list[np.ndarray]:
    """f, f', f'' of one function at some points, by forward, tangent and tangent_backward."""
    count = len(at)

    def only(values):
        return tuple(
            np.array(values, dtype) if k == place else np.ones(count, dtype)
            for k in range(len(FUNCTIONS))
        )

    x, one = only(at), only([1.0] * count)
    none = tuple(np.zeros(count, dtype) for _ in FUNCTIONS)
    bar = tuple(o if k == place else z for k, (o, z) in enumerate(zip(one, none, strict=True)))
    found = [module.forward(x), module.tangent(x, one), module.tangent_backward(x, bar, one, none)]
    return [every[place] for every in found]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", SMOOTH)
def test_a_smooth_function_keeps_its_digits_at_every_order(kernels, name, dtype):
    """64 eps of the value, of a derivative of its size near 1: a dozen roundings at most, each
    amplified by what a rounding of an argument of exp changes (t = 30)."""
    _, exact, points = SMOOTH[name]
    place = list(SMOOTH).index(name)
    points = [float(np.float32(x)) for x in points if dtype == np.float64 or abs(x) < 85]
    found = orders(kernels["scalar_functions"], place, points, dtype)
    eps = float(np.finfo(dtype).eps)
    with mp.workdps(900):
        for order, values in enumerate(found):
            size = abs(mp.diff(exact, mp.mpf("0.7"), order)) if order else 0
            for x, value in zip(points, values, strict=True):
                expected = mp.diff(exact, mp.mpf(x), order)
                allowed = 64 * eps * (abs(expected) + size) + float(np.finfo(dtype).tiny)
                assert abs(mp.mpf(float(value)) - expected) <= allowed, (order, x)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", PIECES)
def test_conditions_and_equalities_at_every_order(kernels, name, dtype):
    place = len(SMOOTH) + list(PIECES).index(name)
    rows = np.array(PIECES[name][1])
    found = orders(kernels["scalar_functions"], place, list(rows[:, 0]), dtype)
    for values, expected in zip(found, rows[:, 1:].T, strict=True):
        # the argument is rounded, and at pi and 1 three roundings of numbers below 10
        np.testing.assert_allclose(values, expected, rtol=0, atol=32 * np.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_power_of_two_arguments_at_zero(kernels, dtype):
    """0^b for b = 1, 2, 3, and its derivatives: 1, 0, 0 by a; 0 by b."""
    a, b = np.zeros(3, dtype), np.array([1, 2, 3], dtype)
    one, none = np.ones(3, dtype), np.zeros(3, dtype)
    module = kernels["scalar_pairs"]
    assert module.forward(a, b)[0].tolist() == [0, 0, 0]
    assert module.tangent(a, b, one, none)[0].tolist() == [1, 0, 0]
    assert module.tangent(a, b, none, one)[0].tolist() == [0, 0, 0]


def test_smooth_l1_of_two_arguments(kernels):
    a, b = np.array([0.0, 2.0, -3.0, 1.0]), np.array([0.5, 0.0, 1.0, 0.0])
    module, one, none = kernels["scalar_pairs"], np.ones(4), np.zeros(4)
    assert module.forward(a, b)[1].tolist() == [0.125, 1.5, 3.5, 0.5]
    assert module.tangent(a, b, one, none)[1].tolist() == [-0.5, 1, -1, 1]
    assert module.tangent(a, b, none, one)[1].tolist() == [0.5, -1, 1, -1]


@pytest.mark.parametrize("name", [*SMOOTH, *PIECES])
def test_a_nan_stays_a_nan(kernels, name):
    place = [*SMOOTH, *PIECES].index(name)
    assert np.isnan(orders(kernels["scalar_functions"], place, [np.nan], np.float64)[0]).all()
