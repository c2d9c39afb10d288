"""The layers of a recurrent network as problems, and the adjoint of each by one array.

Expressions are in the leaves of a layer: the arrays of which its arguments consist.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from ...calculus.maps import substituted
from ...language.expressions import Node, Variable
from ...language.riesz import riesz
from ...language.walk import rewrite, storage
from ...models.cells import inputs_of
from ...models.levels import CellInstance
from ..layers.definitions import Closing, Definition, leaves_of
from ..layers.problem import Problem
from .looks import Times

Values = Mapping[Node, Node]


@dataclass(eq=False)
class Part:
    """A cell or a prediction, its problem, and what its function is called."""

    place: CellInstance
    problem: Problem
    f: str
    is_cell: bool = False

    @property
    def label(self) -> str:
        """Its label in the network."""
        return self.place.label

    def leaves(self, name: str) -> tuple[Variable, ...]:
        """The arrays of an argument."""
        found = next(a.variable for a in self.place.function.arguments if a.name == name)
        return tuple(leaves_of(self.problem.definitions.arguments[found]))

    @cached_property
    def states(self) -> tuple[Variable, ...]:
        """The arrays of a cell's state, or of the states that a prediction reads."""
        if self.is_cell:
            return self.leaves(self.place.state.name)
        return tuple(leaf for x in self.place.function.state for leaf in self.leaves(x.name))

    @cached_property
    def inputs(self) -> tuple[Variable, ...]:
        """The arrays of a cell's input, including given ones."""
        arguments = inputs_of(self.place.function) if self.is_cell else ()
        return tuple(leaf for a in arguments for leaf in self.leaves(a.name))

    @cached_property
    def parameters(self) -> tuple[Variable, ...]:
        """The arrays of the parameters."""
        return tuple(leaf for x in self.place.parameters for leaf in self.leaves(x.name))

    @cached_property
    def outputs(self) -> tuple[Node, ...]:
        """The arrays of the values, in the leaves."""
        return storage(self.problem.opened(self.place.function.output))

    @cached_property
    def w(self) -> tuple[Variable, ...]:
        """The arrays of the cotangent."""
        return tuple(leaves_of(self.problem.w))

    # --- what is pulled back

    def pulled(self, leaf: Variable) -> Node | None:
        """The adjoint by one array at the cotangent, in the names of the lines; None if zero."""
        dot = self.problem.dots.get(leaf)
        found = None if dot is None else self.problem.back.arrived.get(dot)
        return None if found is None else riesz(found, inverse=True)

    def closed(self, node: Node) -> Node:
        """An expression in the leaves and the cotangent only."""
        return self.problem.closing(node)

    def expanded(self, node: Node) -> Node:
        """An expression without the cotangents of the lines."""
        return Closing().add(self.problem.back.bars)(node)

    def template(self, leaf: Variable, at: Values) -> Node | None:
        """The adjoint by one array, with these values of the leaves and the cotangent."""
        found = self.pulled(leaf)
        return None if found is None else substituted(self.closed(found), at)

    def value(self, at: Values) -> tuple[Node, ...]:
        """The outputs, with these values of the leaves."""
        new = rewrite(self.outputs, at.get)
        return tuple(new[node] for node in self.outputs)

    # --- how it is shown

    @cached_property
    def lines(self) -> dict[Node, Node]:
        """The name of every expression that has a line."""
        lines = self.problem.definitions.lines
        return {self.closed(line.variable): line.variable for line in lines}

    def shortened(self, node: Node, more: Values | None = None) -> Node:
        """An expression in the leaves, written in the names of the lines and in more names."""
        return substituted(node, {**self.lines, **(more or {})})

    def shown(self, node: Node, times: Times, now: str, before: str, w: Values) -> Node:
        """Names at the time `now`, a cell's states at the time `before`, the cotangent as w."""
        new: dict[Node, Node] = {x: times(x, before, self.label) for x in self.states}
        new |= {x: times(x, now) for x in self.inputs}
        new |= {x: times(x, now, self.label) for x in self.named()}
        return substituted(node, {**new, **w})

    def names(self) -> Iterator[str]:
        """The names of arguments, their arrays, sizes and lines."""
        f = self.place.function
        found = [a.name for a in f.arguments]
        found += [x.name for a in f.arguments for x in self.leaves(a.name)]
        found += [str(size) for size in f.sizes]
        yield from dict.fromkeys([*found, *(x.variable.name for x in self.lines_in_order)])

    @property
    def lines_in_order(self) -> tuple[Definition, ...]:
        """The lines."""
        return self.problem.definitions.lines

    def named(self) -> Iterator[Variable]:
        """The variables of the lines and of their cotangents."""
        yield from (line.variable for line in self.problem.definitions.lines)
        yield from (line.variable for line in self.problem.back.bars)
