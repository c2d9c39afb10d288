"""The statements of a lowered kernel as Python functions on checked memory.

Each load and store is checked against every axis of its buffer; a read of what was never written,
or of what another buffer left in the same workspace, is an error, and so is memory that is NULL.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, singledispatchmethod
from typing import Any

import numpy as np
import sympy

from ...language.reference import Array
from ...language.scalars.operations import Operation
from ..statements.loops import (
    Accumulate,
    Asked,
    Commented,
    Fill,
    For,
    Gemm,
    Largest,
    Let,
    Matrix,
    Select,
    Selected,
    Statement,
    Store,
    Where,
)
from ..statements.scalars import (
    Apply,
    Buffer,
    Guards,
    Inside,
    Load,
    Local,
    Number,
    Position,
    Scalar,
    Subscript,
    Sum,
    Times,
)

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
    is_read: bool = False

    def at(self, place: Sequence[int]) -> int:
        """The offset of a place, every axis checked."""
        offset = 0
        for entry, extent in zip(place, self.shape, strict=True):
            if not 0 <= entry < extent:
                raise InterpretationError(f"{self.name}{list(place)} is outside of {self.shape}")
            offset = offset * extent + entry
        return offset

    def read(self, offset: Any, to_add: bool = False) -> Any:
        """Entries that were written before; `to_add`: only to be written again."""
        self.is_read |= not to_add
        own = self.writer[offset] == self.owner
        if not (own if isinstance(offset, int) else own.all()):
            raise InterpretationError(f"{self.name}: entry {offset} is read and was not written")
        return self.entries[offset]

    def write(self, offset: Any, value: Any) -> None:
        """Sets entries."""
        if not self.writable:
            raise InterpretationError(f"{self.name} is written to and is an input")
        self.entries[offset], self.writer[offset] = value, self.owner


class Memory(dict[str, Region | None]):
    """The regions by name; None stands for NULL.  `scratch` are those in the workspace."""

    def __init__(self) -> None:
        super().__init__()
        self.scratch: list[Region] = []

    def check_use(self) -> None:
        """Every workspace buffer that was written was read: nothing is written but never read."""
        for region in self.scratch:
            if np.any(region.writer == region.owner) and not region.is_read:
                raise InterpretationError(f"{region.name} is computed and nothing reads it")

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
_Part = tuple[Region, Array]


@cache
def _psi(operation: Operation, *arguments: float) -> float:
    return float(operation(*arguments))


_Sizes = tuple[tuple[sympy.Symbol, int], ...]


@cache
def _known(expression: sympy.Expr, sizes: _Sizes) -> sympy.Expr:
    return sympy.expand(expression.subs(dict(sizes)))


@cache
def _affine(expression: sympy.Expr, sizes: _Sizes) -> tuple[int, list[tuple[str, int]]]:
    """The constant of an expression, and the loop indices with their coefficients."""
    known = _known(expression, sizes)
    steps = [(str(s), int(known.coeff(s))) for s in sorted(known.free_symbols, key=str)]
    return int(known.subs(dict.fromkeys(known.free_symbols, 0))), steps


class Compiled:
    """Statements and scalars as Python functions, at known sizes."""

    def __init__(self, sizes: Mapping[sympy.Symbol, int]) -> None:
        self.sizes = tuple(sizes.items())

    # --- whole numbers

    def number(self, expression: sympy.Expr) -> int:
        """A size."""
        return int(_known(expression, self.sizes))

    def coefficient(self, expression: sympy.Expr) -> float:
        """A weight, in which sizes may appear."""
        return float(_known(expression, self.sizes))

    def shape(self, buffer: Buffer) -> tuple[int, ...]:
        """The extents of a buffer."""
        return tuple(self.number(extent) for extent in buffer.shape)

    def whole(self, expression: sympy.Expr) -> Whole:
        """An expression that is affine in the loop indices."""
        start, steps = _affine(expression, self.sizes)
        if not steps:
            return lambda state: start
        return lambda state: start + sum(step * state.index[name] for name, step in steps)

    def place(self, place: Subscript) -> Callable[[State], list[int]]:
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
        raise TypeError(f"{type(scalar).__name__} is not a scalar")

    @value.register
    def _(self, scalar: Number) -> Value:
        number = self.coefficient(scalar.value)
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
    def _(self, scalar: Position) -> Value:
        return lambda state: float(state.index[str(scalar.index)])

    @value.register
    def _(self, scalar: Inside) -> Value:
        inside, value = self.inside(scalar.guards), self.value(scalar.value)
        return lambda state: value(state) if inside(state) else 0.0

    @value.register
    def _(self, scalar: Sum) -> Value:
        terms = [(self.coefficient(w), self.value(term)) for w, term in scalar.terms]
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
    def _(self, statement: Commented) -> Run:
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
    def _(self, statement: Where) -> Run:
        mask, body = self.value(statement.mask), self.block(statement.body)

        def where(state: State) -> None:
            if mask(state) != 0:
                body(state)

        return where

    @run.register
    def _(self, statement: For) -> Run:
        name, count, body = (
            str(statement.index),
            self.number(statement.extent),
            self.block(statement.body),
        )
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
        count = self.number(statement.extent)

        def select(state: State) -> None:
            region = state.memory.region(statement.buffer)
            found = region.read(region.at(place(state)))
            state.index[name] = int(found) if 0 <= found < count else 0

        return select

    @run.register
    def _(self, statement: Largest) -> Run:
        lets, value = self.block(statement.lets), self.value(statement.value)
        found, running = ([*map(str, names)] for names in (statement.indices, statement.running))
        window = [self.number(extent) for extent in statement.extents]
        inside = self.inside(statement.guards)

        def largest(state: State) -> None:
            entries = {}
            for places in np.ndindex(*window):
                state.index.update(zip(running, places, strict=True))
                if inside(state):
                    lets(state)
                    entries[places] = value(state)
            first = int(np.argmax([*entries.values()])) if entries else 0
            place = [*entries][first] if entries else [0] * len(window)
            state.index.update(zip(found, place, strict=True))

        return largest

    @run.register
    def _(self, statement: Store) -> Run:
        place, value = self.place(statement.place), self.value(statement.value)
        inside = self.inside(statement.guards)

        def store(state: State) -> None:
            if inside(state):
                region = state.memory.region(statement.buffer)
                offset = region.at(place(state))
                old = region.read(offset, to_add=True) if statement.add else 0.0
                region.write(offset, old + value(state))

        return store

    @run.register
    def _(self, statement: Selected) -> Run:
        width = self.number(statement.width)

        def selected(state: State) -> None:
            regions = (state.memory.region(b) for b in (statement.mask, statement.source))
            mask, source = (region.read(slice(None)) for region in regions)
            rows = np.where(mask.reshape(-1, 1) != 0, source.reshape(-1, width), 0.0)
            state.memory.region(statement.target).write(slice(None), rows.reshape(-1))

        return selected

    @run.register
    def _(self, statement: Fill) -> Run:
        def fill(state: State) -> None:
            state.memory.region(statement.buffer).write(slice(None), 0.0)

        return fill

    @run.register
    def _(self, statement: Gemm) -> Run:
        m, n, k = (self.number(size) for size in (statement.M, statement.N, statement.K))
        alpha = self.coefficient(statement.alpha)
        a, b, c = (
            self.matrix(matrix, rows, columns)
            for matrix, rows, columns in (
                (statement.A, m, k),
                (statement.B, k, n),
                (statement.C, m, n),
            )
        )

        def gemm(state: State) -> None:
            left, right = (region.read(offsets) for region, offsets in (a(state), b(state)))
            product = alpha * left.astype(np.float64) @ right.astype(np.float64)
            target, offsets = c(state)
            if len(np.unique(offsets)) != offsets.size:
                raise InterpretationError(f"{target.name}: two entries of a product are one")
            target.write(offsets, target.read(offsets, to_add=True) + product)

        return gemm

    def matrix(self, matrix: Matrix, rows: int, columns: int) -> Callable[[State], _Part]:
        """A buffer's region, and the offsets of a matrix's entries in it."""
        start = self.whole(matrix.offset)
        row, column = self.number(matrix.row), self.number(matrix.column)
        steps = np.add.outer(row * np.arange(rows), column * np.arange(columns))

        def part(state: State) -> _Part:
            region, offsets = state.memory.region(matrix.buffer), start(state) + steps
            if offsets.size and not 0 <= offsets.min() <= offsets.max() < region.entries.size:
                raise InterpretationError(f"{region.name}: a matrix reaches out of {region.shape}")
            return region, offsets

        return part


def _lets(statements: Iterable[Statement]) -> list[str]:
    """The scalars that statements name, at any depth."""
    names = []
    for statement in statements:
        if isinstance(statement, Let):
            names.append(statement.name)
        names += _lets(getattr(statement, "body", ())) + _lets(getattr(statement, "lets", ()))
    return names
