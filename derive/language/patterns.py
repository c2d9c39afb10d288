"""What a contraction is in linear algebra: W x, W^T x, u x^T, <u, x>, a (.) b, a multiple, a slice.

The one place where this is recognised.  A pattern is called as the method of `Notation` that writes
it.  Linear algebra reads whole axes: a form is one of its patterns only where every access is a
list of different indices, each running over all of its axis; a slice has a number in front.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Any, TypeVar

import sympy

from .expressions import (
    Argmax,
    Constant,
    Contraction,
    Elementwise,
    Held,
    Node,
    elementwise,
    hadamard,
    linear_combination,
)
from .forms import Access, Form
from .scalars import shipped
from .scalars.operations import Operation
from .spaces import Real, Space
from .walk import rebuild

ARITHMETIC = ("difference", "weighed", "anchor")  # of numbers, except at infinities
T = TypeVar("T")

PATTERNS = (
    *("hadamard", "scalars", "inner", "scaled", "image", "transposed_image", "outer", "matrices"),
    *("same", "total", "constantly", "transposed", "slice_", "embedded"),
    *("of_ones", "outer_of_ones", "largest", "entry", "unit"),
)
"""The names of all patterns: each has a method in `Notation` and a law of its adjoint."""


@dataclass(frozen=True)
class Pattern:
    """A method of `Notation`, and what it is given; ValueError for a name not in PATTERNS."""

    name: str
    arguments: tuple[Any, ...]

    def __post_init__(self) -> None:
        if self.name not in PATTERNS:
            raise ValueError(f"{self.name!r} is no pattern of linear algebra: add it to PATTERNS")


def for_every_pattern(what: str, table: Mapping[str, T]) -> Mapping[str, T]:
    """The table; raises ValueError where a pattern has no entry in it, or an entry no pattern."""
    missing, unknown = set(PATTERNS) - set(table), set(table) - set(PATTERNS)
    if missing or unknown:
        raise ValueError(
            f"{what}: one entry for each pattern was expected; add {sorted(missing)}, and take out "
            f"{sorted(unknown)}"
        )
    return table


def pattern(node: Node, family: sympy.Symbol | None = None) -> Pattern | None:
    """The pattern of a contraction for one point of the family; None for any other expression."""
    if not isinstance(node, Contraction) or not _reads_whole_axes(node):
        return None
    accesses = [shown(node, node.access(k), family) for k in range(len(node.filled))]
    output = shown(node, node.output, family)
    if node.selectors:
        return _selected(node, accesses[0], output, family) if len(node.filled) == 1 else None
    if any(_is_slice(access) for access in (*accesses, output)) and len(node.filled) > 1:
        return None
    if len(node.filled) == 2:
        return _pair(node.filled, accesses, output)
    return _single(node.filled[0], accesses[0], output) if len(node.filled) == 1 else None


def _reads_whole_axes(node: Contraction) -> bool:
    """Every access is of different indices over whole axes, and no index runs unseen."""
    reads = [(node.access(k), x.space) for k, x in enumerate(node.filled)]
    reads += [(node.output, node.space)]
    met = {entry for access, _ in reads for entry in access}
    seen = all(index in met for index, _ in node.form.extents)
    return seen and all(_is_whole(node.form, access, space) for access, space in reads)


def _is_whole(form: Form, access: Access, space: Space) -> bool:
    """Different indices over the whole axes of an array, but for one number within its axis."""
    extents = dict(form.extents)
    if not isinstance(space, Real) or len(set(access)) < len(access):
        return False
    numbers = [(e, size) for e, size in zip(access, space.shape, strict=True) if e.is_number]
    indices = [(e, size) for e, size in zip(access, space.shape, strict=True) if not e.is_number]
    inside = all(e.is_nonnegative and (size - 1 - e).is_nonnegative for e, size in numbers)
    return inside and len(numbers) <= 1 and all(extents.get(e) == size for e, size in indices)


def _is_slice(access: Access) -> bool:
    return any(entry.is_number for entry in access)


def is_over_all(node: Argmax, family: sympy.Symbol | None = None) -> bool:
    """The argmax is over all entries of one point's array."""
    read, output = node.form.slots
    whole = _is_whole(node.form, read, node.operand.space) and not _is_slice(read)
    return whole and not shown(node, output, family)


def shown(node: Contraction | Argmax, access: Access, family: sympy.Symbol | None) -> Access:
    """An access without the family's index."""
    hidden = {i for i, extent in node.form.extents if extent == family}
    return tuple(entry for entry in access if entry not in hidden)


def arithmetic(node: Elementwise) -> Node | None:
    """The sum or the product that an operation is wherever its arguments are finite."""
    psi, values = node.operation, dict(zip(node.operation.arguments, node.arguments, strict=True))
    if not is_arithmetic(psi.declared or psi):
        return None
    terms = [term.as_coeff_mul() for term in sympy.Add.make_args(psi.body)]
    factors = ((number, reduce(hadamard, (values[x] for x in rest))) for number, rest in terms)
    return linear_combination(factors)


# --- rearranged expressions, and sums of exponentials


def is_rearranged(node: Node) -> bool:
    """An expression that only reads another one elsewhere: a slice, a transpose, a broadcast."""
    return (
        isinstance(node, Contraction)
        and node.is_pointwise
        and len(node.filled) == 1
        and not node.selectors
    )


def is_arithmetic(psi: Operation) -> bool:
    """Whether it is one of `ARITHMETIC`, and not a user's of that name."""
    return psi.name in ARITHMETIC and psi == shipped.shipped[psi.name]


def base(node: Node) -> Node:
    """The expression that a rearranged one finally reads."""
    while is_rearranged(node):
        node = node.operands[0]
    return node


def as_share(node: Node, inverse: Operation | None = None) -> Node | None:
    """Exp(d - s) with s = log <1, Exp(d)> as Exp(d) (.) (1 / <1, Exp(d)>): one exponential less."""
    if not isinstance(node, Elementwise) or node.operation != shipped.exp:
        return None
    less = node.arguments[0]
    if not isinstance(less, Elementwise) or less.operation != shipped.difference:
        return None
    d, s = less.arguments
    part, total = elementwise(shipped.exp, d), _exponentiated(base(s))
    if total is None or total.operands != (part,):
        return None
    return hadamard(part, _with_base(s, elementwise(inverse or shipped.share, total)))


def _exponentiated(node: Node) -> Node | None:
    """t where the node is log t, or 0 where that is -inf."""
    for psi in (shipped.anchor, shipped.log):
        node = node.operands[0] if isinstance(node, Held) else node
        if not isinstance(node, Elementwise) or node.operation != psi:
            return None
        node = node.arguments[0]
    return node


def _with_base(node: Node, other: Node) -> Node:
    """The same rearrangement of another expression."""
    return rebuild(node, [_with_base(node.operands[0], other)]) if is_rearranged(node) else other


def norm_of(node: Node, family: sympy.Symbol | None = None) -> Node | None:
    """x where the node is |x|: the root of <x, x> whose derivatives at 0 are 0."""
    if not isinstance(node, Elementwise) or node.operation != shipped.root:
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
    if _is_slice(access) or _is_slice(output):
        return _sliced(x, access, output)
    if access == output:
        return Pattern("same", (x,))
    if not output:
        weighed = isinstance(x, Elementwise) and x.operation == shipped.weighed
        return Pattern("inner", x.operands) if weighed else Pattern("total", (x,))
    if not access:
        return Pattern("constantly", (x,))
    if access == output[::-1] and len(access) == 2:
        return Pattern("transposed", (x,))
    return _with_ones(x, access, output)


def _sliced(x: Node, access: Access, output: Access) -> Pattern | None:
    """The slice at a number on the first axis, and its adjoint."""
    if access and access[0].is_number and access[1:] == output and not _is_slice(output):
        return Pattern("slice_", (x, access[0]))
    if output and output[0].is_number and output[1:] == access and not _is_slice(access):
        return Pattern("embedded", (x, output[0]))
    return None


def _with_ones(x: Node, access: Access, output: Access) -> Pattern | None:
    """Sums over the first or the last axes, and repetitions along them."""
    longer, shorter = max(access, output, key=len), min(access, output, key=len)
    if not shorter or len(longer) == len(shorter):
        return None
    front = longer[: len(shorter)] == shorter
    if not front and longer[-len(shorter) :] != shorter:
        return None
    if longer == access:
        return Pattern("of_ones", (x, not front))
    return Pattern("outer_of_ones", (x, front, len(output)))


def _selected(
    node: Contraction, access: Access, output: Access, family: sympy.Symbol | None
) -> Pattern | None:
    """The largest entry, an entry at a class index, and a number at one."""
    x, bound = node.filled[0], tuple(index for index, _ in node.form.bound)
    if len(bound) != 1 or shown(node, node.form.bound[0][1], family):
        return None
    if not output and access == bound:
        k = node.selectors[0]
        largest = isinstance(k, Argmax) and k.operand is x and is_over_all(k, family)
        return Pattern("largest", (x,)) if largest else Pattern("entry", (x, k))
    if not access and output == bound:
        one = isinstance(x, Constant) and x.value == 1
        return Pattern("unit", (None if one else x, node.selectors[0]))
    return None
