r"""Powers, roots and quotients, whose derivatives are powers again, with a number in front.

A derivative such as reciprocal'(s) is written as -1/s^2; the number goes to the front of the term
that it is a factor of, where the calculus keeps numbers.
"""

from __future__ import annotations

from collections.abc import Sequence

import sympy

from ...language.expressions import (
    Elementwise,
    Node,
    elementwise,
    linear_combination,
    power,
    scaled_part,
)
from ...language.notation import Writes
from ...language.patterns import pattern
from ...language.scalars import shipped
from ...language.scalars.operations import Operation
from ...language.spaces import R, Real
from ...language.walk import rebuild, topological
from ...vocabulary.linear import scale

WRITTEN = {"reciprocal", "sqrt", "root", "square", "quotient", "log"}
"""Shipped functions with their own notation, or whose derivatives are powers."""


def _is_written(psi: Operation) -> bool:
    return psi.name in WRITTEN and psi == shipped.shipped[psi.name]


def monomial(psi: Operation) -> tuple[sympy.Expr, list[sympy.Expr]] | None:
    """c and the exponents with psi(a, b) = c a^p b^q, for powers, quotients and their derivatives.

    None for every other function, including the logarithm itself.
    """
    declared = psi.declared or psi
    number, rest = psi.body.as_coeff_Mul()
    exponents = dict(factor.as_base_exp() for factor in sympy.Mul.make_args(rest))
    known = all(base in psi.arguments and p.is_Rational for base, p in exponents.items())
    if not known or not (_is_written(declared) or shipped.is_power(declared)):
        return None
    return number, [exponents.get(x, sympy.S.Zero) for x in psi.arguments]


def with_plain_powers(w: Writes, root: Node) -> dict[Node, Node]:
    """The root and its parts, with derivatives of powers written as powers; named parts stay."""
    new: dict[Node, Node] = {}
    for node in topological(root):
        if node in w.names and node is not root:
            new[node] = node
        else:
            new[node] = _plain(rebuild(node, [new[operand] for operand in node.operands]), w)
    return new


def _plain(node: Node, w: Writes) -> Node:
    """The node as a number times a product of powers, if it is one."""
    found = monomial(node.operation) if isinstance(node, Elementwise) else None
    if not isinstance(node, Elementwise) or found is None:
        return node
    number, exponents = found
    if len(node.arguments) == 1:
        (x,), (p,) = node.arguments, exponents
        is_root = (node.operation.declared or node.operation) == shipped.root
        half = shipped.root if is_root else shipped.sqrt
        return linear_combination([(number, _power(x, p, w, half))])
    if any(node.operation.orders):
        return linear_combination([(number, _quotient(node.arguments, exponents, w))])
    return _divided(node, w)


def _quotient(arguments: Sequence[Node], exponents: Sequence[sympy.Expr], w: Writes) -> Node:
    """a^p / b^-q, with p at least 0 and q at most."""
    (a, b), (p, q) = arguments, exponents
    if p == 0 or q == 0:
        return _power(*((b, q) if p == 0 else (a, p)), w)
    return elementwise(shipped.quotient, _power(a, p, w), _power(b, -q, w))


def _power(x: Node, p: sympy.Expr, w: Writes, half: Operation | None = None) -> Node:
    """x^p: for a number as a root or its reciprocal, else with nested powers combined."""
    half = half or shipped.sqrt
    scalar = is_scalar(w, x)
    q = None if scalar or x in w.names else _exponent(x)
    if q is not None and (p.is_Integer or not q.is_Integer):  # but (x^2)^(1/2) is |x|
        return _power(x.operands[0], p * q, w)
    if scalar and p == sympy.Rational(-1, 2):
        return elementwise(shipped.reciprocal, elementwise(half, x))
    named = {-1: shipped.reciprocal, sympy.Rational(1, 2): half}
    return elementwise(named[p], x) if p in named else power(x, p)


def is_scalar(w: Writes, node: Node) -> bool:
    """Whether it is a number at every point of the family."""
    shape = node.space.shape if isinstance(node.space, Real) else (1,)
    return all(extent == w.family for extent in shape)


def _exponent(node: Node) -> sympy.Expr | None:
    """p if the node is x^p."""
    if not isinstance(node, Elementwise) or any(node.operation.orders) or len(node.arguments) > 1:
        return None
    found = monomial(node.operation)
    return None if found is None else found[1][0]


def _divided(node: Elementwise, w: Writes) -> Node:
    """x / (s 1) as the multiple (1 / s) x; a number in front of s moves to the front as well."""
    x, divisor = node.arguments
    number, ones = scaled_part(divisor)
    found = None if {ones, divisor} & w.names.keys() else pattern(ones)
    if found is None or found.name != "constantly" or found.arguments[0].space != R():
        return node
    reciprocal = elementwise(shipped.reciprocal, found.arguments[0])
    return linear_combination([(1 / number, scale(reciprocal, x))])
