"""Neighbouring steps that the same results ask for stand under one guard.

Law: what is computed stays as it is, and so does its order.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..statements.loops import Asked, Statement


def guards_joined(steps: Iterable[Statement]) -> list[Statement]:
    """Neighbours that the same results ask for under one guard, those of fewer results inside."""
    result: list[
        tuple[Statement, list[Statement]]
    ] = []  # the bodies of conditions grow beside them
    for step in steps:
        last = result[-1][0] if result else None
        if isinstance(step, Asked) and isinstance(last, Asked):
            if set(step.pointers) == set(last.pointers):
                result[-1][1].extend(step.body)
                continue
            if set(step.pointers) < set(last.pointers):
                result[-1][1].append(step)
                continue
        result.append((step, list(step.body) if isinstance(step, Asked) else []))
    return [
        Asked(step.pointers, tuple(guards_joined(body))) if isinstance(step, Asked) else step
        for step, body in result
    ]
