"""Scalars as source text: coefficients, and the expressions that loops compute.

Decided here, printed by the templates.
"""

from __future__ import annotations

from functools import singledispatch

import sympy

from ...language.scalars.fold import evaluate
from ..statements.scalars import (
    Apply,
    Inside,
    Load,
    Local,
    Number,
    Position,
    Scalar,
    Sum,
    Times,
)
from .places import entry, inside, integer
from .scalars import SMALL, ScalarText, Text
from .target import Target

SUM, PRODUCT, ATOM = 0, 1, 2


def real_number(value: sympy.Expr, to: Target) -> str:
    """A coefficient, computed in the kernel's precision; sizes may appear in it."""
    number, rest = value.as_coeff_Mul()
    if rest.free_symbols and not _is_small(number):
        return f"{real_number(number, to)}*{_factor(rest, to)}"
    above, below = value.as_numer_denom()
    whole = above.is_integer and below.is_integer and _is_small(value)
    if not value.free_symbols or not whole:
        return _evaluated(value, to)
    top, bottom = (integer(sympy.expand(part), to) for part in (above, below))
    head = to.real(top if top.isalnum() else f"({top})")
    plain = bottom.isalnum() or isinstance(below, (sympy.Max, sympy.Min))
    return head if below == 1 else f"{head}/{bottom if plain else f'({bottom})'}"


def _evaluated(value: sympy.Expr, to: Target) -> str:
    """A coefficient that is no quotient of whole numbers."""
    named = {part: sympy.Dummy() for part in value.atoms(sympy.Max, sympy.Min)}
    sizes = {name: Text(to.real(integer(part, to))) for part, name in named.items()}
    value = value.xreplace(named)
    sizes |= {size: Text(to.real(str(size))) for size in value.free_symbols - {*sizes}}
    text = evaluate(value, sizes, ScalarText(to))
    return f"({text})" if value.is_Add else text


def _is_small(value: sympy.Expr) -> bool:
    """No whole number in it is too large for C."""
    return all(max(abs(part.p), part.q) < SMALL for part in value.atoms(sympy.Rational))


def _factor(value: sympy.Expr, to: Target) -> str:
    """A coefficient as the last factor of a product."""
    text = real_number(value, to)
    return f"({text})" if "/" in text or text.startswith("-") else text


def scalar(value: Scalar, to: Target) -> str:
    """The source of a scalar."""
    return _scalar(value, to)[0]


def broken(value: Scalar, to: Target, width: int = 70) -> list[str]:
    """The source of a scalar in lines, a long sum one term a line."""
    text = scalar(value, to)
    if len(text) <= width or not isinstance(value, Sum) or len(value.terms) == 1:
        return [text]
    lines = [scalar(Sum((term,)), to) for term in value.terms]
    signed = [line if line.startswith("-") else f"+ {line}" for line in lines[1:]]
    return [lines[0], *(line.replace("-", "- ", 1) if line[0] == "-" else line for line in signed)]


def _bound(value: Scalar, level: int, to: Target) -> str:
    text, binding = _scalar(value, to)
    return text if binding >= level else f"({text})"


@singledispatch
def _scalar(value: Scalar, to: Target) -> tuple[str, int]:
    raise TypeError(f"{type(value).__name__} is not a scalar")


@_scalar.register
def _(value: Number, to: Target) -> tuple[str, int]:
    text = real_number(value.value, to)
    return text, ATOM if "/" not in text and not text.startswith("-") else SUM


@_scalar.register
def _(value: Local, to: Target) -> tuple[str, int]:
    return value.name, ATOM


@_scalar.register
def _(value: Load, to: Target) -> tuple[str, int]:
    return entry(value.buffer, value.place, to), ATOM


@_scalar.register
def _(value: Position, to: Target) -> tuple[str, int]:
    return to.real(str(value.index)), ATOM


@_scalar.register
def _(value: Inside, to: Target) -> tuple[str, int]:
    chosen = _bound(value.value, SUM, to), inside(value.guards, to), to.real("0")
    return f"({to.choice(*chosen)})", ATOM


@_scalar.register
def _(value: Sum, to: Target) -> tuple[str, int]:
    text = ""
    for weight, term in value.terms:
        sign = "-" if weight.could_extract_minus_sign() else "+"
        text += f" {sign} {_weighted(-weight if sign == '-' else weight, term, to)}"
    return (text[3:] if text.startswith(" +") else "-" + text[3:]), SUM


def _weighted(weight: sympy.Expr, term: Scalar, to: Target) -> str:
    factor = _bound(term, PRODUCT, to)
    if weight == 1:
        return factor
    if not _is_small(weight):
        return f"{real_number(weight, to)}*{factor}"
    if weight.is_Integer:
        return f"{weight}*{factor}"
    above, below = weight.as_numer_denom()
    if above == 1 and (below.is_Integer or below.is_Symbol):
        return f"{factor}/{below}"
    return f"{real_number(weight, to)}*{factor}"


@_scalar.register
def _(value: Times, to: Target) -> tuple[str, int]:
    return "*".join(_bound(factor, PRODUCT, to) for factor in value.factors), PRODUCT


@_scalar.register
def _(value: Apply, to: Target) -> tuple[str, int]:
    return to.call(value.operation.name, [scalar(z, to) for z in value.arguments]), ATOM
