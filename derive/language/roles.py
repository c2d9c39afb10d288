"""The roles of a layer's arguments (thesis section 2.3).

state       left of the semicolon, a family over a batch; there is a derivative by it
given       left of it, a family; data, without a derivative.  A mask is one of zeros and ones
parameter   right of it, the same for every point of a batch; there is a derivative by it
fixed       right of it, the same for every point; data, which is neither derived by nor trained
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from .expressions import Variable, variable
from .mistakes import called
from .spaces import Indices, Product, Real, Space, SpaceError

STATE, PARAMETER, GIVEN, MASK, FIXED = "state", "parameter", "given", "mask", "fixed"
THETA = (PARAMETER, FIXED)  # what stands right of the semicolon of f(x; theta)


@dataclass(frozen=True)
class Given:
    """The annotation of an argument that says its role: data, never differentiated."""

    space: Space
    role: str = GIVEN


@called
def given(space: Space) -> Given:
    """`y: given(Y)`: a target or other data of a space; never differentiated."""
    return _role("given", Given(space))


@called
def Mask(space: Space) -> Given:
    """`mask: Mask(Y)`: entries 0 or 1, checked at the call; never differentiated."""
    return _role("Mask", Given(space, MASK))


@called
def fixed(space: Space) -> Given:
    """`P: fixed(Hom(X, Y))`, right of the `*`: data that all points of a batch share.

    It has no batch axis, nothing is derived by it, and training leaves it as it is: the running
    mean of a batch norm, a projection in front of the first layer, a reservoir's matrices.
    """
    return _role("fixed", Given(space, FIXED))


def _role(what: str, made: Given) -> Given:
    if not isinstance(made.space, (Real, Product, Indices)):
        raise SpaceError(f"{what}: expected a space, as in {what}(R(n)), got {made.space!r}")
    return made


@dataclass(frozen=True)
class Argument:
    """A variable of a layer and the role it has there."""

    variable: Variable
    role: str

    @property
    def name(self) -> str:
        return self.variable.name


def argument_of(where: str, name: str, annotation: object, role: str) -> Argument:
    """The argument of a role, or of its own: `given(...)` and `Mask(...)` left of the semicolon,
    `fixed(...)` right of it.  Raises SpaceError for a fixed one elsewhere, and for an annotation
    that is not a space.
    """
    space = annotation
    if isinstance(annotation, Given):
        if annotation.role == FIXED and role not in THETA:
            raise SpaceError(
                f"{where}: fixed({annotation.space}) is the same for every point of a batch, as a "
                "parameter is; declare it right of the bare *, in Layer.of under fixed=, or say "
                "given(..) where every point has its own"
            )
        role, space = annotation.role, annotation.space
    if not isinstance(space, (Real, Product, Indices)):
        found = "nothing" if annotation is inspect.Parameter.empty else repr(annotation)
        raise SpaceError(f"{where}: annotate it with a space such as R(n), got {found}")
    return Argument(variable(name, space), role)


def arguments_by_role(where: str, by_role: Mapping[str, object]) -> Iterator[Argument]:
    """The arguments of spaces by name, for each role; raises SpaceError where they are no such."""
    for role, spaces in by_role.items():
        if spaces is not None and not isinstance(spaces, Mapping):
            raise SpaceError(
                f"{where}: {role}: expected spaces by name, as in {{'x': R(n)}}, got {spaces!r}"
            )
        for key, space in (spaces or {}).items():
            yield argument_of(f"{where}: argument {key}", key, space, role)
