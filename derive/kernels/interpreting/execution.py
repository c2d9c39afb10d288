"""The statements of a lowered kernel as Python functions on checked memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import singledispatchmethod

import numpy as np

from ...language.reference import Array
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
from .memory import InterpretationError, Region
from .scalar_functions import Scalars, State

Run = Callable[[State], None]
_Part = tuple[Region, Array]


class Compiled:
    """Statements as functions that change the state, at the sizes of `scalars`."""

    def __init__(self, scalars: Scalars) -> None:
        self.scalars = scalars

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
        mask, body = self.scalars.value(statement.mask), self.block(statement.body)

        def where(state: State) -> None:
            if mask(state) != 0:
                body(state)

        return where

    @run.register
    def _(self, statement: For) -> Run:
        name, count, body = (
            str(statement.index),
            self.scalars.number(statement.extent),
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
        value = self.scalars.value(statement.value)

        def let(state: State) -> None:
            state.scalar[statement.name] = value(state)

        return let

    @run.register
    def _(self, statement: Accumulate) -> Run:
        value = self.scalars.value(statement.value)

        def accumulate(state: State) -> None:
            state.scalar[statement.name] += value(state)

        return accumulate

    @run.register
    def _(self, statement: Select) -> Run:
        name, place = str(statement.index), self.scalars.place(statement.place)
        count = self.scalars.number(statement.extent)

        def select(state: State) -> None:
            region = state.memory.region(statement.buffer)
            found = region.read(region.at(place(state)))
            state.index[name] = int(found) if 0 <= found < count else 0

        return select

    @run.register
    def _(self, statement: Largest) -> Run:
        lets, value = self.block(statement.lets), self.scalars.value(statement.value)
        found, running = ([*map(str, names)] for names in (statement.indices, statement.running))
        window = [self.scalars.number(extent) for extent in statement.extents]
        inside = self.scalars.inside(statement.guards)

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
        place, value = self.scalars.place(statement.place), self.scalars.value(statement.value)
        inside = self.scalars.inside(statement.guards)

        def store(state: State) -> None:
            if inside(state):
                region = state.memory.region(statement.buffer)
                offset = region.at(place(state))
                old = region.read(offset, to_add=True) if statement.add else 0.0
                region.write(offset, old + value(state))

        return store

    @run.register
    def _(self, statement: Selected) -> Run:
        width = self.scalars.number(statement.width)

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
        m, n, k = (self.scalars.number(size) for size in (statement.M, statement.N, statement.K))
        alpha = self.scalars.coefficient(statement.alpha)
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
        start = self.scalars.whole(matrix.offset)
        row, column = self.scalars.number(matrix.row), self.scalars.number(matrix.column)
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
