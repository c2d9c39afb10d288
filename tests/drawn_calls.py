"""Arrays for a call of any kernel, from what it declares alone."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np

from derive import library
from derive.evidence.checks.drawing import unequal_sizes
from derive.runtime.declare import Leaf

MORE = {"batch": 2, "steps": 4, "every": 2, "down": 3, "block": 2}


@cache
def sizes_of(name: str) -> dict[str, int]:
    """Sizes that a layer of the library fits, and those of batches and sequences."""
    return MORE | {str(s): n for s, n in unequal_sizes(library.layers()[name]).items()}


def generated(name: str) -> ModuleType:
    """The compiled kernels of a layer of the library."""
    return import_module(f"derive.generated.{name}")


def kernels_of(module: Any) -> dict[str, Any]:
    """The kernels of a module by name."""
    found = {n: k for n, k in vars(module).items() if hasattr(k, "saved_role")}
    return {name: kernel for name, kernel in found.items() if not isinstance(kernel, type)}


def known(kernel: Any, sizes: Mapping[str, int]) -> dict[str, int]:
    """The kernel's own sizes."""
    return {name: sizes[name] for name in kernel.sizes}


def number(kernel: Any, extent: Any, sizes: Mapping[str, int]) -> int:
    """An extent at these sizes."""
    if isinstance(extent, str):
        return sizes[extent]
    return int(extent(*known(kernel, sizes).values())) if callable(extent) else int(extent)


def drawn(kernel: Any, leaf: Leaf, sizes: Mapping[str, int], rng: Any, dtype: Any) -> Any:
    """A random array of a leaf."""
    shape = tuple(number(kernel, extent, sizes) for extent in leaf.extents)
    if leaf.kind == "index":
        return rng.integers(number(kernel, leaf.bound, sizes), size=shape)
    if leaf.kind == "mask":
        return rng.integers(2, size=shape).astype(dtype)
    return rng.standard_normal(shape).astype(dtype)


def tupled(arrays: list[Any]) -> Any:
    """An argument of several leaves is a tuple."""
    return arrays[0] if len(arrays) == 1 else tuple(arrays)


def whole_call(module: Any, name: str, sizes: Mapping[str, int], dtype: Any = np.float64) -> Any:
    """Every keyword that a kernel takes but `out`: arguments, sizes, what forward has saved."""
    kernel, rng = getattr(module, name), np.random.default_rng(len(name))
    given = {
        a.name: tupled([drawn(kernel, leaf, sizes, rng, dtype) for leaf in a.leaves])
        for a in kernel.arguments
    }
    given |= {size: sizes[size] for size in kernel.declaration.asked}
    if kernel.saved_role == "read":
        forward = module.forward
        first = {a.name: given[a.name] for a in forward.arguments}
        first |= {size: sizes[size] for size in forward.declaration.asked}
        given["saved"] = np.empty(forward.saved_size(**known(forward, sizes)), dtype)
        forward(**first, saved=given["saved"])
    return given


def result_leaves(kernel: Any) -> list[Leaf]:
    """The arrays that a kernel has as results."""
    return [leaf for result in kernel.results for leaf in result.leaves]


def zeros(kernel: Any, sizes: Mapping[str, int], dtype: Any = np.float64) -> list[Any]:
    """An array of zeros for each of them."""
    shapes = (
        [number(kernel, extent, sizes) for extent in leaf.extents] for leaf in result_leaves(kernel)
    )
    return [np.zeros(shape, dtype) for shape in shapes]


def by_result(kernel: Any, arrays: list[Any]) -> tuple[Any, ...]:
    """These arrays as a tuple of results, tuples where a result has several."""
    left = iter(arrays)
    return tuple(tupled([next(left) for _ in result.leaves]) for result in kernel.results)
