"""Points at which a layer is checked: unequal sizes, entries of its spaces, away from kinks.

All entries are numbers of float32, so that both precisions are checked at the same points.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, count, islice, permutations
from math import log2, prod

import numpy as np
import sympy

from ...language.expressions import Argmax, Elementwise, Node, Variable, contraction, variable
from ...language.forms import make_form
from ...language.reading import Reading
from ...language.reference import Array, Sizes, Value, extent, flat_arrays, shape_of, values_of
from ...language.riesz import gram_variable
from ...language.roles import MASK
from ...language.scalars.algebras import Arrays
from ...language.scalars.fold import evaluate
from ...language.scalars.operations import Operation
from ...language.spaces import Gram, Indices, Product, R, Real, Space, leaves
from ...language.walk import topological
from ...models.layers import Layer
from ...models.programs import BATCH

MARGIN = 0.05  # from a kink, for steps of up to 1e-2 along a direction
ROUNDING_MARGIN = 2e-3  # from a kink, for roundings in float32, which are some 1e-5
TAME = 100.0  # the largest psi' and psi'': the third derivative is then no excuse for an error
SIGNED, POSITIVE = (-1.0, 1.0), (0.25, 1.25)
FARTHER = (
    (-1.25, -0.25),
    *((min(a, 2 * a), max(a, 2 * a)) for k in range(21) for a in (2.0**k, -(2.0**k))),
)  # to a million on both sides: log(x - 2), sqrt(log(x)) and log(-x) are real somewhere there
NEARER = FARTHER[:9]
ATTEMPTS, FEW = 40, 4
NEAR = 1.0  # over the number of kinks: about a third of all rows are so far away from all of them
ROUNDING = 2e-5  # at least, for what float32 makes of a sum
SHAKE = 1e-6
MANY = 64  # entries of an array; of 16 times as many each is half as large


Range = tuple[float, float]


class NoPoint(ValueError):
    """No point was found where a layer is finite and away from its kinks."""


@dataclass(frozen=True)
class Point:
    """Sizes, and the values of a layer's arguments and Gram matrices."""

    sizes: dict[sympy.Symbol, int]
    values: dict[Variable, Value]


# --- sizes


def unequal_sizes(layer: Layer, first: int = 3) -> dict[sympy.Symbol, int]:
    """Different sizes from `first` on, at which every extent in the layer is at least 1.

    Raises NoPoint where there are none among the first thousand.
    """
    for start in range(first, first + 8):
        for chosen in islice(permutations(range(start, start + len(layer.sizes))), 120):
            sizes = dict(zip(layer.sizes, chosen, strict=True))
            if layer.fits(sizes):
                return sizes
    raise NoPoint(f"layer {layer.name}: no sizes from {first} on make every extent at least 1")


def equal_sizes(layer: Layer, number: int) -> dict[sympy.Symbol, int] | None:
    """All sizes that number; None where an extent would be below 1."""
    sizes = dict.fromkeys(layer.sizes, number)
    return sizes if layer.fits(sizes) else None


# --- entries


def uniform(
    random: np.random.Generator, shape: tuple[int, ...], between: tuple[float, float]
) -> Array:
    """Numbers of float32, as float64."""
    return random.uniform(*between, shape).astype(np.float32).astype(np.float64)


def draw(
    random: np.random.Generator,
    space: Space,
    sizes: Sizes,
    between: tuple[float, float] = SIGNED,
) -> Value:
    """An element of a space; class indices are in their range.

    The entries of a large array are smaller, so that sums over it leave psi where it is curved.
    """
    if isinstance(space, Product):
        return tuple(draw(random, factor, sizes, between) for factor in space.factors)
    assert isinstance(space, (Real, Indices))
    if isinstance(space, Indices):
        return random.integers(0, int(space.bound.subs(sizes)), shape_of(space, sizes))
    share = 2.0 ** -round(log2(max(1.0, extent(_own(space), sizes) / MANY)) / 4)
    return share * uniform(random, shape_of(space, sizes), between)


def _own(space: Real) -> sympy.Expr:
    """The number of entries that one point of a batch has."""
    return sympy.Mul(*(size for size in space.shape if size != BATCH))


def grams_of(layer: Layer) -> dict[Gram, sympy.Expr]:
    """The Gram matrices of a layer's spaces, not inverted, with the extent of their axis."""
    spaces = [*(argument.variable.space for argument in layer.arguments), layer.output.space]
    real = [leaf for space in spaces for leaf in leaves(space) if isinstance(leaf, Real)]
    pairs = [pair for leaf in real for pair in zip(leaf.grams, leaf.shape, strict=True)]
    return {(g.inverse if g.inverted else g): extent for g, extent in pairs if g is not None}


def gram_values(random: np.random.Generator, layer: Layer, sizes: Sizes) -> dict[Variable, Value]:
    """G = L L^T and its inverse for a unit lower triangular L of whole numbers: both are exact."""
    values: dict[Variable, Value] = {}
    for gram, axis in grams_of(layer).items():
        order = int(axis.subs(sizes))
        lower = np.eye(order) + np.tril(random.integers(-1, 2, (order, order)), -1)
        inverse = np.rint(np.linalg.inv(lower))
        for side, matrix in ((gram, lower @ lower.T), (gram.inverse, inverse.T @ inverse)):
            name = gram_variable(side, axis)
            assert isinstance(name, Variable)
            values[name] = matrix
    return values


# --- kinks


def kink_values(output: Node, point: Point) -> list[Array]:
    """What vanishes at a kink: the kinks of every psi, and for each argmax largest minus second."""
    nodes = topological(output)
    found = dict(zip(nodes, values_of(nodes, point.values, point.sizes), strict=True))
    kinks = _Kinks(found, point.sizes)
    return [kink for node in nodes for kink in kinks(node)]


class _Kinks(Reading[list[Array]]):
    """What vanishes at the kinks of a node, from the values of all."""

    def __init__(self, found: Mapping[Node, Value], sizes: Sizes) -> None:
        self.found, self.sizes = found, sizes

    def elementwise(self, node: Elementwise) -> list[Array]:
        psi, at = node.operation, [self.found[z] for z in node.arguments]
        values = dict(zip(psi.arguments, at, strict=True))
        return [np.asarray(evaluate(kink, values, Arrays())) for kink in psi.kinks]

    def argmax(self, node: Argmax) -> list[Array]:
        return [_gap(node, self.found[node.operand], self.sizes)]

    def _none(self, node: Node) -> list[Array]:
        return []

    variable = constant = linear_combination = contraction = running_sum = _none
    tuple_ = projection = held = potential = jet = _none


def _gap(node: Argmax, operand: Array, sizes: Sizes) -> Array:
    """The largest entry of each window minus the second, infinite for a window of one entry."""
    form, to = node.form, (*node.form.slots[1], *node.summed)
    window = make_form([form.slots[0], to], dict(form.extents))
    x = variable("x", node.operand.space)
    space = R(*(form.extent(entry) for entry in to))
    read = contraction(space, window, 1, (x,))
    entries, inside = (
        values_of([read], {x: a}, sizes)[0] for a in (operand, np.ones_like(operand))
    )
    shape = (*entries.shape[: len(form.slots[1])], prod(entries.shape[len(form.slots[1]) :]))
    best = np.sort(np.where(inside > 0, entries, -np.inf).reshape(shape), axis=-1)
    if best.shape[-1] == 1:
        return np.full(best.shape[:-1], np.inf)
    with np.errstate(invalid="ignore"):
        return np.asarray(best[..., -1] - best[..., -2])


def sides(output: Node, point: Point) -> list[Array]:
    """On which side of every kink a point lies, and which entry each argmax takes."""
    picks = [node for node in topological(output) if isinstance(node, Argmax)]
    return [
        *map(np.sign, kink_values(output, point)),
        *values_of(picks, point.values, point.sizes),
    ]


def same_side(output: Node, one: Point, other: Point) -> bool:
    """No kink lies between two near points."""
    pairs = zip(sides(output, one), sides(output, other), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


# --- points


def points(
    layer: Layer, sizes: Sizes, random: np.random.Generator, *ranges: Range
) -> Iterator[Point]:
    """Points of a layer, one after the other; each argument is in one of the ranges."""
    for _ in count():
        values = gram_values(random, layer, sizes)
        for argument in layer.arguments:
            x = argument.variable
            between = ranges[random.integers(len(ranges))] if len(ranges) > 1 else ranges[0]
            values[x] = draw(random, x.space, sizes, between)
            if argument.role == MASK:
                values[x] = (np.asarray(values[x]) > 0).astype(np.float64)
        yield Point(dict(sizes), values)


def point_of(
    layer: Layer, sizes: Sizes, random: np.random.Generator, margin: float = MARGIN
) -> Point:
    """A finite point away from kinks, where psi' and psi'' are moderate if there is such a point.

    Points of both signs come first, then points with positive entries only, as log and sqrt need
    them, then others: all arguments in one range farther from 0, and each in a range of its own.
    Raises NoPoint where all of them are at a kink or not finite.
    """

    def tried(count: int, *ranges: Range) -> Iterator[tuple[float, Point]]:
        for drawn in islice(points(layer, sizes, random, *ranges), count):
            point, near = _moved_away(layer, drawn, random, ranges, margin)
            yield wildness(layer.output, point, near), point

    near_zero = [tried(ATTEMPTS, between) for between in (SIGNED, POSITIVE)]
    farther = [tried(FEW, between) for between in FARTHER]
    for trials in (near_zero, farther, [tried(4 * ATTEMPTS, SIGNED, POSITIVE, *NEARER)]):
        least, point = _tamest(chain.from_iterable(trials))
        if np.isfinite(least):
            return point
    raise NoPoint(f"layer {layer.name}: no point found that is finite and away from kinks")


def _tamest(trials: Iterable[tuple[float, Point]]) -> tuple[float, Point]:
    """The first that is tame, else the tamest."""
    seen = []
    for trial in trials:
        seen.append(trial)
        if trial[0] <= TAME:
            return trial
    return min(seen, key=lambda trial: trial[0])


def _moved_away(
    layer: Layer,
    point: Point,
    random: np.random.Generator,
    ranges: Sequence[Range],
    margin: float,
) -> tuple[Point, float]:
    """The point with those of its rows drawn again that are at a kink, and the margin it keeps.

    Where a row has many kinks, as an image behind a convolution has, it can't be far from all: the
    margin is halved as long as rows have to be drawn again.
    """
    rows = point.sizes.get(BATCH, 1)
    count = sum(kink.size for kink in kink_values(layer.output, point)) / max(rows, 1)
    near = max(min(margin, NEAR / max(count, 1)), ROUNDING)
    for fresh in islice(points(layer, point.sizes, random, *ranges), ATTEMPTS // 4):
        at = _rows_at_kinks(layer, point, near)
        if not at.any():
            break
        near = max(near / 2, ROUNDING)
        if BATCH not in point.sizes:
            point = fresh
        for x in point.values:
            if all(leaf.shape[:1] == (BATCH,) for leaf in leaves(x.space)):
                point.values[x] = _with_rows(point, fresh, x, at)
    return point, near


def _rows_at_kinks(layer: Layer, point: Point, margin: float) -> Array:
    """Which rows of a batch are nearer to a kink than the margin; a point is one row."""
    rows, kinks = point.sizes.get(BATCH, 0), near_kinks(layer.output, point, margin)
    if BATCH not in point.sizes:
        return np.array([any(kink.any() for kink in kinks)])
    at = np.zeros(rows, dtype=bool)
    for kink in kinks:
        if kink.ndim and kink.shape[0] == rows:
            at |= kink.any(axis=tuple(range(1, kink.ndim)))
    return at


def _with_rows(point: Point, fresh: Point, x: Variable, at: Array) -> Value:
    old, new = (flat_arrays(p.values[x]) for p in (point, fresh))
    every = [
        np.where(at.reshape(-1, *[1] * (a.ndim - 1)), b, a) for a, b in zip(old, new, strict=True)
    ]
    return tuple(every) if isinstance(x.space, Product) else every[0]


def near_kinks(output: Node, point: Point, margin: float) -> list[Array]:
    """Where kinks are nearer than the margin.

    What vanishes there and still does beside is none: the entries of a window that are all zero
    behind a ReLU are equal, whatever happens to them.
    """
    here = kink_values(output, point)
    if not any((kink == 0).any() for kink in here):
        return [abs(kink) < margin for kink in here]
    beside = Point(point.sizes, {x: _shaken(x.space, v) for x, v in point.values.items()})
    pairs = zip(here, kink_values(output, beside), strict=True)
    return [(abs(a) < margin) & ((a != 0) | (b != 0)) for a, b in pairs]


def _shaken(space: Space, value: Value) -> Value:
    """Every number moved a little, each by another share of itself."""
    if isinstance(space, Product):
        return tuple(_shaken(part, v) for part, v in zip(space.factors, value, strict=True))
    array = np.asarray(value)
    if array.dtype.kind != "f":
        return value
    return array * (1 + SHAKE * np.cos(np.arange(array.size)).reshape(array.shape))


def wildness(output: Node, point: Point, margin: float) -> float:
    """The largest |psi'| and |psi''| on the way; infinite at a kink or where there is no value."""
    if any(near.any() for near in near_kinks(output, point, margin)):
        return np.inf
    nodes = [node for node in topological(output) if isinstance(node, Elementwise)]
    found = dict(zip(nodes, _arguments(nodes, point), strict=True))
    slopes = (psi(*z) for node, z in found.items() for psi in _derivatives(node.operation))
    (value,) = values_of([output], point.values, point.sizes)
    if not all(np.isfinite(array).all() for array in flat_arrays(value)):
        return np.inf
    return max((_largest(array) for array in slopes), default=0.0)


def _largest(array: Array) -> float:
    """The largest absolute value, infinite where one is none."""
    largest = float(np.max(abs(array), initial=0.0))
    return largest if np.isfinite(largest) else np.inf


def _arguments(nodes: Sequence[Elementwise], point: Point) -> Iterator[list[Array]]:
    values = iter(
        values_of([z for node in nodes for z in node.arguments], point.values, point.sizes)
    )
    return ([next(values) for _ in node.arguments] for node in nodes)


def _derivatives(psi: Operation) -> Iterator[Operation]:
    """The first and second derivatives."""
    for k in range(len(psi.arguments)):
        first = psi.derivative(k)
        yield first
        yield from (first.derivative(m) for m in range(len(psi.arguments)))


def zero_point(layer: Layer, point: Point, arguments: Mapping[Variable, Value]) -> Point | None:
    """The point with these arguments zero, where all is equal.

    None where a value is not finite, and where a kink is neither met exactly (a tie, ReLU at 0) nor
    away: the side is an accident of rounding then.
    """
    zeros = {x: _zero(arguments[x]) for x in arguments}
    there = Point(point.sizes, {**point.values, **zeros})
    kinks = kink_values(layer.output, there)
    (value,) = values_of([layer.output], there.values, there.sizes)
    finite = all(np.isfinite(a).all() for a in flat_arrays(value))
    exact = all(((kink == 0) | (abs(kink) >= ROUNDING_MARGIN)).all() for kink in kinks)
    return there if finite and exact else None


def _zero(value: Value) -> Value:
    return tuple(map(_zero, value)) if isinstance(value, tuple) else np.zeros_like(value)
