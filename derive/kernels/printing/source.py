"""The Cython source of scalars, places and sizes.

Decided here, printed by the templates: integer expressions for offsets and extents, `real`
expressions for scalars, and one inline function for each elementwise operation.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache, singledispatch

import sympy

from ...language.accesses import is_at_least_zero
from ...language.scalars.fold import evaluate
from ...language.scalars.operations import Operation
from ..statements.loops import Matrix, Pointer
from ..statements.scalars import (
    Apply,
    Buffer,
    Guards,
    Inside,
    Load,
    Local,
    Number,
    Pieces,
    Position,
    Scalar,
    Subscript,
    Sum,
    Times,
)
from .scalar_text import SMALL, Cython, Text, cython_body

SUM, PRODUCT, ATOM = 0, 1, 2


@dataclass(frozen=True)
class Function:
    """An elementwise operation as an inline function: its lets and its result."""

    name: str
    formula: str
    arguments: tuple[str, ...]
    lets: tuple[tuple[str, str], ...]
    result: str


def function(psi: Operation) -> Function | None:
    """The inline function of an operation; None where the runtime has it under the same name."""
    names = tuple(argument.name for argument in psi.arguments)
    if psi.keeps_common:
        return Function(psi.name, str(psi.body), names, (), _choice(psi.body))
    lets, result = cython_body(psi.stable, psi.arguments)
    if not lets and result == f"{psi.name}({', '.join(names)})":
        return None
    return Function(psi.name, str(psi.body), names, tuple(lets), result)


def _choice(selection: sympy.Piecewise) -> str:
    """A selection as one conditional.  It keeps no NaN of its mask: masks are numbers."""
    *first, (value, _) = selection.args
    text = str(value)
    for chosen, condition in reversed(first):
        text = f"{chosen} if {condition.lhs} {condition.rel_op} {condition.rhs} else {text}"
    return text


@lru_cache(maxsize=16384)  # a module's offsets and extents are few, and each is printed often
def integer(expression: sympy.Expr) -> str:
    """An integer expression in sizes and indices: products before sums, no powers, no division."""
    if expression.is_Add:
        terms = sorted(expression.as_ordered_terms(), key=_position)
        text = " + ".join(integer(term) for term in terms)
        return text.replace("+ -", "- ")
    if expression.is_Mul:
        number, rest = expression.as_coeff_mul()
        factors = [_integer_factor(factor) for factor in sorted(rest, key=str)]
        if number == -1:
            return "-" + "*".join(factors)
        return "*".join(([str(number)] if number != 1 else []) + factors)
    if expression.is_Pow:
        return "*".join([_integer_factor(expression.base)] * int(expression.exp))
    if isinstance(expression, sympy.floor):
        above, below = expression.args[0].as_numer_denom()
        if not is_at_least_zero(above):  # C rounds towards zero
            return f"floordiv({integer(above)}, {integer(below)})"
        whole = integer(above) if above.is_Atom else f"({integer(above)})"
        return f"{whole} // {_integer_factor(below)}"
    if isinstance(expression, (sympy.Max, sympy.Min)):
        word = "max" if isinstance(expression, sympy.Max) else "min"
        return f"{word}({', '.join(integer(part) for part in expression.args)})"
    if isinstance(expression, Pieces):
        count, long = expression.args
        return f"({integer(count + long - 1)}) // {_integer_factor(long)}"
    if isinstance(expression, sympy.Mod):
        above, below = expression.args
        return f"({integer(above)}) % {_integer_factor(below)}"
    return str(expression)


def _position(term: sympy.Expr) -> tuple[bool, bool]:
    """Numbers last, and before them what is taken away."""
    return not term.free_symbols, term.could_extract_minus_sign()


def _integer_factor(expression: sympy.Expr) -> str:
    text = integer(expression)
    quotient = isinstance(expression, (sympy.floor, sympy.Mod, Pieces))
    loose = expression.is_Add or (quotient and not text.startswith("floordiv("))
    return f"({text})" if loose else text


def entry(buffer: Buffer, place: Subscript) -> str:
    """buffer[(s*n + i)*m + j]: row-major, in Horner's form of the strides."""
    return f"{buffer.name}[{flat(place, buffer.shape)}]"


def flat(place: Subscript, shape: Subscript) -> str:
    """The offset of a place in an array of that shape."""
    text, is_sum = "", False
    for index, extent in zip(place, shape, strict=True):
        shown = integer(index)
        if text and text != "0":
            head = f"({text})" if is_sum else text
            text = f"{head}*{_integer_factor(extent)}"
            text, is_sum = (text, False) if shown == "0" else (f"{text} + {shown}", True)
        else:
            text, is_sum = shown, index.is_Add
    return text or "0"


def pointer(place: Matrix | Pointer) -> str:
    """The address of a matrix, or of a place in a buffer."""
    offset = integer(sympy.expand(place.offset) if place.offset.is_Add else place.offset)
    return place.buffer.name if offset == "0" else f"{place.buffer.name} + {offset}"


def inside(guards: Guards) -> str:
    """The condition that every guarded entry lies in its range."""
    return " and ".join(f"0 <= {integer(e)} < {_integer_factor(extent)}" for e, extent in guards)


def real_number(value: sympy.Expr) -> str:
    """A coefficient, computed in the kernel's precision; sizes may appear in it."""
    number, rest = value.as_coeff_Mul()
    if rest.free_symbols and not _is_small(number):
        return f"{real_number(number)}*{_factor(rest)}"
    above, below = value.as_numer_denom()
    whole = above.is_integer and below.is_integer and _is_small(value)
    if not value.free_symbols or not whole:
        named = {part: sympy.Dummy() for part in value.atoms(sympy.Max, sympy.Min)}
        sizes = {name: Text(f"<real>{integer(part)}") for part, name in named.items()}
        value = value.xreplace(named)
        sizes |= {size: Text(f"<real>{size}") for size in value.free_symbols - {*sizes}}
        text = evaluate(value, sizes, Cython())
        return f"({text})" if value.is_Add else text
    top, bottom = (integer(sympy.expand(part)) for part in (above, below))
    head = f"<real>{top}" if top.isalnum() else f"<real>({top})"
    plain = bottom.isalnum() or isinstance(below, (sympy.Max, sympy.Min))
    return head if below == 1 else f"{head}/{bottom if plain else f'({bottom})'}"


def _is_small(value: sympy.Expr) -> bool:
    """No whole number in it is too large for C."""
    return all(max(abs(part.p), part.q) < SMALL for part in value.atoms(sympy.Rational))


def _factor(value: sympy.Expr) -> str:
    """A coefficient as the last factor of a product."""
    text = real_number(value)
    return f"({text})" if "/" in text or text.startswith("-") else text


def scalar(value: Scalar) -> str:
    """The source of a scalar."""
    return _scalar(value)[0]


def broken(value: Scalar, width: int = 70) -> list[str]:
    """The source of a scalar in lines, a long sum one term a line."""
    text = scalar(value)
    if len(text) <= width or not isinstance(value, Sum) or len(value.terms) == 1:
        return [text]
    lines = [scalar(Sum((term,))) for term in value.terms]
    signed = [line if line.startswith("-") else f"+ {line}" for line in lines[1:]]
    return [lines[0], *(line.replace("-", "- ", 1) if line[0] == "-" else line for line in signed)]


def _bound(value: Scalar, level: int) -> str:
    text, binding = _scalar(value)
    return text if binding >= level else f"({text})"


@singledispatch
def _scalar(value: Scalar) -> tuple[str, int]:
    raise TypeError(f"{type(value).__name__} is not a scalar")


@_scalar.register
def _(value: Number) -> tuple[str, int]:
    text = real_number(value.value)
    return text, ATOM if "/" not in text and not text.startswith("-") else SUM


@_scalar.register
def _(value: Local) -> tuple[str, int]:
    return value.name, ATOM


@_scalar.register
def _(value: Load) -> tuple[str, int]:
    return entry(value.buffer, value.place), ATOM


@_scalar.register
def _(value: Position) -> tuple[str, int]:
    return f"<real>{value.index}", ATOM


@_scalar.register
def _(value: Inside) -> tuple[str, int]:
    return f"({_bound(value.value, SUM)} if {inside(value.guards)} else <real>0)", ATOM


@_scalar.register
def _(value: Sum) -> tuple[str, int]:
    text = ""
    for weight, term in value.terms:
        sign = "-" if weight.could_extract_minus_sign() else "+"
        text += f" {sign} {_weighted(-weight if sign == '-' else weight, term)}"
    return (text[3:] if text.startswith(" +") else "-" + text[3:]), SUM


def _weighted(weight: sympy.Expr, term: Scalar) -> str:
    if weight == 1:
        return _bound(term, PRODUCT)
    if not _is_small(weight):
        return f"{real_number(weight)}*{_bound(term, PRODUCT)}"
    if weight.is_Integer:
        return f"{weight}*{_bound(term, PRODUCT)}"
    above, below = weight.as_numer_denom()
    if above == 1 and (below.is_Integer or below.is_Symbol):
        return f"{_bound(term, PRODUCT)}/{below}"
    return f"{real_number(weight)}*{_bound(term, PRODUCT)}"


@_scalar.register
def _(value: Times) -> tuple[str, int]:
    return "*".join(_bound(factor, PRODUCT) for factor in value.factors), PRODUCT


@_scalar.register
def _(value: Apply) -> tuple[str, int]:
    return f"{value.operation.name}({', '.join(scalar(z) for z in value.arguments)})", ATOM
