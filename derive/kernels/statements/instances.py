"""Going through trees of statements."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from functools import cache
from typing import Any

from .loops import Matrix, Pointer, Statement
from .scalars import Buffer, Scalar


def instances(tree: object, kind: type | tuple[type, ...], below: bool = True) -> Iterator[Any]:
    """Every statement, scalar or buffer of a kind in a tree of them, in order.

    Unless `below`, what stands below one of them is left out.
    """
    stack = [tree]
    while stack:
        found = stack.pop()
        if isinstance(found, kind):
            yield found
            if not below:
                continue
        kind_of: Any = type(found)  # mypy does not see that a type is hashable
        if kind_of is tuple:
            stack.extend(found[::-1])  # type: ignore[index]
        elif names := _parts(kind_of):
            stack.extend([getattr(found, name) for name in names])


PARTS = (Statement, Scalar, Buffer, Pointer, Matrix)


@cache
def _parts(kind: type) -> tuple[str, ...]:
    """The fields that hold what a value of this type is made of, the last one first."""
    names = [field.name for field in fields(kind)] if issubclass(kind, PARTS) else []
    return tuple(reversed(names))
