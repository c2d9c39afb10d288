"""Arrays and direct products of them, as recurrent networks take and give them; NumPy alone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

Arrays = Any  # an array, or a tuple of arrays for a direct product


def flat(value: Arrays) -> list[Any]:
    """The arrays of a value, in order."""
    if isinstance(value, tuple):
        return [array for part in value for array in flat(part)]
    return [value]


def gathered(arrays: Sequence[Any]) -> Arrays:
    """The value of these arrays: one, or a tuple."""
    return arrays[0] if len(arrays) == 1 else tuple(arrays)


def copied(value: Arrays) -> Arrays:
    """The value in arrays of its own."""
    return tuple(map(copied, value)) if isinstance(value, tuple) else np.array(value)


def added(left: Arrays, right: Arrays) -> Arrays:
    """The sum of two values."""
    if isinstance(left, tuple):
        return tuple(map(added, left, right))
    return left + right


def where_read(mask: Any, value: Arrays) -> Arrays:
    """The value with class indices 0 where the mask is zero: what is not read may be anything.

    Real numbers stay as they are: the kernels select among them.
    """
    if isinstance(value, tuple):
        return tuple(where_read(mask, part) for part in value)
    array = np.asarray(value)
    if array.dtype.kind not in "iu" or mask.all() or array.shape[: mask.ndim] != mask.shape:
        return array
    rows = mask.reshape(*mask.shape, *[1] * (array.ndim - mask.ndim)) != 0
    return np.where(rows, array, np.zeros((), array.dtype))


# --- arrays against the leaves that a kernel declares: extents are "steps", "batch", names, numbers


def own_extents(leaf: Any) -> tuple[Any, ...]:
    """The extents of one sample at one time."""
    return tuple(e for e in leaf.extents if e not in ("steps", "batch"))


def shape_of(leaf: Any, order: Sequence[str], sizes: Mapping[str, int]) -> tuple[int, ...]:
    """The shape of a leaf at these sizes, by name; KeyError for a size that is not known."""
    numbers = [sizes.get(name, 1) for name in order]
    return tuple(
        sizes[e] if isinstance(e, str) else int(e(*numbers)) if callable(e) else int(e)
        for e in leaf.extents
    )


def sizes_in(leaves: Sequence[Any], value: Arrays) -> dict[str, int]:
    """The sizes that a value shows, with or without the batch axis; none where it does not fit."""
    found: dict[str, int] = {}
    for leaf, array in zip(leaves, flat(value), strict=False):
        shape, extents = np.shape(array), leaf.extents
        if len(shape) == len(extents) - 1:
            extents = tuple(e for e in extents if e != "batch")
        if len(shape) == len(extents):
            pairs = zip(extents, shape, strict=True)
            found.update({e: n for e, n in pairs if isinstance(e, str)})
    return found


def per_sample(where: str, leaves: Sequence[Any], value: Arrays, batch: int | None) -> Arrays:
    """A state for every sample of a batch; one state is that of all samples.

    Raises ValueError, naming the state, where it has another number of arrays or of axes.
    """
    arrays = [np.asarray(array) for array in flat(value)]
    if len(arrays) != len(leaves):
        raise ValueError(f"{where}: expected {len(leaves)} arrays, got {len(arrays)}")
    made = []
    for leaf, array in zip(leaves, arrays, strict=True):
        more = array.ndim - len(own_extents(leaf))
        if more not in (0, 0 if batch is None else 1):
            raise ValueError(
                f"{where}: {leaf.name} has shape {array.shape}, expected "
                f"{tuple(map(str, own_extents(leaf)))}, or one such state for each sample"
            )
        if batch is not None and more == 0:
            array = np.ascontiguousarray(np.broadcast_to(array, (batch, *array.shape)))
        made.append(array)
    return gathered(made)


def over_samples(leaves: Sequence[Any], value: Arrays) -> Arrays:
    """The sum over the samples, where there is an axis of them."""
    pairs = zip(leaves, flat(value), strict=True)
    return gathered([a.sum(axis=0) if a.ndim > len(own_extents(e)) else a for e, a in pairs])


def spread(where: str, name: str, value: Any, axes: Sequence[str], shape: Any, dtype: Any) -> Any:
    """A number for each entry of these axes: one for all, or an array of exactly that shape.

    Raises ValueError, naming the shape and the fix, for any other: nothing is broadcast.
    """
    array = np.asarray(value, dtype)
    if array.shape not in ((), tuple(shape)):
        expected = f"({', '.join(axes)}{',' if len(axes) == 1 else ''}) = {tuple(shape)}"
        raise ValueError(
            f"{where}: {name} has shape {array.shape}, expected {expected} or one number for all"
            f"{_fix(name, array.shape, tuple(shape))}"
        )
    return np.ascontiguousarray(np.broadcast_to(array, shape))


def _fix(name: str, found: tuple[int, ...], shape: tuple[int, ...]) -> str:
    """How an array of one axis becomes one of time and batch, where it is meant so."""
    if len(shape) != 2 or len(found) != 1:
        return ""
    ways = []
    if found == shape[:1]:
        ways.append(f"for one number for each time give np.repeat({name}[:, None], {shape[1]}, 1)")
    if found == shape[1:]:
        ways.append(f"for one for each sample give np.tile({name}, ({shape[0]}, 1))")
    return f"; {', '.join(ways)}" if ways else ""


def total_of(losses: Any) -> float:
    """The sum in double precision, pairwise: its error does not grow with the number of losses."""
    return float(np.asarray(losses, np.float64).sum())


class Total:
    """A sum in double precision, compensated: what rounding takes away is added up apart.

    Source: Neumaier 1974.
    """

    def __init__(self) -> None:
        self._sum = self._rest = 0.0

    def add(self, number: float) -> None:
        """One more term."""
        total = self._sum + number
        large, small = sorted((self._sum, number), key=abs, reverse=True)
        self._rest += (large - total) + small
        self._sum = total

    @property
    def value(self) -> float:
        """The sum; not finite where a term was not."""
        found = self._sum + self._rest
        return found if math.isfinite(self._sum) else self._sum
