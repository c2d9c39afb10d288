"""One fold over SymPy's scalar expressions, in several algebras.

    evaluate(expression, values, algebra)

reads every node once and asks the algebra for sums, quotients, calls and choices. The algebras
are NumPy arrays, numbers of any precision (`algebras`), and the source text of kernels; another one
is a class with the same methods. A NaN stays a NaN in all of them (`conditions`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, singledispatch
from typing import Any, Protocol, TypeVar

import sympy

from .conditions import Comparison, Condition, comparisons, selection
from .scalars import FUNCTIONS, KNOWN, ScalarError, is_constant
from .stable import StableFunction, less_log_2

T = TypeVar("T")


class Algebra(Protocol[T]):
    """What values are to an expression. Numbers come unsigned: a minus is `negate` or in `add`."""

    def variable(self, value: T) -> T: ...
    def constant(self, number: sympy.Expr) -> T: ...
    def negate(self, value: T) -> T: ...
    def add(self, plus: Sequence[T], minus: Sequence[T]) -> T: ...
    def multiply(self, above: Sequence[T], below: Sequence[T]) -> T: ...
    def power(self, base: T, exponent: int) -> T: ...
    def call(self, name: str, *arguments: T) -> T: ...
    def compare(self, relation: str, left: T, right: T) -> Any: ...
    def join(self, word: str, parts: Sequence[Any]) -> Any: ...
    def select(self, branches: Sequence[tuple[T, Any]], fallback: T) -> T: ...


@dataclass(frozen=True)
class Step:
    """How a node's value comes from the values of its operands."""

    operands: tuple[sympy.Expr, ...]
    value: Callable[[Any, Mapping[sympy.Expr, Any]], Any]


def _is_negative(node: sympy.Expr) -> bool:
    return bool(node.as_coeff_Mul()[0].is_extended_negative)


def _quotient(
    node: sympy.Expr,
) -> tuple[bool, tuple[sympy.Expr, ...], tuple[sympy.Expr, ...]]:
    """-? above/below: the sign, the factors above (the number first) and those below."""
    numbers = [factor for factor in sympy.Mul.make_args(node) if is_constant(factor)]
    factors = [factor for factor in sympy.Mul.make_args(node) if not is_constant(factor)]
    number = sympy.Mul(*numbers)
    inverse = [f for f in factors if f.is_Pow and _is_negative(f.exp) and f.exp.is_Number]
    above = [f for f in factors if f not in inverse]
    size = -number if number.is_extended_negative else number
    if size != 1 or not above:
        above.insert(0, size)
    return size is not number, tuple(above), tuple(f.base**-f.exp for f in inverse)


def _product_step(node: sympy.Expr) -> Step:
    negative, above, below = _quotient(node)

    def value(algebra: Any, of: Mapping[sympy.Expr, Any]) -> Any:
        product = algebra.multiply([of[f] for f in above], [of[f] for f in below])
        return algebra.negate(product) if negative else product

    return Step((*above, *below), value)


@singledispatch
def _step(node: sympy.Basic) -> Step:
    if type(node) not in FUNCTIONS:
        raise ScalarError(
            f"{type(node).__name__} in {node}: not a scalar function that can be emitted; known "
            f"are {KNOWN}; write it with these"
        )
    name = FUNCTIONS[type(node)]
    return Step(node.args, lambda algebra, of: algebra.call(name, *(of[a] for a in node.args)))


@_step.register
def _(node: StableFunction) -> Step:
    text = node.computed()
    return Step((text,), lambda algebra, of: of[text])


@_step.register
def _(node: less_log_2) -> Step:
    (u,), high = node.args, node.HIGH
    low = sympy.log(2) - high
    return Step(
        (u, high, low),
        lambda algebra, of: algebra.add([algebra.add([of[u]], [of[high]])], [of[low]]),
    )


@_step.register
def _(node: sympy.Add) -> Step:
    plus = tuple(term for term in node.args if not _is_negative(term))
    minus = tuple(-term for term in node.args if _is_negative(term))
    return Step(
        (*plus, *minus),
        lambda algebra, of: algebra.add([of[t] for t in plus], [of[t] for t in minus]),
    )


@_step.register
def _(node: sympy.Mul) -> Step:
    return _product_step(node)


@_step.register
def _(node: sympy.Pow) -> Step:
    base, exponent = node.args
    if exponent.is_Number and exponent.is_negative:
        return _product_step(node)
    if exponent.is_Integer:
        n = int(exponent)
        return Step((base,) * min(n, 4), lambda algebra, of: algebra.power(of[base], n))
    if exponent == sympy.Rational(1, 2):
        return Step((base,), lambda algebra, of: algebra.call("sqrt", of[base]))
    if exponent.is_Rational and exponent.q == 2:
        whole, root = base ** (exponent.p // 2), sympy.sqrt(base)
        return Step((whole, root), lambda algebra, of: algebra.multiply([of[whole], of[root]], []))
    return Step((base, exponent), lambda algebra, of: algebra.call("pow", of[base], of[exponent]))


@_step.register
def _(node: sympy.Piecewise) -> Step:
    chosen = selection(node)
    compared = [c for _, condition in chosen.branches for c in comparisons(condition)]
    sides = [side for c in compared for side in (c.left, c.right)]

    def holds(algebra: Any, of: Mapping[sympy.Expr, Any], condition: Condition) -> Any:
        if isinstance(condition, Comparison):
            return algebra.compare(condition.relation, of[condition.left], of[condition.right])
        return algebra.join(condition.word, [holds(algebra, of, p) for p in condition.parts])

    def value(algebra: Any, of: Mapping[sympy.Expr, Any]) -> Any:
        branches = [(of[v], holds(algebra, of, condition)) for v, condition in chosen.branches]
        return algebra.select(branches, algebra.add([of[t] for t in chosen.fallback], []))

    values = (v for v, _ in chosen.branches)
    return Step((*values, *sides, *chosen.fallback), value)


def _constant_step(number: sympy.Expr) -> Step:
    if number.is_extended_real is False and number is not sympy.nan:
        raise ScalarError(f"{number} is not a real number; write a real-valued formula")
    if number.is_extended_negative:
        return Step((), lambda algebra, of: algebra.negate(algebra.constant(-number)))
    return Step((), lambda algebra, of: algebra.constant(number))


@lru_cache(maxsize=4096)  # one formula is evaluated at many points
def steps(expression: sympy.Expr) -> Mapping[sympy.Expr, Step]:
    """Every node under the expression, once and after its operands, with the step that makes it.

    Raises ScalarError where a node is of no known kind.
    """
    made: dict[sympy.Expr, Step] = {}
    done: dict[sympy.Expr, Step] = {}
    stack = [expression]
    while stack:
        node = stack[-1]
        if node not in made and not isinstance(node, sympy.Symbol):
            made[node] = _constant_step(node) if is_constant(node) else _step(node)
            stack.extend(reversed(made[node].operands))
        else:
            stack.pop()
            if node in made:
                done.setdefault(node, made[node])
    return done


def fold(
    expression: sympy.Expr,
    values: Mapping[sympy.Symbol, Any],
    algebra: Any,
    keep: Callable[[sympy.Expr, Any], Any],
) -> Any:
    """`evaluate`, where keep(node, value) is what stands for the value of a node from then on."""
    made = steps(expression)
    nodes = dict.fromkeys([expression, *(x for step in made.values() for x in step.operands)])
    missing = [x.name for x in nodes if isinstance(x, sympy.Symbol) and x not in values]
    if missing:
        raise ScalarError(
            f"{expression}: no value for {', '.join(missing)}; got values for "
            f"{', '.join(map(str, values)) or 'nothing'}"
        )
    of = {symbol: algebra.variable(value) for symbol, value in values.items()}
    for node, step in made.items():
        of[node] = keep(node, step.value(algebra, of))
    return of[expression]


def evaluate(expression: sympy.Expr, values: Mapping[sympy.Symbol, T], algebra: Algebra[T]) -> T:
    """The value of a scalar expression where its symbols have the given values.

    Known are numbers, pi, E, infinity and NaN, +, *, **, sqrt, the functions of `FUNCTIONS` and
    Piecewise on comparisons. Raises ScalarError naming an unknown function or a symbol without
    value.

    >>> from derive.language.scalars.algebras import Multiprecision
    >>> t = sympy.Symbol("t", real=True)
    >>> print(evaluate(4 * sympy.sqrt(t) / (1 + t) ** 2, {t: 4}, Multiprecision()))
    0.32
    """
    value: T = fold(expression, values, algebra, lambda node, value: value)
    return value
