"""The influence J_i = nabla alpha_i of parameters on the state, and its recursion (RTRL).

    J_i = D f_i . J_{i-1} + nabla f_i        (thesis lemma 5.1.2)

Where a sample is reset, f begins from a state that no parameter influences, and J from zero; where
it is not active, J stays.  Both select, sample by sample, and multiply nothing. D f_i is a block
for each pair of components of the state, nabla f_i one for each component and parameter;
`structure` says where they are not zero.  An axis of a parameter that stays tied to an axis of the
state, as all do where D f is diagonal, is not stored: J is compressed and stays exact. All
parameters whose influence is full share one array, and so one product with D f.  A block that is
always zero is not stored.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import sympy

from ..calculus.terms import Term, fresh_access, shape_of, written
from ..language.expressions import Node, Variable, constant, zero
from ..language.riesz import riesz
from ..language.spaces import R, Real
from ..language.walk import storage
from ..models.programs import Program, Result
from ..vocabulary.selecting import only, select
from .blocks import Blocks, StoredJacobian, Terms
from .linearisation import linearised
from .ties import Key
from .transitions import Transition, step


def bar_name(x: Node) -> str:
    """The name of the gradient by a parameter, or by a component of one."""
    if isinstance(x, Variable):
        return f"{x.name}_bar"
    return f"{bar_name(x.operands[0])}_{x.position}"  # type: ignore[attr-defined]


class Influence:
    """The arrays of J and the programs that carry it on and read it."""

    def __init__(self, transition: Transition) -> None:
        self.transition, self.step = transition, linearised(transition)
        self.tied = self.step.influence_ties()
        self.stores = list(self._stores())
        self.next = {s: f"{s.variable.name}_next" for s in self.stores}
        heads = {s.by: s for s in reversed(self.stores)}
        # one array for each family of parameters: what its columns are added up in is shared
        self.heads = [heads[by] for by in dict.fromkeys(s.by for s in self.stores)]
        family = {head.by: k for k, head in enumerate(self.heads)}
        self.key = {s: (s.component, family[s.by]) for s in self.stores}
        self.columns = [self._columns(head) for head in self.heads]
        self.J = self._blocks()
        self.nabla = self._gathered()

    # --- the arrays of J

    def _stores(self) -> Iterator[StoredJacobian]:
        """Full influences of parameters on the same components side by side, others alone."""
        by, rows = self.step.by, range(len(self.step.h))
        support = {k: tuple(a for a in rows if (a, k) in self.tied) for k in range(len(by))}
        groups: dict[tuple[int, ...], list[int]] = {}
        for k in range(len(self.step.parameters)):
            if support[k] and all(not self.tied[a, k] for a in support[k]):
                groups.setdefault(support[k], []).append(k)
        together = {k for group in groups.values() for k in group}
        for components, group in groups.items():
            yield from self._side_by_side(components, [by[k] for k in group])
        alone = [(a, k) for k in support if k not in together for a in support[k]]
        tied = {key: self.tied[key] for key in alone}
        yield from self.step.nabla.stored(tied, by, self._named).values()

    def _named(self, key: Key, space: Real) -> Variable:
        a, k = key
        return self._variable(a, [self.step.by[k]], space)

    def _side_by_side(
        self, components: Sequence[int], by: Sequence[Node]
    ) -> Iterator[StoredJacobian]:
        offsets, end = [], sympy.S.Zero
        for x in by:
            offsets.append(end)
            end = sympy.expand(end + sympy.Mul(*shape_of(x)))
        for a in components:
            made = self._variable(a, by, R(*shape_of(self.step.h[a]), end))
            yield StoredJacobian(made, a, tuple(by), frozenset(), tuple(offsets))

    def _blocks(self) -> Blocks:
        """J as blocks, a column for each family."""
        columns = tuple(R(*head.axes) for head in self.heads)
        return Blocks(self.step.D.rows, columns).holding({self.key[s]: s for s in self.stores})

    def _gathered(self) -> Blocks:
        """nabla f by the families of J."""
        found: dict[Key, Terms] = {}
        for s in self.stores:
            for x in s.by:
                for term in self.step.nabla.of((s.component, self.step.by.index(x))):
                    made = replace(term, into=s.entry(x, term.into))
                    found[self.key[s]] = (*found.get(self.key[s], ()), made)
        return replace(self.J, terms=found)

    def _variable(self, a: int, by: Sequence[Node], space: Real) -> Variable:
        """influence_W_U_b, with the number of the state's component where there are several."""
        component = f"_{a}" if len(self.step.h) > 1 else ""
        words = [self._word(x) for x in by]
        shown = "_".join(words) if len(words) < 4 else f"{words[0]}_to_{words[-1]}"
        return self.transition.names.variable(f"influence{component}_{shown}", space)

    def _word(self, x: Node) -> str:
        name = getattr(x, "name", "")
        if not name:  # a component of a direct product
            name = f"{self._word(x.operands[0])}_{x.position}"  # type: ignore[attr-defined]
        return name.removeprefix(f"{self.transition.label}_")

    def store(self, a: int, x: Node) -> StoredJacobian | None:
        """Where the influence of x on component a is; None where there is none."""
        return next((s for s in self.stores if s.component == a and x in s.by), None)

    # --- J_i = D f_i . J_{i-1} + nabla f_i

    def start(self) -> Program:
        """J_0: zero, but the identity for the initial state itself."""
        first = self.step.first()
        results = [
            Result(s.variable.name, s.holding(first.of((s.component, self.step.by.index(s.by[0])))))
            for s in self.stores
        ]
        law = "the influence of the parameters on the initial state"
        return step(self.transition.layer, "start", law, results)

    def begin(self) -> Program:
        """J = 0 where a sample is reset."""
        t = self.transition
        assert t.reset is not None
        return self._cleared("resets", only(t.reset, t.active), "where a sample is reset")

    def cleared(self, kept: Variable) -> Program:
        """J = 0 where a mask is zero: nothing before has an influence on what follows."""
        one = constant(sympy.S.One, kept.space)
        unlinked = select(kept, zero(kept.space), one)
        return self._cleared("cut", unlinked, f"where {kept.name} is zero")

    def _cleared(self, name: str, where: Node, words: str) -> Program:
        t = self.transition
        results = [
            Result(s.variable.name, zero(s.variable.space), where=where) for s in self.stores
        ]
        return step(t.layer, f"{t.label}_{name}", f"J = 0 {words}", results)

    def forward(self) -> Program:
        """One step of the state and of the influence (thesis (5.1), lemma 5.1.2)."""
        t = self.transition
        results = [Result(t.next.name, t.output)]
        J = self.step.D.times(self.J) + self.nabla
        results += [Result(self.next[s], node) for s, node in self.held(J).items()]
        law = [
            f"{t.next.name} = {t.cell.function.signature}",
            "J_next = D f . J + nabla f, J the influence of the parameters on the state",
        ]
        return step(t.layer, f"{t.label}_influence", law, results, t.named)

    def keep(self) -> Program:
        """J_next = J where a sample is not active."""
        t = self.transition
        idle = select(t.active, zero(t.active.space), constant(sympy.S.One, t.active.space))
        results = [Result(self.next[s], s.variable, where=idle) for s in self.stores]
        law = "J_next = J where a sample is not active"
        return step(t.layer, f"{t.label}_idle", law, results)

    def held(self, blocks: Blocks) -> dict[StoredJacobian, Node]:
        """Blocks by the families of J as the arrays of J have them."""
        return {s: s.holding(blocks.of(self.key[s])) for s in self.stores}

    # --- gradients: J* . D*g . e

    def _columns(self, head: StoredJacobian) -> Variable | None:
        """The accumulator of the gradients of parameters side by side; None for one alone."""
        if head.offsets is None:
            return None
        name = head.variable.name.replace("influence", "gradient", 1)
        return self.transition.names.variable(name, R(*head.axes))

    def readout(self) -> Program:
        """nabla J += J* . eps for a cotangent of the state (thesis (5.12))."""
        t = self.transition
        pulled = self.J.pull(dict(enumerate(storage(riesz(t.eps)))))
        names = [
            bar_name(head.by[0]) if columns is None else columns.name
            for head, columns in zip(self.heads, self.columns, strict=True)
        ]
        results = [Result(n, node, adds=True) for n, node in zip(names, pulled, strict=True)]
        law = [f"{name} += J* . {t.eps.name}" for name in names]
        return step(t.layer, f"{t.label}_readout", law, results)

    def parted(self) -> Program | None:
        """The gradients of single parameters from those side by side."""
        results = []
        for head, columns in zip(self.heads, self.columns, strict=True):
            if columns is not None:
                results += [self._part(head, x, columns) for x in head.by]
        law = "the gradient of each parameter from its columns"
        name = f"{self.transition.label}_gradients"
        return step(self.transition.layer, name, law, results) if results else None

    def _part(self, head: StoredJacobian, x: Node, columns: Variable) -> Result:
        entry, extents = fresh_access(shape_of(x))
        term = Term((), entry, ((head.entry(x, entry), columns),), tuple(extents.items()))
        return Result(bar_name(x), written(x.space, term, [], entry), adds=True)
