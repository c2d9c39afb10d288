"""Kernels run at a point, and the NumPy reference: the same programs evaluated as written."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from typing import Any, TypeVar

import numpy as np
import pytest
import sympy
from points import draw

from derive.evidence.checks.drawing import unequal_sizes
from derive.kernels.lowering.kernel import Kernel
from derive.kernels.lowering.lower import lower
from derive.language.reference import flat_arrays, values_of
from derive.language.roles import MASK
from derive.models.layers import Layer
from derive.models.programs import BATCH, Program, programs

# At most 60 roundings of eps/2, or 4 ulp of an elementwise function, lie on the way from an input
# to an entry of a result, and no sum on it cancels by more than a factor 10: 300 eps, relative to
# the largest entry of the group.
ROUNDING = 300
DTYPES = (np.float64, np.float32)
Sizes = Mapping[sympy.Symbol, int]
Part = TypeVar("Part")


# --- kernels before they are printed


@cache
def kernels_of(layer: Layer) -> dict[str, Kernel]:
    """The lowered kernels of a layer by name, lowered once; for tests that change nothing."""
    return {program.name: lower(program) for program in programs(layer)}


def on_every(
    layers: Mapping[str, Layer], parts: Callable[[Layer], Iterable[Part]]
) -> Callable[[Callable[[Part], None]], Any]:
    """A law of parts of a layer as one test for each layer, which makes them when it runs."""

    def test_of(law: Callable[[Part], None]) -> Any:
        @pytest.mark.parametrize("name", layers)
        def test(name: str) -> None:
            for part in parts(layers[name]):
                law(part)

        test.__name__, test.__doc__ = law.__name__, law.__doc__
        return test

    return test_of


def on_every_kernel_of(layers: Mapping[str, Layer]) -> Callable[[Callable[[Kernel], None]], Any]:
    """A law of lowered kernels as a test for each layer."""
    return on_every(layers, lambda layer: kernels_of(layer).values())


def every(tree: Any, kind: Any) -> Iterator[Any]:
    """Every statement or scalar of a kind in a tree of them."""
    if isinstance(tree, kind):
        yield tree
    if isinstance(tree, tuple):
        for part in tree:
            yield from every(part, kind)
    for name in getattr(tree, "__dataclass_fields__", {}):
        yield from every(getattr(tree, name), kind)


# --- points


def unequal(layer: Layer) -> dict[sympy.Symbol, int]:
    """The sizes 3, 4, 5, .. in the order of the layer, or in another one in which they fit."""
    return unequal_sizes(layer)


def least(layer: Layer) -> dict[sympy.Symbol, int]:
    """All sizes 1, or a few where an extent such as n - 1 would be 0."""
    every = (dict.fromkeys(layer.sizes, number) for number in range(1, 8))
    return next(sizes for sizes in every if layer.fits(sizes))


def point(program: Program, sizes: Sizes, dtype: Any, seed: int = 0) -> dict:
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
    value = np.asarray(value)
    return value if value.dtype.kind == "i" else value.astype(dtype)


def filled(like: Any, number: float, dtype: Any) -> Any:
    """An array, or a tuple of them, of the shapes of another and one number."""
    if isinstance(like, tuple):
        return tuple(filled(part, number, dtype) for part in like)
    return np.full(np.shape(like), number, dtype)


# --- running


class Runner:
    """One layer's compiled kernels at some sizes, one batch size and one dtype.

    Saved values, workspace and results that are overwritten hold NaN before a call, so that what is
    read before it is written shows.
    """

    def __init__(
        self,
        module: Any,  # or what has its kernels as attributes
        layer: Layer,
        sizes: Sizes,
        batch: int,
        dtype: Any,
        made: Iterable[Program] | None = None,  # the layer's programs, where they are derived
    ):
        self.module, self.dtype = module, dtype
        self.sizes = {BATCH: batch, **sizes}
        made = programs(layer) if made is None else made
        self.programs = {program.name: program for program in made}

    def named_sizes(self) -> dict[str, int]:
        return {str(size): count for size, count in self.sizes.items()}

    def arguments(self, name: str, values: dict) -> list[Any]:
        return [cast(values[a.variable], self.dtype) for a in self.programs[name].arguments]

    def call(self, name: str, values: dict, out: Any = None) -> Any:
        """A kernel's results; before backward, forward saves what it needs."""
        kernel, known = getattr(self.module, name), self.named_sizes()
        given = {size: known[size] for size in kernel.declaration.asked}
        given["workspace"] = np.full(kernel.workspace_size(**known), np.nan, self.dtype)
        if kernel.saved_role == "read":
            given["saved"] = self.saved(values)
        return kernel(*self.arguments(name, values), out=out, **given)

    def results(self, name: str, values: dict, out: Any = None) -> list[Any]:
        """A kernel's results as a list, also where there is only one."""
        found = self.call(name, values, out)
        return [found] if len(self.programs[name].results) == 1 else list(found)

    def saved(self, values: dict) -> np.ndarray:
        """What forward saves."""
        forward, known = self.module.forward, self.named_sizes()
        saved = np.full(forward.saved_size(**known), np.nan, self.dtype)
        given = {size: known[size] for size in forward.declaration.asked}
        forward(*self.arguments("forward", values), saved=saved, **given)
        return saved

    def point(self, name: str, seed: int = 0) -> dict:
        return point(self.programs[name], self.sizes, self.dtype, seed)

    def reference(self, name: str, values: dict) -> list[Any]:
        """The results, evaluated with NumPy in float64 as they are written."""
        return values_of([r.node for r in self.programs[name].results], values, self.sizes)

    def errors(self, name: str, seed: int = 0) -> float:
        """The largest difference from the reference over all results, in units of the tolerance.

        Results that are added to start from ones, so that one that is overwritten is found.
        """
        values = self.point(name, seed)
        expected = self.reference(name, values)
        start = 1.0 if self.programs[name].accumulate else np.nan
        out = tuple(filled(e, start, self.dtype) for e in expected)
        pairs = zip(self.results(name, values, out), expected, strict=True)
        unit = ROUNDING * float(np.finfo(self.dtype).eps)
        return max(relative(f, e, np.nan_to_num(start)) for f, e in pairs) / unit


def relative(found: Any, expected: Any, start: float = 0.0) -> float:
    """The largest difference of found from start + expected, relative to the largest entry."""
    pairs = list(zip(flat_arrays(found), flat_arrays(expected), strict=True))
    assert all(f.shape == e.shape for f, e in pairs)
    largest = max(np.abs(e).max(initial=0.0) for _, e in pairs) + start
    worst = max(np.abs(f - (start + e)).max(initial=0.0) for f, e in pairs)
    return float(worst / largest) if worst != 0 else 0.0
