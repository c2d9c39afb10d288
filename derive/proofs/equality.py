"""Whether two expressions, or two maps, are equal, and how that is known."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from ..expressions import Node, Variable, variable
from ..maps import BilinearMap, LinearMap, free_name, substituted, variables_of
from ..normal_form import normal
from ..reference import Sizes, Value, flat_arrays, shape_of, values_of
from ..spaces import Indices, Product, Space, leaves
from ..validity import extents_of
from ..walk import topological
from . import field
from .components import Components, flat_components
from .proof import fitting, some_indices

Item: TypeAlias = Node | LinearMap | BilinearMap

# A difference that rounding does not make: a value of an expression of a few entries is off by some
# hundred eps of the numbers it is made of, here next to one, and few cancel by more than 10^6.
APART = 1e-6


@dataclass(frozen=True)
class Equality:
    """What is known of two expressions; it is true where they are equal for sure."""

    holds: bool
    reason: str

    def __bool__(self) -> bool:
        return self.holds

    def __str__(self) -> str:
        return f"{'equal' if self.holds else 'not known to be equal'}: {self.reason}"


ONE_FORM = Equality(True, "one normal form")
PROVED = Equality(True, "proved in a prime field")
DIFFERS = Equality(False, "differs at a point")
UNDECIDED = Equality(False, "not decided")
OTHER_SPACES = Equality(False, "of different spaces")


def equal(left: Item, right: Item, seed: int = 0) -> Equality:
    """Whether two expressions, or two linear or bilinear maps, are one function, and why.

    "one normal form" holds for all sizes: the two are one by the laws of sums and products.
    "proved in a prime field" is an identity in exact arithmetic at random points, at sizes 2 and 3
    (Schwartz 1980, Zippel 1979).  "differs at a point": their values there are far apart.  What is
    neither, such as a law of sin or of an uninterpreted function, is "not decided".

    >>> from derive import R, dims, inner, norm, tanh, variable
    >>> n = dims("n")
    >>> v, w = variable("v", R(n)), variable("w", R(n))
    >>> equal(v * w, w * v)
    Equality(holds=True, reason='one normal form')
    >>> equal((v + w) * v, v * v + w * v).reason, equal(v * w, v + w).reason
    ('proved in a prime field', 'differs at a point')
    """
    if _spaces(left) != _spaces(right):
        return OTHER_SPACES
    a, b = _bodies(left, right)
    new = normal(a, b)
    return ONE_FORM if new[a] is new[b] else _compared(a, b, seed)


def _spaces(item: Item) -> tuple[object, ...]:
    if isinstance(item, LinearMap):
        return LinearMap, item.domain, item.codomain
    if isinstance(item, BilinearMap):
        return BilinearMap, item.left.space, item.right.space, item.body.space
    return Node, item.space


def _bodies(left: Item, right: Item) -> tuple[Node, Node]:
    """Both as expressions of the same variables."""
    taken = [x for item in (left, right) for x in variables_of(_body(item))]
    found: list[Node] = [_body(left), _body(right)]
    for own, other in zip(_slots(left), _slots(right), strict=True):
        v = variable(free_name(own.name, taken), own.space)
        taken.append(v)
        found = [substituted(found[0], {own: v}), substituted(found[1], {other: v})]
    return found[0], found[1]


def _body(item: Item) -> Node:
    return item if isinstance(item, Node) else item.body


def _slots(item: Item) -> tuple[Variable, ...]:
    if isinstance(item, LinearMap):
        return (item.variable,)
    return (item.left, item.right) if isinstance(item, BilinearMap) else ()


def _compared(left: Node, right: Node, seed: int) -> Equality:
    """Exactly at small sizes, else by their values at a point."""
    chosen = list(_small_sizes(left, right))
    for sizes in chosen:
        try:
            place = _difference(left, right, sizes, seed)
        except (ArithmeticError, TypeError):  # no point where both are defined; uninterpreted
            return UNDECIDED
        if place is not None:
            return DIFFERS if _are_apart(left, right, sizes, seed) else UNDECIDED
    return PROVED if chosen else UNDECIDED


def _small_sizes(*roots: Node) -> Iterator[Sizes]:
    """Two choices of unequal sizes, as far as there are any."""
    spaces = [node.space for node in topological(*roots)]
    extents = list(dict.fromkeys(extent for space in spaces for extent in extents_of(space)))
    symbols = sorted({s for extent in extents for s in extent.free_symbols}, key=str)
    chosen = (fitting(symbols, extents, shift) for shift in range(2 if symbols else 1))
    return (sizes for sizes in chosen if sizes is not None)


def _difference(left: Node, right: Node, sizes: Sizes, seed: int) -> int | None:
    indices = {
        x.name: some_indices(x.space, sizes)
        for x in variables_of(left, right)
        if isinstance(x.space, Indices)
    }
    components = Components(sizes, indices, seed)
    pair = [flat_components(components.of(node)) for node in (left, right)]
    return field.difference(pair[0], pair[1], seed=seed)


def _are_apart(left: Node, right: Node, sizes: Sizes, seed: int) -> bool:
    """The values of the two at a random point differ by more than rounding does."""
    random = np.random.default_rng(seed)
    point = {x: _drawn(x.space, sizes, random) for x in variables_of(left, right)}
    with np.errstate(all="ignore"):
        pair = values_of([left, right], point, sizes)
    return any(
        bool(np.any(abs(a - b) > APART * (1 + abs(a))))
        for a, b in zip(*map(flat_arrays, pair), strict=True)
    )


def _drawn(space: Space, sizes: Sizes, random: np.random.Generator) -> Value:
    if isinstance(space, Indices):
        return np.asarray(some_indices(space, sizes))
    arrays = [random.uniform(0.5, 1.5, shape_of(leaf, sizes)) for leaf in leaves(space)]
    return tuple(arrays) if isinstance(space, Product) else arrays[0]
