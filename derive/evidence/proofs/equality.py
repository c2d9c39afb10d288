"""Whether two expressions, or two maps, are equal, and by what evidence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, product
from typing import TypeAlias, TypeVar

import numpy as np
import sympy

from ...calculus.maps import BilinearMap, LinearMap, free_name, substituted, variables_of
from ...language.expressions import Argmax, Elementwise, Node, Variable, variable
from ...language.mistakes import SpaceError, called
from ...language.normal_form import normal
from ...language.reference import Array, Sizes, Value, shape_of
from ...language.spaces import Indices
from ...language.walk import topological
from ...models.validity import extents_of
from . import field
from .components import Components
from .depth import NESTED, nested
from .numerical_difference import Indexed, are_apart
from .proof import fitting
from .symbols import flat_components

Item: TypeAlias = Node | LinearMap | BilinearMap
Key = TypeVar("Key", bound=Node)
CASES = 32  # values of class indices that are tried; with more, nothing is decided
PLACES = 96  # the same for places of argmaxes; two argmaxes over two rows of three have 81
BRANCHING = (
    sympy.Piecewise,
    sympy.Abs,
    sympy.Max,
    sympy.Min,
    sympy.sign,
    sympy.Heaviside,
    sympy.DiracDelta,
    sympy.floor,
    sympy.ceiling,
)
LIMITED = (sympy.asin, sympy.acos, sympy.acosh, sympy.atanh)  # defined for some numbers alone


@dataclass(frozen=True)
class Equality:
    """What is known about two expressions; true only if they are known to be equal."""

    holds: bool
    reason: str
    known: bool = True

    def __bool__(self) -> bool:
        return self.holds

    def __str__(self) -> str:
        said = "equal" if self.holds else "not equal" if self.known else "not known to be equal"
        return f"{said}: {self.reason}"


ONE_FORM = Equality(True, "one normal form")
PROVED = Equality(True, "proved in a prime field")
DIFFERS = Equality(False, "differs at a point")
UNDECIDED = Equality(False, "not decided", known=False)
OTHER_SPACES = Equality(False, "of different spaces")


@called
def equal(left: Item, right: Item, seed: int = 0) -> Equality:
    """Whether two expressions, or two linear or bilinear maps, are the same function, and why.

    "one normal form" holds for all sizes: the laws of sums and products make the two identical.
    "proved in a prime field" is an identity in exact arithmetic at random points, at sizes 2 and
    3, for all class indices and places of an argmax, up to poles (Schwartz 1980, Zippel 1979).
    "differs at a point": their values at a random point are far apart, or only one has a value.
    All else is "not decided": a law of sin or of an uninterpreted function, branches (relu) that
    are written differently, logarithms and roots of different numbers, more than NESTED nested
    operations.

    Raises SpaceError for anything other than an expression or a map.

    >>> from derive import R, dims, inner, norm, tanh, variable
    >>> n = dims("n")
    >>> v, w = variable("v", R(n)), variable("w", R(n))
    >>> equal(v * w, w * v)
    Equality(holds=True, reason='one normal form', known=True)
    >>> equal((v + w) * v, v * v + w * v).reason, equal(v * w, v + w).reason
    ('proved in a prime field', 'differs at a point')
    """
    for item in (left, right):
        if not isinstance(item, (Node, LinearMap, BilinearMap)):
            raise SpaceError(
                "equal: expected two expressions or two maps, as in equal(x + y, y + x), got "
                f"{item!r}; write a number as an expression, 3 as 0 * x + 3"
            )
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
    """Both as expressions in the same variables."""
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
    """By values at points, then exactly, at small sizes."""
    chosen = [(sizes, _settings(left, right, sizes)) for sizes in _small_sizes(left, right)]
    cases = [(sizes, indexed) for sizes, settings in chosen for indexed in settings]
    all_tried = bool(cases) and all(len(settings) <= CASES for _, settings in chosen)
    try:
        if any(are_apart(left, right, sizes, indexed, seed) for sizes, indexed in cases):
            return DIFFERS
        deep = max(nested(left), nested(right)) > NESTED
        if deep or not all_tried:
            return UNDECIDED
        proved = all(_are_one(left, right, sizes, indexed, seed) for sizes, indexed in cases)
    except (ArithmeticError, TypeError):  # nowhere both defined; uninterpreted
        return UNDECIDED
    return PROVED if proved else UNDECIDED


def _small_sizes(*roots: Node) -> Iterator[Sizes]:
    """Up to two choices of unequal sizes."""
    spaces = [node.space for node in topological(*roots)]
    extents = list(dict.fromkeys(extent for space in spaces for extent in extents_of(space)))
    symbols = sorted({s for extent in extents for s in extent.free_symbols}, key=str)
    chosen = (fitting(symbols, extents, shift) for shift in range(2 if symbols else 1))
    return (sizes for sizes in chosen if sizes is not None)


def _settings(left: Node, right: Node, sizes: Sizes) -> list[Indexed]:
    """All values of the class indices, cut off after CASES + 1."""
    own = [x for x in variables_of(left, right) if isinstance(x.space, Indices)]
    return _all_indices(own, sizes, CASES)


def _all_indices(own: Sequence[Key], sizes: Sizes, most: int) -> list[dict[Key, Array]]:
    """All joint values of these, cut off after most + 1."""
    each = [_index_arrays(x.space, sizes) for x in own if isinstance(x.space, Indices)]
    every = product(*(islice(values, most + 1) for values in each))
    return [dict(zip(own, values, strict=True)) for values in islice(every, most + 1)]


def _index_arrays(space: Indices, sizes: Sizes) -> Iterator[Array]:
    shape, bound = shape_of(space, sizes), int(space.bound.subs(sizes))
    every = product(range(bound), repeat=int(np.prod(shape)))
    return (np.reshape(entries, shape) for entries in every)


class _Placed(Components):
    """Components with every argmax at a given place, wherever the operand is largest."""

    def __init__(self, sizes: Sizes, indexed: Indexed, places: Mapping[Argmax, Array]) -> None:
        super().__init__(sizes, {x.name: value for x, value in indexed.items()}, seed=0)
        self._places = places

    def place_of(self, node: Argmax) -> Value:
        """The given place."""
        return np.asarray(self._places[node], dtype=object)


def _are_one(left: Node, right: Node, sizes: Sizes, indexed: Indexed, seed: int) -> bool:
    """Whether components and domains agree, at every place that an argmax may have.

    What holds for every place, such as an identity from which a maximum cancels, holds always.
    """
    own = [node for node in topological(left, right) if isinstance(node, Argmax)]
    settings = _all_indices(own, sizes, PLACES)
    return len(settings) <= PLACES and all(
        _agree(left, right, _Placed(sizes, indexed, places), seed) for places in settings
    )


def _agree(left: Node, right: Node, components: Components, seed: int) -> bool:
    """Components are identical, or without branches and provably equal; so are their domains."""
    pair = [flat_components(components.of(node)) for node in (left, right)]
    unlike = [(a, b) for a, b in zip(*pair, strict=True) if a != b]
    if any(a.has(*BRANCHING) or b.has(*BRANCHING) for a, b in unlike):
        return False
    if _domain(left, components) != _domain(right, components):
        return False
    return field.difference([a for a, _ in unlike], [b for _, b in unlike], seed=seed) is None


def _domain(root: Node, components: Components) -> set[sympy.Basic]:
    """What must be nonnegative, or in the domain of an inverse function, for a value to exist.

    Taken from each operation as it is written, since SymPy simplifies exp(log(x)) to x.
    """
    return {
        limit
        for node in topological(root)
        if isinstance(node, Elementwise)
        for wanted in _wanted(node.operation.body)
        for entries in zip(*(components[z].ravel() for z in node.arguments), strict=True)
        if not (limit := _put(wanted, node, entries)).is_nonnegative
    }


def _wanted(body: sympy.Expr) -> list[sympy.Expr]:
    powers = (p.base for p in body.atoms(sympy.Pow) if not p.exp.is_integer and p.base != sympy.E)
    inverse = (f for f in body.atoms(*LIMITED))
    return [*powers, *(f.args[0] for f in body.atoms(sympy.log)), *inverse]


def _put(wanted: sympy.Expr, node: Elementwise, entries: tuple[sympy.Expr, ...]) -> sympy.Expr:
    return wanted.xreplace(dict(zip(node.operation.arguments, entries, strict=True)))
