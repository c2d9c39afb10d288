"""Methods whose work is done in a room above: `dense.compile()` and what a notebook shows.

A value's class stands in a low room, what compiles or typesets it in a high one.  The high room
registers its function here, and the package loads that room with the first name that it is asked
for.
"""

from __future__ import annotations

from functools import singledispatch
from types import ModuleType


@singledispatch
def compiled(value: object, **options: object) -> ModuleType:
    """The compiled kernels of a value; registered by the cache for layers."""
    raise TypeError(f"{type(value).__name__} has no kernels; only a layer is compiled")


@singledispatch
def typeset(value: object) -> str:
    """A value as LaTeX, without dollar signs; registered by the room of the written derivation."""
    raise TypeError(f"{type(value).__name__} has no notation in LaTeX")


@singledispatch
def printed(value: object) -> str:
    """A value as a formula in plain text; registered by the room that writes it."""
    return object.__repr__(value)


class Shown:
    """A value that a notebook shows as a formula, and a terminal as one in plain text."""

    def __repr__(self) -> str:
        return printed(self)

    def _repr_latex_(self) -> str:
        return f"$\\displaystyle {typeset(self)}$"
