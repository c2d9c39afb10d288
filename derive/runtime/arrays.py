"""Arrays and direct products of them, as recurrent networks take and give them; NumPy alone."""

from __future__ import annotations

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
    """The value where the mask is not zero, else 0: what is not read may be anything."""
    if isinstance(value, tuple):
        return tuple(where_read(mask, part) for part in value)
    array = np.asarray(value)
    if mask.all() or array.shape[: mask.ndim] != mask.shape:
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


def spread(where: str, value: Any, shape: tuple[int, ...], dtype: Any) -> Any:
    """A value for every time and sample.  Raises ValueError where it has another shape."""
    array = np.asarray(value, dtype)
    try:
        return np.ascontiguousarray(np.broadcast_to(array, shape))
    except ValueError:
        axes = "(time, batch)" if len(shape) == 2 else "one axis less without batch"
        raise ValueError(f"{where} has shape {array.shape}, expected {shape}, {axes}") from None
