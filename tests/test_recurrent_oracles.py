"""Recurrent kernels against PyTorch, and against a trace of a GRU that is derived by hand.

Both sides sum the same terms in another order: 20 steps, some 60 roundings each, relative to the
largest entry of a group: 20 * 60 * eps / 2 = 1.3e-13, 1e-12 with what cancels.
"""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np
import pytest
from recurrent_networks import ONLINE, data, distance, parameters

CLOSE = 1e-12
HAS_TORCH = importlib.util.find_spec("torch") is not None
oracle = pytest.mark.skipif(not HAS_TORCH, reason="needs PyTorch, the extra 'oracle'")


def torch_network(name: str, theta: Any, n: int, m: int) -> Any:
    """PyTorch's module with the same parameters, in float64."""
    import torch

    kind = {"vanilla_rnn": "RNN", "lstm": "LSTM", "gru": "GRU"}[name]
    module = getattr(torch.nn, kind)(m, n).double()
    hidden_bias = np.zeros(theta["cell_b"].size)
    if name == "gru":
        hidden_bias[2 * n :] = theta["cell_c"]
    values = {
        "weight_ih_l0": theta["cell_U"].reshape(-1, m),
        "weight_hh_l0": theta["cell_W"].reshape(-1, n),
        "bias_ih_l0": theta["cell_b"].reshape(-1),
        "bias_hh_l0": hidden_bias,
    }
    with torch.no_grad():
        for key, value in values.items():
            getattr(module, key).copy_(torch.from_numpy(np.ascontiguousarray(value)))
    return module


@oracle
@pytest.mark.parametrize("name", ["vanilla_rnn", "lstm", "gru"])
@pytest.mark.parametrize("method", ["bptt", "rtrl", "hybrid"])
def test_pytorch_has_the_same_states_and_gradients(recurrent_kernels, name, method) -> None:
    import torch

    rng = np.random.default_rng(3)
    call, theta = recurrent_kernels[name].recurrence, parameters(ONLINE[name], rng)
    x, y = data(ONLINE[name], 20, 4, rng)
    n, m = call.sizes(theta)["n"], call.sizes(theta)["m"]
    module = torch_network(name, theta, n, m)
    initial = theta[call.initial[0]]
    rows = [torch.tensor(np.broadcast_to(a, (1, 4, n)).copy()) for a in _parts(initial)]
    for row in rows:
        row.requires_grad_(True)
    V, c = (torch.tensor(theta[f"prediction_{k}"], requires_grad=True) for k in "Vc")
    inputs = torch.tensor(x, requires_grad=True)
    states, _ = module(inputs, tuple(rows) if len(rows) > 1 else rows[0])
    loss = ((states @ V.T + c - torch.tensor(y)) ** 2).sum() / 2 / 4
    loss.backward()
    sizes = {"block": 6} if method == "hybrid" else {}
    found = call.gradient(theta, x, y, method=method, **sizes)
    assert abs(found.loss - loss.item()) <= CLOSE * loss.item()
    bars = {key: parameter.grad.numpy() for key, parameter in module.named_parameters()}
    starts = tuple(row.grad.numpy()[0].sum(axis=0) for row in rows)
    expected = {
        "cell_W": bars["weight_hh_l0"].reshape(theta["cell_W"].shape),
        "cell_U": bars["weight_ih_l0"].reshape(theta["cell_U"].shape),
        "cell_b": bars["bias_ih_l0"].reshape(theta["cell_b"].shape),
        "prediction_V": V.grad.numpy(),
        "prediction_c": c.grad.numpy(),
        call.initial[0]: starts if len(starts) > 1 else starts[0],
    }
    if name == "gru":
        expected["cell_c"] = bars["bias_hh_l0"][2 * n :]
    assert distance(found.by, expected) <= CLOSE
    if method == "bptt":
        by_input = inputs.grad.numpy()
        assert np.abs(found.by_input["x"] - by_input).max() <= CLOSE * np.abs(by_input).max()


def _parts(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


# --- a trace by hand


def sigma(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def reset_trace(theta: Any, x: np.ndarray, h: np.ndarray, slip: str = "") -> np.ndarray:
    """d h_T / d W_r of the GRU with the reset before the product, by a recursion written by hand.

    trace_t = (D f) trace_{t-1} + diag(1 - z) diag(n') V diag(h r') (x) h, where r' is the slope of
    the reset gate; `slip` makes one of two mistakes that are found in published code.
    """
    (W_r, W_z), (U_r, U_z, U_n) = theta["cell_W"], theta["cell_U"]
    (b_r, b_z, b_n), V = theta["cell_b"], theta["cell_V"]
    size = h.size
    trace = np.zeros((size, size, size))
    for x_t in x:
        a = W_r @ h + U_r @ x_t + b_r
        r, z = sigma(a), sigma(W_z @ h + U_z @ x_t + b_z)
        n = np.tanh(V @ (r * h) + U_n @ x_t + b_n)
        slope = sigma(a) * sigma(1 - a) if slip == "slope of the sigmoid" else r * (1 - r)
        through = W_z if slip == "kernel of the other gate" else W_r
        gain = (1 - z) * (1 - n**2)
        D = (
            np.diag(z)
            + ((h - n) * z * (1 - z))[:, None] * W_z
            + gain[:, None] * (V @ (np.diag(r) + (h * slope)[:, None] * through))
        )
        immediate = gain[:, None] * V * (h * slope)
        trace = np.einsum("ij,jkl->ikl", D, trace) + immediate[:, :, None] * h
        h = (1 - z) * n + z * h
    return trace


def influence_of_reset_weights(kernels: Any) -> tuple[np.ndarray, Any, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(8)
    name = "gru_reset_before"
    call, theta = kernels[name].recurrence, parameters(ONLINE[name], rng)
    x, y = (a[:, 0] for a in data(ONLINE[name], 12, 1, rng))
    found = call.gradient(theta, x, y, method="rtrl")
    n = call.sizes(theta)["n"]
    return found.influence[0][:, : n * n].reshape(n, n, n), theta, x, theta[call.initial[0]]


def test_the_trace_of_the_reset_weights_is_the_one_derived_by_hand(recurrent_kernels) -> None:
    """Online rules that drop the reset weights would have zero here."""
    found, theta, x, h = influence_of_reset_weights(recurrent_kernels)
    expected = reset_trace(theta, x, h)
    assert np.abs(expected).max() > 1e-3
    assert np.abs(found - expected).max() <= CLOSE * np.abs(expected).max()


@pytest.mark.parametrize("slip", ["slope of the sigmoid", "kernel of the other gate"])
def test_two_slips_of_published_traces_are_caught(recurrent_kernels, slip) -> None:
    found, theta, x, h = influence_of_reset_weights(recurrent_kernels)
    slipped = reset_trace(theta, x, h, slip)
    assert np.abs(found - slipped).max() > 1e3 * CLOSE * np.abs(found).max()


def test_reset_weights_by_rtrl_are_those_of_bptt(recurrent_kernels) -> None:
    rng = np.random.default_rng(9)
    name = "gru_reset_before"
    call, theta = recurrent_kernels[name].recurrence, parameters(ONLINE[name], rng)
    arrays = data(ONLINE[name], 30, 2, rng)
    online, exact = (call.gradient(theta, *arrays, method=m).by["cell_W"] for m in ("rtrl", "bptt"))
    for gate in range(2):
        largest = np.abs(exact[gate]).max()
        assert largest > 0 and np.abs(online[gate] - exact[gate]).max() <= CLOSE * largest
