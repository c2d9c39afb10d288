"""Positions in an array, as in x[0], x[-1] and x[1:4:2]: which entries of each axis are meant."""

from __future__ import annotations

import numbers
from typing import TypeAlias

import sympy

from .spaces import Real, SpaceError

OTHERS = (
    "write crop(x, at, extents) for a part whose extents are sizes, entry(x, k) for an argument "
    "k: Index(n), total_sum(x) for the sum of all entries"
)
Position: TypeAlias = "int | range | None"


def chosen(space: Real, key: object) -> list[Position]:
    """For each of some first axes the position, or the positions, that a key in brackets means.

    None is the whole of an axis whose extent is a size.  Raises SpaceError for a key that is
    neither a number nor a slice, and for one beyond the axis.
    """
    keys = key if isinstance(key, tuple) else (key,)
    if len(keys) > space.rank:
        axes = f"{space.rank} axes" if space.rank != 1 else "one axis"
        raise SpaceError(f"x[{_shown(key)}]: an element of {space} has {axes}")
    return [_along(space, one, extent) for one, extent in zip(keys, space.shape, strict=False)]


def first_extent(space: Real) -> int:
    """The extent of the first axis; raises SpaceError where there is none or it is not a number."""
    if not space.shape:
        raise SpaceError(f"an element of {space} is one number and has no parts")
    return _number_of(space, space.shape[0])


def numbered(count: int, key: object) -> int | range:
    """The position, or the positions, on an axis of `count` entries."""
    if isinstance(key, slice):
        found = range(count)[_whole(key)]
        if not found:
            raise SpaceError(f"x[{_shown(key)}]: there is nothing in it of {count}")
        return found
    position = _number(key, key)
    if not -count <= position < count:
        raise SpaceError(
            f"x[{position}]: the positions are 0 to {count - 1}, or from the end -1 to -{count}"
        )
    return position % count


def _along(space: Real, key: object, extent: sympy.Expr) -> Position:
    if key == slice(None) and not extent.is_Integer:
        return None
    return numbered(_number_of(space, extent), key)


def _number_of(space: Real, extent: sympy.Expr) -> int:
    if not extent.is_Integer:
        raise SpaceError(
            f"an element of {space} can't be taken apart along an axis of {extent}: positions are "
            "numbers, on a direct product or on an axis whose extent is a number, as in H**4; "
            f"{OTHERS}"
        )
    return int(extent)


def _whole(key: slice) -> slice:
    parts = (key.start, key.stop, key.step)
    start, stop, step = (None if part is None else _number(part, key) for part in parts)
    if step == 0:
        raise SpaceError(f"x[{_shown(key)}]: the step is 0; leave it out")
    return slice(start, stop, step)


def _number(part: object, key: object) -> int:
    if isinstance(part, bool) or not isinstance(part, (numbers.Integral, sympy.Integer)):
        raise SpaceError(f"x[{_shown(key)}]: expected a whole number or a slice; {OTHERS}")
    return int(part)


def _shown(key: object) -> str:
    """The key as it is written between the brackets."""
    if isinstance(key, slice):
        text = ":".join("" if part is None else str(part) for part in (key.start, key.stop))
        return text if key.step is None else f"{text}:{key.step}"
    if isinstance(key, tuple):
        return ", ".join(map(_shown, key))
    return "..." if key is Ellipsis else repr(key)
