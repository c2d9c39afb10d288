"""What an expression does entry by entry as one scalar formula, and back.

Sums, Hadamard products and elementwise functions of one array space are read as SymPy's, so that
the laws of scalar functions apply to them; anything else, and what lies deeper than `DEPTH`, is a
symbol.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import reduce

import sympy

from ...language.expressions import (
    Constant,
    Contraction,
    Elementwise,
    LinearCombination,
    Node,
    constant,
    elementwise,
    hadamard,
    linear_combination,
    power,
)
from ...language.scalars.operations import Operation
from ...language.scalars.shipped import OPERATION_OF, quotient, reciprocal, sqrt
from ...language.spaces import Space

DEPTH = 6  # of a scalar law's formula at most, in operations


class Scalars:
    """The symbols that stand for expressions in scalar formulas."""

    def __init__(self, is_open: Callable[[Node], bool]) -> None:
        self.is_open = is_open
        self.symbol: dict[Node, sympy.Symbol] = {}

    def formula(self, node: Node, depth: int = DEPTH) -> sympy.Expr:
        """The expression as a formula; parts that are not open are symbols."""
        if isinstance(node, Constant):
            return node.value
        if depth and (depth == DEPTH or self.is_open(node)):
            made = _made(node, [self.formula(x, depth - 1) for x in node.operands])
            if made is not None:
                return made
        return self.symbol.setdefault(node, sympy.Dummy(f"u{len(self.symbol)}", real=True))

    def expression(self, formula: sympy.Expr, space: Space) -> Node | None:
        """The formula as an expression of the space; None where a function has no operation."""
        node_of = {symbol: node for node, symbol in self.symbol.items()}
        return _expression(formula, space, node_of)


def is_plain(psi: Operation) -> bool:
    """Whether a function is its formula alone, with no other form of it or its derivative given."""
    said = psi.stable != psi.rewritten or psi.stable_derivatives
    return not said or psi in OPERATION_OF.values()


def _made(node: Node, operands: list[sympy.Expr]) -> sympy.Expr | None:
    """What a node makes of its operands' formulas; None where it is not entry by entry."""
    if isinstance(node, LinearCombination):
        return sympy.Add(*(w * x for (w, _), x in zip(node.terms, operands, strict=True)))
    if isinstance(node, Elementwise) and is_plain(node.operation):
        psi = node.operation
        if psi.rewritten.has(sympy.Piecewise):
            return None
        return psi.rewritten.xreplace(dict(zip(psi.arguments, operands, strict=True)))
    if isinstance(node, Contraction) and node.is_entrywise:
        return sympy.Mul(*operands)
    return None


def _expression(
    formula: sympy.Expr, space: Space, node_of: Mapping[sympy.Symbol, Node]
) -> Node | None:
    """Depth is that of a law's formula: a few operations."""
    if formula in node_of:
        return node_of[formula]
    if not formula.free_symbols & node_of.keys():
        return constant(formula, space) if _is_number(formula) else None
    parts = [_expression(part, space, node_of) for part in _parts(formula, node_of)]
    return None if any(part is None for part in parts) else _built(formula, parts, node_of)  # type: ignore[arg-type]


def _parts(formula: sympy.Expr, node_of: Mapping[sympy.Symbol, Node]) -> list[sympy.Expr]:
    """The parts of a formula's expression; numbers in front do not count."""
    if isinstance(formula, sympy.Add):
        return [_split(term, node_of)[1] for term in formula.args]
    if isinstance(formula, sympy.Mul):
        above, below = _fraction(_split(formula, node_of)[1])
        return [*above, below] if below != 1 else [*above]
    return [formula.args[0]]


def _is_number(value: sympy.Expr) -> bool:
    return bool(value.is_finite and value.is_extended_real)


def _split(term: sympy.Expr, node_of: Mapping[sympy.Symbol, Node]) -> tuple[sympy.Expr, sympy.Expr]:
    """The factor without an expression in it, and the rest."""
    factor, rest = term.as_independent(*node_of, as_Add=False)
    return factor, rest


def _fraction(product: sympy.Expr) -> tuple[tuple[sympy.Expr, ...], sympy.Expr]:
    """The factors above, and the product of those below; sums and exponentials stay as they are."""
    factors = sympy.Mul.make_args(product)
    below = [f for f in factors if f.is_Pow and f.exp.is_Rational and f.exp < 0]
    above = tuple(f for f in factors if f not in below)
    return above, sympy.Mul(*(f.base**-f.exp for f in below))


def _built(
    formula: sympy.Expr, parts: list[Node], node_of: Mapping[sympy.Symbol, Node]
) -> Node | None:
    if isinstance(formula, sympy.Add):
        weights = [_split(term, node_of)[0] for term in formula.args]
        terms = zip(weights, parts, strict=True)
        return linear_combination(terms) if all(map(_is_number, weights)) else None
    if isinstance(formula, sympy.Mul):
        weight, rest = _split(formula, node_of)
        made = reduce(hadamard, parts) if _fraction(rest)[1] == 1 else _quotient(parts)
        return linear_combination([(weight, made)]) if _is_number(weight) else None
    if isinstance(formula, sympy.Pow):
        return raised(parts[0], formula.exp) if formula.exp.is_Rational else None
    psi = OPERATION_OF.get(formula.func)
    return elementwise(psi, parts[0]) if psi and len(formula.args) == 1 else None


def _quotient(parts: list[Node]) -> Node:
    """All but the last over the last."""
    *above, below = parts
    return elementwise(quotient, reduce(hadamard, above), below) if above else 1 / below


def raised(x: Node, exponent: sympy.Rational) -> Node:
    """x**p by the function that is shipped for it."""
    if exponent == 0:
        return constant(sympy.S.One, x.space)
    psi = {-1: reciprocal, sympy.S.Half: sqrt}.get(exponent)
    return power(x, exponent) if psi is None else elementwise(psi, x)
