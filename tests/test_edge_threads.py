"""Threads that write while a kernel runs, and children that are forked meanwhile."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawn_calls import generated

HERE = Path(__file__).parent

# The table is large and the wrong index far away: read there, it ends the process.
WRITER = """
import importlib, sys, threading, time
import numpy as np
kernels = importlib.import_module("derive.generated." + sys.argv[1])
rows, n, far = 20000, 4, 2**50
rng = np.random.default_rng(0)
index = rng.integers(7, size=(2, rows))
end = time.monotonic() + 1.0

if sys.argv[1] == "embedding_lookup":
    call = {"k": index, "E": rng.standard_normal((7, n))}
    kernel, bar = kernels.backward, {"cotangent": rng.standard_normal((2, rows, n))}
else:
    index = np.ascontiguousarray(index.reshape(-1))
    call = {"x": rng.standard_normal((2 * rows, n)), "k": index % 4}
    index = call["k"]
    kernel, bar = kernels.tangent, {"x_dot": rng.standard_normal((2 * rows, n))}

def write():
    flat = index.reshape(-1)
    while time.monotonic() < end:
        flat[-500:] = far
        flat[-500:] = 3

threads = [threading.Thread(target=write) for _ in range(2)]
for thread in threads:
    thread.start()
bound = []
while not bound:
    try:
        bound = [kernels.forward.bind(**call), kernel.bind(**call, **bar)]
    except ValueError:
        pass
calls = [lambda: kernels.forward(**call), lambda: kernel(**call, **bar), *bound]
done = 0
while time.monotonic() < end:
    for run in calls:
        try:
            run()
            done += 1
        except ValueError as error:
            assert "has index" in str(error), error
for thread in threads:
    thread.join()
assert done
print("survived")
"""


def survives(program: str, *arguments: str) -> None:
    command = [sys.executable, "-c", program, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=HERE)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "survived"


@pytest.mark.parametrize("name", ["embedding_lookup", "cross_entropy_index"])
def test_a_thread_that_writes_indices_during_a_call_ends_no_process(name: str) -> None:
    survives(WRITER, name)


def test_an_index_beyond_its_bound_is_read_as_zero_where_it_is_used(hand: Any) -> None:
    table = np.arange(12.0).reshape(4, 3)
    index = np.array([2, 4, -1, 2**62, -(2**62), 3])
    expected = np.where((index >= 0) & (index < 4), index, 0)
    assert np.array_equal(hand.read_rows(table, index), table[expected])
    places = np.array([2, 4, -1, np.nan, np.inf, -np.inf, 3.0, 1e300])
    assert np.array_equal(hand.read_places(places, 4), [2, 0, 0, 0, 0, 0, 3, 0])


# --- forks


def child(work: Any) -> int:
    """The exit status of a child that is forked here; it is ended after ten seconds."""
    pid = os.fork()
    if pid == 0:
        try:
            signal.alarm(10)
            os._exit(0 if work() else 1)
        finally:
            os._exit(2)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_a_bound_kernel_is_free_in_a_child_that_is_forked_while_it_runs(hand: Any) -> None:
    x, y = np.zeros(1), np.zeros(1)
    bound = hand.gated.bind(x, out=y)
    thread = threading.Thread(target=bound)
    thread.start()
    while y[0] != -1:
        time.sleep(0.001)

    def run() -> bool:
        x[0] = 2
        return bool(bound()[0] == 2)

    def grandchild() -> bool:
        return run() and child(run) == 0

    assert child(grandchild) == 0
    with pytest.raises(RuntimeError, match="running in another thread"):
        bound()
    x[0] = 1
    thread.join()
    assert bound()[0] == 1


def test_kernels_and_steppers_work_in_a_child() -> None:
    dense = generated("dense")
    x, W, b = np.ones((2, 3)), np.ones((4, 3)), np.ones(4)
    expected = dense.forward(x, W, b)
    assert child(lambda: np.array_equal(dense.forward(x, W, b), expected)) == 0
