"""Points at the edge of a layer, and the values of its formula there, to hundreds of digits.

zero             states and parameters are zero
whole numbers    states are 0, 1, -1 and the numbers at which conditions hold with equality,
                 parameters are 0, 1, -1
far out          states are about 30, and about 800, of both signs: exp(x) overflows

The formula is evaluated by the plain bodies of its operations.  A derivative is a difference
quotient of values, from the right and from the left; it exists where the two agree.  The calculus
is not used.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import mpmath as mp
import numpy as np
import sympy
from sympy.core.relational import Relational

from ...calculus.maps import LinearMap
from ...language.expressions import Elementwise, Node, Variable
from ...language.reference import Array, Sizes, Value, shape_of, values_of
from ...language.roles import MASK, PARAMETER, STATE
from ...language.spaces import Indices, Product, Real, Space
from ...language.walk import topological
from ...models.layers import Layer

DIGITS = 400  # 1 + erf(-38) loses 330 of them
STEP = mp.mpf(10) ** -40  # of a difference quotient
SAME = mp.mpf(10) ** -12  # gap of two that agree: above STEP^(1/3), that of x |x|^(1/3) at 0
FINER = mp.mpf(10) ** -10  # factor for a smaller step, by which a gap due to the step shrinks
NUDGE = mp.mpf(10) ** -40
FAR = (30.0, 800.0)
Values = Mapping[Variable, Value]


@dataclass(frozen=True)
class EdgePoint:
    """Values of a layer's arguments, all of them numbers of float32."""

    label: str
    sizes: Sizes
    values: Values


def edge_points(layer: Layer, sizes: Sizes, seed: int = 0) -> Iterator[EdgePoint]:
    """The points at the edge of a layer at some sizes."""
    random, moderate = np.random.default_rng(seed), Entries(0.25, 1.25)
    yield EdgePoint("zero", sizes, _values(layer, sizes, random, Numbers((0.0,)), Numbers((0.0,))))
    numbers = special_numbers(layer.output)
    for first in range(len(numbers)):
        states, units = Numbers(numbers, first), Numbers((1.0, -1.0, 0.0), first)
        values = _values(layer, sizes, random, states, units)
        yield EdgePoint("whole numbers", sizes, values)
    for far in FAR:
        values = _values(layer, sizes, random, Entries(0.9 * far, far, True), moderate)
        yield EdgePoint(f"some {far:g}", sizes, values)


@dataclass(frozen=True)
class Numbers:
    """A source that cycles through these numbers, from one of them on."""

    numbers: tuple[float, ...]
    first: int = 0

    def __call__(self, random: np.random.Generator, count: int) -> Array:
        return np.resize(np.roll(self.numbers, -self.first), count)


@dataclass(frozen=True)
class Entries:
    """A source of random float32 numbers between two bounds, with alternating signs if wanted."""

    least: float
    most: float
    alternating: bool = False

    def __call__(self, random: np.random.Generator, count: int) -> Array:
        drawn = random.uniform(self.least, self.most, count).astype(np.float32).astype(np.float64)
        return drawn * (-1.0) ** np.arange(count) if self.alternating else drawn


Source = Numbers | Entries


def _values(
    layer: Layer, sizes: Sizes, random: np.random.Generator, states: Source, parameters: Source
) -> Values:
    """States and parameters from their sources, masks of 0 and 1, others moderate and positive."""
    values: dict[Variable, Value] = {}
    for argument in layer.arguments:
        x, source = argument.variable, Entries(0.25, 1.25)
        by_role = {STATE: states, PARAMETER: parameters, MASK: Numbers((1.0, 0.0))}
        values[x] = _chosen(random, x.space, sizes, by_role.get(argument.role, source))
    return {**values, **_grams(layer, sizes)}


def special_numbers(output: Node) -> tuple[float, ...]:
    """0, 1, -1, and the numbers at which a condition of an operation holds with equality."""
    found = {sympy.S.Zero, sympy.S.One, sympy.S.NegativeOne}
    nodes = (node for node in topological(output) if isinstance(node, Elementwise))
    for condition in (c for node in nodes for c in node.operation.body.atoms(Relational)):
        difference = condition.lhs - condition.rhs
        symbols = sorted(difference.free_symbols, key=str)
        if len(symbols) == 1 and difference.is_polynomial(*symbols):
            found.update(root for root in sympy.roots(difference, *symbols) if root.is_real)
    return tuple(sorted({float(np.float32(float(number))) for number in found}))


def _chosen(random: np.random.Generator, space: Space, sizes: Sizes, source: Source) -> Value:
    if isinstance(space, Product):
        return tuple(_chosen(random, factor, sizes, source) for factor in space.factors)
    assert isinstance(space, (Real, Indices))
    shape = shape_of(space, sizes)
    if isinstance(space, Indices):
        return random.integers(0, int(space.bound.subs(sizes)), shape)
    return source(random, int(np.prod(shape))).reshape(shape)


def _grams(layer: Layer, sizes: Sizes) -> dict[Variable, Value]:
    """Every Gram matrix is the identity."""
    own = {argument.variable for argument in layer.arguments}
    free = (x for x in topological(layer.output) if isinstance(x, Variable) and x not in own)
    return {x: np.eye(shape_of(x.space, sizes)[0]) for x in free}  # type: ignore[arg-type]


# --- exact values


def exactly(
    nodes: Sequence[Node], values: Values, sizes: Sizes, digits: int = DIGITS
) -> list[Array]:
    """All entries of each expression in multiple precision; NaN where a formula has no value."""
    with mp.workdps(digits), np.errstate(all="ignore"):
        found = values_of(nodes, {x: _exact(x.space, v) for x, v in values.items()}, sizes)
        return [_flat(value) for value in found]


def _exact(space: Space, value: Value) -> Value:
    if isinstance(space, Product):
        return tuple(_exact(s, v) for s, v in zip(space.factors, value, strict=True))
    if isinstance(space, Indices):
        return value
    return np.asarray(np.frompyfunc(mp.mpmathify, 1, 1)(np.asarray(value)), dtype=object)


def _flat(value: Value) -> Array:
    parts = value if isinstance(value, tuple) else (value,)
    return np.concatenate([np.asarray(part, dtype=object).ravel() for part in parts])


def moved(space: Space, value: Value, h: Any, v: Value) -> Value:
    """x + h v."""
    if isinstance(space, Product):
        rows = zip(space.factors, value, v, strict=True)
        return tuple(moved(s, a, h, b) for s, a, b in rows)
    here, direction = _exact(space, value), _exact(space, v)
    return here + h * direction


@dataclass(frozen=True)
class Local:
    """The entries of an expression and of its derivative along a direction, NaN if there is none.

    The derivative is a difference quotient; where those of the two sides differ, there is none.
    """

    value: Array
    slope: Array


def local(node: Node, values: Values, sizes: Sizes, along: Values, step: Any = STEP) -> Local:
    """Evaluate an expression and its derivative at a point."""
    with mp.workdps(DIGITS):
        there = [
            {**values, **{x: moved(x.space, values[x], h, v) for x, v in along.items()}}
            for h in (-step, step)
        ]
        left, here, right = (
            exactly([node], point, sizes)[0] for point in (there[0], values, there[1])
        )
        one, other = (here - left) / step, (right - here) / step
        near = [abs(a - b) <= SAME * (1 + abs(a)) for a, b in zip(one, other, strict=True)]
        return Local(here, np.asarray(np.where(near, (one + other) / 2, mp.nan), dtype=object))


def nudged(values: Values) -> Values:
    """The point with every number changed by the factor 1 + NUDGE or 1 - NUDGE."""
    random = np.random.default_rng(0)
    with mp.workdps(DIGITS):
        return {x: _nudged(random, x.space, v) for x, v in values.items()}


def sensitivity(here: Sequence[Any], there: Sequence[Any]) -> float:
    """The difference of entries between a point and the nudged one, divided by NUDGE.

    Only of the entries that are compared: others, which may be far larger, allow no error here.
    """
    with mp.workdps(DIGITS):
        moves = [abs(a - b) / NUDGE for a, b in zip(there, here, strict=True)]
        return float(max((m for m in moves if mp.isfinite(m)), default=mp.mpf(0)))


def _nudged(random: np.random.Generator, space: Space, value: Value) -> Value:
    if isinstance(space, Product):
        return tuple(_nudged(random, s, v) for s, v in zip(space.factors, value, strict=True))
    if isinstance(space, Indices):
        return value
    exact = _exact(space, value)
    return exact * (1 + NUDGE * random.choice([-1, 1], exact.shape))


def differing(layer: Layer, x: Variable, sizes: Sizes, seed: int = 0) -> int | None:
    """A component in which D by x differs from the difference quotient at an edge, if there is one.

    It differs if the gap does not shrink with a finer step, or if it is not a number although the
    quotient is one.  Points without a quotient are skipped.
    """
    derived, random = layer.derivative(x.name), np.random.default_rng(seed)
    for point in edge_points(layer, sizes, seed):
        v = _chosen(random, x.space, sizes, Entries(0.25, 1.25, alternating=True))
        found = _derived_at(derived, {**point.values, derived.variable: v}, sizes)
        gaps = _gaps(layer, point, {x: v}, found, STEP)
        if any(gap > SAME for gap in gaps):
            finer = _gaps(layer, point, {x: v}, found, STEP * FINER)
            pairs = enumerate(zip(gaps, finer, strict=True))
            place = next((k for k, (a, b) in pairs if a > SAME and b >= a / 2), None)
            if place is not None:
                return place
    return None


def _derived_at(derived: LinearMap, values: Values, sizes: Sizes) -> Array:
    """Its entries, exactly; where the plain formula has no value, those of the stable form.

    An example is the norm at zero: only in the stable form is its derivative 0 there.
    """
    (found,) = exactly([derived.body], values, sizes)
    if not all(mp.isfinite(entry) for entry in found):
        with np.errstate(all="ignore"):
            computed = _flat(values_of([derived.body], values, sizes)[0])
        pairs = zip(found, computed, strict=True)
        found = np.asarray([a if mp.isfinite(a) else mp.mpf(float(b)) for a, b in pairs], object)
    return found


def _gaps(layer: Layer, point: EdgePoint, along: Values, found: Array, step: Any) -> list[Any]:
    """The relative gap between a derivative and the quotient; 0 where there is no quotient."""
    expected = local(layer.output, point.values, point.sizes, along, step).slope
    with mp.workdps(DIGITS):
        return [_gap(a, b) for a, b in zip(found, expected, strict=True)]


def _gap(found: Any, expected: Any) -> Any:
    if not mp.isfinite(expected):
        return mp.mpf(0)
    return abs(found - expected) / (1 + abs(expected)) if mp.isfinite(found) else mp.inf
