r"""RTRL of a cell as blocks: J_i = D f_i J_{i-1} + \nabla f_i by components (thesis lemma 5.1.2).

The blocks of D f and nabla f are those that `structure` finds, each checked against the tangent of
the calculus; the recursion is checked on one step, the gradient over a sequence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TypeVar

from ...calculus.calculus import tangents
from ...calculus.maps import substituted
from ...calculus.terms import total
from ...language.expressions import Node, Variable, variable, zero
from ...language.riesz import riesz
from ...language.spaces import R
from ...language.walk import topological
from ...recurrence.blocks import Blocks
from ...recurrence.ties import Key
from ...vocabulary.linear import dot
from ..layers.blocks import Asserted, Block, Display, Heading, Prose
from ..layers.claims import Equation, Side
from ..typesetting.letters import below
from .backward_section import TOTAL, BackwardSection
from .onestep import Column
from .online_names import OnlineNames
from .online_words import OnlineWords
from .unrolled import added

BLOCK = "the chain rule, block by block"
At = TypeVar("At")


class OnlineSection:
    """The blocks of RTRL for a network of one cell that runs forward."""

    def __init__(self, backward: BackwardSection) -> None:
        self.backward, self.p = backward, backward.p
        self.i, self.times, self.letters = self.p.i, self.p.times, self.p.letters
        (self.floor,) = self.p.floors
        (self.cell,) = self.floor.cells
        self.names = OnlineNames(self.p, self.cell)
        self.words = OnlineWords(self.names)
        self.one, self.J, self.h = self.names.one, self.names.J, self.names.h

    # --- blocks

    def blocks(self) -> Iterator[Block]:
        """The blocks of D f and nabla f, the recursion, the gradient."""
        yield Heading("Real-time recurrent learning")
        yield Prose(self.words.introduction())
        if len(self.h) > 1:
            yield Prose(self.words.matrix())
        yield Display(tuple(self._Ds()))
        yield Asserted(tuple(self._vanishing(self.one.D, self.states)))
        yield Prose("The immediate derivatives with respect to the parameters (all others vanish):")
        yield Display((*self._definitions(), *self._immediates()))
        yield Asserted(tuple(self._vanishing(self.one.nabla, self.one.columns)))
        yield Prose(self.words.spaces())
        if self.one.initial:
            yield Prose(
                r"The influence of the initial state itself starts at the identity. The recursion:"
            )
        else:
            yield Prose("Every $J$ starts at zero. The recursion (lemma 5.1.2):")
        yield from self.listed(self._carried, *self.keys)
        yield Prose(f"The gradient of the loss at time ${self.i}$ (theorem 5.1.3):")
        yield from self.listed(self._readout, *self.columns)
        yield Prose(rf"Their sum over time is the gradient of ${TOTAL}$.")
        yield Asserted(tuple(self._sum(k) for k in range(len(self.one.columns))))

    @property
    def keys(self) -> tuple[list[Key], list[Key]]:
        """The components and columns of J, and those that represent all."""
        return list(self.J), [(a, self.names.column_of(a)) for a in range(len(self.h))]

    @property
    def columns(self) -> tuple[Sequence[int], list[int]]:
        """The columns, and the one that represents all."""
        return range(len(self.one.columns)), [self.names.column_of(0)]

    def listed(
        self, equation: Callable[[At, bool], Equation], every: Iterable[At], chosen: Iterable[At]
    ) -> Iterator[Block]:
        """An equation for each, or only the chosen ones for any parameter; all are checked."""
        own = tuple(equation(at, False) for at in every)
        if self.names.is_general:
            yield Display(tuple(equation(at, True) for at in chosen))
            yield Asserted(own)
        else:
            yield Display(own)

    def _order(self) -> list[Key]:
        """The blocks of D f, those that others depend on first."""
        found = list(self.one.D.terms)
        parts = {key: topological(self.one.D.array(key)) for key in found}
        return sorted(found, key=lambda key: (len(parts[key]), key))

    # --- one step

    def tangent(self, a: int, along: Mapping[Variable, Node]) -> Node:
        """The tangent of a component of f, by the calculus."""
        output = self.cell.outputs[a]
        return tangents([output], along)[output]

    @cached_property
    def states(self) -> tuple[Column, ...]:
        """The components of the state, and any direction of each."""
        return tuple(Column(x, None, variable(f"{x.name}_along", x.space)) for x in self.h)

    def _block(self, L: Blocks, key: Key, column: Column, look: str, why: str = "") -> Equation:
        """A block of D f or nabla f, applied to any direction of its column."""
        (a, k), block = key, L.array(key)
        own = None if block in self.names.shared else block
        right = L.formed([key]).apply({k: column.direction})[a]
        left = Side(look, self.tangent(a, column.moved()))
        return Equation(left, Side(self.names.shown(block, own=own), right), why)

    def _vanishing(self, L: Blocks, columns: Sequence[Column]) -> Iterator[Equation]:
        """The equations that the remaining blocks vanish."""
        for k, column in enumerate(columns):
            for a in range(len(self.h)) if not column.is_initial else ():
                if (a, k) not in L.terms:
                    node = self.tangent(a, column.moved())
                    nothing = zero(node.space)
                    yield Equation(Side("a block", node), Side(nothing, nothing), "vanishes")

    def _Ds(self) -> Iterator[Equation]:
        why = BLOCK if len(self.h) > 1 else ""
        for a, b in self._order():
            yield self._block(self.one.D, (a, b), self.states[b], self.names.D(a, b), why)

    def _definitions(self) -> Iterator[Equation]:
        """The definitions of matrices that several immediate derivatives share."""
        for node, name in self.names.shared.items():
            yield Equation(Side(name, node), Side(self.names.shown(node, own=node), node))

    def _immediates(self) -> Iterator[Equation]:
        for a, k in sorted(self.one.nabla.terms, key=lambda key: key[::-1]):
            look = self.names.nabla(a, k)
            yield self._block(self.one.nabla, (a, k), self.one.columns[k], look)

    # --- J

    @cached_property
    def recursion(self) -> dict[bool, Blocks]:
        """D f . J + nabla f, with named blocks (True) or without."""
        J = self.one.nabla.holding(self.J)
        return {named: D.times(J) + nabla for named, (D, nabla) in self.names.steps.items()}

    def carried(self, key: Key) -> Node:
        """The new J by the blocks of D f, J and nabla f, in the leaves."""
        new = self.J[key]
        return new.holding(self.recursion[self.names.has_names(new)].of(key))

    def column(self, k: int, J: Mapping[Key, Node] | None = None) -> Blocks:
        """J by one column, or other arrays in place of its own."""
        own = {key: s for key, s in self.J.items() if key[1] == k}
        return self.one.nabla.holding(own, J)

    def moved(self, k: int) -> dict[Variable, Node]:
        """The directions of the states before: J along a column's direction."""
        along = self.column(k).apply({k: self.one.columns[k].direction})
        return {self.h[a]: along[a] for a, kk in self.J if kk == k}

    def along(self, key: Key, array: Node) -> Node:
        """An array in place of one of J, along its column's direction."""
        (a, k), own = key, {key: self.J[key]}
        J = self.one.nabla.holding(own, {key: array})
        return J.apply({k: self.one.columns[k].direction})[a]

    def _carried(self, key: Key, general: bool) -> Equation:
        """(5.11) for one component and one column, applied to any direction."""
        (a, k), new = key, self.carried(key)
        along = {**self.moved(k), **self.one.columns[k].moved()}
        right = self.along(key, new)
        shown, name = self.names.shown(new), self.names.J_at(key, self.i)
        if general:
            shown = self.names.general(shown, k, [f"{self.i}-1"])
            name = self.names.J_of_any(key, self.i)
        return Equation(Side(name, self.tangent(a, along)), Side(shown, right), "(5.11)")

    # --- gradients

    def own(self, a: int) -> tuple[Node | None, Node | None]:
        """D*g . e_i by a component, as printed, and in the leaves."""
        return self.backward.own(self.floor, self.cell, self.h[a], self.i)

    def readout(
        self, k: int, us: Sequence[Node | None], J: Mapping[Key, Node] | None = None
    ) -> Node:
        """J* . u in coordinates: the sum over the components of the state."""
        return self.column(k, J).pull({a: riesz(u) for a, u in enumerate(us) if u is not None})[k]

    def _readout(self, k: int, general: bool) -> Equation:
        """nabla J_i = J_i* . D*g . e_i (5.12), paired with any direction."""
        u = self.one.columns[k].direction
        own = [self.own(a) for a in range(len(self.h))]
        at_i: dict[Key, Node] = {key: self.names.J_at(key, self.i) for key in self.J}
        g, e = self.floor.prediction, self.backward.error(self.floor.prediction, self.i)
        value = g.value(self.backward.at_prediction(self.floor, self.i))
        moved = [tangents([y], self.moved(k))[y] for y in value]
        left = added(R(), [dot(riesz(e_), y) for e_, y in zip(e, moved, strict=True)])
        right = dot(self.readout(k, [closed for _, closed in own]), u)
        shown = self.readout(k, [shown for shown, _ in own], at_i)
        by = self.names.theta if general else self.names.by(k)
        label = rf"\nabla_{{{by}}} {below(TOTAL, self.i)}"
        shown = self.names.general(shown, k, [self.i]) if general else shown
        return Equation(Side(label, left), Side(shown, right), "(5.12)")

    @cached_property
    def over_steps(self) -> list[dict[Key, Node]]:
        """J at every time of the sequence, by substituting the recursion."""
        sequence, found = self.p.sequence, [self.one.first().held_by(self.J)]
        for t in sequence.times:
            at: dict[Node, Node] = dict(sequence.at_cell(self.cell, t, None))
            at |= {s.variable: found[-1][key] for key, s in self.J.items()}
            found.append({key: substituted(self.carried(key), at) for key in self.J})
        return found

    def _sum(self, k: int) -> Equation:
        """nabla J = sum of nabla J_i, over the sequence."""
        sequence, column = self.p.sequence, self.one.columns[k]
        x = sequence.copy(column.by, 0) if column.is_initial else column.by
        left = column.read(riesz(self.p.gradients[x]))
        shares = []
        for t in sequence.times:
            at = {**sequence.at_prediction(self.floor, t), **self._errors(t)}
            us = [self._own_at(a, at) for a in range(len(self.h))]
            shares.append(self.readout(k, us, self.over_steps[t]))
        label = rf"\nabla_{{{self.names.by(k)}}} {TOTAL}"
        each = label.replace(TOTAL, below(TOTAL, self.i))
        right = total(column.direction.space, shares)
        return Equation(Side(label, left), Side(f"{self.backward.over} {each}", right))

    def _errors(self, t: int) -> dict[Node, Node]:
        g = self.floor.prediction
        return dict(zip(g.w, self.p.backward.errors[g, t], strict=True))

    def _own_at(self, a: int, at: Mapping[Node, Node]) -> Node | None:
        g = self.floor.prediction
        return g.template(self.backward.read_by(self.floor)[self.h[a]], at)
