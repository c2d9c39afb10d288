"""How far gradients reach: D mu and the gradient of a late loss by the distance."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from linear_cells import linear
from sequence_points import BATCH, SIZES, STEPS, Array, kernels, parameters, sequences, turning

from derive import SpaceError, with_fixed
from derive.kernels.interpreting.evaluated import evaluated_module
from derive.library.networks import bidirectional_rnn, elman, lstm_classifier
from derive.runtime import edge
from derive.training.gradient_flow import flow_of_gradients, step_derivatives

EPS = float(np.finfo(float).eps)


# --- the norms of D mu


def test_for_a_linear_cell_it_is_the_norm_of_the_power() -> None:
    rng = np.random.default_rng(2)
    W, x = rng.normal(size=(4, 4)) / 2, rng.normal(size=(12, 3, 4))
    flow = flow_of_gradients(linear, {"cell_W": W}, x, kernels=kernels("linear"))
    for d in range(13):
        power = np.linalg.matrix_power(W, d)
        # d products of sums of four, each off by at most 4 eps of the norms; twice, for both sides
        bound = 2 * max(d, 1) * 4 * EPS * np.linalg.norm(W, 2) ** d * 2
        assert np.abs(flow.norm[d] - np.linalg.norm(power, 2)).max() <= bound
        assert np.abs(flow.frobenius[d] - np.linalg.norm(power)).max() <= 2 * bound
    assert flow.norm.shape == (13, 3) and flow.gradient is None


def differences(theta: dict[str, Any], x: Array, begun: Array) -> Array:
    """The derivative of an LSTM's last two states by the first two, by central differences."""
    forward, step, columns = kernels("lstm").recurrence.forward, 1e-6, []
    for e in np.eye(10):
        ends = []
        for t in (step, -step):
            moved = begun + t * e
            *_, last = forward(theta, x, initial=(moved[:5], moved[5:]))
            ends.append(np.concatenate(last))
        columns.append((ends[0] - ends[1]) / (2 * step))
    return np.stack(columns, axis=1)


# step^2 |D^3 mu| / 6 is below 1e-11 for gates of slope at most 1, and 2 eps / step below 5e-10
DIFFERENCE = 1e-9


def test_the_step_derivatives_are_differences_of_the_step() -> None:
    rng, net = np.random.default_rng(3), lstm_classifier
    theta, begun, x = net.flat(parameters(net)), rng.normal(size=10), rng.normal(size=(1, 3))
    states = (begun[:5], begun[5:])
    found = step_derivatives(net.cells[0].function, theta, states, [x[0]])
    assert np.abs(differences(theta, x, begun) - found).max() < DIFFERENCE


def test_fixed_arrays_are_read_where_the_cell_has_them() -> None:
    """The norms are those of the network that learns them."""
    (x, y), theta = sequences(), elman.flat(parameters())
    still = with_fixed(elman, "cell_W", "cell_b", "prediction_c")
    whole = flow_of_gradients(elman, theta, x, y, kernels=kernels("elman"))
    found = flow_of_gradients(still, theta, x, y, kernels=evaluated_module(still, edge))
    assert np.allclose(found.norm, whole.norm, 1e-12)
    assert np.allclose(found.gradient, whole.gradient, 1e-12, 1e-15)


def test_the_norms_are_those_of_differences_over_several_steps() -> None:
    """Steps that do not commute: D f_4 . D f_3 . D f_2 . D f_1."""
    rng, net = np.random.default_rng(3), lstm_classifier
    theta, begun, x = net.flat(parameters(net)), rng.normal(size=10), rng.normal(size=(4, 3))
    for name in ("cell_W", "cell_U"):
        theta[name] = 2 * theta[name]
    states = (begun[:5], begun[5:])
    flow = flow_of_gradients(net, theta, x, initial=states, kernels=kernels("lstm"))
    D_mu = differences(theta, x, begun)
    # a norm moves by no more than the Frobenius norm of the differences of 10 by 10 entries
    assert abs(flow.norm[4] - np.linalg.norm(D_mu, 2)) < 10 * DIFFERENCE
    assert abs(flow.frobenius[4] - np.linalg.norm(D_mu)) < 10 * DIFFERENCE


def test_the_gradient_of_bptt_is_the_adjoint_of_d_mu_at_the_error() -> None:
    """D_{h_t} J_T = D* mu . V* (V h_T + c - y_T), every factor taken on its own."""
    theta, (x, y) = elman.flat(parameters()), sequences()
    flow = flow_of_gradients(elman, theta, x, y, kernels=kernels("elman"))
    _, after, _ = kernels("elman").recurrence.forward(theta, x)
    before = np.concatenate([np.zeros((1, BATCH, 5)), after[:-1]])
    steps = step_derivatives(elman.cells[0].function, theta, before, [x])
    V, c = theta["prediction_V"], theta["prediction_c"]
    eps = (after[-1] @ V.T + c - y[-1]) @ V
    assert flow.gradient is not None
    for d in range(STEPS + 1):
        expected = np.linalg.norm(eps, axis=-1)
        # sums of five terms over at most seven steps, none of which cancels to below a hundredth
        assert np.abs(flow.gradient[d] - expected).max() < 1e-12 * expected.max()
        eps = np.einsum("bij,bi->bj", steps[STEPS - 1 - d], eps) if d < STEPS else eps


def test_no_gradient_is_longer_than_d_mu_allows() -> None:
    """||D* mu . e|| <= ||D mu|| ||e||, for direct products and from a learned initial state."""
    (x, y), rng = sequences(), np.random.default_rng(9)
    theta = turning.flat(turning.initial(rng, SIZES)) | {"s_0": tuple(rng.normal(size=(2, 5)))}
    flow = flow_of_gradients(turning, theta, x, y, kernels=kernels("turning"))
    assert flow.gradient is not None and flow.norm.shape == (STEPS + 1, BATCH)
    assert (flow.gradient > 0).all()
    # both sides are products of at most seven steps, each of sums of a few terms
    assert (flow.gradient <= flow.norm * flow.gradient[0] * (1 + 100 * EPS)).all()


def test_a_batch_is_its_sequences() -> None:
    theta, (x, y) = elman.flat(parameters()), sequences()
    whole = flow_of_gradients(elman, theta, x, y, kernels=kernels("elman"))
    one = flow_of_gradients(elman, theta, x[:, 2], y[:, 2], kernels=kernels("elman"))
    assert one.norm.shape == (STEPS + 1,) and one.gradient is not None
    for a, b in [(whole.norm, one.norm), (whole.gradient, one.gradient)]:
        assert a is not None
        # the same sums of at most eight terms over seven steps, in another order
        assert np.abs(a[:, 2] - b).max() <= 100 * EPS * b.max()


def decay_at_50(network: Any, name: str, target: Array, seed: int) -> Array:
    """The logarithms of ||D mu|| and of the share of the gradient that is left, over 50 steps."""
    rng = np.random.default_rng(seed)
    theta = network.initial(rng, {**SIZES, "n": 16})
    if name == "lstm":
        theta["cell"]["b"][1] = 1  # of the forget gate
    x = rng.normal(size=(50, 2, 3))
    flow = flow_of_gradients(network, network.flat(theta), x, target, kernels=kernels(name))
    assert flow.gradient is not None
    assert np.abs(flow.per_step(50) ** 50 / flow.norm[50] - 1).max() < 100 * EPS  # a root, a power
    return np.log([flow.norm[50], flow.gradient[50] / flow.gradient[0]]).mean(axis=1)


def test_an_lstm_with_forget_bias_one_decays_slower_than_a_vanilla_cell() -> None:
    """At distance 50, the geometric mean of eight draws: that of one vanilla W scatters widely."""
    rng = np.random.default_rng(10)
    y, k = rng.normal(size=(50, 2, 4)), rng.integers(4, size=(50, 2))
    vanilla = np.mean([decay_at_50(elman, "elman", y, seed) for seed in range(8)], axis=0)
    lstm = np.mean([decay_at_50(lstm_classifier, "lstm", k, seed) for seed in range(8)], axis=0)
    assert (lstm > vanilla + np.log(3)).all()


def test_a_table_is_printed() -> None:
    theta, (x, _) = elman.flat(parameters()), sequences()
    flow = flow_of_gradients(elman, theta, x, kernels=kernels("elman"))
    head, columns, *rows = str(flow).splitlines()
    assert head == "elman" and columns.endswith("||D mu||_F")
    assert [int(row.split()[0]) for row in rows] == [0, 1, 2, 5]
    assert float(rows[0].split()[1]) == 1 and float(rows[0].split()[2]) == 2.236  # sqrt(5)


def test_a_distance_of_no_step_has_no_factor() -> None:
    theta, (x, _) = elman.flat(parameters()), sequences()
    flow = flow_of_gradients(elman, theta, x, kernels=kernels("elman"))
    for distance in (0, len(flow.norm)):
        with pytest.raises(ValueError, match=r"elman: a distance is 1, \.\., \d+ steps, got"):
            flow.per_step(distance)


def test_what_has_no_flow_is_refused() -> None:
    with pytest.raises(SpaceError, match=r"backward \(backward in time\)"):
        flow_of_gradients(bidirectional_rnn, {}, np.zeros((3, 2, 3)))


def test_nothing_is_drawn_in_training() -> None:
    code = (
        "import derive.training.gradient_flow, derive.training.sequence_fit, sys;"
        "sys.exit('matplotlib' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
