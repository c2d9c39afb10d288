"""Integers as source text: sizes, extents, offsets of places, and the guards of places."""

from __future__ import annotations

from functools import lru_cache

import sympy

from ...language.accesses import is_at_least_zero
from ..statements.loops import Matrix, Pointer
from ..statements.scalars import Buffer, Guards, Pieces, Subscript
from .target import Target


@lru_cache(maxsize=16384)  # a module's offsets and extents are few, and each is printed often
def integer(expression: sympy.Expr, to: Target) -> str:
    """An integer expression in sizes and indices: products before sums, no powers."""
    if expression.is_Add:
        terms = sorted(expression.as_ordered_terms(), key=_position)
        text = " + ".join(integer(term, to) for term in terms)
        return text.replace("+ -", "- ")
    if expression.is_Mul:
        number, rest = expression.as_coeff_mul()
        factors = [integer_factor(factor, to) for factor in sorted(rest, key=str)]
        if number == -1:
            return "-" + "*".join(factors)
        return "*".join(([str(number)] if number != 1 else []) + factors)
    if expression.is_Pow:
        return "*".join([integer_factor(expression.base, to)] * int(expression.exp))
    if isinstance(expression, sympy.floor):
        return _floor(expression, to)
    if isinstance(expression, (sympy.Max, sympy.Min)):
        parts = [integer(part, to) for part in expression.args]
        return to.extreme("max" if isinstance(expression, sympy.Max) else "min", parts)
    if isinstance(expression, Pieces):
        count, long = expression.args
        return to.quotient(f"({integer(count + long - 1, to)})", integer_factor(long, to))
    if isinstance(expression, sympy.Mod):
        above, below = expression.args
        return f"({integer(above, to)}) % {integer_factor(below, to)}"
    return str(expression)


def _floor(quotient: sympy.floor, to: Target) -> str:
    above, below = quotient.args[0].as_numer_denom()
    if _is_signed(quotient):
        return to.floor_quotient(integer(above, to), integer(below, to))
    whole = integer(above, to) if above.is_Atom else f"({integer(above, to)})"
    return to.quotient(whole, integer_factor(below, to))


def _is_signed(quotient: sympy.floor) -> bool:
    """What is divided may be negative: there C rounds up."""
    above, _ = quotient.args[0].as_numer_denom()
    return not is_at_least_zero(above)


def _position(term: sympy.Expr) -> tuple[bool, bool]:
    """Numbers last, and before them what is taken away."""
    return not term.free_symbols, term.could_extract_minus_sign()


def integer_factor(expression: sympy.Expr, to: Target) -> str:
    """An integer as a factor of a product."""
    quotient = isinstance(expression, (sympy.floor, sympy.Mod, Pieces))
    is_call = isinstance(expression, sympy.floor) and _is_signed(expression)
    text = integer(expression, to)
    return f"({text})" if expression.is_Add or (quotient and not is_call) else text


def entry(buffer: Buffer, place: Subscript, to: Target) -> str:
    """buffer[(s*n + i)*m + j]: row-major, in Horner's form of the strides."""
    return f"{buffer.name}[{flat(place, buffer.shape, to)}]"


def flat(place: Subscript, shape: Subscript, to: Target) -> str:
    """The offset of a place in an array of that shape."""
    text, is_sum = "", False
    for index, extent in zip(place, shape, strict=True):
        shown = integer(index, to)
        if text and text != "0":
            head = f"({text})" if is_sum else text
            text = f"{head}*{integer_factor(extent, to)}"
            text, is_sum = (text, False) if shown == "0" else (f"{text} + {shown}", True)
        else:
            text, is_sum = shown, index.is_Add
    return text or "0"


def address(name: str, offset: sympy.Expr, to: Target) -> str:
    """The address of the place at a distance from the beginning of an array."""
    return name if offset == 0 else f"{name} + {integer(offset, to)}"


def pointer(place: Matrix | Pointer, to: Target) -> str:
    """The address of a matrix, or of a place in a buffer."""
    offset = sympy.expand(place.offset) if place.offset.is_Add else place.offset
    return address(place.buffer.name, offset, to)


def inside(guards: Guards, to: Target) -> str:
    """The condition that every guarded entry lies in its range."""
    bounds = [to.bounds(integer(e, to), integer_factor(extent, to)) for e, extent in guards]
    return to.join("and", bounds)
