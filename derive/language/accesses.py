"""What is known of an access before any size is known: whether it stays inside, and its strides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import permutations
from operator import attrgetter

import sympy

from .forms import Access

Extents = Mapping[sympy.Symbol, sympy.Expr]


def running(access: Access, extents: Extents) -> list[sympy.Symbol]:
    """The indices of an access in order; within an entry, that of the coefficient one last."""
    found: dict[sympy.Symbol, None] = {}
    for entry in access:
        own = sorted((s for s in entry.free_symbols if s in extents), key=attrgetter("name"))
        own.sort(key=lambda index: entry.coeff(index) == 1)
        found.update(dict.fromkeys(own))
    return list(found)


def stays_inside(entry: sympy.Expr, extent: sympy.Expr, extents: Extents) -> bool:
    """0 <= entry < extent for all values of the indices and all sizes of at least one."""
    if extents.get(entry) == extent:
        return True
    names = sorted((s for s in entry.free_symbols if s in extents), key=attrgetter("name"))
    own = tuple((s, extents[s]) for s in names)
    return _between(entry, extent, own)


@lru_cache(maxsize=4096)
def _between(
    entry: sympy.Expr, extent: sympy.Expr, own: tuple[tuple[sympy.Symbol, sympy.Expr], ...]
) -> bool:
    least, most = entry, entry
    for index, count in own:
        step, ends = sympy.expand(entry).coeff(index), (sympy.S.Zero, count - 1)
        if sympy.expand(entry - step * index).has(index):
            return False
        if not is_at_least_zero(step):
            if not is_at_least_zero(-step):
                return False
            ends = ends[::-1]
        least, most = least.xreplace({index: ends[0]}), most.xreplace({index: ends[1]})
    return is_at_least_zero(least) and is_at_least_zero(extent - 1 - most)


@lru_cache(maxsize=4096)
def is_at_least_zero(expression: sympy.Expr) -> bool:
    """Whether it is >= 0 for all sizes: written in sizes less one, no coefficient is negative."""
    expression = _without_floors(expression)
    left = {f: sympy.Dummy(nonnegative=True) for f in expression.atoms(sympy.floor)}
    expression = expression.xreplace(left)
    sizes = [s for s in expression.free_symbols if s.is_positive]
    if not expression.free_symbols <= {*sizes, *left.values()}:
        return False
    if not all(is_at_least_zero(f.args[0]) for f in left):
        return False
    more = {s: 1 + sympy.Dummy(s.name, nonnegative=True, integer=True) for s in sizes}
    terms = sympy.expand(expression.xreplace(more)).as_coefficients_dict()
    return all(number >= 0 for number in terms.values())


def _without_floors(expression: sympy.Expr) -> sympy.Expr:
    """A lower bound of the expression, without the floors that stand alone in a term.

    Floors that contain others go first: what is left of them may cancel.
    """
    while expression.has(sympy.floor):
        depth = max(map(_depth, expression.atoms(sympy.floor)))
        terms = sympy.Add.make_args(sympy.expand(expression))
        less = sympy.Add(*(_least(term, depth) for term in terms))
        if less == expression:
            break
        expression = less
    return expression


def _depth(floor: sympy.Expr) -> int:
    return len(floor.atoms(sympy.floor))


def _least(term: sympy.Expr, depth: int) -> sympy.Expr:
    """A lower bound of the term: e - (d - 1)/d <= floor(e) <= e for e in Z/d."""
    found = [factor for factor in sympy.Mul.make_args(term) if isinstance(factor, sympy.floor)]
    if len(found) != 1 or _depth(found[0]) < depth:
        return term
    inner, rest = found[0].args[0], term / found[0]
    if is_at_least_zero(rest):
        below = sympy.fraction(sympy.together(inner))[1]
        return rest * (inner - (below - 1) / below)
    return rest * inner if is_at_least_zero(-rest) else sympy.S.NegativeInfinity


def is_linear(access: Access, shape: Sequence[sympy.Expr], extents: Extents) -> bool:
    """Every index stands in one entry, every entry stays on its axis, no place is read twice.

    Several indices in one entry must count as digits do: i*n + j with j below n.
    """
    return _is_linear(access, tuple(shape), tuple(extents.items()))


@lru_cache(maxsize=4096)
def _is_linear(
    access: Access,
    shape: tuple[sympy.Expr, ...],
    ranges: tuple[tuple[sympy.Symbol, sympy.Expr], ...],
) -> bool:
    extents = dict(ranges)
    indices = [s for entry in access for s in entry.free_symbols if s in extents]
    return len(set(indices)) == len(indices) and all(
        stays_inside(entry, extent, extents) and _counts(entry, extents)
        for entry, extent in zip(access, shape, strict=True)
    )


def _counts(entry: sympy.Expr, extents: Extents) -> bool:
    """Different values of the indices give different values of the entry."""
    steps = {s: sympy.expand(entry).coeff(s) for s in entry.free_symbols if s in extents}
    return any(_are_digits(order, steps, extents) for order in permutations(steps))


def _are_digits(
    order: Sequence[sympy.Symbol], steps: Mapping[sympy.Symbol, sympy.Expr], extents: Extents
) -> bool:
    """Each step is larger than anything that the indices before it can reach."""
    reached = sympy.S.Zero
    for digit in order:
        if not is_at_least_zero(steps[digit] - 1 - reached):
            return False
        reached = sympy.expand(reached + steps[digit] * (extents[digit] - 1))
    return True
