"""Every subset of None in `out`: what is None is not computed, all else is as in the full call."""

from itertools import product
from typing import Any

import numpy as np
import pytest
from declared import LAYERS
from drawn_calls import by_result, generated, kernels_of, sizes_of, whole_call, zeros
from kernels import unequal

from derive import library
from derive.kernels.interpreting import plain_edge
from derive.kernels.interpreting.evaluated import evaluated_module
from derive.runtime import edge

ALL = 6  # so many results have all their subsets tried
SOME = 20  # of more: as many random ones, besides none, one, and all but one
LAW = "embedding", "conv1d", "lstm_step", "squares"


def subsets(count: int) -> list[tuple[bool, ...]]:
    """Which of so many results are asked for."""
    if count <= ALL:
        return list(product((False, True), repeat=count))
    one = [tuple(k == at for k in range(count)) for at in range(count)]
    rng = np.random.default_rng(count)
    some = [tuple(map(bool, row)) for row in rng.integers(2, size=(SOME, count))]
    return [(False,) * count, *one, *(tuple(not a for a in row) for row in one), *some]


def check(kernel: Any, call: dict[str, Any], sizes: dict[str, int]) -> None:
    """All subsets, as a tuple and as a dict without those that are None."""
    names = [result.name for result in kernel.results]
    full = zeros(kernel, sizes)
    kernel(**call, out=by_result(kernel, full))
    for asked in subsets(len(full)):
        for form in (tuple, dict):
            arrays = [
                a if yes else None for a, yes in zip(zeros(kernel, sizes), asked, strict=True)
            ]
            out: Any = by_result(kernel, arrays)
            if form is dict:
                pairs = zip(names, out, strict=True)
                out = {name: value for name, value in pairs if any_of(value)}
            kernel(**call, out=out)
            for expected, found in zip(full, arrays, strict=True):
                assert found is None or found.tobytes() == expected.tobytes(), (kernel, asked)


def any_of(value: Any) -> bool:
    return any(a is not None for a in (value if isinstance(value, tuple) else (value,)))


@pytest.mark.parametrize("name", library.layers())
def test_every_subset_of_the_results_of_every_kernel(name: str) -> None:
    module, sizes = generated(name), sizes_of(name)
    for kernel in kernels_of(module).values():
        call = whole_call(module, kernel.name.rpartition(".")[2], sizes)
        if kernel.mode == "accumulate":
            check(kernel, call, sizes)
        else:
            refused(kernel, call, sizes)


def refused(kernel: Any, call: dict[str, Any], sizes: dict[str, int]) -> None:
    """Results that are overwritten are all computed; None among them is an error."""
    arrays = zeros(kernel, sizes)
    out: Any
    for out in ((None,) * len(kernel.results), {}, by_result(kernel, [*arrays[:-1], None])):
        with pytest.raises(TypeError, match="must be a NumPy array to be written to"):
            kernel(**call, out=out)
    assert not any(array.any() for array in arrays)


@pytest.mark.parametrize("beneath", [edge, plain_edge])
@pytest.mark.parametrize("name", LAW)
def test_the_reference_takes_none_as_compiled_kernels_do(name: str, beneath: Any) -> None:
    layer = LAYERS[name]
    module = evaluated_module(layer, beneath)
    sizes = {"batch": 2, **{str(size): count for size, count in unequal(layer).items()}}
    for kernel in kernels_of(module).values():
        if kernel.mode == "accumulate":
            check(kernel, whole_call(module, kernel.name.rpartition(".")[2], sizes), sizes)


def test_nothing_asked_for_is_nothing_computed() -> None:
    module, sizes = generated("cross_entropy_index"), sizes_of("cross_entropy_index")
    call = whole_call(module, "backward", sizes)
    for out in ((None,), {}, {"x_bar": None}):
        assert module.backward(**call, out=out) is None
        assert module.backward.bind(**call, out=out)() is None
    with pytest.raises(TypeError, match="saved is missing"):
        module.backward(**{**call, "saved": None}, out={})
