"""The add task: how well a recurrent network learns two lags with each gradient method.

    x_t is a fair coin,  P(y_t = 1) = 1/2 + x_{t-6} / 2 - x_{t-12} / 4

Nothing can predict y_t better than 0.66156 nats without memory, 0.51917 with the first lag and
0.45445 with both.  x_{t-6} enters seven applications of f before the loss of time t: a gradient
truncated after six of them never sees it, however long the training.  All methods are trained on
the same sequences from the same parameters.  `--quick` trains for a shorter time.

After R2RT, "Recurrent Neural Networks in TensorFlow I" (2016), where the lags are 3 and 8.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from derive import Adam, cosine, fit, recurrent
from derive.library.losses import cross_entropy_index
from derive.library.rnn import readout, vanilla_rnn
from derive.training.sequence_fit import SequenceGradient

FIRST, SECOND = 6, 12  # the lags
UNITS, STEPS, BATCH, UPDATES, RATE = 16, 40, 32, 1500, 0.02
HELD_OUT = 2000  # sequences
LIMIT, BLIND = 0.47, 0.60  # nats: exact methods end below the first, three steps above the second
Array = np.ndarray[Any, Any]
Options = dict[str, Any]

coins = recurrent("coins", vanilla_rnn, prediction=readout, loss=cross_entropy_index)

EXACT: dict[str, Options] = {
    "bptt": {"method": "bptt"},
    "rtrl": {"method": "rtrl"},
    "hybrid, blocks of 16": {"method": "hybrid", "block": 16},
}
CUT: dict[str, Options] = {
    f"truncated, every {every}, {down} down": {
        "method": "truncated_bptt",
        "every": every,
        "down": down,
    }
    for every, down in [(1, 3), (2, 3), (3, 3), (1, 6), (1, 7), (1, 12)]
}


@dataclass(frozen=True)
class Run:
    """A method's loss on held-out sequences in nats, and its CPU seconds."""

    held_out: float
    seconds: float


def main(arguments: list[str]) -> int:
    """Train by every method; 0 if the exact ones learn both lags and three steps neither."""
    updates, limit = (300, 0.51) if "--quick" in arguments else (UPDATES, LIMIT)
    print(f"floors: {', '.join(f'{floor(k):.5f} nats' for k in range(3))}")
    print(f"{'method':<28}{'held out':>10}{'seconds':>10}")
    runs = {}
    for name, options in {**EXACT, **CUT}.items():
        runs[name] = run = train(options, updates)
        print(f"{name:<28}{run.held_out:10.4f}{run.seconds:10.1f}", flush=True)
    learned = all(runs[name].held_out < limit for name in EXACT)
    blind = all(runs[name].held_out > BLIND for name in CUT if CUT[name]["down"] == 3)
    print(f"exact methods below {limit}: {learned}; three steps down above {BLIND}: {blind}")
    return 0 if learned and blind else 1


def probability(x: Array, known: int = 2) -> Array:
    """P(y_t = 1) for t >= 12, given the coins at the first `known` lags."""
    first = x[SECOND - FIRST : -FIRST] if known > 0 else 0.5
    second = x[:-SECOND] if known > 1 else 0.5
    return np.asarray(0.5 + first / 2 - second / 4)


def floor(known: int) -> float:
    """The entropy of y_t in nats, given the coins at the first `known` lags."""
    coin = np.arange(2.0)
    pairs = [(a if known > 0 else 0.5, b if known > 1 else 0.5) for a in coin for b in coin]
    p = np.array([0.5 + a / 2 - b / 4 for a, b in pairs])
    q = np.stack([p, 1 - p])
    return float(-np.sum(q * np.log(np.where(q > 0, q, 1)), axis=0).mean())


def sequences(rng: np.random.Generator, count: int) -> tuple[Array, Array]:
    """x of shape (time, sequence, 1), and y, which has no weight at the first twelve times."""
    x = rng.integers(2, size=(STEPS, count)).astype(float)
    y = np.zeros(x.shape, np.int64)
    y[SECOND:] = rng.random((STEPS - SECOND, count)) < probability(x)
    return x[..., None], y


def weights(count: int) -> Array:
    """1 / (number of losses) where both lags exist, else 0."""
    w = np.zeros((STEPS, count))
    w[SECOND:] = 1 / (count * (STEPS - SECOND))
    return w


def train(options: Options, updates: int) -> Run:
    """Train by one method, with the same initial parameters and sequences as every other."""
    began = time.process_time()
    kernels, rng = coins.compile(), np.random.default_rng(0)
    theta = coins.initial(rng, {"n": UNITS, "m": 1, "prediction_k": 2})
    gradient = SequenceGradient(kernels, **options, weight=weights(BATCH))
    fit(gradient, theta, batches(rng, updates), Adam(cosine(RATE, updates)), clip_norm=1.0)
    x, y = sequences(np.random.default_rng(1), HELD_OUT)
    held_out, _ = kernels.recurrence.loss(coins.flat(theta), x, y, weight=weights(HELD_OUT))
    return Run(held_out, time.process_time() - began)


def batches(rng: np.random.Generator, updates: int) -> Iterator[tuple[Array, Array]]:
    """Fresh sequences for every update."""
    for _ in range(updates):
        yield sequences(rng, BATCH)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
