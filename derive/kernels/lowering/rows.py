"""Rows of a batch that a mask selects, copied or set whole: the mask is asked once a row."""

from __future__ import annotations

from collections.abc import Mapping

import sympy

from ...language.expressions import Elementwise, Node, Variable, constant, is_zero, zero
from ...language.spaces import Real
from ...vocabulary.selecting import select
from ..statements.loops import Selected, Statement, Store, Where
from ..statements.scalars import Buffer
from .loop_names import LoopNames
from .nests import in_loops
from .points import Memory, Points
from .products import is_rearranged, is_sum


def only_part(node: Node) -> tuple[Node, Node] | None:
    """The mask and the expression of one that is zero where the mask is; None for all others."""
    if not isinstance(node, Elementwise) or not node.operation.keeps_common:
        return None
    mask, there, elsewhere = node.arguments
    return (
        (mask.operands[0] if is_rearranged(mask) else mask, there) if is_zero(elsewhere) else None
    )


def copied_rows(memory: Memory, target: Buffer, node: Node) -> Selected | None:
    """What only selects rows of an array, where it and the mask lie in memory."""
    found = only_part(node)
    if found is None or any(part not in memory for part in found):
        return None
    rows, source = (memory[part] for part in found)
    rank = len(rows.shape)
    fits = source.shape == target.shape and rows.shape == target.shape[:rank]
    return Selected(target, rows, source) if rank and fits else None


def cleared_sum(node: Node) -> Node | None:
    """Where a sum that a mask over the first axis selects is to be cleared; None for all others."""
    mask, there = only_part(node) or (node, node)
    one_axis = isinstance(mask.space, Real) and mask.space.rank == 1
    if not isinstance(mask, Variable) or not one_axis or not is_sum(there):
        return None
    return select(mask, zero(mask.space), constant(sympy.S.One, mask.space))


def set_rows(
    memory: Memory,
    names: Mapping[Node, str],
    indices: LoopNames,
    target: Buffer,
    where: Node,
    node: Node,
) -> list[Statement]:
    """target = node in those rows where a mask is not zero."""
    first, *place = indices.fresh(target.shape)
    points = Points(memory, names, indices)
    mask = points.value(where, (first,), root=True)
    entry = Store(target, (first, *place), points.value(node, (first, *place), root=True))
    assert not points.lets
    inner = Where(mask, tuple(in_loops(place, target.shape[1:], [entry])))
    return in_loops([first], target.shape[:1], [inner])
