"""Points at which a layer is checked: finite, away from kinks, with moderate derivatives."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, count, islice

import numpy as np

from ...language.expressions import Elementwise, Node, Variable
from ...language.reference import Array, Sizes, Value, flat_arrays, values_of
from ...language.roles import MASK
from ...language.scalars.operations import Operation
from ...language.spaces import Product, leaves
from ...language.walk import topological
from ...models.layers import Layer
from ...models.programs import BATCH
from .drawing import SIGNED, NoPoint, Point, draw, gram_values
from .kinks import kink_values, near_kinks

MARGIN = 0.05  # from a kink, for steps of up to 1e-2 along a direction
ROUNDING_MARGIN = 2e-3  # from a kink, for roundings in float32, which are some 1e-5
TAME = 100.0  # bound on psi' and psi'', so that third derivatives do not explain an error
POSITIVE = (0.25, 1.25)
FARTHER = (
    (-1.25, -0.25),
    *((min(a, 2 * a), max(a, 2 * a)) for k in range(21) for a in (2.0**k, -(2.0**k))),
)  # up to a million, of both signs: log(x - 2), sqrt(log(x)), log(-x) are real somewhere
NEARER = FARTHER[:9]
ATTEMPTS = 40
FEW = 4
NEAR = 1.0  # divided by the number of kinks: a third of all rows is that far from each
ROUNDING = 2e-5  # the smallest margin, for the rounding of sums in float32
Range = tuple[float, float]


def points(
    layer: Layer, sizes: Sizes, random: np.random.Generator, *ranges: Range
) -> Iterator[Point]:
    """Random points of a layer, without end; each argument has its entries in one of the ranges."""
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
    """A point where the layer is finite, away from kinks, with moderate psi' and psi'' if possible.

    Points of both signs come first, then points with positive entries only, as log and sqrt need
    them, then others: all arguments in one range farther from 0, and each in a range of its own.
    Raises NoPoint if all of them are at a kink or not finite.
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
    """The first point with moderate derivatives, else that with the smallest."""
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
    """The point with its rows at kinks drawn again, and the margin that it keeps.

    A row with many kinks, such as an image after a convolution, cannot be far from all of them, so
    the margin is halved as long as rows have to be drawn again.
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
    """Which rows of a batch are nearer to a kink than the margin; a single point is one row."""
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


def wildness(output: Node, point: Point, margin: float) -> float:
    """The largest |psi'| and |psi''| of all operations; infinite at a kink or without a value."""
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
    """The largest absolute value, infinite if one is not finite."""
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
    """The point with these arguments zero, where entries tie.

    None if a value is not finite, or if a kink is neither hit exactly (a tie, ReLU at 0) nor away,
    since rounding then decides the side.
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
