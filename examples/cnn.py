"""Train a convolutional network on handwritten digits, with derived and compiled gradients.

The digits are the 1,797 images of 8 x 8 pixels that scikit-learn ships, and the splits those of
digits.py.  Each of five seeded stratified splits is trained twice: on the images as they are, and
with random shifts by a pixel in the first third of the epochs; none in the others, as held-out
digits are centred.  Held-out digits are classified with the moving average of the parameters, after
a number of epochs fixed in advance.  Learning curves, misread digits and the first layer's
filters go into out/cnn.png.

`cnn.py 1` uses seed 1: other initial parameters and other batches.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import StratifiedShuffleSplit

from derive import Adam, cosine, fit, network, with_sizes
from derive.library.convolution import convolutional, convolutional_pooled, flattening
from derive.library.dense import affine
from derive.library.losses import cross_entropy_index
from derive.training.parameters import leaves, map_tree

OUT = Path(__file__).resolve().parent.parent / "out"
SPLITS, BATCH, RATE = 5, 32, 0.003
NOISE = 0.15  # standard deviation of the noise on training pixels, which range from 0 to 1
MEMORY = 0.995  # of the moving average, which thus covers the last 200 steps: four epochs
SIZES = {"c": 1, "n": 8, "l": 8, "first_o": 16, "second_o": 32, "third_o": 64, "output_n": 10}
Array = np.ndarray[Any, Any]

cnn = with_sizes(
    network(
        "digits_cnn",
        first=convolutional,
        second=convolutional_pooled,
        third=convolutional_pooled,
        flat=flattening,
        output=affine,
        loss=cross_entropy_index,
    ),
    SIZES,
)


@dataclass(frozen=True)
class Setting:
    """The number of epochs, of those with shifts, and the accuracy to reach."""

    name: str
    epochs: int
    shifted: int
    bar: float


SETTINGS = (
    Setting("plain", epochs=60, shifted=0, bar=0.985),
    Setting("shifted", epochs=72, shifted=24, bar=0.990),
)


@dataclass
class Run:
    """The training of a split: curves by epoch, CPU seconds, and misread images."""

    loss: list[float] = field(default_factory=list)
    held_out: list[float] = field(default_factory=list)
    seconds: float = 0.0
    wrong: list[tuple[Array, int, int]] = field(default_factory=list)  # image, reading, digit
    filters: Array = field(default_factory=lambda: np.empty((0, 1, 3, 3)))


def main(
    seed: int = 0,
    settings: Sequence[Setting] = SETTINGS,
    splits: int = SPLITS,
    picture: Path = OUT / "cnn.png",
) -> int:
    """Train and report; 0 if the mean held-out accuracy of each setting reaches its bar."""
    print(cnn.signature)
    kernels = cnn.compile()
    runs = {
        setting.name: [train(setting, seed, number) for number in range(splits)]
        for setting in settings
    }
    for setting in settings:
        seconds = ", ".join(f"{run.seconds:.1f}" for run in runs[setting.name])
        print(f"{setting.name}: mean held-out accuracy over {splits} splits:", end=" ")
        print(f"{100 * mean_accuracy(runs[setting.name]):.2f} %; seconds of a core: {seconds}")
    print(f"picture: {draw(runs, picture)}")
    print(f"kernels: {kernels.__file__}")
    return 0 if all(mean_accuracy(runs[s.name]) >= s.bar for s in settings) else 1


def mean_accuracy(runs: Sequence[Run]) -> float:
    """The mean over splits, each after its last epoch."""
    return float(np.mean([run.held_out[-1] for run in runs]))


# --- training


def train(setting: Setting, seed: int, number: int) -> Run:
    """Train on one split; the seed and its number determine parameters and batches."""
    began = time.process_time()
    rng, run = np.random.default_rng([seed, number]), Run()
    x, digits, held, held_digits = split(number)
    theta = cnn.initial(rng, {}, np.float32)
    average, mean = Average(theta), x.mean(axis=0)
    optimiser = Adam(cosine(RATE, setting.epochs * -(-len(x) // BATCH)))
    for epoch in range(setting.epochs):
        seen = (shifted(rng, x) if epoch < setting.shifted else x) - mean
        run.loss.append(learn(theta, batches(rng, seen, digits), optimiser, average))
        run.held_out.append(judge(run, average.tree, held, mean, held_digits))
        report(f"{setting.name}, split {number + 1}", epoch, run, setting.epochs)
    run.filters, run.seconds = average.tree["first"]["W"], time.process_time() - began
    return run


def learn(
    theta: dict[str, Any], data: Iterator[tuple[Array, Array]], optimiser: Adam, average: Average
) -> float:
    """Train for one epoch; the mean of its losses."""
    kernel = cnn.compile().gradient
    losses = fit(kernel, theta, data, optimiser, clip_norm=5.0, progress=average)
    return float(np.mean(losses))


def judge(run: Run, theta: dict[str, Any], x: Array, mean: Array, digits: Array) -> float:
    """The share of images that are classified correctly; the others are recorded."""
    read = predict(theta, x - mean)
    missed = np.flatnonzero(read != digits)
    run.wrong = [(x[k, 0], int(read[k]), int(digits[k])) for k in missed]
    return 1 - len(missed) / len(x)


def split(number: int) -> tuple[Array, Array, Array, Array]:
    """Training images in R(1, 8, 8) with their digits, then held-out ones."""
    pixels, digits = load_digits(return_X_y=True)
    images = pixels.reshape(-1, 1, 8, 8) / 16.0
    splits = StratifiedShuffleSplit(n_splits=SPLITS, test_size=0.2, random_state=0)
    learn, hold = list(splits.split(pixels, digits))[number]
    return images[learn], digits[learn], images[hold], digits[hold]


class Average:
    """The moving average a <- w a + (1 - w) theta, with smaller w in the first steps."""

    def __init__(self, theta: dict[str, Any]) -> None:
        self.tree = map_tree(np.copy, theta)
        self.pairs = [
            (a, b) for (_, a), (_, b) in zip(leaves(self.tree), leaves(theta), strict=True)
        ]

    def __call__(self, step: int, loss: float) -> None:
        w = min(MEMORY, (1 + step) / (10 + step))
        for a, theta in self.pairs:
            a += (1 - w) * (theta - a)


def shifted(rng: np.random.Generator, x: Array) -> Array:
    """Each image shifted by -1, 0 or 1 pixels in each direction, padded with zeros."""
    padded = np.pad(x[:, 0], [(0, 0), (1, 1), (1, 1)])
    row, column = rng.integers(3, size=(2, len(x), 1)) + np.arange(8)
    every = np.arange(len(x))[:, None, None]
    return np.asarray(padded[every, row[:, :, None], column[:, None, :]][:, None])


def batches(rng: np.random.Generator, x: Array, k: Array) -> Iterator[tuple[Array, Array]]:
    """One epoch in a random order: noisy images and their digits."""
    order = rng.permutation(len(x))
    noisy = x + NOISE * rng.standard_normal(x.shape)
    for start in range(0, len(x), BATCH):
        chosen = order[start : start + BATCH]
        yield noisy[chosen].astype(np.float32), k[chosen]


def predict(theta: dict[str, Any], x: Array) -> Array:
    """The most likely digit of each image."""
    logits = cnn.compile().forward(x.astype(np.float32), **cnn.flat(theta))
    return np.asarray(logits.argmax(axis=1))


def report(what: str, epoch: int, run: Run, epochs: int) -> None:
    """Print a line for every epoch on a terminal, else only for the last one."""
    if sys.stdout.isatty() or epoch + 1 == epochs:
        loss, share = run.loss[-1], 100 * run.held_out[-1]
        print(f"{what}, epoch {epoch + 1}: loss {loss:.4f}, held out {share:.2f} %", flush=True)


# --- the picture


def draw(runs: dict[str, list[Run]], path: Path) -> Path:
    """Draw learning curves above misread digits and first-layer filters of the last setting."""
    plt.switch_backend("Agg")  # works without a display
    figure = plt.figure(figsize=(12, 8.4), layout="constrained")
    upper, lower = figure.subfigures(2, 1, height_ratios=[3, 3])
    left, right = lower.subfigures(1, 2, width_ratios=[1.7, 1], wspace=0.03)
    draw_curves(upper.subplots(1, 2), runs)
    setting, last = list(runs.items())[-1]
    wrong = [missed for run in last for missed in run.wrong]
    left.suptitle(f"misread in all splits, {setting}: reading (digit)")
    draw_misread([*left.subplots(3, 6).flat], wrong)
    right.suptitle("filters of the first layer: red +, blue −")
    draw_filters([*right.subplots(4, 4).flat], last[0].filters[:, 0])
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    return path


def draw_curves(axes: Any, runs: dict[str, list[Run]]) -> None:
    """Draw the loss and held-out accuracy of every split by epoch, a colour for each setting."""
    for number, (setting, splits) in enumerate(runs.items()):
        for k, run in enumerate(splits):
            style = {"color": f"C{number}", "alpha": 0.7, "label": "" if k else setting}
            epochs = np.arange(1, len(run.loss) + 1)
            axes[0].semilogy(epochs, run.loss, **style)
            axes[1].plot(epochs, [100 * share for share in run.held_out], **style)
    axes[0].set(title="cross-entropy in training", xlabel="epoch", ylabel="nats")
    axes[1].set(title="held-out accuracy of each split", xlabel="epoch", ylabel="%")
    lowest = min(run.held_out[-1] for splits in runs.values() for run in splits)
    axes[1].set_ylim(min(95, 100 * lowest - 1), 100.1)
    for one, corner in zip(axes, ["upper right", "lower right"], strict=True):
        one.legend(loc=corner)
        one.grid(alpha=0.3)


def draw_misread(grid: Sequence[Any], wrong: Sequence[tuple[Array, int, int]]) -> None:
    """Draw images with the predicted digit and, in brackets, the true one."""
    for axes in grid:
        axes.axis("off")
    for axes, (image, read, digit) in zip(grid, wrong, strict=False):
        axes.imshow(image, cmap="gray_r")
        axes.set_title(f"{read} ({digit})", color="red", fontsize=11)


def draw_filters(grid: Sequence[Any], filters: Array) -> None:
    """Draw the filters of 3 x 3 on one scale, white at zero."""
    largest = np.abs(filters).max()
    for axes, w in zip(grid, filters, strict=True):
        axes.imshow(w, cmap="RdBu_r", vmin=-largest, vmax=largest)
        axes.set(xticks=[], yticks=[])


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
