"""Elementwise operations at numbers: a number, or a multiple of the argument that is left."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import islice

import sympy

from .operations import Operation

LENGTH = 32  # parts of a folded number, lest a chain of functions of numbers grow a long formula
DIGITS = 1024  # binary digits of a rational number; a power of one may have any number of them


@lru_cache(maxsize=4096)  # the constants of a formula stand in each of its derivatives
def folded(
    psi: Operation, values: tuple[sympy.Expr | None, ...]
) -> tuple[sympy.Expr, int | None] | None:
    """psi at these numbers, None standing for an argument that is not a number.

    A number and None where psi is a number; a number and the place of an argument where psi is
    their product.  None where it is neither, and where the number is not finite and real for all
    sizes, or too long to write down: then it is left to the kernels' arithmetic.  A zero that
    stands as a factor is zero whatever the other factor is.

    >>> from .shipped import exp, log, quotient
    >>> folded(exp, (sympy.S.Zero,)), folded(log, (sympy.S.Zero,)), folded(exp, (None,))
    ((1, None), None, None)
    >>> folded(quotient, (sympy.S.Zero, None)), folded(quotient, (None, sympy.Integer(2)))
    ((0, None), (1/2, 0))
    """
    if psi.is_constant:
        return psi.body, None
    pairs = zip(psi.arguments, values, strict=True)
    numbers = {symbol: value for symbol, value in pairs if value is not None}
    if not numbers or _is_steep(psi.body) or any(map(_is_long, numbers.values())):
        return None
    number, left = _parted(psi.body.xreplace(numbers), psi.arguments)
    places = {sympy.S.One: None} | {symbol: k for k, symbol in enumerate(psi.arguments)}
    sound = left in places and _is_plain_number(number) and not _is_long(number)
    return (number, places[left]) if sound else None


def _parted(value: sympy.Expr, arguments: Sequence[sympy.Symbol]) -> tuple[sympy.Expr, sympy.Expr]:
    """The factors without an argument, and the others."""
    if not value.free_symbols & set(arguments):
        return value, sympy.S.One
    number, rest = value.as_independent(*arguments, as_Add=False)
    return number, rest


def _is_plain_number(value: sympy.Expr) -> bool:
    """Finite and real whatever the sizes are, and no choice between formulas."""
    known = value.is_finite and value.is_extended_real
    return bool(known) and not value.has(sympy.Piecewise, sympy.Derivative)


def _is_long(value: sympy.Expr) -> bool:
    """It has many parts, or an integer of many digits."""
    numbers = (p for r in value.atoms(sympy.Rational) for p in (r.p, r.q))
    parts = islice(sympy.preorder_traversal(value), LENGTH + 1)
    return sum(1 for _ in parts) > LENGTH or any(
        int(number).bit_length() > DIGITS for number in numbers
    )


def _is_steep(body: sympy.Expr) -> bool:
    """It has a power with which a number of a few digits becomes one of very many."""
    exponents = (power.exp for power in body.atoms(sympy.Pow))
    return any(exponent.is_Rational and abs(exponent) > LENGTH for exponent in exponents)
