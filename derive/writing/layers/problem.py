"""What is derived: a layer's lines, their tangents of both orders, and what is pulled back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, count

import numpy as np

from ...calculus.maps import dual_name, free_name, substituted
from ...evidence.checks.drawing import Point, draw, unequal_sizes
from ...evidence.checks.sampling import point_of
from ...language.expressions import Node, Tuple, Variable, tuple_of, variable, zero
from ...language.reference import Value
from ...language.riesz import riesz
from ...models.layers import Layer
from ...models.programs import result_letter
from .definitions import Closing, Definitions, Derived, definitions, derived, leaves_of
from .pullback import PullBack, pull_back, seeds_of

SEED = 0  # of the point where equations are checked: fixed, so that documents are reproducible


@dataclass(frozen=True)
class Marks:
    """The suffixes of a name for its tangent, its cotangent and its second tangent."""

    dot: str
    bar: str
    delta: str

    @classmethod
    def beside(cls, words: Set[str]) -> Marks:
        """Marks that no name of the user's has; a letter other than delta if that is one."""
        second = "_hat" if "delta" in words else "_delta"
        return cls(*(_unused_mark(mark, words) for mark in ("_dot", "_bar", second)))


def _unused_mark(mark: str, words: Set[str]) -> str:
    numbered = chain([mark], (f"{mark}{number}" for number in count(2)))
    return next(m for m in numbered if not any(word.endswith(m) for word in words))


@dataclass(eq=False)
class Problem:
    """A layer, the arguments of the first and second derivative, and the cotangent.

    first, second   names of arguments; by default all that are differentiable
    cotangent       w; by default a variable
    result          the name of the output unless it is a local; by default y
    """

    layer: Layer
    first: Sequence[str] = ()
    second: Sequence[str] = ()
    cotangent: Node | None = None
    result: str = ""

    def __post_init__(self) -> None:
        every = [x.name for x in self.layer.differentiable]
        self.first, self.second = self.first or every, self.second or every
        self.marks = Marks.beside(self.layer.words)

    # --- the lines

    @cached_property
    def definitions(self) -> Definitions:
        """The layer as lines."""
        return definitions(self.layer, self.result or result_letter(self.layer))

    @property
    def output(self) -> Node:
        """The output variable, or a tuple of them."""
        return self.definitions.output

    def parts(self, name: str) -> Node:
        """An argument as a variable, or as the tuple of its components."""
        return self.definitions.arguments[self.layer.argument(name)]

    @cached_property
    def closing(self) -> Closing:
        """The meaning of every variable; lines are added as they are derived."""
        return Closing().add(self.definitions.lines)

    def opened(self, node: Node) -> Node:
        """An expression in the layer's arguments, written in their components."""
        return substituted(node, self.definitions.arguments)

    # --- the first order

    @cached_property
    def dots(self) -> dict[Variable, Variable]:
        """The first directions."""
        return self._directions(self.first, self.marks.dot)

    def _directions(self, names: Sequence[str], mark: str) -> dict[Variable, Variable]:
        leaves = (leaf for name in names for leaf in leaves_of(self.parts(name)))
        return {x: variable(f"{x.name}{mark}", x.space) for x in leaves}

    @cached_property
    def tangents(self) -> Derived:
        """The tangents of the lines."""
        made = derived(self.definitions.lines, self.dots, self.marks.dot)
        self.closing.add(made.lines)
        return made

    @cached_property
    def w(self) -> Node:
        """The cotangent: one of the output's space."""
        name = free_name(dual_name("v"), (), self.layer.words)
        return named_like(self.output, name) if self.cotangent is None else self.cotangent

    @cached_property
    def seeds(self) -> list[tuple[Variable, Node]]:
        """The tangent of each output with its cotangent."""
        return seeds_of(self.output, self.tangents.moved, self.w)

    @cached_property
    def back(self) -> PullBack:
        """Step 3 of the first order."""
        names = {dot: f"{x.name}{self.marks.bar}" for x, dot in self.tangents.moved.items()}
        return pull_back(self.tangents, self.seeds, self.closing, names)

    # --- the second order: the same, for the lines and their tangents

    @cached_property
    def deltas(self) -> dict[Variable, Variable]:
        """The second directions."""
        return self._directions(self.second, self.marks.delta)

    @cached_property
    def second_tangents(self) -> Derived:
        """The tangents of the lines and of their tangents along the second directions."""
        lines = (*self.definitions.lines, *self.tangents.lines)
        made = derived(lines, self.deltas, self.marks.delta)
        self.closing.add(made.lines)
        return made

    @cached_property
    def second_seeds(self) -> list[tuple[Variable, Node]]:
        """The second tangent of each output with its cotangent."""
        twice = self.second_tangents.moved
        moved = {y: twice[dot] for y, dot in self.tangents.moved.items() if dot in twice}
        return seeds_of(self.output, moved, self.w)

    @cached_property
    def second_back(self) -> PullBack:
        """Step 3 of the second order."""
        origin = {dot: x for x, dot in self.tangents.moved.items()}
        bar, dot = self.marks.bar, self.marks.dot
        names = {
            delta: f"{origin[x].name}{bar}" if x in origin else f"{x.name}{bar}{dot}"
            for x, delta in self.second_tangents.moved.items()
        }
        known = self.back.bars
        return pull_back(self.second_tangents, self.second_seeds, self.closing, names, known)

    # --- read off

    def adjoint(self, name: str) -> Node:
        """x_bar, with the structure of the argument."""
        return self._read(name, self.dots, self.back)

    def second_adjoint(self, name: str) -> Node:
        """The adjoint of the second derivative by that argument, all first directions held."""
        return self._read(name, self.deltas, self.second_back)

    def _read(self, name: str, directions: Mapping[Variable, Variable], back: PullBack) -> Node:
        def at(leaf: Variable) -> Node:
            found = back.arrived.get(directions[leaf])
            return zero(leaf.space) if found is None else riesz(found, inverse=True)

        return mapped(self.parts(name), at)

    def direction(self, name: str) -> Node:
        """v or u: the direction of one argument, when it moves alone."""
        return named_like(self.parts(name), self.layer.derivative(name).variable.name)

    def alone(self, name: str) -> dict[Variable, Variable]:
        """The directions of all components of one argument."""
        leaves = zip(leaves_of(self.parts(name)), leaves_of(self.direction(name)), strict=True)
        return dict(leaves)

    # --- the point

    @cached_property
    def point(self) -> Point:
        """Values of all arguments, directions and cotangents, drawn with one seed."""
        random, sizes = np.random.default_rng(SEED), unequal_sizes(self.layer)
        values = dict(point_of(self.layer, sizes, random).values)
        for x, node in self.definitions.arguments.items():
            values.update(zip(leaves_of(node), arrays(values[x]), strict=True))
        for x in self.variables():
            values.setdefault(x, draw(random, x.space, sizes))
        return Point(sizes, values)

    def variables(self) -> Iterator[Variable]:
        """The arguments' components, all directions and cotangents."""
        for node in self.definitions.arguments.values():
            yield from leaves_of(node)
        yield from self.dots.values()
        yield from self.deltas.values()
        yield from leaves_of(self.w)
        for x in self.layer.differentiable:
            yield from leaves_of(self.direction(x.name))


def arrays(value: Value) -> list[Value]:
    """The arrays of a value in order."""
    return [a for part in value for a in arrays(part)] if isinstance(value, tuple) else [value]


def mapped(whole: Node, function: Callable[[Variable], Node]) -> Node:
    """The function applied to a variable, or to each of a tuple of them."""
    if isinstance(whole, Variable):
        return function(whole)
    return tuple_of(mapped(part, function) for part in whole.operands)


def named_like(whole: Node, name: str) -> Node:
    """A variable of that name, or numbered ones with the structure of an argument."""
    if isinstance(whole, Tuple):
        parts = enumerate(whole.components)
        return tuple_of(named_like(part, f"{name}_{k}") for k, part in parts)
    return variable(name, whole.space)
