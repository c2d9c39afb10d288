"""What is cleared, and then added to once at each of its places, is set instead.

Law: the results stay the same, but for the sign of a zero.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import sympy

from ..statements.instances import instances
from ..statements.loops import Asked, Commented, Fill, Statement, Store
from ..statements.scalars import Buffer
from .fusion import Loops, loops_of


def covered(steps: Iterable[Statement]) -> list[Statement]:
    """The steps, an array that a nest adds to at all its places not cleared before."""
    return [_set(step) for step in steps]


def _set(step: Statement) -> Statement:
    if isinstance(step, Asked):
        return replace(step, body=tuple(covered(step.body)))
    if not isinstance(step, Commented) or (nest := loops_of(step.body[-1])) is None:
        return step
    heads, body = step.body[:-1], nest.body
    fills = [head for head in heads if isinstance(head, Fill) and _is_covered(head.buffer, nest)]
    if not fills:
        return step
    buffers = {fill.buffer for fill in fills}
    body = tuple(
        replace(s, add=False) if isinstance(s, Store) and s.buffer in buffers else s for s in body
    )
    rest = tuple(head for head in heads if head not in fills)
    return replace(step, body=(*rest, replace(nest, body=body).statement()))


def _is_covered(buffer: Buffer, nest: Loops) -> bool:
    """Each entry is added to by one store of the nest at one point, and not read there."""
    stores = [s for s in nest.body if isinstance(s, Store) and s.buffer == buffer]
    alone = len(stores) == sum(found == buffer for found in instances(nest.body, Buffer))
    if not stores or not alone or not all(s.add and not s.guards for s in stores):
        return False
    running = dict(zip(nest.indices, nest.extents, strict=True))
    columns = list(zip(*(s.place for s in stores), strict=True))
    fixed = [k for k, entries in enumerate(columns) if not _runs(entries, buffer.shape[k], running)]
    used = [entries[0] for k, entries in enumerate(columns) if k not in fixed]
    if len(fixed) > 1 or len(set(used)) != len(used) or set(used) != set(running):
        return False
    return len(stores) == 1 if not fixed else _counts(columns[fixed[0]], buffer.shape[fixed[0]])


def _runs(
    entries: Sequence[sympy.Expr], extent: sympy.Expr, running: dict[sympy.Symbol, sympy.Expr]
) -> bool:
    """An axis that the same index runs over in all stores."""
    return len(set(entries)) == 1 and running.get(entries[0]) == extent


def _counts(entries: Sequence[sympy.Expr], extent: sympy.Expr) -> bool:
    """An axis along which the stores stand at the places 0, 1, .. once each."""
    return bool(extent.is_Integer) and sorted(map(str, entries)) == sorted(
        map(str, range(int(extent)))
    )
