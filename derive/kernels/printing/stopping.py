"""Which loops of a kernel ask whether a signal ends it: Ctrl-C within a second, at no cost."""

from __future__ import annotations

from ..statements.instances import instances
from ..statements.loops import Asked, Call, Commented, For, Gemm, Largest, Statement
from ..statements.scalars import Apply


def stops(loop: For) -> bool:
    """Whether a loop asks: sizes decide how long it is, and its turns are long, too.

    A turn that goes over some memory once, and only adds and multiplies there, is short: asking
    would be felt, and memory ends before a second has passed.
    """
    return not loop.extent.is_number and any(map(_takes_long, loop.body))


def _takes_long(statement: Statement) -> bool:
    if isinstance(statement, (Asked, Commented)):
        return any(map(_takes_long, statement.body))
    if isinstance(statement, For):
        within = any(any(instances(part, (Apply, For))) for part in statement.body)
        symbolic = not statement.extent.is_number
        return (symbolic and within) or any(map(_takes_long, statement.body))
    return isinstance(statement, (Call, Gemm, Largest))
