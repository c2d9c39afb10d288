"""Sizes: positive whole numbers and expressions in symbols of them, each in one form."""

from __future__ import annotations

import numbers
from functools import lru_cache
from typing import TypeAlias

import sympy

from .mistakes import SpaceError, called

Size: TypeAlias = "sympy.Expr"


@called
def dims(names: str) -> sympy.Symbol | tuple[sympy.Symbol, ...]:
    """Sizes: positive integer symbols, from names separated by spaces.

    >>> n, m = dims("n m")
    >>> n.is_positive, m.is_integer
    (True, True)
    """
    _check_words("dims", names, "dims('n m')")
    symbols = tuple(sympy.Symbol(name, integer=True, positive=True) for name in names.split())
    if not symbols or len(set(symbols)) < len(symbols):
        raise ValueError(f"dims: expected different names, as in dims('n m'), got {names!r}")
    if not all(name.isidentifier() for name in names.split()):
        raise ValueError(f"dims: names are separated by spaces, as in dims('n m'), got {names!r}")
    return symbols if len(symbols) > 1 else symbols[0]


def _check_words(what: str, names: object, example: str) -> None:
    if not isinstance(names, str):
        raise SpaceError(f"{what}: expected one text of names, as in {example}, got {names!r}")


def size(value: object) -> Size:
    """A size: a positive integer or an expression in `dims`; anything else is refused."""
    if isinstance(value, numbers.Integral) and not isinstance(value, bool):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, (int, sympy.Expr)):
        raise SpaceError(
            f"a size must be an integer or made from dims(...), got {value!r} "
            f"of type {type(value).__name__}"
        )
    expression = _normal(sympy.sympify(value, strict=True))
    if not expression.is_integer or (expression.is_nonpositive and not expression.is_nonnegative):
        raise SpaceError(
            f"a size must be a whole number of at least 1, got {expression}; "
            "make symbols with dims(...), and halves with sympy.floor(n / 2)"
        )
    if expression == 0 or not all(symbol.is_nonnegative for symbol in expression.free_symbols):
        raise SpaceError(
            f"a size must be a whole number of at least 1, got {expression}; "
            "make its symbols with dims(...)"
        )
    return expression


@lru_cache(maxsize=4096)
def _normal(expression: sympy.Expr) -> sympy.Expr:
    """One form for each size: products multiplied out, floor(e + 3/2) as floor(e + 1/2) + 1."""
    if expression.has(sympy.floor):
        expression = expression.replace(sympy.floor, _floor)
    return sympy.expand(expression)


def _floor(inner: sympy.Expr) -> sympy.Expr:
    number, rest = sympy.expand(inner).as_coeff_Add()
    return sympy.floor(rest + number - sympy.floor(number)) + sympy.floor(number)
