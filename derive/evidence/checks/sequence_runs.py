"""Kernels over sequences on the reference, with bounds of their rounding errors.

A kernel's statements run on arrays of values and, for each, an array of bounds of its rounding
errors in units of eps: every step that is called propagates the bounds of what it reads to what it
writes, as `rounding` does within an expression.  Every method thus has an error analysis of its own
order of operations.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, singledispatchmethod
from itertools import chain, islice
from typing import Any

import numpy as np
import sympy

from ...kernels.interpreting.driving import Drive, element, number_at, put, rows_of
from ...kernels.interpreting.interpret import declaration_of
from ...kernels.lowering.kernel import Kernel
from ...kernels.sequences.sequences import sequences
from ...kernels.statements.loops import Call, Copy, Fill, Statement
from ...kernels.statements.scalars import Buffer
from ...language.reference import Array, flat_arrays
from ...models.levels import Recurrent
from ...runtime.recurrence import Recurrence
from .rounding import values_and_bounds


class BoundedDrive(Drive):
    """A run of a kernel; `errors` holds the arrays of bounds, under the names of the arrays."""

    def __init__(
        self, kernel: Kernel, sizes: Mapping[sympy.Symbol, int], arrays: Mapping[str, Array | None]
    ) -> None:
        super().__init__(kernel, sizes, arrays)
        exact = {name: None if a is None else np.zeros(a.size) for name, a in self.arrays.items()}
        self.errors = Drive(kernel, self.sizes, exact)
        self.errors.sizes = self.sizes

    @singledispatchmethod
    def run(self, statement: Statement) -> None:
        """Run one statement, and propagate the bounds."""
        super().run(statement)

    @run.register
    def _(self, statement: Fill) -> None:
        super().run(statement)
        self.errors.run(statement)

    @run.register
    def _(self, statement: Copy) -> None:
        super().run(statement)
        self.errors.run(statement)
        if statement.add:
            count = self.number(statement.count)
            total = self.part(statement.target, count)
            self.errors.part(statement.target, count)[...] += abs(total)

    @run.register
    def _(self, statement: Call) -> None:
        sizes = {symbol: self.number(size) for symbol, size in statement.sizes}
        evaluate(
            self.kernel.callees[statement.name],
            sizes,
            self._arrays_of(self, statement, sizes),
            self._arrays_of(self.errors, statement, sizes),
        )

    def _arrays_of(
        self, drive: Drive, statement: Call, sizes: Mapping[sympy.Symbol, int]
    ) -> list[Array | None]:
        callee = self.kernel.callees[statement.name]
        buffers = chain(*callee.arguments, *callee.results)
        pairs = zip(buffers, statement.arrays, strict=True)
        return [drive._shaped(buffer, pointer, sizes) for buffer, pointer in pairs]


def evaluate(
    kernel: Kernel,
    sizes: Mapping[sympy.Symbol, int],
    arrays: Sequence[Array | None],
    errors: Sequence[Array | None],
) -> None:
    """One step: its program evaluated on arrays, and the bounds of its results."""
    program = kernel.program
    now, off = iter(arrays), iter(errors)
    x = [a.variable for a in program.arguments]
    point, known = ({v: element(v.space, source) for v in x} for source in (now, off))
    outs = [[list(islice(source, len(g))) for g in kernel.results] for source in (now, off)]
    asked = [k for k, out in enumerate(outs[0]) if any(a is not None for a in out)]
    nodes = [program.results[k].node for k in asked]
    for k, (value, bound) in zip(
        asked, values_and_bounds(nodes, point, dict(sizes), known), strict=True
    ):
        adds = program.adds(program.results[k])
        rows = rows_of(program.results[k], point, dict(sizes))
        put(value, outs[0][k], adds, rows)
        put(bound, outs[1][k], adds, rows)
        for total, error in zip(outs[0][k], outs[1][k], strict=True) if adds else ():
            if total is not None and error is not None:
                error[...] += abs(total)


Results = tuple[list[Array], list[Array]]  # values, bounds


@dataclass
class Runs:
    """A kernel over a sequence: values and bounds of its results, each call run once."""

    kernel: Kernel
    known: dict[tuple[object, ...], Results] = field(default_factory=dict)

    def __call__(self, given: Sequence[Any], named: Mapping[str, int]) -> Results:
        """All results of one call, a batch of samples."""
        arrays = [np.asarray(a) for a in chain(*map(flat_arrays, given))]
        key = (*((a.shape, a.tobytes()) for a in arrays), *named.items())
        if key not in self.known:
            self.known[key] = self._run(arrays, self._sizes(arrays, named))
        return self.known[key]

    def _sizes(self, arrays: Sequence[Array], named: Mapping[str, int]) -> dict[sympy.Symbol, int]:
        sizes = {s: named[str(s)] for s in self.kernel.sizes if str(s) in named}
        for buffer, array in zip(chain(*self.kernel.arguments), arrays, strict=True):
            pairs = zip(buffer.shape, array.shape, strict=True)
            sizes |= {e: n for e, n in pairs if isinstance(e, sympy.Symbol)}
        return sizes

    def _run(self, arrays: Sequence[Array], sizes: dict[sympy.Symbol, int]) -> Results:
        inputs, outputs = list(chain(*self.kernel.arguments)), list(chain(*self.kernel.results))
        made = [np.zeros(_shape(buffer, sizes)) for buffer in outputs]
        off = [np.zeros(array.shape) for array in made]
        if self.kernel.callees:
            pairs = zip((*inputs, *outputs), (*arrays, *made), strict=True)
            drive = BoundedDrive(self.kernel, sizes, {b.name: _real(a) for b, a in pairs})
            drive()
            off = [
                _like(drive.errors.arrays[b.name], a) for b, a in zip(outputs, made, strict=True)
            ]
            made = [_like(drive.arrays[b.name], a) for b, a in zip(outputs, made, strict=True)]
        else:
            exact = [np.zeros(a.shape) for a in arrays]
            evaluate(self.kernel, sizes, [*arrays, *made], [*exact, *off])
        return made, off


def _shape(buffer: Buffer, sizes: Mapping[sympy.Symbol, int]) -> tuple[int, ...]:
    return tuple(number_at(extent, sizes) for extent in buffer.shape)


def _real(array: Array) -> Array:
    """A flat copy that a run may write to, in float64 unless it holds indices."""
    return np.array(array, None if array.dtype.kind in "iu" else np.float64).reshape(-1)


def _like(flat: Array | None, array: Array) -> Array:
    assert flat is not None
    return flat.reshape(array.shape)


class RunKernel:
    """Either the values or the bounds, under the protocol that `Recurrence` calls."""

    def __init__(self, runs: Runs, which: int) -> None:
        self.runs, self.which, self.name = runs, which, runs.kernel.program.name
        made = declaration_of(self.name, runs.kernel)
        self.sizes, self.arguments, self.results = made.sizes, made.arguments, made.results

    def workspace_size(self, **sizes: int) -> int:
        """0: a run makes its own arrays."""
        return 0

    def __call__(self, *given: Any, out: Any = None, workspace: Any = None, **named: int) -> Any:
        found = iter(self.runs(given, named)[self.which])
        groups = [[next(found).copy() for _ in result.leaves] for result in self.results]
        if out is not None:
            for array, value in zip(flat_arrays(out), chain(*groups), strict=True):
                array[...] = value
        results = [g[0] if len(g) == 1 else tuple(g) for g in groups]
        return results[0] if len(results) == 1 else tuple(results)


@lru_cache(maxsize=4)
def reference_runs(network: Recurrent) -> tuple[Recurrence, Recurrence]:
    """The recurrences of values and of bounds in eps; those of recent networks are cached."""
    made = sequences(network)
    runs = {kernel.program.name: Runs(kernel) for kernel in made.kernels}
    values, bounds = (
        Recurrence(
            network.name, {key: RunKernel(run, which) for key, run in runs.items()}, **made.roles
        )
        for which in (0, 1)
    )
    return values, bounds
