r"""RTRL of a cell as blocks: J_i = D f_i J_{i-1} + \nabla f_i by components (thesis lemma 5.1.2).

The blocks of D f and nabla f are those that `structure` finds, each asserted against the tangent
that the calculus takes; the recursion is asserted in one step, its gradient over a sequence.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property

from ..calculus import tangents
from ..expressions import Node, Variable, variable, zero
from ..functions import dot, flat
from ..influence import product, shape_of
from ..maps import substituted
from ..spaces import R
from ..terms import total
from ..walk import topological
from .backward_section import TOTAL, BackwardSection
from .blocks import Asserted, Block, Display, Heading, Prose
from .claims import Equation, Side
from .domains import space_latex
from .looks import below
from .onestep import (
    Key,
    OneStep,
    applied,
    as_term,
    matrices,
    placed,
    pulled,
    start,
    stored,
)
from .unrolled import added

BLOCK = "the chain rule, block by block"


class OnlineSection:
    """The blocks of RTRL for a network of one cell that runs forward."""

    def __init__(self, backward: BackwardSection) -> None:
        self.backward, self.p = backward, backward.p
        self.i, self.times, self.letters = self.p.i, self.p.times, self.p.letters
        (self.floor,) = self.p.floors
        (self.cell,) = self.floor.cells
        self.one = OneStep(self.cell, self.p.network.learned)
        self.J, self.h = self.one.influences(), self.cell.states

    # --- letters

    def component(self, a: int) -> str:
        """The index of a component of the state; none where there is one."""
        return self.letters(self.h[a].name) if len(self.h) > 1 else ""

    def f_label(self, a: int) -> str:
        """f_i, or its component f_{c,i}."""
        script = self.component(a)
        return below(f"{self.cell.f}_{{{script}}}" if script else self.cell.f, self.i)

    def D_label(self, a: int, b: int) -> str:
        """D f_i, or a block of it, by component."""
        script = self.component(b)
        return f"D_{{{script}}} {self.f_label(a)}" if script else f"D {self.f_label(a)}"

    def by_label(self, k: int) -> str:
        """A parameter, a slice of one, or the initial state."""
        column = self.one.columns[k]
        look = self.letters(column.by.name)
        if column.is_initial:
            return below(look, "0")
        return look if column.position is None else rf"\pi_{{{column.position + 1}}} {look}"

    def J_look(self, key: Key, time: str) -> str:
        """J of a component by a parameter at a time."""
        script, by = self.component(key[0]), self.by_label(key[1])
        return below(f"J^{{{by}}}_{{{script}}}" if script else f"J^{{{by}}}", time)

    @cached_property
    def _shown_J(self) -> dict[tuple[Key, str], Variable]:
        return {}

    def J_at(self, key: Key, time: str) -> Variable:
        """J at a time, as it is shown."""
        if (key, time) not in self._shown_J:
            made = self.times.named(self.J[key].variable, self.J_look(key, time))
            self._shown_J[key, time] = made
        return self._shown_J[key, time]

    @cached_property
    def named(self) -> dict[Node, Node]:
        """The matrices that have a name: dense blocks of D f, then what several blocks read."""
        found: dict[Node, Node] = {}
        for a, b in self.one.D:
            if self.one.is_dense((a, b)):
                node = self.one.block(a, b)
                found[node] = self.times.named(variable("D", node.space), self.D_label(a, b))
        every = [m for terms in self.one.nabla.values() for m in matrices(terms)]
        for node in dict.fromkeys(node for node in every if node not in found):
            look = "Q" if len(set(every)) == 1 else f"Q_{{{len(found) + 1}}}"
            found[node] = self.times.named(variable("Q", node.space), below(look, self.i))
        return found

    def shown(self, node: Node, time: str = "", own: Node | None = None) -> Node:
        """An expression in names at the step to i; J at `time`, the time before by default."""
        time = time or f"{self.i}-1"
        names = {k: x for k, x in self.named.items() if k is not own}
        short = self.cell.shortened(node, names)
        J: dict[Node, Node] = {s.variable: self.J_at(key, time) for key, s in self.J.items()}
        return self.cell.shown(short, self.times, self.i, f"{self.i}-1", J)

    # --- blocks

    def blocks(self) -> Iterator[Block]:
        """The blocks of D f and nabla f, the recursion, the gradient."""
        yield Heading("Real-time recurrent learning")
        yield Prose(self._said())
        if len(self.h) > 1:
            yield Prose(self._matrix())
        yield Display(tuple(self._D(a, b) for a, b in self._order()))
        yield from self._zeros()
        yield Prose("The immediate derivatives by the parameters:")
        yield Display((*self._definitions(), *self._immediates()))
        yield Prose(self._spaces())
        if self.one.initial:
            yield Prose(r"Those by the initial state itself start at the identity. The recursion:")
        else:
            yield Prose("All of them start at zero. The recursion (lemma 5.1.2):")
        yield Display(tuple(self._carried(key) for key in self.J))
        yield Prose(f"The gradient of the loss at the time ${self.i}$ (theorem 5.1.3), and of all:")
        columns = range(len(self.one.columns))
        yield Display(tuple(self._readout(k) for k in columns))
        yield Display(tuple(self._sum(k) for k in columns))

    def _said(self) -> str:
        i, h = self.i, self.letters(self.cell.place.state.name)
        return (
            rf"$J_{{{i}}}$ is the derivative of the state at the time ${i}$ by the parameters, the "
            rf"influence: $J_{{{i}}} = D {below(self.cell.f, i)}\,J_{{{i}-1}} + \nabla "
            rf"{below(self.cell.f, i)}$ (lemma 5.1.2, (5.11)), at ${below(h, f'{i}-1')}$. An index "
            "stands for each axis of what is derived, then for those of what it is derived by; "
            r"$(\operatorname{diag}(d) \otimes a)$ has the entries of $d$ where its first two "
            "indices are equal, times those of $a$."
        )

    def _matrix(self) -> str:
        rows = range(len(self.h))
        shown = [
            " & ".join(self.D_label(a, b) if (a, b) in self.one.D else "0" for b in rows)
            for a in rows
        ]
        inside = r" \\ ".join(shown)
        whole = f"D {below(self.cell.f, self.i)}"
        matrix = rf"\begin{{pmatrix}} {inside} \end{{pmatrix}}"
        return f"By the components of the state ${whole} = {matrix}$."

    def _order(self) -> list[Key]:
        """The blocks of D f, those that others are made of first."""
        found = list(self.one.D)
        parts = {key: topological(self.one.block(*key)) for key in found}
        return sorted(found, key=lambda key: (len(parts[key]), key))

    # --- one step

    def tangent(self, a: int, along: Mapping[Variable, Node]) -> Node:
        """The tangent of a component of f, by the calculus."""
        output = self.cell.outputs[a]
        return tangents([output], along)[output]

    def direction(self, b: int) -> Variable:
        """Any direction of one component of the state."""
        return variable(f"{self.h[b].name}_along", self.h[b].space)

    def _D(self, a: int, b: int) -> Equation:
        """A block of D f, applied to any direction."""
        block, v = self.one.block(a, b), self.direction(b)
        left = Side(self.D_label(a, b), self.tangent(a, {self.h[b]: v}))
        term = as_term(self.h[a], self.h[b], block)
        right = Side(self.shown(block, own=block), applied(term, self.h[a], v))
        return Equation(left, right, BLOCK if len(self.h) > 1 else "")

    def _zeros(self) -> Iterator[Block]:
        """What vanishes, said in a sentence."""
        pairs = [(a, b) for a in range(len(self.h)) for b in range(len(self.h))]
        zeros = [key for key in pairs if key not in self.one.D]
        found = [self.tangent(a, {self.h[b]: self.direction(b)}) for a, b in zeros]
        yield Asserted(tuple(_vanishing(node) for node in found))

    def _definitions(self) -> Iterator[Equation]:
        """The matrices that several of the immediate derivatives have."""
        blocks = {self.one.block(*key) for key in self.one.D}
        for node, name in self.named.items():
            if node not in blocks:
                yield Equation(Side(name, node), Side(self.shown(node, own=node), node))

    def _immediates(self) -> Iterator[Equation]:
        for k, column in enumerate(self.one.columns):
            for a, x in enumerate(self.h):
                if column.is_initial or (a, k) not in self.one.nabla:
                    continue
                block = self.one.immediate(a, k)
                label = rf"\nabla_{{{self.by_label(k)}}} {self.f_label(a)}"
                left = Side(label, self.tangent(a, {column.by: column.along()}))
                term = as_term(x, column.direction, block)
                right = Side(self.shown(block), applied(term, x, column.direction))
                yield Equation(left, right)

    # --- J

    def _spaces(self) -> str:
        """What is stored, and what is not."""
        i = self.i
        full, tied = (
            [key for key, s in self.J.items() if bool(s.tied) is compressed]
            for compressed in (False, True)
        )
        shown = {key: f"${self.J_look(key, i)} \\in {self._space(key)}$" for key in self.J}
        said = []
        if full:
            said.append(f"In full are kept {', '.join(shown[key] for key in full)}.")
        if tied:
            said.append(
                "Under the recursion the axes that a parameter has in common with the state stay "
                "tied, since the blocks of $Df$ between them are diagonal: what is not on this "
                "diagonal is zero for ever, and the axis is stored once: "
                f"{', '.join(shown[key] for key in tied)}."
            )
        zeros = [key for key in self._every() if key not in self.J]
        if zeros:
            looks = ", ".join(f"${self.J_look(key, i)}$" for key in zeros)
            said.append(f"Always zero: {looks}.")
        return " ".join(said)

    def _every(self) -> list[Key]:
        return [(a, k) for k in range(len(self.one.columns)) for a in range(len(self.h))]

    def _space(self, key: Key) -> str:
        return space_latex(self.J[key].variable.space, self.letters)

    def carried(self, key: Key) -> Node:
        """The new J by the blocks of D f, J and nabla f, in the leaves."""
        (a, k), new = key, self.J[key]
        moved = []
        for b, x in enumerate(self.h):
            old = self.J.get((b, k))
            if old is None or (a, b) not in self.one.D:
                continue
            terms = self.one.D[a, b]
            if self.one.is_dense((a, b)):
                terms = (as_term(self.h[a], x, self.one.block(a, b)),)
            moved += [product(term, old, new) for term in terms]
        moved += [placed(new, term) for term in self.one.nabla.get(key, ())]
        return total(new.variable.space, moved)

    def moved(self, k: int, J: Mapping[Key, Node] | None = None) -> dict[Variable, Node]:
        """The directions of the states before: J along a column's direction."""
        u = self.one.columns[k].direction
        return {
            x: applied(stored(s, x, None if J is None else J[key]), x, u)
            for key, s in self.J.items()
            if key[1] == k
            for x in [self.h[key[0]]]
        }

    def _carried(self, key: Key) -> Equation:
        """(5.11) for one component and one column, applied to any direction."""
        (a, k), new = key, self.carried(key)
        column, x = self.one.columns[k], self.h[a]
        along = self.moved(k)
        if not column.is_initial:
            along = {**along, column.by: column.along()}
        left = Side(self.J_at(key, self.i), self.tangent(a, along))
        right = applied(stored(self.J[key], x, new), x, column.direction)
        return Equation(left, Side(self.shown(new), right), "(5.11)")

    # --- gradients

    def own(self, a: int) -> tuple[Node | None, Node | None]:
        """D*g . e_i by a component, as it is shown and in the leaves."""
        return self.backward.own(self.floor, self.cell, self.h[a], self.i)

    def readout(self, k: int, us: Sequence[Node | None], J: Mapping[Key, Node]) -> Node:
        """J* . u in coordinates: the sum over the components of the state."""
        x = self.one.columns[k].direction
        found = [
            pulled(stored(s, self.h[a], J[a, kk]), x, flat(u))
            for (a, kk), s in self.J.items()
            if kk == k
            for u in [us[a]]
            if u is not None
        ]
        return total(R(*shape_of(x)), found)

    def _readout(self, k: int) -> Equation:
        """nabla J_i = J_i* . D*g . e_i (5.12), paired with any direction."""
        u = self.one.columns[k].direction
        own = [self.own(a) for a in range(len(self.h))]
        J: dict[Key, Node] = {key: s.variable for key, s in self.J.items()}
        at_i: dict[Key, Node] = {key: self.J_at(key, self.i) for key in self.J}
        g, e = self.floor.prediction, self.backward.error(self.floor.prediction, self.i)
        value = g.value(self.backward.at_prediction(self.floor, self.i))
        moved = [tangents([y], self.moved(k))[y] for y in value]
        left = added(R(), [dot(flat(e_), y) for e_, y in zip(e, moved, strict=True)])
        right = dot(self.readout(k, [closed for _, closed in own], J), u)
        shown = self.readout(k, [shown for shown, _ in own], at_i)
        label = rf"\nabla_{{{self.by_label(k)}}} {below('J', self.i)}"
        return Equation(
            Side(label.replace(" J", r" \mathcal{J}"), left), Side(shown, right), "(5.12)"
        )

    def over_steps(self) -> list[dict[Key, Node]]:
        """J at every time of the sequence, the recursion put in."""
        sequence, found = self.p.sequence, [self._start()]
        for t in sequence.times:
            at: dict[Node, Node] = dict(sequence.at_cell(self.cell, t, None))
            at |= {s.variable: found[-1][key] for key, s in self.J.items()}
            found.append({key: substituted(self.carried(key), at) for key in self.J})
        return found

    def _start(self) -> dict[Key, Node]:
        first = len(self.one.parameters)
        return {(a, k): start(s, k == first + a) for (a, k), s in self.J.items()}

    def _sum(self, k: int) -> Equation:
        """nabla J = sum of nabla J_i, over the sequence."""
        sequence, column = self.p.sequence, self.one.columns[k]
        x = sequence.copy(column.by, 0) if column.is_initial else column.by
        left = column.read(flat(self.p.gradients[x]))
        J, shares = self.over_steps(), []
        for t in sequence.times:
            at = {**sequence.at_prediction(self.floor, t), **self._errors(t)}
            us = [self._own_at(a, at) for a in range(len(self.h))]
            shares.append(self.readout(k, us, J[t]))
        label = rf"\nabla_{{{self.by_label(k)}}} {TOTAL}"
        each = label.replace(TOTAL, below(TOTAL, self.i))
        right = total(R(*shape_of(column.direction)), shares)
        return Equation(Side(label, left), Side(f"{self.backward.over} {each}", right))

    def _errors(self, t: int) -> dict[Node, Node]:
        g = self.floor.prediction
        return dict(zip(g.w, self.p.backward.errors[g, t], strict=True))

    def _own_at(self, a: int, at: Mapping[Node, Node]) -> Node | None:
        g = self.floor.prediction
        return g.template(self.backward.read_by(self.floor)[self.h[a]], at)


def _vanishing(node: Node) -> Equation:
    nothing = zero(node.space)
    return Equation(Side(node, node), Side(nothing, nothing), "vanishes")
