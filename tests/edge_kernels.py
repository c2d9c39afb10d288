"""Kernels written by hand in the form of generated ones, and arrays for them."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

DTYPES = (np.float64, np.float32)
FUNCTIONS = ["exp", "log", "tanh", "sin", "cos", "sinh", "cosh", "atan", "expm1", "log1p"]
FUNCTIONS += ["erf", "erfc", "sqrt", "fabs"]

HAND_WRITTEN = (
    r"""
# cython: language_level=3
from libc.stdint cimport int64_t
cimport derive.runtime.elementary as elementary
from derive.runtime.elementary cimport real, tanh
from derive.runtime.module cimport CONVENTION, features, source_hash
from derive.runtime.primitives cimport checked_index, fill, gemm, interrupted
from derive.runtime.edge import Argument, Kernel, Leaf, admit

admit(__name__, CONVENTION, source_hash(), __file__, features())

cdef extern from "<unistd.h>" nogil:
    int usleep(unsigned int)

cdef void dense(const Py_ssize_t* size, real* x, real* W, real* b, real* y, real* saved,
                real* work) noexcept nogil:
    cdef Py_ssize_t B = size[0], n = size[1], m = size[2], i, j
    for i in range(B):
        for j in range(n):
            work[j] = b[j]
        gemm(n, 1, m, <real>1, W, m, 1, x + i * m, 1, 1, work, 1, 1)
        for j in range(n):
            y[i * n + j] = tanh(work[j])
            if saved != NULL:
                saved[i * n + j] = y[i * n + j]

cdef void dense_backward(const Py_ssize_t* size, real* y_bar, real* x, real* W, real* x_bar,
                         real* W_bar, real* b_bar, real* saved, real* z_bar) noexcept nogil:
    cdef Py_ssize_t B = size[0], n = size[1], m = size[2], i, j
    for i in range(B * n):
        z_bar[i] = (1 - saved[i] * saved[i]) * y_bar[i]
    if x_bar != NULL:
        gemm(B, m, n, <real>1, z_bar, n, 1, W, m, 1, x_bar, m, 1)
    if W_bar != NULL:
        gemm(n, m, B, <real>1, z_bar, 1, n, x, m, 1, W_bar, m, 1)
    if b_bar != NULL:
        for i in range(B):
            for j in range(n):
                b_bar[j] += z_bar[i * n + j]

cdef void look_up(const Py_ssize_t* size, real* table, int64_t* index, real* y) noexcept nogil:
    cdef Py_ssize_t i, j, n = size[2]
    for i in range(size[0]):
        for j in range(n):
            y[i * n + j] = table[index[i] * n + j]

cdef void window(const Py_ssize_t* size, real* x, real* y) noexcept nogil:
    cdef Py_ssize_t m = size[1], k = size[2], i, j, l
    for i in range(size[0]):
        for j in range(m - k + 1):
            y[i * (m - k + 1) + j] = 0
            for l in range(k):
                y[i * (m - k + 1) + j] += x[i * m + j + l]

cdef void pair(const Py_ssize_t* size, real* h, real* c, real* mask, real* h_next, real* c_next,
               real* total) noexcept nogil:
    cdef Py_ssize_t n = size[1], i, j
    for i in range(size[0]):
        for j in range(n):
            h_next[i * n + j] = mask[i] * h[i * n + j] + c[i * n + j]
            c_next[i * n + j] = mask[i] * c[i * n + j]
            total[i] += h[i * n + j]

cdef void gate(const Py_ssize_t* size, volatile real* x, real* y) noexcept nogil:
    cdef int tries
    y[0] = -1
    for tries in range(5000):
        if x[0] != 0:
            break
        usleep(1000)
    y[0] = x[0]

cdef void endless(const Py_ssize_t* size, real* x, real* y) noexcept nogil:
    cdef Py_ssize_t s = 0
    while x[0] == 0:
        y[0] += 1
        s += 1
        if interrupted(s): return

cdef void every(const Py_ssize_t* size, real* x, real* y) noexcept nogil:
    cdef Py_ssize_t n = size[0], i
    for i in range(n):
"""
    + "".join(
        f"        y[{row} * n + i] = elementary.{name}(x[i])\n"
        for row, name in enumerate(FUNCTIONS)
    )
    + r"""
        y[14 * n + i] = elementary.pow(x[i], <real>1.5)
        y[15 * n + i] = elementary.normal_cdf(x[i])
        y[16 * n + i] = elementary.normal_gelu(x[i])

"""
    + "".join(
        f"""
cdef void {name}_{dtype}(const Py_ssize_t* size, void** array) noexcept nogil:
    {name}(size, {", ".join(f"<{cast} *>array[{i}]" for i, cast in enumerate(casts))})
"""
        for dtype, real in (("float64", "double"), ("float32", "float"))
        for name, casts in (
            ("dense", [real] * 6),
            ("dense_backward", [real] * 8),
            ("look_up", [real, "int64_t", real]),
            ("window", [real] * 2),
            ("pair", [real] * 6),
            ("gate", [real] * 2),
            ("endless", [real] * 2),
            ("every", [real] * 2),
        )
    )
    + r"""
cdef void outer_float64(const Py_ssize_t* size, void** array) noexcept nogil:
    pass

def at(text, role, extents, kind="real", bound=None):
    return Argument(text, role, (Leaf(text, extents, kind, bound),))

def positions(batch, m, k):
    return m - k + 1

forward = Kernel(
    "dense.forward", "y = tanh(W x + b)", sizes=("batch", "n", "m"),
    arguments=(at("x", "state", ("batch", "m")), at("W", "parameter", ("n", "m")),
               at("b", "parameter", ("n",))),
    results=(at("y", "result", ("batch", "n")),),
    saved=lambda batch, n, m: batch * n, saved_role="written", workspace=lambda batch, n, m: n,
    float64=<size_t>&dense_float64, float32=<size_t>&dense_float32)
backward = Kernel(
    "dense.backward", "the adjoint", sizes=("batch", "n", "m"),
    arguments=(at("y_bar", "cotangent", ("batch", "n")), at("x", "state", ("batch", "m")),
               at("W", "parameter", ("n", "m"))),
    results=(at("x_bar", "result", ("batch", "m")), at("W_bar", "result", ("n", "m")),
             at("b_bar", "result", ("n",))),
    mode="accumulate", saved=lambda batch, n, m: batch * n, saved_role="read",
    workspace=lambda batch, n, m: batch * n,
    float64=<size_t>&dense_backward_float64, float32=<size_t>&dense_backward_float32)
lookup = Kernel(
    "look_up", "rows of a table", sizes=("batch", "k", "n"),
    arguments=(at("table", "parameter", ("k", "n")), at("i", "given", ("batch",), "index", "k")),
    results=(at("y", "result", ("batch", "n")),),
    float64=<size_t>&look_up_float64, float32=<size_t>&look_up_float32)
windows = Kernel(
    "windows", "sums of k neighbours", sizes=("batch", "m", "k"),
    arguments=(at("x", "state", ("batch", "m")),),
    results=(at("y", "result", ("batch", positions)),),
    float64=<size_t>&window_float64, float32=<size_t>&window_float32)
pairs = Kernel(
    "pairs", "a state of two", sizes=("batch", "n"),
    arguments=(Argument("s", "state", (Leaf("h", ("batch", "n")), Leaf("c", ("batch", "n")))),
               at("mask", "given", ("batch",), "mask")),
    results=(Argument("s_next", "result", (Leaf("h_next", ("batch", "n")),
                                           Leaf("c_next", ("batch", "n")))),
             at("total", "result", ("batch",))),
    mode="accumulate", float64=<size_t>&pair_float64, float32=<size_t>&pair_float32)
gated = Kernel(
    "gated", "waits until x[0] != 0", sizes=("n",), arguments=(at("x", "given", ("n",)),),
    results=(at("y", "result", (1,)),),
    float64=<size_t>&gate_float64, float32=<size_t>&gate_float32)
forever = Kernel(
    "forever", "counts while x[0] = 0", sizes=("n",), arguments=(at("x", "given", ("n",)),),
    results=(at("y", "result", (1,)),),
    float64=<size_t>&endless_float64, float32=<size_t>&endless_float32)
all_functions = Kernel(
    "every", "every elementary function", sizes=("n",), arguments=(at("x", "given", ("n",)),),
    results=(at("y", "result", (17, "n")),),
    float64=<size_t>&every_float64, float32=<size_t>&every_float32)
outer = Kernel(
    "outer", "large", sizes=("n", "p", "q"), arguments=(at("x", "given", ("n",)),),
    results=(at("y", "result", ("p", "q")),), workspace=lambda n, p, q: p * q,
    float64=<size_t>&outer_float64, float32=<size_t>&outer_float64)

def product(bint single, Py_ssize_t M, Py_ssize_t N, Py_ssize_t K, double alpha,
            size_t A, Py_ssize_t am, Py_ssize_t ak, size_t B, Py_ssize_t bk, Py_ssize_t bn,
            size_t C, Py_ssize_t cm, Py_ssize_t cn):
    if single:
        gemm(M, N, K, <float>alpha, <float*>A, am, ak, <float*>B, bk, bn, <float*>C, cm, cn)
    else:
        gemm(M, N, K, alpha, <double*>A, am, ak, <double*>B, bk, bn, <double*>C, cm, cn)

def filled(Py_ssize_t count, double value, size_t array):
    fill(count, value, <double*>array)

def read_rows(const double[:, :] table, const int64_t[:] index):
    rows = [checked_index(&index[k], table.shape[0]) for k in range(index.shape[0])]
    return [[table[row, j] for j in range(table.shape[1])] for row in rows]

def read_places(const double[:] places, Py_ssize_t extent):
    return [checked_index(&places[k], extent) for k in range(places.shape[0])]
"""
)


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("hand_written", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def draw(*shape: int, dtype: Any = np.float64, seed: int = 0) -> Any:
    return np.random.default_rng((seed, *shape)).standard_normal(shape).astype(dtype)


def dense_arrays(dtype: Any = np.float64) -> tuple[Any, Any, Any]:
    return draw(5, 3, dtype=dtype), draw(4, 3, dtype=dtype), draw(4, dtype=dtype)


def close(found: Any, expected: Any, terms: int = 16) -> None:
    """Equal to rounding: `terms` roundings of the largest entry, in the dtype of `found`."""
    bound = terms * np.finfo(found.dtype).eps * max(np.abs(expected).max(initial=0), 1)
    assert found.shape == np.shape(expected)
    assert np.abs(found - expected).max(initial=0) <= bound


def misaligned(a: Any) -> Any:
    raw = np.zeros(a.nbytes + 1, np.uint8)
    out = raw[1:].view(a.dtype).reshape(a.shape)
    out[:] = a
    return out


def read_only(a: Any) -> Any:
    a = a.copy()
    a.flags.writeable = False
    return a


def apart(a: Any) -> Any:
    return np.repeat(a, 2, axis=-1)[..., ::2]


def whole_call() -> dict[str, Any]:
    x, W, b = dense_arrays()
    outputs = {"out": (5, 4), "saved": (20,), "workspace": (4,)}
    return {"x": x, "W": W, "b": b} | {k: np.full(s, 7.25) for k, s in outputs.items()}
