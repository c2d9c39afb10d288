"""Where a formula has kinks: which numbers vanish there, and on which side of them a point lies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import numpy as np

from ...language.expressions import Argmax, Elementwise, Node, contraction, variable
from ...language.forms import make_form
from ...language.reading import Reading
from ...language.reference import Array, Sizes, Value, values_of
from ...language.scalars.algebras import Arrays
from ...language.scalars.fold import evaluate
from ...language.spaces import Product, R, Space
from ...language.walk import topological
from .drawing import Point

SHAKE = 1e-6


@dataclass(frozen=True)
class Kink:
    """Kinks of one node: numbers that vanish there, and what tells their sides apart."""

    gap: Array
    side: tuple[Array, ...]


def kink_values(output: Node, point: Point) -> list[Array]:
    """What vanishes at a kink: the kinks of every psi, the largest minus second of each argmax."""
    return [kink.gap for kink in kinks_of(output, point)]


def sides(output: Node, point: Point) -> list[Array]:
    """On which side of every kink a point lies, and which entry each argmax takes."""
    return [side for kink in kinks_of(output, point) for side in kink.side]


def kinks_of(output: Node, point: Point) -> list[Kink]:
    """The kinks of all nodes, evaluated at a point."""
    nodes = topological(output)
    found = dict(zip(nodes, values_of(nodes, point.values, point.sizes), strict=True))
    kinks = _Kinks(found, point.sizes)
    return [kink for node in nodes for kink in kinks(node)]


class _Kinks(Reading[list[Kink]]):
    """The kinks of a node, from the values of all nodes."""

    def __init__(self, found: Mapping[Node, Value], sizes: Sizes) -> None:
        self.found, self.sizes = found, sizes

    def elementwise(self, node: Elementwise) -> list[Kink]:
        psi, at = node.operation, [self.found[z] for z in node.arguments]
        values = dict(zip(psi.arguments, at, strict=True))
        gaps = [np.asarray(evaluate(kink, values, Arrays())) for kink in psi.kinks]
        return [Kink(gap, (np.sign(gap),)) for gap in gaps]

    def argmax(self, node: Argmax) -> list[Kink]:
        gap = _gap(node, self.found[node.operand], self.sizes)
        return [Kink(gap, (np.sign(gap), self.found[node]))]

    def _none(self, node: Node) -> list[Kink]:
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


def same_side(output: Node, one: Point, other: Point) -> bool:
    """Whether no kink lies between two nearby points."""
    pairs = zip(sides(output, one), sides(output, other), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


def near_kinks(output: Node, point: Point, margin: float) -> list[Array]:
    """Where kinks are nearer than the margin.

    A number that vanishes here and also nearby is not counted: entries of a window that are all
    zero after a ReLU are equal, however the arguments are moved.
    """
    here = kink_values(output, point)
    if not any((kink == 0).any() for kink in here):
        return [abs(kink) < margin for kink in here]
    beside = Point(point.sizes, {x: _shaken(x.space, v) for x, v in point.values.items()})
    pairs = zip(here, kink_values(output, beside), strict=True)
    return [(abs(a) < margin) & ((a != 0) | (b != 0)) for a, b in pairs]


def _shaken(space: Space, value: Value) -> Value:
    """Every number moved slightly, each by a different share of itself."""
    if isinstance(space, Product):
        return tuple(_shaken(part, v) for part, v in zip(space.factors, value, strict=True))
    array = np.asarray(value)
    if array.dtype.kind != "f":
        return value
    return array * (1 + SHAKE * np.cos(np.arange(array.size)).reshape(array.shape))
