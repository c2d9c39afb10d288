"""Scalar expressions: which of SymPy's are known, and what is asked of their numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping

import mpmath as mp
import sympy
from sympy.codegen.cfunctions import expm1, log1p

from .normal import normal_cdf, normal_gelu, normal_mean_excess, weighted_normal_pdf
from .stable import StableFunction


class ScalarError(ValueError):
    """An expression that can't be evaluated; the message names the part and what is known."""


FUNCTIONS: Mapping[type[sympy.Basic], str] = {
    sympy.exp: "exp",
    sympy.log: "log",
    sympy.tanh: "tanh",
    sympy.sin: "sin",
    sympy.cos: "cos",
    sympy.sinh: "sinh",
    sympy.cosh: "cosh",
    sympy.atan: "atan",
    sympy.Abs: "fabs",
    sympy.erf: "erf",
    sympy.erfc: "erfc",
    expm1: "expm1",
    log1p: "log1p",
    normal_cdf: "normal_cdf",
    normal_gelu: "normal_gelu",
    normal_mean_excess: "normal_mean_excess",
    weighted_normal_pdf: "weighted_normal_pdf",
}
"""The functions that every algebra knows; beside them there are sqrt and pow."""

_STABLE = [kind for own in StableFunction.__subclasses__() for kind in (own, *own.__subclasses__())]
_NAMES = sorted(k.__name__ for k in (*FUNCTIONS, *_STABLE) if not k.__name__.startswith("_"))
KNOWN = ", ".join(["+, *, **, sqrt, Piecewise", *_NAMES])
CALLED = frozenset([*FUNCTIONS.values(), "sqrt", "pow", "real", "INFINITY", "NAN"])
"""The names that Cython text uses."""


def is_constant(node: sympy.Basic) -> bool:
    """No symbol in it. With a stack: the body may be deeper than Python's."""
    stack = [node]
    while stack:
        top = stack.pop()
        if isinstance(top, sympy.Symbol):
            return False
        stack.extend(top.args)
    return True


def nearest_float(number: sympy.Expr) -> float:
    """The float64 nearest to the number; infinite beyond the largest.

    >>> nearest_float(sympy.Rational(1, 3)), nearest_float(sympy.Integer(10) ** 400)
    (0.3333333333333333, inf)
    """
    if not number.is_Rational:
        return float(number.evalf(30))
    try:
        return int(number.p) / int(number.q)  # correctly rounded for whole numbers of any size
    except OverflowError:
        return math.inf if number.is_positive else -math.inf


SHORT = 10**6  # a numerator and a denominator up to this are read as easily as a decimal


def decimal(number: sympy.Expr) -> tuple[str, int] | None:
    """The digits and the power of ten that a float was written with; None for a short number.

    An exact number made from a float has a power of ten below; where it is long, it is shown as it
    was written.

    >>> decimal(sympy.Rational("0.3333333333333333")), decimal(3 * sympy.Integer(10) ** 300)
    (('0.3333333333333333', 0), ('3', 300))
    >>> decimal(sympy.Rational(1, 3)), decimal(sympy.Integer(2) ** 60)
    (None, None)
    """
    if not number.is_Rational or max(abs(int(number.p)), int(number.q)) <= SHORT:
        return None
    digits, _, exponent = repr(nearest_float(number)).partition("e")
    shown = digits.removesuffix(".0"), int(exponent or 0)
    known = math.isfinite(float(digits))
    exact = known and sympy.Rational(shown[0]) * sympy.Integer(10) ** shown[1] == number
    return shown if exact else None


def is_beyond_floats(number: sympy.Expr) -> bool:
    """Whether a finite number is infinite in float64."""
    return bool(number.is_finite) and math.isinf(nearest_float(number))


def digits_of(number: sympy.Expr) -> int:
    """The decimal digits before the point of a rational number whose absolute value is above 1.

    >>> digits_of(sympy.Integer(10) ** 400)
    401
    """
    with mp.workdps(30):
        return int(mp.floor(mp.log10(int(abs(number))))) + 1
