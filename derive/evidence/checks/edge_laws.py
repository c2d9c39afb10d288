"""A layer at its edges: where inputs are zero, where conditions hold with equality, and far out.

edges    values, tangents and gradients are those of the formula at 400 digits; a second derivative
         far out is a number

Arguments and directions are of order one or larger, and errors are relative to such numbers: a loss
of 1e-14 beside logits of 30 may be off by eps.  Only entries whose formula has a value are
compared, and only derivatives that are the same from both sides, each within the range of the
precision.  The value at any other point is a convention; docs/edges.md states it, and other tests
check it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import mpmath as mp
import numpy as np

from ...language.expressions import Variable
from ...language.reference import Array, Value, shape_of, values_of
from ...language.roles import Argument
from ...language.spaces import Real
from ...models.layers import Layer
from ...models.programs import BATCH, COTANGENT, TANGENT, Program
from ..proofs.edge_points import EdgePoint, Local, edge_points, local, nudged, sensitivity
from ..proofs.proof import small_sizes
from .drawing import draw
from .findings import Finding, vector
from .rounding import operations

Values = dict[Variable, Value]
Run = Callable[[Program, Values], list[Array]]
SHARE = 8  # eps allowed to one operation: a function has 4 ulp, and both sides are computed
ROOM = 2.0**-20  # share of the largest number above which intermediate results may overflow


class EdgeLaws:
    """The programs of one layer at its edges, by the reference and by kernels, if any."""

    def __init__(
        self, layer: Layer, made: Sequence[Program], kernels: Any = None, seed: int = 0
    ) -> None:
        self.layer, self.batched = layer, layer.batched(BATCH)
        self.programs = {program.name: program for program in made}
        self.kernels, self.seed = kernels, seed
        self.random = np.random.default_rng(seed)

    def findings(self) -> Iterator[Finding]:
        """The findings at every point."""
        if "tangent" in self.programs:
            for point in edge_points(self.batched, self._sizes, self.seed):
                yield from AtPoint(self, point).findings()

    @cached_property
    def _sizes(self) -> dict[Any, int]:
        return {BATCH: 1, **small_sizes(self.layer)[0]}

    @cached_property
    def runs(self) -> list[tuple[type, Run]]:
        """The ways to compute results: the reference, or the kernels in both precisions."""
        if self.kernels is None:
            return [(np.float64, self._by_reference)]
        return [(d, lambda p, v, d=d: self._by_kernel(p, v, d)) for d in (np.float64, np.float32)]  # type: ignore[misc]

    def _by_reference(self, program: Program, values: Values) -> list[Array]:
        with np.errstate(all="ignore"):
            found = values_of([r.node for r in program.results], values, self._sizes)
        return [vector(value) for value in found]

    def _by_kernel(self, program: Program, values: Values, dtype: type) -> list[Array]:
        kernel, more = getattr(self.kernels, program.name), {}
        sizes = {str(size): count for size, count in self._sizes.items()}
        if kernel.declaration.saved_role == "read":
            forward = self.programs["forward"]
            writer = self.kernels.forward
            more["saved"] = np.full(writer.saved_size(**sizes), np.nan, dtype)
            _called(writer, forward, values, dtype, sizes, more)
        found = _called(kernel, program, values, dtype, sizes, more)
        return [vector(v) for v in (found if len(program.results) > 1 else (found,))]


def _called(
    kernel: Any,
    program: Program,
    values: Values,
    dtype: type,
    sizes: Mapping[str, int],
    more: Mapping[str, Any],
) -> Any:
    given = [_as(values[a.variable], dtype) for a in program.arguments]
    asked = {name: sizes[name] for name in kernel.declaration.asked}
    return kernel(*given, **more, **asked)


def _as(value: Value, dtype: type) -> Value:
    if isinstance(value, tuple):
        return tuple(_as(part, dtype) for part in value)
    array = np.asarray(value)
    return array if array.dtype.kind in "iu" else array.astype(dtype)


class AtPoint:
    """The exact values at one point, and the findings against them."""

    def __init__(self, laws: EdgeLaws, point: EdgePoint) -> None:
        self.laws, self.label, self.output = laws, point.label, laws.batched.output
        self.values, self.sizes = dict(point.values), point.sizes
        for a in (a for program in laws.programs.values() for a in program.arguments):
            if a.variable not in self.values:
                self.values[a.variable] = self._more(a)
        dots = (a.variable for a in laws.programs["tangent"].arguments if a.role == TANGENT)
        pairs = zip(laws.batched.differentiable, dots, strict=True)
        self.along = {x: self.values[x_dot] for x, x_dot in pairs}
        self.point = {x: self.values[x] for x in point.values}

    def _more(self, argument: Argument) -> Value:
        """Any other argument: a tangent, a cotangent, or a Gram matrix (the identity)."""
        space = argument.variable.space
        if argument.role in (TANGENT, COTANGENT):
            return draw(self.laws.random, space, self.sizes)
        assert isinstance(space, Real)
        return np.eye(shape_of(space, self.sizes)[0])

    @cached_property
    def exact(self) -> Local:
        """f and D f . v."""
        return local(self.output, self.point, self.sizes, self.along)

    @cached_property
    def _nudged(self) -> Local:
        """f and D f . v at the nudged point."""
        return local(self.output, nudged(self.point), self.sizes, self.along)

    def rounding(self, dtype: type) -> tuple[float, float]:
        """The allowed errors of f and D f . v in eps: the effect of rounding the arguments."""
        each = SHARE * operations(self.output, self.sizes)
        value = _moves(self.exact.value, self._nudged.value, dtype)
        slope = _moves(self.exact.slope, self._nudged.slope, dtype)
        return each * value, 2 * each * slope

    def findings(self) -> Iterator[Finding]:
        """Values, tangents, gradients, and second derivatives far out."""
        for dtype, run in self.laws.runs:
            name, made = np.dtype(dtype).name, self.laws.programs
            rounding = self.rounding(dtype)
            found = run(made["forward"], self.values)[0] if "forward" in made else None
            if found is not None:
                yield self._compared(
                    f"forward, {name}", found, self.exact.value, rounding[0], dtype
                )
            (y_dot,) = run(made["tangent"], self.values)
            yield self._compared(f"tangent, {name}", y_dot, self.exact.slope, rounding[1], dtype)
            if self._smooth(dtype):
                yield self._gradient(name, run(made["backward"], self.values), dtype)
                if self.label.startswith("some"):
                    second = run(made["tangent_backward"], self.values)
                    endless = sum(int(np.sum(~np.isfinite(part))) for part in second)
                    yield self._finding(f"tangent_backward, {name}", endless, 0.0)

    def _smooth(self, dtype: type) -> bool:
        """Whether all entries have a value and a derivative within the range of the precision."""
        return all(_is_number(x, dtype) for x in (*self.exact.value, *self.exact.slope))

    def _gradient(self, name: str, bars: list[Array], dtype: type) -> Finding:
        """<x_bar, v> = <y_bar, D f . v>."""
        y_bar = vector(self.values[self._cotangent])
        pairs = [(bar, vector(v)) for bar, v in zip(bars, self.along.values(), strict=True)]
        found = sum(float(bar.astype(np.float64) @ v) for bar, v in pairs)
        terms = sum(float(abs(bar.astype(np.float64)) @ abs(v)) for bar, v in pairs)
        expected = float(
            sum(mp.mpf(float(u)) * d for u, d in zip(y_bar, self.exact.slope, strict=True))
        )
        bound = self.rounding(dtype)[1] * float(np.sum(abs(y_bar)))
        bound += SHARE * operations(self.output, self.sizes) * max(terms, 1.0)
        return self._finding(f"backward, {name}", abs(found - expected), _allowed(bound, dtype))

    @property
    def _cotangent(self) -> Variable:
        arguments = self.laws.programs["backward"].arguments
        return next(a.variable for a in arguments if a.role == COTANGENT)

    def _compared(
        self, where: str, found: Array, exact: Array, rounding: float, dtype: type
    ) -> Finding:
        """The finding on the entries that are numbers."""
        pairs = [(f, e) for f, e in zip(found, exact, strict=True) if _is_number(e, dtype)]
        error = max((_apart(f, e) for f, e in pairs), default=0.0)
        largest = max((float(abs(e)) for _, e in pairs), default=0.0)
        largest = max(largest, 1.0)
        bound = rounding + SHARE * operations(self.output, self.sizes) * largest
        return self._finding(where, error, _allowed(bound, dtype), largest)

    def _finding(self, where: str, error: float, allowed: float, largest: float = 0.0) -> Finding:
        scale, group = largest or 1.0, f"{where}, {self.label}"
        return Finding(self.laws.layer.name, "edges", group, error / scale, allowed / scale)


def _moves(here: Array, there: Array, dtype: type) -> float:
    """The sensitivity of those entries that are numbers."""
    pairs = [pair for pair in zip(here, there, strict=True) if _is_number(pair[0], dtype)]
    return sensitivity([a for a, _ in pairs], [b for _, b in pairs])


def _allowed(bound: float, dtype: type) -> float:
    """A bound in units of eps as a number; what is below the smallest one is nothing."""
    info = np.finfo(dtype)
    return min(float(info.eps) * bound, float(info.max)) + float(info.tiny)


def _apart(found: Any, exact: Any) -> float:
    return float(abs(mp.mpf(float(found)) - exact)) if np.isfinite(found) else np.inf


def _is_number(exact: Any, dtype: type) -> bool:
    return bool(mp.isfinite(exact) and abs(exact) < ROOM * float(np.finfo(dtype).max))
