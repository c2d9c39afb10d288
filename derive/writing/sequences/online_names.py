"""The names of the blocks of RTRL: D_{c} f_{h,i}, J^{W}_{h,i}, and the matrices with a name."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from ...calculus.maps import substituted
from ...calculus.terms import shape_of
from ...language.expressions import Node, Variable, variable
from ...recurrence.blocks import Blocks, StoredJacobian
from ...recurrence.ties import Key
from ..typesetting.letters import below
from .network_problem import NetworkProblem
from .onestep import matrices, one_step
from .parts import Part


class OnlineNames:
    """The names of a cell's blocks at its step to the time i, and its expressions in them."""

    def __init__(self, problem: NetworkProblem, cell: Part) -> None:
        self.p, self.cell = problem, cell
        self.i, self.times, self.letters = problem.i, problem.times, problem.letters
        self.one = one_step(cell, problem.network.learned)
        self.J, self.h = self.one.influences(), cell.states
        self._shown_J: dict[tuple[Key, str], Variable] = {}

    def component(self, a: int) -> str:
        """The index of a component of the state; "" if there is only one."""
        return self.letters(self.h[a].name) if len(self.h) > 1 else ""

    def f(self, a: int) -> str:
        """f_i, or its component f_{c,i}."""
        script = self.component(a)
        return below(f"{self.cell.f}_{{{script}}}" if script else self.cell.f, self.i)

    def D(self, a: int, b: int) -> str:
        """D f_i, or a block of it, by component."""
        script = self.component(b)
        return f"{{D_{{{script}}} {self.f(a)}}}" if script else f"{{D {self.f(a)}}}"

    def by(self, k: int) -> str:
        """A parameter, a slice of one, or the initial state."""
        column = self.one.columns[k]
        look = self.letters(column.by.name)
        if column.is_initial:
            return below(look, "0")
        return look if column.position is None else rf"\pi_{{{column.position + 1}}} {look}"

    def nabla(self, a: int, k: int) -> str:
        """nabla f_i by a parameter, or a component of it."""
        return rf"{{\nabla_{{{self.by(k)}}} {self.f(a)}}}"

    def J_look(self, key: Key, time: str) -> str:
        """J of a component by a parameter at a time."""
        script, by = self.component(key[0]), self.by(key[1])
        return below(f"J^{{{by}}}_{{{script}}}" if script else f"J^{{{by}}}", time)

    def J_at(self, key: Key, time: str) -> Variable:
        """J at a time, as printed."""
        if (key, time) not in self._shown_J:
            made = self.times.named(self.J[key].variable, self.J_look(key, time))
            self._shown_J[key, time] = made
        return self._shown_J[key, time]

    # --- one formula for all parameters

    @cached_property
    def is_general(self) -> bool:
        """Whether the recursion is the same formula for every parameter, in named blocks."""
        supports = {k: [a for a, kk in self.J if kk == k] for _, k in self.J}
        same = all(rows == list(range(len(self.h))) for rows in supports.values())
        names = all(map(self.has_names, self.J.values()))
        return same and names and not self.one.initial and len(supports) == len(self.one.columns)

    @cached_property
    def theta(self) -> str:
        """The letter that stands for any parameter."""
        words = self.cell.place.function.words
        return next(look for look in (r"\theta", r"\vartheta", r"\pi") if look[1:] not in words)

    def general(self, node: Node, k: int, times: Sequence[str]) -> Node:
        """An expression for one column, printed as that for any parameter."""
        new: dict[Node, Node] = {}
        for a in range(len(self.h)):
            for time in times:
                new[self.J_at((a, k), time)] = self.J_of_any((a, k), time)
            block = self.named.get(self.one.nabla.array((a, k)))
            if isinstance(block, Variable):
                new[block] = self.times.named(block, rf"{{\nabla_{{{self.theta}}} {self.f(a)}}}")
        return substituted(node, new)

    def J_of_any(self, key: Key, time: str) -> Variable:
        """J by any parameter."""
        script = self.component(key[0])
        look = below(f"J^{{{self.theta}}}_{{{script}}}", time)
        return self.times.named(self.J[key].variable, look)

    def column_of(self, a: int) -> int:
        """A column that represents all: that of a matrix, with an immediate derivative."""
        found = [k for k in range(len(self.one.columns)) if (a, k) in self.one.nabla.terms]
        ranks = [len(shape_of(self.one.columns[k].direction)) for k in found]
        return found[ranks.index(max(ranks))] if found else 0

    # --- matrices with a name

    def has_names(self, s: StoredJacobian) -> bool:
        """Whether the blocks of a full array are named: if there are several components."""
        return len(self.h) > 1 and not s.tied

    @cached_property
    def steps(self) -> dict[bool, tuple[Blocks, Blocks]]:
        """D f and nabla f in a recursion, with named blocks (True), each one array, or without.

        A dense block of D f is one array in any case.
        """
        D, nabla = self.one.D, self.one.nabla
        full = [key for key in D.terms if D.is_dense(key)]
        return {
            True: (D.formed(D.terms), nabla.formed(nabla.terms)),
            False: (D.formed(full), nabla),
        }

    @cached_property
    def named(self) -> dict[Node, Node]:
        """The matrices that have a name: blocks of D f and nabla f, and shared factors.

        With one component only the dense blocks of D f, since all others are short.
        """
        found: dict[Node, Node] = {}
        for key in self.one.D.terms:
            if len(self.h) > 1 or self.one.D.is_dense(key):
                node = self.one.D.array(key)
                found[node] = self.times.named(variable("D", node.space), self.D(*key))
        for key in self.one.nabla.terms if len(self.h) > 1 else ():
            node = self.one.nabla.array(key)
            if not isinstance(node, Variable) and node not in self.shared:
                found[node] = self.times.named(variable("nabla", node.space), self.nabla(*key))
        return found | self.shared

    @cached_property
    def shared(self) -> dict[Node, Node]:
        """The matrices Q that the immediate derivatives have in common."""
        blocks = {self.one.D.array(key) for key in self.one.D.terms}
        every = [m for terms in self.one.nabla.terms.values() for m in matrices(terms)]
        own = [node for node in dict.fromkeys(every) if node not in blocks]
        looks = ["Q"] if len(own) == 1 else [f"Q_{{{k + 1}}}" for k in range(len(own))]
        return {
            node: self.times.named(variable("Q", node.space), below(look, self.i))
            for node, look in zip(own, looks, strict=True)
        }

    def shown(self, node: Node, time: str = "", own: Node | None = None) -> Node:
        """An expression in names at the step to i; J at `time`, the time before by default.

        `own` is the matrix being defined, which is not printed by its name.
        """
        before = f"{self.i}-1"
        names = {k: x for k, x in self.named.items() if k is not own}
        short = self.cell.shortened(node, names)
        J: dict[Node, Node] = {
            s.variable: self.J_at(key, time or before) for key, s in self.J.items()
        }
        return self.cell.shown(short, self.times, self.i, before, J)
