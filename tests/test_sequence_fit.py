"""Gradient descent on sequences: the loss, the update rule, rates, clipping, batches."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from recurrent_networks import NETWORKS
from sequence_points import SIZES, STEPS, Array, kernels, parameters, sequences, turning

from derive import Adam, GradientDescent, NotFinite, fit
from derive.language.reference import flat_arrays
from derive.library.networks import elman
from derive.training.gradient_flow import flow_of_gradients
from derive.training.parameters import leaves, map_tree
from derive.training.sequence_fit import SequenceGradient, sequence_descent

EPS = float(np.finfo(float).eps)


# --- the loss over a sequence, the update rule, the rate


def test_the_loss_is_the_sum_over_the_times() -> None:
    """L = sum_t l(y_t, y^_t); with J_R it is T k / 2 times the mean squared error."""
    theta, (x, y) = elman.flat(parameters()), sequences()
    recurrence = kernels("elman").recurrence
    predicted, _, _ = recurrence.forward(theta, x)
    whole, _ = recurrence.loss(theta, x, y)
    mse = np.mean((predicted - y) ** 2)
    # 168 squares are added, none negative
    assert abs(whole - STEPS * 4 / 2 * mse) <= 168 * EPS * whole
    parts, state = 0.0, None
    for t in range(STEPS):
        loss, state = recurrence.loss(theta, x[t : t + 1], y[t : t + 1], state=state)
        parts += loss
    assert abs(whole - parts) <= 168 * EPS * whole


@pytest.mark.parametrize(
    "options", [{"method": "bptt"}, {"method": "rtrl"}, {"method": "hybrid", "block": 3}]
)
@pytest.mark.parametrize("decay", [0.0, 0.3])
def test_one_iteration_is_the_update_rule(options: dict[str, Any], decay: float) -> None:
    """theta_new = theta_old - eta (grad + decay theta_old): Algorithms 5.1.1 and 5.1.2."""
    theta, (x, y) = parameters(), sequences()
    old = {name: np.copy(a) for name, a in elman.flat(theta).items()}
    new = elman.flat(
        sequence_descent(kernels("elman"), theta, x, y, eta=0.1, decay=decay, **options)
    )
    bars = kernels("elman").recurrence.gradient(old, x, y).by
    for name in old:
        expected = old[name] - 0.1 * (bars[name] + decay * old[name])
        assert np.abs(new[name] - expected).max() < 1e-13 * np.abs(bars[name]).max(), name
        assert (elman.flat(theta)[name] == old[name]).all()


def test_products_and_a_learned_state_are_updated_too() -> None:
    x, y = sequences()
    rng = np.random.default_rng(4)
    theta = turning.initial(rng, SIZES) | {"s_0": tuple(rng.normal(size=(2, 5)))}
    flat = turning.flat(theta)
    new = sequence_descent(kernels("turning"), theta, x, y, eta=0.1, method="rtrl")
    bars = kernels("turning").recurrence.gradient(flat, x, y).by
    for k in (0, 1):
        for before, after, bar in [
            (theta["s_0"][k], new["s_0"][k], bars["s_0"][k]),
            (theta["cell"]["U"][k], new["cell"]["U"][k], bars["cell_U"][k]),
        ]:
            assert np.abs(bar).max() > 0.01
            assert np.abs(after - (before - 0.1 * bar)).max() < 1e-13


def test_a_rate_is_right_or_stalls_or_diverges() -> None:
    """100 steps: at 0.01 the loss falls by a third, at 1e-6 by less than 1 %; at 2 it diverges."""
    x, y = sequences()
    losses = {}
    for eta in (0.01, 1e-6):
        gradient = SequenceGradient(kernels("elman"))
        losses[eta] = fit(gradient, parameters(), [(x, y)] * 100, GradientDescent(eta))
    assert losses[0.01][-1] < 2 / 3 * losses[0.01][0]
    assert 0.99 * losses[1e-6][0] < losses[1e-6][-1] < losses[1e-6][0]
    with np.errstate(over="ignore", invalid="ignore"), pytest.raises(NotFinite, match="step"):
        fit(SequenceGradient(kernels("elman")), parameters(), [(x, y)] * 1000, GradientDescent(2.0))


def test_clipping_keeps_an_exploding_network_finite() -> None:
    """That it learns shows in means: the path is chaotic, and rounding decides where it ends."""
    x, y = sequences(60)
    theta = elman.initial(np.random.default_rng(6), {**SIZES, "n": 24})
    theta["cell"]["W"] *= 2.5
    flow = flow_of_gradients(elman, elman.flat(theta), x, y, kernels=kernels("elman"))
    assert flow.norm[50].max() > 1e3
    gradient, batches = SequenceGradient(kernels("elman")), [(x, y)] * 400
    with np.errstate(over="ignore", invalid="ignore"), pytest.raises(NotFinite):
        fit(gradient, copied(theta), batches, GradientDescent(0.1))
    losses = fit(gradient, copied(theta), batches, GradientDescent(0.1), clip_norm=0.1)
    assert np.isfinite(losses).all() and np.mean(losses[-50:]) < np.mean(losses[:50])


def copied(theta: dict[str, dict[str, Array]]) -> dict[str, dict[str, Array]]:
    """A copy of a tree of parameters."""
    return {label: {name: a.copy() for name, a in part.items()} for label, part in theta.items()}


# --- batches


def test_a_batch_has_options_of_its_own() -> None:
    x, y = sequences()
    lengths = np.array([7, 0, 1, 3, 5, 2])
    bars = kernels("elman").recurrence.gradient(elman.flat(parameters()), x, y, lengths=lengths)
    theta = parameters()
    fit(
        SequenceGradient(kernels("elman")),
        theta,
        [(x, y, {"lengths": lengths})],
        GradientDescent(1.0),
    )
    before, after = elman.flat(parameters()), elman.flat(theta)
    for name, bar in bars.by.items():
        assert np.abs(before[name] - after[name] - bar).max() <= 8 * EPS * (1 + np.abs(bar).max())


def test_streams_are_carried_from_piece_to_piece() -> None:
    """At a rate of nearly zero the pieces' losses add up to that of the whole, when carried."""
    x, y = sequences()
    whole, _ = kernels("elman").recurrence.loss(elman.flat(parameters()), x, y)
    pieces = [(x[:3], y[:3]), (x[3:], y[3:])]
    sums = {}
    for carried in (True, False):
        gradient = SequenceGradient(kernels("elman"), carried=carried)
        sums[carried] = sum(fit(gradient, parameters(), pieces, GradientDescent(1e-15)))
        gradient.restart()
        assert gradient.state is None
    # a step of 1e-15 times a gradient below 1e3 moves the loss by less than 1e-9
    assert abs(sums[True] - whole) < 1e-9 * whole < 1e-3 * whole < abs(sums[False] - whole)


def test_a_missing_parameter_is_named() -> None:
    x, y = sequences()
    theta = parameters()
    del theta["prediction"]["V"]
    with pytest.raises(ValueError, match="expected the parameter prediction_V"):
        fit(SequenceGradient(kernels("elman")), theta, [(x, y)], Adam(0.1))


# --- what is fixed


def still_task(name: str) -> tuple[Any, dict[str, Any], Array, Array]:
    """A network with fixed arrays, a tree without zeros, a sequence."""
    network = NETWORKS[name]
    rng = np.random.default_rng(2)
    sizes = {str(size): 3 + k for k, size in enumerate(network.sizes)}
    theta = map_tree(
        lambda a: a if a.dtype.kind == "i" else a + 0.1 * rng.normal(size=a.shape),
        network.initial(rng, sizes),
    )
    k = network.levels[-1].prediction.function.output.space.shape[0]
    x, y = rng.normal(size=(6, 4, sizes["m"])), rng.normal(size=(6, 4, sizes[str(k)]))
    return network, theta, x, y


@pytest.mark.parametrize("method", [{}, {"method": "rtrl"}, {"method": "hybrid", "block": 4}])
@pytest.mark.parametrize("name", ["reservoir", "leaking", "shuffling"])
def test_what_is_fixed_is_never_trained_over_a_sequence(recurrent_kernels, name, method) -> None:
    """Not by the gradient, not by weight decay; class indices stay integers."""
    network, theta, x, y = still_task(name)
    before, optimiser = map_tree(np.copy, network.flat(theta)), Adam(0.03, decay=0.1)
    gradient = SequenceGradient(recurrent_kernels[name], **method)
    losses = fit(gradient, theta, [(x, y)] * 60, optimiser, clip_norm=1.0)
    assert losses[-1] < 0.9 * losses[0]
    after, still = network.flat(theta), {v.name for v in network.fixed}
    for key, array in after.items():
        pairs = zip(flat_arrays(array), flat_arrays(before[key]), strict=True)
        assert all(np.array_equal(a, b) == (key in still) for a, b in pairs), key
    moments = {key.replace(".", "_") for key, _ in leaves(optimiser.state["first_moment"])}
    assert moments and not any(key.startswith(name) for key in moments for name in still)


def test_one_iteration_leaves_what_is_fixed(recurrent_kernels) -> None:
    network, theta, x, y = still_task("leaking")
    new = sequence_descent(recurrent_kernels["leaking"], theta, x, y, eta=0.1, decay=0.3)
    bars = recurrent_kernels["leaking"].recurrence.gradient(network.flat(theta), x, y).by
    old, after = network.flat(theta), network.flat(new)
    for name, array in old.items():
        change = 0.1 * (bars[name] + 0.3 * array) if name in bars else 0 * array
        assert np.abs(array - change - after[name]).max() <= 1e-14, name
