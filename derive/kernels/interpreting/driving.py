"""Kernels over sequences without a compiler: their statements run on NumPy arrays.

Where a kernel calls a step, the NumPy reference evaluates the program of that step.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache, singledispatchmethod
from itertools import chain, islice
from typing import Any

import numpy as np
import sympy

from ...language.expressions import Variable
from ...language.reference import Array, Value, flat_arrays, values_of
from ...language.spaces import Product, Space
from ...models.programs import Result
from ..lowering.kernel import Kernel
from ..statements.loops import Asked, Call, Commented, Copy, Fill, For, Pointer, Statement, Where
from ..statements.scalars import Buffer, Load

Sizes = Mapping[sympy.Symbol, int]


class Drive:
    """One call of a kernel over a sequence: its arrays by name, flat, and the indices of its loops.

    The array of a result that is not asked for is None.  The workspace is made here, in float64.
    """

    def __init__(self, kernel: Kernel, sizes: Sizes, arrays: Mapping[str, Array | None]) -> None:
        self.kernel, self.sizes = kernel, dict(sizes)
        self.arrays: dict[str, Array | None] = dict(arrays)
        for buffer, _ in kernel.workspace:
            self.arrays[buffer.name] = np.full(self.number(buffer.count), np.nan)

    def __call__(self) -> None:
        """Runs the statements in order."""
        self.block(self.kernel.steps)

    def number(self, expression: sympy.Expr) -> int:
        """A size or a place, at the current sizes and loop indices."""
        return number_at(expression, self.sizes)

    def block(self, statements: Iterable[Statement]) -> None:
        """Statements one after the other."""
        for statement in statements:
            self.run(statement)

    def part(self, pointer: Pointer, count: int) -> Array:
        """The entries from a place on."""
        array, start = self.arrays[pointer.buffer.name], self.number(pointer.offset)
        assert array is not None and start >= 0 and start + count <= array.size
        return array[start : start + count]

    @singledispatchmethod
    def run(self, statement: Statement) -> None:
        """One statement."""
        raise TypeError(f"{type(statement).__name__} is no statement of a kernel over sequences")

    @run.register
    def _(self, statement: Commented) -> None:
        self.block(statement.body)

    @run.register
    def _(self, statement: Asked) -> None:
        if any(self.arrays[name] is not None for name in statement.pointers):
            self.block(statement.body)

    @run.register
    def _(self, statement: Where) -> None:
        mask = statement.mask
        assert isinstance(mask, Load)
        place = sum(e * mask.buffer.stride(axis) for axis, e in enumerate(mask.place))
        if self.part(Pointer(mask.buffer, place), 1)[0] != 0:
            self.block(statement.body)

    @run.register
    def _(self, statement: For) -> None:
        for value in range(self.number(statement.extent)):
            self.sizes[statement.index] = value
            self.block(statement.body)
        self.sizes.pop(statement.index, None)

    @run.register
    def _(self, statement: Fill) -> None:
        array = self.arrays[statement.buffer.name]
        assert array is not None
        array[...] = 0

    @run.register
    def _(self, statement: Copy) -> None:
        count = self.number(statement.count)
        source, target = self.part(statement.source, count), self.part(statement.target, count)
        target[...] = target + source if statement.add else source

    @run.register
    def _(self, statement: Call) -> None:
        callee = self.kernel.callees[statement.name]
        sizes = {symbol: self.number(size) for symbol, size in statement.sizes}
        buffers = list(chain(*callee.arguments, *callee.results))
        pairs = zip(buffers, statement.arrays, strict=True)
        arrays = iter([self._shaped(buffer, pointer, sizes) for buffer, pointer in pairs])
        program = callee.program
        point = {a.variable: element(a.variable.space, arrays) for a in program.arguments}
        outs = [list(islice(arrays, len(group))) for group in callee.results]
        asked = [k for k, out in enumerate(outs) if any(array is not None for array in out)]
        found = values_of([program.results[k].node for k in asked], point, sizes)
        for k, value in zip(asked, found, strict=True):
            rows = rows_of(program.results[k], point, sizes)
            put(value, outs[k], program.adds(program.results[k]), rows)

    def _shaped(self, buffer: Buffer, pointer: Pointer | None, sizes: Sizes) -> Array | None:
        """The array of a step, a view of the memory behind a pointer."""
        if pointer is None or self.arrays[pointer.buffer.name] is None:
            return None
        shape = tuple(number_at(extent, sizes) for extent in buffer.shape)
        return self.part(pointer, int(np.prod(shape))).reshape(shape)


def number_at(expression: sympy.Expr, sizes: Sizes) -> int:
    """An expression in sizes and loop indices.  Cached: every step asks for it again."""
    return _number(expression, *(sizes[symbol] for symbol in _symbols(expression)))


@lru_cache(maxsize=65536)
def _symbols(expression: sympy.Expr) -> tuple[sympy.Symbol, ...]:
    return tuple(sorted(sympy.sympify(expression).free_symbols, key=str))


@lru_cache(maxsize=65536)
def _number(expression: sympy.Expr, *values: int) -> int:
    pairs = zip(_symbols(expression), values, strict=True)
    return int(sympy.sympify(expression).subs(dict(pairs)))


def element(space: Space, arrays: Iterator[Array | None]) -> Value:
    """An element of a space from its arrays in order."""
    if isinstance(space, Product):
        return tuple(element(factor, arrays) for factor in space.factors)
    return next(arrays)


def rows_of(result: Result, point: Mapping[Variable, Value], sizes: Sizes) -> Any:
    """The samples that a result is set for: those where its mask is not zero, or all."""
    if result.where is None:
        return ...
    return values_of([result.where], point, sizes)[0] != 0


def put(value: Any, arrays: Iterable[Array | None], adds: bool, rows: Any = ...) -> None:
    """Write a value into some rows of arrays, or add it there; an array may be None."""
    for computed, array in zip(flat_arrays(value), arrays, strict=True):
        if array is not None:
            array[rows] = array[rows] + computed[rows] if adds else computed[rows]
