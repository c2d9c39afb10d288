"""What every list of statements must hold to, checked where one is made of another.

A scalar is set before it is read, an index of a place is bound where it is read, a place has an
entry for each axis of its array, and nothing is stored into an argument.
"""

from __future__ import annotations

from collections.abc import Iterable

import sympy

from .instances import instances
from .loops import Accumulate, Asked, Commented, For, Largest, Let, Select, Statement, Store, Where
from .scalars import Load, Local

GIVEN = ("argument", "index")  # kinds of arrays that belong to the caller


class IllFormed(AssertionError):
    """Statements that no kernel can be made of; the message has the statement and what it lacks."""


def names_set(tree: object) -> set[str]:
    """The scalars and indices that statements give a value."""
    names = {let.name for let in instances(tree, (Let, Accumulate))}
    for found in instances(tree, (For, Select, Largest)):
        if isinstance(found, Largest):
            names.update(map(str, (*found.indices, *found.running, found.best, found.candidate)))
        else:
            names.add(str(found.index))
    return names


def names_read(value: object) -> set[str]:
    """The scalars, indices and sizes that a scalar is made of."""
    scalars = {local.name for local in instances(value, Local)}
    entries = instances(value, sympy.Basic)
    return scalars.union(str(symbol) for entry in entries for symbol in entry.free_symbols)


Known = frozenset[tuple[str, frozenset[str]]]  # a name, and under which condition it is set
ALWAYS: frozenset[str] = frozenset()


def check(steps: Iterable[Statement]) -> None:
    """Raises IllFormed for the first statement that can't stand where it does."""
    steps = tuple(steps)
    _check_all(steps, frozenset(), frozenset(names_set(steps)))


def _check_all(steps: tuple[Statement, ...], known: Known, names: frozenset[str]) -> Known:
    """What is known behind the statements; `names` are all that some statement gives a value."""
    for step in steps:
        known |= _checked(step, known, names)
    return known


def _checked(step: Statement, known: Known, names: frozenset[str]) -> Known:
    """What a statement gives a value for those behind it."""
    if isinstance(step, Commented):
        return _check_all(step.body, known, names)
    if isinstance(step, Asked):
        return _under(frozenset(step.pointers), _check_all(step.body, _within(step, known), names))
    if isinstance(step, Where):
        _check_all(step.body, known, names)
        return frozenset()
    if isinstance(step, For):
        index = (str(step.index), ALWAYS)
        return _check_all(step.body, known | {index}, names) - {index}
    if isinstance(step, Largest):
        own = {*map(str, step.running), step.best, step.candidate}
        inside = known | {(name, ALWAYS) for name in own}
        _check_reads(step, _check_all(step.lets, inside, names), names)
    else:
        _check_reads(step, known, names)
    _check_places(step)
    return frozenset((name, ALWAYS) for name in names_set(step))


def _within(step: Asked, known: Known) -> Known:
    """What is known where one of these results is asked for: also what a wider condition sets."""
    asked = set(step.pointers)
    return frozenset((name, ALWAYS if asked <= where else where) for name, where in known)


def _under(asked: frozenset[str], known: Known) -> Known:
    """What is known behind a condition: what is set inside of it, where it holds."""
    inside = ((name, where & asked if where else asked) for name, where in known)
    return frozenset((name, where) for name, where in inside if where)


def _check_reads(step: Statement, known: Known, names: frozenset[str]) -> None:
    value = step.value if isinstance(step, (Let, Accumulate, Store, Largest)) else ()
    place = step.place if isinstance(step, (Store, Select)) else ()
    own = {step.name} if isinstance(step, Accumulate) else set()
    read = (names_read((value, place)) | own) & names
    missing = read - {name for name, where in known if not where}
    if missing:
        raise IllFormed(f"{sorted(missing)} is read by {step} and not set before")


def _check_places(step: Statement) -> None:
    for access in instances(step, (Load, Store, Select)):
        if len(access.place) != len(access.buffer.shape):
            raise IllFormed(f"{access.buffer.name} is read or written at {access.place}")
        if isinstance(access, Store) and access.buffer.kind in GIVEN:
            raise IllFormed(f"{access.buffer.name} is an argument, and stored into")
