"""Vanishing and exploding gradients: vanilla RNN, LSTM and GRU as they are initialised.

For every network, the norms of D mu and of the gradient of the last loss are tabulated by distance,
as means over the sequences of a batch, and drawn into out/gradient_flow.png as geometric means.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np

from derive import recurrent
from derive.library.losses import squared_loss
from derive.library.rnn import gru, lstm, readout, readout_of_pair, vanilla_rnn
from derive.models.levels import Recurrent
from derive.training.gradient_flow import GradientFlow, flow_of_gradients

OUT = Path(__file__).resolve().parent.parent / "out"
UNITS, INPUTS, OUTPUTS, STEPS, BATCH = 24, 3, 2, 100, 8
Array = np.ndarray[Any, Any]

NETWORKS = {
    "vanilla": recurrent("flow_vanilla", vanilla_rnn, prediction=readout, loss=squared_loss),
    "LSTM": recurrent("flow_lstm", lstm, prediction=readout_of_pair, loss=squared_loss),
    "GRU": recurrent("flow_gru", gru, prediction=readout, loss=squared_loss),
}


def main() -> int:
    """Measure, print and draw; 0 if the LSTM's gradient reaches further than the vanilla RNN's."""
    flows = {
        "vanilla, Glorot": measure(NETWORKS["vanilla"]),
        "vanilla, W 2.5 times as large": measure(NETWORKS["vanilla"], gain=2.5),
        "LSTM, forget bias 0": measure(NETWORKS["LSTM"]),
        "LSTM, forget bias 1": measure(NETWORKS["LSTM"], keep=1.0),
        "LSTM, forget bias 3": measure(NETWORKS["LSTM"], keep=3.0),
        "GRU, update bias 0": measure(NETWORKS["GRU"]),
        "GRU, update bias 3": measure(NETWORKS["GRU"], keep=3.0),
    }
    for label, flow in flows.items():
        print(f"{label}\n{str(flow).partition(chr(10))[2]}\n")
    print(f"picture: {plot(flows, OUT / 'gradient_flow.png')}")
    at_50 = {label: float(flow.norm[50].mean()) for label, flow in flows.items()}
    return 0 if at_50["LSTM, forget bias 1"] > at_50["vanilla, Glorot"] else 1


def measure(network: Recurrent, gain: float = 1.0, keep: float = 0.0) -> GradientFlow:
    """The flow at Glorot-initialised parameters, on random sequences and targets."""
    rng = np.random.default_rng(0)
    theta = network.initial(rng, {"n": UNITS, "m": INPUTS, "prediction_k": OUTPUTS})
    theta["cell"]["W"] *= gain
    if keep:
        theta["cell"]["b"][1] = (
            keep  # the gate that keeps the state: f of i, f, g, o or z of r, z, n
        )
    x = rng.normal(size=(STEPS, BATCH, INPUTS))
    y = rng.normal(size=(STEPS, BATCH, OUTPUTS))
    return flow_of_gradients(network, network.flat(theta), x, y)


def plot(flows: Mapping[str, GradientFlow], path: Path) -> Path:
    """Plot ||D mu|| and the gradient of the last loss by distance, on logarithmic axes."""
    plt.switch_backend("Agg")  # works without a display
    figure, axes = plt.subplots(1, 2, figsize=(13, 4.4), layout="constrained", sharex=True)
    for label, flow in flows.items():
        draw(axes[0], label, flow.norm)
        if flow.gradient is not None:
            draw(axes[1], label, flow.gradient)
    axes[0].set(title="derivative over d steps", ylabel=r"$\|D\mu_{T,T-d+1}\|$")
    axes[1].set(title="gradient of the last loss", ylabel=r"$\|D_{h_{T-d}} J_T\|$")
    for one in axes:
        one.set(xlabel="distance d in steps", yscale="log")
        one.grid(alpha=0.3)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right upper")
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=120)
    return path


def draw(axes: Any, label: str, norms: Array | Sequence[float]) -> None:
    """Draw the geometric mean over a batch, for which exponential decay is a straight line."""
    columns = np.maximum(np.reshape(norms, (len(norms), -1)), np.finfo(float).tiny)
    axes.plot(np.exp(np.log(columns).mean(axis=1)), label=label)


if __name__ == "__main__":
    sys.exit(main())
