"""Terms of a derivative:  factors : in-index -> out-index.

A term says where the matrix  d e[o] / d v[i]  of an expression e by an array v is not zero, by an
access of e and one of v in common indices, and what stands there, a product of arrays read at some
of these indices.  Equal indices are a diagonal; an index of one access alone runs over all of its
axis.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import count
from operator import attrgetter

import sympy

from ..language.expressions import Constant, Node, constant, contraction, linear_combination, zero
from ..language.forms import Access, make_form
from ..language.sizes import Size
from ..language.spaces import R, Real, Space

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

    @cached_property
    def shown(self) -> tuple[sympy.Symbol, ...]:
        """The indices of the two accesses, in order of appearance."""
        return tuple(
            dict.fromkeys(i for entry in (*self.out, *self.into) for i in indices_in(self, entry))
        )

    @cached_property
    def pattern(self) -> object:
        """What terms share that have entries at the same places."""
        order = dict(zip(self.shown, _INDICES, strict=False))
        picked = {index: (selector, access) for index, selector, access in self.bound}
        return (
            renamed_access(self.out, order),
            renamed_access(self.into, order),
            tuple(dict(self.extents)[index] for index in self.shown),
            tuple(
                (order[i], picked[i][0], renamed_access(picked[i][1], order))
                for i in self.shown
                if i in picked
            ),
        )


_INDICES = [sympy.Symbol(f"p{number}", integer=True, nonnegative=True) for number in range(64)]
_fresh = count()


def fresh_index() -> sympy.Symbol:
    """An index that no other term has; later ones come later in the alphabet, as forms sort."""
    return sympy.Symbol(f"u{next(_fresh):08}", integer=True, nonnegative=True)


def fresh_access(shape: Sequence[Size]) -> tuple[Access, dict[sympy.Symbol, Size]]:
    """Plain indices for the axes of a shape, and their extents."""
    access = tuple(fresh_index() for _ in shape)
    return access, dict(zip(access, shape, strict=True))


def indices_in(term: Term, entry: sympy.Expr) -> list[sympy.Symbol]:
    """The indices of an entry, apart from the sizes in it."""
    running = dict(term.extents)
    return sorted((s for s in entry.free_symbols if s in running), key=attrgetter("name"))


def indices_of(term: Term, entry: sympy.Expr) -> tuple[sympy.Symbol, ...]:
    """The running indices that an entry depends on, through the selectors of bound ones too."""
    picked = {index: access for index, _, access in term.bound}
    found: dict[sympy.Symbol, None] = {}
    for index in indices_in(term, entry):
        more = (
            [i for e in picked[index] for i in indices_of(term, e)] if index in picked else [index]
        )
        found.update(dict.fromkeys(more))
    return tuple(found)


def shape_of(node: Node) -> tuple[Size, ...]:
    """The shape of an array expression."""
    assert isinstance(node.space, Real)
    return node.space.shape


def renamed_access(access: Access, names: Mapping[sympy.Symbol, sympy.Expr]) -> Access:
    """The access with values for its indices."""
    entries = (sympy.sympify(entry) for entry in access)
    return tuple(names.get(e, e) if e.is_Symbol else e.xreplace(names) for e in entries)


def symbols(*accesses: Access) -> set[sympy.Symbol]:
    """All symbols in some accesses, sizes too."""
    return {s for access in accesses for entry in access for s in entry.free_symbols}


# --- terms of terms


def scaled(weight: sympy.Expr, term: Term) -> Term:
    """A multiple of a term."""
    return term if weight == 1 else times(term, ((), constant(weight, R())))


def times(term: Term, *factors: Factor) -> Term:
    """The term with more factors; the constant one is left out."""
    more = [f for f in factors if not (isinstance(f[1], Constant) and f[1].value == 1)]
    return replace(term, factors=(*term.factors, *more))


def renamed(term: Term) -> Term:
    """The term in indices of its own."""
    new: dict[sympy.Symbol, sympy.Expr] = {index: fresh_index() for index, _ in term.extents}
    return replaced(term, new, {new[index]: extent for index, extent in term.extents})


def replaced(term: Term, values: Mapping[sympy.Symbol, sympy.Expr], extents: Extents) -> Term:
    """The term with values for its indices, which are expressions in other indices."""
    return Term(
        renamed_access(term.out, values),
        renamed_access(term.into, values),
        tuple((renamed_access(access, values), node) for access, node in term.factors),
        tuple(extents.items()),
        tuple((values.get(i, i), node, renamed_access(a, values)) for i, node, a in term.bound),
    )


def aligned_to(term: Term, like: Term) -> Term:
    """A term of the same pattern in the indices of another."""
    new = dict(zip(term.shown, like.shown, strict=True))
    return replaced(term, new, {new.get(i, i): extent for i, extent in term.extents})


def ties(term: Term) -> Ties:
    """The pairs (axis of e, axis of v) that one running index goes over together."""
    picked, running = {index for index, _, _ in term.bound}, dict(term.extents)
    return frozenset(
        (q, p)
        for q, out in enumerate(term.out)
        for p, into in enumerate(term.into)
        if out == into and out in running and out not in picked
    )


# --- back to expressions


def written(
    space: Space, term: Term, more: Sequence[Factor], write: Access, extents: Extents | None = None
) -> Node:
    """The product of a term's factors and more, summed over all indices but those of `write`.

    `write` says where in an array of the space it goes; `extents` has the ranges of indices that
    are not the term's.
    """
    factors = [*term.factors, *more] or [((), constant(sympy.S.One, R()))]
    picked = {index: (node, access) for index, node, access in term.bound}
    read = symbols(*(access for access, _ in factors), write)
    bound = [(i, access) for i, (_, access) in picked.items() if i in read]
    read |= symbols(*(access for _, access in bound))
    known = {i: e for i, e in (dict(term.extents) | dict(extents or {})).items() if i in read}
    form = make_form([*(access for access, _ in factors), write], known, bound)
    selectors = [picked[i][0] for i, _ in bound]
    return contraction(space, form, len(factors), [x for _, x in factors], selectors)


def total(space: Space, nodes: Iterable[Node]) -> Node:
    """The sum of expressions of a space."""
    return linear_combination([(1, zero(space)), *((1, node) for node in nodes)])
