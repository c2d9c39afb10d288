"""Batch and time: an expression lifted over one more axis.

What depends on a lifted variable gets the axis in front; what does not is shared by all its values.
Lifting comes before differentiating, so that the sum over the batch in a parameter's adjoint, and
the weight gradient as one product, are results of the calculus.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import sympy

from ..language.expressions import (
    Argmax,
    Constant,
    Contraction,
    Elementwise,
    Held,
    Jet,
    LinearCombination,
    Node,
    Potential,
    Projection,
    RunningSum,
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
    running_sum,
    tuple_of,
    variable,
)
from ..language.forms import Access, Form, make_form
from ..language.reading import Reading
from ..language.sizes import Size
from ..language.spaces import Indices, Product, Real, Space, SpaceError
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
    lifted_form = Lifted(new, moved, extent)
    for node in topological(*roots):
        if any(operand in moved for operand in node.operands):
            moved.add(node)
            new[node] = lifted_form(node)
        else:
            new.setdefault(node, node)
    tops = [new[root] if root in moved else repeated(root, extent) for root in roots]
    return tops, new


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


class Lifted(Reading[Node]):
    """A node's lifted form; `new` has that of its operands, `moved` those with the new axis."""

    def __init__(self, new: dict[Node, Node], moved: set[Node], extent: Size) -> None:
        self.new, self.moved, self.extent = new, moved, extent

    def whole(self, node: Node) -> Node:
        """An operand's lifted form with the new axis."""
        new = self.new[node]
        return new if node in self.moved else repeated(new, self.extent)

    def _alone(self, node: Variable | Constant) -> Node:
        raise SpaceError(f"{type(node).__name__} has no operand to be lifted with")

    variable = constant = _alone

    def linear_combination(self, node: LinearCombination) -> Node:
        return linear_combination([(weight, self.whole(term)) for weight, term in node.terms])

    def elementwise(self, node: Elementwise) -> Node:
        return elementwise(node.operation, *map(self.whole, node.arguments))

    def contraction(self, node: Contraction) -> Node:
        filled, picks = node.filled, node.selectors
        read = (x in self.moved for x in filled)
        lifted = dict(zip(node.slots, read, strict=True)) | {node.opened: True}
        form = _with_axis(node.form, lifted, [x in self.moved for x in picks], self.extent)
        arrays, integers = [self.new[x] for x in filled], [self.new[x] for x in picks]
        return contraction(lift_space(node.space, self.extent), form, node.opened, arrays, integers)

    def running_sum(self, node: RunningSum) -> Node:
        return running_sum(self.new[node.operand], node.reverse)

    def argmax(self, node: Argmax) -> Node:
        form = _with_axis(node.form, {0: True, 1: True}, [], self.extent)
        space = lift_space(node.space, self.extent)
        return argmax(form, space, self.new[node.operand], node.position)

    def held(self, node: Held) -> Node:
        return held(self.new[node.operand])

    def potential(self, node: Potential) -> Node:
        return potential(self.whole(node.operand), self.whole(node.argument), node.gradient)

    def tuple_(self, node: Tuple) -> Node:
        return tuple_of(map(self.whole, node.components))

    def projection(self, node: Projection) -> Node:
        return projection(self.new[node.operand], node.position)

    def jet(self, node: Jet) -> Node:
        raise SpaceError("Jet has no batched form: it is uninterpreted")


def _with_axis(form: Form, lifted: dict[int, bool], picks: list[bool], extent: Size) -> Form:
    """The form with the new index in front of every lifted access."""

    def extended(access: Access, moved: bool) -> Access:
        return (_LIFTED, *access) if moved else access

    slots = [extended(access, lifted[k]) for k, access in enumerate(form.slots)]
    bound = [
        (index, extended(access, moved))
        for (index, access), moved in zip(form.bound, picks, strict=True)
    ]
    return make_form(slots, dict(form.extents) | {_LIFTED: extent}, bound, form.name)
