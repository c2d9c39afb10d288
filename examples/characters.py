"""A character model of English text: an LSTM trained by BPTT against an interpolated bigram model.

The text is that of Python's own documentation, the topics of pydoc (`pydoc_data/topics.py`), one
after the other: the first 80 % are for training, the next 10 % for the weights of the bigram model,
and the last 10 % are held out.  A character that does not occur in the first part counts as
unknown.  The text is read in parallel streams, in pieces that pass their state to the next.

Then BPTT, RTRL and the hybrid each train a small model: their losses agree over 100 updates.
`--quick` reads less text.  The curves go into out/characters.png.
"""

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any, Self

import matplotlib.pyplot as plt
import numpy as np

from derive import Adam, Hom, Index, R, cell, cosine, dims, fit, indices, recurrent, sigmoid, tanh
from derive.language.expressions import Node, contraction
from derive.language.forms import make_form
from derive.library.losses import cross_entropy_index
from derive.library.rnn import readout_of_pair
from derive.training.sequence_fit import SequenceGradient

OUT = Path(__file__).resolve().parent.parent / "out"
UNITS, STREAMS, PIECE, EPOCHS, RATE = 64, 32, 32, 3, 0.01
QUICK = 40_000  # training characters with --quick, for one epoch
UNKNOWN = "\N{REPLACEMENT CHARACTER}"
METHODS: dict[str, dict[str, Any]] = {
    "bptt": {"method": "bptt"},
    "rtrl": {"method": "rtrl"},
    "hybrid": {"method": "hybrid", "block": 5},
}
Array = np.ndarray[Any, Any]

n, m = dims("n m")
q, i, j = indices("q i j")
H, X = R(n), R(m)


def column(U: Node, k: Node) -> Node:
    """U e_k for a class index k: columns of four matrices, without multiplying by zeros."""
    selected = make_form([(q, i, j), (q, i)], {q: 4, i: n, j: m}, [(j, ())])
    return contraction(H**4, selected, 1, (U,), (k,))


@cell
def character_lstm(s: H * H, k: Index(m), *, W: Hom(H, H**4), U: Hom(X, H**4), b: H**4) -> H * H:
    """The LSTM of the library on a class index: U e_k is a column of U."""
    h, c = s
    i, f, g, o = W @ h + column(U, k) + b
    c_next = sigmoid(f) * c + sigmoid(i) * tanh(g)
    return sigmoid(o) * tanh(c_next), c_next


characters = recurrent(
    "characters", character_lstm, prediction=readout_of_pair, loss=cross_entropy_index
)


def main(arguments: list[str]) -> int:
    """Train and report; 0 if the LSTM beats the bigram model and the methods agree.

    With --quick it only has to beat the unigram model.
    """
    is_quick = "--quick" in arguments
    text = Text.of_topics(QUICK if is_quick else None)
    bigram = Bigram(text)
    print(f"{len(text.learned)} training characters, {len(text.held_out)} held out")
    print(f"alphabet of {text.size}; held-out bits per character:\n  {bigram}")
    learned = learn(text, 1 if is_quick else EPOCHS)
    curves = {name: small(text, options) for name, options in METHODS.items()}
    apart = difference(curves)
    print(f"losses of {', '.join(curves)} over {len(curves['bptt'])} updates: {apart:.1e} apart")
    picture = OUT / ("characters_quick.png" if is_quick else "characters.png")
    print(f"curves: {draw(learned, bigram.held_out[2], curves, picture)}")
    return 0 if learned.bits[-1] < bigram.held_out[1 if is_quick else 2] and apart < 1e-8 else 1


# --- the text, and the baseline


@dataclass(frozen=True)
class Text:
    """A text as character indices, in three consecutive parts."""

    learned: Array
    tuned: Array
    held_out: Array
    size: int

    @classmethod
    def of_topics(cls, most: int | None = None) -> Self:
        """The topics of pydoc; the training part has at most its last `most` characters."""
        whole = "\n\n".join(topics.values())
        first, second = (len(whole) * share // 10 for share in (8, 9))
        alphabet = [*sorted(set(whole[:first])), UNKNOWN]
        number = {character: k for k, character in enumerate(alphabet)}
        codes = np.array([number.get(character, len(alphabet) - 1) for character in whole])
        begin = 0 if most is None else first - most
        return cls(codes[begin:first], codes[first:second], codes[second:], len(alphabet))


class Bigram:
    """P(b | a) = w_2 n(a b) / n(a) + w_1 n(b) / N + w_0 / size, the weights those of EM.

    Source: Jelinek and Mercer 1980.
    """

    def __init__(self, text: Text) -> None:
        size = text.size
        pairs = np.zeros((size, size))
        np.add.at(pairs, (text.learned[:-1], text.learned[1:]), 1)
        seen = pairs.sum(axis=1, keepdims=True)
        count = np.bincount(text.learned, minlength=size)
        single = np.broadcast_to(count / count.sum(), (size, size))
        uniform = np.full((size, size), 1 / size)
        self.models = np.stack(
            [uniform, single, np.where(seen > 0, pairs / np.maximum(seen, 1), 0)]
        )
        self.weights = {order: self._weights(text.tuned, order) for order in (1, 2)}
        self.held_out = {order: self.bits(text.held_out, order) for order in self.weights}

    def _weights(self, tuned: Array, order: int) -> Array:
        """The weights of the models up to an order that make a text most likely, found by EM."""
        each = self.models[: order + 1, tuned[:-1], tuned[1:]]
        weights = np.full(order + 1, 1 / (order + 1))
        for _ in range(200):
            share = weights[:, None] * each
            weights = (share / share.sum(axis=0)).mean(axis=1)
        return weights

    def bits(self, text: Array, order: int = 2) -> float:
        """Bits per character, from the second character on."""
        each = self.models[: order + 1, text[:-1], text[1:]]
        return float(-np.log2(self.weights[order] @ each).mean())

    def __str__(self) -> str:
        shown = ", ".join(f"{weight:.4f}" for weight in self.weights[2][::-1])
        return (
            f"unigram {self.held_out[1]:.4f}, bigram {self.held_out[2]:.4f} "
            f"(weights {shown} of bigrams, unigrams and the uniform)"
        )


# --- the LSTM


@dataclass
class Learned:
    """The held-out bits per character after each epoch, and the losses of the updates in bits."""

    bits: list[float]
    losses: list[float]


def learn(text: Text, epochs: int) -> Learned:
    """Train by BPTT on pieces of all streams in single precision; prints each epoch."""
    began, learned = time.process_time(), Learned([], [])
    kernels = characters.compile()
    sizes = {"n": UNITS, "m": text.size, "prediction_k": text.size}
    theta = characters.initial(np.random.default_rng(0), sizes, dtype=np.float32)
    theta["cell"]["b"][1] = 1  # forget gate (Gers et al. 2000): remember at first
    gradient = SequenceGradient(kernels, carried=True, weight=1 / (STREAMS * PIECE))
    optimiser = Adam(cosine(RATE, epochs * len(list(pieces(text.learned)))))
    for epoch in range(epochs):
        gradient.restart()
        losses = fit(gradient, theta, pieces(text.learned), optimiser, clip_norm=1.0)
        learned.losses += [loss / np.log(2) for loss in losses]
        learned.bits.append(bits(kernels, theta, text.held_out))
        taken = f"{time.process_time() - began:.0f} s of one core"
        print(f"  LSTM, epoch {epoch + 1}: {learned.bits[-1]:.4f}, {taken}", flush=True)
    return learned


def pieces(text: Array) -> Iterator[tuple[Array, Array]]:
    """Characters and those that follow, of shape (PIECE, STREAMS), piece after piece."""
    length = len(text) // STREAMS
    streams = text[: length * STREAMS].reshape(STREAMS, length).T
    for start in range(0, length - PIECE, PIECE):
        window = np.ascontiguousarray(streams[start : start + PIECE + 1])
        yield window[:-1], window[1:]


def bits(kernels: Any, theta: dict[str, Any], text: Array) -> float:
    """Bits per character of a text, from its second character on."""
    weight = 1 / ((len(text) - 1) * np.log(2))
    flat = characters.flat(theta)
    loss, _ = kernels.recurrence.loss(flat, text[:-1, None], text[1:, None], weight=weight)
    return float(loss)


# --- three methods, one curve


def small(text: Text, options: dict[str, Any], updates: int = 100) -> list[float]:
    """The losses of a small model in double precision, trained by one method on whole sequences."""
    units, streams, steps = 5, 3, 12
    starts = np.random.default_rng(1).integers(len(text.learned) - steps, size=(updates, streams))
    windows = text.learned[starts[:, None] + np.arange(steps + 1)[:, None]]
    sizes = {"n": units, "m": text.size, "prediction_k": text.size}
    theta = characters.initial(np.random.default_rng(0), sizes)
    gradient = SequenceGradient(characters.compile(), **options, weight=1 / (streams * steps))
    return fit(gradient, theta, ((w[:-1], w[1:]) for w in windows), Adam(0.02), clip_norm=1.0)


def difference(curves: dict[str, list[float]]) -> float:
    """The largest difference of two methods' losses after the same number of updates."""
    losses = np.array(list(curves.values()))
    return float(np.ptp(losses, axis=0).max())


def draw(learned: Learned, bigram: float, curves: dict[str, list[float]], path: Path) -> Path:
    """Draw bits per character during training, and the curves of the three methods."""
    plt.switch_backend("Agg")  # no screen is needed
    figure, (left, right, apart) = plt.subplots(1, 3, figsize=(13, 4), layout="constrained")
    draw_learning(left, learned, bigram)
    for (name, losses), style in zip(curves.items(), ["-", "--", ":"], strict=True):
        right.plot(range(1, len(losses) + 1), losses, style, linewidth=2, label=name)
    right.set(title="three methods of one gradient", xlabel="update", ylabel="loss (nats)")
    right.legend()
    draw_difference(apart, curves)
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=120)
    return path


def draw_learning(axes: Any, learned: Learned, bigram: float) -> None:
    """Draw bits per character of the training text and of the held-out text."""
    each = len(learned.losses) // len(learned.bits)
    width = min(20, each)
    smooth = np.convolve(learned.losses, np.ones(width) / width, "valid")
    label = f"training, mean of {width} updates"
    axes.plot(np.arange(len(smooth)) + width, smooth, color="tab:gray", label=label)
    ends = each * np.arange(1, len(learned.bits) + 1)
    axes.plot(ends, learned.bits, "o-", color="tab:orange", label="held out, LSTM")
    axes.axhline(bigram, color="tab:blue", linestyle="--", label="held out, bigram")
    axes.set(title="a character model", xlabel="update", ylabel="bits per character", ylim=(2, 6))
    axes.legend()


def draw_difference(axes: Any, curves: dict[str, list[float]]) -> None:
    """Draw the difference of the losses of RTRL and the hybrid from those of BPTT."""
    exact = np.array(curves["bptt"])
    for name in [name for name in curves if name != "bptt"]:
        apart = np.maximum(np.abs(np.array(curves[name]) - exact), 1e-17)
        axes.semilogy(range(1, len(apart) + 1), apart, label=f"{name} and bptt")
    axes.axhline(1e-8, color="tab:gray", linestyle="--", label="1e-8")
    axes.set(title="their difference", xlabel="update", ylabel="difference of the losses (nats)")
    axes.legend()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
