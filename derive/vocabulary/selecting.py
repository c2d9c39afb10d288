"""What a mask of ones and zeros lets through: nothing that is not selected is read."""

from __future__ import annotations

from ..language.expressions import (
    Elementwise,
    Node,
    aligned,
    array_space,
    axes,
    contraction,
    elementwise,
    held,
    linear_combination,
    tuple_of,
)
from ..language.scalars import shipped
from ..language.spaces import Product, Real, SpaceError

# --- selections


def select(mask: Node, there: Node, elsewhere: Node) -> Node:
    """The entries of `there` where the mask is not zero, those of `elsewhere` where it is.

    The mask is a scalar, or has the first axes of the space alone.  What is not selected is not
    read: its NaNs and infinities do not come through, as they would in a product with zero.  Its
    derivative selects from the directions, its adjoint where the cotangent goes.  Component by
    component for a direct product.
    """
    if isinstance(there.space, Product):
        return tuple_of(select(mask, a, b) for a, b in zip(there, elsewhere, strict=True))
    whole = _over(mask, array_space(there, "select"))
    there, elsewhere = _chosen(whole, there, 1), _chosen(whole, elsewhere, 2)
    return elementwise(shipped.select, whole, there, elsewhere)


def _chosen(mask: Node, node: Node, side: int) -> Node:
    """The node, or if it is a selection by the same mask, its operand on that side."""
    same = isinstance(node, Elementwise) and node.operation is shipped.select
    return node.operands[side] if same and node.operands[0] is mask else node


def _over(mask: Node, space: Real) -> Node:
    """A mask of the first axes of a space, repeated along the axes behind them."""
    rank = array_space(mask, "select").rank
    if mask.space.shape != space.shape[:rank]:  # type: ignore[attr-defined]
        raise SpaceError(f"select: the mask is of {mask.space}, what it selects of {space}")
    accesses = [axes(0, rank), axes(0, space.rank)]
    return contraction(space, aligned(space.shape, accesses), 1, (mask,))


def only(mask: Node, x: Node) -> Node:
    """x where the mask is not zero, zero elsewhere."""
    return select(mask, x, linear_combination([(0, x)]))


def gate(mask: Node, x: Node) -> Node:
    """x, with a derivative only where the mask is not zero.

    It stands inside what the same mask selects, so that its cotangent is zero where nothing is
    selected, whatever the derivatives are there.
    """
    return select(mask, x, held(x))
