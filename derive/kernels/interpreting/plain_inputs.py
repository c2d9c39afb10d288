"""What a kernel reads at one call, checked in Python as `derive/runtime/call.pyx` checks it."""

from __future__ import annotations

import math
import operator
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

from ...runtime.declare import (
    BATCH,
    MAY_BE_ZERO,
    Declaration,
    Leaf,
    axes_sentence,
    batch_sentence,
    extent_name,
    origins,
    shape_sentence,
)

Array = np.ndarray[Any, Any]
DTYPES = (np.dtype(np.float64), np.dtype(np.float32))
LARGEST = sys.maxsize // 8  # elements an array may have


@dataclass(frozen=True)
class Layout:
    """A kernel's arrays in their order: inputs, outputs, saved where there is one, workspace."""

    declaration: Declaration
    inputs: list[Leaf]
    outputs: list[Leaf]
    saved: list[Leaf]
    workspace: Leaf
    within: tuple[Callable[..., int], ...] = ()

    @property
    def leaves(self) -> list[Leaf]:
        return [*self.inputs, *self.outputs, *self.saved, self.workspace]

    @property
    def reads(self) -> bool:
        """Whether `saved` is an input."""
        return self.declaration.saved_role == "read"


def layout(
    declaration: Declaration,
    saved: Callable[..., int] | None,
    workspace: Callable[..., int] | None,
    within: tuple[Callable[..., int], ...] = (),
) -> Layout:
    """That of a kernel which says the sizes of `saved` and of its workspace, or has none."""
    return Layout(
        declaration,
        [leaf for argument in declaration.arguments for leaf in argument.leaves],
        [leaf for result in declaration.results for leaf in result.leaves],
        [] if saved is None else [Leaf("saved", (saved,))],
        Leaf("workspace", (workspace or 0,)),
        within,
    )


class Inputs:
    """The arguments of one call as arrays, their dtype and batch, and the sizes read off them.

    Raises TypeError or ValueError, naming the kernel and the array.
    """

    def __init__(
        self,
        layout: Layout,
        binding: bool,
        given: tuple[Any, ...],
        named: dict[str, Any],
        out: Any,
    ) -> None:
        self.layout, self.declaration, self.binding = layout, layout.declaration, binding
        self.batched, self.sizes = True, dict[str, int]()
        self.arrays = self._taken(given, named)
        self.dtype = self._settled_dtype(out)
        self._check_dtypes()
        self._settle_batch()
        self._settle_sizes()

    # --- arrays

    def _taken(self, given: tuple[Any, ...], named: dict[str, Any]) -> list[Any]:
        declaration = self.declaration
        given, keywords = declaration.ordered(given, named)
        self.keywords: dict[str, Any] = keywords
        values = chain.from_iterable(map(declaration.parts, declaration.arguments, given))
        arrays: list[Any] = []
        for number, (leaf, value) in enumerate(zip(self.layout.inputs, values, strict=True)):
            base = declaration.base_of(number) if value is None else -1
            arrays.append(np.zeros_like(arrays[base]) if base >= 0 else self._array(leaf, value))
        return arrays

    def _array(self, leaf: Leaf, value: Any) -> Array:
        """An array that shares the memory of anything else; a new one for lists and numbers."""
        kind, is_array = type(value).__name__, isinstance(value, np.ndarray)
        if value is None:
            raise self._wrong(leaf, "is None, expected an array", TypeError)
        if isinstance(value, np.ma.MaskedArray):
            raise self._wrong(leaf, "is a masked array; pass its data and a mask", TypeError)
        if self.binding and not is_array:
            advice = "bind holds NumPy arrays (np.asarray shares the memory of a tensor)"
            raise self._wrong(leaf, f"is a {kind}; {advice}", TypeError)
        try:
            is_tensor = hasattr(value, "__dlpack__") and not is_array
            return np.from_dlpack(value) if is_tensor else np.asarray(value)
        except Exception as error:
            text = f"is a {kind} that gives no array in main memory: {error}"
            raise self._wrong(leaf, text, TypeError) from error

    def _settled_dtype(self, out: Any) -> Any:
        """That of the first real array, else that of a given result, else float64."""
        for leaf, array in self._inputs():
            if leaf.kind == "real":
                self._require(leaf, array, array.dtype in DTYPES, "float64 or float32")
                return array.dtype
        given = [] if out is None else self.declaration.outputs(out)
        return DTYPES[any(getattr(array, "dtype", None) == DTYPES[1] for array in given)]

    def _check_dtypes(self) -> None:
        first = next((leaf.name for leaf, _ in self._inputs() if leaf.kind == "real"), "")
        for leaf, array in self._inputs():
            dtype, same = array.dtype, bool(array.dtype == self.dtype)
            if leaf.kind == "index":
                self._require(leaf, array, dtype.kind in "iu" and dtype.isnative, "integers")
            elif leaf.kind == "mask":
                self._require(leaf, array, same or dtype == np.bool_, f"{self.dtype} or bool")
            else:
                self._require(leaf, array, same, f"{self.dtype} (the dtype of {first})")

    def _require(self, leaf: Leaf, array: Array, fits: bool, expected: str) -> None:
        if not fits:
            raise self._wrong(leaf, f"has dtype {array.dtype}, expected {expected}", TypeError)
        if not array.flags.aligned:
            raise self._wrong(leaf, "is misaligned; pass a copy of it")

    def _settle_batch(self) -> None:
        """Either all arguments that may have a batch axis have it, or none of them.

        Where none may have it, as for a layer of parameters alone, a call is for one point.
        """
        lacking = []
        for leaf, array in self._inputs():
            less = len(leaf.extents) - array.ndim
            if less != 0 and (less != 1 or leaf.batch < 0):
                raise self._refused(axes_sentence(leaf, array.shape))
            lacking += [less] if leaf.batch >= 0 else []
        if any(lacking) and not all(lacking):
            raise self._refused(batch_sentence(self.layout.inputs, self._shapes()))
        alone = BATCH in self.declaration.sizes and BATCH not in self.keywords and not lacking
        if any(lacking) or alone:
            self.batched, self.sizes[BATCH] = False, 1

    # --- sizes and shapes

    def _settle_sizes(self) -> None:
        """Every size is at least 1, or 0 for samples and times; then every shape fits."""
        self._take_keywords()
        for leaf, array in self._inputs():
            for extent, found in zip(leaf.shown(self.batched), array.shape, strict=True):
                if isinstance(extent, str):
                    self.sizes.setdefault(extent, found)
        for name, value in self.known().items():
            if value < 1 and name not in MAY_BE_ZERO:
                raise self._refused(f"{self._origins()[name]}, must be at least 1")
        for function in self.layout.within:
            if (value := function(*self.known().values())) < 1:
                raise self._refused(
                    f"within the layer an axis has extent {extent_name(function)} = {value}, must "
                    f"be at least 1; sizes are {self._listed()}"
                )
        for leaf, array in self._inputs():
            self._check_shape(leaf, array)

    def _take_keywords(self) -> None:
        for name in self.declaration.required:
            if name not in self.keywords:
                raise self._refused(f"size {name} is not known, give it as {name}=", TypeError)
        for name, given in self.keywords.items():
            value = _whole(given)
            if value is None:
                text = f"size {name} = {given!r} is not a whole number in range"
                raise self._refused(text, TypeError)
            if value < 0 or (name == BATCH and not self.batched and value != 1):
                raise self._refused(f"size {name} = {value} does not fit")
            self.sizes[name] = value

    def _check_shape(self, leaf: Leaf, array: Array) -> None:
        expected = self._expected(leaf)
        if array.shape != expected:
            known = self._origins()
            raise self._refused(shape_sentence(leaf, array.shape, expected, self.batched, known))

    def _expected(self, leaf: Leaf) -> tuple[int, ...]:
        shape = [self._extent(leaf, axis) for axis in range(len(leaf.extents))]
        if math.prod(max(value, 1) for value in shape) > LARGEST:
            raise self._wrong(leaf, f"is too large at {self._listed()}")
        return tuple(v for k, v in enumerate(shape) if self.batched or k != leaf.batch)

    def _extent(self, leaf: Leaf, axis: int) -> int:
        """That of an axis; behind the last one is the bound of an index."""
        extent: Any = (*leaf.extents, leaf.bound)[axis]
        if not callable(extent):
            return self.sizes[extent] if isinstance(extent, str) else int(extent)
        value = int(extent(*self.known().values()))
        least = int(leaf is not self.layout.workspace and leaf not in self.layout.saved)
        if value < least:
            text = f"has extent {extent_name(extent)} = {value} on axis {axis}, must be at least"
            raise self._wrong(leaf, f"{text} {least}; sizes are {self._listed()}")
        if value > LARGEST:
            raise self._wrong(leaf, f"is too large at {self._listed()}")
        return value

    # --- values

    def check_ranges(self) -> None:
        """Raises ValueError for an index out of range, or a mask that is neither 0 nor 1."""
        for leaf, array in self._inputs():
            flat = array.ravel()
            if leaf.kind == "index":
                bound = self._extent(leaf, len(leaf.extents))
                for at in np.flatnonzero((flat < 0) | (flat >= bound))[:1]:
                    text = f"has index {flat[at]} at place {at}, must be at least 0 and below"
                    raise self._wrong(leaf, f"{text} {bound}")
            elif leaf.kind == "mask":
                for at in np.flatnonzero((flat != 0) & (flat != 1))[:1]:
                    raise self._wrong(leaf, f"is a mask and is neither 0 nor 1 at place {at}")

    # --- what sentences are made of

    def known(self) -> dict[str, int]:
        """The sizes in their order."""
        return {name: self.sizes[name] for name in self.declaration.sizes}

    def _inputs(self) -> Iterator[tuple[Leaf, Array]]:
        return zip(self.layout.inputs, self.arrays, strict=False)

    def _shapes(self) -> list[tuple[int, ...]]:
        return [array.shape for _, array in self._inputs()]

    def _listed(self) -> str:
        return ", ".join(f"{name} = {value}" for name, value in self.known().items())

    def _origins(self) -> dict[str, str]:
        return origins(self.layout.inputs, self._shapes(), self.keywords, self.batched)

    def _wrong(self, leaf: Leaf, text: str, kind: type[Exception] = ValueError) -> Exception:
        return self._refused(f"{leaf.name} {text}", kind)

    def _refused(self, text: str, kind: type[Exception] = ValueError) -> Exception:
        return kind(f"{self.declaration.name}: {text}")


def _whole(given: Any) -> int | None:
    with suppress(TypeError):
        value = operator.index(given)
        return value if abs(value) <= sys.maxsize else None
    return None
