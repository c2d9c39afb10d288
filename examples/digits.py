"""Train a multilayer perceptron on handwritten digits, with derived and compiled gradients.

The digits are the 1,797 images of 8 x 8 pixels that scikit-learn ships.  Five seeded stratified
splits are trained one after the other; learning curves and predictions go into out/digits.png.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from derive.generated import mlp as kernels
from sklearn.datasets import load_digits
from sklearn.model_selection import StratifiedShuffleSplit

from derive import Adam, cosine, fit
from derive.language.text import Writer
from derive.library.networks import mlp

OUT = Path(__file__).resolve().parent.parent / "out"
SPLITS, EPOCHS, BATCH, HIDDEN = 5, 60, 32, 128
NOISE = 0.2  # standard deviation of the noise on training pixels, which range from 0 to 1
SIZES = {"m": 64, "hidden_n": HIDDEN, "output_n": 10}
Array = np.ndarray[Any, Any]


def main() -> int:
    """Train and report; 0 if the mean held-out accuracy reaches 97 %."""
    began = time.perf_counter()
    print_maps()
    images, digits = load_digits(return_X_y=True)
    images = images / 16.0
    splits = StratifiedShuffleSplit(n_splits=SPLITS, test_size=0.2, random_state=0)
    runs = [
        train(number, images, digits, *split)
        for number, split in enumerate(splits.split(images, digits))
    ]
    accuracies = [run["held_out"][-1] for run in runs]
    picture = draw(runs)
    mean = float(np.mean(accuracies))
    print(f"mean held-out accuracy over {SPLITS} splits: {100 * mean:.2f} %")
    print(f"took {time.perf_counter() - began:.1f} s; learning curves and predictions: {picture}")
    print(f"kernels: {kernels.__file__}")
    return 0 if mean >= 0.97 else 1


def print_maps() -> None:
    """Print the network's formula and the derived maps of its hidden layer."""
    layer = mlp.stages[0].function
    write = Writer(layer.names)
    print(f"{layer.signature} = {write.formula(layer.output)}")
    for name in (x.name for x in layer.differentiable):
        derivative = layer.derivative(name)
        for map_ in (derivative, derivative.adjoint):
            print(f"  {map_} :  {map_.variable.name} -> {write.formula(map_.body)}")


def train(number: int, images: Array, digits: Array, learn: Array, hold: Array) -> dict[str, Any]:
    """Train on one split: losses, accuracies after each epoch, and held-out predictions."""
    rng = np.random.default_rng(number)
    mean = images[learn].mean(axis=0)
    x, held = images[learn] - mean, images[hold] - mean
    parameters = mlp.initial(rng, SIZES)
    steps = EPOCHS * -(-len(learn) // BATCH)
    optimiser = Adam(cosine(0.01, steps), decay=1e-4)
    run: dict[str, Any] = {"loss": [], "learned": [], "held_out": []}
    for epoch in range(EPOCHS):
        losses = fit(
            kernels.gradient, parameters, batches(rng, x, digits[learn]), optimiser, clip_norm=5.0
        )
        run["loss"].append(float(np.mean(losses)))
        run["learned"].append(accuracy(parameters, x, digits[learn]))
        run["held_out"].append(accuracy(parameters, held, digits[hold]))
        if sys.stdout.isatty() or (epoch + 1) % 15 == 0:
            print(
                f"split {number + 1}, epoch {epoch + 1}: loss {run['loss'][-1]:.4f}, "
                f"held out {100 * run['held_out'][-1]:.2f} %",
                flush=True,
            )
    return run | {
        "images": images[hold],
        "digits": digits[hold],
        "predicted": predict(parameters, held),
    }


def batches(rng: np.random.Generator, x: Array, k: Array) -> Iterator[tuple[Array, Array]]:
    """One epoch in a random order, every image with fresh noise against overfitting."""
    order = rng.permutation(len(x))
    for start in range(0, len(x), BATCH):
        chosen = order[start : start + BATCH]
        yield x[chosen] + NOISE * rng.standard_normal(x[chosen].shape), k[chosen]


def predict(parameters: dict[str, Any], x: Array) -> Array:
    """The most likely digit of each image."""
    logits: Array = kernels.forward(x, **mlp.flat(parameters))
    return logits.argmax(axis=1)


def accuracy(parameters: dict[str, Any], x: Array, k: Array) -> float:
    """The share of images whose digit is predicted."""
    return float((predict(parameters, x) == k).mean())


def draw(runs: list[dict[str, Any]]) -> Path:
    """Draw learning curves, and held-out images of the first split: right ones, then wrong."""
    plt.switch_backend("Agg")  # works without a display
    figure = plt.figure(figsize=(10, 6.4), layout="constrained")
    upper, lower = figure.subfigures(2, 1, height_ratios=[3, 2])
    loss, share = upper.subplots(1, 2)
    epochs = range(1, EPOCHS + 1)
    for run in runs:
        loss.semilogy(epochs, run["loss"], color="tab:blue", alpha=0.6)
        share.plot(epochs, [100 * a for a in run["learned"]], color="tab:gray", alpha=0.6)
        share.plot(epochs, [100 * a for a in run["held_out"]], color="tab:orange", alpha=0.8)
    loss.set(title="cross-entropy in training", xlabel="epoch", ylabel="nats")
    share.set(title="accuracy: training (gray), held out (orange)", xlabel="epoch", ylabel="%")
    share.set_ylim(92, 100.3)
    lower.suptitle("held-out digits of the first split: predicted (true, where it differs)")
    wrong = runs[0]["predicted"] != runs[0]["digits"]
    shown = [*np.flatnonzero(~wrong)[:14], *np.flatnonzero(wrong)[:6]]
    for axes, k in zip(lower.subplots(2, 10).flat, shown, strict=False):
        predicted, true = runs[0]["predicted"][k], runs[0]["digits"][k]
        axes.imshow(runs[0]["images"][k].reshape(8, 8), cmap="gray_r")
        right = predicted == true
        title = str(predicted) if right else f"{predicted} ({true})"
        axes.set_title(title, color="black" if right else "red", fontsize=10)
    for axes in lower.axes:
        axes.axis("off")
    OUT.mkdir(exist_ok=True)
    figure.savefig(OUT / "digits.png", dpi=120)
    return OUT / "digits.png"


if __name__ == "__main__":
    sys.exit(main())
