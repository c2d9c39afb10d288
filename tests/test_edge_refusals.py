"""What the edge between Python and kernels refuses, before anything is written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from edge_kernels import DTYPES, apart, dense_arrays, draw, misaligned, read_only, whole_call

# ---- what a call refuses, with nothing written ----

Change = Callable[[dict[str, Any]], None]


def put(name: str, change: Callable[[Any], Any]) -> Change:
    def apply(call: dict[str, Any]) -> None:
        call[name] = change(call[name])

    return apply


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
