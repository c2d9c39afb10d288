r"""The exact hybrid as blocks: lemma 5.1.6 split at the start of a block of steps.

    J_{tau'} = Lambda_{tau} J_{tau} + sum over the block of Lambda_i nabla f_i,
    Lambda_{i-1} = Lambda_i D f_i,   gradient = sum of nabla* f_i eps_i + J*_{tau} eps_{tau}

Source: Schmidhuber 1992, cited by the thesis.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

from ...calculus.calculus import tangents
from ...calculus.combining import combined, summed
from ...calculus.maps import substituted
from ...calculus.terms import Term, total
from ...language.expressions import Node, Variable, linear_combination, variable
from ...language.riesz import riesz
from ...recurrence.blocks import Blocks, identity
from ...recurrence.ties import Key
from ...vocabulary.linear import dot
from ..layers.blocks import Block, Display, Heading, Prose
from ..layers.claims import Equation, Side, Sums
from ..typesetting.letters import below
from .backward_section import TOTAL
from .looks import free_letter
from .online_section import OnlineSection
from .unrolled import Backward, Unrolled

BLOCK = rf"{TOTAL}'"
STEPS = 2  # of the block on which equations are checked


class HybridSection:
    """The blocks of the hybrid."""

    def __init__(self, online: OnlineSection) -> None:
        self.online, self.one, self.p = online, online.one, online.p
        self.h, self.i, self.times = online.h, online.i, online.times
        self.stores, self.start = self.one.lambdas(), identity(self.one.D.rows)
        self.Lambda = self.start.holding(self.stores)
        start = free_letter(("tau", "sigma", "rho"), self.p.words)
        self.begin, self.end = rf"\{start}", rf"\{start}'"
        self._made: dict[tuple[Key, str], Variable] = {}

    # --- letters

    def at(self, key: Key, time: str) -> Variable:
        """Lambda at a time, as printed."""
        if (key, time) not in self._made:
            a, b = map(self.online.names.component, key)
            look = rf"\Lambda_{{{a} {b}}}" if a else r"\Lambda"
            made = self.stores[key].variable
            self._made[key, time] = self.times.named(made, below(look, time))
        return self._made[key, time]

    def shown(self, node: Node, time: str) -> Node:
        """An expression in names, Lambda at a time and J at the start of the block."""
        new: dict[Node, Node] = {s.variable: self.at(key, time) for key, s in self.stores.items()}
        return substituted(self.online.names.shown(node, self.begin), new)

    # --- blocks

    def blocks(self) -> Iterator[Block]:
        """Lambda, the influence at the end of a block, the gradient of the block."""
        i, end, zero = self.i, self.end, self.begin
        yield Heading("The exact hybrid of both")
        yield Prose(
            rf"A block has the steps ${zero}+1, \dots, {end}$. The sum of lemma 5.1.6 is split at "
            rf"its start: $\Lambda_{{{i}}} = D\mu_{{{end},{i}+1}}$ is the derivative of the state "
            rf"at the end of the block with respect to the state at time ${i}$. It is the identity "
            rf"at ${i} = {end}$, and is computed backward from there by lemma 5.1.4:"
        )
        yield Display(tuple(self._lambda(key) for key in self.stores))
        yield Prose("The influence at the end of the block:")
        yield from self.online.listed(self._influence, *self.online.keys)
        yield Prose(
            r"Here $\varepsilon$ accounts only for the losses of this block: at its start there is "
            r"no term $D^{*}g\cdot e$, which belongs to the block before. The gradient of the "
            f"losses of the block, ${BLOCK}$:"
        )
        yield from self.online.listed(self._gradient, *self.online.columns)

    # --- Lambda

    @cached_property
    def products(self) -> dict[bool, tuple[Blocks, Blocks]]:
        """Lambda . D f and Lambda . nabla f, with named blocks (True) or without."""
        steps = self.online.names.steps
        return {k: (self.Lambda.times(D), self.Lambda.times(L)) for k, (D, L) in steps.items()}

    def before(self, key: Key) -> Node:
        """Lambda_{i-1} by Lambda_i and the blocks of D f, in the leaves."""
        new = self.stores[key]
        through, _ = self.products[self.online.names.has_names(new)]
        return new.holding(map(_short, through.of(key)))

    def _lambda(self, key: Key) -> Equation:
        """Lambda_{i-1} = Lambda_i . D f_i, applied to any direction of the state."""
        (a, c), new = key, self.before(key)
        v = self.online.states[c].direction
        along = [self.online.tangent(b, {self.h[c]: v}) for b in range(len(self.h))]
        left = Side(self.at(key, f"{self.i}-1"), self.Lambda.apply(dict(enumerate(along)))[a])
        right = self.start.holding({key: self.stores[key]}, {key: new}).apply({c: v})[a]
        return Equation(left, Side(self.shown(new, self.i), right), "(5.13)")

    # --- J at the end of a block

    def carried(self, key: Key) -> Node:
        """Lambda . J, in the leaves."""
        J = self.online.column(key[1])
        return self.online.J[key].holding(self.Lambda.times(J).of(key))

    def immediate(self, key: Key) -> Node:
        """Lambda . nabla f, in the leaves."""
        new = self.online.J[key]
        _, through = self.products[self.online.names.has_names(new)]
        return new.holding(map(_short, through.of(key)))

    @property
    def over(self) -> str:
        """The sum over the block."""
        return rf"\sum_{{{self.i}={self.begin}+1}}^{{{self.end}}}"

    def _influence(self, key: Key, general: bool) -> Equation:
        """J at the end of the block (5.21), applied to any direction."""
        a, k = key
        parts = [("", self.shown(self.carried(key), self.begin))]
        if self.products[False][1].of(key):
            parts.append((self.over, self.shown(self.immediate(key), self.i)))
        last = self.block.states[self.online.cell, STEPS][a]
        names, name = self.online.names, self.online.names.J_at(key, self.end)
        if general:
            parts = [(sign, names.general(node, k, [self.begin])) for sign, node in parts]
            name = names.J_of_any(key, self.end)
        left = Side(name, tangents([last], self._along(k))[last])
        right = self.online.along(key, self._ended(key))
        return Equation(left, Side(Sums(tuple(parts)), right), "(5.21)")

    @cached_property
    def block(self) -> Unrolled:
        """The block of steps on which equations are checked."""
        return Unrolled(self.p.floors, self.p.loss, self.p.weight, STEPS)

    def _along(self, k: int) -> dict[Variable, Node]:
        """The column's direction and J along it."""
        moved = {self.block.copy(x, 0): v for x, v in self.online.moved(k).items()}
        return {**moved, **self.one.columns[k].moved()}

    @cached_property
    def lambdas(self) -> list[dict[Key, Node]]:
        """Lambda at every time of the block, from its start on."""
        found = [self.start.held_by(self.stores)]
        for t in reversed(self.block.times):
            at = self._at(t, found[0])
            found.insert(0, {key: substituted(self.before(key), at) for key in self.stores})
        return found

    def _at(self, t: int, lambdas: dict[Key, Node]) -> dict[Node, Node]:
        at: dict[Node, Node] = dict(self.block.at_cell(self.online.cell, t, None))
        return at | {s.variable: lambdas[key] for key, s in self.stores.items()}

    def _ended(self, key: Key) -> Node:
        """The right side, with Lambda substituted step by step."""
        first = {s.variable: self.lambdas[0][k] for k, s in self.stores.items()}
        shares = [substituted(self.carried(key), first)]
        for t in self.block.times:
            at = self._at(t, self.lambdas[t])
            shares.append(substituted(self.immediate(key), at))
        return total(self.online.J[key].variable.space, shares)

    # --- the gradient of the block

    def _gradient(self, k: int, general: bool) -> Equation:
        """The sum of nabla* f_i . eps_i, and J* . eps at the start, paired with any direction."""
        column, cell = self.one.columns[k], self.online.cell
        backward, u = Backward(self.block), column.direction
        whole = self.block.whole()
        left = tangents([whole], self._along(k))[whole]
        names = self.online.names
        at_start: dict[Key, Node] = {key: names.J_at(key, self.begin) for key in names.J}
        right = [dot(self.online.readout(k, backward.eps[cell, 0]), u)]
        eps = [self.online.backward.eps(x, self.begin) for x in self.h]
        read = self.online.readout(k, eps, at_start)
        if general:
            read = names.general(read, k, [self.begin])
        parts = [("", read)]
        found = None if column.is_initial else cell.pulled(column.by)
        if found is not None:
            sent = column.read(riesz(found))
            shown = self.online.backward.shown_cell(cell, sent)
            parts.append((self.over, self._sent(shown) if general else shown))
            inside = backward.of_cell(cell, None, column.by)
            right.append(dot(column.read(riesz(inside)), u))
        label = rf"\nabla_{{{names.theta if general else names.by(k)}}} {BLOCK}"
        side = Side(Sums(tuple(parts)), linear_combination([(1, x) for x in right]))
        return Equation(Side(label, left), side, "(5.22), split")

    def _sent(self, shown: Node) -> Node:
        """nabla* f_i . eps_i by any parameter."""
        names, cell = self.online.names, self.online.cell
        eps = ", ".join(
            self.times.symbols[self.online.backward.eps(x, self.i).name] for x in self.h
        )
        look = rf"\nabla^{{*}}_{{{names.theta}}} {below(cell.f, self.i)} \cdot ({eps})"
        return self.times.named(variable("sent", shown.space), look)


def _short(term: Term) -> Term:
    """The term with everything that can be multiplied out in one factor per link."""
    return combined(summed(term))
