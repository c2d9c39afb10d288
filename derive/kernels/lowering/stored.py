"""Stored arrays, and a schedule of them: what a kernel stores, at which stage, and who asks.

A *stored* array is a buffer with the expression that goes into it: a pointwise part, set first, and
sums that are added to it in place.  All values here are frozen: each step of `schedule` makes the
next schedule of the one before.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import sympy

from ...language.expressions import Constant, Node, Projection, Variable, is_zero
from ...language.walk import topological
from .products import Summed
from .reads import Read, reads

SAVED = "saved"
"""The name, among the results, of all that forward saves for backward."""
NestKey = tuple[object, ...]


def is_leaf(node: Node) -> bool:
    """An argument, a component of one, or a number."""
    return isinstance(node, (Variable, Projection, Constant)) or is_zero(node)


class Wanted(NamedTuple):
    """A result: its pointer's name, its expression, and whether it can be read back once made.

    A result that is overwritten can be; one that is added to holds the caller's numbers, too.
    """

    name: str
    node: Node
    readable: bool

    @property
    def is_added(self) -> bool:
        """The result is added to what the caller gives."""
        return not self.readable and self.name != SAVED


@dataclass(frozen=True)
class Demand:
    """What a kernel has to make, and the expressions that are `known`: in memory already."""

    results: tuple[Wanted, ...]
    known: frozenset[Node]

    @cached_property
    def order(self) -> tuple[Node, ...]:
        """The expressions that are computed or loaded, operands first: none below a known one."""
        roots = [wanted.node for wanted in self.results if not is_zero(wanted.node)]
        seen, stack = set[Node](), list(roots)
        while stack:
            node = stack.pop()
            if node not in seen:
                seen.add(node)
                stack.extend(() if node in self.known else node.operands)
        return tuple(node for node in topological(*roots) if node in seen)

    @cached_property
    def consumers(self) -> Counter[Node]:
        """How often each expression is read: by others, and as a result."""
        computed = [node for node in self.order if node not in self.known]
        count = Counter(operand for node in computed for operand in node.operands)
        count.update(wanted.node for wanted in self.results)
        return count

    @cached_property
    def added(self) -> dict[Node, None]:
        """The results that are added to, which can't be read back."""
        return {wanted.node: None for wanted in self.results if wanted.is_added}

    def is_given(self, node: Node) -> bool:
        """The expression can be read without anything being made for it."""
        return is_leaf(node) or node in self.known

    @cached_property
    def _reads(self) -> dict[Node, tuple[Read, ...]]:
        return {}

    def reads(self, node: Node) -> tuple[Read, ...]:
        """How an expression reads its operands, found once: several steps ask."""
        if node not in self._reads:
            self._reads[node] = reads(node)
        return self._reads[node]


@dataclass(frozen=True, eq=False)
class Stored:
    """A buffer's content: a pointwise part and weighted sums; its stages; who asks for it.

    `result` is the pointer that it is made for, None in the workspace.  `guards` are the results
    one of which has to be asked for; none where it is always made.
    """

    node: Node
    pointwise: Node | None
    sums: tuple[tuple[sympy.Expr, Summed], ...] = ()
    result: str | None = None
    pointwise_stage: int = 0
    sum_stages: tuple[int, ...] = ()
    guards: frozenset[str] = frozenset()

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

    @property
    def nest(self) -> NestKey:
        """The loop nest that makes the pointwise part: one for each stage and shape."""
        return self.pointwise_stage, self.node.space.shape  # type: ignore[attr-defined]

    def is_at_hand(self, nest: NestKey) -> bool:
        """The loop nest makes all of it, so that what else it makes need not load it."""
        return self.nest == nest and not self.sums


@dataclass(frozen=True)
class Schedule:
    """The stored arrays of a kernel: `stored` by expression, operands first, then `copies`.

    A copy is a result that another buffer holds as well, or one that can't be read back.
    """

    demand: Demand
    stored: Mapping[Node, Stored] = field(default_factory=dict)
    copies: tuple[Stored, ...] = ()

    @property
    def contents(self) -> tuple[Stored, ...]:
        """All of them, in order."""
        return (*self.stored.values(), *self.copies)

    def in_memory(self, node: Node) -> bool:
        """The expression can be loaded from a buffer."""
        return node in self.stored or self.demand.is_given(node)

    def has_own(self, stored: Stored) -> bool:
        """Others that read the expression load it from this buffer: it is no copy."""
        return self.stored.get(stored.node) is stored

    def copied(self, stored: Stored) -> bool:
        """Its pointwise part is loaded from another buffer rather than made."""
        pointwise = stored.pointwise
        return pointwise is not None and not self.has_own(stored) and self.in_memory(pointwise)

    def loaded(self, read: Read) -> Node:
        """What is loaded for an operand: the nearest that lies in memory, else what is below all.

        The place of a largest entry is loaded itself where it was kept.
        """
        near = (read.operand, *read.through)
        return next((node for node in near if self.in_memory(node)), read.source)
