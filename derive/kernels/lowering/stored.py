"""A stored array: a buffer with the expression that goes into it, and what needs none."""

from __future__ import annotations

from dataclasses import dataclass

import sympy

from ...language.expressions import (
    Constant,
    Node,
    Projection,
    Variable,
    is_zero,
)
from .products import (
    Summed,
)


def is_leaf(node: Node) -> bool:
    """An argument, a component of one, or a number."""
    return isinstance(node, (Variable, Projection, Constant)) or is_zero(node)


@dataclass(eq=False)
class Stored:
    """A buffer's content: a pointwise part and weighted sums; who asks for it; its stage."""

    node: Node
    pointwise: Node | None
    sums: list[tuple[sympy.Expr, Summed]]
    result: str | None
    guards: frozenset[str] = frozenset()
    pointwise_stage: int = 0
    sum_stages: tuple[int, ...] = ()

    @property
    def stage(self) -> int:
        """The stage in which the buffer is complete."""
        return max([self.pointwise_stage, *self.sum_stages])

    @property
    def first_sum(self) -> Summed | None:
        """The sum that sets the buffer where no pointwise part does: the first to be made."""
        if self.pointwise is not None or not self.sums:
            return None
        return self.sums[self.sum_stages.index(min(self.sum_stages))][1]
