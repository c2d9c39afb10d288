"""The edge in Python: the calls, the results and the refusals of the compiled one."""

import ctypes
import inspect
import os
import subprocess
import sys
import threading
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from declared import LAYERS
from edge_kernels import apart, dense_arrays, draw, misaligned, read_only, whole_call
from kernels import DTYPES, Runner, filled, least, unequal
from test_edge_refusals import INPUT_REFUSALS, OUTPUT_REFUSALS, OVERLAPS, Subclass, refuse
from test_evaluated import CHOSEN, REFUSED

from derive.kernels.interpreting import plain_edge
from derive.kernels.interpreting.evaluated import evaluated_module
from derive.runtime import edge
from derive.runtime.declare import Argument, Leaf

CALLED = {layer.name: layer for layer in CHOSEN}
chosen = pytest.mark.parametrize("layer", CHOSEN, ids=lambda layer: layer.name)

PROGRAM = """
import sys, warnings
for name in ("edge", "steps", "call", "layout", "interrupt"):  # as in a checkout before it is built
    sys.modules[f"derive.runtime.{name}"] = None
import numpy
from derive import R, dims, layer, tanh

n = dims("n")

@layer
def bend(x: R(n), *, b: R(n)) -> R(n):
    return tanh(x) * b

with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    kernels = bend.compile()
print(len(said), said[0].message)
x, b, saved = numpy.ones((2, 3)), numpy.full(3, 2.0), numpy.empty(6)
saved = numpy.empty(kernels.forward.saved_size(batch=2, n=3))
y = kernels.forward(x, b, saved=saved)
x_bar, b_bar = kernels.backward(x, b, numpy.ones((2, 3)), saved=saved)
print(abs(y - 2 * numpy.tanh(1)).max() < 1e-15, abs(b_bar - 2 * numpy.tanh(1)).max() < 1e-15)
try:
    kernels.forward(x, b[:2])
except ValueError as error:
    print(error)
"""


def test_with_neither_compiler_nor_edge_the_reference_runs_with_the_same_calls(tmp_path):
    here = {**os.environ, "CC": "/nonexistent/cc", "HOME": str(tmp_path)}
    (tmp_path / "program.py").write_text(PROGRAM)
    done = subprocess.run(
        [sys.executable, tmp_path / "program.py"], env=here, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    warned, values, refused = done.stdout.splitlines()
    assert warned.startswith("1 The C compiler /nonexistent/cc that CC names was not found")
    assert warned.endswith("Until then the NumPy reference computes, slowly.")
    assert values == "True True"
    assert refused == (
        "bend.forward: b has shape (2,), expected (n,) = (3,), where n = 3 came from x"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["program.py"]


@cache
def two(name: str) -> list[Any]:
    """A layer's calls through the compiled edge and through the one in Python."""
    return [evaluated_module(CALLED[name], e) for e in (edge, plain_edge)]


@chosen
def test_results_are_the_same_bits(layer):
    for dtype in DTYPES:
        for sizes, batch in ((unequal(layer), 4), (unequal(layer), 0), (least(layer), 1)):
            one, other = (Runner(k, layer, sizes, batch, dtype) for k in two(layer.name))
            for name in one.programs:
                point = one.point(name)
                expected = one.results(name, point)
                assert same(other.results(name, point), expected), (name, dtype, batch)
                both = [tuple(filled(e, 1.0, dtype) for e in expected) for _ in two(layer.name)]
                one.results(name, point, both[0])
                other.results(name, point, both[1])
                assert same(*both), (name, dtype, batch)


@chosen
def test_a_direction_that_is_none_is_zero(layer):
    """One direction at a time: the others are arrays of zeros, or None."""
    for kernels in two(layer.name):
        runner = Runner(kernels, layer, unequal(layer), 4, np.float64)
        for name in ("tangent", "tangent_backward"):
            kernel, point = getattr(kernels, name), runner.point(name)
            given = {size: runner.named_sizes()[size] for size in kernel.declaration.asked}
            if kernel.saved_role == "read":
                given["saved"] = runner.saved(point)
            every = [k for k, a in enumerate(kernel.arguments) if a.name.endswith("_dot")]
            for kept in every:
                zeros, nones = runner.arguments(name, point), runner.arguments(name, point)
                for other in (k for k in every if k != kept):
                    zeros[other], nones[other] = filled(zeros[other], 0.0, np.float64), None
                assert same(kernel(*nones, **given), kernel(*zeros, **given)), (name, kept)


def same(a: Any, b: Any) -> bool:
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


@chosen
def test_declarations_are_the_same(layer):
    sizes = {"batch": 7, **{str(size): 5 + k for k, size in enumerate(layer.sizes)}}
    compiled, plain = two(layer.name)
    for name in [name for name in vars(compiled) if not name.startswith("__")]:
        one, other = getattr(compiled, name), getattr(plain, name)
        for what in ("name", "sizes", "mode", "saved_role"):
            assert getattr(one, what) == getattr(other, what)
        assert one.saved_size(**sizes) == other.saved_size(**sizes)
        assert one.workspace_size(**sizes) == other.workspace_size(**sizes)
        assert repr(one) == repr(other) and inspect.signature(one) == inspect.signature(other)
        for wrong in ({}, {**sizes, "batch": -1}):
            sentences = [refusal(kernel.saved_size, (), wrong) for kernel in (one, other)]
            assert sentences[0] == sentences[1]


def refusal(call: Any, given: Any, named: Any) -> tuple[type[Exception], str]:
    with pytest.raises((TypeError, ValueError)) as refused:
        call(*given, **named)
    return refused.type, str(refused.value)


X, TABLE = np.ones((2, 5)), np.ones((4, 3))
MORE: list[tuple[str, str, tuple[Any, ...], dict[str, Any]]] = [
    ("conv1d", "forward", (X, np.ones((7, 2)), np.ones(7)), {"out": np.ones((2, 7, 4))[:1]}),
    ("conv1d", "forward", (X, np.ones((3, 6)), np.ones(3)), {}),
    ("conv1d", "forward", (X, np.ones((3, 2)), np.ones(3)), {"n": 1.5}),
    ("conv1d", "forward", (X, np.ones((3, 2)), np.ones(3)), {"batch": -1}),
    ("conv1d", "forward", (X[0], np.ones((3, 2)), np.ones(3)), {"batch": 2}),
    ("conv1d", "forward", (X, np.ones((3, 2)), np.ones(3)), {"x": X}),
    ("embedding", "forward", (np.array([[1], [-1]]), TABLE), {}),
    ("embedding", "forward", (np.array([[2**63 + 1]], "u8"), TABLE), {}),
    ("embedding", "forward", (np.array([1]), TABLE.astype("f2")), {}),
]


@pytest.mark.parametrize(("layer", "name", "given", "named"), [*REFUSED, *MORE])
def test_refusals_are_the_same(layer, name, given, named):
    one, other = (refusal(getattr(kernels, name), given, named) for kernels in two(layer))
    assert one == other


# --- a kernel by hand, and the refusals of the compiled edge's own tests


def at(name: str, role: str, *extents: str, kind: str = "real", bound: Any = None) -> Argument:
    return Argument(name, role, (Leaf(name, extents, kind, bound),))


def kernel(name: str, function: Any, **declared: Any) -> Any:
    """A kernel of float64 that runs a Python function on its NumPy arrays."""
    made = plain_edge.Called(function)
    address = ctypes.cast(made, ctypes.c_void_p).value
    declared = {"mode": "overwrite", "saved": None, "saved_role": None, **declared}
    found = plain_edge.Kernel(
        name, **{"workspace": None, **declared}, float64=address, float32=address
    )
    found.alive = made
    return found


def read(address: int, *shape: int) -> Any:
    pointer = ctypes.cast(address, ctypes.POINTER(ctypes.c_double))
    return np.ctypeslib.as_array(pointer, shape)


def dense(size: Any, address: Any) -> None:
    B, n, m = size[:3]
    x, W, b = read(address[0], B, m), read(address[1], n, m), read(address[2], n)
    read(address[3], B, n)[...] = np.tanh(x @ W.T + b)
    if address[4]:
        read(address[4], B, n)[...] = np.tanh(x @ W.T + b)


class Hand:
    forward = kernel(
        "dense.forward",
        dense,
        sizes=("batch", "n", "m"),
        arguments=(
            at("x", "state", "batch", "m"),
            at("W", "parameter", "n", "m"),
            at("b", "parameter", "n"),
        ),
        results=(at("y", "result", "batch", "n"),),
        saved=lambda batch, n, m: batch * n,
        saved_role="written",
        workspace=lambda batch, n, m: n,
    )


@pytest.mark.parametrize(("change", "error", "sentence"), INPUT_REFUSALS)
def test_refused_inputs(change, error, sentence):
    call = whole_call()
    call["W"] = change(call["W"])
    if call["W"] is not None and getattr(call["W"], "dtype", None) == "M8[s]":
        sentence = sentence.replace("expected numbers", "expected float64")
    refuse(Hand.forward, call, error, sentence)


@pytest.mark.parametrize(("name", "change", "error", "sentence"), OUTPUT_REFUSALS)
def test_refused_outputs(name, change, error, sentence):
    call = whole_call()
    call[name] = change(call[name])
    refuse(Hand.forward, call, error, sentence)


@pytest.mark.parametrize(("name", "make", "sentence"), OVERLAPS)
def test_written_arrays_overlap_nothing(name, make, sentence):
    call = whole_call()
    call[name] = make(call)
    refuse(Hand.forward, call, ValueError, sentence)


def test_the_changed_call_is_refused_for_its_change_alone():
    call = whole_call()
    assert Hand.forward(**call) is call["out"]
    assert np.array_equal(call["saved"].reshape(5, 4), call["out"])
    bound = Hand.forward.bind(**whole_call())
    assert np.array_equal(bound(), call["out"]) and bound() is bound.results
    assert repr(bound) == "<Bound dense.forward float64 batch=5, n=4, m=3>"


COPIED = [np.asfortranarray, apart, lambda a: a[::-1], read_only, np.ndarray.tolist]


@pytest.mark.parametrize("copied", COPIED)
def test_inputs_are_copied_where_they_must_be(copied):
    x, W, b = dense_arrays()
    found = Hand.forward(x, copied(W), b)
    assert np.array_equal(found, Hand.forward(x, np.array(copied(W)), b))


def test_subclasses_and_arrays_that_touch(tmp_path: Path):
    x, W, b = dense_arrays()
    y = np.memmap(tmp_path / "y", np.float64, "w+", shape=(5, 4))
    assert Hand.forward(x, W.view(Subclass), b, out=y) is y
    pool = np.empty(44)
    given = {"out": pool[:20].reshape(5, 4), "saved": pool[20:40], "workspace": pool[40:]}
    assert np.array_equal(Hand.forward(x, W, b, **given), y)


def test_a_bound_kernel_checks_indices_again_and_holds_arrays_that_need_no_copy():
    layer = LAYERS["embedding"]
    kernels = evaluated_module(layer, plain_edge)
    with pytest.raises(ValueError, match="C-contiguous int64"):
        kernels.forward.bind(np.ones((2, 2), np.int64)[:, 0], TABLE)
    index = np.array([1, 2])
    bound = kernels.forward.bind(index, TABLE)
    bound()
    index[1] = 4
    with pytest.raises(ValueError, match="has index 4 at place 1, must be at least 0 and below 4"):
        bound()


def test_a_bound_kernel_is_not_run_twice_at_once():
    inside, go = threading.Event(), threading.Event()

    def waits(size: Any, address: Any) -> None:
        inside.set()
        go.wait(10)

    n = at("x", "given", "n")
    bound = kernel(
        "slow", waits, sizes=("n",), arguments=(n,), results=(at("y", "result", "n"),)
    ).bind(draw(3))
    thread = threading.Thread(target=bound)
    thread.start()
    assert inside.wait(10)
    with pytest.raises(RuntimeError, match="is running in another thread"):
        bound()
    go.set()
    thread.join()
    bound()


def test_too_many_elements_are_refused():
    large = kernel(
        "outer",
        lambda size, address: None,
        sizes=("n", "p", "q"),
        arguments=(at("x", "given", "n"),),
        results=(at("y", "result", "p", "q"),),
    )
    for p, q in ((2**32, 2**32), (2**62, 2**62), (2**60, 1)):
        with pytest.raises(ValueError, match="y is too large at n = 3, p = "):
            large(np.ones(3), p=p, q=q)


def test_arguments_may_be_called_as_anything():
    odd = kernel(
        "odd",
        lambda size, address: None,
        sizes=("n",),
        arguments=(at("given", "given", "n"), at("layout", "given", "n")),
        results=(at("y", "result", "n"),),
    )
    assert odd(given=draw(3), layout=draw(3)).shape == (3,)


@pytest.mark.parametrize("mask", [[1.0, 0.5], [np.nan, 1.0]])
def test_masks_and_misaligned_indices(mask):
    masked = kernel(
        "masked",
        lambda size, address: None,
        sizes=("n", "k"),
        arguments=(
            at("x", "given", "n"),
            at("mask", "given", "n", kind="mask"),
            at("i", "given", "k", kind="index", bound="n"),
        ),
        results=(at("y", "result", "n"),),
    )
    masked(draw(2), np.array([True, False]), np.array([0, 1, 1], np.uint8))
    with pytest.raises(ValueError, match=r"mask is a mask and is neither 0 nor 1 at place \d"):
        masked(draw(2), np.array(mask), [0])
    with pytest.raises(ValueError, match="i is misaligned"):
        masked(draw(2), np.array([1.0, 0.0]), misaligned(np.array([1, 0])))
    with pytest.raises(TypeError, match="expected integers"):
        masked(draw(2), np.array([1.0, 0.0]), np.array([1], ">i8"))


def test_no_size_but_the_batch_is_zero():
    x, W, b = dense_arrays()
    with pytest.raises(ValueError, match=r"dense.forward: m = 0 came from x, must be at least 1"):
        Hand.forward(x[:, :0], W[:, :0], b)
    assert Hand.forward(x[:0], W, b).shape == (0, 4)


def test_a_workspace_has_one_axis_and_fits_into_memory():
    with pytest.raises(ValueError, match=r"workspace has shape \(4, 4\), needs one axis of 4"):
        Hand.forward(*dense_arrays(), workspace=np.zeros((4, 4)))
    declared = {"arguments": (at("x", "given", "n"),), "results": (at("y", "result", "n"),)}
    large = kernel(
        "large",
        lambda size, address: None,
        sizes=("n", "p"),
        workspace=lambda n, p: p * p,
        **declared,
    )
    with pytest.raises(ValueError, match="workspace is too large at n = 3, p = "):
        large(np.ones(3), p=2**40)


def test_saved_values_that_are_read_are_copied_where_they_must_be():
    def twice(size: Any, address: Any) -> None:
        read(address[1], size[0])[...] += 2 * read(address[2], size[0])

    backward = kernel(
        "backward",
        twice,
        sizes=("n",),
        arguments=(at("x", "given", "n"),),
        results=(at("x_bar", "result", "n"),),
        mode="accumulate",
        saved=lambda n: n,
        saved_role="read",
    )
    saved = draw(6)
    assert np.array_equal(backward(np.ones(3), saved=saved[::2]), 2 * saved[::2])
    assert np.array_equal(backward(np.ones(6), saved=read_only(saved)), 2 * saved)
    with pytest.raises(ValueError, match="saved is float64 with strides"):
        backward.bind(np.ones(3), saved=saved[::2])
