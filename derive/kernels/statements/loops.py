"""The statements a kernel is made of: a small typed intermediate representation.

Scalars are values at one point of a loop nest; statements change arrays.  Loads and stores name a
buffer and a place in it, one integer expression in sizes and loop indices for each axis.
"""

from __future__ import annotations

from dataclasses import dataclass

import sympy

from .scalars import Buffer, Guards, Scalar, Subscript


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

    What is saved lies in caller-supplied memory: a value beyond 0 <= v < extent is taken as 0.
    """

    index: sympy.Symbol
    extent: sympy.Expr
    buffer: Buffer
    place: Subscript


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
    place: Subscript
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
class Commented(Statement):
    """Statements that do one step of the mathematics, with its formula."""

    formulas: tuple[str, ...]
    body: tuple[Statement, ...]
