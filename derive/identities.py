"""Identities that formulas are rewritten by: named laws, a line each.

A law is given an expression and answers with an equal one that keeps its digits or costs less, or
with None where it is silent.  A `Pair` is two formulas of one expression x: wherever an expression
is `before` at some x, whatever the order of its terms and factors, it becomes `after` at that x.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import sympy

from .elementwise import shipped
from .expressions import (
    Contraction,
    Elementwise,
    Held,
    Node,
    contraction,
    elementwise,
    variable,
)
from .forms import Access, make_form
from .functions import (
    broadcast,
    exp,
    inner,
    log,
    log_softmax,
    log_sum_exp,
    norm,
    scale,
    softmax,
    total_sum,
)
from .pointwise import raised
from .spaces import R, Real, SpaceError, dims
from .walk import ordered

DEPTH = 6  # how far below an expression the argument of a pair stands at most


@dataclass(frozen=True)
class Law:
    """A named law.  `domain` says where its two sides differ, by convention; mostly nowhere."""

    name: str
    applied: Callable[[Node], Node | None]
    domain: str = ""


@dataclass(frozen=True)
class Pair:
    """before(x) becomes after(x)."""

    before: Callable[[Node], Node]
    after: Callable[[Node], Node]

    def __call__(self, node: Node) -> Node | None:
        if _outline(node) != self._outline:
            return None
        return next((self.after(x) for x in within(node, DEPTH) if self._holds(node, x)), None)

    @cached_property
    def _outline(self) -> object:
        return _outline(self.before(variable("x", R(dims("n")))))  # any size

    def _holds(self, node: Node, x: Node) -> bool:
        """The node is `before` at x."""
        try:
            made = self.before(x)
        except SpaceError:  # the formula is of another space
            return False
        return made.space == node.space and is_same(made, node)


def is_same(left: Node, right: Node) -> bool:
    """The two have one normal form."""
    if left is right:
        return True
    return ordered(left) is ordered(right)


def _outline(node: Node) -> object:
    """The kinds of an expression and its operands: what is cheap to compare."""
    return _kind(node), frozenset(_kind(x) for x in node.operands)


def _kind(node: Node) -> object:
    return (type(node), node.operation.base) if isinstance(node, Elementwise) else type(node)


def within(node: Node, depth: int) -> Iterator[Node]:
    """The expressions below a node, to that depth, the nearest first and each once."""
    seen, level = {node}, [node]
    for _ in range(depth):
        level = list(dict.fromkeys(x for y in level for x in y.operands if x not in seen))
        seen.update(level)
        yield from level


# --- powers, exponentials and logarithms of each other

_T = sympy.Symbol("t", real=True)


def _body(node: Node) -> sympy.Expr | None:
    """The scalar formula of a function of one argument, in `_T`."""
    if not isinstance(node, Elementwise) or len(node.arguments) > 1:
        return None
    return node.operation.body.xreplace({node.operation.arguments[0]: _T})


def _as_power(node: Node) -> tuple[Node, sympy.Rational] | None:
    """x and p where the node is x**p, x (.) x among them."""
    body = _body(node)
    if isinstance(body, sympy.Pow) and body.base == _T and body.exp.is_Rational:
        return node.operands[0], body.exp
    if isinstance(node, Contraction) and node.is_pointwise and len(set(node.filled)) == 1:
        plain = all(node.access(k) == node.output for k in range(len(node.filled)))
        return (node.filled[0], sympy.Integer(len(node.filled))) if plain else None
    return None


def _power_of_power(node: Node) -> Node | None:
    """(x**q)**p is x**(p q) where a root or a division goes; |x|**(p q) for a root of squares."""
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


def _inverses(outer: sympy.Expr, inner_: sympy.Expr) -> Callable[[Node], Node | None]:
    """outer(inner(x)) is x."""

    def applied(node: Node) -> Node | None:
        found = _body(node) == outer and _body(node.operands[0]) == inner_
        return node.operands[0].operands[0] if found else None

    return applied


def _product_of_roots(node: Node) -> Node | None:
    """x**p x**q within a product is x**(p + q), where p or q is no whole number."""
    if not isinstance(node, Contraction) or not any(map(_is_root, within(node, DEPTH))):
        return None
    product = _flattened(node)
    seen: dict[tuple[Access, Node], tuple[int, sympy.Rational]] = {}
    for k, factor in enumerate(product.filled):
        x, p = _as_power(factor) or (factor, sympy.S.One)
        other, q = seen.setdefault((product.access(k), x), (k, p))
        if other != k and not (p.is_integer and q.is_integer):
            return _merged(product, other, k, raised(x, p + q))
    return None


def _is_root(node: Node) -> bool:
    found = _as_power(node)
    return found is not None and not found[1].is_integer


def _merged(node: Contraction, first: int, second: int, factor: Node) -> Node:
    """The contraction with one factor in place of two that are read at one access."""
    gone = node.slots[second]
    slots = [access for slot, access in enumerate(node.form.slots) if slot != gone]
    form = make_form(slots, dict(node.form.extents), node.form.bound)
    filled = [factor if k == first else x for k, x in enumerate(node.filled) if k != second]
    opened = node.opened - (gone < node.opened)
    return contraction(node.space, form, opened, filled, node.selectors)


# --- contractions of contractions


def _flattened(node: Contraction) -> Contraction:
    """The contraction with the factors of its factors, where these are products of entries."""
    for _ in range(DEPTH):
        products = (k for k, x in enumerate(node.filled) if _writes_each_once(x) and x.is_pointwise)  # type: ignore[attr-defined]
        position = next(products, None)
        made = node if position is None else _composed(node, position, node.filled[position])  # type: ignore[arg-type]
        if made is node or not isinstance(made, Contraction):
            break
        node = made
    return node


def _writes_each_once(node: Node) -> bool:
    """A contraction that writes every entry of its array, each once."""
    if not isinstance(node, Contraction) or node.selectors:
        return False
    assert isinstance(node.space, Real)
    pairs = zip(node.output, node.space.shape, strict=True)
    return node.form.is_plain(node.opened) and all(node.form.extent(i) == e for i, e in pairs)


def _composed(node: Contraction, position: int, factor: Contraction) -> Node:
    """The two contractions as one, the factor's indices being those that it is read at."""
    at = dict(zip(factor.output, node.access(position), strict=True))
    own = {i: sympy.Symbol(f"s_{i}", integer=True, nonnegative=True) for i in factor.summed}
    extents = dict(node.form.extents) | {own[i]: factor.form.extent(i) for i in factor.summed}
    reads = [node.access(k) for k in range(len(node.filled))]
    inner_reads = [
        tuple(entry.xreplace(at | own) for entry in factor.access(k))
        for k in range(len(factor.filled))
    ]
    accesses = [*reads[:position], *inner_reads, *reads[position + 1 :], node.output]
    filled = [*node.filled[:position], *factor.filled, *node.filled[position + 1 :]]
    form = make_form(accesses, extents, node.form.bound)
    return contraction(node.space, form, len(filled), filled, node.selectors)


def _sum_of_diagonal(node: Node) -> Node | None:
    """A product of which only a diagonal is read: tr(A* B) = <A, B>, the diagonal alone made."""
    if not isinstance(node, Contraction):
        return None
    for k, factor in enumerate(node.filled):
        access = node.access(k)
        on_diagonal = len(set(access)) < len(access) and all(e.is_Symbol for e in access)
        if on_diagonal and _writes_each_once(factor) and factor.summed:  # type: ignore[attr-defined]
            made = _composed(node, k, factor)  # type: ignore[arg-type]
            return _flattened(made) if isinstance(made, Contraction) else made
    return None


# --- sums


def _log_of_sum(node: Node) -> Node | None:
    """log of the sum of exp(x) over some axes: log_sum_exp over these as one last axis."""
    if _body(node) != sympy.log(_T):
        return None
    (total,) = node.operands
    if not isinstance(total, Contraction) or len(total.filled) != 1 or total.selectors:
        return None
    if _body(total.filled[0]) != sympy.exp(_T) or not _is_sum_over_axes(total):
        return None
    return log_sum_exp(_in_one_row(total, total.filled[0].operands[0]))


def _is_sum_over_axes(total: Contraction) -> bool:
    """Every entry of the operand is met once, and the result's axes are some of the operand's."""
    (x,) = total.filled
    read, written = total.access(0), total.output
    whole = all(
        total.form.extent(index) == extent
        for access, space in ((read, x.space), (written, total.space))
        for index, extent in zip(access, space.shape, strict=True)  # type: ignore[attr-defined]
        if index.is_Symbol
    )
    plain = all(total.form.is_plain(slot) for slot in (0, 1))
    return plain and whole and set(written) <= set(read) and bool(total.summed)


def _is_shifted(node: Node) -> bool:
    """A value is held in it: the shift that keeps exponentials from overflow has been made."""
    return any(isinstance(x, Held) for x in within(node, DEPTH))


def _unshifted(applied: Callable[[Node], Node | None]) -> Callable[[Node], Node | None]:
    """The law, silent about its own results."""
    return lambda node: None if _is_shifted(node) else applied(node)


def _in_one_row(total: Contraction, x: Node) -> Node:
    """x with the axes that are summed over as one last axis."""
    extents = dict(total.form.extents)
    place, count = sympy.S.Zero, sympy.S.One
    for index in total.summed:
        place, count = place * extents[index] + index, count * extents[index]
    space = R(*(extents[index] for index in total.output), count)
    form = make_form([total.access(0), (*total.output, sympy.expand(place))], extents)
    return contraction(space, form, 1, (x,))


# --- the table


def _spread(number: Node, like: Node) -> Node:
    assert isinstance(like.space, Real)
    return broadcast(number, like.space)


LAWS: tuple[Law, ...] = (
    Law("log of softmax", Pair(lambda x: log(softmax(x)), log_softmax)),
    Law("log of a sum of exponentials", _unshifted(_log_of_sum)),
    Law("softmax", _unshifted(Pair(lambda x: exp(x) / _spread(total_sum(exp(x)), x), softmax))),
    Law("softmax", _unshifted(Pair(lambda x: scale(1 / total_sum(exp(x)), exp(x)), softmax))),
    Law("square of a norm", Pair(lambda x: norm(x) ** 2, lambda x: inner(x, x))),
    Law("power of a power", _power_of_power, "x < 0 under a root, 0 under a quotient"),
    Law("product of roots", _product_of_roots, "x < 0 under a root"),
    Law("exp of log", _inverses(sympy.exp(_T), sympy.log(_T)), "x <= 0"),
    Law("log of exp", _inverses(sympy.log(_T), sympy.exp(_T))),
    Law("sum of a diagonal", _sum_of_diagonal),
)
