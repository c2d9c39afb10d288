"""Kernels against the NumPy reference: the same programs evaluated as written, in float64."""

from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any

import numpy as np
import sympy
from points import draw

from derive.layers import MASK, Layer
from derive.programs import BATCH, Program, programs
from derive.reference import flat_arrays, values_of

# Each formula takes fewer than 300 roundings of eps/2 from an input to an output, each elementwise
# function 4 ulp, and no sum cancels by more than a factor 10: 1500 eps of the largest entry.
ROUNDING = 1500
DTYPES = (np.float64, np.float32)


def unequal(layer: Layer) -> dict[sympy.Symbol, int]:
    """The sizes 3, 4, 5, .. in the order of the layer."""
    return {size: 3 + number for number, size in enumerate(layer.sizes)}


def ones(layer: Layer) -> dict[sympy.Symbol, int]:
    """Every size the least that leaves no extent empty: 1, or 2 where 1 would be."""
    extents = {e for a in programs(layer)[0].arguments for e in _extents(a.variable.space)}
    extents |= set(_extents(layer.output.space))
    for number in (1, 2):
        sizes = dict.fromkeys(layer.sizes, number)
        if all(e.xreplace(sizes) != 0 for e in extents):
            return sizes
    raise AssertionError(f"{layer.name} has an extent that is 0 at size 2")


def _extents(space: Any) -> Iterator[sympy.Expr]:
    from derive.spaces import leaves

    return (extent for leaf in leaves(space) for extent in leaf.shape)


def point(program: Program, sizes: Mapping[sympy.Symbol, int], dtype: Any, seed: int) -> dict:
    """A value for every argument of a program: normal numbers of the dtype, as float64."""
    rng = np.random.default_rng(seed)
    values = {}
    for argument in program.arguments:
        drawn = draw(argument.variable.space, sizes, rng)
        if argument.role == MASK:
            drawn = (drawn > 0).astype(float)
        values[argument.variable] = cast(cast(drawn, dtype), np.float64)
    return values


def cast(value: Any, dtype: Any) -> Any:
    """Arrays of real numbers as that dtype; class indices as they are."""
    if isinstance(value, tuple):
        return tuple(cast(part, dtype) for part in value)
    return value if value.dtype.kind == "i" else np.asarray(value, dtype)


def reference(program: Program, sizes: Mapping[sympy.Symbol, int], values: dict) -> list[Any]:
    """The results of a program, evaluated with NumPy as they are written."""
    return values_of([result.node for result in program.results], values, sizes)


class Runner:
    """One layer's compiled kernels at some sizes and one dtype."""

    def __init__(
        self, module: ModuleType, layer: Layer, sizes: dict, batch: int, dtype: Any
    ) -> None:
        self.module, self.dtype = module, dtype
        self.sizes = {BATCH: batch, **sizes}
        self.programs = {program.name: program for program in programs(layer)}

    def known(self) -> dict[str, int]:
        return {str(size): count for size, count in self.sizes.items()}

    def call(self, name: str, values: dict, out: Any = None) -> Any:
        """A kernel's results; for backward, forward is run before it to save what it needs."""
        kernel = getattr(self.module, name)
        asked = {size: self.known()[size] for size in kernel.declaration.asked}
        more = {"saved": self.saved(values)} if kernel.saved_role == "read" else {}
        return kernel(*self.arguments(name, values), out=out, **more, **asked)

    def saved(self, values: dict) -> np.ndarray:
        forward = self.module.forward
        saved = np.full(forward.saved_size(**self.known()), np.nan, self.dtype)
        asked = {size: self.known()[size] for size in forward.declaration.asked}
        forward(*self.arguments("forward", values), saved=saved, **asked)
        return saved

    def arguments(self, name: str, values: dict) -> list[Any]:
        return [cast(values[a.variable], self.dtype) for a in self.programs[name].arguments]

    def errors(self, name: str, seed: int = 0) -> float:
        """The largest difference from the reference, over all results, in units of the bound.

        Results that are added to start from ones, so that a kernel that overwrites is found out.
        """
        program = self.programs[name]
        values = point(program, self.sizes, self.dtype, seed)
        expected = reference(program, self.sizes, values)
        start = tuple(filled(e, 1.0, self.dtype) for e in expected)
        found = self.call(name, values, out=start if program.accumulate else None)
        pairs = zip(expected, found if len(expected) > 1 else [found], strict=True)
        eps = float(np.finfo(self.dtype).eps)
        return max(
            relative(f, e, 1.0 if program.accumulate else 0.0) / (ROUNDING * eps) for e, f in pairs
        )


def filled(like: Any, number: float, dtype: Any) -> Any:
    if isinstance(like, tuple):
        return tuple(filled(part, number, dtype) for part in like)
    return np.full(like.shape, number, dtype)


def relative(found: Any, expected: Any, start: float) -> float:
    """The largest difference of found from start + expected, relative to the largest entry."""
    worst = 0.0
    for f, e in zip(flat_arrays(found), flat_arrays(expected), strict=True):
        assert f.shape == e.shape
        scale = max(np.abs(e).max(initial=0.0) + start, 1e-300)
        worst = max(worst, np.abs(f - start - e).max(initial=0.0) / scale)
        assert np.isfinite(f).all()
    return worst
