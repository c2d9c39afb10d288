"""Identities that formulas are rewritten by: named laws, a line each.

A law is given an expression and answers with an equal one that keeps its digits or costs less, or
with None where it does not apply.  A `Pair` is two formulas of one expression x: wherever an
expression is `before` at some x, whatever the order of its terms and factors, it becomes `after` at
that x.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import sympy

from ...language.expressions import Contraction, Held, Node, contraction, scaled_part, variable
from ...language.forms import make_form
from ...language.sizes import dims
from ...language.spaces import R, Real, SpaceError
from ..functions import exp, log, sqrt
from ..linear import inner, norm, scale
from ..rows import log_softmax, log_sum_exp, repeated, row_sums, softmax
from .contractions import reads_inside, sum_of_diagonal
from .powers_of_powers import T, body_of, inverses, power_of_power, product_of_roots
from .searching import DEPTH, as_formula, is_same, outline, within


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
        if outline(node) != self._outline:
            return None
        return next((self.after(x) for x in within(node, DEPTH) if self._holds(node, x)), None)

    @cached_property
    def _outline(self) -> object:
        return outline(self.before(variable("x", R(dims("n")))))  # any size

    def _holds(self, node: Node, x: Node) -> bool:
        """The node is `before` at x."""
        hole = variable("x", x.space)
        try:
            made = self.before(hole)
        except SpaceError:  # the formula is of another space
            return False
        found = as_formula(node, x, hole) if made.space == node.space else None
        return found is not None and is_same(made, found)


# --- sums


def _log_of_sum(node: Node) -> Node | None:
    """log(c <1, exp(x)>), c > 0: log c + log_sum_exp, the summed axes made one last axis."""
    if body_of(node) != sympy.log(T):
        return None
    weight, total = scaled_part(node.operands[0])
    if not isinstance(total, Contraction) or len(total.filled) != 1 or total.selectors:
        return None
    exponentials = body_of(total.filled[0]) == sympy.exp(T) and _is_sum_over_axes(total)
    if not exponentials or not weight.is_positive:
        return None
    x = _in_one_row(total, total.filled[0].operands[0])
    made: Node = log_sum_exp(x) + sympy.log(weight)
    return made


def _log_of_read(node: Node) -> Node | None:
    """log of entries of softmax, wherever they are read: those of log_softmax."""
    read = node.operands[0] if body_of(node) == sympy.log(T) else None
    if not isinstance(read, Contraction) or len(read.filled) != 1 or read.summed:
        return None
    (x,) = read.filled
    inside = isinstance(x.space, Real) and reads_inside(read, 0, x.space)
    made = LOG_OF_SOFTMAX(log(x)) if inside else None
    if made is None:
        return None
    return contraction(read.space, read.form, read.opened, [made], read.selectors)


LOG_OF_SOFTMAX = Pair(lambda x: log(softmax(x)), log_softmax)


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


def _spread(numbers: Node, like: Node) -> Node:
    """A number for each row, in every entry of the row."""
    assert isinstance(like.space, Real)
    return repeated(numbers, like.space)


LAWS: tuple[Law, ...] = (
    Law("log of softmax", LOG_OF_SOFTMAX),
    Law("log of softmax", _log_of_read),
    Law("log of a sum of exponentials", _unshifted(_log_of_sum)),
    Law("softmax", _unshifted(Pair(lambda x: exp(x) / _spread(row_sums(exp(x)), x), softmax))),
    Law("softmax", _unshifted(Pair(lambda x: exp(x) * _spread(1 / row_sums(exp(x)), x), softmax))),
    Law("softmax", _unshifted(Pair(lambda x: scale(1 / row_sums(exp(x)), exp(x)), softmax))),
    Law("norm", Pair(lambda x: sqrt(inner(x, x)), norm)),
    Law("square of a norm", Pair(lambda x: norm(x) ** 2, lambda x: inner(x, x))),
    Law("power of a power", power_of_power, "x < 0 under a root, 0 under a quotient"),
    Law("product of roots", product_of_roots, "x < 0 under a root, 0 under a quotient"),
    Law("exp of log", inverses(sympy.exp(T), sympy.log(T)), "x <= 0"),
    Law("log of exp", inverses(sympy.log(T), sympy.exp(T))),
    Law("sum of a diagonal", sum_of_diagonal),
)
