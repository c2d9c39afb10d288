"""The statements a kernel is made of: a small typed intermediate representation.

Scalars are values at one point of a loop nest; statements change arrays.  Loads and stores name a
buffer and a place in it, one integer expression in sizes and loop indices for each axis.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import cache
from typing import Any

import sympy

from ...language.scalars.operations import Operation

Place = tuple[sympy.Expr, ...]
Guards = tuple[tuple[sympy.Expr, sympy.Expr], ...]


@dataclass(frozen=True)
class Buffer:
    """An array of a kernel: its name, its extents, and where its storage comes from."""

    name: str
    shape: tuple[sympy.Expr, ...]
    kind: str  # argument, index, result, saved, workspace

    @property
    def count(self) -> sympy.Expr:
        """The number of its entries."""
        return sympy.Mul(*self.shape)

    def stride(self, axis: int) -> sympy.Expr:
        """The distance of neighbours along an axis."""
        return sympy.Mul(*self.shape[axis + 1 :])


class Pieces(sympy.Function):
    """The number of pieces of at most `long` that `count` things are cut into: ceil(count / long).

    SymPy's own ceiling becomes floor((count - 1) / long) + 1, which C rounds otherwise at 0.
    """

    nargs = 2
    is_integer = True
    is_nonnegative = True

    @classmethod
    def eval(cls, count: sympy.Expr, long: sympy.Expr) -> sympy.Expr | None:
        """The number, where both are numbers."""
        if count.is_Integer and long.is_Integer:
            return -(-count // long)
        return None


# --- scalars


@dataclass(frozen=True)
class Scalar:
    """A value at one point of a loop nest."""


@dataclass(frozen=True)
class Number(Scalar):
    """A constant, which may contain sizes."""

    value: sympy.Expr


@dataclass(frozen=True)
class Local(Scalar):
    """A scalar that a `Let` has named."""

    name: str


@dataclass(frozen=True)
class Load(Scalar):
    """An entry of a buffer."""

    buffer: Buffer
    place: Place


@dataclass(frozen=True)
class Position(Scalar):
    """A bound index as a number: the place of a largest entry, to be kept in an array."""

    index: sympy.Symbol


@dataclass(frozen=True)
class Inside(Scalar):
    """A scalar where every guard (entry, extent) has 0 <= entry < extent, else zero."""

    guards: Guards
    value: Scalar


@dataclass(frozen=True)
class Sum(Scalar):
    """A sum of coefficient times scalar."""

    terms: tuple[tuple[sympy.Expr, Scalar], ...]


@dataclass(frozen=True)
class Times(Scalar):
    """A product."""

    factors: tuple[Scalar, ...]


@dataclass(frozen=True)
class Apply(Scalar):
    """An elementwise operation at a point."""

    operation: Operation
    arguments: tuple[Scalar, ...]


# --- statements


@dataclass(frozen=True)
class Statement:
    """A step of a kernel."""


@dataclass(frozen=True)
class For(Statement):
    """A loop of an index from 0 to extent - 1."""

    index: sympy.Symbol
    extent: sympy.Expr
    body: tuple[Statement, ...]


@dataclass(frozen=True)
class Let(Statement):
    """A named scalar."""

    name: str
    value: Scalar


@dataclass(frozen=True)
class Select(Statement):
    """An index bound to an entry of an integer buffer, or to a place that forward has saved.

    What is saved comes through the hands of a user: beyond 0 <= v < extent it is taken as 0.
    """

    index: sympy.Symbol
    extent: sympy.Expr
    buffer: Buffer
    place: Place


@dataclass(frozen=True)
class Largest(Statement):
    """Indices bound to the first place where a scalar is largest; a NaN is above all numbers.

    Places where a guard (entry, extent) is outside are passed over; 0 where there is no other.
    """

    indices: tuple[sympy.Symbol, ...]
    running: tuple[sympy.Symbol, ...]
    extents: tuple[sympy.Expr, ...]
    best: str
    candidate: str
    value: Scalar
    lets: tuple[Statement, ...]
    guards: Guards = ()


@dataclass(frozen=True)
class Store(Statement):
    """An entry set, or added to; nothing where a guard is outside."""

    buffer: Buffer
    place: Place
    value: Scalar
    add: bool = False
    guards: Guards = ()


@dataclass(frozen=True)
class Accumulate(Statement):
    """A named scalar added to."""

    name: str
    value: Scalar


@dataclass(frozen=True)
class Selected(Statement):
    """A buffer of rows that are those of another one, zero where a mask is.

    Where nothing is zero it is the other one itself, and nothing is copied.
    """

    target: Buffer
    mask: Buffer
    source: Buffer

    @property
    def width(self) -> sympy.Expr:
        """The entries of a row."""
        return sympy.Mul(*self.target.shape[len(self.mask.shape) :])


@dataclass(frozen=True)
class Fill(Statement):
    """Every entry of a buffer set to zero."""

    buffer: Buffer


@dataclass(frozen=True)
class Pointer:
    """A place in a buffer, by its distance from the beginning."""

    buffer: Buffer
    offset: sympy.Expr = sympy.S.Zero


@dataclass(frozen=True)
class Copy(Statement):
    """Entries from one place on copied to another, or added to what is there."""

    count: sympy.Expr
    source: Pointer
    target: Pointer
    add: bool = False


@dataclass(frozen=True)
class Call(Statement):
    """Another kernel called: by its name, its sizes in order, a pointer or none for each array."""

    name: str
    sizes: tuple[tuple[sympy.Symbol, sympy.Expr], ...]
    arrays: tuple[Pointer | None, ...]
    workspace: Pointer | None


@dataclass(frozen=True)
class Matrix:
    """A part of a buffer read as a matrix: where it begins and the strides of rows and columns."""

    buffer: Buffer
    offset: sympy.Expr
    row: sympy.Expr
    column: sympy.Expr


@dataclass(frozen=True)
class Gemm(Statement):
    """C[m, n] += alpha sum_k A[m, k] B[k, n]."""

    M: sympy.Expr
    N: sympy.Expr
    K: sympy.Expr
    alpha: sympy.Expr
    A: Matrix
    B: Matrix
    C: Matrix


@dataclass(frozen=True)
class Asked(Statement):
    """Steps that are taken only where one of these pointers is given."""

    pointers: tuple[str, ...]
    body: tuple[Statement, ...]


@dataclass(frozen=True)
class Where(Statement):
    """Statements that are taken only where a scalar is not zero."""

    mask: Scalar
    body: tuple[Statement, ...]


@dataclass(frozen=True)
class Step(Statement):
    """Statements that do one step of the mathematics, with its formula."""

    formulas: tuple[str, ...]
    body: tuple[Statement, ...]


# --- going through statements


def instances(tree: object, kind: type | tuple[type, ...]) -> Iterator[Any]:
    """Every statement, scalar or buffer of a kind in a tree of them, in order."""
    stack = [tree]
    while stack:
        found = stack.pop()
        if isinstance(found, kind):
            yield found
        if isinstance(found, tuple):
            stack.extend(reversed(found))
        elif isinstance(found, PARTS):
            own: type = type(found)
            stack.extend(getattr(found, name) for name in _parts(own))


@cache
def _parts(kind: type) -> tuple[str, ...]:
    """The fields of a kind of statement or scalar, the last one first."""
    return tuple(field.name for field in reversed(fields(kind)))


PARTS = (Statement, Scalar, Buffer, Pointer, Matrix)
