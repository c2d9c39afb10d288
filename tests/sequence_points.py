"""Networks, sequences and parameters that the tests of gradients over sequences share."""

from __future__ import annotations

from functools import cache
from types import ModuleType
from typing import Any

import numpy as np
from linear_cells import linear

from derive import recurrent
from derive.library.losses import squared_loss
from derive.library.networks import elman, lstm_classifier
from derive.library.rnn import readout_of_pair, rotation_rnn

SIZES = {"n": 5, "m": 3, "prediction_k": 4}
STEPS, BATCH = 7, 6
Array = np.ndarray[Any, Any]

turning = recurrent(
    "turning", rotation_rnn, prediction=readout_of_pair, loss=squared_loss, initial="learned"
)


@cache
def kernels(name: str) -> ModuleType:
    """The kernels of a network of this file, once."""
    networks = {"elman": elman, "lstm": lstm_classifier, "turning": turning, "linear": linear}
    return networks[name].compile()


def sequences(steps: int = STEPS, seed: int = 0) -> tuple[Array, Array]:
    """Inputs and targets with the axes (time, batch, ..)."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(steps, BATCH, 3)), rng.normal(size=(steps, BATCH, 4))


def parameters(network: Any = elman, seed: int = 1) -> dict[str, Any]:
    """A tree of parameters without a zero in it."""
    rng = np.random.default_rng(seed)
    theta = network.initial(rng, SIZES)
    theta["cell"]["b"] += rng.normal(size=theta["cell"]["b"].shape) / 4
    return dict(theta)
