"""What two loop nests would compute, stored once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ...language.expressions import Contraction, Elementwise, LinearCombination, Node
from ...language.patterns import is_rearranged
from ...language.reading import Reading
from .stored import Schedule, Stored

LONG = 32  # operations that are not done again in another loop nest
Nests = set[object]


def shared(schedule: Schedule) -> Schedule:
    """A buffer for what two loop nests would compute: every value of some psi, and what is long.

    Needs stages, which say what is in one nest.  Law: an array that is stored here moves no other
    one to a later stage, since it is made in the nest that would have computed it; and nothing
    below it is computed twice any more that is not stored already.
    """
    nests, work, found = _nests(schedule), dict[Node, int](), dict[Node, Stored]()
    for node in schedule.demand.order:  # operands first, so that the smallest part is stored
        made = not schedule.in_memory(node)
        work[node] = min(LONG, 1 + sum(work[x] for x in node.operands)) if made else 0
        if made and len(nests.get(node, ())) > 1 and _IsCostly(work[node] == LONG)(node):
            found[node] = Stored(node, node)
            work[node] = 0  # it is loaded from now on
    both = {**schedule.stored, **found}
    return replace(schedule, stored={n: both[n] for n in schedule.demand.order if n in both})


class _IsCostly(Reading[bool]):
    """Whether an expression costs more to compute again than to store and load.

    Short sums and products do not: two of their operations take less time than a load.
    """

    __slots__ = ("is_long",)

    def __init__(self, is_long: bool) -> None:
        self.is_long = is_long

    def elementwise(self, node: Elementwise) -> bool:
        return True

    def linear_combination(self, node: LinearCombination) -> bool:
        return self.is_long

    def contraction(self, node: Contraction) -> bool:
        return self.is_long and not is_rearranged(node)  # rearranging computes nothing

    def _never(self, node: Node) -> bool:
        return False

    variable = constant = projection = _never  # given
    argmax = running_sum = _never  # a place is searched for again, a sum is stored anyway
    tuple_ = held = potential = jet = _never  # parted, plain or unknown before they are lowered


def _nests(schedule: Schedule) -> dict[Node, Nests]:
    """The loop nests that compute an expression in place, two of them where there are more."""
    nests: dict[Node, Nests] = {}
    for stored in schedule.contents:
        for nest, root in _roots(schedule, stored):
            nests.setdefault(root, set()).add(nest)
    roots, order = dict.fromkeys(nests), schedule.demand.order
    known = set(order)
    rests = [root for root in roots if root not in known]  # of combinations, without their sums
    for node in (*rests, *reversed(order)):  # those that read an expression come before it
        if node in nests and (node in roots or not schedule.in_memory(node)):
            for operand in node.operands:
                if not schedule.in_memory(operand):
                    own = nests.setdefault(operand, set())
                    own.update(list(nests[node] - own)[: 2 - len(own)])
    return nests


def _roots(schedule: Schedule, stored: Stored) -> Iterator[tuple[object, Node]]:
    """What the nests of a stored array start from: its pointwise part, the operands of its sums."""
    if stored.pointwise is not None and not schedule.copied(stored):
        yield stored.nest, stored.pointwise
    for _, total in stored.sums:
        for operand in total.operands:
            if not schedule.in_memory(operand):
                yield ("sum", id(total)), operand  # a sum is a nest of its own
