"""Random bad calls of kernels: none ends the process, none that fails changes an array.

python tests/fuzzed_calls.py SEED COUNT    prints how many calls were taken and refused
"""

from __future__ import annotations

import sys
import warnings
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
from drawn_calls import by_result, generated, kernels_of, known, sizes_of, whole_call, zeros

NAMES = ("dense", "cross_entropy_index", "embedding_lookup", "max_pooling", "elman", "bilinear")
REFUSALS = (TypeError, ValueError, MemoryError)


class Subclass(np.ndarray[Any, Any]):
    """An array of another type."""


def array(change: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """A change of arrays; other values stay."""
    return lambda v, rng: change(v, rng) if isinstance(v, np.ndarray) else v


def misaligned(v: Any, rng: Any) -> Any:
    if v.dtype.hasobject:
        return v
    raw = np.zeros(v.nbytes + 1, np.uint8)
    moved = raw[1:].view(v.dtype).reshape(v.shape)
    moved[...] = v
    return moved


def read_only(v: Any, rng: Any) -> Any:
    v = v.copy()
    v.flags.writeable = False
    return v


def another_shape(v: Any, rng: Any) -> Any:
    shape = [max(0, n + int(rng.integers(-2, 3))) for n in v.shape]
    return np.resize(v, shape) if v.size else np.zeros(shape, v.dtype)


def strided(v: Any, rng: Any) -> Any:
    return np.lib.stride_tricks.as_strided(
        v, v.shape, [int(rng.integers(2)) * s for s in v.strides]
    )


def with_wild_values(v: Any, rng: Any) -> Any:
    v = v.copy()
    wild = [np.nan, np.inf, -np.inf, 1e300, -1, 2**62, 0.5]
    if v.size:
        v.reshape(-1)[rng.integers(v.size)] = (
            wild[rng.integers(len(wild))] if v.dtype.kind == "f" else wild[4 + rng.integers(2)]
        )
    return v


CHANGES: list[Callable[[Any, Any], Any]] = [
    lambda v, rng: None,
    lambda v, rng: 1.5,
    lambda v, rng: "text",
    lambda v, rng: object(),
    lambda v, rng: (v, v),
    lambda v, rng: (v,),
    lambda v, rng: (),
    lambda v, rng: [v],
    lambda v, rng: {},
    lambda v, rng: 10 ** int(rng.integers(1, 40)),
    lambda v, rng: -3,
    array(lambda v, rng: v.astype(np.float32)),
    array(lambda v, rng: v.astype(np.float16)),
    array(lambda v, rng: v.astype(int)),
    array(lambda v, rng: v.astype(complex)),
    array(lambda v, rng: v.astype(object)),
    array(lambda v, rng: v.astype(">f8")),
    array(lambda v, rng: v.astype("S3")),
    array(lambda v, rng: v.astype(np.uint64)),
    array(lambda v, rng: v > 0),
    array(lambda v, rng: np.ma.masked_array(v)),
    array(lambda v, rng: np.asfortranarray(v)),
    array(lambda v, rng: v[..., ::-1] if v.ndim else v),
    array(lambda v, rng: np.repeat(v, 2, -1)[..., ::2] if v.ndim else v),
    array(lambda v, rng: v[None]),
    array(lambda v, rng: v[0] if len(v.shape) and len(v) else v),
    array(lambda v, rng: v.reshape(-1)),
    array(lambda v, rng: v.T),
    array(lambda v, rng: v[:0] if v.ndim else v),
    array(lambda v, rng: np.broadcast_to(v[:1], (10**14, *v.shape[1:])) if v.ndim else v),
    array(lambda v, rng: v.view(Subclass)),
    array(lambda v, rng: v.tolist()),
    array(misaligned),
    array(read_only),
    array(another_shape),
    array(strided),
    array(with_wild_values),
    lambda v, rng: v,
]


def changed(value: Any, rng: Any) -> Any:
    """One of the changes, where NumPy allows it for what an earlier one has made."""
    change = CHANGES[rng.integers(len(CHANGES))]
    with suppress(TypeError, ValueError, MemoryError, OverflowError), np.errstate(all="ignore"):
        warnings.simplefilter("ignore", np.exceptions.ComplexWarning)
        return change(value, rng)
    return value


def bad_call(module: Any, name: str, sizes: Any, rng: Any) -> dict[str, Any]:
    """A call with one to three changes, one of which may use one array for two arguments."""
    kernel = getattr(module, name)
    call = whole_call(module, name, sizes, (np.float64, np.float32)[rng.integers(2)])
    dtype = next((v.dtype for v in call.values() if isinstance(v, np.ndarray)), np.float64)
    dtype = dtype if np.dtype(dtype).kind == "f" else np.float64
    made = zeros(kernel, sizes, dtype)
    made = [None if rng.integers(4) == 0 else array for array in made]
    call["out"] = by_result(kernel, made) if rng.integers(2) else None
    call["workspace"] = np.full(kernel.workspace_size(**known(kernel, sizes)), 7.0, dtype)
    call.setdefault("saved", np.zeros(kernel.saved_size(**known(kernel, sizes)), dtype))
    for _ in range(rng.integers(1, 4)):
        at = list(call)[rng.integers(len(call))]
        if rng.integers(6) == 0:
            call[at] = call[list(call)[rng.integers(len(call))]]
        elif at == "out" and isinstance(call["out"], tuple) and call["out"]:
            out = list(call["out"])
            k = rng.integers(len(out))
            out[k] = changed(out[k], rng)
            call["out"] = tuple(out)
        else:
            call[at] = changed(call[at], rng)
    if rng.integers(10) == 0:
        call.pop(list(call)[rng.integers(len(call))])
    return call


def small(value: Any) -> list[Any]:
    """The arrays within a value that can be compared quickly."""
    if isinstance(value, (tuple, list)):
        return [a for v in value for a in small(v)]
    return [value] if isinstance(value, np.ndarray) and value.nbytes < 10**7 else []


def same(before: list[bytes], arrays: list[Any]) -> bool:
    return all(b == a.tobytes() for b, a in zip(before, arrays, strict=True))


def once(kernel: Any, call: dict[str, Any], use: Callable[..., Any]) -> str:
    """What comes of a call; inputs never change, and nothing does where it is refused."""
    written = {"out", "workspace"} | ({"saved"} if kernel.saved_role == "written" else set())
    inputs = [a for name, v in call.items() if name not in written for a in small(v)]
    arrays = small(list(call.values()))
    before = [a.tobytes() for a in arrays], [a.tobytes() for a in inputs]
    try:
        use(call)
    except REFUSALS as error:
        assert same(before[0], arrays), (kernel, error)
        assert str(error).startswith((kernel.name, "Unable to allocate")), (kernel, repr(error))
        return type(error).__name__
    assert same(before[1], inputs), kernel
    return "taken"


def fuzz(seed: int, count: int) -> Counter[str]:
    """Random calls, made and bound, in turn of all kernels of some layers."""
    rng = np.random.default_rng(seed)
    kernels = [
        (generated(name), kernel.name.rpartition(".")[2], sizes_of(name))
        for name in NAMES
        for kernel in kernels_of(generated(name)).values()
    ]
    found: Counter[str] = Counter()
    for _ in range(count):
        module, name, sizes = kernels[rng.integers(len(kernels))]
        kernel, call = getattr(module, name), bad_call(module, name, sizes, rng)
        found[once(kernel, call, lambda call, k=kernel: k(**call))] += 1
        found[once(kernel, call, lambda call, k=kernel: k.bind(**call)())] += 1
    return found


if __name__ == "__main__":
    print(dict(fuzz(int(sys.argv[1]), int(sys.argv[2]))))
