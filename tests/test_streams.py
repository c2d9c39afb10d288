"""One stream never touches another: what is not selected is not read, a NaN stays in its stream.

Every law compares two calls bit by bit: the selected numbers are the same and go the same way, so
that nothing may differ.  That the numbers are right is for `test_sequences` and `sequence_laws`.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from recurrent_networks import NETWORKS, OFFLINE, ONLINE, data, flat, parameters

from derive.evidence.checks.sequence_runs import reference_runs

TIMES, BATCH = 7, 4
FILLS = (np.nan, np.inf)
METHODS: list[tuple[str, dict[str, int]]] = [
    ("bptt", {}),
    ("truncated_bptt", {"every": 2, "down": 3}),
    ("rtrl", {}),
    ("hybrid", {"block": 1}),
    ("hybrid", {"block": 3}),
]
CELLS = [
    *["vanilla_rnn", "lstm", "peephole_lstm", "gru_reset_before", "independent_rnn", "reading"],
    *["unequal_product", "normalised", "peaked", "counting", "tied_readout", "deep_rnn", "plain"],
]


@dataclass
class Streams:
    """A call of a network on random data, its masks, and a state for every cell and stream."""

    call: Any
    theta: dict[str, Any]
    arrays: list[Any]
    states: dict[str, Any]
    masks: dict[str, Any]

    @classmethod
    def drawn(cls, call: Any, name: str, seed: int) -> Streams:
        rng = np.random.default_rng(seed)
        network = NETWORKS[name]
        theta = parameters(network, rng)
        arrays = data(network, TIMES, BATCH, rng)
        last = call.forward(theta, *arrays[: len(call.inputs)])[-len(call.initial) :]
        states = {option: _noisy(last, rng) for option in ("initial", "state")}
        masks = {"active": (rng.random((TIMES, BATCH)) < 0.7).astype(float)}
        masks["weight"] = rng.random((TIMES, BATCH)) * (rng.random((TIMES, BATCH)) < 0.6)
        if call.reset:
            masks["reset"] = (rng.random((TIMES, BATCH)) < 0.25).astype(float)
        return cls(call, theta, arrays, states, masks)

    def filled(self, number: float) -> Streams:
        """A number in every entry that is not selected."""
        active = self.masks["active"] != 0
        heard = active & (self.masks["weight"] != 0)
        count = len(self.call.inputs)
        arrays = [_where(active, a, number) for a in self.arrays[:count]]
        arrays += [_where(heard, a, number) for a in self.arrays[count:]]
        resets = active & (self.masks.get("reset", 0 * active) != 0)
        first = np.argmax(active, axis=0), np.arange(BATCH)
        left = active.any(axis=0) & resets[first]  # the first thing a stream does is to begin anew
        states = {
            "initial": _of_states(resets.any(axis=0), self.states["initial"], number),
            "state": _of_states(~left, self.states["state"], number),
        }
        return Streams(self.call, self.theta, arrays, states, self.masks)

    def gradient(self, method: str = "bptt", **more: Any) -> dict[str, Any]:
        """Every result of a call by its name."""
        found = self.call.gradient(
            self.theta, *self.arrays, method=method, **self.states, **self.masks, **more
        )
        starts = {f"initial {key}": v for key, v in found.by_initial.items()}
        inputs = {f"input {key}": v for key, v in found.by_input.items()}
        own = {"losses": found.losses, "last": found.last, "influence": tuple(found.influence)}
        return {**found.by, **starts, **inputs, **own}


def _noisy(states: Any, rng: np.random.Generator) -> Any:
    """States of their own for every stream, near some."""
    if isinstance(states, tuple):
        return tuple(_noisy(part, rng) for part in states)
    return states * rng.uniform(0.5, 1.0, states.shape)


def _where(mask: np.ndarray, array: np.ndarray, number: float) -> np.ndarray:
    """An array with another number, or an index beyond all classes, where a mask is false."""
    rows = mask.reshape(*mask.shape, *[1] * (array.ndim - mask.ndim))
    return np.where(rows, array, -1 if array.dtype.kind == "i" else number)


def _of_states(mask: np.ndarray, states: Any, number: float) -> Any:
    if isinstance(states, tuple):
        return tuple(_of_states(mask, part, number) for part in states)
    return _where(mask, states, number)


def same(found: dict[str, Any], expected: dict[str, Any], streams: Any = ...) -> None:
    """Bit by bit; of `last` and of the influence those streams that end with a number."""
    assert found.keys() == expected.keys()
    for name in expected:
        for a, b in zip(flat(found[name]), flat(expected[name]), strict=True):
            rows = streams if name in ("last", "influence") else ...
            assert np.array_equal(a[rows], b[rows]), name


def methods(name: str) -> list[tuple[str, dict[str, int]]]:
    return METHODS if name in ONLINE else METHODS[:1]


# --- what is not selected


@pytest.mark.parametrize("name", [*CELLS, *OFFLINE])
def test_what_is_not_selected_is_not_read(recurrent_kernels, name) -> None:
    """Inputs and targets where a step is not active, targets without weight, unused states."""
    for seed in (1, 2):
        streams = Streams.drawn(recurrent_kernels[name].recurrence, name, seed)
        for method, sizes in methods(name):
            expected = streams.filled(0.0).gradient(method, **sizes)
            assert all(np.isfinite(a).all() for v in expected.values() for a in flat(v))
            for number in FILLS:
                same(streams.filled(number).gradient(method, **sizes), expected)


@pytest.mark.parametrize("name", ["vanilla_rnn", "two_ways"])
def test_the_reference_does_not_read_it_either(name) -> None:
    streams = Streams.drawn(reference_runs(NETWORKS[name])[0], name, 1)
    for method, sizes in methods(name):
        expected = streams.filled(0.0).gradient(method, **sizes)
        with np.errstate(invalid="ignore"):
            same(streams.filled(np.nan).gradient(method, **sizes), expected)


@pytest.mark.parametrize("name", ["vanilla_rnn", "lstm", "two_ways", "deep_one_way"])
def test_what_lies_beyond_a_length_is_not_read(recurrent_kernels, name) -> None:
    streams = Streams.drawn(recurrent_kernels[name].recurrence, name, 3)
    lengths = np.array([TIMES, 0, 1, 4])
    inside = np.arange(TIMES)[:, None] < lengths
    call, theta = streams.call, streams.theta
    expected = call.gradient(
        theta, *(_where(inside, a, 0.0) for a in streams.arrays), lengths=lengths
    )
    found = call.gradient(
        theta, *(_where(inside, a, np.nan) for a in streams.arrays), lengths=lengths
    )
    assert found.loss == expected.loss and np.isfinite(found.loss)
    same(found.by, expected.by)


# --- a stream that is lost


def lost(name: str, call: Any) -> tuple[Streams, Streams]:
    """Streams of which one reads a NaN, is not heard of until it is reset, and the same without."""
    clean = Streams.drawn(call, name, 4)
    clean.masks = {"active": np.ones((TIMES, BATCH)), "weight": np.ones((TIMES, BATCH))}
    clean.masks["weight"][2:5, 1] = 0
    clean.masks["reset"] = np.zeros((TIMES, BATCH))
    clean.masks["reset"][5, 1] = 1
    x = np.array(clean.arrays[0])
    x[2, 1] = np.nan
    return Streams(call, clean.theta, [x, *clean.arrays[1:]], clean.states, clean.masks), clean


@pytest.mark.parametrize(
    "name", ["vanilla_rnn", "lstm", "peephole_lstm", "independent_rnn", "tied"]
)
def test_a_stream_that_is_lost_comes_back_with_a_reset(recurrent_kernels, name) -> None:
    """No gradient, state or influence knows of the NaN: no loss hears of it."""
    broken, clean = lost(name, recurrent_kernels[name].recurrence)
    for method, sizes in METHODS:
        same(broken.gradient(method, **sizes), clean.gradient(method, **sizes))


@pytest.mark.parametrize("name", ["vanilla_rnn", "lstm"])
def test_a_loss_that_hears_of_a_NaN_is_none_and_so_is_the_gradient(recurrent_kernels, name) -> None:
    """But what belongs to other streams is as it was."""
    broken, clean = lost(name, recurrent_kernels[name].recurrence)
    broken.masks["weight"][3, 1] = 1
    others = [0, 2, 3]
    for method, sizes in METHODS:
        found, expected = broken.gradient(method, **sizes), clean.gradient(method, **sizes)
        assert np.isnan(found["cell_W"]).any() and np.isnan(found["losses"][3, 1])
        same({"last": found["last"]}, {"last": expected["last"]})
        assert np.array_equal(found["losses"][:, others], expected["losses"][:, others])
        for key in (key for key in found if key.startswith("input ")):
            assert np.array_equal(found[key][:, others], expected[key][:, others])


# --- online


@pytest.mark.parametrize("name", ["vanilla_rnn", "lstm", "independent_rnn", "reading"])
def test_streams_that_are_not_active_stay_as_they_are(recurrent_kernels, name) -> None:
    """A stepper with `active` against the same masks over the whole sequence, NaN in between."""
    streams = Streams.drawn(recurrent_kernels[name].recurrence, name, 5)
    masks, call = streams.masks, streams.call
    begun = streams.states["initial"]
    initial = begun[0]
    stepper = call.stepper(streams.theta, batch=BATCH, initial=initial)
    dirty = streams.filled(np.nan).arrays
    for t in range(TIMES):
        before, J = stepper.state, stepper.influence
        options = {key: mask[t] for key, mask in masks.items()}
        stepper.step(*(a[t] for a in dirty), **options)
        idle = masks["active"][t] == 0
        for old, new in zip(
            (*flat(before), *J), (*flat(stepper.state), *stepper.influence), strict=True
        ):
            assert np.array_equal(old[idle], new[idle])
    whole = call.gradient(
        streams.theta, *streams.filled(0.0).arrays, method="rtrl", initial=begun, **masks
    )
    found = stepper.gradient
    for key in found:
        for a, b in zip(flat(found[key]), flat(whole.by[key]), strict=True):
            # the same terms, added over the steps in another order: 7 steps of one rounding
            assert np.abs(a - b).max() <= 7 * np.finfo(float).eps * max(np.abs(b).max(), 1)


def test_a_step_of_nobody_changes_nothing(recurrent_kernels) -> None:
    streams = Streams.drawn(recurrent_kernels["lstm"].recurrence, "lstm", 6)
    stepper = streams.call.stepper(streams.theta, batch=BATCH)
    x, y = streams.arrays
    stepper.step(x[0], y[0])
    before = stepper.state, stepper.influence, stepper.gradient, stepper.loss
    assert stepper.step(np.full_like(x[1], np.nan), np.full_like(y[1], np.nan), active=0) == 0
    after = stepper.state, stepper.influence, stepper.gradient, stepper.loss
    for old, new in zip(before[:2], after[:2], strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(flat(old), flat(new), strict=True))
    same(after[2], before[2])
    assert after[3] == before[3]


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_a_stepper_s_reset_clears_what_is_no_number(recurrent_kernels, number) -> None:
    """A NaN that no loss hears of, and then a reset: nothing is left of it."""
    call = recurrent_kernels["vanilla_rnn"].recurrence
    streams = Streams.drawn(call, "vanilla_rnn", 7)
    x, y = streams.arrays
    bad = np.array(x[1])
    bad[2] = number
    weight, reset = np.full(BATCH, 0.25), np.zeros(BATCH)
    weight[2], reset[2] = 0, 1
    steppers = [call.stepper(streams.theta, batch=BATCH) for _ in range(2)]
    for stepper, second in zip(steppers, (bad, x[1]), strict=True):
        stepper.step(x[0], y[0])
        stepper.step(second, y[1], weight=weight)
        stepper.step(x[2], y[2], reset=reset)
        stepper.step(x[3], y[3])
    broken, clean = steppers
    same(broken.gradient, clean.gradient)
    assert broken.loss == clean.loss and np.array_equal(broken.state, clean.state)
    assert all(map(np.array_equal, broken.influence, clean.influence))


def test_a_restart_clears_what_is_no_number(recurrent_kernels) -> None:
    call = recurrent_kernels["vanilla_rnn"].recurrence
    streams = Streams.drawn(call, "vanilla_rnn", 8)
    x, y = streams.arrays
    stepper = call.stepper(streams.theta, batch=BATCH)
    stepper.step(np.full_like(x[0], np.inf), np.full_like(y[0], np.nan))
    assert np.isnan(stepper.loss) and np.isnan(stepper.gradient["prediction_c"]).any()
    stepper.update(streams.theta, influence="restart")
    assert stepper.loss == 0 and not any(
        np.any(a) for v in stepper.gradient.values() for a in flat(v)
    )
    assert not any(np.any(a) for a in stepper.influence)
    stepper.step(x[1], y[1], reset=1)
    assert np.isfinite(stepper.loss)
    assert all(np.isfinite(a).all() for v in stepper.gradient.values() for a in flat(v))


# --- totals


def test_a_step_returns_its_own_number_in_single_precision(recurrent_kernels) -> None:
    """Not the difference of two totals, which has no digits of it after a total of 5e8."""
    call = recurrent_kernels["vanilla_rnn"].recurrence
    streams = Streams.drawn(call, "vanilla_rnn", 9)
    theta = {key: np.float32(value) for key, value in streams.theta.items()}
    x, y = (np.float32(a) for a in streams.arrays)
    fresh, stepper = (call.stepper(theta, batch=BATCH) for _ in range(2))
    own = fresh.step(x[0], y[0])
    large = stepper.step(x[0], 2e4 + y[0])
    assert large > 5e8
    assert stepper.step(x[0], y[0], reset=1) == own > 0
    assert stepper.loss == large + own


def test_a_total_of_many_steps_has_every_digit(recurrent_kernels) -> None:
    """Sums of float32 losses in double precision, against the exact sum of what was returned."""
    call = recurrent_kernels["vanilla_rnn"].recurrence
    streams = Streams.drawn(call, "vanilla_rnn", 10)
    theta = {key: np.float32(value) for key, value in streams.theta.items()}
    x, y = (np.float32(a) for a in streams.arrays)
    stepper, exact = call.stepper(theta, batch=BATCH), Fraction(0)
    for k in range(3000):
        exact += Fraction(stepper.step(x[k % TIMES], y[k % TIMES] * (1e4 if k == 5 else 1)))
    assert abs(Fraction(stepper.loss) - exact) <= 2 * Fraction(2) ** -53 * exact


def test_the_losses_of_each_time_and_sample_add_up_to_J(recurrent_kernels) -> None:
    streams = Streams.drawn(recurrent_kernels["lstm"].recurrence, "lstm", 11)
    found = streams.call.gradient(streams.theta, *streams.arrays, weight=streams.masks["weight"])
    assert found.losses.shape == (TIMES, BATCH)
    assert not found.losses[streams.masks["weight"] == 0].any()
    assert abs(found.loss - found.losses.sum()) <= 8 * np.finfo(float).eps * abs(found.loss)
    for t in range(TIMES):  # a loss of one time alone, by its weight
        weight = np.zeros((TIMES, BATCH))
        weight[t] = streams.masks["weight"][t]
        alone = streams.call.loss(streams.theta, *streams.arrays, weight=weight)[0]
        assert abs(alone - found.losses[t].sum()) <= 8 * np.finfo(float).eps * abs(found.loss)


# --- shapes over time


@pytest.mark.parametrize("option", ["weight", "reset", "active"])
def test_an_array_over_time_is_not_broadcast_where_the_numbers_agree(
    recurrent_kernels, option
) -> None:
    """With as many times as samples one axis could be meant as either."""
    call = recurrent_kernels["vanilla_rnn"].recurrence
    network, rng = NETWORKS["vanilla_rnn"], np.random.default_rng(12)
    theta, arrays = parameters(network, rng), data(network, BATCH, BATCH, rng)
    sentence = rf"{option} has shape \(4,\), expected \(time, batch\) = \(4, 4\)"
    with pytest.raises(ValueError, match=sentence) as raised:
        call.gradient(theta, *arrays, **{option: np.ones(BATCH)})
    assert f"np.repeat({option}[:, None], 4, 1)" in str(raised.value)
    assert f"np.tile({option}, (4, 1))" in str(raised.value)
    stepper = call.stepper(theta, batch=BATCH)
    with pytest.raises(ValueError, match=rf"{option} has shape \(1, 4\), expected \(batch,\)"):
        stepper.step(*(a[0] for a in arrays), **{option: np.ones((1, BATCH))})
    assert stepper.steps == 0
