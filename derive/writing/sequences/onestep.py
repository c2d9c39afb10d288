"""The blocks of D f and nabla f of one cell at one point, and the arrays J and Lambda.

`structure` says where a block is not zero; here every block is one array, an index for each axis of
the state's component and of what it is derived by, so that it is shown as a matrix and can be
applied.  An axis that stays tied under the recursion is stored once, as in the compiled kernels
(`influence`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import sympy

from ...calculus.combining import combined, summed
from ...calculus.structure import Derivative
from ...calculus.terms import Term, fresh_access, renamed, total, written
from ...language.expressions import Contraction, Node, Variable, contraction, variable, zero
from ...language.forms import make_form
from ...language.spaces import R
from ...recurrence.influence import (
    Linearisation,
    StoredJacobian,
    Tied,
    composed,
    identity,
    met,
    shape_of,
)
from .parts import Part

Terms = tuple[Term, ...]
Key = tuple[int, int]
SLICES = 16  # of a parameter's first axis that are shown one by one


@dataclass(frozen=True, eq=False)
class Column:
    """What the state is derived by: an array of a parameter or one slice of it, and a direction.

    `is_initial` where it is an array of the initial state.
    """

    by: Variable
    position: int | None
    direction: Variable
    is_initial: bool = False

    def along(self) -> Node:
        """The direction of the whole array."""
        if self.position is None:
            return self.direction
        access, extents = fresh_access(shape_of(self.direction))
        form = make_form([access, (sympy.Integer(self.position), *access)], extents)
        return contraction(self.by.space, form, 1, [self.direction])

    def read(self, x: Node) -> Node:
        """The part of an array of that shape."""
        if self.position is None:
            return x
        access, extents = fresh_access(shape_of(self.direction))
        form = make_form([(sympy.Integer(self.position), *access), access], extents)
        return contraction(self.direction.space, form, 1, [x])


class OneStep(Linearisation):
    """The blocks of a cell without batch and masks: `D` by component, `nabla` by component and
    column.  Columns without a term in any component are kept: their derivative vanishes.
    """

    def __init__(self, cell: Part, learned: bool) -> None:
        self.cell = cell
        self.h: tuple[Node, ...] = cell.states
        self.outputs = cell.outputs
        self.D = {
            (a, b): terms
            for b, x in enumerate(self.h)
            for a, terms in enumerate(self._by(x))
            if terms
        }
        self.columns: list[Column] = []
        self.nabla: dict[Key, Terms] = {}
        for x in cell.parameters:
            self._add(x)
        self.parameters = tuple(column.direction for column in self.columns)
        if learned:
            self.columns += [self._column(x, None, is_initial=True) for x in cell.states]
        self.initial = tuple(c.direction for c in self.columns if c.is_initial)
        self.by = (*self.parameters, *self.initial)

    def _by(self, x: Node) -> list[Terms]:
        found = Derivative(self.outputs, x)
        return [found.of(output) for output in self.outputs]

    def _add(self, x: Variable) -> None:
        """The columns of a parameter: its slices where every term is of one slice."""
        rows = self._by(x)
        every = [term for terms in rows for term in terms]
        count = self._slices(x, every)
        for position in range(count) if count else (None,):
            k = len(self.columns)
            self.columns.append(self._column(x, position))
            for a, terms in enumerate(rows):
                own = tuple(_of_slice(t, position) for t in terms if _is_of(t, position))
                if own:
                    self.nabla[a, k] = own

    def _slices(self, x: Variable, terms: Sequence[Term]) -> int:
        shape = shape_of(x)
        apart = bool(terms) and bool(shape) and all(t.into[0].is_Integer for t in terms)
        if not apart or not shape[0].is_Integer or not 1 < shape[0] <= SLICES:
            return 0
        return int(shape[0])

    def _column(self, x: Variable, position: int | None, is_initial: bool = False) -> Column:
        shape = shape_of(x) if position is None else shape_of(x)[1:]
        number = "" if position is None else f"_{position}"
        start = "_0" if is_initial else ""
        return Column(
            x, position, variable(f"{x.name}{start}{number}_along", R(*shape)), is_initial
        )

    # --- one array for a block

    def block(self, a: int, b: int) -> Node:
        """D_b f_a."""
        return tensor(self.h[a], self.h[b], self.D.get((a, b), ()))

    def immediate(self, a: int, k: int) -> Node:
        """nabla f_a by a column."""
        return tensor(self.h[a], self.by[k], self.nabla.get((a, k), ()))

    def is_dense(self, key: Key) -> bool:
        """No axis of a block of D f is tied."""
        return key in self.D and not met(self.D[key])

    # --- what is carried

    def influences(self) -> dict[Key, StoredJacobian]:
        """J by component and column, its tied axes stored once; what stays zero is not there."""
        start: Tied = {key: met(terms) for key, terms in self.nabla.items()}
        for (a, _), every in self.identity().items():
            if self.initial:
                start[a, len(self.parameters) + a] = every
        return {
            (a, k): self._store(f"J_{a}_{k}", a, self.by[k], tied)
            for (a, k), tied in sorted(self.kept(start).items())
        }

    def lambdas(self) -> dict[Key, StoredJacobian]:
        """Lambda by two components, its tied axes stored once, from the identity on."""
        found = self.identity()
        while (new := self._lambda_ties(found)) != found:
            found = new
        return {
            (a, b): self._store(f"Lambda_{a}_{b}", a, self.h[b], tied)
            for (a, b), tied in sorted(found.items())
        }

    def _lambda_ties(self, found: Tied) -> Tied:
        """The ties of Lambda . D f, met with those of Lambda."""
        new = dict(found)
        for (b, c), terms in self.D.items():
            for (a, d), known in found.items():
                if d == b:
                    made = composed(known, met(terms))
                    new[a, c] = new.get((a, c), made) & made
        return new

    def _store(self, name: str, a: int, x: Node, tied: frozenset[Key]) -> StoredJacobian:
        stored = {p for _, p in tied}
        left = (extent for p, extent in enumerate(shape_of(x)) if p not in stored)
        label = self.cell.label.replace(".", "_")
        return StoredJacobian(
            variable(f"{name}_{label}", R(*shape_of(self.h[a]), *left)), a, (x,), tied
        )


def _is_of(term: Term, position: int | None) -> bool:
    return position is None or term.into[0] == position


def _of_slice(term: Term, position: int | None) -> Term:
    return term if position is None else replace(term, into=term.into[1:])


def tensor(e: Node, x: Node, terms: Sequence[Term]) -> Node:
    """The terms as one array of the axes of e, then those of x."""
    space = R(*shape_of(e), *shape_of(x))
    if len(terms) == 1 and is_matrix(terms[0]):
        return terms[0].factors[0][1]
    return total(space, (written(space, t, [], (*t.out, *t.into)) for t in terms))


def is_matrix(term: Term) -> bool:
    """The term is one array over both accesses as it stands."""
    if len(term.factors) != 1 or term.bound:
        return False
    access = (*term.out, *term.into)
    plain = len(set(access)) == len(access) and all(i in dict(term.extents) for i in access)
    return plain and term.factors[0][0] == access


def as_term(e: Node, x: Node, array: Node) -> Term:
    """An array of the axes of e and of x as a term."""
    out, extents = fresh_access(shape_of(e))
    into, more = fresh_access(shape_of(x))
    return Term(out, into, (((*out, *into), array),), tuple({**extents, **more}.items()))


def applied(term: Term, e: Node, u: Node) -> Node:
    """The matrix of a term applied to an array."""
    return written(R(*shape_of(e)), term, [(term.into, u)], term.out)


def pulled(term: Term, x: Node, u: Node) -> Node:
    """The transpose of the matrix of a term applied to an array."""
    return written(R(*shape_of(x)), term, [(term.out, u)], term.into)


def stored(s: StoredJacobian, e: Node, array: Node | None = None) -> Term:
    """What an array of J or Lambda stands for, as a term."""
    (x,) = s.by
    out, extents = fresh_access(shape_of(e))
    entry, more = fresh_access(shape_of(x))
    tied = {p: out[q] for q, p in s.tied}
    entry = tuple(tied.get(p, i) for p, i in enumerate(entry))
    factor = (s.place(out, x, entry), s.variable if array is None else array)
    kept = {i: extent for i, extent in {**extents, **more}.items() if i in (*out, *entry)}
    return Term(out, entry, (factor,), tuple(kept.items()))


def placed(s: StoredJacobian, term: Term) -> Node:
    """A term where an array of J has it."""
    return written(s.variable.space, term, [], s.place(term.out, s.by[0], term.into))


def times_lambda(s: StoredJacobian, e: Node, term: Term, new: StoredJacobian) -> Node:
    """Lambda . L for a term of L, where a new array has it."""
    factor = stored(s, e)
    term = renamed(term)
    values = {i: t for i, t in zip(factor.into, term.out, strict=True) if i.is_Symbol}
    out = tuple(values.get(i, i) for i in factor.out)
    (access, array), *_ = factor.factors
    access = tuple(values.get(i, i) for i in access)
    extents = {**dict(term.extents), **{i: n for i, n in factor.extents if i in out}}
    moved = replace(
        term, out=out, factors=((access, array), *term.factors), extents=tuple(extents.items())
    )
    return placed(new, combined(summed(moved)))


def start(s: StoredJacobian, is_identity: bool) -> Node:
    """The identity where an array stores it, or zero."""
    return identity(s) if is_identity else zero(s.variable.space)


def matrices(terms: Sequence[Term]) -> Iterator[Node]:
    """The factors of terms that go from an axis of the parameter to another one of the state."""
    for term in terms:
        out, into = set(term.out), set(term.into)
        for access, node in term.factors:
            crosses = set(access) & (out - into) and set(access) & (into - out)
            if crosses and not isinstance(node, Variable) and _is_computed(node):
                yield node


def _is_computed(node: Node) -> bool:
    """More than a slice or a transpose."""
    return not (isinstance(node, Contraction) and len(node.operands) == 1)
