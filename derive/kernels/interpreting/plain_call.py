"""What a kernel writes at one call, checked in Python as `derive/runtime/call.pyx` checks it."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...runtime.declare import Leaf, check_nothing_saved
from .plain_inputs import Array, Inputs, Layout

INT = np.dtype(np.int64)


class Call(Inputs):
    """The arrays of one call; nothing of the caller's is written before the last check."""

    def __init__(
        self,
        layout: Layout,
        binding: bool,
        given: tuple[Any, ...],
        /,
        *,
        out: Any = None,
        saved: Any = None,
        workspace: Any = None,
        **named: Any,
    ) -> None:
        super().__init__(layout, binding, given, named, out)
        kept = [self._kept(leaf, saved) for leaf in layout.saved] or self._none_kept(saved)
        self.arrays += [*self._results(out), *kept, self._workspace(workspace)]
        self._check_overlap()
        self._copy_inputs()
        self.check_ranges()

    def _none_kept(self, saved: Any) -> list[Array]:
        check_nothing_saved(self.declaration.name, saved)
        return []

    def _kept(self, leaf: Leaf, saved: Any) -> Array | None:
        if saved is None and self.layout.reads:
            text = "give the array that forward(..., saved=array) has filled at these arguments"
            raise self._refused(f"saved is missing: {text}", TypeError)
        if saved is None:
            return None
        array = (self._array if self.layout.reads else self._output)(leaf, saved)
        self._require(leaf, array, array.dtype == self.dtype, str(self.dtype))
        self._check_shape(leaf, array)
        return array

    def _results(self, out: Any) -> list[Array | None]:
        leaves, adds = self.layout.outputs, self.declaration.mode == "accumulate"
        make = np.zeros if adds else np.empty
        given: list[Any] = (
            [make(self._expected(leaf), self.dtype) for leaf in leaves]
            if out is None
            else self.declaration.outputs(out)
        )
        self.results = self.declaration.gathered(given)
        self.asked = not adds or any(value is not None for value in given)
        pairs = zip(leaves, given, strict=True)
        return [None if adds and value is None else self._result(e, value) for e, value in pairs]

    def _result(self, leaf: Leaf, value: Any) -> Array:
        array = self._output(leaf, value)
        self._check_shape(leaf, array)
        return array

    def _workspace(self, workspace: Any) -> Array | None:
        leaf = self.layout.workspace
        count = self._extent(leaf, 0)
        if workspace is None:
            return np.empty(count, self.dtype) if count else None
        array = self._output(leaf, workspace)
        if array.ndim != 1 or len(array) < count:
            text = f"has shape {array.shape}, needs one axis of {count} or more"
            raise self._wrong(leaf, text)
        return array

    def _output(self, leaf: Leaf, value: Any) -> Array:
        if not isinstance(value, np.ndarray):
            text = f"is given as {type(value).__name__}, must be a NumPy array to be written to"
            raise self._wrong(leaf, text, TypeError)
        array = self._array(leaf, value)
        self._require(leaf, array, array.dtype == self.dtype, str(self.dtype))
        if not array.flags.writeable:
            raise self._wrong(leaf, "is read-only")
        if not array.flags.c_contiguous:
            raise self._wrong(leaf, "is written to and must be C-contiguous")
        return array

    # --- memory

    def _check_overlap(self) -> None:
        """No array that is written lies across another one's memory."""
        leaves, inputs = self.layout.leaves, len(self.layout.inputs)
        there = [k for k, array in enumerate(self.arrays) if array is not None]
        for i in there[inputs:]:
            if leaves[i] in self.layout.saved and self.layout.reads:
                continue
            for j in there:
                if j != i and np.may_share_memory(self.arrays[i], self.arrays[j]):
                    raise self._wrong(leaves[i], f"is written to and overlaps {leaves[j].name}")

    def _copy_inputs(self) -> None:
        """What the function can't read as it lies; what the caller has given is left."""
        for k, leaf in enumerate(self.layout.leaves):
            is_input = k < len(self.layout.inputs)
            if is_input or (self.layout.reads and leaf in self.layout.saved):
                self.arrays[k] = self._contiguous(leaf, self.arrays[k])

    def _contiguous(self, leaf: Leaf, array: Array) -> Array:
        dtype = INT if leaf.kind == "index" else self.dtype
        if array.dtype == dtype and array.flags.c_contiguous:
            return array
        if self.binding:
            text = f"is {array.dtype} with strides {array.strides}; bind needs it as C-contiguous"
            raise self._wrong(leaf, f"{text} {dtype} (np.ascontiguousarray(..., dtype))")
        return np.array(array, dtype=dtype, order="C")
