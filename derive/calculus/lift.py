"""Batch and time: an expression lifted over one more axis.

What depends on a lifted variable gets the axis in front; what does not is shared by all its values.
Lifting comes before differentiating, so that the sum over the batch in a parameter's adjoint, and
the weight gradient as one product, are results of the calculus.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import singledispatch

import sympy

from ..language.expressions import (
    Argmax,
    Contraction,
    Elementwise,
    Held,
    LinearCombination,
    Node,
    Potential,
    Projection,
    Tuple,
    Variable,
    argmax,
    axis,
    contraction,
    elementwise,
    held,
    linear_combination,
    potential,
    projection,
    tuple_of,
    variable,
)
from ..language.forms import Access, Form, make_form
from ..language.spaces import Indices, Product, Real, Size, Space, SpaceError
from ..language.walk import topological

_LIFTED = sympy.Symbol("lifted", integer=True, nonnegative=True)


def lift_space(space: Space, extent: Size) -> Space:
    """The space of families of `extent` elements."""
    if isinstance(space, Product):
        return Product(tuple(lift_space(factor, extent) for factor in space.factors))
    if isinstance(space, Indices):
        return Indices(space.bound, (extent, *space.shape))
    assert isinstance(space, Real)
    return Real((extent, *space.shape), (None, *space.grams))


def lift(
    roots: Sequence[Node], lifted: Iterable[Variable], extent: Size
) -> tuple[list[Node], dict[Node, Node]]:
    """The roots for a family of values of the lifted variables, and every node's lifted form.

    Every root gets the new axis, also one that depends on no lifted variable.
    """
    new: dict[Node, Node] = {x: variable(x.name, lift_space(x.space, extent)) for x in lifted}
    moved = set(new)
    for node in topological(*roots):
        if any(operand in moved for operand in node.operands):
            moved.add(node)
            new[node] = _lift(node, [_Family(new[x], x in moved) for x in node.operands], extent)
        else:
            new.setdefault(node, node)
    tops = [new[root] if root in moved else repeated(root, extent) for root in roots]
    return tops, new


class _Family:
    """An operand after lifting, and whether it has the new axis."""

    def __init__(self, node: Node, moved: bool) -> None:
        self.node, self.moved = node, moved

    def whole(self, extent: Size) -> Node:
        """The operand with the new axis."""
        return self.node if self.moved else repeated(self.node, extent)


def repeated(node: Node, extent: Size) -> Node:
    """The constant family of one value."""
    if isinstance(node.space, Product):
        return tuple_of(repeated(part, extent) for part in node)
    if not isinstance(node.space, Real):
        raise SpaceError(f"a family of one {node.space} can't be made: lift the index itself")
    read = tuple(axis(k) for k in range(node.space.rank))
    extents = {axis(k): size for k, size in enumerate(node.space.shape)} | {_LIFTED: extent}
    space = lift_space(node.space, extent)
    return contraction(space, make_form([read, (_LIFTED, *read)], extents), 1, (node,))


@singledispatch
def _lift(node: Node, operands: list[_Family], extent: Size) -> Node:
    raise SpaceError(f"{type(node).__name__} has no batched form: it is uninterpreted")


@_lift.register
def _(node: LinearCombination, operands: list[_Family], extent: Size) -> Node:
    weights = (weight for weight, _ in node.terms)
    return linear_combination(zip(weights, (x.whole(extent) for x in operands), strict=True))


@_lift.register
def _(node: Elementwise, operands: list[_Family], extent: Size) -> Node:
    return elementwise(node.operation, *(x.whole(extent) for x in operands))


@_lift.register
def _(node: Contraction, operands: list[_Family], extent: Size) -> Node:
    filled = operands[: len(node.filled)]
    lifted = dict(zip(node.slots, (x.moved for x in filled), strict=True)) | {node.opened: True}
    picks = operands[len(node.filled) :]
    form = _with_axis(node.form, lifted, [x.moved for x in picks], extent)
    space = lift_space(node.space, extent)
    arrays, integers = [x.node for x in filled], [x.node for x in picks]
    return contraction(space, form, node.opened, arrays, integers)


@_lift.register
def _(node: Argmax, operands: list[_Family], extent: Size) -> Node:
    form = _with_axis(node.form, {0: True, 1: True}, [], extent)
    return argmax(form, lift_space(node.space, extent), operands[0].node, node.position)


@_lift.register
def _(node: Held, operands: list[_Family], extent: Size) -> Node:
    return held(operands[0].node)


@_lift.register
def _(node: Potential, operands: list[_Family], extent: Size) -> Node:
    value, argument = (x.whole(extent) for x in operands)
    return potential(value, argument, node.gradient)


@_lift.register
def _(node: Tuple, operands: list[_Family], extent: Size) -> Node:
    return tuple_of(x.whole(extent) for x in operands)


@_lift.register
def _(node: Projection, operands: list[_Family], extent: Size) -> Node:
    return projection(operands[0].node, node.position)


def _with_axis(form: Form, lifted: dict[int, bool], picks: list[bool], extent: Size) -> Form:
    """The form with the new index in front of every lifted access."""

    def extended(access: Access, moved: bool) -> Access:
        return (_LIFTED, *access) if moved else access

    slots = [extended(access, lifted[k]) for k, access in enumerate(form.slots)]
    bound = [
        (index, extended(access, moved))
        for (index, access), moved in zip(form.bound, picks, strict=True)
    ]
    return make_form(slots, dict(form.extents) | {_LIFTED: extent}, bound)
