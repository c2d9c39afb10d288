"""One call of a kernel in Python: what was given, and what the checks have read off it so far."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from derive.runtime.declare import Leaf
from derive.runtime.sentences import extent_name, origins, shape_sentence
from derive.runtime.slots import Slots

Array = np.ndarray[Any, Any]
DTYPES = (np.dtype(np.float64), np.dtype(np.float32))
INT = np.dtype(np.int64)
LARGEST = sys.maxsize // 8  # elements an array may have


class Call:
    """The arguments of a call, and what the rows of `checks.CHECKS` find in them, in that order."""

    def __init__(
        self,
        slots: Slots,
        binding: bool,
        given: tuple[Any, ...],
        /,
        *,
        out: Any = None,
        saved: Any = None,
        workspace: Any = None,
        **named: Any,
    ) -> None:
        self.slots, self.declaration, self.binding = slots, slots.declaration, binding
        self.given, self.named = given, named
        self.out, self.saved, self.workspace = out, saved, workspace
        self.converted: Mapping[int, Array] = {}  # by slot, where another edge has done it before
        self.values: tuple[Any, ...] = ()  # one for each array of the arguments
        self.keywords: dict[str, Any] = {}  # sizes
        self.arrays: list[Any] = [None] * len(slots.leaves)
        self.dtype, self.batched, self.sizes = DTYPES[0], True, dict[str, int]()
        self.results: Any = None
        self.asked = True  # something is to be computed

    def inputs(self) -> Iterator[tuple[int, Leaf, Array]]:
        """The arguments: slot, leaf, array."""
        for slot in range(self.slots.inputs):
            yield slot, self.slots.leaves[slot], self.arrays[slot]

    def shapes(self) -> list[tuple[int, ...]]:
        """Those of the arguments."""
        return [array.shape for _, _, array in self.inputs()]

    def known(self) -> dict[str, int]:
        """The sizes in their order."""
        return {name: self.sizes[name] for name in self.declaration.sizes}

    def listed(self) -> str:
        """The sizes as a sentence lists them."""
        return ", ".join(f"{name} = {value}" for name, value in self.known().items())

    def origins(self) -> dict[str, str]:
        """Where each size came from."""
        return origins(self.slots.leaves, self.shapes(), self.keywords, self.batched)

    # --- arrays

    def array(self, slot: int, value: Any) -> Array:
        """What was given for a slot as an array.  It is converted once: it may change thereby."""
        if slot in self.converted:
            return self.converted[slot]
        base = self.declaration.base_of(slot) if value is None else -1
        like = None if base < 0 else self.arrays[base]
        return array_of(self.slots, slot, value, self.binding, like)

    def require_dtype(self, slot: int, array: Array, fits: bool, expected: str) -> None:
        """Raises TypeError where the dtype doesn't fit, ValueError for a misaligned array."""
        if not fits:
            text = f"has dtype {array.dtype}, expected {expected}"
            raise self.slots.wrong(slot, text, TypeError)
        if not array.flags.aligned:
            raise self.slots.wrong(slot, "is misaligned; pass a copy of it")

    def require_shape(self, slot: int, array: Array) -> None:
        """Raises ValueError, saying where the sizes came from."""
        expected, leaf = self.expected(slot), self.slots.leaves[slot]
        if array.shape != expected:
            text = shape_sentence(leaf, array.shape, expected, self.batched, self.origins())
            raise self.slots.refused(text)

    def written(self, slot: int, value: Any) -> Array:
        """An array that the kernel writes into as it lies.  Raises TypeError or ValueError."""
        if not isinstance(value, np.ndarray):
            text = f"is given as {type(value).__name__}, must be a NumPy array to be written to"
            raise self.slots.wrong(slot, text, TypeError)
        array = self.array(slot, value)
        self.require_dtype(slot, array, array.dtype == self.dtype, str(self.dtype))
        if not array.flags.writeable:
            raise self.slots.wrong(slot, "is read-only")
        if not array.flags.c_contiguous:
            raise self.slots.wrong(slot, "is written to and must be C-contiguous")
        return array

    # --- shapes

    def expected(self, slot: int) -> tuple[int, ...]:
        """The shape of a slot at this call.  Raises ValueError where it is too large."""
        leaf = self.slots.leaves[slot]
        shape = [self.extent(slot, axis) for axis in range(len(leaf.extents))]
        if math.prod(max(value, 1) for value in shape) > LARGEST:
            raise self._too_large(slot)
        return tuple(v for axis, v in enumerate(shape) if self.batched or axis != leaf.batch)

    def extent(self, slot: int, axis: int) -> int:
        """That of an axis; behind the last one is the bound of an index.  Raises ValueError."""
        leaf = self.slots.leaves[slot]
        extent: Any = (*leaf.extents, leaf.bound)[axis]
        if not callable(extent):
            return self.sizes[extent] if isinstance(extent, str) else int(extent)
        value = int(extent(*self.known().values()))
        least = int(slot < self.slots.outputs)
        if value < least:
            text = f"has extent {extent_name(extent)} = {value} on axis {axis}, must be at least"
            raise self.slots.wrong(slot, f"{text} {least}; sizes are {self.listed()}")
        if value > LARGEST:
            raise self._too_large(slot)
        return value

    def _too_large(self, slot: int) -> Exception:
        return self.slots.wrong(slot, f"is too large at {self.listed()}")


def array_of(slots: Slots, slot: int, value: Any, binding: bool, base: Array | None) -> Array:
    """An array that shares the memory of anything else; a new one for lists and numbers.

    None is zeros like `base`, the array that it is a direction of.  Raises TypeError for None that
    is no direction, masked arrays, what gives no array in main memory, and, where the arrays are to
    be held, for all but NumPy arrays.
    """
    kind, is_array = type(value).__name__, isinstance(value, np.ndarray)
    if value is None and base is not None:
        return np.zeros_like(base)
    if value is None:
        raise slots.wrong(slot, "is None, expected an array", TypeError)
    if isinstance(value, np.ma.MaskedArray):
        raise slots.wrong(slot, "is a masked array; pass its data and a mask", TypeError)
    if binding and not is_array:
        advice = "bind holds NumPy arrays (np.asarray shares the memory of a tensor)"
        raise slots.wrong(slot, f"is a {kind}; {advice}", TypeError)
    try:
        is_tensor = hasattr(value, "__dlpack__") and not is_array
        return np.from_dlpack(value) if is_tensor else np.asarray(value)
    except Exception as error:
        text = f"is a {kind} that gives no array in main memory: {error}"
        raise slots.wrong(slot, text, TypeError) from error
