"""Blocks of a linear map between direct products, and arrays that such a map is stored in.

The derivative of a state of several arrays by several others is a block for each pair, and each
block a sum of terms that say where it is not zero (`terms`).  Blocks are applied, pulled back,
multiplied and added without a matrix being formed.  Axes that are tied (`ties`) are stored once.

Both forms of the gradient forward in time read them: J = D f . J + nabla f, and Lambda = Lambda .
D f, in the compiled kernels and on the page.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import sympy

from ..calculus.structure import Derivative, inside
from ..calculus.terms import (
    Extents,
    Term,
    Ties,
    fresh_access,
    renamed,
    replaced,
    shape_of,
    total,
    written,
)
from ..language.expressions import Node, Variable, constant
from ..language.forms import Access
from ..language.sizes import Size
from ..language.spaces import R, Real
from .ties import Key, Tied, met

Terms = tuple[Term, ...]


# --- arrays that blocks are stored in


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

    @property
    def axes(self) -> tuple[Size, ...]:
        """The axes that it is derived by: those of the array, or one for all side by side."""
        return shape_of(self.by[0]) if self.offsets is None else shape_of(self.variable)[-1:]

    def entry(self, x: Node, access: Access) -> Access:
        """An entry of one of the arrays it is derived by, on these axes."""
        if self.offsets is None:
            return access
        column = sympy.S.Zero
        for e, extent in zip(access, shape_of(x), strict=True):
            column = column * extent + e
        return (sympy.expand(self.offsets[self.by.index(x)] + column),)

    def place(self, out: Access, into: Access) -> Access:
        """Where the derivative of the entry `out` by the entry `into` is stored."""
        tied = {p for _, p in self.tied}
        return (*out, *(e for p, e in enumerate(into) if p not in tied))

    def term(self, array: Node | None = None) -> Term:
        """The block that it stands for, or that another array in its place does."""
        into, extents = fresh_access(self.axes)
        rank = len(shape_of(self.variable)) - len(into) + len({p for _, p in self.tied})
        out, more = fresh_access(shape_of(self.variable)[:rank])
        tied = {p: out[q] for q, p in self.tied}
        into = tuple(tied.get(p, e) for p, e in enumerate(into))
        known = {i: n for i, n in {**more, **extents}.items() if i in (*out, *into)}
        factor = (self.place(out, into), self.variable if array is None else array)
        return Term(out, into, (factor,), tuple(known.items()))

    def written(self, term: Term) -> Node:
        """A term of the block as this array has it."""
        return written(self.variable.space, term, [], self.place(term.out, term.into))

    def holding(self, terms: Iterable[Term]) -> Node:
        """The block of these terms as this array has it; zero where there are none."""
        return total(self.variable.space, map(self.written, terms))


# --- blocks


@dataclass(frozen=True, eq=False)
class Blocks:
    """A linear map from a product of spaces to another, `terms` by row and column.

    A block that is not among them is zero.  The products are those of maps, (K L) u = K (L u), and
    `pull` is the adjoint in coordinates, <L u, w> = <u, L* w>.
    """

    rows: tuple[Real, ...]
    columns: tuple[Real, ...]
    terms: Mapping[Key, Terms] = field(default_factory=dict)

    def of(self, key: Key) -> Terms:
        """The terms of one block."""
        return self.terms.get(key, ())

    @cached_property
    def ties(self) -> Tied:
        """The axes that are tied in each block that is not zero."""
        return {key: met(terms) for key, terms in self.terms.items()}

    def is_dense(self, key: Key) -> bool:
        """The block is not zero and no axis of it is tied."""
        return key in self.terms and not self.ties[key]

    def __add__(self, other: Blocks) -> Blocks:
        """The sum."""
        keys = dict.fromkeys([*self.terms, *other.terms])
        terms = {key: (*self.of(key), *other.of(key)) for key in keys}
        return Blocks(self.rows, self.columns, terms)

    def times(self, right: Blocks) -> Blocks:
        """The product, the right one applied first; see `product` for what it can multiply."""
        found: dict[Key, Terms] = {}
        for (a, b), first in self.terms.items():
            for (c, k), second in right.terms.items():
                if b == c:
                    made = (product(t, u) for t in first for u in second)
                    found[a, k] = (*found.get((a, k), ()), *made)
        return Blocks(self.rows, right.columns, found)

    @property
    def adjoint(self) -> Blocks:
        """The transpose: out and into, rows and columns change places."""
        terms = {
            (k, a): tuple(replace(t, out=t.into, into=t.out) for t in terms)
            for (a, k), terms in self.terms.items()
        }
        return Blocks(self.columns, self.rows, terms)

    def apply(self, u: Mapping[int, Node]) -> tuple[Node, ...]:
        """L u by rows, u by columns; a column that is not given is zero."""
        moved: dict[int, list[Node]] = {a: [] for a in range(len(self.rows))}
        for (a, k), terms in self.terms.items():
            if k in u:
                moved[a] += [written(self.rows[a], t, [(t.into, u[k])], t.out) for t in terms]
        return tuple(total(space, moved[a]) for a, space in enumerate(self.rows))

    def pull(self, w: Mapping[int, Node]) -> tuple[Node, ...]:
        """L* w by columns, w by rows; a row that is not given is zero."""
        return self.adjoint.apply(w)

    # --- as arrays

    def array(self, key: Key) -> Node:
        """A block as one array, of the axes of its row, then those of its column."""
        (a, k), terms = key, self.of(key)
        space = R(*self.rows[a].shape, *self.columns[k].shape)
        if len(terms) == 1 and _is_array(terms[0]):
            return terms[0].factors[0][1]
        return total(space, (written(space, t, [], (*t.out, *t.into)) for t in terms))

    def formed(self, keys: Collection[Key]) -> Blocks:
        """The same map with some of its blocks as one array each."""
        made = {key: (self._formed(key),) for key in self.terms if key in keys}
        return replace(self, terms={**self.terms, **made})

    def _formed(self, key: Key) -> Term:
        a, k = key
        out, extents = fresh_access(self.rows[a].shape)
        into, more = fresh_access(self.columns[k].shape)
        return Term(
            out, into, (((*out, *into), self.array(key)),), (*extents.items(), *more.items())
        )

    def stored(
        self, tied: Tied, by: Sequence[Node], named: Callable[[Key, Real], Variable]
    ) -> dict[Key, StoredJacobian]:
        """Arrays for blocks by these, `named` by key and space, tied axes once."""
        made = {}
        for (a, k), own in tied.items():
            once = {p for _, p in own}
            left = (extent for p, extent in enumerate(shape_of(by[k])) if p not in once)
            space = R(*self.rows[a].shape, *left)
            made[a, k] = StoredJacobian(named((a, k), space), a, (by[k],), own)
        return made

    def holding(
        self, stores: Mapping[Key, StoredJacobian], arrays: Mapping[Key, Node] | None = None
    ) -> Blocks:
        """The blocks that stored arrays stand for, or others in their places; the rest is zero."""
        terms = {
            key: (s.term(None if arrays is None else arrays[key]),) for key, s in stores.items()
        }
        return replace(self, terms=terms)

    def held_by(self, stores: Mapping[Key, StoredJacobian]) -> dict[Key, Node]:
        """The blocks as stored arrays have them, zero where there are none; `holding` is back."""
        return {key: s.holding(self.of(key)) for key, s in stores.items()}


def _is_array(term: Term) -> bool:
    """The term is one array over both accesses as it stands."""
    if len(term.factors) != 1 or term.bound:
        return False
    access, running = (*term.out, *term.into), dict(term.extents)
    return len(set(access)) == len(access) == len(running.keys() & set(access)) and (
        term.factors[0][0] == access
    )


def product(left: Term, right: Term) -> Term:
    """The term of a product: where they meet, one of them has running indices, all different.

    A stored array always has; two others that meet at entries like i + 1 are a ValueError.
    """
    if _is_running(left, left.into):
        right = renamed(right)
        left, extents = _put(left, left.into, right.out, right)
    elif _is_running(right, right.out):
        left = renamed(left)
        right, extents = _put(right, right.out, left.into, left)
    else:
        raise ValueError(
            f"a product of terms that meet at {left.into} and {right.out}: one of the two must "
            "be running indices, all different; form one of the blocks as an array"
        )
    factors, bound = (*left.factors, *right.factors), (*left.bound, *right.bound)
    return Term(left.out, right.into, factors, tuple(extents.items()), bound)


def _is_running(term: Term, access: Access) -> bool:
    picked = {index for index, _, _ in term.bound}
    running = [e for e, _ in term.extents if e not in picked]
    return len(set(access)) == len(access) and set(access) <= set(running)


def _put(term: Term, access: Access, entries: Access, other: Term) -> tuple[Term, Extents]:
    """The term with entries of another one for indices of its own, and the extents of both."""
    values, there = dict(zip(access, entries, strict=True)), dict(other.extents)
    left = {i: extent for i, extent in term.extents if i not in values}
    return replaced(inside(term, values, there), values, {}), {**left, **there}


# --- the blocks of a derivative


def derivative(outputs: Sequence[Node], by: Sequence[Node], family: Size | None = None) -> Blocks:
    """The derivative of some arrays by others; `family` is the extent of the batch's axis."""
    each = [Derivative(outputs, x, family) for x in by]
    found = {(a, k): d.of(out) for k, d in enumerate(each) for a, out in enumerate(outputs)}
    terms = {key: terms for key, terms in found.items() if terms}
    return Blocks(spaces_of(outputs), spaces_of(by), terms)


def identity(rows: Sequence[Real]) -> Blocks:
    """The identity of a product of spaces."""
    terms = {(a, a): (_identity(space),) for a, space in enumerate(rows)}
    return Blocks(tuple(rows), tuple(rows), terms)


def _identity(space: Real) -> Term:
    access, extents = fresh_access(space.shape)
    ones = (access, constant(sympy.S.One, space))
    return Term(access, access, (ones,), tuple(extents.items()))


def spaces_of(arrays: Iterable[Node]) -> tuple[Real, ...]:
    """The spaces of some arrays, in coordinates."""
    return tuple(R(*shape_of(x)) for x in arrays)
