"""The edge between Python and kernels: what it takes, what it refuses, and that it writes nothing
before it refuses. The kernels here are written by hand in the form of generated ones."""

from __future__ import annotations

import importlib.util
import inspect
import math
import platform
import shutil
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from derive.compile import Module, compile_modules
from derive.runtime import edge
from derive.runtime.declare import Declaration

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
from derive.runtime.primitives cimport fill, gemm
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
    arguments=(at("x", "state", ("batch", "m")),), results=(at("y", "result", ("batch", positions)),),
    float64=<size_t>&window_float64, float32=<size_t>&window_float32)
pairs = Kernel(
    "pairs", "a state of two", sizes=("batch", "n"),
    arguments=(Argument("s", "state", (Leaf("h", ("batch", "n")), Leaf("c", ("batch", "n")))),
               at("mask", "given", ("batch",), "mask")),
    results=(Argument("s_next", "result", (Leaf("h_next", ("batch", "n")), Leaf("c_next", ("batch", "n")))),
             at("total", "result", ("batch",))),
    mode="accumulate", float64=<size_t>&pair_float64, float32=<size_t>&pair_float32)
gated = Kernel(
    "gated", "waits until x[0] != 0", sizes=("n",), arguments=(at("x", "given", ("n",)),),
    results=(at("y", "result", (1,)),),
    float64=<size_t>&gate_float64, float32=<size_t>&gate_float32)
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
"""
)


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("hand_written", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    source = tmp_path_factory.mktemp("hand_written") / "hand_written.pyx"
    source.write_text(HAND_WRITTEN)
    return compile_modules([Module("hand_written", source)])[0]


@pytest.fixture(scope="session")
def hand(compiled: Path) -> Any:
    return load(compiled)


def draw(*shape: int, dtype: Any = np.float64, seed: int = 0) -> Any:
    return np.random.default_rng((seed, *shape)).standard_normal(shape).astype(dtype)


def dense_arrays(dtype: Any = np.float64) -> tuple[Any, Any, Any]:
    return draw(5, 3, dtype=dtype), draw(4, 3, dtype=dtype), draw(4, dtype=dtype)


def close(found: Any, expected: Any, terms: int = 16) -> None:
    """Equal to rounding: `terms` roundings of the largest entry, in the dtype of `found`."""
    bound = terms * np.finfo(found.dtype).eps * max(np.abs(expected).max(initial=0), 1)
    assert found.shape == np.shape(expected)
    assert np.abs(found - expected).max(initial=0) <= bound


# ---- what a call computes ----


@pytest.mark.parametrize("dtype", DTYPES)
def test_forward_and_backward_are_the_formulas(hand: Any, dtype: Any) -> None:
    x, W, b = dense_arrays(dtype)
    saved = np.empty(hand.forward.saved_size(batch=5, n=4, m=3), dtype)
    y = hand.forward(x, W, b, saved=saved)
    assert y.dtype == dtype
    close(y, np.tanh(x @ W.T + b))
    assert np.array_equal(saved.reshape(5, 4), y)
    y_bar = draw(5, 4, dtype=dtype, seed=1)
    x_bar, W_bar, b_bar = hand.backward(y_bar, x, W, saved=saved)
    z_bar = (1 - y * y) * y_bar
    close(x_bar, z_bar @ W, 64)
    close(W_bar, z_bar.T @ x, 64)
    close(b_bar, z_bar.sum(0), 64)


def test_sizes_one_and_an_empty_batch(hand: Any) -> None:
    one = np.ones((1, 1))
    close(hand.forward(one, one, np.zeros(1)), np.tanh(one))
    x, W, b = dense_arrays()
    assert hand.forward(x[:0], W, b).shape == (0, 4)
    results = hand.backward(np.zeros((0, 4)), x[:0], W, saved=np.empty(0))
    assert [r.shape for r in results] == [(0, 3), (4, 3), (4,)]
    assert not results[1].any()


def test_a_call_without_batch_axis_returns_results_without_it(hand: Any) -> None:
    x, W, b = dense_arrays()
    saved, whole = np.empty(4), np.empty(4)
    y = hand.forward(x[0], W, b, saved=saved)
    assert y.shape == (4,)
    assert np.array_equal(y, hand.forward(x[:1], W, b, saved=whole)[0])
    got = hand.backward(y, x[0], W, saved=saved)
    want = hand.backward(y[None], x[:1], W, saved=saved)
    assert [r.shape for r in got] == [(3,), (4, 3), (4,)]
    assert all(np.array_equal(g, w.reshape(g.shape)) for g, w in zip(got, want, strict=True))
    assert hand.pairs((np.ones(3), np.ones(3)), np.array(1.0))[1].shape == ()


def test_a_batch_axis_on_some_arguments_only_is_refused(hand: Any) -> None:
    x, W, _ = dense_arrays()
    with pytest.raises(ValueError, match="y_bar with and x without the batch axis"):
        hand.backward(draw(5, 4), x[0], W, saved=np.empty(20))


def test_arguments_by_name(hand: Any) -> None:
    x, W, b = dense_arrays()
    assert np.array_equal(hand.forward(b=b, x=x, W=W), hand.forward(x, W, b))
    for call, sentence in (
        (lambda: hand.forward(x, W), "b missing"),
        (lambda: hand.forward(x, W, b, b), "4 arguments"),
        (lambda: hand.forward(x, W, b, x=x), "x is given twice"),
        (lambda: hand.forward(x, W, b, U=x), "called 'U'"),
    ):
        with pytest.raises(TypeError, match=sentence):
            call()


def test_a_size_no_argument_shows_is_given_by_keyword(hand: Any) -> None:
    x = draw(4, 5)
    close(hand.windows(x, k=2), x[:, 1:] + x[:, :-1])
    close(hand.windows(x, k=2, m=5), x[:, 1:] + x[:, :-1])
    close(hand.windows(x[0], k=5), x[0].sum(keepdims=True))
    for sizes, error, sentence in (
        ({}, TypeError, "size k is not known, give it as k="),
        ({"k": 0}, ValueError, "k = 0 came from the keyword, must be at least 1"),
        ({"k": -1}, ValueError, "k = -1"),
        ({"k": 2.0}, TypeError, "k = 2.0 is not a whole number"),
        ({"k": 2**70}, TypeError, "is not a whole number in range"),
        ({"k": 2, "m": 4}, ValueError, r"\(batch, m\) = \(4, 4\).*m = 4 came from the keyword"),
        ({"k": 6}, ValueError, "y has extent positions = 0 on axis 1, must be at least 1"),
    ):
        with pytest.raises(error, match=sentence):
            hand.windows(x, **sizes)


def test_direct_products_are_tuples(hand: Any) -> None:
    h, c, mask = draw(4, 3), draw(4, 3, seed=1), np.array([0.0, 1, 1, 0])
    (h_next, c_next), total = hand.pairs((h, c), mask)
    close(h_next, mask[:, None] * h + c)
    close(c_next, mask[:, None] * c)
    close(total, h.sum(1))
    outs = np.zeros_like(h), np.zeros_like(h), np.zeros(4)
    (a, b), t = hand.pairs((h, c), mask, out=((outs[0], outs[1]), outs[2]))
    assert a is outs[0] and b is outs[1] and t is outs[2]
    for state in (h, (h,), (h, c, c), [h, c]):
        with pytest.raises(TypeError, match=r"s must be a tuple of 2 arrays \(h, c\)"):
            hand.pairs(state, mask)


def test_results_are_added_and_those_not_asked_for_stay_out(hand: Any) -> None:
    x, W, _ = dense_arrays()
    y_bar, saved = draw(5, 4), draw(20)
    x_bar, W_bar, _ = hand.backward(y_bar, x, W, saved=saved)
    start = draw(4, 3, seed=3)
    into = start.copy()
    got = hand.backward(y_bar, x, W, saved=saved, out=(None, into, None))
    assert got[0] is None and got[1] is into and got[2] is None
    close(into, start + W_bar, 64)
    again = np.zeros((5, 3))
    assert hand.backward(y_bar, x, W, saved=saved, out={"x_bar": again})[0] is again
    assert np.array_equal(again, x_bar)
    for out, error, sentence in (
        ((again, into), TypeError, "out must be a tuple or dict of 3 results"),
        (again, TypeError, "found ndarray"),
        ({"U_bar": into}, TypeError, "out has U_bar"),
    ):
        with pytest.raises(error, match=sentence):
            hand.backward(y_bar, x, W, saved=saved, out=out)


def test_an_overwritten_result_cannot_be_left_out(hand: Any) -> None:
    with pytest.raises(TypeError, match="y is given as NoneType"):
        hand.forward(*dense_arrays(), out=(None,))


@pytest.mark.parametrize("form", ["array", "tuple", "dict"])
def test_out_is_written_and_returned(hand: Any, form: str) -> None:
    y = np.full((5, 4), np.nan)
    out = {"array": y, "tuple": (y,), "dict": {"y": y}}[form]
    assert hand.forward(*dense_arrays(), out=out) is y
    assert np.array_equal(y, hand.forward(*dense_arrays()))


def test_kernels_stay_inside_their_arrays(hand: Any) -> None:
    """Guard bands around every array of a call keep their values."""

    def guarded(*shape: int) -> tuple[Any, Any]:
        count = math.prod(shape)
        band = np.full(count + 64, 7.25)
        return band, band[32 : 32 + count].reshape(shape)

    bands, (x, W, b, y, saved, work) = zip(
        *(guarded(*shape) for shape in ((5, 3), (4, 3), (4,), (5, 4), (20,), (4,))), strict=True
    )
    hand.forward(x, W, b, out=y, saved=saved, workspace=work)
    y[:], saved[:], work[:] = 7.25, 7.25, 7.25
    for band in bands:
        assert (band == 7.25).all()


def test_a_call_lets_go_of_its_arrays_whether_it_fails_or_not(hand: Any) -> None:
    call = whole_call()
    arrays = list(call.values())
    before = [sys.getrefcount(a) for a in arrays]
    for _ in range(10):
        hand.forward(**call)
        with pytest.raises(ValueError, match="overlaps"):
            hand.forward(**(call | {"workspace": call["saved"]}))
    bound = hand.forward.bind(**call)
    assert all(sys.getrefcount(a) > n for a, n in zip(arrays, before, strict=True))
    del bound
    assert [sys.getrefcount(a) for a in arrays] == before


# ---- what a call refuses, with nothing written ----

Change = Callable[[dict[str, Any]], None]


def put(name: str, change: Callable[[Any], Any]) -> Change:
    def apply(call: dict[str, Any]) -> None:
        call[name] = change(call[name])

    return apply


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


INPUT_REFUSALS: list[tuple[Callable[[Any], Any], type[Exception], str]] = [
    (lambda a: None, TypeError, "W is None, expected an array"),
    (lambda a: np.ma.masked_array(a), TypeError, "W is a masked array"),
    (lambda a: a.astype(np.float32), TypeError, "W has dtype float32, expected float64 .*of x"),
    (lambda a: a.astype(np.float16), TypeError, "W has dtype float16, expected float64"),
    (lambda a: a.astype(np.longdouble), TypeError, "expected float64"),
    (lambda a: a.astype(complex), TypeError, "W has dtype complex128"),
    (lambda a: a.astype(int), TypeError, "W has dtype int64, expected float64"),
    (lambda a: a > 0, TypeError, "W has dtype bool"),
    (lambda a: a.astype(object), TypeError, "W has dtype object"),
    (lambda a: a.astype(">f8"), TypeError, "W has dtype >f8"),
    (lambda a: a.view([("a", "f8")]), TypeError, r"W has dtype \[\('a', '<f8'\)\]"),
    (lambda a: a.astype("M8[s]"), TypeError, r"W has dtype datetime64\[s\]"),
    (lambda a: a.astype(str), TypeError, "W has dtype <U"),
    (lambda a: "text", TypeError, "W has dtype <U4"),
    (lambda a: [[1.0], [1.0, 2.0]], TypeError, "W is a list that gives no array"),
    (lambda a: a.astype(int).tolist(), TypeError, "W has dtype int64, expected float64"),
    (misaligned, ValueError, "W is misaligned"),
    (lambda a: a[:, :2], ValueError, r"W has shape \(4, 2\), expected \(n, m\) = \(4, 3\), "
     "where n = 4 came from W and m = 3 came from x"),
    (lambda a: a[None], ValueError, r"W has shape \(1, 4, 3\), 3 axes, expected 2: \(n, m\)"),
    (lambda a: a[0], ValueError, r"W has shape \(3,\), 1 axes, expected 2"),
]  # fmt: skip

OUTPUT_REFUSALS: list[tuple[str, Callable[[Any], Any], type[Exception], str]] = [
    ("out", lambda a: a.astype(np.float32), TypeError, "y has dtype float32, expected float64"),
    ("out", lambda a: a.astype(">f8"), TypeError, "y has dtype >f8"),
    ("out", lambda a: a.tolist(), TypeError, "y is given as list, must be a NumPy array"),
    ("out", lambda a: np.ma.masked_array(a), TypeError, "y is a masked array"),
    ("out", lambda a: a[:4], ValueError, r"y has shape \(4, 4\), expected \(batch, n\) = \(5, 4\)"),
    ("out", lambda a: a[0], ValueError, r"y has shape \(4,\)"),
    ("out", np.asfortranarray, ValueError, "y is written to and must be C-contiguous"),
    ("out", apart, ValueError, "C-contiguous"),
    ("out", lambda a: a[::-1], ValueError, "C-contiguous"),
    ("out", lambda a: np.lib.stride_tricks.as_strided(a, (5, 4), (0, 8)), ValueError, "C-cont"),
    ("out", read_only, ValueError, "y is read-only"),
    ("out", misaligned, ValueError, "y is misaligned"),
    ("saved", lambda a: a[:-1], ValueError, r"saved has shape \(19,\), expected .* = \(20,\)"),
    ("saved", lambda a: np.zeros(21), ValueError, "saved has shape"),
    ("saved", lambda a: a.reshape(5, 4), ValueError, "saved has shape"),
    ("saved", lambda a: a.astype(np.float32), TypeError, "saved has dtype float32"),
    ("saved", read_only, ValueError, "saved is read-only"),
    ("saved", lambda a: a.tolist(), TypeError, "saved is given as list"),
    ("workspace", lambda a: a[:3], ValueError, "workspace has shape .3,., needs one axis of 4"),
    ("workspace", lambda a: a.reshape(2, 2), ValueError, "workspace has shape"),
    ("workspace", lambda a: a.astype(np.float32), TypeError, "workspace has dtype float32"),
    ("workspace", read_only, ValueError, "workspace is read-only"),
]


def whole_call() -> dict[str, Any]:
    x, W, b = dense_arrays()
    outputs = {"out": (5, 4), "saved": (20,), "workspace": (4,)}
    return {"x": x, "W": W, "b": b} | {k: np.full(s, 7.25) for k, s in outputs.items()}


def refuse(kernel: Any, call: dict[str, Any], error: type[Exception], sentence: str) -> None:
    """The call fails so, and every array keeps its bytes; binding fails so too."""
    arrays = [a for a in call.values() if isinstance(a, np.ndarray)]
    before = [a.tobytes() for a in arrays]
    for use in (kernel, kernel.bind):
        with pytest.raises(error, match=r"dense.forward: .*"):
            use(**call)
    with pytest.raises(error, match=sentence):
        kernel(**call)
    assert [a.tobytes() for a in arrays] == before


@pytest.mark.parametrize(("change", "error", "sentence"), INPUT_REFUSALS)
def test_refused_inputs(hand: Any, change: Any, error: type[Exception], sentence: str) -> None:
    call = whole_call()
    call["W"] = change(call["W"])
    refuse(hand.forward, call, error, sentence)


@pytest.mark.parametrize(("name", "change", "error", "sentence"), OUTPUT_REFUSALS)
def test_refused_outputs(
    hand: Any, name: str, change: Any, error: type[Exception], sentence: str
) -> None:
    call = whole_call()
    call[name] = change(call[name])
    refuse(hand.forward, call, error, sentence)


def test_the_changed_call_is_refused_for_its_change_alone(hand: Any) -> None:
    call = whole_call()
    assert hand.forward(**call) is call["out"]
    assert np.array_equal(call["saved"].reshape(5, 4), call["out"])


@pytest.mark.parametrize("bad", [np.float16, np.int64, bool, object])
def test_the_first_real_array_must_be_float64_or_float32(hand: Any, bad: Any) -> None:
    x, W, b = dense_arrays()
    with pytest.raises(TypeError, match=r"x has dtype .*, expected float64 or float32"):
        hand.forward(x.astype(bad), W, b)


def backwards_into_out(call: dict[str, Any]) -> Any:
    """An array whose first entry lies behind `out` and whose last ones lie in it."""
    pool = np.full(28, 7.25)
    call["out"] = pool[:20].reshape(5, 4)
    return pool[27:15:-1].reshape(4, 3)


OVERLAPS: list[tuple[str, Callable[[dict[str, Any]], Any], str]] = [
    ("x", lambda call: call["out"].ravel()[:15].reshape(5, 3), "y is written to and overlaps x"),
    ("x", lambda call: call["out"][:, :3], "y .*overlaps x"),
    ("W", lambda call: call["out"].ravel()[8:].reshape(4, 3), "y .*overlaps W"),
    ("W", lambda call: call["out"].ravel()[19:7:-1].reshape(4, 3), "y .*overlaps W"),
    ("W", backwards_into_out, "y .*overlaps W"),
    ("saved", lambda call: call["out"].reshape(20), "overlaps"),
    ("workspace", lambda call: call["out"][4], "overlaps"),
    ("workspace", lambda call: call["saved"][16:], "overlaps"),
    ("workspace", lambda call: call["b"], "workspace .*overlaps b"),
]


@pytest.mark.parametrize(("name", "make", "sentence"), OVERLAPS)
def test_written_arrays_overlap_nothing(hand: Any, name: str, make: Any, sentence: str) -> None:
    call = whole_call()
    call[name] = make(call)
    refuse(hand.forward, call, ValueError, sentence)


def test_results_overlap_no_other_result(hand: Any) -> None:
    x, W, _ = dense_arrays()
    pool = np.full(24, 7.25)
    out = (pool[:15].reshape(5, 3), pool[12:].reshape(4, 3), None)
    with pytest.raises(ValueError, match="x_bar is written to and overlaps W_bar"):
        hand.backward(draw(5, 4), x, W, saved=draw(20), out=out)
    assert (pool == 7.25).all()


def test_arrays_that_touch_do_not_overlap(hand: Any) -> None:
    x, W, b = dense_arrays()
    pool = np.empty(44)
    y, saved, work = pool[:20].reshape(5, 4), pool[20:40], pool[40:]
    assert np.array_equal(
        hand.forward(x, W, b, out=y, saved=saved, workspace=work), hand.forward(x, W, b)
    )
    assert hand.forward(x, W, W[:, 0]).shape == (5, 4)  # inputs may share memory


@pytest.mark.parametrize(
    "copied",
    [
        np.asfortranarray,
        apart,
        lambda a: a[::-1],
        lambda a: a[:, ::-1],
        read_only,
        np.ndarray.tolist,
    ],
)
def test_inputs_are_copied_where_they_must_be(hand: Any, copied: Any) -> None:
    x, W, b = dense_arrays()
    value = copied(W)
    assert np.array_equal(hand.forward(x, value, b), hand.forward(x, np.array(value), b))


def test_no_size_but_the_batch_is_zero(hand: Any) -> None:
    x, W, b = dense_arrays()
    with pytest.raises(ValueError, match=r"dense.forward: m = 0 came from x, must be at least 1"):
        hand.forward(x[:, :0], W[:, :0], b)


def test_a_broadcast_input_is_copied_and_scalars_are_arrays_of_no_axes(hand: Any) -> None:
    x, W, b = dense_arrays()
    row = np.broadcast_to(x[0], (5, 3))
    assert np.array_equal(hand.forward(row, W, b), hand.forward(row.copy(), W, b))
    _, total = hand.pairs((np.ones(3), np.ones(3)), 1.0)
    assert total == 3


class Subclass(np.ndarray[Any, Any]):
    """An array of another type."""


def test_subclasses_of_arrays_are_arrays(hand: Any, tmp_path: Path) -> None:
    x, W, b = dense_arrays()
    y = np.memmap(tmp_path / "y", np.float64, "w+", shape=(5, 4))
    assert hand.forward(x, W.view(Subclass), b, out=y) is y
    assert np.array_equal(y, hand.forward(x, W, b))


def test_too_many_elements_are_refused_not_wrapped(hand: Any) -> None:
    x = np.ones(3)
    for p, q in ((2**32, 2**32), (2**62, 2**62), (2**60, 1), (1, 2**61)):
        with pytest.raises(ValueError, match="y is too large at n = 3, p = "):
            hand.outer(x, p=p, q=q)
    with pytest.raises(ValueError, match="is too large"):
        hand.outer(x, p=2**33, q=2**33, out=np.zeros((1, 1)))


# ---- indices and masks ----


@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.int8, np.uint8, np.uint64, np.longlong])
def test_indices_of_any_integer_dtype(hand: Any, dtype: Any) -> None:
    table = draw(4, 3)
    index = np.array([3, 0, 2, 2, 1], dtype)
    assert np.array_equal(hand.lookup(table, index), table[index])
    assert np.array_equal(hand.lookup(table, 2), table[2])
    assert np.array_equal(hand.lookup(table, [3, 1]), table[[3, 1]])


@pytest.mark.parametrize(
    ("index", "error", "sentence"),
    [
        (np.array([0, 4]), ValueError, "i has index 4 at place 1, must be at least 0 and below 4"),
        (np.array([-1, 0]), ValueError, "i has index -1 at place 0"),
        (np.array([2**63 + 1], np.uint64), ValueError, "i has index"),
        (np.array([2**40 + 1]), ValueError, "i has index"),
        (np.array([0.0]), TypeError, "i has dtype float64, expected integers"),
        (np.array([True]), TypeError, "i has dtype bool, expected integers"),
        (np.array([1], ">i8"), TypeError, "i has dtype >i8"),
        (misaligned(np.array([1, 2])), ValueError, "i is misaligned"),
    ],
)
def test_indices_out_of_range_or_not_integers(
    hand: Any, index: Any, error: type[Exception], sentence: str
) -> None:
    out = np.full((len(index), 3), 7.25)
    with pytest.raises(error, match=sentence):
        hand.lookup(draw(4, 3), index, out=out)
    assert (out == 7.25).all()


def test_masks_are_zero_or_one(hand: Any) -> None:
    h, c = draw(4, 3), draw(4, 3, seed=1)
    keep = np.array([True, False, True, True])
    for dtype in DTYPES:
        state = h.astype(dtype), c.astype(dtype)
        same = zip(
            hand.pairs(state, keep)[0], hand.pairs(state, keep.astype(dtype))[0], strict=True
        )
        assert all(np.array_equal(a, b) and a.dtype == dtype for a, b in same)
    for bad in (0.5, np.nan, -1, 2):
        mask = keep.astype(float)
        mask[2] = bad
        with pytest.raises(ValueError, match="mask is a mask and is neither 0 nor 1 at place 2"):
            hand.pairs((h, c), mask)
    for other in (keep.astype(np.float32), keep.astype(int)):
        with pytest.raises(TypeError, match=r"mask has dtype .*, expected float64 or bool"):
            hand.pairs((h, c), other)


# ---- saved values and workspace ----


def test_saved_values_belong_to_kernels_that_read_or_write_them(hand: Any) -> None:
    x, W, _ = dense_arrays()
    with pytest.raises(TypeError, match=r"saved is missing.*forward"):
        hand.backward(draw(5, 4), x, W)
    with pytest.raises(TypeError, match="takes no saved values"):
        hand.windows(x, k=2, saved=np.empty(3))
    with pytest.raises(ValueError, match=r"saved has shape \(3,\)"):
        hand.backward(draw(5, 4), x, W, saved=np.empty(3))
    with pytest.raises(TypeError, match="saved has dtype float32"):
        hand.backward(draw(5, 4), x, W, saved=np.empty(20, np.float32))
    saved = draw(20)
    with pytest.raises(ValueError, match="W_bar is written to and overlaps saved"):
        hand.backward(draw(5, 4), x, W, saved=saved, out=(None, saved[:12].reshape(4, 3), None))


def test_sizes_of_saved_values_and_workspace(hand: Any) -> None:
    assert hand.forward.saved_size(batch=5, n=4, m=3) == 20
    assert hand.forward.workspace_size(batch=5, n=4, m=3) == 4
    assert hand.windows.saved_size(batch=1, m=2, k=1) == hand.windows.workspace_size(batch=1, m=2, k=1) == 0
    for sizes in ({}, {"batch": 1, "n": 2}, {"batch": 1, "n": 2, "m": 3, "k": 4}):
        with pytest.raises(TypeError, match="takes the sizes batch, n, m"):
            hand.forward.saved_size(**sizes)


def test_a_workspace_may_be_longer_than_needed(hand: Any) -> None:
    work = np.full(9, 7.25)
    hand.forward(*dense_arrays(), workspace=work)
    assert (work[4:] == 7.25).all() and (work[:4] != 7.25).all()


# ---- bound kernels ----


def test_a_bound_kernel_reads_its_arrays_anew(hand: Any) -> None:
    x, W, b = dense_arrays()
    bound = hand.forward.bind(x, W, b, out=np.empty((5, 4)))
    assert bound() is bound.results and bound.kernel is hand.forward
    x *= 2
    assert np.array_equal(bound(), hand.forward(x, W, b))
    results = hand.backward.bind(draw(5, 4), x, W, saved=draw(20))
    once = [r.copy() for r in results()]
    for twice, first in zip(results(), once, strict=True):
        close(twice, 2 * first, 64)


def test_a_bound_kernel_holds_its_arrays(hand: Any) -> None:
    x, W, b = dense_arrays()
    bound = hand.forward.bind(x.copy(), W.copy(), b.copy(), saved=np.empty(20))
    held = np.empty((64, 5, 3))
    held[:] = np.nan  # over freed memory, had it been freed
    assert np.array_equal(bound(), hand.forward(x, W, b))
    with pytest.raises(ValueError, match="resize"):
        bound.results.resize((1, 1))


@pytest.mark.parametrize("change", [np.asfortranarray, apart, np.ndarray.tolist])
def test_bound_inputs_need_no_copy(hand: Any, change: Any) -> None:
    x, W, b = dense_arrays()
    with pytest.raises((ValueError, TypeError), match=r"W is .*bind"):
        hand.forward.bind(x, change(W), b)
    with pytest.raises(ValueError, match=r"i is int32 .*bind needs it as C-contiguous int64"):
        hand.lookup.bind(draw(4, 3), np.array([1], np.int32))


def test_a_bound_kernel_checks_indices_and_masks_at_each_call(hand: Any) -> None:
    index, mask = np.array([1, 2]), np.ones(4)
    bound = hand.lookup.bind(draw(4, 3), index)
    first = bound().copy()
    index[1] = 4
    with pytest.raises(ValueError, match="i has index 4 at place 1"):
        bound()
    assert np.array_equal(bound.results, first)
    index[1] = 2
    assert np.array_equal(bound(), first)
    masked = hand.pairs.bind((draw(4, 3), draw(4, 3)), mask)
    mask[0] = 3
    with pytest.raises(ValueError, match="mask"):
        masked()


def test_a_bound_kernel_is_not_re_entrant_and_the_lock_is_free_meanwhile(hand: Any) -> None:
    x, y = np.zeros(1), np.zeros(1)
    bound = hand.gated.bind(x, out=y)
    thread = threading.Thread(target=bound)
    thread.start()
    while (
        thread.is_alive() and y[0] != -1
    ):  # this loop runs only because the kernel let go of the lock
        time.sleep(0.001)
    with pytest.raises(RuntimeError, match="gated: this bound kernel is running in another thread"):
        bound()
    assert thread.is_alive()
    x[0] = 1
    thread.join()
    assert bound()[0] == 1


def test_one_kernel_in_many_threads(hand: Any) -> None:
    _, W, b = dense_arrays()
    wrong: list[int] = []

    def work(seed: int) -> None:
        x = draw(5, 3, seed=seed)
        expected = hand.forward(x, W, b)
        for _ in range(300):
            if not np.array_equal(hand.forward(x, W, b), expected):
                wrong.append(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


# ---- tensors of other libraries ----


def test_torch_tensors_are_inputs(hand: Any) -> None:
    torch = pytest.importorskip("torch")
    x, W, b = dense_arrays()
    got = hand.forward(torch.from_numpy(x), torch.from_numpy(W), b)
    assert np.array_equal(got, hand.forward(x, W, b))
    with pytest.raises(TypeError, match=r"x is a Tensor that gives no array.*grad"):
        hand.forward(torch.from_numpy(x).requires_grad_(), W, b)
    with pytest.raises(TypeError, match="y is given as Tensor, must be a NumPy array"):
        hand.forward(x, W, b, out=torch.zeros((5, 4), dtype=torch.float64))


# ---- what a kernel says of itself ----


def test_a_kernel_describes_itself(hand: Any) -> None:
    kernel = hand.forward
    assert kernel.name == "dense.forward" and kernel.sizes == ("batch", "n", "m")
    assert [a.name for a in kernel.arguments] == ["x", "W", "b"]
    assert [r.name for r in kernel.results] == ["y"]
    assert kernel.__doc__ == "y = tanh(W x + b)" and kernel.mode == "overwrite"
    assert kernel.saved_role == "written"
    assert str(inspect.signature(kernel)) == (
        "(x, W, b, *, out=None, saved=None, workspace=None, **sizes)"
    )
    assert str(inspect.signature(hand.windows)).endswith("workspace=None, k, **sizes)")
    assert repr(kernel).startswith("<Kernel dense.forward(x, W, b")
    assert repr(kernel.bind(*dense_arrays())) == "<Bound dense.forward float64 batch=5, n=4, m=3>"


def leaf(name: str, *extents: Any, **more: Any) -> Any:
    return edge.Argument(name, "given", (edge.Leaf(name, extents, **more),))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"mode": "add"}, "mode is 'add'"),
        ({"saved_role": "both"}, "saved_role is 'both'"),
        ({"arguments": (leaf("x", "q"),)}, "x has extent 'q', not among the sizes"),
        ({"arguments": (leaf("x", 0),)}, "x has extent 0"),
        ({"arguments": (leaf("x", "n"), leaf("x", "n"))}, "names used twice or reserved: x"),
        ({"arguments": (leaf("out", "n"),)}, "reserved: out"),
        ({"arguments": (leaf("n", "n"),)}, "reserved: n"),
        ({"arguments": (leaf("x", "n", kind="real", bound=3),)}, "a bound belongs to"),
        ({"arguments": (leaf("x", "n", kind="index"),)}, "a bound belongs to"),
        ({"arguments": (leaf("x", "n", kind="other"),)}, "kind is 'other'"),
        ({"results": (leaf("y", "n", kind="mask"),)}, "kind of a result is 'mask'"),
        ({"arguments": (edge.Argument("W", "parameter", (edge.Leaf("W", ("batch",)),)),)}, "W has a b"),
        ({"arguments": (edge.Argument("W", "input", (edge.Leaf("W", ("n",)),)),)}, "role is 'in"),
    ],
)
def test_errors_of_declarations(change: dict[str, Any], sentence: str) -> None:
    good: dict[str, Any] = {
        **{"name": "f", "sizes": ("batch", "n"), "arguments": (leaf("x", "batch", "n"),)},
        **{"results": (leaf("y", "batch"),), "mode": "overwrite", "saved_role": None},
    }
    Declaration(**good)
    with pytest.raises(ValueError, match=f"f: .*{sentence}"):
        Declaration(**(good | change))


# ---- admission of modules ----


def copied(compiled: Path, folder: Path) -> Path:
    """Another file each time: one that is loaded is not executed again."""
    folder.mkdir()
    shutil.copy(compiled, folder)
    shutil.copy(compiled.with_name("hand_written.pyx"), folder)
    return folder / compiled.name


def test_a_module_whose_text_changed_is_refused(compiled: Path, tmp_path: Path) -> None:
    assert load(copied(compiled, tmp_path / "same")).forward.name == "dense.forward"
    path = copied(compiled, tmp_path / "changed")
    with path.with_name("hand_written.pyx").open("a") as text:
        text.write("\n")
    with pytest.raises(ImportError, match=r"another text than .*hand_written.pyx; run: python bu"):
        load(path)
    path = copied(compiled, tmp_path / "without")
    path.with_name("hand_written.pyx").unlink()
    assert load(path).forward.name == "dense.forward"


def test_another_convention_or_cpu_is_refused() -> None:
    edge.admit("f", edge.CONVENTION, "", "/nowhere/f.so", "")
    with pytest.raises(ImportError, match=r"convention 0, this is \d+; run: python build.py"):
        edge.admit("f", 0, "", "/nowhere/f.so", "")
    with pytest.raises(ImportError, match="compiled for a CPU with quantum, which this one lacks"):
        edge.admit("f", edge.CONVENTION, "", "/nowhere/f.so", " quantum")


@pytest.mark.skipif(platform.machine() != "x86_64", reason="features are those of x86")
def test_features_of_this_cpu_are_admitted() -> None:
    flags = Path("/proc/cpuinfo").read_text().split()
    for feature in ("sse3", "avx2", "fma", "avx512f", "avx512vl"):
        name = "pni" if feature == "sse3" else feature
        if name in flags:
            edge.admit("f", edge.CONVENTION, "", "/nowhere/f.so", feature)
        else:
            with pytest.raises(ImportError, match=feature):
                edge.admit("f", edge.CONVENTION, "", "/nowhere/f.so", feature)


# ---- elementary functions and primitives ----


@pytest.mark.parametrize("dtype", DTYPES)
def test_elementary_functions_are_those_of_their_precision(hand: Any, dtype: Any) -> None:
    """Against Python's float64 functions at the same point; libm errs by at most 4 ulp (glibc)."""
    x = np.array([0.25, 0.5, 1.0, 1.75, 3.0], dtype)
    rows = hand.all_functions(x)
    for name, row in zip(FUNCTIONS, rows, strict=False):
        exact = np.array([getattr(math, name)(float(v)) for v in x])
        assert np.all(np.abs(row - exact) <= 4 * np.finfo(dtype).eps * np.abs(exact)), name
    normal = np.array([math.erfc(-float(v) / math.sqrt(2)) / 2 for v in x])
    for row, exact in zip(rows[14:], (x.astype(float) ** 1.5, normal, x * normal), strict=True):
        assert np.allclose(row, exact, rtol=4 * np.finfo(dtype).eps, atol=0)


@pytest.mark.parametrize("dtype", DTYPES)
def test_nan_passes_through_every_function_under_the_native_flags(hand: Any, dtype: Any) -> None:
    """In the middle of enough entries to be vectorised."""
    x = np.full(37, 0.5, dtype)
    x[17] = np.nan
    found = hand.all_functions(x)
    assert np.isnan(found[:, 17]).all()
    assert np.isfinite(np.delete(found, 17, axis=1)).all()


LAYOUTS = ["row", "column", "loose"]


def laid_out(layout: str, shape: tuple[int, int], dtype: Any, seed: int) -> Any:
    whole = draw(2 * shape[0], 3 * shape[1], dtype=dtype, seed=seed)
    if layout == "loose":
        return whole[::2, ::3]
    return np.array(whole[: shape[0], : shape[1]], order="C" if layout == "row" else "F")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("c", LAYOUTS)
@pytest.mark.parametrize("b", LAYOUTS)
@pytest.mark.parametrize("a", LAYOUTS)
def test_gemm_adds_the_product_for_all_strides(
    hand: Any, a: str, b: str, c: str, dtype: Any
) -> None:
    """|error| <= (K + 4) eps |alpha| |A||B|, the bound for a sum of K products in any order."""
    for M, N, K in (
        (3, 4, 5),
        (1, 1, 1),
        (1, 37, 5),
        (37, 1, 19),
        (9, 2, 37),
        (2, 9, 16),
        (3, 4, 0),
    ):
        A, B = laid_out(a, (M, K), dtype, 1), laid_out(b, (K, N), dtype, 2)
        base = np.full((2 * M + 2, 3 * N + 2), 7.25, dtype, order="F" if c == "column" else "C")
        step = (2, 3) if c == "loose" else (1, 1)
        C = base[1 : 1 + step[0] * M : step[0], 1 : 1 + step[1] * N : step[1]]
        strides = [s // dtype().itemsize for X in (A, B, C) for s in X.strides]
        ends = [(X.ctypes.data, *strides[2 * i : 2 * i + 2]) for i, X in enumerate((A, B, C))]
        hand.product(dtype == np.float32, M, N, K, -0.5, *ends[0], *ends[1], *ends[2])
        exact = 7.25 - 0.5 * A.astype(np.longdouble) @ B.astype(np.longdouble)
        size = 7.25 + 0.5 * np.abs(A).astype(float) @ np.abs(B).astype(float)
        assert np.all(np.abs(C - exact) <= (K + 4) * np.finfo(dtype).eps * size)
        C[...] = 7.25
        assert (base == 7.25).all()


def test_fill_fills_and_stops(hand: Any) -> None:
    array = np.zeros(9)
    hand.filled(5, 2.5, array.ctypes.data)
    assert array.tolist() == [2.5] * 5 + [0.0] * 4
