"""Structured derivatives: a derivative as a sum of terms  factors : in-index -> out-index.

The derivative of an array expression e by a variable v is the matrix of the numbers  d e[o] / d
v[i]: W x has the term x[l] at (k) <- (k, l) by W and the term W[k, l] at (k) <- (l) by x.  Like
terms are added at every node.  The sum of the terms is the derivative that `calculus.tangents`
takes along a direction, and nothing here knows a layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import singledispatch

import sympy

from .combining import added, summed
from .expressions import (
    Argmax,
    Constant,
    Contraction,
    Elementwise,
    Held,
    LinearCombination,
    Node,
    Projection,
    Variable,
    constant,
    elementwise,
    is_zero,
)
from .forms import Access
from .spaces import R, Size, SpaceError
from .terms import (
    Bound,
    Extents,
    Term,
    fresh_access,
    fresh_index,
    renamed,
    renamed_access,
    replaced,
    scaled,
    ties,
    times,
    total,
    written,
)
from .walk import depends_on, topological


class Derivative:
    """The terms of every node of some expressions, derived by one array.

    `family` is the extent of an index that links no factors: that of the batch, which all of them
    show.
    """

    def __init__(self, roots: Sequence[Node], by: Node, family: Size | None = None) -> None:
        self.by, self.family = by, family
        dependent = depends_on(roots, [by])
        self.terms: dict[Node, tuple[Term, ...]] = {by: (self._identity(),)}
        for node in topological(*roots):
            if node not in self.terms:
                self.terms[node] = added(_terms(node, self), family) if node in dependent else ()

    def of(self, node: Node) -> tuple[Term, ...]:
        """The terms of one of the nodes."""
        return self.terms.get(node, ())

    def _identity(self) -> Term:
        access, extents = fresh_access(self.by.space.shape)  # type: ignore[attr-defined]
        return Term(access, access, (), tuple(extents.items()))


# --- the rules


@singledispatch
def _terms(node: Node, d: Derivative) -> list[Term]:
    raise SpaceError(f"{type(node).__name__} has no structured derivative: it is uninterpreted")


@_terms.register
def _(node: Variable | Constant | Held | Argmax, d: Derivative) -> list[Term]:
    return []


@_terms.register
def _(node: Projection, d: Derivative) -> list[Term]:
    return []  # of a variable that is not the one to derive by


@_terms.register
def _(node: LinearCombination, d: Derivative) -> list[Term]:
    return [scaled(weight, term) for weight, x in node.terms for term in d.of(x)]


@_terms.register
def _(node: Elementwise, d: Derivative) -> list[Term]:
    psi, found = node.operation, []
    for k, z in enumerate(node.arguments):
        slope = elementwise(psi.derivative(k), *node.arguments) if d.of(z) else None
        if slope is not None and not is_zero(slope):
            found += [times(term, (term.out, slope)) for term in d.of(z)]
    return found


@_terms.register
def _(node: Contraction, d: Derivative) -> list[Term]:
    found = []
    for k, x in enumerate(node.filled):
        found += [moved for term in d.of(x) for moved in _through(node, k, term)]
    return found


# --- through a contraction


def _through(node: Contraction, position: int, term: Term) -> list[Term]:
    """The term of a contraction's operand as one of the contraction itself."""
    own = {index: fresh_index() for index, _ in node.form.extents}
    extents = {own[index]: extent for index, extent in node.form.extents}
    bound = tuple(
        (own[index], selector, renamed_access(access, own))
        for (index, access), selector in zip(node.form.bound, node.selectors, strict=True)
    )
    others = tuple(
        (renamed_access(node.access(k), own), x) for k, x in enumerate(node.filled) if k != position
    )
    joined = _read_at(term, renamed_access(node.access(position), own), extents, bound)
    if joined is None:
        return []
    inner, values = joined
    out = renamed_access(renamed_access(node.output, own), values)
    made = times(
        Term(out, inner.into, inner.factors, inner.extents, inner.bound),
        *((renamed_access(access, values), x) for access, x in others),
    )
    return [summed(made)]


def _read_at(
    term: Term, place: Access, extents: Extents, bound: tuple[Bound, ...]
) -> tuple[Term, dict[sympy.Symbol, sympy.Expr]] | None:
    """The term whose out access is read at a place of other indices, and what these become.

    None where no entry of the term is ever read.
    """
    term = renamed(_plain_out(term))
    own, known = dict(term.extents), dict(extents)
    values: dict[sympy.Symbol, sympy.Expr] = {}
    outer: dict[sympy.Symbol, sympy.Expr] = {}
    for entry, at in zip(term.out, place, strict=True):
        at = at.xreplace(outer)
        if entry in own:
            if not _stays_inside(at, own[entry], known):
                term = _read_inside(term, entry, own[entry])
            values[entry] = at
        elif at in known:
            outer[at] = entry
        elif at.is_number and at != entry:
            return None
    rest = {i: e for i, e in own.items() if i not in values}
    left = {i: e for i, e in known.items() if i not in outer}
    moved = replaced(term, values, rest | left)
    picked = tuple((i, node, renamed_access(access, outer)) for i, node, access in bound)
    moved = replace(moved, bound=(*moved.bound, *picked))
    return replaced(moved, outer, rest | left) if outer else moved, outer


def _stays_inside(place: sympy.Expr, extent: Size, extents: Extents) -> bool:
    """All values of an affine place are on the axis, whatever the sizes are."""
    low = high = place
    for index in sorted(place.free_symbols & extents.keys(), key=str):
        slope, ends = place.coeff(index), (sympy.S.Zero, extents[index] - 1)
        if not (slope.is_positive or slope.is_negative):
            return False
        if slope.is_negative:
            ends = ends[::-1]
        low, high = low.xreplace({index: ends[0]}), high.xreplace({index: ends[1]})
    room = sympy.expand(extent - 1 - high)
    return bool(sympy.expand(low).is_nonnegative and room.is_nonnegative)


def _read_inside(term: Term, index: sympy.Symbol, extent: Size) -> Term:
    """The term with a factor that is zero outside its axis, where nothing else is."""
    if any(index in entry.free_symbols for access, _ in term.factors for entry in access):
        return term
    return replace(term, factors=(*term.factors, ((index,), constant(sympy.S.One, R(extent)))))


def _plain_out(term: Term) -> Term:
    """The term with an out access of different indices and numbers."""
    running = dict(term.extents)
    indices = [entry for entry in term.out if not entry.is_number]
    bound = {index for index, _, _ in term.bound}
    plain = all(entry in running and entry not in bound for entry in indices)
    if plain and len(set(indices)) == len(indices):
        return term
    raise SpaceError(
        "the structured derivative of an expression that is written at places which depend on one "
        "another is not known; write it with a form whose result has plain indices"
    )


# --- dense blocks


def whole(terms: Sequence[Term], shape: Sequence[Size], by: Sequence[Size]) -> tuple[Term, ...]:
    """The terms as one where one of them is full but for the first axis, which is the batch's.

    A diagonal beside a full matrix goes into it, and so does a product of two vectors.
    """
    if not any(_is_full(term) for term in terms):
        return tuple(terms)
    out, extents = fresh_access(shape)
    into, more = fresh_access(by[1:])
    space = R(*shape, *by[1:])
    matrix = total(space, (written(space, t, [], (*t.out, *t.into[1:])) for t in terms))
    access = (*out, *into)
    full = Term(out, (out[0], *into), ((access, matrix),), tuple({**extents, **more}.items()))
    alone = terms[0] if len(terms) == 1 and len(terms[0].factors) <= 1 else full
    return (alone,)


def _is_full(term: Term) -> bool:
    plain = all(entry in dict(term.extents) for entry in (*term.out, *term.into))
    return plain and ties(term) == {(0, 0)} and not term.bound
