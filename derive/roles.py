"""The roles of a layer's arguments: state, parameter, given (thesis section 2.3; data is given)."""

from __future__ import annotations

import inspect
from dataclasses import dataclass

from .expressions import Variable, variable
from .spaces import Indices, Product, Real, Space, SpaceError

STATE, PARAMETER, GIVEN, MASK = "state", "parameter", "given", "mask"


@dataclass(frozen=True)
class Given:
    """The annotation of an argument that is data and never differentiated."""

    space: Space
    role: str = GIVEN


def given(space: Space) -> Given:
    """`y: given(Y)`: a target or other data of a space; never differentiated."""
    return Given(space)


def Mask(space: Space) -> Given:
    """`mask: Mask(Y)`: entries 0 or 1, checked at the call; never differentiated."""
    return Given(space, MASK)


@dataclass(frozen=True)
class Argument:
    """A variable of a layer and the role it has there."""

    variable: Variable
    role: str

    @property
    def name(self) -> str:
        return self.variable.name


def argument_of(where: str, name: str, annotation: object, role: str) -> Argument:
    """The argument of a role; `given(...)` and `Mask(...)` say their own, left of the semicolon."""
    space = annotation
    if isinstance(annotation, Given):
        role, space = annotation.role, annotation.space
    if not isinstance(space, (Real, Product, Indices)):
        found = "nothing" if annotation is inspect.Parameter.empty else repr(annotation)
        raise SpaceError(f"{where}: annotate it with a space such as R(n), got {found}")
    return Argument(variable(name, space), role)
