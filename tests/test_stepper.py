"""RTRL one step at a time: the gradient so far at any step, for ever, and what an update does."""

from __future__ import annotations

import resource
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from recurrent_networks import ONLINE, data, distance, flat, parameters

METHODS = 1e-12  # as in test_sequences
NAMES = [
    *["vanilla_rnn", "lstm", "gru_reset_before", "independent_rnn", "reading", "unequal_product"],
    *["leaking", "reservoir", "shuffling"],
]


def made(kernels: Any, name: str, times: int, batch: int | None, scale: float = 1.0) -> Any:
    """A network's call, parameters, data of a batch or of one stream, and random numbers."""
    rng = np.random.default_rng(11)
    theta = parameters(ONLINE[name], rng, scale)
    arrays = data(ONLINE[name], times, batch or 1, rng)
    return kernels[name].recurrence, theta, [a if batch else a[:, 0] for a in arrays], rng


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("batch", [None, 3])
def test_the_gradient_so_far_is_that_of_the_sequence_so_far(recurrent_kernels, name, batch) -> None:
    """Steps without a target, other weights, resets; compared with BPTT after every step."""
    call, theta, arrays, rng = made(recurrent_kernels, name, 7, batch)
    shape = arrays[0].shape[: 1 if batch is None else 2]
    weight, reset = rng.random(shape), (rng.random(shape) < 0.3).astype(float)
    weight[2] = 0
    stepper, count = call.stepper(theta, batch=batch), len(call.inputs)
    for t in range(7):
        given = [a[t] for a in arrays]
        loss = stepper.step(*(given[:count] if t == 2 else given), weight=weight[t], reset=reset[t])
        part = slice(0, t + 1)
        whole = call.gradient(
            theta, *(a[part] for a in arrays), weight=weight[part], reset=reset[part]
        )
        before = call.loss(theta, *(a[:t] for a in arrays), weight=weight[:t], reset=reset[:t])[0]
        assert distance(stepper.gradient, whole.by) <= METHODS
        assert abs(stepper.loss - whole.loss) <= METHODS * abs(whole.loss)
        assert abs(loss - (whole.loss - before)) <= METHODS * max(abs(whole.loss), 1)
        for a, b in zip(flat(stepper.state), flat(whole.last), strict=True):
            assert np.array_equal(a, b)
        prediction = call.forward(theta, *(a[part] for a in arrays[:count]), reset=reset[part])[0]
        for a, b in zip(flat(stepper.prediction), flat(prediction), strict=True):
            assert np.abs(a - b[-1]).max() <= METHODS * np.abs(b).max()


def test_the_caller_s_arrays_stay_as_they_are(recurrent_kernels) -> None:
    call, theta, arrays, _ = made(recurrent_kernels, "lstm", 2, 3)
    before = {key: [a.copy() for a in flat(value)] for key, value in theta.items()}
    stepper = call.stepper(theta, batch=3)
    given = [a.copy() for a in arrays]
    stepper.step(*(a[0] for a in arrays))
    theta["cell_b"][...] = 9  # theta is the stepper's own copy
    stepper.step(*(a[1] for a in arrays))
    theta["cell_b"][...] = before["cell_b"][0]
    whole = call.gradient(theta, *arrays)
    assert distance(stepper.gradient, whole.by) <= METHODS
    assert all(np.array_equal(a, b) for a, b in zip(given, arrays, strict=True))


def test_a_wrong_step_changes_nothing(recurrent_kernels) -> None:
    call, theta, arrays, _ = made(recurrent_kernels, "lstm", 2, 3)
    stepper = call.stepper(theta, batch=3)
    stepper.step(*(a[0] for a in arrays))
    state, loss = stepper.state, stepper.loss
    with pytest.raises(TypeError, match="a step takes x, and y or nothing, got 0"):
        stepper.step()
    with pytest.raises(ValueError, match="expected an array of shape"):
        stepper.step(np.ones((4, 2)))
    stepper.step(*(a[1] for a in arrays))
    again = call.stepper(theta, batch=3)
    again.step(*(a[0] for a in arrays))
    assert again.loss == loss
    assert all(np.array_equal(a, b) for a, b in zip(flat(again.state), flat(state), strict=True))
    again.step(*(a[1] for a in arrays))
    assert distance(again.gradient, stepper.gradient) == 0


def resident() -> int:
    """The bytes of this process that are in memory (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux's /proc")
@pytest.mark.parametrize(
    ("name", "steps"), [("vanilla_rnn", 1_000_000), ("independent_rnn", 100_000)]
)
def test_a_million_steps(recurrent_kernels, name, steps) -> None:
    """Neither memory nor error grows: the influence forgets as the contracting cell does.

    Compared with BPTT recomputed over the last 200 steps, whose own truncation is below 0.7^200.
    Memory is asked of the dense form alone: a tenth of the steps shows no float a step.
    """
    call, theta, _, rng = made(recurrent_kernels, name, 1, None, scale=0.7)
    sizes = call.sizes(theta)
    x = rng.normal(size=(1000, sizes["m"]))
    y = rng.normal(size=sizes["prediction_k"])
    stepper = call.stepper(theta)
    for t in range(1000):
        stepper.step(x[t % 1000])
    memory = resident()
    for t in range(1000, steps - 200):
        stepper.step(x[t % 1000])
    before = stepper.state
    for t in range(steps - 200, steps - 1):
        stepper.step(x[t % 1000])
    stepper.step(x[999], y)
    assert steps < 1_000_000 or resident() - memory < 4e6  # bytes; a float a step would be 8e6
    window = call.gradient(
        theta,
        x[-200:],
        np.broadcast_to(y, (200, y.size)),
        weight=(np.arange(200) == 199).astype(float),
        state=before,
    )
    found = {key: value for key, value in stepper.gradient.items() if key not in call.initial}
    expected = {key: value for key, value in window.by.items() if key not in call.initial}
    assert distance(found, expected) <= METHODS


def test_an_update_at_every_step_is_not_the_exact_gradient(recurrent_kernels) -> None:
    """Kept on, the influence is that of the parameters of the past: off by O(eta), slope one."""
    call, theta, arrays, _ = made(recurrent_kernels, "vanilla_rnn", 40, None)
    off = []
    for eta in (1e-3, 1e-4, 1e-5):
        stepper, now = call.stepper(theta), dict(theta)
        last: dict[str, Any] = {}
        for t in range(40):
            stepper.step(*(a[t] for a in arrays))
            last = stepper.gradient
            if t < 39:
                now = {key: now[key] - eta * last[key] for key in now}
                stepper.update(now, influence="keep")
        exact = call.gradient(now, *arrays, weight=(np.arange(40) == 39).astype(float))
        keys = [key for key in exact.by if key.startswith("cell_")]
        off.append(max(np.abs(last[k] - exact.by[k]).max() for k in keys))
    slopes = np.diff(np.log(off)) / np.diff(np.log([1e-3, 1e-4, 1e-5]))
    assert off[-1] > 1e-9  # far above rounding: it is another gradient
    assert np.all(np.abs(slopes - 1) < 0.1)


def test_a_restarted_influence_is_exact_for_the_steps_that_follow(recurrent_kernels) -> None:
    call, theta, arrays, _ = made(recurrent_kernels, "lstm", 8, 3)
    other = {
        key: tuple(a + 0.1 for a in v) if isinstance(v, tuple) else v + 0.1
        for key, v in theta.items()
    }
    stepper = call.stepper(theta, batch=3)
    for t in range(4):
        stepper.step(*(a[t] for a in arrays))
    state = stepper.state
    stepper.update(other, influence="restart")
    for t in range(4, 8):
        stepper.step(*(a[t] for a in arrays))
    after = call.gradient(other, *(a[4:] for a in arrays), state=state)
    found = {key: v for key, v in stepper.gradient.items() if key.startswith(("cell", "pred"))}
    expected = {key: v for key, v in after.by.items() if key in found}
    assert distance(found, expected) <= METHODS
    with pytest.raises(ValueError, match="'keep' or 'restart'"):
        stepper.update(theta, influence="perhaps")


# --- what is wrong is said, and changes nothing


def test_a_missing_target_is_not_read(recurrent_kernels) -> None:
    call, theta, arrays, _ = made(recurrent_kernels, "lstm", 3, 3)
    x, y = arrays
    stepper = call.stepper(theta, batch=3)
    dirty = np.array(y[0])
    dirty[1] = np.nan
    weight = np.array([0.5, 0.0, 0.25])
    stepper.step(x[0], dirty, weight=weight)
    stepper.step(x[1])
    stepper.step(x[2], y[2])
    whole = np.array([weight, [0, 0, 0], [1 / 3] * 3])
    expected = call.gradient(theta, x, y, weight=whole)
    assert distance(stepper.gradient, expected.by) <= METHODS


def test_new_parameters_are_checked_before_any_is_taken(recurrent_kernels) -> None:
    call, theta, arrays, _ = made(recurrent_kernels, "vanilla_rnn", 2, 3)
    stepper = call.stepper(theta, batch=3)
    row = {**theta, "cell_W": theta["cell_W"] + 1, "cell_b": np.zeros(())}
    with pytest.raises(ValueError, match="cell_b has shapes"):
        stepper.update(row, influence="keep")
    with pytest.raises(ValueError, match="theta lacks cell_U"):
        stepper.update({k: v for k, v in theta.items() if k != "cell_U"}, influence="keep")
    assert np.array_equal(stepper.theta["cell_W"], theta["cell_W"])
    with pytest.raises(ValueError, match=r"weight has shape \(2,\), expected \(batch,\) = \(3,\)"):
        stepper.step(*(a[0] for a in arrays), weight=[1.0, 2.0])
    assert stepper.steps == 0


def test_a_reset_begins_from_the_initial_state_of_now(recurrent_kernels) -> None:
    call, theta, arrays, _ = made(recurrent_kernels, "vanilla_rnn", 2, 3)
    stepper = call.stepper(theta, batch=3)
    stepper.step(*(a[0] for a in arrays))
    other = {**theta, "h_0": theta["h_0"] + 1}
    stepper.update(other, influence="restart")
    stepper.step(*(a[1] for a in arrays), reset=1)
    expected = call.gradient(other, *(a[1:] for a in arrays), method="rtrl", reset=np.ones((1, 3)))
    assert np.array_equal(stepper.state, expected.last[0])
    assert distance(stepper.gradient, expected.by) <= METHODS


def test_a_restarted_influence_does_not_know_the_initial_state(recurrent_kernels) -> None:
    call, theta, arrays, _ = made(recurrent_kernels, "vanilla_rnn", 2, 3)
    stepper = call.stepper(theta, batch=3)
    stepper.step(*(a[0] for a in arrays))
    stepper.update(theta, influence="restart")
    stepper.step(*(a[1] for a in arrays))
    assert not stepper.gradient["h_0"].any()


def test_what_is_fixed_stays_unless_it_is_given_anew(recurrent_kernels) -> None:
    call, theta, arrays, _ = made(recurrent_kernels, "leaking", 2, 3)
    stepper = call.stepper(theta, batch=3)
    assert stepper.gradient.keys() == {"cell_W", "cell_U", "prediction_V", "h_0"}
    learned = {name: a + 0.1 for name, a in theta.items() if name not in call.fixed}
    stepper.update(learned, influence="restart")
    for name in call.fixed:
        assert np.array_equal(stepper.theta[name], theta[name])
    other = {**learned, **{name: theta[name] / 2 for name in call.fixed}}
    stepper.update(other, influence="restart")
    state = stepper.state
    stepper.step(*(a[0] for a in arrays))
    expected = call.gradient(other, *(a[:1] for a in arrays), state=state)
    assert abs(stepper.loss - expected.loss) <= METHODS * abs(expected.loss)
    with pytest.raises(ValueError, match="cell_rate has shapes"):
        stepper.update({**other, "cell_rate": np.zeros(())}, influence="keep")
    with pytest.raises(ValueError, match="theta lacks cell_rate"):
        call.stepper({name: a for name, a in theta.items() if name != "cell_rate"})
