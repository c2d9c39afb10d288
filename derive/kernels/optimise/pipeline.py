"""The passes over the statements of a kernel, in order.

A pass takes steps and gives steps that compute the same.  What goes into the first and what comes
out of the last is checked: every scalar is set before it is read, every index of a place is bound,
every place fits its array.  Tests check what comes out of each.
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
    guards_joined,  # first: nests become neighbours where they are under one guard
    fused,  # neighbouring loop nests over the same extents
    covered,  # last: what is cleared and added to is set, once one nest has all that is added
)


def optimised(steps: Iterable[Statement], passes: Sequence[Pass] = PASSES) -> list[Statement]:
    """The steps after all passes."""
    steps = list(steps)
    check(steps)
    for one in passes:
        steps = one(steps)
    check(steps)
    return steps
