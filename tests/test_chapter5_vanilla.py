"""The algorithms of the thesis for the vanilla RNN (section 5.2) and the compiled kernels.

Everything expected is written in NumPy from the thesis: Psi' as 1 - tanh^2, sums over indices as
they stand there.
"""

from functools import cache
from typing import Any

import numpy as np
import pytest

from derive import GradientDescent, Layer, recurrent, variable
from derive.language.reference import value
from derive.library.losses import cross_entropy
from derive.library.networks import elman
from derive.library.rnn import readout, vanilla_rnn

# The two sides add the same products over 7 steps in another order; what cancels in a sum is less
# than a factor 100: 1e-12 relative to the largest entry of the group leaves a factor 10.
EXACT = 1e-12
SIZES = {"n": 3, "m": 4, "prediction_k": 5}
STEPS = 7
ETA = 0.1

# --- the network and its algorithms by hand


@cache
def recurrence(loss: str) -> Any:
    """The compiled kernels with that loss."""
    if loss == "squared":
        return elman.compile().recurrence
    net = recurrent("elman_of_classes", vanilla_rnn, prediction=readout, loss=cross_entropy)
    return net.compile().recurrence


@cache
def data(loss: str) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray, np.ndarray]:
    """theta by the thesis's letters, the initial state, x_1 .. x_L and y_1 .. y_L."""
    rng = np.random.default_rng(12)
    theta = elman.flat(elman.initial(rng, SIZES))
    short = {
        name.rsplit("_", 1)[1]: a + 0.1 * rng.normal(size=a.shape) for name, a in theta.items()
    }
    h, x = rng.normal(size=3), rng.normal(size=(STEPS, 4))
    y = rng.normal(size=(STEPS, 5)) if loss == "squared" else rng.dirichlet(np.ones(5), STEPS)
    return short, h, x, y


def error(loss: str, predicted: np.ndarray, y: np.ndarray) -> np.ndarray:
    """e_i (5.9)."""
    if loss == "squared":
        return predicted - y
    exponentials = np.exp(predicted)
    return exponentials / exponentials.sum() - y


def forwards(loss: str) -> tuple[list, list, list]:
    """Lines 5 to 12 of both algorithms: h_0 .. h_L, Psi'(z_i) and e_i."""
    p, h, x, y = data(loss)
    states, slopes, errors = [h], [], []
    for x_i, y_i in zip(x, y, strict=True):
        z = p["W"] @ states[-1] + p["U"] @ x_i + p["b"]
        states.append(np.tanh(z))
        slopes.append(1 - np.tanh(z) ** 2)
        errors.append(error(loss, p["V"] @ states[-1] + p["c"], y_i))
    return states, slopes, errors


def prediction_gradients(states: list, errors: list) -> dict[str, np.ndarray]:
    """Lines 13 and 14 of algorithm 5.2.1, 24 and 25 of algorithm 5.2.2."""
    pairs = list(zip(errors, states[1:], strict=True))
    return {"c": sum(errors), "V": sum(np.outer(e, h) for e, h in pairs)}


def algorithm_5_2_1(loss: str) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The gradients by BPTT, and D_{h_0} J."""
    p, _, x, _ = data(loss)
    states, slopes, errors = forwards(loss)
    found = {name: np.zeros_like(p[name]) for name in "WUb"}
    eps, slope_after = np.zeros(3), np.zeros(3)
    for i in range(STEPS, 0, -1):
        eps = p["W"].T @ (slope_after * eps) + p["V"].T @ errors[i - 1]  # (5.39)
        slope_after = slopes[i - 1]
        found["b"] += slope_after * eps
        found["W"] += np.outer(slope_after * eps, states[i - 1])
        found["U"] += np.outer(slope_after * eps, x[i - 1])
    return found | prediction_gradients(states, errors), p["W"].T @ (slope_after * eps)


def algorithm_5_2_2(loss: str) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The gradients by RTRL, and A_{L,j} for every parameter, j first."""
    p, _, x, _ = data(loss)
    states, slopes, errors = forwards(loss)
    A = {name: np.zeros((3, *p[name].shape)) for name in "WUb"}
    found = {name: np.zeros_like(p[name]) for name in "WUb"}
    basis = np.eye(3)
    for i in range(1, STEPS + 1):
        new = {name: np.zeros_like(A[name]) for name in "WUb"}
        for j in range(3):
            v_ij = slopes[i - 1] * basis[j]
            a = [(p["W"] @ basis[k]) @ v_ij for k in range(3)]
            sums = {name: sum(a[k] * A[name][k] for k in range(3)) for name in "WUb"}
            new["W"][j] = sums["W"] + np.outer(v_ij, states[i - 1])  # (5.43)
            new["U"][j] = sums["U"] + np.outer(v_ij, x[i - 1])  # (5.44)
            new["b"][j] = sums["b"] + v_ij  # (5.45)
        A = new
        for name in "WUb":  # (5.46)
            read = [basis[j] @ (p["V"].T @ errors[i - 1]) for j in range(3)]
            found[name] += sum(read[j] * A[name][j] for j in range(3))
    return found | prediction_gradients(states, errors), A


# --- the kernels


def theta_of(p: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The parameters under their names in the network."""
    label = {"V": "prediction", "c": "prediction"}
    return {f"{label.get(name, 'cell')}_{name}": array for name, array in p.items()}


def by_kernels(loss: str, method: str, **options: Any) -> Any:
    p, h, x, y = data(loss)
    return recurrence(loss).gradient(theta_of(p), x, y, method=method, initial=h, **options)


def relative(found: np.ndarray, expected: np.ndarray) -> float:
    """The largest error relative to the largest entry of the group."""
    assert np.shape(found) == np.shape(expected)
    return float(np.abs(found - expected).max() / np.abs(expected).max())


METHODS = {"bptt": {}, "rtrl": {}, "hybrid": {"block": 3}}
losses = pytest.mark.parametrize("loss", ["squared", "cross-entropy"])


@losses
@pytest.mark.parametrize("method", METHODS)
def test_the_kernels_are_algorithms_5_2_1_and_5_2_2(loss: str, method: str) -> None:
    """Theorems 5.2.3 and 5.2.4, and (5.42) to (5.46), by both algorithms and by each method."""
    found = by_kernels(loss, method, **METHODS[method]).by
    for expected in (algorithm_5_2_1(loss)[0], algorithm_5_2_2(loss)[0]):
        assert theta_of(expected).keys() == found.keys()
        for name, gradient in theta_of(expected).items():
            assert relative(found[name], gradient) < EXACT, name


@losses
def test_the_gradient_by_the_initial_state(loss: str) -> None:
    """D* f_1(h_0) . D_{h_1} J, which is (5.39) at i = 0 where there is no loss."""
    expected = algorithm_5_2_1(loss)[1]
    (found,) = by_kernels(loss, "bptt").by_initial.values()
    assert relative(found, expected) < EXACT


@losses
@pytest.mark.parametrize("method", ["rtrl", "hybrid"])
def test_the_influence_holds_the_A_of_the_thesis(loss: str, method: str) -> None:
    """Row j of J is A_{L,j} of W, U and b, side by side (5.40)."""
    (J,) = by_kernels(loss, method, **METHODS[method]).influence
    A = algorithm_5_2_2(loss)[1]
    expected = np.concatenate([A[name].reshape(3, -1) for name in "WUb"], axis=1)
    assert relative(J, expected) < EXACT


@losses
def test_the_total_loss(loss: str) -> None:
    """The sum of the losses of the steps (5.4)."""
    p, _, _, y = data(loss)
    states = forwards(loss)[0]
    predicted = [p["V"] @ h + p["c"] for h in states[1:]]
    if loss == "squared":
        expected = sum((a - b) @ (a - b) / 2 for a, b in zip(predicted, y, strict=True))
    else:
        logs = [a - np.log(np.exp(a).sum()) for a in predicted]
        expected = -sum(b @ log for b, log in zip(y, logs, strict=True))
    assert abs(by_kernels(loss, "rtrl").loss - expected) <= EXACT * abs(expected)


# --- one step of gradient descent (algorithms 5.1.1 and 5.1.2), with the single-layer maps


def maps_of(loss: str, i: int, layer: Layer, h: np.ndarray, by: str, u: np.ndarray) -> np.ndarray:
    """D* or nabla* of f_i or g at a state, by the calculus, applied to u."""
    p, _, x, _ = data(loss)
    adjoint = layer.derivative(by).adjoint
    cotangent = variable("u", adjoint.domain)
    named = {**p, "h": h, "x": x[i - 1]}
    values = {a.variable: named[a.name] for a in layer.arguments}
    return value(adjoint @ cotangent, {**values, cotangent: u})


def algorithm_5_1_2(loss: str) -> dict[str, np.ndarray]:
    """theta - eta nabla J by BPTT."""
    p = data(loss)[0]
    states, _, errors = forwards(loss)
    total = {name: np.zeros_like(a) for name, a in p.items()}
    eps = np.zeros(3)
    for i in range(STEPS, 0, -1):
        at = states[i]
        down = maps_of(loss, i + 1, vanilla_rnn, at, "h", eps) if i < STEPS else np.zeros(3)
        eps = down + maps_of(loss, i, readout, at, "h", errors[i - 1])
        for name in "WUb":
            total[name] += maps_of(loss, i, vanilla_rnn, states[i - 1], name, eps)
        for name in "Vc":
            total[name] += maps_of(loss, i, readout, at, name, errors[i - 1])
    return {name: a - ETA * total[name] for name, a in p.items()}


def algorithm_5_1_1(loss: str) -> dict[str, np.ndarray]:
    """theta - eta nabla J by RTRL: nabla* alpha_i by its values at a basis of the states."""
    p = data(loss)[0]
    states, _, errors = forwards(loss)
    total = {name: np.zeros_like(a) for name, a in p.items()}
    head = {name: np.zeros((3, *p[name].shape)) for name in "WUb"}
    for i in range(1, STEPS + 1):
        down = [maps_of(loss, i, vanilla_rnn, states[i - 1], "h", b) for b in np.eye(3)]
        cotangent = maps_of(loss, i, readout, states[i], "h", errors[i - 1])
        for name in "WUb":  # (5.10), then (5.12)
            own = [maps_of(loss, i, vanilla_rnn, states[i - 1], name, b) for b in np.eye(3)]
            head[name] = np.tensordot(np.stack(down), head[name], 1) + np.stack(own)
            total[name] += np.tensordot(cotangent, head[name], 1)
        for name in "Vc":
            total[name] += maps_of(loss, i, readout, states[i], name, errors[i - 1])
    return {name: a - ETA * total[name] for name, a in p.items()}


@losses
@pytest.mark.parametrize(
    ("algorithm", "method"), [(algorithm_5_1_1, "rtrl"), (algorithm_5_1_2, "bptt")]
)
def test_one_step_of_gradient_descent(loss: str, algorithm: Any, method: str) -> None:
    theta = {name: a.copy() for name, a in theta_of(data(loss)[0]).items()}
    GradientDescent(ETA).step(theta, by_kernels(loss, method).by)
    for name, expected in theta_of(algorithm(loss)).items():
        assert relative(theta[name], expected) < EXACT
        assert not np.array_equal(theta[name], theta_of(data(loss)[0])[name])
