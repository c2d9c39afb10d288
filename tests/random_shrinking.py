"""A layer that is wrong made smaller, as long as it is wrong at the same stage."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from random_drafts import Argument, Draft, Statement, space_of
from random_points import Finding
from random_scalars import Scalar

TRIES = 60  # of which each may have to compile


def shrunk(
    draft: Draft, finding: Finding, fails: Callable[[Draft], Finding | None]
) -> tuple[Draft, Finding]:
    """The smallest layer that is found in TRIES, and what is wrong with it."""
    left = TRIES
    shrinking = True
    while shrinking:
        shrinking = False
        for candidate in smaller(draft):
            left -= 1
            if left < 0:
                return draft, finding
            found = fails(candidate)
            if found is not None and alike(found, finding):
                draft, finding, shrinking = candidate, found, True
                break
    return draft, finding


def alike(one: Finding, other: Finding) -> bool:
    """The same stage and, for an exception, the same kind at the same place."""
    return one.stage == other.stage and one.message.split(":")[0] == other.message.split(":")[0]


def smaller(draft: Draft) -> Iterator[Draft]:
    """Layers with a part less, the smallest first."""
    for name in draft.outputs if len(draft.outputs) > 1 else ():
        yield replace(draft, outputs=(name,)).trimmed()
    for statement in draft.statements:
        if draft.outputs != (statement.name,):
            yield replace(draft, outputs=(statement.name,)).trimmed()
    for statement in draft.statements:
        yield from without(draft, statement)
        yield from simpler(draft, statement)
    for k, argument in enumerate(draft.arguments):
        for other in draft.arguments[:k]:
            if argument.is_term and other.is_term and argument.shape == other.shape:
                yield renamed(draft, argument.name, other.name).trimmed()
        if argument.is_term and argument.annotation != space_of(argument.shape):
            yield with_argument(draft, replace(argument, annotation=space_of(argument.shape)))


def without(draft: Draft, statement: Statement) -> Iterator[Draft]:
    """An operand of the same shape in place of a statement, else an argument."""
    if statement.name in draft.outputs:
        return
    for name in dict.fromkeys(statement.operands):
        if draft.shape(name) == statement.shape:
            yield renamed(draft, statement.name, name).trimmed()
    role = "state" if any(a.role == "state" for a in draft.arguments) else "parameter"
    fresh = Argument(f"a{statement.name}", space_of(statement.shape), role, statement.shape)
    added = replace(draft, arguments=(*draft.arguments, fresh))
    yield renamed(added, statement.name, fresh.name).trimmed()


def simpler(draft: Draft, statement: Statement) -> Iterator[Draft]:
    """A part of an elementwise function's formula in its place."""
    for name, arguments, formula in statement.functions:
        for part in parts(formula):
            changed = replace(statement, functions=((name, arguments, part),))
            made = tuple(changed if s is statement else s for s in draft.statements)
            yield replace(draft, statements=made)


def parts(formula: Scalar) -> Iterator[Scalar]:
    """The parts of a formula that it is not made without, each once."""
    seen = dict.fromkeys(formula.parts)
    yield from (part for part in seen if part.sympy in formula.sympy)


def renamed(draft: Draft, old: str, new: str) -> Draft:
    """Another term wherever one was read."""
    return replace(
        draft,
        statements=tuple(
            replace(s, operands=tuple(new if x == old else x for x in s.operands))
            for s in draft.statements
        ),
    )


def with_argument(draft: Draft, argument: Argument) -> Draft:
    """The argument of that name replaced."""
    made = tuple(argument if a.name == argument.name else a for a in draft.arguments)
    return replace(draft, arguments=made)
