"""The scalars and whole numbers of a lowered kernel as Python functions, at known sizes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, singledispatchmethod

import sympy

from ...language.scalars.operations import Operation
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
from .memory import Memory


@dataclass
class State:
    """What changes while a kernel runs: memory, loop indices, named scalars."""

    memory: Memory
    index: dict[str, int]
    scalar: dict[str, float]


Value = Callable[[State], float]
Whole = Callable[[State], int]


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


class Scalars:
    """Functions of the state of a running kernel, one for each scalar."""

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
