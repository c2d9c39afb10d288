"""Lowered kernels interpreted on NumPy arrays: slow, and with every check on.

`Interpreted(lower(program))` is called like a compiled kernel.  Here the arrays of a call become
its memory; `execution` says what its statements do, `memory` what they may not do.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import count
from typing import Any

import numpy as np
import sympy

from ...language.reference import Array
from ...language.roles import MASK
from ...language.roles import Argument as LayerArgument
from ...language.spaces import Indices, leaves
from ...runtime.declare import Argument, Declaration, Leaf
from ..lowering.kernel import Kernel
from ..statements.scalars import Buffer
from .execution import Compiled, Run
from .memory import UNWRITTEN, InterpretationError, Memory, Region
from .scalar_functions import Scalars, State

__all__ = ["InterpretationError", "Interpreted"]


class Interpreted:
    """A lowered kernel under the protocol of compiled ones: `kernel(x, W, out=.., saved=..)`.

    If `thrifty`, it is an error, too, to fill a workspace buffer that nothing reads.
    """

    def __init__(self, kernel: Kernel, thrifty: bool = False) -> None:
        self.kernel, self.thrifty = kernel, thrifty
        self.name = f"{kernel.program.layer.name}.{kernel.program.name}"
        self.declaration = declaration_of(self.name, kernel)
        self.buffers = [buffer for group in kernel.arguments for buffer in group]
        self.outputs = [buffer for group in kernel.results for buffer in group]
        self._compiled: dict[tuple[int, ...], Run] = {}

    def saved_size(self, **sizes: int) -> int:
        """The number of saved entries at these sizes."""
        return Scalars(self._symbolic(sizes)).number(self.kernel.saved_count)

    def workspace_size(self, **sizes: int) -> int:
        """The number of workspace entries at these sizes."""
        return Scalars(self._symbolic(sizes)).number(self.kernel.workspace_count)

    def _symbolic(self, sizes: dict[str, int]) -> dict[sympy.Symbol, int]:
        return {size: sizes[str(size)] for size in self.kernel.sizes}

    def __call__(
        self, *given: Any, out: Any = None, saved: Any = None, workspace: Any = None, **named: Any
    ) -> Any:
        """Runs the kernel.  Raises InterpretationError where a statement does what it may not."""
        ordered, rest = self.declaration.ordered(given, named)
        pairs = zip(self.declaration.arguments, ordered, strict=True)
        arguments = [np.asarray(p) for a, v in pairs for p in self.declaration.parts(a, v)]
        sizes = self._symbolic(self._sizes(arguments, rest))
        scalars = Scalars(sizes)
        results = self._results(out, arguments, scalars)
        call = _Call(self.kernel, scalars)
        call.arrays(self.buffers, arguments, writable=False)
        call.arrays(self.outputs, results, writable=True)
        call.saved(saved)
        call.workspace(workspace, arguments)
        key = tuple(sizes.values())
        if key not in self._compiled:
            self._compiled[key] = Compiled(scalars).block(self.kernel.steps)
        self._compiled[key](State(call.memory, {}, {}))
        if self.thrifty and key[0] and all(size > 1 for size in key[1:]):  # else all is border
            call.memory.check_use()
        return self.declaration.gathered(results)

    def _sizes(self, arguments: Sequence[Array], rest: dict[str, Any]) -> dict[str, int]:
        """Sizes from keywords and shapes; without the batch axis the batch is 1."""
        found: dict[str, int] = dict(rest)
        for buffer, array in zip(self.buffers, arguments, strict=True):
            shape = (*(1,) * (len(buffer.shape) - array.ndim), *array.shape)
            pairs = zip(buffer.shape, shape, strict=True)
            found.update({str(e): n for e, n in pairs if isinstance(e, sympy.Symbol)})
        return found

    def _results(
        self, out: Any, arguments: Sequence[Array], scalars: Scalars
    ) -> list[Array | None]:
        if out is not None:
            return self.declaration.outputs(out)  # type: ignore[return-value]
        pairs = zip(self.buffers, arguments, strict=True)
        alone = any(array.ndim < len(buffer.shape) for buffer, array in pairs)
        make = np.zeros if self.kernel.program.mode == "accumulate" else np.empty
        leaves_ = [leaf for result in self.declaration.results for leaf in result.leaves]
        made: list[Array | None] = []
        for buffer, leaf in zip(self.outputs, leaves_, strict=True):
            shape = scalars.shape(buffer)
            made.append(make(shape[1:] if alone and leaf.batch == 0 else shape, _real(arguments)))
        return made


def _real(arguments: Iterable[Array]) -> Any:
    """The dtype of the real arguments."""
    return next((a.dtype for a in arguments if a.dtype.kind == "f"), np.dtype(np.float64))


class _Call:
    """The memory of one call, region by region."""

    def __init__(self, kernel: Kernel, scalars: Scalars) -> None:
        self.kernel, self.scalars, self.memory = kernel, scalars, Memory()
        self._owners: Iterator[int] = count()

    def _add(self, buffer: Buffer, entries: Array, writer: Array | None, writable: bool) -> Region:
        """A region; without writers it holds what the caller has put there."""
        owner = next(self._owners)
        written = np.full(entries.size, owner) if writer is None else writer
        shape = self.scalars.shape(buffer)
        region = Region(buffer.name, entries, shape, written, owner, writable)
        self.memory[buffer.name] = region
        return region

    def arrays(
        self, buffers: Iterable[Buffer], arrays: Iterable[Array | None], writable: bool
    ) -> None:
        """Arguments or results; NULL where not asked for.  Results to overwrite begin unwritten."""
        fresh = writable and not self.kernel.program.accumulate
        for buffer, array in zip(buffers, arrays, strict=True):
            if array is None:
                self.memory[buffer.name] = None
            else:
                writer = np.full(array.size, UNWRITTEN) if fresh else None
                self._add(buffer, array.reshape(-1), writer, writable)

    def saved(self, array: Array | None) -> None:
        """The saved values one after the other; `saved` itself stands for all of them."""
        reads, begin = self.kernel.program.reads_saved, 0
        for buffer in self.kernel.saved:
            end = begin + self.scalars.number(buffer.count)
            self.memory[buffer.name] = None
            if array is not None:
                writer = None if reads else np.full(end - begin, UNWRITTEN)
                self._add(buffer, array[begin:end], writer, not reads)
            begin = end
        last = self.kernel.saved[-1].name if self.kernel.saved else None
        self.memory["saved"] = None if last is None else self.memory[last]

    def workspace(self, array: Array | None, arguments: Sequence[Array]) -> None:
        """Buffers that share entries share the record of who wrote them last."""
        size = self.scalars.number(self.kernel.workspace_count)
        entries = np.full(size, np.nan, _real(arguments)) if array is None else array
        writer = np.full(size, UNWRITTEN)
        for buffer, offset in self.kernel.workspace:
            begin = self.scalars.number(offset)
            part = slice(begin, begin + self.scalars.number(buffer.count))
            self.memory.scratch.append(self._add(buffer, entries[part], writer[part], True))


# --- the declaration, as the emitted module makes it


def declaration_of(name: str, kernel: Kernel) -> Declaration:
    """Arguments, results and sizes of a kernel."""
    program = kernel.program
    role = ("read" if program.reads_saved else "written") if kernel.saved else None
    return Declaration(
        name,
        tuple(map(str, kernel.sizes)),
        tuple(
            _declared(argument, buffers, kernel)
            for argument, buffers in zip(program.arguments, kernel.arguments, strict=True)
        ),
        tuple(
            Argument(r.name, "result", tuple(_leaf(b, None, "", kernel) for b in buffers))
            for r, buffers in zip(program.results, kernel.results, strict=True)
        ),
        program.mode,
        role,
    )


def _declared(argument: LayerArgument, buffers: Sequence[Buffer], kernel: Kernel) -> Argument:
    pairs = zip(buffers, leaves(argument.variable.space), strict=True)
    made = tuple(_leaf(buffer, space, argument.role, kernel) for buffer, space in pairs)
    return Argument(argument.name, "given" if argument.role == MASK else argument.role, made)


def _leaf(buffer: Buffer, space: object, role: str, kernel: Kernel) -> Leaf:
    extents = tuple(_extent(extent, kernel) for extent in buffer.shape)
    if isinstance(space, Indices):
        return Leaf(buffer.name, extents, "index", _extent(space.bound, kernel))
    return Leaf(buffer.name, extents, "mask" if role == MASK else "real")


def _extent(extent: sympy.Expr, kernel: Kernel) -> Any:
    if extent in kernel.sizes:
        return str(extent)
    if extent.is_Integer:
        return int(extent)
    return lambda *sizes: int(extent.subs(dict(zip(kernel.sizes, sizes, strict=True))))
