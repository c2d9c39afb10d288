"""What a kernel stores, and in which order: a program's expressions as stored arrays in stages.

An expression is *pointwise* where each of its entries is made from one entry of each operand.  Such
expressions are fused into one loop nest and not stored, but for what two nests would compute and
costs more than a load.  Stored are the results, what is summed over or read at another place more
than once, and the sums.

The schedule is made in steps, each a pure function from one schedule to the next.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import reduce

from ...language.expressions import Node
from .asking import asked
from .choosing import chosen
from .sharing import shared
from .staging import staged
from .stored import Demand, Schedule, Wanted

STEPS: tuple[Callable[[Schedule], Schedule], ...] = (
    chosen,  # first: which nests there are depends on what is stored
    staged,  # two arrays are of one nest where they are of one stage
    shared,  # what two of the nests would compute is stored, too
    staged,  # what is new has its stage; no other one moves
    asked,  # last: what asks for an array is what loads it, and that is settled now
)


def scheduled(results: Iterable[Wanted], known: Iterable[Node]) -> Schedule:
    """The stored arrays of these results after all steps; `known` expressions lie in memory."""
    start = Schedule(Demand(tuple(results), frozenset(known)))
    return reduce(lambda schedule, step: step(schedule), STEPS, start)
