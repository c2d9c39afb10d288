"""What terms of a derivative mean: entry by entry, and as the map that they are together."""

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

import numpy as np
import sympy
from points import EPS, draw

from derive import Layer, library, variable
from derive.calculus.calculus import tangents
from derive.calculus.structure import Derivative
from derive.calculus.terms import Term, total, written
from derive.evidence.checks.drawing import unequal_sizes
from derive.evidence.checks.sampling import point_of
from derive.language.expressions import Node, tuple_of, zero
from derive.language.forms import Access
from derive.language.reference import value, values_of
from derive.language.spaces import Product, Space
from derive.language.walk import storage
from derive.models.levels import Recurrent
from derive.models.programs import BATCH

ROWS = 2
# The terms multiply and add what the tangent does in another order: some ten products, and sums of
# at most 60 numbers that cancel by less than a factor 10.
ROUNDING = 64 * EPS
LIBRARY = {
    name: layer for name, layer in library.layers().items() if not isinstance(layer, Recurrent)
}

# --- the map that terms are


def applied(terms: Sequence[Term], v: Node, space: Space) -> Node:
    """D e . v: the sum of the terms of e applied to a direction."""
    return total(space, (written(space, term, [(term.into, v)], term.out) for term in terms))


def direction_in(x: Node, leaf: Node, v: Node) -> Node:
    """The direction of x that is v in one of its arrays, zero in the others."""
    if x is leaf:
        return v
    if isinstance(x.space, Product):
        return tuple_of(direction_in(part, leaf, v) for part in x)
    return zero(x.space)


def errors(layer: Layer) -> Iterator[tuple[str, float]]:
    """How far the terms are off the tangent, by argument, in units of the largest entry."""
    batched = layer.batched(BATCH)
    sizes = {BATCH: ROWS, **unequal_sizes(layer)}
    point = point_of(batched, sizes, np.random.default_rng(2))
    outputs = storage(batched.output)
    for x in batched.differentiable:
        for leaf in storage(x):
            v = variable("direction", leaf.space)
            d = Derivative(outputs, leaf, BATCH)
            found = [applied(d.of(e), v, e.space) for e in outputs]
            moved = tangents([batched.output], {x: direction_in(x, leaf, v)})[batched.output]
            values = {**point.values, v: draw(leaf.space, sizes, np.random.default_rng(4))}
            yield x.name, distance(values_of([*found, *storage(moved)], values, sizes))


def distance(both: list[Any]) -> float:
    """The largest difference of the two halves relative to the largest entry of the second."""
    half = len(both) // 2
    found, expected = (
        np.concatenate([np.ravel(a) for a in part]) for part in (both[:half], both[half:])
    )
    largest = np.abs(expected).max(initial=0.0) or 1.0
    return float(np.abs(found - expected).max(initial=0.0) / largest)


# --- the entries that a term has


def dense(term: Term, values: dict, sizes: dict, shapes: tuple) -> np.ndarray:
    """The matrix of a term by its definition: a loop over all values of all of its indices."""
    out, into = shapes
    found = np.zeros((*out, *into))
    picked = {index: (selector, access) for index, selector, access in term.bound}
    running = [index for index, _ in term.extents if index not in picked]
    counts = [int(dict(term.extents)[index].subs(sizes)) for index in running]
    arrays = [(access, value(x, values, sizes)) for access, x in term.factors]
    for numbers in product(*map(range, counts)):
        at = dict(zip(running, numbers, strict=True)) | sizes
        at |= {i: int(values[x][place(access, at)]) for i, (x, access) in picked.items()}
        entry = (*place(term.out, at), *place(term.into, at))
        read = [entry_of(array, place(access, at)) for access, array in arrays]
        if is_inside(entry, found.shape):
            found[entry] += np.prod(read)
    return found


def place(access: Access, at: dict) -> tuple[int, ...]:
    """An access in numbers."""
    return tuple(int(sympy.sympify(entry).subs(at)) for entry in access)


def is_inside(entry: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    """A place in an array of that shape."""
    return all(0 <= k < count for k, count in zip(entry, shape, strict=True))


def entry_of(array: Any, entry: tuple[int, ...]) -> float:
    """An entry of an array, zero outside."""
    return float(np.asarray(array)[entry]) if is_inside(entry, np.shape(array)) else 0.0
