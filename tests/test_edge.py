"""The edge between Python and kernels: what a call computes."""

from __future__ import annotations

import math
import sys
import threading
import time
from typing import Any

import numpy as np
import pytest
from edge_kernels import DTYPES, apart, close, dense_arrays, draw, whole_call

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
    with pytest.raises(
        ValueError,
        match=r"y_bar with and x without the batch axis.*x of shape \(.*\) would be \(batch, ",
    ):
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
    assert (
        hand.windows.saved_size(batch=1, m=2, k=1)
        == hand.windows.workspace_size(batch=1, m=2, k=1)
        == 0
    )
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
