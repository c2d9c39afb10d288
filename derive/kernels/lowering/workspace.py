"""Where each array of the workspace lies, so that those that never live together share a place."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from heapq import heappop, heappush
from itertools import accumulate

import sympy

from ..statements.instances import instances
from ..statements.loops import Asked, Statement
from ..statements.scalars import Buffer


def lay_out(
    buffers: list[Buffer], steps: list[Statement]
) -> tuple[tuple[tuple[Buffer, sympy.Expr], ...], sympy.Expr]:
    """Each workspace buffer's offset: a place serves several of one size, one at a time.

    Of one size as formulas: which of two different ones is larger is not known before the call.
    """
    lives = _lives(set(buffers), steps)
    sizes: list[sympy.Expr] = []
    busy: dict[sympy.Expr, list[tuple[int, int]]] = {}  # of a size: the last step, the place
    free: dict[sympy.Expr, list[int]] = {}
    placed: dict[Buffer, int] = {}
    for buffer in sorted(buffers, key=lambda b: lives[b][0]):
        first, last = lives[buffer]
        waiting, ready = busy.setdefault(buffer.count, []), free.setdefault(buffer.count, [])
        while waiting and waiting[0][0] < first:
            heappush(ready, heappop(waiting)[1])
        number = heappop(ready) if ready else len(sizes)
        sizes += [buffer.count] if number == len(sizes) else []
        heappush(waiting, (last, number))
        placed[buffer] = number
    starts = list(accumulate(sizes, initial=sympy.S.Zero))
    return tuple((b, starts[placed[b]]) for b in buffers), starts[-1]


def _lives(buffers: set[Buffer], steps: list[Statement]) -> dict[Buffer, tuple[int, int]]:
    """The first and the last step that reads or writes each buffer."""
    lives: dict[Buffer, tuple[int, int]] = {}
    for number, step in enumerate(in_order(steps)):
        for buffer in instances(step, Buffer):
            if buffer in buffers:
                lives[buffer] = lives.get(buffer, (number,))[0], number
    return lives


def in_order(steps: Iterable[Statement]) -> Iterator[Statement]:
    """The steps one after the other, those under a condition too."""
    for step in steps:
        if isinstance(step, Asked):
            yield from in_order(step.body)
        else:
            yield step
