"""The shipped operations, with what keeps them and their derivatives accurate in the tails."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import sympy
from sympy import Piecewise
from sympy.codegen.cfunctions import expm1, log1p

from . import stable
from .declaring import operation
from .normal import log_normal_cdf, normal_cdf, normal_gelu, weighted_normal_pdf
from .operations import Operation


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
    stable=lambda t: stable.softplus(t),
    derivatives={1: _sigmoid, 2: _sigmoid_d1},
)
gelu = operation(
    "gelu",
    lambda t: t * (1 + sympy.erf(t / sympy.sqrt(2))) / 2,
    stable=lambda t: normal_gelu(t),
    derivatives={
        1: lambda t: normal_cdf(t) + weighted_normal_pdf(t, t),
        2: lambda t: weighted_normal_pdf(2 - t**2, t),
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
log1p_ = operation("log1p", lambda t: log1p(t))
expm1_ = operation("expm1", lambda t: expm1(t))
log_cosh = operation(
    "log_cosh",
    lambda t: stable.log_cosh(t),
    derivatives={1: lambda t: sympy.tanh(t), 2: _tanh_d1},
)
log_expm1 = operation("log_expm1", lambda t: stable.log_expm1(t))
log1mexp = operation("log1mexp", lambda t: stable.log1mexp(t))
normal_distribution = operation("normal_cdf", lambda t: normal_cdf(t))
log_normal_distribution = operation("log_normal_cdf", lambda t: log_normal_cdf(t))
sech = operation("sech", lambda t: stable.sech(t))
sin = operation("sin", lambda t: sympy.sin(t))
cos = operation("cos", lambda t: sympy.cos(t))
sinh = operation("sinh", lambda t: sympy.sinh(t))
cosh = operation("cosh", lambda t: sympy.cosh(t))
atan = operation("atan", lambda t: sympy.atan(t))
erf = operation("erf", lambda t: sympy.erf(t))
erfc = operation("erfc", lambda t: sympy.erfc(t))
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
share = operation("share", lambda t: _above_zero(t, 1 / t))
select = operation(
    "select",
    lambda mask, there, elsewhere: Piecewise((there, sympy.Ne(mask, 0)), (elsewhere, True)),
    linear=(1, 2),
)


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


def is_power(psi: Operation) -> bool:
    """Whether it is `power(p)` for a rational p; a user's function never is, whatever its formula.

    >>> is_power(power(sympy.Integer(3))), is_power(operation("power_up", lambda t: t + 1))
    (True, False)
    """
    base, exponent = psi.body.as_base_exp()
    known = base in psi.arguments and exponent.is_Rational
    return bool(known) and psi == power(exponent)


leaky_relu = leaky(sympy.Rational(1, 100), "leaky_relu")

shipped: Mapping[str, Operation] = MappingProxyType(
    {
        psi.name: psi
        for psi in (
            *(tanh, sigmoid, relu, leaky_relu, elu, softplus, gelu, exp, log, sqrt, square),
            *(
                reciprocal,
                quotient,
                absolute,
                maximum,
                minimum,
                log1p_,
                expm1_,
                log_cosh,
                log_expm1,
            ),
            *(log1mexp, normal_distribution, log_normal_distribution, sech, sin, cos, sinh, cosh),
            *(atan, erf, erfc),
            *(root, difference, weighed, anchor, share, select),
        )
    }
)
"""Every operation here, by its name."""

logaddexp = operation("logaddexp", lambda a, b: stable.logaddexp(a, b))
exp_expm1 = operation("exp_expm1", lambda a, b: stable.exp_expm1(a, b))

OPERATION_OF: Mapping[type[sympy.Function], Operation] = MappingProxyType(
    {
        **{sympy.exp: exp, sympy.log: log, sympy.tanh: tanh, sympy.Abs: absolute, sympy.sin: sin},
        **{sympy.cos: cos, sympy.sinh: sinh, sympy.cosh: cosh, sympy.atan: atan, sympy.erf: erf},
        **{sympy.erfc: erfc, log1p: log1p_, expm1: expm1_, normal_cdf: normal_distribution},
        **{normal_gelu: gelu, log_normal_cdf: log_normal_distribution, stable.sech: sech},
        **{stable.sigmoid: sigmoid, stable.softplus: softplus, stable.log_cosh: log_cosh},
        **{stable.log_expm1: log_expm1, stable.log1mexp: log1mexp},
        **{stable.logaddexp: logaddexp, stable.exp_expm1: exp_expm1},
    }
)
"""The operation that a function is, in the order of its arguments: expressions as nodes again."""
