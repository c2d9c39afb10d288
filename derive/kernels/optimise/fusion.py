"""Neighbouring loop nests over the same extents become one nest.

Law: the results stay the same to the last bit.  Every point of the first nest is made before the
same point of the second, as before; that the other points have no say is checked: an array that
one of the two writes is read and written at places that have every index of the nest as an entry,
the same one in both, so that two points never meet.

What the second nest computes under the name and by the formula of the first is not computed again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import sympy

from ..statements.checking import names_read, names_set
from ..statements.instances import instances
from ..statements.loops import Asked, Commented, Fill, For, Let, Select, Statement, Store
from ..statements.rebuilding import at_indices
from ..statements.scalars import Buffer, Load, Scalar, Subscript

BY_PLACE = (Load, Select, Store)  # what reads or writes an array at one place


@dataclass(frozen=True)
class Loops:
    """Loops within each other with nothing between them, and what stands in the innermost."""

    indices: tuple[sympy.Symbol, ...]
    extents: tuple[sympy.Expr, ...]
    body: tuple[Statement, ...]

    def renamed(self, indices: tuple[sympy.Symbol, ...]) -> Loops:
        """The same loops with other indices."""
        pairs = zip(self.indices, indices, strict=True)
        body = at_indices(self.body, {old: new for old, new in pairs if old != new})
        return Loops(indices, self.extents, body)

    def statement(self) -> Statement:
        """The loops as one statement."""
        body = self.body
        for index, extent in reversed(list(zip(self.indices, self.extents, strict=True))):
            body = (For(index, extent, body),)
        return body[0]


def fused(steps: Iterable[Statement]) -> list[Statement]:
    """The steps, every nest in the one before it where that is of the same extents."""
    result: list[Statement] = []
    for step in steps:
        if isinstance(step, Asked):
            step = replace(step, body=tuple(fused(step.body)))
        joined = _joined(result[-1], step) if result else None
        result[len(result) - (joined is not None) :] = [step if joined is None else joined]
    return result


def _joined(first: Statement, second: Statement) -> Commented | None:
    """Two steps of one nest each as one step; None where they are others, or may meet."""
    if not isinstance(first, Commented) or not isinstance(second, Commented):
        return None
    above, below = loops_of(first.body[-1]), loops_of(second.body[-1])
    if above is None or below is None or above.extents != below.extents:
        return None
    below = below.renamed(above.indices)
    heads = second.body[:-1]
    if not _is_before(heads, above) or may_meet(above, below):
        return None
    body = _one_after_the_other(above.body, below.body)
    nest = Loops(above.indices, above.extents, body).statement()
    formulas = tuple(dict.fromkeys((*first.formulas, *second.formulas)))
    return Commented(formulas, (*first.body[:-1], *heads, nest))


def loops_of(statement: Statement) -> Loops | None:
    """The loops that a statement consists of; None where it is none."""
    indices, extents = list[sympy.Symbol](), list[sympy.Expr]()
    body: tuple[Statement, ...] = (statement,)
    while len(body) == 1 and isinstance(body[0], For):
        indices.append(body[0].index)
        extents.append(body[0].extent)
        body = body[0].body
    return Loops(tuple(indices), tuple(extents), body) if indices else None


def _is_before(heads: Sequence[Statement], nest: Loops) -> bool:
    """What stands before the second nest may stand before the first one: arrays it has not."""
    touched = set(instances(nest.body, Buffer))
    return all(isinstance(head, Fill) and head.buffer not in touched for head in heads)


def may_meet(above: Loops, below: Loops) -> bool:
    """Another point of one nest may write what a point of the other reads or writes."""
    both = (above.body, below.body)
    if any(_touches_otherwise(body) for body in both):
        return True
    written = {store.buffer for body in both for store in instances(body, Store)}
    places = [place for body in both for place in _places(body, written)]
    return any(
        not set(above.indices) <= _common(places_of) for places_of in _by_buffer(places).values()
    )


def _touches_otherwise(body: tuple[Statement, ...]) -> bool:
    """Some array is read or written not at one place, but as a whole."""
    return len(list(instances(body, Buffer))) != len(list(instances(body, BY_PLACE)))


def _places(
    body: tuple[Statement, ...], written: set[Buffer]
) -> Iterator[tuple[Buffer, Subscript]]:
    for access in instances(body, BY_PLACE):
        if access.buffer in written:
            yield access.buffer, access.place


def _by_buffer(places: Iterable[tuple[Buffer, Subscript]]) -> dict[Buffer, list[Subscript]]:
    found: dict[Buffer, list[Subscript]] = {}
    for buffer, place in places:
        found.setdefault(buffer, []).append(place)
    return found


def _common(places: Sequence[Subscript]) -> set[sympy.Expr]:
    """The entries that all places have on the same axis."""
    return {entries[0] for entries in zip(*places, strict=True) if len(set(entries)) == 1}


def _one_after_the_other(
    first: tuple[Statement, ...], second: tuple[Statement, ...]
) -> tuple[Statement, ...]:
    """Both bodies, without what the second names by the formula that the name holds already."""
    held = Holding()
    kept: list[Statement] = []
    for statement in (*first, *second):
        again = isinstance(statement, Let) and held.values.get(statement.name) == statement.value
        if not again:
            held.take(statement)
            kept.append(statement)
    return tuple(kept)


class Holding:
    """The formula that each scalar holds, as long as what it is made of stays as it is."""

    def __init__(self) -> None:
        self.values: dict[str, Scalar] = {}
        self.users: dict[str | Buffer, set[str]] = {}  # of a scalar, an index or an array

    def take(self, statement: Statement) -> None:
        """Forgets what a statement changes, and remembers what it names."""
        names = names_set(statement)
        for changed in (*names, *(store.buffer for store in instances(statement, Store))):
            self.values.pop(changed, None)
            for user in self.users.pop(changed, ()):
                self.values.pop(user, None)
        if isinstance(statement, Let):
            read = names_read(statement.value)
            if statement.name not in read:
                self.values[statement.name] = statement.value
                for part in (*read, *instances(statement.value, Buffer)):
                    self.users.setdefault(part, set()).add(statement.name)
