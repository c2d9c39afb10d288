"""Structured derivatives: a derivative as a sum of terms  factors : in-index -> out-index.

The derivative of an array expression e by a variable v is the matrix of the numbers  d e[o] / d
v[i].  A term says where it is not zero, by an access of e and one of v in common indices, and what
stands there, a product of arrays read at some of these indices.  An index that both accesses show
is a diagonal; an index of one alone runs over all of its axis: W x has the term x[l] at
(k) <- (k, l) by W and the term W[k, l] at (k) <- (l) by x.

Like terms are added at every node, so that the gates of a cell are contracted before anything is
multiplied; factors that share no index stay apart, so that a derivative of the kind Q (x) a is
never formed.  The sum of the terms is the derivative that `calculus.tangents` takes
along a direction, and nothing here knows a layer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import singledispatch
from itertools import count

import sympy

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
    contraction,
    elementwise,
    is_zero,
    linear_combination,
    zero,
)
from .forms import Access, make_form
from .spaces import R, Size, Space, SpaceError
from .walk import depends_on, topological

Factor = tuple[Access, Node]
Bound = tuple[sympy.Symbol, Node, Access]
Extents = Mapping[sympy.Symbol, Size]
Ties = frozenset[tuple[int, int]]


@dataclass(frozen=True)
class Term:
    """The entries  product of factors  at (out, into), zero elsewhere.

    `extents` has the range of every index; a bound index has the value that an integer array, its
    selector, has at an access.
    """

    out: Access
    into: Access
    factors: tuple[Factor, ...]
    extents: tuple[tuple[sympy.Symbol, Size], ...]
    bound: tuple[Bound, ...] = ()

    @property
    def shown(self) -> tuple[sympy.Symbol, ...]:
        """The indices of the two accesses, in order of appearance."""
        return tuple(dict.fromkeys(i for entry in (*self.out, *self.into) for i in _in(self, entry)))

    @property
    def pattern(self) -> object:
        """What two terms share that have the same places for entries."""
        order = dict(zip(self.shown, _INDICES, strict=False))
        picked = {index: (selector, access) for index, selector, access in self.bound}
        return (
            _renamed(self.out, order),
            _renamed(self.into, order),
            tuple(dict(self.extents)[index] for index in self.shown),
            tuple(
                (order[i], picked[i][0], _renamed(picked[i][1], order))
                for i in self.shown
                if i in picked
            ),
        )


_INDICES = [sympy.Symbol(f"p{number}", integer=True, nonnegative=True) for number in range(64)]
_fresh = count()


def fresh_index() -> sympy.Symbol:
    """An index that no other term has."""
    return sympy.Symbol(f"u{next(_fresh)}", integer=True, nonnegative=True)


def fresh_access(shape: Sequence[Size]) -> tuple[Access, dict[sympy.Symbol, Size]]:
    """Plain indices for the axes of a shape, and their extents."""
    access = tuple(fresh_index() for _ in shape)
    return access, dict(zip(access, shape, strict=True))


def _in(term: Term, entry: sympy.Expr) -> list[sympy.Symbol]:
    """The indices of an entry, apart from the sizes in it."""
    running = dict(term.extents)
    return sorted((s for s in entry.free_symbols if s in running), key=str)


def _renamed(access: Access, names: Mapping[sympy.Symbol, sympy.Expr]) -> Access:
    return tuple(sympy.sympify(entry).xreplace(names) for entry in access)


# --- the derivative, operands first


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


# --- one term


def scaled(weight: sympy.Expr, term: Term) -> Term:
    """A multiple of a term."""
    return term if weight == 1 else times(term, ((), constant(weight, R())))


def times(term: Term, *factors: Factor) -> Term:
    """The term with more factors; the constant one is none."""
    more = [f for f in factors if not (isinstance(f[1], Constant) and f[1].value == 1)]
    return replace(term, factors=(*term.factors, *more))


def renamed(term: Term) -> Term:
    """The term in indices of its own."""
    new: dict[sympy.Symbol, sympy.Expr] = {index: fresh_index() for index, _ in term.extents}
    return _replaced(term, new, {new[index]: extent for index, extent in term.extents})


def _replaced(
    term: Term, values: Mapping[sympy.Symbol, sympy.Expr], extents: Extents
) -> Term:
    """The term with values for its indices, which are expressions in other indices."""
    return Term(
        _renamed(term.out, values),
        _renamed(term.into, values),
        tuple((_renamed(access, values), node) for access, node in term.factors),
        tuple(extents.items()),
        tuple((values.get(i, i), node, _renamed(a, values)) for i, node, a in term.bound),
    )


def _through(node: Contraction, position: int, term: Term) -> list[Term]:
    """The term of a contraction's operand as one of the contraction itself."""
    own = {index: fresh_index() for index, _ in node.form.extents}
    extents = {own[index]: extent for index, extent in node.form.extents}
    bound = tuple(
        (own[index], selector, _renamed(access, own))
        for (index, access), selector in zip(node.form.bound, node.selectors, strict=True)
    )
    others = tuple(
        (_renamed(node.access(k), own), x) for k, x in enumerate(node.filled) if k != position
    )
    joined = _read_at(term, _renamed(node.access(position), own), extents, bound)
    if joined is None:
        return []
    inner, values = joined
    out = _renamed(_renamed(node.output, own), values)
    made = times(
        Term(out, inner.into, inner.factors, inner.extents, inner.bound),
        *((_renamed(access, values), x) for access, x in others),
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
    moved = _replaced(term, values, rest | left)
    picked = tuple((i, node, _renamed(access, outer)) for i, node, access in bound)
    moved = replace(moved, bound=(*moved.bound, *picked))
    return _replaced(moved, outer, rest | left) if outer else moved, outer


def _stays_inside(place: sympy.Expr, extent: Size, extents: Extents) -> bool:
    """An index that runs over the axis, or a number on it."""
    if place.is_Integer and extent.is_Integer:
        return bool(0 <= place < extent)
    return place in extents and extents[place] == extent


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


def summed(term: Term) -> Term:
    """The indices that neither access shows are summed over."""
    picked = {i for i, _, _ in term.bound}
    shown = set(term.shown)
    shown |= {i for _, _, access in term.bound for e in access for i in _in(term, e)}
    for index, extent in term.extents:
        if index in shown or index in picked:
            continue
        linked = [f for f in term.factors if any(index in e.free_symbols for e in f[0])]
        rest = tuple(f for f in term.factors if f not in linked)
        if not linked:
            term = replace(term, factors=(*rest, ((), constant(extent, R()))))
        else:
            term = replace(term, factors=(*rest, _product(term, linked, summed=[index])))
    kept = {i for e in (*term.out, *term.into) for i in _in(term, e)}
    kept |= {i for access, _ in term.factors for e in access for i in _in(term, e)}
    kept |= {i for _, _, access in term.bound for e in access for i in _in(term, e)}
    extents = tuple((i, e) for i, e in term.extents if i in kept)
    return replace(term, extents=extents, bound=tuple(b for b in term.bound if b[0] in kept))


# --- factors


def _indices(term: Term, factors: Iterable[Factor]) -> tuple[sympy.Symbol, ...]:
    """The indices that factors are read at: those of the accesses in order, then the others."""
    read = {i for access, _ in factors for entry in access for i in _in(term, entry)}
    read |= {
        i
        for index, _, access in term.bound
        if index in read
        for entry in access
        for i in _in(term, entry)
    }
    order = dict.fromkeys([*term.shown, *(i for i, _ in term.extents)])
    return tuple(i for i in order if i in read)


def _product(
    term: Term, factors: Sequence[Factor], summed: Sequence[sympy.Symbol] = ()
) -> Factor:
    """One array for a product of factors, the bound indices looked up and some summed over.

    Factors of fewer indices go into one of more first: a matrix product is left at the end.
    """
    parts = list(factors)
    while len(parts) > 1:
        sets = [set(_indices(term, [part])) for part in parts]
        pair = _nested(sets)
        if pair is None or len(parts) == 2:
            break
        first, second = (parts[k] for k in pair)
        parts = [part for part in parts if part is not first and part is not second]
        parts.append(_multiplied(term, [first, second], ()))
    return _multiplied(term, parts, summed)


def _nested(sets: Sequence[set[sympy.Symbol]]) -> tuple[int, int] | None:
    """Two places where the indices of the first are among those of the second, fewest first."""
    order = sorted(range(len(sets)), key=lambda k: (len(sets[k]), k))
    for place, k in enumerate(order):
        for other in order[place + 1 :]:
            if sets[k] <= sets[other]:
                return k, other
    return None


def _multiplied(term: Term, factors: Sequence[Factor], summed: Sequence[sympy.Symbol]) -> Factor:
    """The product of the factors as one contraction."""
    read = _indices(term, factors)
    picked = {index: (node, access) for index, node, access in term.bound if index in read}
    open_ = tuple(i for i in read if i not in summed and i not in picked)
    extents = {i: e for i, e in term.extents if i in read}
    if len(factors) == 1 and factors[0][0] == open_ and not picked and not summed:
        return factors[0]
    accesses = [access for access, _ in factors]
    bound = [(index, access) for index, (_, access) in picked.items()]
    form = make_form([*accesses, open_], extents, bound)
    space = R(*(extents[i] for i in open_))
    selectors = [node for node, _ in picked.values()]
    return open_, contraction(space, form, len(factors), [x for _, x in factors], selectors)


def combined(term: Term, family: Size | None = None) -> Term:
    """The term with one factor for every set of factors that are linked by indices."""
    extents = dict(term.extents)
    groups: list[tuple[set[sympy.Symbol], list[Factor]]] = []
    loose: list[Factor] = []
    for factor in term.factors:
        linking = {i for i in _indices(term, [factor]) if extents[i] != family}
        if not linking:
            loose.append(factor)
            continue
        joined = [g for g in groups if g[0] & linking]
        groups = [g for g in groups if not g[0] & linking]
        merged = [f for _, factors in joined for f in factors]
        groups.append((linking.union(*(g[0] for g in joined)), [*merged, factor]))
    if groups and loose:  # to what stands on the side of the result, where numbers differ
        out = _symbols(term.out)
        groups.sort(key=lambda group: (not group[0] & out, len(group[0])))
        groups[0][1].extend(loose)
    elif loose:
        groups = [(set(), loose)]
    made = [_product(term, factors) for _, factors in groups]
    return replace(term, factors=tuple(sorted(made, key=lambda f: _order(term, f))))


def added(terms: Iterable[Term], family: Size | None = None) -> tuple[Term, ...]:
    """Like terms added where they differ in one factor at most."""
    kept: list[Term] = []
    for term in terms:
        term = combined(term, family)
        for k, other in enumerate(kept):
            both = _sum(other, term)
            if both is not None:
                kept[k] = both
                break
        else:
            kept.append(term)
    return tuple(kept)


def _order(term: Term, factor: Factor) -> tuple[int, ...]:
    places = {index: k for k, index in enumerate(term.shown)}
    return tuple(places.get(i, len(places)) for i in _indices(term, [factor]))


def _sum(left: Term, right: Term) -> Term | None:
    """The sum of two terms as one, where they have one pattern and differ in one factor at most."""
    if left.pattern != right.pattern:
        return None
    right = aligned_to(right, left)
    differ = [k for k, f in enumerate(left.factors) if f not in right.factors]
    others = [k for k, f in enumerate(right.factors) if f not in left.factors]
    if len(left.factors) != len(right.factors) or len(differ) != len(others):
        if min(len(left.factors), len(right.factors)) == 0 or len(left.factors) == len(
            right.factors
        ) == 1:
            return _sum_whole(left, right)
        return None
    if not differ:
        return scaled(sympy.Integer(2), left) if left.factors else _sum_whole(left, right)
    if len(differ) > 1:
        return None
    one, other = left.factors[differ[0]], right.factors[others[0]]
    total = _factor_sum(left, one, other)
    factors = [*left.factors]
    factors[differ[0]] = total
    return replace(left, factors=tuple(factors))


def _sum_whole(left: Term, right: Term) -> Term | None:
    """The sum where one of the terms has no factor, or both have one."""
    if len(left.factors) > 1 or len(right.factors) > 1:
        return None
    one, other = (t.factors[0] if t.factors else ((), constant(sympy.S.One, R())) for t in (left, right))
    return replace(left, factors=(_factor_sum(left, one, other),))


def _factor_sum(term: Term, left: Factor, right: Factor) -> Factor:
    """The sum of two arrays over the indices of both."""
    read = set(_indices(term, [left, right]))
    open_ = tuple(i for i in term.shown if i in read)
    parts = [array_at(term, factor, open_) for factor in (left, right)]
    return open_, linear_combination([(1, part) for part in parts])


def array_at(term: Term, factor: Factor, open_: Access) -> Node:
    """A factor as an array over plain indices in the given order, repeated along missing ones."""
    extents = dict(term.extents)
    picked = {index: (node, access) for index, node, access in term.bound}
    read = _indices(term, [factor])
    used = {i: extents[i] for i in (*open_, *read)}
    bound = [(i, picked[i][1]) for i in read if i in picked]
    selectors = [picked[i][0] for i in read if i in picked]
    space = R(*(extents[i] for i in open_))
    if not open_ and not factor[0]:
        return factor[1]
    return contraction(space, make_form([factor[0], open_], used, bound), 1, [factor[1]], selectors)


def aligned_to(term: Term, like: Term) -> Term:
    """A term of the same pattern in the indices of another."""
    new = dict(zip(term.shown, like.shown, strict=True))
    rest = {i: i for i, _ in term.extents if i not in new}
    extents = {**dict(like.extents), **{i: e for i, e in term.extents if i in rest}}
    return _replaced(term, {**new, **rest}, extents)


def written(
    space: Space, term: Term, more: Sequence[Factor], write: Access, extents: Extents | None = None
) -> Node:
    """The product of a term's factors and more, summed over all indices but those of `write`.

    `write` says where in an array of the space it goes; `extents` has the ranges of indices that
    are not the term's.
    """
    factors = [*term.factors, *more] or [((), constant(sympy.S.One, R()))]
    picked = {index: (node, access) for index, node, access in term.bound}
    read = _symbols(*(access for access, _ in factors), write)
    bound = [(i, access) for i, (_, access) in picked.items() if i in read]
    read |= _symbols(*(access for _, access in bound))
    known = {i: e for i, e in (dict(term.extents) | dict(extents or {})).items() if i in read}
    form = make_form([*(access for access, _ in factors), write], known, bound)
    selectors = [picked[i][0] for i, _ in bound]
    return contraction(space, form, len(factors), [x for _, x in factors], selectors)


def _symbols(*accesses: Access) -> set[sympy.Symbol]:
    return {s for access in accesses for entry in access for s in entry.free_symbols}


def applied(terms: Sequence[Term], v: Node, space: Space) -> Node:
    """The sum of the terms applied to v: D e . v for the terms of e."""
    return total(space, (written(space, term, [(term.into, v)], term.out) for term in terms))


def total(space: Space, nodes: Iterable[Node]) -> Node:
    """The sum of expressions of a space."""
    return linear_combination([(1, zero(space)), *((1, node) for node in nodes)])


def ties(term: Term) -> Ties:
    """The pairs (axis of e, axis of v) that one running index goes over together."""
    picked, running = {index for index, _, _ in term.bound}, dict(term.extents)
    return frozenset(
        (q, p)
        for q, out in enumerate(term.out)
        for p, into in enumerate(term.into)
        if out == into and out in running and out not in picked
    )


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
