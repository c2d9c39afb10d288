"""The shipped operations, with what keeps them and their derivatives accurate in the tails."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import sympy
from sympy import Piecewise
from sympy.codegen.cfunctions import expm1

from .normal import normal_cdf, normal_gelu
from .operations import Operation, operation
from .rewriting import log_without_overflow


def _exp_minus(t: sympy.Expr) -> sympy.Expr:
    return sympy.exp(-sympy.Abs(t))


def _sigmoid(t: sympy.Expr) -> sympy.Expr:
    e = _exp_minus(t)
    return Piecewise((1 / (1 + e), t >= 0), (e / (1 + e), True))


def _sigmoid_d1(t: sympy.Expr) -> sympy.Expr:
    """s (1 - s), which is even in t."""
    e = _exp_minus(t)
    return e / (1 + e) ** 2


def _sigmoid_d2(t: sympy.Expr) -> sympy.Expr:
    """s' (1 - 2s), and 1 - 2s = -tanh(t/2)."""
    return -_sigmoid_d1(t) * sympy.tanh(t / 2)


def _tanh_d1(t: sympy.Expr) -> sympy.Expr:
    """1 - tanh^2 = 4 e^-2|t| / (1 + e^-2|t|)^2."""
    return 4 * _sigmoid_d1(2 * t)


def _softplus_of(t: sympy.Expr) -> sympy.Expr:
    """max(t, 0) + log(1 + e^-|t|)."""
    return log_without_overflow(1 + sympy.exp(t))


def _density(t: sympy.Expr) -> sympy.Expr:
    """phi = Phi'."""
    return sympy.exp(-(t**2) / 2) / sympy.sqrt(2 * sympy.pi)


def _above_zero(t: sympy.Expr, value: sympy.Expr) -> sympy.Expr:
    return Piecewise((value, t > 0), (0, True))


tanh = operation(
    "tanh",
    lambda t: sympy.tanh(t),
    derivatives={1: _tanh_d1, 2: lambda t: -2 * sympy.tanh(t) * _tanh_d1(t)},
)
sigmoid = operation(
    "sigmoid",
    lambda t: 1 / (1 + sympy.exp(-t)),
    stable=_sigmoid,
    derivatives={1: _sigmoid_d1, 2: _sigmoid_d2},
)
softplus = operation(
    "softplus",
    lambda t: sympy.log(1 + sympy.exp(t)),
    stable=_softplus_of,
    derivatives={1: _sigmoid, 2: _sigmoid_d1},
)
gelu = operation(
    "gelu",
    lambda t: t * (1 + sympy.erf(t / sympy.sqrt(2))) / 2,
    stable=lambda t: normal_gelu(t),
    derivatives={
        1: lambda t: normal_cdf(t) + t * _density(t),
        2: lambda t: (2 - t**2) * _density(t),
    },
)
elu = operation(
    "elu",
    lambda t: Piecewise((sympy.exp(t) - 1, t <= 0), (t, True)),
    stable=lambda t: Piecewise((expm1(t), t <= 0), (t, True)),
)
relu = operation("relu", lambda t: Piecewise((0, t <= 0), (t, True)))
exp = operation("exp", lambda t: sympy.exp(t))
log = operation("log", lambda t: sympy.log(t))
sqrt = operation("sqrt", lambda t: sympy.sqrt(t))
square = operation("square", lambda t: t**2)
reciprocal = operation("reciprocal", lambda t: 1 / t)
quotient = operation("quotient", lambda a, b: a / b)
absolute = operation("absolute", lambda t: sympy.Abs(t))
maximum = operation("maximum", lambda a, b: Piecewise((a, a >= b), (b, True)))
minimum = operation("minimum", lambda a, b: Piecewise((a, a <= b), (b, True)))
root = operation(
    "root",
    lambda t: sympy.sqrt(t),
    derivatives={
        1: lambda t: _above_zero(t, 1 / (2 * sympy.sqrt(t))),
        2: lambda t: _above_zero(t, -1 / (4 * t * sympy.sqrt(t))),
    },
)
difference = operation(
    "difference",
    lambda a, b: a - b,
    stable=lambda a, b: Piecewise((0, sympy.Eq(a, b)), (a - b, True)),
)
weighed = operation(
    "weighed", lambda p, a: p * a, stable=lambda p, a: Piecewise((0, sympy.Eq(p, 0)), (p * a, True))
)
anchor = operation(
    "anchor", lambda t: t, stable=lambda t: Piecewise((0, (t < 0) & (t <= 2 * t)), (t, True))
)
share = operation("share", lambda t: 1 / t, stable=lambda t: _above_zero(t, 1 / t))


def _word(number: sympy.Rational) -> str:
    return str(number).replace("-", "minus_").replace("/", "_over_")


def leaky(slope: sympy.Rational, name: str = "") -> Operation:
    """t for t > 0, slope t else; the derivative at 0 is the slope.

    >>> leaky(sympy.Rational(1, 5)).name
    'leaky_relu_1_over_5'
    """
    return operation(
        name or f"leaky_relu_{_word(slope)}", lambda t: Piecewise((slope * t, t <= 0), (t, True))
    )


def power(exponent: sympy.Rational) -> Operation:
    """t**exponent, for a rational number.

    >>> power(sympy.Rational(-3, 2)).name
    'power_minus_3_over_2'
    """
    return operation(f"power_{_word(exponent)}", lambda t: t**exponent)


leaky_relu = leaky(sympy.Rational(1, 100), "leaky_relu")

shipped: Mapping[str, Operation] = MappingProxyType(
    {
        psi.name: psi
        for psi in (
            *(tanh, sigmoid, relu, leaky_relu, elu, softplus, gelu, exp, log, sqrt, square),
            *(reciprocal, quotient, absolute, maximum, minimum),
            *(root, difference, weighed, anchor, share),
        )
    }
)
"""Every operation here, by its name."""
