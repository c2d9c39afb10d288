"""What a contraction is in linear algebra: W x, W^T x, u x^T, <u, x>, a (.) b, a multiple, a slice.

The one place where this is recognised.  A pattern is called as the method of `Notation` that writes
it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sympy

from .expressions import Argmax, Constant, Contraction, Elementwise, Node
from .forms import Access


@dataclass(frozen=True)
class Pattern:
    """A method of `Notation`, and what it is given."""

    name: str
    arguments: tuple[Any, ...]


def pattern(node: Node, family: sympy.Symbol | None = None) -> Pattern | None:
    """The pattern of a contraction for one point of the family; None for any other expression."""
    if not isinstance(node, Contraction):
        return None
    accesses = [shown(node, node.access(k), family) for k in range(len(node.filled))]
    output = shown(node, node.output, family)
    if node.selectors:
        return _selected(node, accesses[0], output) if len(node.filled) == 1 else None
    if len(node.filled) == 2:
        return _pair(node.filled, accesses, output)
    return _single(node.filled[0], accesses[0], output) if len(node.filled) == 1 else None


def shown(node: Contraction, access: Access, family: sympy.Symbol | None) -> Access:
    """An access without the family's index."""
    hidden = {i for i, extent in node.form.extents if extent == family}
    return tuple(entry for entry in access if entry not in hidden)


def norm_of(node: Node, family: sympy.Symbol | None = None) -> Node | None:
    """x where the node is sqrt(<x, x>)."""
    if not isinstance(node, Elementwise) or node.operation.name != "sqrt":
        return None
    found = pattern(node.arguments[0], family)
    same = found is not None and found.name == "inner" and len(set(found.arguments)) == 1
    return found.arguments[0] if found and same else None


def _pair(filled: tuple[Node, ...], accesses: list[Access], output: Access) -> Pattern | None:
    (left, right), (a, b) = filled, accesses
    if a == b == output:
        return Pattern("hadamard" if output else "scalars", (left, right))
    if a == b and not output:
        return Pattern("inner", (left, right))
    if not a and b == output:
        return Pattern("scaled", (left, right))
    if not b and a == output:
        return Pattern("scaled", (right, left))
    found = _mapped((left, a), (right, b), output) or _mapped((right, b), (left, a), output)
    return found or _matrices((left, a), (right, b), output)


def _mapped(
    left: tuple[Node, Access], right: tuple[Node, Access], output: Access
) -> Pattern | None:
    """A x, A^T x and u x^T, the left one first."""
    (first, p), (second, q) = left, right
    if p == (*output, *q):
        return Pattern("image", (first, second))
    if p == (*q, *output):
        return Pattern("transposed_image", (first, second))
    if output == (*p, *q) and not set(p) & set(q):
        return Pattern("outer", (first, second))
    return None


def _matrices(
    left: tuple[Node, Access], right: tuple[Node, Access], output: Access
) -> Pattern | None:
    """A B, either of them transposed."""
    for (a, p), (b, q) in ((left, right), (right, left)):
        if len(p) == len(q) == len(output) == 2 and output[0] in p and output[1] in q:
            inner = {*p, *q} - {*output}
            if {output[0], *inner} == {*p} and {output[1], *inner} == {*q} and len(inner) == 1:
                return Pattern("matrices", (a, p[1] == output[0], b, q[0] == output[1]))
    return None


def _single(x: Node, access: Access, output: Access) -> Pattern | None:
    if access == output:
        return Pattern("same", (x,))
    if not output and _plain(access):
        return Pattern("total", (x,))
    if not access and output:
        return Pattern("constantly", (x,))
    if access == output[::-1] and len(access) == 2:
        return Pattern("transposed", (x,))
    if access and access[0].is_number and access[1:] == output:
        return Pattern("slice_", (x, access[0]))
    if output and output[0].is_number and output[1:] == access:
        return Pattern("embedded", (x, output[0]))
    return _with_ones(x, access, output)


def _plain(access: Access) -> bool:
    """Some axes, each entry of them met once."""
    numbers = any(entry.is_number for entry in access)
    return bool(access) and len(set(access)) == len(access) and not numbers


def _with_ones(x: Node, access: Access, output: Access) -> Pattern | None:
    """Sums over the first or the last axes, and repetitions along them."""
    longer, shorter = max(access, output, key=len), min(access, output, key=len)
    plain = _plain(longer) and all(entry.is_Symbol for entry in longer)
    if not plain or not shorter or len(longer) == len(shorter):
        return None
    front = longer[: len(shorter)] == shorter
    if not front and longer[-len(shorter) :] != shorter:
        return None
    if longer == access:
        return Pattern("of_ones", (x, not front))
    return Pattern("outer_of_ones", (x, front, len(output)))


def _selected(node: Contraction, access: Access, output: Access) -> Pattern | None:
    """The largest entry, an entry at a class index, and a number at one."""
    x, bound = node.filled[0], tuple(index for index, _ in node.form.bound)
    if not output and [s.operand for s in node.selectors if isinstance(s, Argmax)] == [x]:
        return Pattern("largest", (x,))
    if len(bound) == 1 and not output and access == bound:
        return Pattern("entry", (x, node.selectors[0]))
    if len(bound) == 1 and not access and output == bound:
        one = isinstance(x, Constant) and x.value == 1
        return Pattern("unit", (None if one else x, node.selectors[0]))
    return None
