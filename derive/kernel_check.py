"""Kernels against the NumPy reference: values, memory, and what is asked for.

kernel    every result, in both precisions, for batches of 0, 1 and 4 and sizes down to 1
memory    bands around outputs, saved values and workspace stay as they are, inputs too
asked     a result that is asked for alone is the same, and nothing else is touched
batch     a row of a batch is its own call, without the batch axis
nan       a NaN comes out where it does in the reference, and nowhere else
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import sympy

from .expressions import Variable
from .findings import Finding
from .layers import Layer
from .programs import BATCH, Program, Result, programs
from .reference import Array, Value, flat_arrays
from .rounding import values_and_bounds
from .sampling import Point, draw, equal_sizes, point_of, uniform, unequal_sizes, zero_point
from .spaces import Indices, leaves
from .walk import storage

BAND = 16  # entries before and after every array; a stride that is off reaches them
DTYPES = (np.float64, np.float32)
FAILURES = (TypeError, ValueError, ArithmeticError, LookupError)  # of a call, as a finding


class Banded:
    """An array inside a larger one whose ends must stay as they are."""

    def __init__(self, content: Array, dtype: type, ends: float) -> None:
        self.whole = np.full(content.size + 2 * BAND, ends, dtype)
        self.array = self.whole[BAND : BAND + content.size].reshape(content.shape)
        self.array[...] = content
        self._before = self.whole.copy()

    def broken(self) -> int:
        """The number of bytes of the ends that changed."""
        ends = np.r_[:BAND, self.whole.size - BAND : self.whole.size]
        return _differing(self.whole[ends], self._before[ends])

    def changed(self) -> int:
        """The number of bytes that changed anywhere."""
        return _differing(self.whole, self._before)


def _differing(a: Array, b: Array) -> int:
    return int(np.sum(a.view(np.uint8) != b.view(np.uint8)))


@dataclass(frozen=True)
class Expected:
    """One array of a result: its value and rounding error bound by the reference."""

    result: str
    name: str
    value: Array
    bound: Array
    batched: bool


@dataclass(frozen=True)
class Case:
    """Arguments of all kernels at one point, and what the reference makes of them."""

    label: str
    sizes: Mapping[sympy.Symbol, int]
    values: Mapping[Variable, Value]
    expected: Mapping[str, list[Expected]]

    def named_sizes(self) -> dict[str, int]:
        """Sizes by name."""
        return {str(size): number for size, number in self.sizes.items()}


# --- cases


class Cases:
    """The cases of a layer: batches of 0, 1 and 4, sizes 1, sizes beyond any blocking, ties, NaN."""

    def __init__(self, layer: Layer, made: Sequence[Program], seed: int) -> None:
        self.layer, self.batched, self.programs = layer, layer.batched(BATCH), made
        self.random = np.random.default_rng(seed)

    @cached_property
    def plain(self) -> list[Case]:
        """Cases at finite points away from kinks."""
        unequal, ones, large = (
            unequal_sizes(self.layer),
            equal_sizes(self.layer, 1),
            unequal_sizes(self.layer, 17),
        )
        chosen = [("batch 4", unequal, 4), ("batch 1", unequal, 1), ("batch 0", unequal, 0)]
        chosen += [("sizes 1", ones, 2)] if ones else []
        chosen += [("large sizes", large, 18)]
        return [self._case(label, {BATCH: batch, **sizes}) for label, sizes, batch in chosen]

    def _case(self, label: str, sizes: Mapping[sympy.Symbol, int]) -> Case:
        point = point_of(self.batched, sizes, self.random)
        return self.at(label, self._with_directions(point))

    def _with_directions(self, point: Point) -> Point:
        """Tangents and cotangents, too."""
        values = dict(point.values)
        for program in self.programs:
            for argument in program.arguments:
                x = argument.variable
                if x not in values:
                    values[x] = draw(self.random, x.space, point.sizes)
        return Point(point.sizes, values)

    def at(self, label: str, point: Point) -> Case:
        """The case of a point: one evaluation of all results, so that they share what they can."""
        results = [(p.name, r) for p in self.programs for r in p.results]
        roots = [node for _, r in results for node in storage(r.node)]
        pairs = iter(values_and_bounds(roots, point.values, point.sizes))
        expected: dict[str, list[Expected]] = {p.name: [] for p in self.programs}
        for name, result in results:
            for k, _ in enumerate(storage(result.node)):
                value, bound = next(pairs)
                leaf = f"{result.name}[{k}]" if len(storage(result.node)) > 1 else result.name
                bound = np.broadcast_to(bound, np.shape(value))
                expected[name].append(
                    Expected(result.name, leaf, np.asarray(value), bound, result.batched)
                )
        return Case(label, point.sizes, point.values, expected)

    def zero(self) -> Case | None:
        """States and parameters zero: ties of the largest entry, psi at a kink exactly."""
        like = self.plain[1]
        own = {x: like.values[x] for x in self.batched.differentiable}
        point = zero_point(self.batched, Point(dict(like.sizes), dict(like.values)), own)
        return self.at("at zero", point) if point else None

    def nans(self) -> Iterator[Case]:
        """A NaN in one entry of one argument, each in turn."""
        like = self.plain[1]
        for x in {a.variable: None for p in self.programs for a in p.arguments}:
            if not any(isinstance(leaf, Indices) for leaf in leaves(x.space)):
                values = {**like.values, x: _with_nan(like.values[x], self.random)}
                yield self.at(f"NaN in {x.name}", Point(dict(like.sizes), values))


def _with_nan(value: Value, random: np.random.Generator) -> Value:
    if isinstance(value, tuple):
        return (_with_nan(value[0], random), *value[1:])
    array = np.array(value)
    array.flat[random.integers(array.size)] = np.nan
    return array


# --- calls


@dataclass
class Call:
    """One call of a kernel on banded arrays, and what came of it."""

    kernel: Any
    program: Program
    case: Case
    dtype: type
    asked: frozenset[str] | None = None  # names of arrays; None: all of them
    saved: Array | None = None
    starts: Mapping[str, Array] = field(default_factory=dict)

    def run(self) -> Call:
        """Calls the kernel.  Raises what it raises."""
        self.inputs = [
            [Banded(a, a.dtype.type if a.dtype.kind in "iu" else self.dtype, _ends(a)) for a in flat_arrays(v)]
            for v in (self.case.values[a.variable] for a in self.program.arguments)
        ]
        self.outputs = {e.name: self._output(e) for e in self.case.expected[self.program.name]}
        self.memory = self._space()
        given = [_gathered([b.array for b in group], a.variable.space) for group, a in zip(self.inputs, self.program.arguments, strict=True)]
        self.kernel(*given, out=self._out(), **self.memory_arguments(), **self._keywords())
        return self

    def _output(self, expected: Expected) -> Banded | None:
        if self.asked is not None and expected.name not in self.asked:
            return None
        start = self.starts.get(expected.name)
        content = np.full(expected.value.shape, np.nan) if start is None else start
        return Banded(content, self.dtype, -7.25)

    def _space(self) -> dict[str, Banded]:
        sizes, made = self.case.named_sizes(), {}
        made["workspace"] = Banded(
            np.full(self.kernel.workspace_size(**sizes), np.nan), self.dtype, -7.25
        )
        if self.saved is not None:
            made["saved"] = Banded(self.saved, self.dtype, -7.25)
        return made

    def memory_arguments(self) -> dict[str, Array]:
        """Workspace and saved values as they are handed to the kernel."""
        return {name: banded.array for name, banded in self.memory.items()}

    def _keywords(self) -> dict[str, int]:
        sizes = self.case.named_sizes()
        return {name: sizes[name] for name in self.kernel.declaration.asked}

    def _out(self) -> dict[str, Any]:
        out: dict[str, Any] = {}
        for expected in self.case.expected[self.program.name]:
            banded = self.outputs[expected.name]
            out.setdefault(expected.result, []).append(None if banded is None else banded.array)
        return {name: tuple(a) if len(a) > 1 else a[0] for name, a in out.items()}

    def changed_bytes(self) -> int:
        """Bytes that changed and must not: bands, inputs, saved values that are read."""
        inputs = sum(b.changed() for group in self.inputs for b in group)
        outputs = sum(b.broken() for b in self.outputs.values() if b is not None)
        space = sum(b.broken() for b in self.memory.values())
        read = "saved" in self.memory and self.kernel.declaration.saved_role == "read"
        return inputs + outputs + space + (self.memory["saved"].changed() if read else 0)


def _ends(array: Array) -> float:
    return 0 if array.dtype.kind in "iu" else np.nan


def _gathered(arrays: list[Array], space: object) -> Any:
    return arrays[0] if len(arrays) == 1 else tuple(arrays)
