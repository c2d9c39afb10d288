"""The passes over the statements of a kernel, in order.

A pass takes steps and gives steps that compute the same.  What comes out of each is checked: every
scalar is set before it is read, every index of a place is bound, every place fits its array.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from ..statements.checking import check
from ..statements.loops import Statement
from .covering import covered
from .fusion import fused
from .guards import guards_joined

Pass = Callable[[Iterable[Statement]], list[Statement]]
PASSES: tuple[Pass, ...] = (
    guards_joined,  # neighbours under one condition
    fused,  # neighbouring nests over the same extents
    covered,  # cleared and added to: set
)


def optimised(steps: Iterable[Statement], passes: Sequence[Pass] = PASSES) -> list[Statement]:
    """The steps after all passes."""
    steps = list(steps)
    check(steps)
    for one in passes:
        steps = one(steps)
        check(steps)
    return steps
