"""The cases that kernels are run on: arguments at a point, and the reference's results there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod

import numpy as np
import sympy

from ...language.expressions import Contraction, Variable
from ...language.reference import Array, Sizes, Value, extent
from ...language.roles import MASK
from ...language.spaces import Indices, Product, Real, Space, leaves
from ...language.walk import storage, topological
from ...models.layers import Layer
from ...models.programs import BATCH, Program
from .drawing import Point, draw, equal_sizes, unequal_sizes
from .rounding import operations, values_and_bounds
from .sampling import ROUNDING_MARGIN, point_of, zero_point

WORK = 10**6  # products in one contraction, which the reference holds in one array


@dataclass(frozen=True)
class Expected:
    """One array of a result, computed by the reference.

    bound         the rounding error that is allowed, in units of eps
    operations    how many additions may go into one entry
    """

    result: str
    name: str
    value: Array
    bound: float
    operations: int
    batched: bool


@dataclass(frozen=True, eq=False)
class Case:
    """Values of the arguments of all kernels, and the results expected of each program."""

    label: str
    sizes: Sizes
    values: Mapping[Variable, Value]
    expected: Mapping[str, list[Expected]]
    batched: bool = True

    @property
    def given_sizes(self) -> dict[str, int]:
        """Sizes by name; that of the batch only if arguments and results have its axis."""
        return {
            name: k for name, k in self.named_sizes.items() if self.batched or name != BATCH.name
        }

    @property
    def named_sizes(self) -> dict[str, int]:
        """Sizes by name."""
        return {str(size): number for size, number in self.sizes.items()}


def row_of(space: Space, value: Value, s: int) -> Value:
    """One sample of a batch; a value whose space has no batch axis is returned unchanged."""
    if isinstance(space, Product):
        return tuple(row_of(f, v, s) for f, v in zip(space.factors, value, strict=True))
    assert isinstance(space, (Real, Indices))
    return value[s] if space.shape[:1] == (BATCH,) else value


def _as_batch(space: Space, value: Value) -> Value:
    """A batch of one sample."""
    if isinstance(space, Product):
        return tuple(_as_batch(f, v) for f, v in zip(space.factors, value, strict=True))
    assert isinstance(space, (Real, Indices))
    return np.asarray(value)[None] if space.shape[:1] == (BATCH,) else value


def _with_nan(value: Value) -> Value:
    if isinstance(value, tuple):
        return (_with_nan(value[0]), *value[1:])
    array = np.array(value)
    last = array[:-1, ..., -1] if array.ndim > 1 else array[-1:] if array.ndim else array
    last[...] = np.nan
    return array


class Cases:
    """The cases of a layer and programs of it, drawn with one seed."""

    def __init__(self, layer: Layer, made: Sequence[Program], seed: int) -> None:
        self.layer, self.batched, self.programs = layer, layer.batched(BATCH), made
        self.random = np.random.default_rng(seed)

    @cached_property
    def four(self) -> Case:
        """A batch of 4 at unequal sizes from 3 on, away from kinks."""
        return self._drawn("batch 4", unequal_sizes(self.layer), 4)

    @cached_property
    def one(self) -> Case:
        """A batch of 1."""
        return self._drawn("batch 1", unequal_sizes(self.layer), 1)

    @cached_property
    def small(self) -> list[Case]:
        """An empty batch, and sizes 1 where every extent allows them."""
        ones = equal_sizes(self.layer, 1)
        cases = [self._drawn("batch 0", unequal_sizes(self.layer), 0)]
        return cases + ([self._drawn("sizes 1", ones, 2)] if ones else [])

    @cached_property
    def large(self) -> Case:
        """Sizes larger than a vector register, or the largest that the reference can handle."""
        for first, batch in ((17, 18), (9, 6)):
            sizes = unequal_sizes(self.layer, first)
            if self._work({BATCH: batch, **sizes}) <= WORK:
                return self._drawn("large sizes", sizes, batch)
        return self._drawn("larger sizes", unequal_sizes(self.layer, 5), 2)

    def _work(self, sizes: Sizes) -> int:
        """The number of products in the longest contraction."""
        roots = (r.node for program in self.programs for r in program.results)
        sums = [node for node in topological(*roots) if isinstance(node, Contraction)]
        grids = ([extent(size, sizes) for _, size in node.form.extents] for node in sums)
        return max((prod(grid) for grid in grids), default=0)

    @cached_property
    def zero(self) -> list[Case]:
        """States and parameters zero, if all is finite there: ties, and psi exactly at a kink."""
        own = {x: self.one.values[x] for x in self.batched.differentiable}
        point = zero_point(self.batched, Point(dict(self.one.sizes), dict(self.one.values)), own)
        if point is None:
            return []
        case = self._at("at zero", point)
        results = [e.value for group in case.expected.values() for e in group]
        return [case] if all(np.isfinite(value).all() for value in results) else []

    @cached_property
    def nans(self) -> list[Case]:
        """NaN in the last entries of one argument after another, in all samples but one."""
        found, four = [], self.four
        for x in self._arguments():
            whole = any(isinstance(leaf, Indices) for leaf in leaves(x.space))
            if not whole and x not in self.batched.of_role(MASK):  # the edge refuses NaN in a mask
                values = {**four.values, x: _with_nan(four.values[x])}
                found.append(self._at(f"NaN in {x.name}", Point(dict(four.sizes), values)))
        return found

    @cached_property
    def rows(self) -> list[Case]:
        """The samples of the batch of 4, each by itself and without the batch axis."""
        return [self._row(s) for s in range(4)]

    def _row(self, s: int) -> Case:
        four = self.four
        rows = {x: row_of(x.space, value, s) for x, value in four.values.items()}
        batch = {x: _as_batch(x.space, value) for x, value in rows.items()}
        alone = self._at(f"row {s}", Point({**four.sizes, BATCH: 1}, batch))
        expected = {
            program: [replace(e, value=e.value[0]) if e.batched else e for e in results]
            for program, results in alone.expected.items()
        }
        return replace(alone, values=rows, expected=expected, batched=False)

    def _arguments(self) -> list[Variable]:
        found = (a.variable for program in self.programs for a in program.arguments)
        return list(dict.fromkeys(found))

    def _drawn(self, label: str, sizes: Mapping[sympy.Symbol, int], batch: int) -> Case:
        """The layer's arguments at a point, and random tangents and cotangents."""
        point = point_of(self.batched, {BATCH: batch, **sizes}, self.random, ROUNDING_MARGIN)
        for x in self._arguments():
            if x not in point.values:
                point.values[x] = draw(self.random, x.space, point.sizes)
        return self._at(label, point)

    def _at(self, label: str, point: Point) -> Case:
        """Evaluate all results at once, so that they share subexpressions."""
        arrays = [
            (p.name, r, node) for p in self.programs for r in p.results for node in storage(r.node)
        ]
        pairs = values_and_bounds([node for *_, node in arrays], point.values, point.sizes)
        expected: dict[str, list[Expected]] = {program.name: [] for program in self.programs}
        for (program, result, node), (value, bound) in zip(arrays, pairs, strict=True):
            number = sum(e.result == result.name for e in expected[program])
            name = result.name if len(storage(result.node)) == 1 else f"{result.name}_{number}"
            count = operations(node, point.sizes)
            largest = float(np.max(bound, initial=0.0))
            expected[program].append(
                Expected(result.name, name, np.asarray(value), largest, count, result.batched)
            )
        return Case(label, point.sizes, point.values, expected)
