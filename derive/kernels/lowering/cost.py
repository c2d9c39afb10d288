"""The cost of a kernel as formulas in the sizes: flops, calls of elementwise functions, bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, singledispatch

import sympy

from ..statements.loops import (
    Accumulate,
    Asked,
    Commented,
    Copy,
    Fill,
    For,
    Gemm,
    Largest,
    Let,
    Select,
    Selected,
    Statement,
    Store,
    Where,
)
from ..statements.scalars import Apply, Inside, Load, Local, Number, Position, Scalar, Sum, Times
from .kernel import Kernel

Count = tuple[sympy.Expr, sympy.Expr]  # flops, calls


@dataclass(frozen=True)
class Cost:
    """Closed forms: flops (an addition and a product are one each), calls of elementwise functions,
    and the bytes of arguments, results and saved values, which are moved at least, in float64.
    """

    flops: str
    calls: str
    bytes: str

    @property
    def lines(self) -> tuple[str, ...]:
        """The cost as it is printed; no calls are not mentioned."""
        calls = [f"{self.calls} calls of elementwise functions"] if self.calls != "0" else []
        moved = f"{self.bytes} bytes of arguments, results and saved values in float64"
        return (f"cost: {self.flops} flops", *calls, moved)


def cost(kernel: Kernel) -> tuple[str, ...]:
    """The lines of a kernel's cost."""
    return cost_of(kernel).lines if kernel.costs is None else kernel.costs


def cost_of(kernel: Kernel) -> Cost:
    """The cost of a kernel with everything asked for."""
    flops, calls = count(kernel)
    return Cost(closed_form(flops), closed_form(calls), closed_form(8 * _traffic(kernel)))


def count(kernel: Kernel) -> Count:
    """The flops and the calls of elementwise functions with everything asked for."""
    return _all(kernel.steps)


@lru_cache(maxsize=4096)  # a step's cost is printed with every kernel over sequences that calls it
def closed_form(expression: sympy.Expr) -> str:
    """An expression in the sizes as it is printed; `^` is a power."""
    return str(shortest(expression)).replace("**", "^")


def shortest(expression: sympy.Expr) -> sympy.Expr:
    """Multiplied out, unless that is twice as long: extents such as n - p + 1 are better left."""
    out, left = sympy.factor_terms(sympy.expand(expression)), sympy.factor_terms(expression)
    return left if 2 * len(str(left)) < len(str(out)) else out


def _traffic(kernel: Kernel) -> sympy.Expr:
    groups = [*kernel.arguments, *kernel.results, kernel.saved]
    return sum((buffer.count for group in groups for buffer in group), sympy.S.Zero)


def _all(statements: tuple[Statement, ...]) -> Count:
    return _added([_count(statement) for statement in statements])


def _added(counts: Sequence[Count]) -> Count:
    """All at once: sums that grow by one term each would be made anew for every one."""
    return sympy.Add(*(flops for flops, _ in counts)), sympy.Add(*(calls for _, calls in counts))


@singledispatch
def _count(statement: Statement) -> Count:
    raise TypeError(f"{type(statement).__name__} is no statement")


@_count.register
def _(s: Commented | Asked) -> Count:
    return _all(s.body)


@_count.register
def _(s: Where) -> Count:
    """As where everything is selected."""
    return _all(s.body)


@_count.register
def _(s: For) -> Count:
    flops, calls = _all(s.body)
    return s.extent * flops, s.extent * calls


@_count.register
def _(s: Let) -> Count:
    return _work(s.value)


@_count.register
def _(s: Accumulate) -> Count:
    flops, calls = _work(s.value)
    return flops + 1, calls


@_count.register
def _(s: Store) -> Count:
    flops, calls = _work(s.value)
    return flops + (1 if s.add else 0), calls


@_count.register
def _(s: Largest) -> Count:
    flops, calls = _work(s.value)
    inner, called = _all(s.lets)
    count = sympy.Mul(*s.extents)
    return count * (flops + inner), count * (calls + called)


@_count.register
def _(s: Select | Selected | Fill) -> Count:
    return sympy.S.Zero, sympy.S.Zero


@_count.register
def _(s: Copy) -> Count:
    return (s.count if s.add else sympy.S.Zero), sympy.S.Zero


@_count.register
def _(s: Gemm) -> Count:
    return 2 * s.M * s.N * s.K, sympy.S.Zero


@singledispatch
def _work(value: Scalar) -> Count:
    raise TypeError(f"{type(value).__name__} is not a scalar")


@_work.register
def _(value: Number | Local | Load | Position) -> Count:
    return sympy.S.Zero, sympy.S.Zero


@_work.register
def _(value: Inside) -> Count:
    return _work(value.value)


@_work.register
def _(value: Sum) -> Count:
    scaled = sum(1 for weight, _ in value.terms if abs(weight) != 1)
    return _parts(tuple(term for _, term in value.terms), len(value.terms) - 1 + scaled)


@_work.register
def _(value: Times) -> Count:
    return _parts(value.factors, len(value.factors) - 1)


@_work.register
def _(value: Apply) -> Count:
    flops, calls = _parts(value.arguments, 0)
    return (
        flops,
        calls if value.operation.keeps_common else calls + 1,
    )  # a selection computes nothing


def _parts(parts: tuple[Scalar, ...], own: int) -> Count:
    return _added([(sympy.Integer(own), sympy.S.Zero), *map(_work, parts)])
