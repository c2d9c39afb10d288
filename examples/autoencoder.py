"""A deep auto-encoder with tied weights on handwritten digits: 64-32-2-32-64 (thesis section 4.3).

The decoder's maps are the transposes of the encoder's, W_4 = W_1^T and W_3 = W_2^T, so that every
W is used twice and has one gradient.  The code has two linear units: the digits lie in a plane, as
with two principal components, but the error of their reconstruction is lower.  The code plane and
held-out digits above their reconstructions go into out/autoencoder.png.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import StratifiedShuffleSplit

from derive import Adam, cosine, fit, network, transpose, with_shared, with_sizes
from derive.library.dense import affine, dense
from derive.library.losses import squared_loss
from derive.training.algorithms import gradient

OUT = Path(__file__).resolve().parent.parent / "out"
EPOCHS, BATCH, RATE = 400, 32, 0.003
SIZES = {"m": 64, "encoder_n": 32, "code_n": 2}
BAR = 0.8  # share of the error of two principal components that must not be exceeded
TIED = {"decoder_W": "code_W", "image_W": "encoder_W"}  # each is the transpose of the other
Array = np.ndarray[Any, Any]

untied = network("autoencoder", encoder=dense, code=affine, decoder=dense, image=affine)
tied = with_shared(
    untied,
    decoder_W=lambda code_W: transpose(code_W),
    image_W=lambda encoder_W: transpose(encoder_W),
)
autoencoder = with_sizes(tied, SIZES).with_loss(squared_loss, target="input")


@dataclass(frozen=True)
class Data:
    """Images of 64 pixels, minus the mean of the training images, and their digits."""

    mean: Array
    learned: Array
    held_out: Array
    learned_digits: Array
    held_out_digits: Array


@dataclass(frozen=True)
class Components:
    """The plane nearest to the images: the first two principal components."""

    axes: Array  # two rows, orthonormal

    @classmethod
    def of(cls, x: Array) -> Components:
        return cls(np.linalg.svd(x, full_matrices=False)[2][: SIZES["code_n"]])

    def __call__(self, x: Array) -> Array:
        """P* P x, the projection onto the plane."""
        return np.asarray(x @ self.axes.T @ self.axes)


def main(epochs: int = EPOCHS, picture: Path = OUT / "autoencoder.png", bar: float = BAR) -> int:
    """Train and report; 0 if the two gradients agree and PCA's error is clearly beaten."""
    began = time.perf_counter()
    data = split()
    print(autoencoder.signature)
    apart = difference(data.learned[: 4 * BATCH])
    print(f"gradient of the tied network, and tau* of the untied one's: {apart:.1e} apart")
    theta = train(data.learned, epochs)
    pca = Components.of(data.learned)
    own = error(data.held_out, reconstruct(theta, data.held_out))
    linear = error(data.held_out, pca(data.held_out))
    print("mean |x - F(x)|^2 of held-out images, and of training images:")
    print(f"  auto-encoder {own:.3f}, {error(data.learned, reconstruct(theta, data.learned)):.3f}")
    print(f"  two principal components {linear:.3f}, {error(data.learned, pca(data.learned)):.3f}")
    print(f"took {time.perf_counter() - began:.1f} s; picture: {draw(theta, pca, data, picture)}")
    return 0 if apart < 1e-12 and own < bar * linear else 1


def split() -> Data:
    """A seeded stratified split; 20 % of the images are held out."""
    images, digits = load_digits(return_X_y=True)
    images = images / 16.0
    splits = StratifiedShuffleSplit(n_splits=1, test_size=0.2, random_state=0)
    learn, hold = next(splits.split(images, digits))
    mean = images[learn].mean(axis=0)
    return Data(mean, images[learn] - mean, images[hold] - mean, digits[learn], digits[hold])


# --- the gradient of shared weights


def difference(x: Array) -> float:
    """The largest |tied - tau* untied| of an entry of the gradients, relative to the largest entry.

    The tied network's gradient comes from its compiled kernel, the other from Algorithm 3.2.1.
    """
    rng = np.random.default_rng(1)
    flat = autoencoder.flat(autoencoder.initial(rng, {}))
    flat |= {name: rng.normal(size=b.shape) for name, b in flat.items() if name.endswith("_b")}
    own = compiled_gradient(x, flat)
    other = gradient(untied, x, x, untied.tree(with_copies(flat)), "regression")
    together = tied_together(untied.flat(other))
    largest = max(float(np.abs(bar).max()) for bar in own.values())
    return max(float(np.abs(own[name] - together[name]).max()) for name in own) / largest


def with_copies(flat: dict[str, Array]) -> dict[str, Array]:
    """The parameters for which the untied network equals the tied one."""
    copies = {name: flat[source].T.copy() for name, source in TIED.items()}
    return flat | copies


def tied_together(bars: dict[str, Array]) -> dict[str, Array]:
    """Lemma 4.3.4 by hand: grad_W + tau* grad_{tau(W)}; tau* of the transpose is the transpose."""
    own = {name: bar for name, bar in bars.items() if name not in TIED}
    return own | {source: own[source] + bars[name].T for name, source in TIED.items()}


def compiled_gradient(x: Array, flat: dict[str, Array]) -> dict[str, Array]:
    """The gradient of the mean loss of a batch, by parameter name."""
    out = {f"{name}_bar": np.zeros_like(array) for name, array in flat.items()}
    autoencoder.compile().gradient(x, **flat, out=out | {"J": np.zeros(())})
    return {name: out[f"{name}_bar"] for name in flat}


# --- training


def train(x: Array, epochs: int) -> dict[str, Any]:
    """The parameters, by Adam on batches in a random order."""
    rng = np.random.default_rng(0)
    theta = autoencoder.initial(rng, {})
    optimiser = Adam(cosine(RATE, epochs * -(-len(x) // BATCH)))
    kernel = autoencoder.compile().gradient
    for epoch in range(epochs):
        losses = fit(kernel, theta, batches(rng, x), optimiser, clip_norm=5.0)
        if sys.stdout.isatty() or epoch == 0 or (epoch + 1) % 50 == 0:
            print(f"epoch {epoch + 1}: loss {np.mean(losses):.4f}", flush=True)
    return theta


def batches(rng: np.random.Generator, x: Array) -> Iterator[tuple[Array]]:
    """One epoch in a random order; an image is its own target."""
    order = rng.permutation(len(x))
    for start in range(0, len(x), BATCH):
        yield (x[order[start : start + BATCH]],)


def reconstruct(theta: dict[str, Any], x: Array) -> Array:
    """F(x; theta)."""
    return np.asarray(autoencoder.compile().forward(x, **autoencoder.flat(theta)))


def codes(theta: dict[str, Any], x: Array) -> Array:
    """The code of each image: the head alpha_2 of the network (thesis (3.2))."""
    head, flat = autoencoder.head(2), autoencoder.flat(theta)
    return np.asarray(head.compile().forward(x, **{p.name: flat[p.name] for p in head.parameters}))


def error(x: Array, y: Array) -> float:
    """The mean of |x - y|^2 over images, twice the loss."""
    return float(np.square(x - y).sum(axis=1).mean())


# --- the picture


def draw(theta: dict[str, Any], pca: Components, data: Data, path: Path) -> Path:
    """Draw the code plane on the left, held-out digits with both reconstructions on the right."""
    plt.switch_backend("Agg")  # works without a display
    figure = plt.figure(figsize=(15, 6.6), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=[6.6, 8.4], wspace=0.03)
    draw_codes(left.subplots(), theta, data)
    right.suptitle("held-out digits and their reconstructions from two numbers")
    draw_rows(right.subplots(6, 10), theta, pca, data)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    return path


def draw_codes(axes: Any, theta: dict[str, Any], data: Data) -> None:
    """Draw the codes, coloured by class: small dots for training, ringed ones for held out."""
    learned, held_out = codes(theta, data.learned), codes(theta, data.held_out)
    for digit in range(10):
        color = f"C{digit}"
        axes.scatter(*learned[data.learned_digits == digit].T, s=5, color=color, alpha=0.5)
        shown = held_out[data.held_out_digits == digit].T
        axes.scatter(*shown, s=26, color=color, edgecolor="black", linewidth=0.5, label=str(digit))
    axes.set(title="code plane: dots training, ringed held out", xlabel="unit 1", ylabel="unit 2")
    axes.legend(title="digit", loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)


def draw_rows(grid: Any, theta: dict[str, Any], pca: Components, data: Data) -> None:
    """Draw two digits of each class, and below each its reconstructions."""
    firsts = [np.flatnonzero(data.held_out_digits == digit)[:2] for digit in range(10)]
    for half, chosen in enumerate(np.transpose(firsts)):
        x = data.held_out[chosen]
        rows = {"digit": x, "auto-\nencoder": reconstruct(theta, x), "PCA": pca(x)}
        for axes, (label, images) in zip(grid[3 * half :], rows.items(), strict=False):
            axes[0].set_ylabel(label, rotation=0, ha="right", va="center")
            for one, image in zip(axes, images + data.mean, strict=True):
                one.imshow(image.reshape(8, 8), cmap="gray_r", vmin=0, vmax=1)
                one.set(xticks=[], yticks=[])


if __name__ == "__main__":
    sys.exit(main())
