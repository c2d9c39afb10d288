"""Arrays and direct products of them, as recurrent networks take and give them; NumPy alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

Arrays = Any  # an array, or a tuple of arrays for a direct product


def flat(value: Any) -> list[Any]:
    """The arrays of a value, in order."""
    if isinstance(value, tuple):
        return [array for part in value for array in flat(part)]
    return [value]


def first(value: Any) -> Any:
    """The first array of a value."""
    return np.asarray(flat(value)[0])


def copied(value: Any) -> Any:
    """The value in arrays of its own."""
    return tuple(map(copied, value)) if isinstance(value, tuple) else np.array(value)


def added(left: Any, right: Any) -> Any:
    """The sum of two values."""
    if isinstance(left, tuple):
        return tuple(map(added, left, right))
    return left + right


def put(target: Any, value: Any) -> None:
    """A value set into arrays that kernels are bound to."""
    for array, new in zip(flat(target), flat(value), strict=True):
        new = np.asarray(new)
        if new.shape not in (array.shape, array.shape[1:]):
            raise ValueError(f"expected an array of shape {array.shape[1:]}, got {new.shape}")
        array[...] = new


def shape_of(leaf: Any, order: Sequence[str], sizes: Mapping[str, int]) -> tuple[int, ...]:
    """The shape of a leaf at these sizes, by name; other sizes do not matter to it."""
    numbers = [sizes.get(name, 1) for name in order]
    return tuple(
        sizes[e] if isinstance(e, str) else int(e(*numbers)) if callable(e) else int(e)
        for e in leaf.extents
    )


def where_read(mask: Any, value: Any) -> Any:
    """The array where the mask is not zero, else 0: what is not read may be anything."""
    if isinstance(value, tuple):
        return tuple(where_read(mask, part) for part in value)
    array = np.asarray(value)
    if mask.all() or array.shape[: mask.ndim] != mask.shape:
        return array
    rows = mask.reshape(*mask.shape, *[1] * (array.ndim - mask.ndim)) != 0
    return np.where(rows, array, np.zeros((), array.dtype))


def per_sample(value: Any, batch: int | None, rank: int, dtype: Any) -> Any:
    """A state for every sample of the batch."""
    if isinstance(value, tuple):
        return tuple(per_sample(part, batch, rank, dtype) for part in value)
    array = np.asarray(value)
    if batch is None or array.ndim > rank:
        return array
    return np.ascontiguousarray(np.broadcast_to(array, (batch, *array.shape)), dtype)


def summed(value: Any, rank: int) -> Any:
    """The sum over the samples."""
    if isinstance(value, tuple):
        return tuple(summed(part, rank) for part in value)
    return value if value.ndim == rank else value.sum(axis=0)
