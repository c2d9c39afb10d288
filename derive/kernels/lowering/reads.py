"""How an expression reads its operands: made at hand, or loaded from memory, and why.

`reads` is where fusion is decided: an operand that is read at the very entry that is made can be
made in the same loop nest, all others have to lie in memory before.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ...language.accesses import stays_inside
from ...language.expressions import (
    Argmax,
    Contraction,
    Node,
)
from ...language.patterns import is_rearranged
from ...language.reading import Reading
from .products import as_product, is_sum, strided_base


@dataclass(frozen=True)
class Read:
    """How one operand is read.

    It must come `from_memory` where the entry that is read is another one than the one that is
    made, or is read more than once.  `through` are the expressions that can be loaded in its place,
    nearest first: what it only rearranges, or what is searched for the place of a largest entry.
    """

    operand: Node
    from_memory: bool
    through: tuple[Node, ...] = ()

    @property
    def source(self) -> Node:
        """What is loaded where nothing nearer lies in memory."""
        return self.through[-1] if self.through else self.operand


def reads(node: Node) -> tuple[Read, ...]:
    """How an expression reads each of its operands."""
    return _Reads()(node)


class _Reads(Reading[tuple[Read, ...]]):
    """The reads of each kind of node; a new kind has to say how it reads."""

    __slots__ = ()

    def _in_place(self, node: Node) -> tuple[Read, ...]:
        return tuple(_at_the_entry(operand) for operand in node.operands)

    variable = constant = linear_combination = elementwise = _in_place
    tuple_ = projection = held = potential = jet = _in_place
    running_sum = _in_place  # its loop makes each entry once, on the way along the axis

    def argmax(self, node: Argmax) -> tuple[Read, ...]:
        """It goes through a window, whose entries others go through, too."""
        return (_loaded(node.operand),)

    def contraction(self, node: Contraction) -> tuple[Read, ...]:
        read = _factors_of_sum(node) if is_sum(node) else _factors(node)
        return (*read, *map(_selecting, node.selectors))


def _at_the_entry(operand: Node) -> Read:
    """Read at the entry that is made: made in the same nest, where nothing is rearranged."""
    if isinstance(operand, Argmax):
        return _searching(operand)
    return _loaded(operand) if is_rearranged(operand) else _made(operand)


def _selecting(operand: Node) -> Read:
    """A selector: an array of integers is given, the place of a largest entry is searched for."""
    return _searching(operand) if isinstance(operand, Argmax) else _loaded(operand)


def _searching(operand: Argmax) -> Read:
    """A loop nest searches again rather than storing places: what is searched is loaded."""
    return Read(operand, True, (operand.operand, *_below(operand.operand)))


def _made(operand: Node) -> Read:
    return Read(operand, False)


def _loaded(operand: Node) -> Read:
    """Rearranging is a matter of places: what is below is stored, and read at other places."""
    return Read(operand, True, tuple(_below(operand)))


def _loaded_by_product(operand: Node) -> Read:
    """A matrix product reads at constant strides: it goes through no reversal and no border."""
    return Read(operand, True, tuple(_below(operand, strided_base(operand))))


def _below(node: Node, last: Node | None = None) -> Iterator[Node]:
    """What a rearranged expression reads, one after the other, down to the `last` one."""
    while is_rearranged(node) and node is not last:
        node = node.operands[0]
        yield node


# --- contractions


def _factors(node: Contraction) -> Iterator[Read]:
    """The factors of a contraction without a sum: some are read where the entry is made.

    One of the form of a matrix product, as an outer one, reads an entry for many of its own: from
    constant strides, so that a border is not asked for each time.
    """
    shape, product = node.space.shape, as_product(node)  # type: ignore[attr-defined]
    for k, operand in enumerate(node.filled):
        in_place = node.access(k) == node.output and operand.space.shape == shape  # type: ignore[attr-defined]
        if in_place and not is_rearranged(operand):
            yield _at_the_entry(operand)
        else:
            yield _loaded_by_product(operand) if product else _loaded(operand)


def _factors_of_sum(node: Contraction) -> Iterator[Read]:
    """The factors of a sum: a matrix product loads both, loops make what they read once."""
    product = as_product(node)
    for k, operand in enumerate(node.filled):
        if product:
            yield _loaded_by_product(operand)
        elif is_rearranged(operand) or _is_read_again(node, k):
            yield _loaded(operand)
        else:
            yield _made(operand)


def _is_read_again(node: Contraction, operand: int) -> bool:
    """A sum reads an entry of this operand more than once, or beyond its borders.

    What is beyond them is zero, whatever a formula of the operand would give there.
    """
    return not set(node.form.free) <= set(node.access(operand)) or _may_leave(node, operand)


def _may_leave(node: Contraction, operand: int) -> bool:
    """An access that may be outside of the operand."""
    extents = dict(node.form.extents)
    shape = node.filled[operand].space.shape  # type: ignore[attr-defined]
    pairs = zip(node.access(operand), shape, strict=True)
    return not all(stays_inside(entry, axis, extents) for entry, axis in pairs)
