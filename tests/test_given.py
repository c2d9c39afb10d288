"""What a person gives of a network's arguments: defaults, and sentences about what does not fit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from recurrent_networks import NETWORKS, data, distance, parameters

METHODS = 1e-12  # as in test_sequences


def made(kernels: Any, name: str, times: int = 5, batch: int = 3) -> Any:
    rng = np.random.default_rng(4)
    theta = parameters(NETWORKS[name], rng)
    return kernels[name].recurrence, theta, data(NETWORKS[name], times, batch, rng)


@pytest.mark.parametrize("method", ["rtrl", "hybrid"])
def test_no_gradient_goes_through_a_state_that_is_given(recurrent_kernels, method) -> None:
    """Neither to the parameters before it, nor to a learned initial state."""
    call, theta, (x, y) = made(recurrent_kernels, "vanilla_rnn")
    sizes = {"block": 2} if method == "hybrid" else {}
    state = np.ones((3, call.sizes(theta)["n"])) / 2
    found = call.gradient(theta, x, y, method=method, state=state, **sizes)
    expected = call.gradient(theta, x, y, state=state)
    assert not found.by["h_0"].any() and not expected.by["h_0"].any()
    del found.by["h_0"], expected.by["h_0"]
    assert distance(found.by, expected.by) <= METHODS


def test_a_state_of_arrays_of_other_ranks(recurrent_kernels) -> None:
    """A direct product of a vector and a number, one for each sample or for all."""
    call, theta, arrays = made(recurrent_kernels, "counting")
    whole = call.gradient(theta, *arrays)
    assert [np.shape(a) for a in whole.by["s_0"]] == [(3,), ()]
    pieces = [call.gradient(theta, *(a[:2] for a in arrays), method="rtrl")]
    pieces.append(
        call.gradient(
            theta,
            *(a[2:] for a in arrays),
            method="rtrl",
            state=pieces[0].last,
            influence=pieces[0].influence,
        )
    )
    total = sum(piece.by["cell_W"] for piece in pieces)
    assert np.abs(total - whole.by["cell_W"]).max() <= METHODS * np.abs(total).max()


def test_without_a_loss_there_is_the_forward_pass_alone(recurrent_kernels) -> None:
    call, theta, (x,) = made(recurrent_kernels, "silent")
    begun = call.forward(theta, x)[0]
    zero = call.forward({**theta, "h_0": 0 * theta["h_0"]}, x)[0]
    assert np.abs(begun - zero).max() > 1e-3  # the learned initial state is used
    for call_ in (lambda: call.gradient(theta, x), lambda: call.loss(theta, x)):
        with pytest.raises(ValueError, match="has no loss; give it one by with_loss"):
            call_()
    with pytest.raises(ValueError, match="rtrl does not apply: the network has no loss"):
        call.stepper(theta)


TIMED = r"\(time, batch\) = \(5, 3\)"
WRONG = [
    ({"weight": np.ones((3, 5))}, ValueError, r"weight has shape \(3, 5\), expected " + TIMED),
    ({"active": np.ones((3, 5))}, ValueError, r"active has shape \(3, 5\), expected " + TIMED),
    ({"reset": np.ones(4)}, ValueError, r"reset has shape \(4,\), expected " + TIMED),
    ({"weight": np.ones(5)}, ValueError, rf"{TIMED}.* give np.repeat\(weight\[:, None\], 3, 1\)"),
    ({"reset": np.ones(3)}, ValueError, rf"{TIMED}.* give np.tile\(reset, \(5, 1\)\)"),
    ({"active": np.ones((5, 1))}, ValueError, rf"active has shape \(5, 1\), expected {TIMED}"),
    ({"lengths": [1.0, 2.0, 3.0]}, ValueError, "lengths are whole numbers"),
    ({"lengths": [1, 2, 6]}, ValueError, "a length is between 0 and 5"),
    ({"lengths": [1, 2, 3], "active": np.ones((5, 3))}, TypeError, "lengths or active, not both"),
    ({"initial": np.zeros((2, 2, 2))}, ValueError, "initial: h_0 has shape"),
    ({"state": (np.zeros(3), np.zeros(3))}, ValueError, "state: expected 1 arrays, got 2"),
    ({"influence": ("junk",)}, TypeError, "influence belongs to rtrl and hybrid"),
    ({"method": "rtrl", "influence": np.ones(3)}, ValueError, "influence is a tuple of 2 arrays"),
    ({"method": "hybrid"}, TypeError, "hybrid needs block"),
    ({"method": "hybrid", "block": "2"}, ValueError, "block is a whole number from 1 on, got '2'"),
    ({"method": "hybrid", "block": 0}, ValueError, "block is a whole number from 1 on, got 0"),
    (
        {"method": "truncated_bptt", "every": 3, "down": 2},
        ValueError,
        "down must be at least every",
    ),
    ({"method": "bbtt"}, ValueError, "the method is one of"),
    ({"wait": 1}, TypeError, "no option is called wait"),
]


@pytest.mark.parametrize(("options", "error", "sentence"), WRONG, ids=lambda v: str(v)[:40])
def test_what_does_not_fit_is_said(recurrent_kernels, options, error, sentence) -> None:
    call, theta, (x, y) = made(recurrent_kernels, "vanilla_rnn")
    before = [x.copy(), y.copy(), {k: v.copy() for k, v in theta.items()}]
    with pytest.raises(error, match=f"vanilla_rnn_net: .*{sentence}"):
        call.gradient(theta, x, y, **options)
    assert np.array_equal(x, before[0]) and np.array_equal(y, before[1])
    assert all(np.array_equal(theta[k], v) for k, v in before[2].items())


def test_arrays_that_are_missing_or_of_other_axes_are_said(recurrent_kernels) -> None:
    call, theta, (x, y) = made(recurrent_kernels, "vanilla_rnn")
    with pytest.raises(ValueError, match="theta lacks cell_b"):
        call.gradient({k: v for k, v in theta.items() if k != "cell_b"}, x, y)
    with pytest.raises(TypeError, match="expected the targets y, got 0"):
        call.gradient(theta, x)
    with pytest.raises(TypeError, match="expected the inputs x, got 0"):
        call.forward(theta)
    with pytest.raises(ValueError, match=r"x has shape \(\), expected \(steps, batch, m\)"):
        call.gradient(theta, 3.0, y)
    with pytest.raises(ValueError, match="initial is a tuple of 2 states, one for a cell"):
        ways, both, arrays = made(recurrent_kernels, "two_ways")
        ways.gradient(both, *arrays, initial=np.zeros(3))


def test_a_size_that_the_input_alone_shows(recurrent_kernels) -> None:
    """A state R(n, p) whose parameters know n alone: p is read off the input."""
    call, theta, arrays = made(recurrent_kernels, "columns")
    expected = call.gradient(theta, *arrays)
    assert distance(call.gradient(theta, *arrays, method="rtrl").by, expected.by) <= METHODS
    with pytest.raises(ValueError, match="the size p of h_0 is shown by no parameter"):
        call.stepper(theta, batch=3)


def test_a_cell_without_parameters(recurrent_kernels) -> None:
    """The influence is nothing, and every method is exact."""
    call, theta, arrays = made(recurrent_kernels, "bare")
    assert call.influence == () and call.online
    expected = call.gradient(theta, *arrays)
    for method, sizes in (("rtrl", {}), ("hybrid", {"block": 2})):
        assert distance(call.gradient(theta, *arrays, method=method, **sizes).by, expected.by) == 0
    stepper = call.stepper(theta, batch=3)
    for t in range(5):
        stepper.step(*(a[t] for a in arrays))
    assert distance(stepper.gradient, expected.by) <= METHODS
