"""Where a formula with open symbols fits a scalar expression.

An open symbol stands for any expression; one that is declared positive stands for a number of its
kind (a positive integer, a positive number).  In a sum or product one symbol takes what is left.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import permutations

import sympy

Binding = Mapping[sympy.Symbol, sympy.Expr]


def fits(pattern: sympy.Expr, expression: sympy.Expr, bound: Binding) -> Iterator[Binding]:
    """What the open symbols must be for the pattern to be the expression."""
    if isinstance(pattern, sympy.Symbol):
        yield from _symbol(pattern, expression, bound)
    elif not pattern.free_symbols:
        if pattern == expression:
            yield bound
    elif pattern.is_Mul:
        yield from _product(pattern, expression, bound)
    elif pattern.is_Add:
        yield from _sum(pattern, expression, bound)
    elif pattern.is_Pow:
        yield from _power(pattern, expression, bound)
    elif pattern.func == expression.func and len(pattern.args) == len(expression.args):
        yield from _each(pattern.args, expression.args, bound)


def _symbol(symbol: sympy.Symbol, expression: sympy.Expr, bound: Binding) -> Iterator[Binding]:
    if symbol in bound:
        if bound[symbol] == expression:
            yield bound
    elif not symbol.is_positive or _is_number_like(symbol, expression):
        yield {**bound, symbol: expression}


def _is_number_like(symbol: sympy.Symbol, expression: sympy.Expr) -> bool:
    whole = not symbol.is_integer or expression.is_Integer
    return bool(expression.is_number and expression.is_positive and whole)


def _each(
    patterns: Sequence[sympy.Expr], expressions: Sequence[sympy.Expr], bound: Binding
) -> Iterator[Binding]:
    if not patterns:
        yield bound
        return
    for found in fits(patterns[0], expressions[0], bound):
        yield from _each(patterns[1:], expressions[1:], found)


def _power(pattern: sympy.Pow, expression: sympy.Expr, bound: Binding) -> Iterator[Binding]:
    """A power; anything else is one with the exponent 1, if the pattern allows that."""
    if expression.is_Pow:
        yield from _each(pattern.args, expression.args, bound)
    elif pattern.exp.is_Symbol:
        yield from _each(pattern.args, (expression, sympy.S.One), bound)


def _product(pattern: sympy.Mul, expression: sympy.Expr, bound: Binding) -> Iterator[Binding]:
    """A rational factor is divided by; all others must be there."""
    number, factors = pattern.as_coeff_mul()
    rest = list(sympy.Mul.make_args(expression / number))
    yield from _parts(factors, rest, sympy.Mul, bound)


def _sum(pattern: sympy.Add, expression: sympy.Expr, bound: Binding) -> Iterator[Binding]:
    if expression.is_Add:
        yield from _parts(pattern.args, list(expression.args), sympy.Add, bound)


def _parts(
    patterns: Sequence[sympy.Expr], parts: list[sympy.Expr], kind: type, bound: Binding
) -> Iterator[Binding]:
    """Each pattern is one of the parts; a symbol is what is left of them."""
    symbols = [p for p in patterns if p.is_Symbol]
    others = [p for p in patterns if not p.is_Symbol]
    for order in permutations(others):
        for found, left in some(order, parts, bound):
            yield from _rest(symbols, kind(*left), kind, found)


def _rest(
    symbols: list[sympy.Symbol], left: sympy.Expr, kind: type, bound: Binding
) -> Iterator[Binding]:
    for known in (s for s in symbols if s in bound):
        left = left / bound[known] if kind is sympy.Mul else left - bound[known]
    unknown = [s for s in symbols if s not in bound]
    if len(unknown) == 1 and (kind is sympy.Mul or left != 0):
        yield from _symbol(unknown[0], left, bound)
    elif not unknown and left == (1 if kind is sympy.Mul else 0):
        yield bound


def some(
    patterns: Sequence[sympy.Expr], parts: list[sympy.Expr], bound: Binding
) -> Iterator[tuple[Binding, list[sympy.Expr]]]:
    """Each pattern fitted to another part, and the parts that are left."""
    if not patterns:
        yield bound, parts
        return
    for place, part in enumerate(parts):
        left = parts[:place] + parts[place + 1 :]
        for found in fits(patterns[0], part, bound):
            yield from some(patterns[1:], left, found)


def inside_product(pattern: sympy.Mul, expression: sympy.Expr) -> Iterator[tuple[Binding, object]]:
    """The pattern as some factors of a product, and the product of the others."""
    number, factors = pattern.as_coeff_mul()
    parts = list(sympy.Mul.make_args(expression))
    for order in permutations(factors):
        for found, left in some(order, parts, {}):
            yield found, sympy.Mul(*left) / number


def inside_sum(
    pattern: sympy.Add, expression: sympy.Expr
) -> Iterator[tuple[Binding, sympy.Expr, sympy.Expr]]:
    """The pattern times a ratio as some terms of a sum; the ratio, and the sum of the others."""
    first, *others = sorted(pattern.args, key=lambda term: term.is_number)
    number, core = first.as_coeff_Mul()
    for term in expression.args:
        for factor in _factors(term):
            for found in fits(core, factor, {}):
                ratio = term / (number * factor)
                wanted = [ratio * other.xreplace(found) for other in others]
                left = [part for part in expression.args if part != term]
                if all(part in left for part in wanted):
                    kept = [part for part in left if part not in wanted]
                    yield found, ratio, sympy.Add(*kept)


def _factors(term: sympy.Expr) -> Iterator[sympy.Expr]:
    """The factors of a term, those of whole powers among them."""
    for factor in sympy.Mul.make_args(term):
        yield factor
        if factor.is_Pow and factor.exp.is_Integer and factor.exp > 1:
            yield factor.base
