"""Scalars, values at one point of a loop nest, and the buffers that they are read from."""

from __future__ import annotations

from dataclasses import dataclass

import sympy

from ...language.scalars.operations import Operation

Subscript = tuple[sympy.Expr, ...]


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
    place: Subscript


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
