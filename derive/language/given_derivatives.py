"""Nodes whose derivative is given and not derived: held values, potentials, unknown functions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .nodes import Node


@dataclass(frozen=True, eq=False, repr=False)
class Held(Node):
    """The value of an expression, without derivative."""

    operand: Node

    @property
    def operands(self) -> tuple[Node, ...]:
        return (self.operand,)


@dataclass(frozen=True)
class Gradient:
    """The gradient of a potential as of(x, s), from its argument x and its own value s."""

    name: str
    of: Callable[[Node, Node], Node]

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, eq=False, repr=False)
class Potential(Held):
    """s(x), a number for each row of x, whose gradient is known in terms of s itself.

    D s . v = <gradient(x, s), v> over the last axis: log-sum-exp has the gradient Exp(x - s).
    Derived through the sums that compute its value, it would be a difference of large terms.  The
    value is that of `operand`; that the gradient belongs to it is proved as for any layer.
    """

    argument: Node
    gradient: Gradient

    @property
    def operands(self) -> tuple[Node, ...]:
        return self.operand, self.argument


@dataclass(frozen=True, eq=False, repr=False)
class Jet(Node):
    """The form <D^k f(arguments)(directions), cotangent> of an uninterpreted f, with one slot open.

    `directions` holds (number of the argument, direction).  Without a cotangent the codomain is
    open and this is the k-th derivative; with one, the slot of argument `opened` is open.
    """

    function: str
    arguments: tuple[Node, ...]
    directions: tuple[tuple[int, Node], ...]
    opened: int | None
    cotangent: Node | None

    @property
    def operands(self) -> tuple[Node, ...]:
        last = () if self.cotangent is None else (self.cotangent,)
        return (*self.arguments, *(direction for _, direction in self.directions), *last)
