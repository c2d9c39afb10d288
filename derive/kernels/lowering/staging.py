"""Stages: when each stored array is made.

In a stage come first the loop nests, one for each shape, then the sums.  So a sum can load what a
nest of its stage has made, and what is loaded by a nest is of an earlier stage.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ...language.expressions import Node
from .products import Summed
from .reads import Read
from .stored import Schedule, Stored

Stages = Mapping[Node, int]


def staged(schedule: Schedule) -> Schedule:
    """Every stored array at the earliest stage at which all that it loads is there.

    Law: what a nest loads is complete in an earlier stage, what a sum loads is complete in an
    earlier stage or made by a nest of its own; a buffer's sums never come before the pointwise part
    that sets it.  The stages are read off the reads alone: staging twice changes nothing.
    """
    stages: dict[Node, int] = {}
    stored: dict[Node, Stored] = {}
    for node in schedule.demand.order:  # operands first, so that their stages are known
        if node in schedule.stored:
            stored[node] = _placed(schedule, stages, schedule.stored[node])
            stages[node] = stored[node].stage
        else:
            stages[node] = _pointwise_stage(schedule, stages, node)
    copies = tuple(_placed(schedule, stages, copy) for copy in schedule.copies)
    return replace(schedule, stored=stored, copies=copies)


def _placed(schedule: Schedule, stages: Stages, stored: Stored) -> Stored:
    """The stages of its pointwise part, which sets the buffer, and of its sums, which add to it."""
    node = stored.pointwise
    first = 0 if node is None else _own_stage(schedule, stages, node)
    sums = (_sum_stage(schedule, stages, total) for _, total in stored.sums)
    return replace(stored, pointwise_stage=first, sum_stages=tuple(max(first, s) for s in sums))


def _own_stage(schedule: Schedule, stages: Stages, node: Node) -> int:
    """The stage of a pointwise part, which may be a stored expression that is copied."""
    if node in stages:
        return _at_hand(schedule, stages, node)
    return _pointwise_stage(schedule, stages, node)


def _pointwise_stage(schedule: Schedule, stages: Stages, node: Node) -> int:
    """The first stage in which a loop nest can make an expression."""
    if schedule.demand.is_given(node):
        return 0
    found = (_after(schedule, stages, read) for read in schedule.demand.reads(node))
    return max(found, default=0)


def _after(schedule: Schedule, stages: Stages, read: Read) -> int:
    """The first stage in which a loop nest can read an operand."""
    if not read.from_memory:
        return _at_hand(schedule, stages, read.operand)
    source = schedule.loaded(read)
    # another entry is read, which the same nest may make later: so never in the same stage
    return 0 if schedule.demand.is_given(source) else stages[source] + 1


def _sum_stage(schedule: Schedule, stages: Stages, node: Summed) -> int:
    """The first stage in which a sum can be made, after the loop nests of this stage."""
    sources = map(schedule.loaded, schedule.demand.reads(node))
    made = (source for source in sources if not schedule.demand.is_given(source))
    return max((_at_hand(schedule, stages, source) for source in made), default=0)


def _at_hand(schedule: Schedule, stages: Stages, node: Node) -> int:
    """The stage in which one entry can be read: that of its nest, or the one after its sums."""
    has_sums = node in schedule.stored and bool(schedule.stored[node].sums)
    return stages.get(node, 0) + has_sums
