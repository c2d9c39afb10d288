"""Kernels against the NumPy reference: values, memory, and results requested alone.

kernel    every result, in both precisions, for batches of 0, 1 and 4 and sizes down to 1
memory    guard bands around outputs, saved values and workspace, and all inputs, stay unchanged
asked     a result that is requested alone is the same, and needs no other result
batch     each row of a batch equals a call with that row, without the batch axis
nan       NaN comes out exactly where it does in the reference

Outputs, saved values and workspace hold NaN before a call, and so do the bands around inputs, so
that reading an entry that was never written shows in the result.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ...language.reference import Array, Value, flat_arrays
from ...models.layers import Layer
from ...models.programs import Program
from .cases import Case, Cases, Expected
from .drawing import uniform
from .findings import Finding, compared

BAND = 16  # entries before and after every array, which a wrong stride or extent reaches
DTYPES = (np.float64, np.float32)
FAILURES = (TypeError, ValueError, ArithmeticError, LookupError)  # reported, not raised
OUTSIDE = -7.25  # a value that no result has by accident


class Banded:
    """An array inside a larger one whose ends must not change."""

    def __init__(self, content: Array, ends: float = OUTSIDE) -> None:
        self.whole = np.full(content.size + 2 * BAND, ends, content.dtype)
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


class Call:
    """One call of a kernel, every array in bands; `asked` are the results to compute, None for all.

    Raises what the kernel raises.
    """

    def __init__(
        self,
        kernel: Any,
        program: Program,
        case: Case,
        dtype: type,
        starts: Mapping[str, Array],
        saved: Array | None,
        asked: set[str] | None = None,
    ) -> None:
        self.kernel, self.program, self.case, self.dtype = kernel, program, case, dtype
        self.inputs = [[self._input(array) for array in flat_arrays(v)] for v in self._given()]
        self.outputs = {
            e.name: Banded(starts[e.name].astype(dtype))
            for e in case.expected[program.name]
            if asked is None or e.name in asked
        }
        count = kernel.workspace_size(**case.named_sizes)
        self.workspace = Banded(np.full(count, np.nan, dtype))
        self.saved = None if saved is None else Banded(saved)
        self.kernel(
            *(_one_or_tuple([b.array for b in group]) for group in self.inputs),
            out=self._out(),
            saved=None if self.saved is None else self.saved.array,
            workspace=self.workspace.array,
            **keywords(kernel, case),
        )

    def _given(self) -> list[Value]:
        return [self.case.values[a.variable] for a in self.program.arguments]

    def _input(self, array: Array) -> Banded:
        if array.dtype.kind in "iu":
            return Banded(array, 0)  # class indices: in the bands too they must be in range
        return Banded(array.astype(self.dtype), np.nan)

    def _out(self) -> dict[str, Any]:
        out: dict[str, list[Array | None]] = {}
        for e in self.case.expected[self.program.name]:
            banded = self.outputs.get(e.name)
            out.setdefault(e.result, []).append(None if banded is None else banded.array)
        return {name: _one_or_tuple(arrays) for name, arrays in out.items()}

    def changed_bytes(self) -> int:
        """Changed bytes that must not change: bands, inputs, saved values that are only read."""
        reads = self.kernel.declaration.saved_role == "read"
        only_read = [banded for group in self.inputs for banded in group]
        space = [*self.outputs.values(), self.workspace]
        if self.saved is not None:
            (only_read if reads else space).append(self.saved)
        return sum(b.changed() for b in only_read) + sum(b.broken() for b in space)


def _one_or_tuple(arrays: Sequence[Any]) -> Any:
    return arrays[0] if len(arrays) == 1 else tuple(arrays)


def keywords(kernel: Any, case: Case) -> dict[str, int]:
    """The sizes that no argument's shape determines."""
    given = case.given_sizes
    return {name: given[name] for name in kernel.declaration.asked if name in given}


class KernelLaws:
    """The laws of one layer's kernels; `kernels` holds each program's kernel under its name."""

    def __init__(
        self,
        layer: Layer,
        kernels: Any,
        made: Sequence[Program],
        seed: int = 0,
        dtypes: Sequence[type] = DTYPES,
        large: bool = True,
    ) -> None:
        self.layer, self.dtypes, self.large, self.programs = layer, dtypes, large, made
        self.kernels = {p.name: getattr(kernels, p.name) for p in self.programs}
        self.cases = Cases(layer, self.programs, seed)
        self.random = np.random.default_rng(seed + 1)

    def findings(self) -> Iterator[Finding]:
        """All laws, the fast ones first."""
        cases = self.cases
        for dtype in self.dtypes:
            for case in (cases.four, cases.one, *cases.small, *cases.zero):
                yield from self._every(self.values, case, dtype)
            yield from self._every(self.alone, cases.four, dtype)
            yield from self._every(self.allocated, cases.one, dtype)
            for case in cases.rows:
                yield from self._every(self.row, case, dtype)
        for case in cases.nans:
            yield from self._every(self.nan, case, self.dtypes[0])
        for dtype in self.dtypes if self.large else ():
            yield from self._every(self.values, cases.large, dtype)

    def _every(self, law: Any, case: Case, dtype: type) -> Iterator[Finding]:
        """A law for every kernel; an exception of a call counts as a failure of the law."""
        for program in self.programs:
            try:
                yield from law(program, case, dtype)
            except FAILURES as error:
                group = f"{program.name}, {case.label}: {type(error).__name__}: {error}"
                yield Finding(self.layer.name, "kernel", group, np.inf, 0.0)

    # --- calls

    def _starts(self, program: Program, case: Case) -> dict[str, Array]:
        """What outputs hold before a call: NaN, or numbers that results are added to."""
        return {
            e.name: uniform(self.random, e.value.shape, (-1, 1))
            if program.accumulate
            else np.full(e.value.shape, np.nan)
            for e in case.expected[program.name]
        }

    def _call(
        self,
        program: Program,
        case: Case,
        dtype: type,
        starts: Mapping[str, Array],
        asked: set[str] | None = None,
        save: bool = True,
    ) -> Call:
        kernel, saved = self.kernels[program.name], None
        role = kernel.declaration.saved_role
        if role == "read":
            saved = self._saved(case, dtype)
        elif role == "written" and save:
            saved = np.full(kernel.saved_size(**case.named_sizes), np.nan, dtype)
        return Call(kernel, program, case, dtype, starts, saved, asked)

    def _saved(self, case: Case, dtype: type) -> Array:
        """The values saved for backward at these arguments."""
        for program in self.programs:
            if self.kernels[program.name].declaration.saved_role == "written":
                banded = self._call(program, case, dtype, self._starts(program, case)).saved
                assert banded is not None
                return banded.array.copy()
        raise LookupError(
            f"{self.layer.name}: no kernel writes the saved values that another reads"
        )

    def _finding(
        self, law: str, where: str, e: Expected, found: Array, start: Array, dtype: type
    ) -> Finding:
        """A result against the reference; its `operations` additions to the start may round."""
        start = np.where(np.isnan(start), 0, start)
        rounding = e.bound + e.operations * float(np.max(abs(start), initial=0.0))
        bound = float(np.finfo(dtype).eps) * rounding + float(np.finfo(dtype).tiny)
        return compared(self.layer.name, law, where, found, start + e.value, bound)

    # --- laws

    def values(self, program: Program, case: Case, dtype: type) -> Iterator[Finding]:
        """All results of one call, and the memory that must not change."""
        starts = self._starts(program, case)
        call = self._call(program, case, dtype, starts)
        where = f"{program.name}, {case.label}, {np.dtype(dtype).name}"
        for e in case.expected[program.name]:
            found = call.outputs[e.name].array
            yield self._finding("kernel", f"{e.name} of {where}", e, found, starts[e.name], dtype)
        yield Finding(self.layer.name, "memory", where, call.changed_bytes(), 0)

    def alone(self, program: Program, case: Case, dtype: type) -> Iterator[Finding]:
        """Each result without the others, or without values saved for backward."""
        expected, starts = case.expected[program.name], self._starts(program, case)
        for wanted in expected if program.accumulate else [None]:
            asked = None if wanted is None else {wanted.name}
            call = self._call(program, case, dtype, starts, asked, save=False)
            where = f"{program.name}, {np.dtype(dtype).name}"
            for e in expected if wanted is None else [wanted]:
                found = call.outputs[e.name].array
                group = f"{e.name} of {where}"
                yield self._finding("asked", group, e, found, starts[e.name], dtype)
            yield Finding(self.layer.name, "memory", f"{where}, alone", call.changed_bytes(), 0)

    def row(self, program: Program, case: Case, dtype: type) -> Iterator[Finding]:
        """One sample, given without the batch axis."""
        starts = self._starts(program, case)
        call = self._call(program, case, dtype, starts)
        where = f"{program.name}, {case.label}, {np.dtype(dtype).name}"
        for e in case.expected[program.name]:
            found = call.outputs[e.name].array
            yield self._finding("batch", f"{e.name} of {where}", e, found, starts[e.name], dtype)

    def allocated(self, program: Program, case: Case, dtype: type) -> Iterator[Finding]:
        """Results and workspace allocated by the edge: new arrays, zero where the kernel adds."""
        kernel = self.kernels[program.name]
        role = kernel.declaration.saved_role
        saved = {"saved": self._saved(case, dtype)} if role == "read" else {}
        values = [case.values[a.variable] for a in program.arguments]
        given = [_one_or_tuple([_as(a, dtype) for a in flat_arrays(v)]) for v in values]
        results = flat_arrays(kernel(*given, **saved, **keywords(kernel, case)))
        for e, found in zip(case.expected[program.name], results, strict=True):
            group = f"{e.name} of {program.name}, {np.dtype(dtype).name}, allocated"
            yield self._finding("kernel", group, e, found, np.zeros(e.value.shape), dtype)

    def nan(self, program: Program, case: Case, dtype: type) -> Iterator[Finding]:
        """The number of entries that are NaN in only one of kernel and reference."""
        call = self._call(program, case, dtype, self._starts(program, case))
        for e in case.expected[program.name]:
            found = np.isnan(call.outputs[e.name].array)
            group = f"{e.name} of {program.name}, {case.label}"
            yield Finding(self.layer.name, "nan", group, int(np.sum(found != np.isnan(e.value))), 0)


def _as(array: Array, dtype: type) -> Array:
    return array if array.dtype.kind in "iu" else array.astype(dtype)
