"""Lowered kernels executed statement by statement on NumPy arrays: slow, and with every check on.

`Interpreted(lower(program))` is called like a compiled kernel.  Each load and store is checked
against every axis of its buffer, results that are not asked for are no memory at all, and a read of
what was never written, or of what another buffer left in the same workspace, is an error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, singledispatchmethod
from typing import Any

import numpy as np
import sympy

from .layers import MASK, Argument as LayerArgument
from .loops import (
    Accumulate,
    Apply,
    Asked,
    Buffer,
    Fill,
    For,
    Gemm,
    Guards,
    Inside,
    Largest,
    Let,
    Load,
    Local,
    Matrix,
    Number,
    Place,
    Scalar,
    Select,
    Statement,
    Step,
    Store,
    Sum,
    Times,
)
from .lower import Kernel
from .operations import Operation
from .reference import Array
from .runtime.declare import Argument, Declaration, Leaf
from .spaces import Indices, leaves

UNWRITTEN = -1


class InterpretationError(ValueError):
    """A statement did what no kernel may do; the message names the buffer and the place."""


@dataclass
class Region:
    """The memory of one buffer: entries, who wrote each of them last, and what may be done."""

    name: str
    entries: Array
    shape: tuple[int, ...]
    writer: Array
    owner: int
    writable: bool

    def at(self, place: Sequence[int]) -> int:
        """The offset of a place, every axis checked."""
        offset = 0
        for entry, extent in zip(place, self.shape, strict=True):
            if not 0 <= entry < extent:
                raise InterpretationError(f"{self.name}{list(place)} is outside of {self.shape}")
            offset = offset * extent + entry
        return offset

    def read(self, offset: Any) -> Any:
        """Entries that were written before."""
        if np.any(self.writer[offset] != self.owner):
            raise InterpretationError(f"{self.name}: entry {offset} is read and was not written")
        return self.entries[offset]

    def write(self, offset: Any, value: Any) -> None:
        """Sets entries."""
        if not self.writable:
            raise InterpretationError(f"{self.name} is written to and is an input")
        self.entries[offset], self.writer[offset] = value, self.owner


class Memory(dict[str, Region | None]):
    """The regions by name; None stands for NULL."""

    def region(self, buffer: Buffer) -> Region:
        found = self[buffer.name]
        if found is None:
            raise InterpretationError(f"{buffer.name} is NULL: it is not asked for")
        return found


@dataclass
class State:
    """What changes while a kernel runs: memory, loop indices, named scalars."""

    memory: Memory
    index: dict[str, int]
    scalar: dict[str, float]


Run = Callable[[State], None]
Value = Callable[[State], float]
Whole = Callable[[State], int]


@cache
def _psi(operation: Operation, *arguments: float) -> float:
    return float(operation(*arguments))


class Compiled:
    """Statements and scalars as Python functions, at known sizes."""

    def __init__(self, sizes: dict[sympy.Symbol, int]) -> None:
        self.sizes = sizes

    # --- whole numbers

    def number(self, expression: sympy.Expr) -> int:
        """A size."""
        return int(expression.subs(self.sizes))

    def shape(self, buffer: Buffer) -> tuple[int, ...]:
        """The extents of a buffer."""
        return tuple(self.number(extent) for extent in buffer.shape)

    def whole(self, expression: sympy.Expr) -> Whole:
        """An expression that is affine in the loop indices."""
        known = sympy.expand(expression.subs(self.sizes))
        steps = [(str(s), int(known.coeff(s))) for s in sorted(known.free_symbols, key=str)]
        start = int(known.subs(dict.fromkeys(known.free_symbols, 0)))
        if not steps:
            return lambda state: start
        return lambda state: start + sum(step * state.index[name] for name, step in steps)

    def place(self, place: Place) -> Callable[[State], list[int]]:
        """One entry for each axis."""
        entries = [self.whole(entry) for entry in place]
        return lambda state: [entry(state) for entry in entries]

    def inside(self, guards: Guards) -> Callable[[State], bool]:
        """The condition that every guarded entry lies in its range."""
        pairs = [(self.whole(entry), self.number(extent)) for entry, extent in guards]
        return lambda state: all(0 <= entry(state) < extent for entry, extent in pairs)

    # --- scalars

    @singledispatchmethod
    def value(self, scalar: Scalar) -> Value:
        """The function that a scalar is."""
        raise TypeError(f"{type(scalar).__name__} is no scalar")

    @value.register
    def _(self, scalar: Number) -> Value:
        number = float(scalar.value.subs(self.sizes))
        return lambda state: number

    @value.register
    def _(self, scalar: Local) -> Value:
        return lambda state: state.scalar[scalar.name]

    @value.register
    def _(self, scalar: Load) -> Value:
        place = self.place(scalar.place)

        def load(state: State) -> float:
            region = state.memory.region(scalar.buffer)
            return float(region.read(region.at(place(state))))

        return load

    @value.register
    def _(self, scalar: Inside) -> Value:
        inside, value = self.inside(scalar.guards), self.value(scalar.value)
        return lambda state: value(state) if inside(state) else 0.0

    @value.register
    def _(self, scalar: Sum) -> Value:
        terms = [(float(w.subs(self.sizes)), self.value(term)) for w, term in scalar.terms]
        return lambda state: sum(weight * term(state) for weight, term in terms)

    @value.register
    def _(self, scalar: Times) -> Value:
        factors = [self.value(factor) for factor in scalar.factors]

        def product(state: State) -> float:
            result = 1.0
            for factor in factors:
                result *= factor(state)
            return result

        return product

    @value.register
    def _(self, scalar: Apply) -> Value:
        arguments = [self.value(z) for z in scalar.arguments]
        return lambda state: _psi(scalar.operation, *(z(state) for z in arguments))

    # --- statements

    def block(self, statements: Iterable[Statement]) -> Run:
        """Statements one after the other."""
        steps = [self.run(statement) for statement in statements]

        def run(state: State) -> None:
            for step in steps:
                step(state)

        return run

    @singledispatchmethod
    def run(self, statement: Statement) -> Run:
        """The function that a statement is."""
        raise TypeError(f"{type(statement).__name__} is no statement")

    @run.register
    def _(self, statement: Step) -> Run:
        body = self.block(statement.body)

        def step(state: State) -> None:
            body(state)
            state.scalar.clear()

        return step

    @run.register
    def _(self, statement: Asked) -> Run:
        body = self.block(statement.body)

        def asked(state: State) -> None:
            if any(state.memory[name] is not None for name in statement.pointers):
                body(state)

        return asked

    @run.register
    def _(self, statement: For) -> Run:
        name, count, body = str(statement.index), self.number(statement.extent), self.block(statement.body)
        local = _lets(statement.body)

        def loop(state: State) -> None:
            for state.index[name] in range(count):
                for scalar in local:
                    state.scalar.pop(scalar, None)
                body(state)
            state.index.pop(name, None)

        return loop

    @run.register
    def _(self, statement: Let) -> Run:
        value = self.value(statement.value)

        def let(state: State) -> None:
            state.scalar[statement.name] = value(state)

        return let

    @run.register
    def _(self, statement: Accumulate) -> Run:
        value = self.value(statement.value)

        def accumulate(state: State) -> None:
            state.scalar[statement.name] += value(state)

        return accumulate

    @run.register
    def _(self, statement: Select) -> Run:
        name, place = str(statement.index), self.place(statement.place)

        def select(state: State) -> None:
            region = state.memory.region(statement.buffer)
            state.index[name] = int(region.read(region.at(place(state))))

        return select

    @run.register
    def _(self, statement: Largest) -> Run:
        lets, value = self.block(statement.lets), self.value(statement.value)
        running, count = str(statement.running), self.number(statement.extent)

        def largest(state: State) -> None:
            entries = []
            for state.index[running] in range(count):
                lets(state)
                entries.append(value(state))
            state.index[str(statement.index)] = int(np.argmax(entries))

        return largest

    @run.register
    def _(self, statement: Store) -> Run:
        place, value = self.place(statement.place), self.value(statement.value)
        inside = self.inside(statement.guards)

        def store(state: State) -> None:
            if inside(state):
                region = state.memory.region(statement.buffer)
                offset = region.at(place(state))
                old = region.read(offset) if statement.add else 0.0
                region.write(offset, old + value(state))

        return store

    @run.register
    def _(self, statement: Fill) -> Run:
        def fill(state: State) -> None:
            state.memory.region(statement.buffer).write(slice(None), 0.0)

        return fill

    @run.register
    def _(self, statement: Gemm) -> Run:
        m, n, k = (self.number(size) for size in (statement.M, statement.N, statement.K))
        alpha = float(statement.alpha.subs(self.sizes))
        a, b, c = (
            self.matrix(matrix, rows, columns)
            for matrix, rows, columns in (
                (statement.A, m, k),
                (statement.B, k, n),
                (statement.C, m, n),
            )
        )

        def gemm(state: State) -> None:
            (_, left), (_, right), (target, old) = a(state), b(state), c(state)
            product = alpha * left[1].astype(np.float64) @ right[1].astype(np.float64)
            if len(np.unique(old[0])) != old[0].size:
                raise InterpretationError(f"{target.name}: two entries of a product are one")
            target.write(old[0], old[1] + product)

        return gemm

    def matrix(self, matrix: Matrix, rows: int, columns: int) -> Callable[[State], Any]:
        """A buffer's region, and the offsets and entries of a matrix in it."""
        start, row, column = self.whole(matrix.offset), self.number(matrix.row), self.number(matrix.column)
        steps = np.add.outer(row * np.arange(rows), column * np.arange(columns))

        def part(state: State) -> tuple[Region, tuple[Array, Array]]:
            region = state.memory.region(matrix.buffer)
            offsets = start(state) + steps
            if offsets.size and not 0 <= offsets.min() <= offsets.max() < region.entries.size:
                raise InterpretationError(f"{region.name}: a matrix reaches outside of {region.shape}")
            return region, (offsets, region.read(offsets))

        return part


def _lets(statements: Iterable[Statement]) -> list[str]:
    """The scalars that statements name, at any depth."""
    names = []
    for statement in statements:
        if isinstance(statement, Let):
            names.append(statement.name)
        names += _lets(getattr(statement, "body", ())) + _lets(getattr(statement, "lets", ()))
    return names


class Interpreted:
    """A lowered kernel under the protocol of compiled ones: `kernel(x, W, out=.., saved=..)`."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.name = f"{kernel.program.layer.name}.{kernel.program.name}"
        self._compiled: dict[tuple[int, ...], Run] = {}

    @cached_property
    def declaration(self) -> Declaration:
        """What the emitted module declares of the kernel."""
        program = self.kernel.program
        arguments = zip(program.arguments, self.kernel.arguments, strict=True)
        results = zip(program.results, self.kernel.results, strict=True)
        return Declaration(
            self.name,
            tuple(map(str, self.kernel.sizes)),
            tuple(self._argument(a, buffers) for a, buffers in arguments),
            tuple(
                Argument(r.name, "result", tuple(Leaf(b.name, self._extents(b)) for b in buffers))
                for r, buffers in results
            ),
            "accumulate" if program.accumulate else "overwrite",
            self.saved_role,
        )

    def _argument(self, argument: LayerArgument, buffers: tuple[Buffer, ...]) -> Argument:
        found = []
        for buffer, space in zip(buffers, leaves(argument.variable.space), strict=True):
            if isinstance(space, Indices):
                bound = self._extent(space.bound)
                found.append(Leaf(buffer.name, self._extents(buffer), "index", bound))
            else:
                kind = "mask" if argument.role == MASK else "real"
                found.append(Leaf(buffer.name, self._extents(buffer), kind))
        role = "given" if argument.role == MASK else argument.role
        return Argument(argument.name, role, tuple(found))

    def _extents(self, buffer: Buffer) -> tuple[Any, ...]:
        return tuple(self._extent(extent) for extent in buffer.shape)

    def _extent(self, extent: sympy.Expr) -> Any:
        if extent in self.kernel.sizes:
            return str(extent)
        return int(extent) if extent.is_Integer else lambda *sizes: self._count(extent, sizes)

    def _count(self, expression: sympy.Expr, sizes: Sequence[int]) -> int:
        return int(expression.subs(dict(zip(self.kernel.sizes, sizes, strict=True))))

    @property
    def mode(self) -> str:
        return self.declaration.mode

    @property
    def saved_role(self) -> str | None:
        if not self.kernel.saved:
            return None
        return "read" if self.kernel.program.reads_saved else "written"

    def saved_size(self, **sizes: int) -> int:
        """The number of saved entries at these sizes."""
        return self._count(self.kernel.saved_count, [sizes[str(s)] for s in self.kernel.sizes])

    def workspace_size(self, **sizes: int) -> int:
        """The number of workspace entries at these sizes."""
        return self._count(self.kernel.workspace_count, [sizes[str(s)] for s in self.kernel.sizes])

    def __call__(
        self, *given: Any, out: Any = None, saved: Any = None, workspace: Any = None, **named: Any
    ) -> Any:
        """Runs the kernel.  Raises InterpretationError where a statement does what it may not."""
        ordered, rest = self.declaration.ordered(given, named)
        arguments = [
            np.asarray(part)
            for argument, value in zip(self.declaration.arguments, ordered, strict=True)
            for part in self.declaration.parts(argument, value)
        ]
        sizes = self._sizes(arguments, rest)
        results = self._results(out, sizes, arguments)
        memory = self._memory(sizes, arguments, results, saved, workspace)
        key = tuple(sizes.values())
        if key not in self._compiled:
            known = dict(zip(self.kernel.sizes, key, strict=True))
            self._compiled[key] = Compiled(known).block(self.kernel.steps)
        self._compiled[key](State(memory, {}, {}))
        return self.declaration.gathered(results)

    def _sizes(self, arguments: Sequence[Array], rest: dict[str, Any]) -> dict[str, int]:
        found: dict[str, int] = dict(rest)
        buffers = [b for group in self.kernel.arguments for b in group]
        for buffer, array in zip(buffers, arguments, strict=True):
            shape = array.shape if array.ndim == len(buffer.shape) else (1, *array.shape)
            pairs = zip(buffer.shape, shape, strict=True)
            found.update({str(e): n for e, n in pairs if isinstance(e, sympy.Symbol)})
        return {str(size): found[str(size)] for size in self.kernel.sizes}

    def _results(self, out: Any, sizes: dict[str, int], arguments: Sequence[Array]) -> list[Any]:
        if out is not None:
            return self.declaration.outputs(out)
        make = np.zeros if self.kernel.program.accumulate else np.empty
        buffers = [b for group in self.kernel.results for b in group]
        shapes = [[self._count(e, list(sizes.values())) for e in b.shape] for b in buffers]
        reals = [a.dtype for a in arguments if a.dtype.kind == "f"]
        without = any(
            a.ndim < len(b.shape)
            for group, a in zip([b for g in self.kernel.arguments for b in g], arguments, strict=True)
            for b in [group]
        )
        batched = [r.batched for r, g in zip(self.kernel.program.results, self.kernel.results, strict=True) for _ in g]
        return [
            make(shape[1:] if without and has else shape, reals[0])
            for shape, has in zip(shapes, batched, strict=True)
        ]

    def _memory(
        self, sizes: dict[str, int], arguments: Any, results: Any, saved: Any, workspace: Any
    ) -> Memory:
        memory, compiled = Memory(), Compiled(dict(zip(self.kernel.sizes, sizes.values(), strict=True)))
        number = iter(range(10**6))

        def add(buffer: Buffer, flat: Array, writer: Array, writable: bool, own: int) -> None:
            memory[buffer.name] = Region(
                buffer.name, flat, compiled.shape(buffer), writer, own, writable
            )

        for buffers, arrays, writable in (
            (self.kernel.arguments, arguments, False),
            (self.kernel.results, results, True),
        ):
            for buffer, array in zip([b for g in buffers for b in g], arrays, strict=True):
                if array is None:
                    memory[buffer.name] = None
                    continue
                fresh = writable and not self.kernel.program.accumulate
                own = next(number)
                writer = np.full(array.size, UNWRITTEN if fresh else own)
                add(buffer, array.reshape(-1), writer, writable, own)
        memory["saved"] = None
        start = 0
        for buffer in self.kernel.saved:
            count = compiled.number(buffer.count)
            memory[buffer.name] = None
            if saved is not None:
                reads, own = self.kernel.program.reads_saved, next(number)
                writer = np.full(count, own if reads else UNWRITTEN)
                add(buffer, saved[start : start + count], writer, not reads, own)
                memory["saved"] = memory[buffer.name]
            start += count
        count = compiled.number(self.kernel.workspace_count)
        space = np.full(count, np.nan) if workspace is None else workspace
        writer = np.full(count, UNWRITTEN)
        for buffer, offset in self.kernel.workspace:
            begin = compiled.number(offset)
            part = slice(begin, begin + compiled.number(buffer.count))
            add(buffer, space[part], writer[part], True, next(number))
        return memory
