"""Which sums are matrix products, and sums with windows as such products."""

from __future__ import annotations

from typing import TypeAlias, TypeGuard

import sympy

from ...language.accesses import is_linear, running, stays_inside
from ...language.expressions import Contraction, Node, RunningSum, contraction
from ...language.forms import Access, Form, make_form
from ...language.patterns import is_rearranged
from ...language.spaces import Real

Summed: TypeAlias = Contraction | RunningSum


def is_sum(node: Node) -> TypeGuard[Summed]:
    """A contraction that sums, or that sets its result at other places than one by one.

    So are running sums: loops of their own make them.
    """
    return isinstance(node, RunningSum) or (isinstance(node, Contraction) and not node.is_pointwise)


def strided_base(node: Node) -> Node:
    """What a rearranged expression reads at constant strides: no reversal, no read outside."""
    while is_rearranged(node) and is_strided(node, 0):  # type: ignore[arg-type]
        node = node.operands[0]
    return node


def is_strided(node: Contraction, operand: int) -> bool:
    """Every entry of the access is an index that stays on its axis, or a place on it.

    And the indices of the result run over the whole of it: beyond them there would be zeros.
    """
    extents = {index: node.form.extent(index) for index in node.form.free}
    shape = node.filled[operand].space.shape  # type: ignore[attr-defined]
    out = zip(node.output, node.space.shape, strict=True)  # type: ignore[attr-defined]
    return all(extents.get(entry, axis) == axis for entry, axis in out) and all(
        (entry.is_Symbol or entry.is_Integer) and stays_inside(entry, axis, extents)
        for entry, axis in zip(node.access(operand), shape, strict=True)
    )


def as_product(node: Contraction) -> bool:
    """Two arrays, read plainly, are contracted to a result with strides: a matrix product does."""
    if len(node.filled) != 2 or node.selectors:
        return False
    left, right = (set(node.access(k)) for k in range(2))
    shown = set(shown_indices(node))
    return (
        is_linear(node.output, node.space.shape, dict(node.form.extents))  # type: ignore[attr-defined]
        and all(_linear_access(node, k) for k in range(2))
        and bool(shown - left or shown - right)
        and all(i in left or i in right for i in node.form.free)
        and all(i in left and i in right for i in node.form.free if i not in shown)
    )


def shown_indices(node: Contraction) -> list[sympy.Symbol]:
    """The running indices of the result, its contiguous one last."""
    return running(node.output, {i: node.form.extent(i) for i in node.form.free})


def _linear_access(node: Contraction, operand: int) -> bool:
    entries = [entry for entry in node.access(operand) if not entry.is_number]
    return len(set(entries)) == len(entries) and is_strided(node, operand)


# --- windows


def laid_out(node: Node) -> Node:
    """A product with windows as a matrix product with an array of all that the windows show.

    Where an operand is read, or the result is written, at sums of indices, the entries that are met
    come first into an array of their own with one axis for each index: cropping, or embedding.
    What reads or writes at class indices stays as it is: they are no windows.
    """
    if not is_sum(node) or not isinstance(node, Contraction):
        return node
    if len(node.filled) != 2 or node.selectors:
        return node
    for position in range(2):
        shown = _windowed(node, node.slots[position], node.filled[position].space)
        if shown is not None:
            return _cropped(node, position, _ordered(shown, node.output))
    shown = _windowed(node, node.opened, node.space)
    return node if shown is None else _embedded(node, _ordered(shown, node.access(1)))


def _windowed(node: Contraction, slot: int, space: object) -> Access | None:
    """The indices that an access shares with others, where it is no list of strides."""
    access, extents = node.form.slots[slot], {i: node.form.extent(i) for i in node.form.free}
    assert isinstance(space, Real)
    if is_linear(access, space.shape, extents):
        return None
    others = (a for k, a in enumerate(node.form.slots) if k != slot)
    shared = {symbol for other in others for entry in other for symbol in entry.free_symbols}
    return tuple(index for index in running(access, extents) if index in shared)


def _ordered(shown: Access, other: Access) -> Access:
    """The indices that end the other access come last, so that they are contiguous in both."""
    last: list[sympy.Symbol] = []
    for entry in reversed(other):
        if entry not in shown:
            break
        last.insert(0, entry)
    return (*(index for index in shown if index not in last), *last)


def _cropped(node: Contraction, position: int, shown: Access) -> Node:
    """The product with the operand in that position laid out."""
    filled, slot = list(node.filled), node.slots[position]
    crop = _of([node.access(position), shown], node)
    filled[position] = contraction(_array(shown, node), crop, 1, (filled[position],))
    made = contraction(node.space, _with(node, slot, shown), node.opened, filled)
    return made if isinstance(made, Contraction) and as_product(made) else node


def _embedded(node: Contraction, shown: Access) -> Node:
    """The sum of what the laid out product puts at each place."""
    form = _with(node, node.opened, shown)
    product = contraction(_array(shown, node), form, node.opened, node.filled)
    if not isinstance(product, Contraction) or not as_product(product):
        return node
    return contraction(node.space, _of([shown, node.output], node), 1, (product,))


def _array(shown: Access, node: Contraction) -> Real:
    """The space of arrays with one axis for each index."""
    return Real(tuple(node.form.extent(i) for i in shown), (None,) * len(shown))


def _of(slots: list[Access], node: Contraction) -> Form:
    """The form of some accesses with the extents that their indices have in a contraction."""
    used = {symbol for access in slots for entry in access for symbol in entry.free_symbols}
    return make_form(slots, {i: extent for i, extent in node.form.extents if i in used})


def _with(node: Contraction, slot: int, shown: Access) -> Form:
    """The contraction's form with another access in a slot."""
    slots = list(node.form.slots)
    slots[slot] = shown
    return _of(slots, node)
