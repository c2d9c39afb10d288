"""Readings: what is found out of an expression node by node, one method for each kind of node.

A reading of every node is an object: its methods say what each kind of node becomes, its
attributes hold what the walk knows so far.  A reading that lacks a kind can't be made, so a new
kind of node is one file and a method in each reading; `KINDS` is the only other place.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Generic, TypeVar

from .given_derivatives import Held, Jet, Potential
from .nodes import (
    Argmax,
    Constant,
    Contraction,
    Elementwise,
    LinearCombination,
    Node,
    Projection,
    Tuple,
    Variable,
)
from .running_sums import RunningSum

T = TypeVar("T")

KINDS: dict[type[Node], str] = {
    Variable: "variable",
    Constant: "constant",
    LinearCombination: "linear_combination",
    Elementwise: "elementwise",
    Contraction: "contraction",
    Tuple: "tuple_",
    Projection: "projection",
    Argmax: "argmax",
    Held: "held",
    Potential: "potential",
    Jet: "jet",
    RunningSum: "running_sum",
}
"""The method that reads each kind of node."""


class Reading(ABC, Generic[T]):
    """What every kind of node becomes; calling it reads one node, whose operands are read before.

    Raises TypeError where it is called with what is no expression.
    """

    __slots__ = ()

    def __call__(self, node: Node) -> T:
        kind = KINDS.get(type(node))
        if kind is None:
            raise TypeError(f"{type(node).__name__} is no kind of expression; see reading.KINDS")
        found: T = getattr(self, kind)(node)
        return found

    @abstractmethod
    def variable(self, node: Variable) -> T: ...

    @abstractmethod
    def constant(self, node: Constant) -> T: ...

    @abstractmethod
    def linear_combination(self, node: LinearCombination) -> T: ...

    @abstractmethod
    def elementwise(self, node: Elementwise) -> T: ...

    @abstractmethod
    def contraction(self, node: Contraction) -> T: ...

    @abstractmethod
    def tuple_(self, node: Tuple) -> T: ...

    @abstractmethod
    def projection(self, node: Projection) -> T: ...

    @abstractmethod
    def argmax(self, node: Argmax) -> T: ...

    @abstractmethod
    def held(self, node: Held) -> T: ...

    @abstractmethod
    def potential(self, node: Potential) -> T: ...

    @abstractmethod
    def jet(self, node: Jet) -> T: ...

    @abstractmethod
    def running_sum(self, node: RunningSum) -> T: ...
