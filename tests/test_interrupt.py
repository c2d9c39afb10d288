"""Ctrl-C ends a kernel within a second; inputs stay, and a bound kernel runs again."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from drawn_calls import generated
from sequence_points import parameters

from derive.kernels.lowering.lower import lower
from derive.kernels.printing.stopping import stops
from derive.kernels.statements.instances import instances
from derive.kernels.statements.loops import For
from derive.library.dense import dense
from derive.library.networks import elman
from derive.models.programs import programs

WITHIN = 1.0  # seconds: half of one between two looks at most, and a turn of the kernel's loops


@contextmanager
def signalled(number: int = signal.SIGINT, times: int = 1) -> Iterator[list[float]]:
    """The process gets a signal after a while, again and again; when that was."""
    sent: list[float] = []

    def send() -> None:
        for _ in range(times):
            time.sleep(0.2)
            sent.append(time.monotonic())
            os.kill(os.getpid(), number)

    thread = threading.Thread(target=send)
    previous = signal.getsignal(number)
    if number == signal.SIGINT:  # which a process in the background of a shell ignores
        signal.signal(number, signal.default_int_handler)
    thread.start()
    try:
        yield sent
    finally:
        thread.join()
        signal.signal(number, previous)


def interrupted(run: Callable[[], Any]) -> None:
    """KeyboardInterrupt comes out of a call that would take long, and soon."""
    with pytest.raises(KeyboardInterrupt), signalled() as sent:
        try:
            run()
        finally:
            ended = time.monotonic()
    assert 0 < ended - sent[0] < WITHIN  # not before the signal: the call would have taken longer


def test_a_loop_is_left_early_and_a_bound_kernel_runs_again(hand: Any) -> None:
    x, y = np.zeros(1), np.zeros(1)
    bound = hand.forever.bind(x, out=y)
    interrupted(bound)
    assert y[0] > 0 and x[0] == 0
    interrupted(bound)
    x[0] = 1
    y[0] = 3
    assert bound()[0] == 3


def test_a_handler_that_returns_lets_the_kernel_go_on(hand: Any) -> None:
    x, y = np.zeros(1), np.zeros(1)
    seen: list[Any] = []

    def handler(number: int, frame: object) -> None:
        inner = generated("dense").forward(np.ones((40, 3)), np.ones((4, 3)), np.ones(4))
        seen.append(inner.shape)  # a kernel within a kernel
        if len(seen) == 2:
            x[0] = 1

    previous = signal.signal(signal.SIGUSR1, handler)
    try:
        with signalled(signal.SIGUSR1, 2):
            hand.forever(x, out=y)
    finally:
        signal.signal(signal.SIGUSR1, previous)
    assert seen == [(40, 4), (40, 4)]


def test_another_exception_of_a_handler_comes_out_as_it_is(hand: Any) -> None:
    def handler(number: int, frame: object) -> None:
        raise LookupError("enough")

    previous = signal.signal(signal.SIGUSR1, handler)
    try:
        with signalled(signal.SIGUSR1), pytest.raises(LookupError, match="enough"):
            hand.forever(np.zeros(1))
    finally:
        signal.signal(signal.SIGUSR1, previous)


def test_a_kernel_in_another_thread_is_not_ended_by_it(hand: Any) -> None:
    x, y = np.zeros(1), np.zeros(1)
    thread = threading.Thread(target=hand.forever, args=(x,), kwargs={"out": y})
    thread.start()
    with signalled(), pytest.raises(KeyboardInterrupt):
        time.sleep(10)
    assert thread.is_alive()
    x[0] = 1
    thread.join()


def test_a_long_product_is_left_early() -> None:
    rng = np.random.default_rng(0)
    x, W, b = rng.normal(size=(4000, 2500)), rng.normal(size=(2500, 2500)), np.zeros(2500)
    before = [a.copy() for a in (x, W, b)]
    interrupted(lambda: generated("dense").forward(x, W, b))
    assert all(np.array_equal(a, c) for a, c in zip((x, W, b), before, strict=True))


@pytest.mark.parametrize("method", ["bptt", "rtrl"])
def test_a_sequence_is_left_early(method: str) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(20_000, 3)), rng.normal(size=(20_000, 4))
    run, theta = generated("elman").recurrence, elman.flat(parameters())
    short = run.gradient(theta, x[:50], y[:50], method=method)
    start = time.monotonic()
    run.gradient(theta, x, y, method=method)
    times = 1 + int(2 / (time.monotonic() - start))  # of two seconds
    long_x, long_y = np.tile(x, (times, 1)), np.tile(y, (times, 1))
    interrupted(lambda: run.gradient(theta, long_x, long_y, method=method))
    again = run.gradient(theta, x[:50], y[:50], method=method)
    assert all(np.array_equal(short.by[name], again.by[name]) for name in theta)


@pytest.mark.parametrize("form", [(0, 0, 0), (1, 0, 0), (0, 1, 0), (1, 1, 0), (0, 0, 1)])
def test_a_product_in_blocks_is_the_same_bits(hand: Any, form: tuple[int, int, int]) -> None:
    """Above 2**18 products a call goes by blocks; each of its rows or columns by itself does not.

    A row of the result is the same sum whichever other rows a call has, so the bits agree.
    """
    rng = np.random.default_rng(0)
    M, N, K = 300, 129, 31
    A, B, C = (rng.normal(size=shape) for shape in ((M, K), (K, N), (M, N)))
    a, b, c = (m.T.copy() if t else m.copy() for m, t in zip((A, B, C), form, strict=True))
    strides = [
        (1, m.shape[1]) if t else (m.shape[1], 1) for m, t in zip((a, b, c), form, strict=True)
    ]
    (am, ak), (bk, bn), (cm, cn) = strides
    parts = c.copy()
    at = [m.ctypes.data for m in (a, b, c)]
    hand.product(False, M, N, K, 0.5, at[0], am, ak, at[1], bk, bn, at[2], cm, cn)
    for rows in (slice(0, 100), slice(100, 200), slice(200, 300)):
        first = parts.ctypes.data + 8 * cm * rows.start
        left = at[0] + 8 * am * rows.start
        hand.product(False, 100, N, K, 0.5, left, am, ak, at[1], bk, bn, first, cm, cn)
    assert np.array_equal(c, parts)
    expected = C + 0.5 * A @ B
    # K + 2 roundings of eps/2 to a sum of K products, below 10 in absolute value
    assert np.abs((c.T if form[2] else c) - expected).max() < (K + 2) * 1.2e-16 * 50


def test_loops_that_ask_are_those_around_long_turns() -> None:
    """Of forward, the nest that computes tanh asks, at its samples; no innermost loop does."""
    forward = next(lower(p) for p in programs(dense) if p.name == "forward")
    loops = list(instances(forward.steps, For))
    assert {str(loop.index) for loop in loops if stops(loop)} == {"s"}
