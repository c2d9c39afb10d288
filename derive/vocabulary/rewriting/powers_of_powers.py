"""Powers, exponentials and logarithms of each other, as laws that a formula is rewritten by."""

from __future__ import annotations

from collections.abc import Callable

import sympy

from ...language.expressions import Contraction, Elementwise, Node, elementwise
from ...language.forms import Access
from ...language.scalars import shipped
from .contractions import flattened, merged
from .pointwise import is_plain, raised
from .searching import DEPTH, within

T = sympy.Symbol("t", real=True)


def body_of(node: Node) -> sympy.Expr | None:
    """The scalar formula in `T` of a function of one argument; None if it has a form by hand."""
    if not isinstance(node, Elementwise) or len(node.arguments) > 1:
        return None
    if not is_plain(node.operation) and node.operation != shipped.root:
        return None
    return node.operation.body.xreplace({node.operation.arguments[0]: T})


def _as_power(node: Node) -> tuple[Node, sympy.Rational] | None:
    """x and p where the node is x**p, x (.) x among them."""
    body = body_of(node)
    if isinstance(body, sympy.Pow) and body.base == T and body.exp.is_Rational:
        return node.operands[0], body.exp
    if isinstance(node, Contraction) and node.is_entrywise and len(set(node.filled)) == 1:
        return node.filled[0], sympy.Integer(len(node.filled))
    return None


def power_of_power(node: Node) -> Node | None:
    """(x**q)**p is x**(p q) if a root or a division vanishes; |x|**(p q) for a root of squares."""
    outer = _as_power(node) if isinstance(node, Elementwise) else None
    inner_ = outer and _as_power(outer[0])
    if not outer or not inner_:
        return None
    (_, p), (x, q) = outer, inner_
    even = q.is_integer and q % 2 == 0
    root_goes = not (p.is_integer and q.is_integer) and ((p * q).is_integer or even)
    odd_root = q.is_integer and not even and not p.is_integer  # of a negative number: none
    if odd_root or not (root_goes or (p < 0 and q < 0)):
        return None
    signed = even and not (p.is_integer or (p * q / 2).is_integer)
    return raised(elementwise(shipped.absolute, x) if signed else x, p * q)


def inverses(outer: sympy.Expr, inner_: sympy.Expr) -> Callable[[Node], Node | None]:
    """outer(inner(x)) is x."""

    def applied(node: Node) -> Node | None:
        found = body_of(node) == outer and body_of(node.operands[0]) == inner_
        return node.operands[0].operands[0] if found else None

    return applied


def product_of_roots(node: Node) -> Node | None:
    """x**p x**q within a product is x**(p + q), where p or q is not a whole number."""
    if not isinstance(node, Contraction) or not any(map(_is_root, within(node, DEPTH))):
        return None
    product = flattened(node)
    seen: dict[tuple[Access, Node], tuple[int, sympy.Rational]] = {}
    for k, factor in enumerate(product.filled):
        x, p = _as_power(factor) or (factor, sympy.S.One)
        other, q = seen.setdefault((product.access(k), x), (k, p))
        if other != k and not (p.is_integer and q.is_integer):
            return merged(product, other, k, raised(x, p + q))
    return None


def _is_root(node: Node) -> bool:
    found = _as_power(node)
    return found is not None and not found[1].is_integer
