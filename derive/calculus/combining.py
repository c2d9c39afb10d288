"""Terms brought into one shape and added: one factor for every set of linked factors.

Factors that share no index stay apart, so that a derivative of the kind Q (x) a is never formed;
like terms are added, so that the gates of a cell are contracted before anything is multiplied.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import sympy

from ..language.expressions import Node, constant, contraction, linear_combination
from ..language.forms import Access, make_form
from ..language.sizes import Size
from ..language.spaces import R
from .terms import Factor, Term, aligned_to, indices_in, indices_of, scaled, symbols

Group = tuple[set[sympy.Symbol], list[Factor]]
ONE: Factor = ((), constant(sympy.S.One, R()))


def combined(term: Term, family: Size | None = None) -> Term:
    """The term with one factor for every set of factors that are linked by indices."""
    groups, loose = _linked(term, family)
    if groups and loose:  # loose factors go to the side of the result
        out = symbols(term.out)
        groups.sort(key=lambda group: (not group[0] & out, len(group[0])))
        groups[0][1].extend(loose)
    elif loose:
        groups = [(set(), loose)]
    made = [_product(term, factors) for _, factors in groups]
    return replace(term, factors=tuple(sorted(made, key=lambda f: _order(term, f))))


def _linked(term: Term, family: Size | None) -> tuple[list[Group], list[Factor]]:
    """The factors that indices link, in groups, and those that are linked to nothing."""
    extents = dict(term.extents)
    groups: list[Group] = []
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
    return groups, loose


def added(terms: Iterable[Term], family: Size | None = None) -> tuple[Term, ...]:
    """Like terms added where they differ in one factor at most; each has been `summed`."""
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
    """The sum of two terms as one, where they have one pattern and differ in one factor at most.

    The factors of either are different arrays; a factor that one of them does not have is 1.
    """
    if left.pattern != right.pattern:
        return None
    right = aligned_to(right, left)
    own = [f for f in left.factors if f not in right.factors]
    other = [f for f in right.factors if f not in left.factors]
    if len(own) > 1 or len(other) > 1:
        return None
    if not own and not other:
        return scaled(sympy.Integer(2), left)
    shared = tuple(f for f in left.factors if f in right.factors)
    both = _factor_sum(left, *(own or [ONE]), *(other or [ONE]))
    return replace(left, factors=(*shared, both))


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


def summed(term: Term) -> Term:
    """The sum over all indices that appear in neither access, nor in a selector of one."""
    shown = _read_in(term, (*term.out, *term.into))
    picked = {i for i, _, _ in term.bound}
    for index, extent in term.extents:
        if index not in shown and index not in picked:
            term = _without(term, index, extent)
    read = _read_in(
        term, (*term.out, *term.into, *(e for access, _ in term.factors for e in access))
    )
    extents = tuple((i, e) for i, e in term.extents if i in read)
    return replace(term, extents=extents, bound=tuple(b for b in term.bound if b[0] in read))


def _read_in(term: Term, entries: Access) -> set[sympy.Symbol]:
    """The indices of some entries, and those that selectors in them are read at."""
    return {i for e in entries for i in (*indices_in(term, e), *indices_of(term, e))}


def _without(term: Term, index: sympy.Symbol, extent: Size) -> Term:
    """The sum over an index: a factor of its extent where nothing is read at it."""
    linked = [f for f in term.factors if index in _indices(term, [f])]
    rest = tuple(f for f in term.factors if f not in linked)
    made = _product(term, linked, [index]) if linked else ((), constant(extent, R()))
    return replace(term, factors=(*rest, made))


# --- factors


def _indices(term: Term, factors: Iterable[Factor]) -> tuple[sympy.Symbol, ...]:
    """The indices that factors are read at: those of the accesses in order, then the others."""
    read = {i for access, _ in factors for entry in access for i in indices_in(term, entry)}
    read |= {
        i
        for index, _, access in term.bound
        if index in read
        for entry in access
        for i in indices_in(term, entry)
    }
    order = dict.fromkeys([*term.shown, *(i for i, _ in term.extents)])
    return tuple(i for i in order if i in read)


def _product(term: Term, factors: Sequence[Factor], summed: Sequence[sympy.Symbol] = ()) -> Factor:
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
