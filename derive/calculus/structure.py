"""Structured derivatives: a derivative as a sum of terms  factors : in-index -> out-index.

The derivative of an array expression e by a variable v is the matrix of the numbers  d e[o] / d
v[i]: W x has the term x[l] at (k) <- (k, l) by W and the term W[k, l] at (k) <- (l) by x.  Like
terms are added at every node.  The sum of the terms is the derivative that `calculus.tangents`
takes along a direction, and nothing here knows a layer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import sympy

from ..language.accesses import stays_inside
from ..language.expressions import (
    Argmax,
    Constant,
    Contraction,
    Elementwise,
    Held,
    LinearCombination,
    Node,
    Potential,
    Projection,
    RunningSum,
    Variable,
    aligned,
    along,
    axes,
    axis,
    constant,
    contraction,
    elementwise,
    is_zero,
    running_sum,
)
from ..language.forms import Access
from ..language.reading import Reading
from ..language.sizes import Size
from ..language.spaces import R, SpaceError
from ..language.walk import depends_on, topological
from .combining import added, summed
from .terms import (
    Extents,
    Factor,
    Term,
    fresh_access,
    fresh_index,
    indices_of,
    renamed,
    renamed_access,
    replaced,
    scaled,
    shape_of,
    ties,
    times,
    total,
    written,
)


class Derivative(Reading[list[Term]]):
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
                self.terms[node] = added(self(node), family) if node in dependent else ()

    def of(self, node: Node) -> tuple[Term, ...]:
        """The terms of one of the nodes."""
        return self.terms.get(node, ())

    def _identity(self) -> Term:
        access, extents = fresh_access(self.by.space.shape)  # type: ignore[attr-defined]
        return Term(access, access, (), tuple(extents.items()))

    # --- the rules

    def _none(self, node: Variable | Constant | Held | Argmax | Projection) -> list[Term]:
        return []

    variable = constant = held = argmax = _none
    projection = _none  # of a variable that is not the one to derive by

    def potential(self, node: Potential) -> list[Term]:
        linear = along(node, node.argument)
        assert isinstance(linear, Contraction)
        return [moved for term in self.of(node.argument) for moved in _through(linear, 1, term)]

    def linear_combination(self, node: LinearCombination) -> list[Term]:
        return [scaled(weight, term) for weight, x in node.terms for term in self.of(x)]

    def elementwise(self, node: Elementwise) -> list[Term]:
        psi, found = node.operation, []
        for k, z in enumerate(node.arguments):
            slope = elementwise(psi.derivative(k), *node.arguments) if self.of(z) else None
            if slope is not None and not is_zero(slope):
                found += [times(term, (term.out, slope)) for term in self.of(z)]
        return found

    def contraction(self, node: Contraction) -> list[Term]:
        found = []
        for k, x in enumerate(node.filled):
            found += [moved for term in self.of(x) for moved in _through(node, k, term)]
        return found

    def running_sum(self, node: RunningSum) -> list[Term]:
        linear = _as_matrix(node)
        return [moved for term in self.of(node.operand) for moved in _through(linear, 1, term)]

    def _unknown(self, node: Node) -> list[Term]:
        kind = type(node).__name__
        raise SpaceError(f"{kind} has no structured derivative: it is uninterpreted")

    tuple_ = jet = _unknown


def _as_matrix(node: RunningSum) -> Contraction:
    """The product with the triangle of ones that the running sums are: those of unit vectors."""
    *before, last = shape_of(node)
    unit = aligned([last], [(axis(0),), (axis(0), axis(0))])
    units = contraction(R(last, last), unit, 1, (constant(sympy.S.One, R(last)),))
    read, other = axes(0, len(before) + 1), axis(len(before) + 1)
    form = aligned([*before, last, last], [(read[-1], other), read, (*read[:-1], other)])
    operands = running_sum(units, node.reverse), node.operand
    made = contraction(node.space, form, 2, operands)
    assert isinstance(made, Contraction)
    return made


# --- through a contraction


def _through(node: Contraction, position: int, term: Term) -> list[Term]:
    """The term of a contraction's operand as one of the contraction itself; none if never read."""
    own = {index: fresh_index() for index, _ in node.form.extents}
    running = {own[index]: extent for index, extent in node.form.extents}
    picked = zip(node.form.bound, node.selectors, strict=True)
    bound = tuple(
        (own[i], selector, renamed_access(access, own)) for (i, access), selector in picked
    )
    free = {index: e for index, e in running.items() if index not in {i for i, _, _ in bound}}
    place = renamed_access(node.access(position), own)
    term = _plain_out(renamed(term), shape_of(node.filled[position]), place, free)
    values = _met(term.out, place)
    if values is None:
        return []
    term = inside(term, values, running)
    filled = ((renamed_access(node.access(k), own), x) for k, x in enumerate(node.filled))
    others = [factor for k, factor in enumerate(filled) if k != position]
    made = replace(times(term, *others), out=renamed_access(node.output, own))
    extents = {i: e for i, e in (*term.extents, *running.items()) if i not in values}
    return [summed(replaced(replace(made, bound=(*term.bound, *bound)), values, extents))]


def _met(out: Access, place: Access) -> dict[sympy.Symbol, sympy.Expr] | None:
    """The indices of a term where its out access is read at a place; None if it never is."""
    numbers: dict[sympy.Expr, sympy.Expr] = {}
    for entry, at in zip(out, place, strict=True):
        if entry.is_number:
            at = at.xreplace(numbers)
            if at.is_number and at != entry:
                return None
            numbers |= {} if at.is_number else {at: entry}
    pairs = zip(out, place, strict=True)
    own = {entry: at.xreplace(numbers) for entry, at in pairs if not entry.is_number}
    return {**own, **numbers}


def inside(term: Term, values: Mapping[sympy.Symbol, sympy.Expr], extents: Extents) -> Term:
    """The term with factors that are zero outside its axes, unless something else in it is."""
    read = [(i, extent) for i, extent in term.extents if i in values]
    for index, extent in read:
        known = any(_ends_there(factor, index, extent) for factor in term.factors)
        if not known and not stays_inside(values[index], extent, extents):
            guard = ((index,), constant(sympy.S.One, R(extent)))
            term = replace(term, factors=(*term.factors, guard))
    return term


def _ends_there(factor: Factor, index: sympy.Symbol, extent: Size) -> bool:
    """The factor is read at the index, and its array is no longer than the index runs."""
    access, x = factor
    return any(e == index and axis == extent for e, axis in zip(access, shape_of(x), strict=True))


def _plain_out(term: Term, shape: Sequence[Size], place: Access, free: Extents) -> Term:
    """The term with an out access of different running indices, and numbers where they are met.

    Any other entry (one that is there twice, i + 1, the value of a selector) becomes an index of
    its own, with a factor that is 1 where the index is that entry.
    """
    plain = dict(term.extents)
    for index, _, _ in term.bound:
        plain.pop(index)
    for number, (entry, at) in enumerate(zip(term.out, place, strict=True)):
        if entry.is_number:
            keeps = at.is_number or (at in free and bool((free[at] - 1 - entry).is_nonnegative))
        else:
            keeps = plain.pop(entry, None) is not None
        if not keeps:
            term = _with_index(term, number, shape[number])
    return term


def _with_index(term: Term, axis: int, extent: Size) -> Term:
    """The term with an index of its own for an entry of its out access."""
    index, entry = fresh_index(), term.out[axis]
    access = (index, *indices_of(term, entry))
    known = {**dict(term.extents), index: extent}
    write = (entry, *access[1:])
    ones = written(R(*(known[i] for i in access)), replace(term, factors=()), [], write)
    out = (*term.out[:axis], index, *term.out[axis + 1 :])
    return replace(times(term, (access, ones)), out=out, extents=tuple(known.items()))


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
