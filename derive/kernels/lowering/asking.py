"""Who asks for each stored array: a caller may give NULL for results that are added to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ...language.expressions import Node
from .stored import Demand, NestKey, Schedule, Stored

ALWAYS = "always"
Askers = set[str]
Met = dict[tuple[Node, NestKey | None], Askers]


def asked(schedule: Schedule) -> Schedule:
    """Guards, the results that ask for each array; arrays that no result asks for are dropped.

    Results ask for themselves, and each array asks for what it loads.  Needs stages: what a nest
    makes is at hand there, and not loaded.  Law: an array is made wherever one that loads it is;
    what is dropped is loaded by none, so that the stages stay as they are.
    """
    askers = _askers(schedule)
    everyone = _everyone(schedule.demand)
    made = {
        stored: replace(stored, guards=_guards(found, everyone)) for stored, found in askers.items()
    }
    stored = {node: made[s] for node, s in schedule.stored.items() if askers[s]}
    return replace(schedule, stored=stored, copies=tuple(made[s] for s in schedule.copies))


def _askers(schedule: Schedule) -> dict[Stored, Askers]:
    """The results that ask for each array; the last are gone through first, since they load."""
    readable = {wanted.name: wanted.readable for wanted in schedule.demand.results}
    askers: dict[Stored, Askers] = {stored: set() for stored in schedule.contents}
    met: Met = {}
    for stored in reversed(schedule.contents):
        if stored.result is not None:
            askers[stored].add(ALWAYS if readable[stored.result] else stored.result)
        for source in _sources(schedule, stored, askers[stored], met):
            askers[source] |= askers[stored]
    return askers


def _everyone(demand: Demand) -> Askers:
    """The results one of which is asked for in every call: what all of these ask for is made.

    With a result that can be read back there are none: a call that asks for it alone is one, too.
    """
    if any(wanted.readable for wanted in demand.results):
        return set()
    return {wanted.name for wanted in demand.results if wanted.is_added}


def _guards(askers: Askers, everyone: Askers) -> frozenset[str]:
    """The results that guard an array; none for one that every call makes."""
    always = ALWAYS in askers or (everyone and askers >= everyone)
    return frozenset() if always else frozenset(askers)


def _sources(schedule: Schedule, stored: Stored, askers: Askers, met: Met) -> Iterator[Stored]:
    """The stored arrays that one loads: not those that its own loop nest makes.

    What a nest has `met` for the same askers is not gone through again: formulas share much.
    """
    stack = list(_starts(schedule, stored))
    while stack:
        node, nest = stack.pop()
        before = met.setdefault((node, nest), set())
        if node in schedule.demand.known or before >= askers:
            continue
        before |= askers
        source = schedule.stored.get(node)
        if source is not None and not (nest is not None and source.is_at_hand(nest)):
            yield source
        else:
            stack.extend((operand, nest) for operand in node.operands)


def _starts(schedule: Schedule, stored: Stored) -> Iterator[tuple[Node, NestKey | None]]:
    """Where the reads of a stored array begin, with its nest; a sum has no nest that shares."""
    yield from ((operand, None) for _, total in stored.sums for operand in total.operands)
    if stored.pointwise is not None:
        own = schedule.stored.get(stored.pointwise) is stored
        read = stored.pointwise.operands if own else [stored.pointwise]
        yield from ((node, stored.nest) for node in read)
