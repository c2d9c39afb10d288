"""The examples on images, run short: the convolutional network, the auto-encoder; a subspace.

The examples are run with few epochs; their kernels come from the user's cache.
"""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from composed import evaluated

from derive import network, transpose, with_shared
from derive.library.dense import affine, dense, linear_layer
from derive.models.resize import sizes_of
from derive.training.algorithms import gradient

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
PNG = b"\x89PNG"
Array = np.ndarray[Any, Any]


def load(name: str) -> ModuleType:
    """An example as a module."""
    pytest.importorskip("matplotlib")
    pytest.importorskip("sklearn")
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def cnn() -> ModuleType:
    return load("cnn")


@pytest.fixture(scope="module")
def autoencoder() -> ModuleType:
    return load("autoencoder")


# --- the convolutional network


def test_a_few_epochs_read_most_digits(
    cnn: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = [cnn.Setting("short", epochs=3, shifted=1, bar=0.9)]
    picture = tmp_path / "new" / "cnn.png"
    assert cnn.main(0, settings, 1, picture) == 0
    assert picture.read_bytes().startswith(PNG)
    (mean,) = re.findall(r"short: mean .* splits: (\S+) %", capsys.readouterr().out)
    assert 90 <= float(mean) <= 100


def test_a_bar_that_is_missed_is_told(cnn: ModuleType, tmp_path: Path) -> None:
    settings = [cnn.Setting("too short", epochs=1, shifted=0, bar=1.0)]
    assert cnn.main(0, settings, 1, tmp_path / "cnn.png") == 1


def test_what_is_held_out_is_not_learned(cnn: ModuleType) -> None:
    """The splits are those of digits.py: 360 images of each are held out, all classes alike."""
    for number in range(cnn.SPLITS):
        x, k, held, held_k = cnn.split(number)
        assert (len(x), len(held)) == (1437, 360) == (len(k), len(held_k))
        learned = {image.tobytes() for image in x}
        assert not any(image.tobytes() in learned for image in held)
        assert all(34 <= count <= 38 for count in np.bincount(held_k))


def test_a_shifted_image_is_one_of_nine(cnn: ModuleType) -> None:
    rng = np.random.default_rng(1)
    x = rng.random((200, 1, 8, 8))
    padded = np.pad(x, [(0, 0), (0, 0), (1, 1), (1, 1)])
    nine = np.stack([padded[:, :, i : i + 8, j : j + 8] for i in range(3) for j in range(3)])
    equal = (nine == cnn.shifted(rng, x)).all(axis=(2, 3, 4))
    assert (equal.sum(axis=0) == 1).all() and equal.any(axis=1).all()


def test_the_average_of_constant_parameters_is_constant(cnn: ModuleType) -> None:
    """w a + (1 - w) theta: after long enough it is theta, whatever it began with."""
    theta = {"first": {"W": np.zeros(3)}}
    average = cnn.Average(theta)
    theta["first"]["W"] += 1.0
    for step in range(4000):
        average(step, 0.0)
    # 0.995^4000 = 2e-9 of the beginning is left
    assert np.abs(average.tree["first"]["W"] - 1).max() < 1e-8


# --- the auto-encoder


def test_a_short_training_beats_two_components(
    autoencoder: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / "new" / "autoencoder.png"
    assert autoencoder.main(80, picture, 0.95) == 0
    assert picture.read_bytes().startswith(PNG)
    printed = capsys.readouterr().out
    (apart,) = re.findall(r"untied one's: (\S+) apart", printed)
    assert float(apart) < 1e-12  # sums of 128 terms in another order


def test_the_gradient_needs_both_uses_of_a_weight(
    autoencoder: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the sum of the two gradients the comparison fails, so that it compares something."""
    x = autoencoder.split().learned[:16]
    assert autoencoder.difference(x) < 1e-12
    monkeypatch.setattr(autoencoder, "tied_together", lambda bars: bars)
    assert autoencoder.difference(x) > 1e-3


def test_components_are_the_nearest_plane(autoencoder: ModuleType) -> None:
    """What is left of |x|^2 is the sum of the other squared singular values (Eckart, Young)."""
    x = np.random.default_rng(2).normal(size=(30, 64))
    pca = autoencoder.Components.of(x)
    left = np.square(np.linalg.svd(x, compute_uv=False)[2:]).sum() / 30
    assert abs(autoencoder.error(x, pca(x)) / left - 1) < 1e-13  # 2,000 terms


# --- a network over a subspace


subspace = with_shared(
    network("subspace", project=linear_layer, hidden=dense, back=affine, restore=linear_layer),
    restore_P=lambda project_P: transpose(project_P),
)
SIZES = {"m": 7, "project_n": 3, "hidden_n": 4}


@pytest.fixture(scope="module")
def theta() -> dict[str, Array]:
    return subspace.flat(subspace.initial(np.random.default_rng(3), SIZES))


def by_hand(theta: dict[str, Array], x: Array) -> Array:
    """P* g(P x), g being the network on the smaller space; points are rows."""
    P = theta["project_P"]
    hidden = np.tanh(x @ P.T @ theta["hidden_W"].T + theta["hidden_b"])
    g = hidden @ theta["back_W"].T + theta["back_b"]
    return np.asarray(g @ P)


def test_a_network_over_a_subspace(theta: dict[str, Array]) -> None:
    assert subspace.output.space == subspace.stages[0].input.space
    assert "restore_P" not in theta
    for x in np.random.default_rng(4).normal(size=(5, 7)):
        found = evaluated(subspace, theta | {"x": x}, sizes_of(subspace, SIZES))
        assert np.abs(found - by_hand(theta, x)).max() < 1e-14  # entries below 2, seven terms


def test_its_gradient_by_the_projection(theta: dict[str, Array]) -> None:
    """Both uses of P count: central differences of the mean loss, entry by entry."""
    rng = np.random.default_rng(5)
    x, y = rng.normal(size=(2, 5, 7))
    P, h = theta["project_P"], 1e-5
    found = gradient(subspace, x, y, subspace.tree(theta), "regression")["project"]["P"]
    differences = np.empty_like(P)
    for place in np.ndindex(*P.shape):
        e = np.zeros_like(P)
        e[place] = h
        up, down = (
            np.square(by_hand(theta | {"project_P": P + step}, x) - y).sum(axis=1).mean() / 2
            for step in (e, -e)
        )
        differences[place] = (up - down) / (2 * h)
    # h^2 and eps / h are 1e-10 and 2e-11, times derivatives and a loss below ten
    assert np.abs(found - differences).max() < 1e-8
