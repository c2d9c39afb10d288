"""The numbers in front of terms: exact, real and within the range of floats."""

from __future__ import annotations

import numbers
from math import isfinite

import sympy

from .nodes import Node
from .scalars.scalars import digits_of, is_beyond_floats
from .spaces import SpaceError


def coefficient(value: object) -> sympy.Expr:
    """An exact number: a float is read as the decimal it prints as (0.1 is 1/10).

    Raises SpaceError for anything other than a finite real number or an expression in sizes.
    """
    if not isinstance(value, numbers.Real) and getattr(value, "shape", None) == ():
        value = getattr(value, "item", lambda: value)()  # an array of no axes
    if isinstance(value, bool) or not isinstance(value, (numbers.Real, sympy.Expr)):
        raise SpaceError(f"expected a number or an expression of the same space, got {told(value)}")
    number = _exact(value)
    unreal = number is sympy.nan or number.is_finite is False or number.is_extended_real is False
    if unreal or any(not symbol.is_integer for symbol in number.free_symbols):
        raise SpaceError(f"expected a finite real number or an expression in sizes, got {value!r}")
    check_in_range(number)
    return number


def _exact(value: numbers.Real | sympy.Expr) -> sympy.Expr:
    if isinstance(value, sympy.Expr):
        is_float = isinstance(value, sympy.Float) and value.is_finite
        return sympy.Rational(str(value)) if is_float else value
    if isinstance(value, numbers.Rational):
        return sympy.Rational(int(value.numerator), int(value.denominator))
    return sympy.Rational(str(value)) if isfinite(value) else sympy.nan


def check_in_range(number: sympy.Expr) -> None:
    if number.is_Rational and is_beyond_floats(number):
        raise SpaceError(
            f"expected a number below 1.8e308, the largest in floating point, got one of "
            f"{digits_of(number)} digits; scale the formula"
        )


def told(value: object) -> str:
    """What was given in place of an expression; for an array also what to do with it."""
    if isinstance(value, Node):
        return f"an expression of {value.space}"
    if hasattr(value, "__array__") or isinstance(value, (list, set, dict)):
        return (
            f"{type(value).__name__} {value!r}; an array is data: declare an argument for it, "
            "c: given(R(n)) where each point has its own, c: fixed(R(n)) right of the *"
        )
    return f"{value!r} of type {type(value).__name__}"
