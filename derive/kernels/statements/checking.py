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


Known = set[tuple[str, frozenset[str]]]  # names, each with the condition under which it is set
ALWAYS: frozenset[str] = frozenset()


def check(steps: Iterable[Statement]) -> None:
    """Raises IllFormed for the first statement that can't stand where it does."""
    steps = tuple(steps)
    names, known = names_set(steps), Known()
    for step in steps:
        _check(step, known, names)


def _check(step: Statement, known: Known, names: set[str]) -> None:
    """Checks a statement and adds what it gives a value; `names` are those of all statements."""
    if isinstance(step, (Commented, Asked, Where, For)):
        _check_within(step, known, names)
        return
    inside = known
    if isinstance(step, Largest):
        own = {*map(str, step.running), step.best, step.candidate}
        inside = known | {(name, ALWAYS) for name in own}
        for let in step.lets:
            _check(let, inside, names)
    _check_reads(step, inside, names)
    _check_places(step)
    known.update((name, ALWAYS) for name in names_set(step))


def _check_within(step: Commented | Asked | Where | For, known: Known, names: set[str]) -> None:
    """Checks what stands inside a statement, where more is known or less is kept."""
    inside = known
    if isinstance(step, For):
        known.add((str(step.index), ALWAYS))
    if isinstance(step, Asked):
        inside = _asked(step, known)
    if isinstance(step, Where):
        inside = set(known)
    for inner in step.body:
        _check(inner, inside, names)
    if isinstance(step, For):
        known.discard((str(step.index), ALWAYS))
    if isinstance(step, Asked):
        known.update(_behind(frozenset(step.pointers), inside))


def _asked(step: Asked, known: Known) -> Known:
    """What is known where one of these results is asked for: also what a wider condition sets."""
    asked = set(step.pointers)
    return {(name, ALWAYS if asked <= where else where) for name, where in known}


def _behind(asked: frozenset[str], known: Known) -> Known:
    """What is known behind a condition: what is set inside of it, where it holds."""
    inside = ((name, where & asked if where else asked) for name, where in known)
    return {(name, where) for name, where in inside if where}


def _check_reads(step: Statement, known: Known, names: set[str]) -> None:
    value = step.value if isinstance(step, (Let, Accumulate, Store, Largest)) else ()
    place = step.place if isinstance(step, (Store, Select)) else ()
    own = {step.name} if isinstance(step, Accumulate) else set()
    read = (names_read((value, place)) | own) & names
    missing = sorted(name for name in read if (name, ALWAYS) not in known)
    if missing:
        raise IllFormed(f"{missing} is read by {step} and not set before")


def _check_places(step: Statement) -> None:
    for access in instances(step, (Load, Store, Select)):
        if len(access.place) != len(access.buffer.shape):
            raise IllFormed(f"{access.buffer.name} is read or written at {access.place}")
        if isinstance(access, Store) and access.buffer.kind in GIVEN:
            raise IllFormed(f"{access.buffer.name} is an argument, and stored into")
