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

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import sympy

from ..calculus.structure import Derivative, whole
from ..calculus.terms import (
    Term,
    Ties,
    fresh_access,
    renamed,
    shape_of,
    ties,
    times,
    total,
    written,
)
from ..language.expressions import Node, Variable, constant, zero
from ..language.forms import Access
from ..language.riesz import riesz
from ..language.spaces import R, Real, Size, Space
from ..language.walk import storage
from ..models.programs import BATCH, Program, Result
from ..vocabulary.selecting import only, select
from .transitions import Transition, step

Blocks = dict[tuple[int, int], tuple[Term, ...]]
Tied = dict[tuple[int, int], Ties]


@dataclass(frozen=True, eq=False)
class StoredJacobian:
    """An array of derivatives of one component of the state: by some arrays, side by side.

    `tied` are the pairs of axes that are stored once; arrays side by side have none, and begin at
    `offsets`.  An element of the state's space itself is derived by component.
    """

    variable: Variable
    component: int
    by: tuple[Node, ...]
    tied: Ties
    offsets: tuple[Size, ...] | None = None

    def place(self, out: Access, x: Node, entry: Access) -> Access:
        """Where the derivative of the entry `out` by an entry of x is stored."""
        if self.offsets is None:
            tied = {p for _, p in self.tied}
            return (*out, *(e for p, e in enumerate(entry) if p not in tied))
        column = sympy.S.Zero
        for e, extent in zip(entry, shape_of(x), strict=True):
            column = column * extent + e
        return (*out, sympy.expand(self.offsets[self.by.index(x)] + column))


def bar_name(x: Node) -> str:
    """The name of the gradient by a parameter, or by a component of one."""
    if isinstance(x, Variable):
        return f"{x.name}_bar"
    return f"{bar_name(x.operands[0])}_{x.position}"  # type: ignore[attr-defined]


def composed(left: Ties, right: Ties) -> Ties:
    """The ties of a product of two derivatives."""
    return frozenset((q, p) for q, r in left for s, p in right if r == s)


def met(terms: Sequence[Term]) -> Ties:
    """The axes that are tied in all of the terms."""
    return frozenset.intersection(*(ties(term) for term in terms))


class Linearisation:
    """The blocks of D f and nabla f of one transition, by component of the state.

    `D[a, b]` has the terms of component a by component b of what f begins from, `nabla[a, k]`
    those by the k-th array of `by`: the parameters, then the initial state where it is learned,
    which a reset begins from.
    """

    def __init__(self, transition: Transition) -> None:
        self.transition = transition
        self.h = storage(transition.begun)
        self.outputs = storage(transition.inner)
        self.parameters = tuple(x for p in transition.parameters for x in storage(p))
        learned = transition.network.learned
        self.initial = storage(transition.initial) if learned else ()
        self.by = (*self.parameters, *self.initial)
        self.D = {
            (a, b): whole(terms, shape_of(self.h[a]), shape_of(self.h[b]))
            for (a, b), terms in self._blocks(self.h).items()
        }
        self.nabla = self._blocks(self.parameters) | dict(self._of_resets())

    def _of_resets(self) -> Iterator[tuple[tuple[int, int], tuple[Term, ...]]]:
        """D f where a sample is reset, as derivatives by the learned initial state."""
        first, reset = len(self.parameters), self.transition.reset
        if self.initial:
            assert reset is not None
            for (a, b), terms in self.D.items():
                yield (a, first + b), tuple(times(t, (t.out[:1], reset)) for t in terms)

    def _blocks(self, by: Sequence[Node]) -> Blocks:
        derivatives = [Derivative(self.outputs, x, BATCH) for x in by]
        blocks = {
            (a, k): d.of(out)
            for k, d in enumerate(derivatives)
            for a, out in enumerate(self.outputs)
        }
        return {key: terms for key, terms in blocks.items() if terms}

    def identity(self) -> Tied:
        """The ties of the identity on the state."""
        axes = [range(len(shape_of(x))) for x in self.h]
        return {(a, a): frozenset((q, q) for q in axis) for a, axis in enumerate(axes)}

    def kept(self, start: Tied) -> Tied:
        """The axes of J that stay tied under J = D f . J + nabla f, block by block, from a start.

        The largest sets that the recursion keeps; a block that is not stored is always zero.
        """
        found = start
        while True:
            new = dict(found)
            for (a, b), terms in self.D.items():
                for (c, k), known in found.items():
                    if c == b:
                        made = composed(met(terms), known)
                        new[a, k] = new.get((a, k), made) & made
            if new == found:
                return found
            found = new


class Influence:
    """The arrays of J and the programs that carry it on and read it."""

    def __init__(self, transition: Transition) -> None:
        self.transition, self.step = transition, Linearisation(transition)
        self.tied = self.step.kept(self._start())
        self.stores = list(self._stores())
        self.next = {s: f"{s.variable.name}_next" for s in self.stores}
        self.total = {s: self._columns(s) for s in self._heads()}

    def _start(self) -> Tied:
        """nabla f at any time; the columns of the initial state start at the identity."""
        start = {key: met(terms) for key, terms in self.step.nabla.items()}
        first = len(self.step.parameters)
        for (a, _), every in self.step.identity().items():
            if self.step.initial:
                start[a, first + a] = start.get((a, first + a), every) & every
        return start

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
        for k, x in enumerate(by):
            if k not in together:
                yield from (self._alone(a, k, x) for a in support[k])

    def _side_by_side(
        self, components: Sequence[int], by: Sequence[Node]
    ) -> Iterator[StoredJacobian]:
        offsets, end = [], sympy.S.Zero
        for x in by:
            offsets.append(end)
            end = sympy.expand(end + sympy.Mul(*shape_of(x)))
        for a in components:
            space = R(*shape_of(self.step.h[a]), end)
            yield StoredJacobian(
                self._variable(a, by, space), a, tuple(by), frozenset(), tuple(offsets)
            )

    def _alone(self, a: int, k: int, x: Node) -> StoredJacobian:
        tied = self.tied[a, k]
        stored = {p for _, p in tied}
        left = (extent for p, extent in enumerate(shape_of(x)) if p not in stored)
        space = R(*shape_of(self.step.h[a]), *left)
        return StoredJacobian(self._variable(a, [x], space), a, (x,), tied)

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
        results = []
        for s in self.stores:
            (x, *_), space = s.by, s.variable.space
            own = x in self.step.initial and self.step.initial.index(x) == s.component
            results.append(Result(s.variable.name, identity(s) if own else zero(space)))
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
        results += [Result(self.next[s], self._carried(s)) for s in self.stores]
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

    def _carried(self, new: StoredJacobian) -> Node:
        moved = [*self.products(new, self.step.D), *self._immediate(new)]
        return total(new.variable.space, moved)

    def products(
        self, new: StoredJacobian, blocks: Mapping[tuple[int, int], tuple[Term, ...]]
    ) -> Iterator[Node]:
        """The products of blocks and J that belong into one array of the new J."""
        for (a, b), terms in blocks.items():
            old = self.store(b, new.by[0])
            if a == new.component and old is not None:
                yield from (product(term, old, new) for term in terms)

    def _immediate(self, new: StoredJacobian) -> Iterator[Node]:
        """nabla f, set into its places."""
        for x in new.by:
            for term in self.step.nabla.get((new.component, self.step.by.index(x)), ()):
                write = new.place(term.out, x, term.into)
                yield written(new.variable.space, term, [], write)

    # --- gradients: J* . D*g . e

    def _heads(self) -> list[StoredJacobian]:
        """One array for each family of parameters: its columns share one accumulator."""
        heads: dict[tuple[Node, ...], StoredJacobian] = {}
        for s in self.stores:
            heads.setdefault(s.by, s)
        return list(heads.values())

    def _columns(self, head: StoredJacobian) -> Variable | None:
        """The accumulator of the gradients of parameters side by side; None for one alone."""
        if head.offsets is None:
            return None
        name = head.variable.name.replace("influence", "gradient", 1)
        return self.transition.names.variable(name, R(shape_of(head.variable)[-1]))

    def readout(self) -> Program:
        """nabla J += J* . eps for a cotangent of the state (thesis (5.12))."""
        t = self.transition
        eps = storage(riesz(t.eps))
        results, law = [], []
        for head, columns in self.total.items():
            stores = [s for s in self.stores if s.by == head.by]
            if columns is not None:
                space, name = columns.space, columns.name
                read = [self._read_columns(s, eps[s.component], space) for s in stores]
            else:
                (x,) = head.by
                space, name = x.space, bar_name(x)
                read = [self._read(s, eps[s.component], x) for s in stores]
            results.append(Result(name, total(space, read), adds=True))
            law.append(f"{name} += J* . {t.eps.name}")
        return step(t.layer, f"{t.label}_readout", law, results)

    def _read_columns(self, s: StoredJacobian, eps: Node, space: Space) -> Node:
        access, extents = fresh_access(shape_of(s.variable))
        term = Term(access, (), ((access, s.variable),), tuple(extents.items()))
        return written(space, term, [(access[:-1], eps)], access[-1:])

    def _read(self, s: StoredJacobian, eps: Node, x: Node) -> Node:
        out, extents = fresh_access(shape_of(self.step.h[s.component]))
        entry, more = fresh_access(shape_of(x))
        tied = {p: out[q] for q, p in s.tied}
        entry = tuple(tied.get(p, e) for p, e in enumerate(entry))
        term = Term(
            out, entry, ((s.place(out, x, entry), s.variable),), tuple({**extents, **more}.items())
        )
        return written(x.space, term, [(out, eps)], entry)

    def parted(self) -> Program | None:
        """The gradients of single parameters from those side by side."""
        results = []
        for head, columns in self.total.items():
            if columns is not None:
                for x in head.by:
                    entry, extents = fresh_access(shape_of(x))
                    place = head.place((), x, entry)
                    term = Term((), entry, ((place, columns),), tuple(extents.items()))
                    node = written(x.space, term, [], entry)
                    results.append(Result(bar_name(x), node, adds=True))
        law = "the gradient of each parameter from its columns"
        name = f"{self.transition.label}_gradients"
        return step(self.transition.layer, name, law, results) if results else None


def identity(s: StoredJacobian) -> Node:
    """The identity on a component of the state, where an array of derivatives stores it."""
    (x,) = s.by
    access, extents = fresh_access(shape_of(x))
    term = Term(access, access, ((access, constant(sympy.S.One, x.space)),), tuple(extents.items()))
    return written(s.variable.space, term, [], s.place(access, x, access))


def product(term: Term, old: StoredJacobian, new: StoredJacobian) -> Node:
    """A term of a block times an array of J, where the new J has it."""
    term = renamed(term)
    if new.offsets is not None:
        (column,), extents = fresh_access(shape_of(new.variable)[-1:])
        factor = ((*term.into, column), old.variable)
        return written(new.variable.space, term, [factor], (*term.out, column), extents)
    (x,) = new.by
    entry, extents = fresh_access(shape_of(x))
    tied = {p: term.into[q] for q, p in old.tied}
    entry = tuple(tied.get(p, e) for p, e in enumerate(entry))
    factor = (old.place(term.into, x, entry), old.variable)
    write = new.place(term.out, x, entry)
    return written(new.variable.space, term, [factor], write, extents)
