"""The examples on sequences: the add task and the character model, run short, and their parts."""

from __future__ import annotations

import importlib.util
import math
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from linear_cells import peak

from derive.library.networks import lstm_classifier

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
Array = np.ndarray[Any, Any]


def load(name: str) -> ModuleType:
    """An example as a module."""
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def run(name: str) -> str:
    """What an example prints when it is run short; it must succeed."""
    command = [sys.executable, str(EXAMPLES / f"{name}.py"), "--quick"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def add_task() -> ModuleType:
    return load("add_task")


@pytest.fixture(scope="module")
def characters() -> ModuleType:
    pytest.importorskip("matplotlib")
    return load("characters")


# --- the add task


def entropy(p: float) -> float:
    """-p log p - (1 - p) log(1 - p) in nats."""
    return sum(-q * math.log(q) for q in (p, 1 - p) if q > 0)


def test_the_floors_are_the_entropies(add_task: ModuleType) -> None:
    """P(y = 1): 3/8 on average; 3/8 +- 1/4 by the first lag; 1/2, 1/4, 1, 3/4 by both."""
    by_hand = [
        entropy(5 / 8),
        (entropy(3 / 8) + entropy(7 / 8)) / 2,
        (entropy(1 / 2) + entropy(1 / 4) + entropy(1) + entropy(3 / 4)) / 4,
    ]
    for known, (floor, printed) in enumerate(
        zip(by_hand, [0.66156, 0.51917, 0.45445], strict=True)
    ):
        assert abs(add_task.floor(known) - floor) < 1e-15
        assert abs(floor - printed) < 5e-6  # five digits


def test_the_coins_have_their_probabilities(add_task: ModuleType) -> None:
    """The frequencies of 56,000 coins, within five standard deviations of each of the four."""
    x, y = add_task.sequences(np.random.default_rng(5), 2000)
    first, second, now = x[6:-6, :, 0], x[:-12, :, 0], y[12:]
    assert abs(x.mean() - 0.5) < 5 * 0.5 / math.sqrt(x.size)
    for a, b, p in [(0, 0, 0.5), (0, 1, 0.25), (1, 0, 1.0), (1, 1, 0.75)]:
        chosen = now[(first == a) & (second == b)]
        assert abs(chosen.mean() - p) <= 5 * math.sqrt(p * (1 - p) / chosen.size)
    w = add_task.weights(3)
    assert w[:12].sum() == 0 and abs(w.sum() - 1) < 1e-14


def test_exact_methods_learn_what_three_steps_do_not_see() -> None:
    printed = run("add_task")
    found = dict(re.findall(r"^(\w.*?)\s{2,}(\d\.\d{4})", printed, re.MULTILINE))
    held_out = {name: float(loss) for name, loss in found.items()}
    assert len(held_out) == 9
    exact = [held_out[name] for name in ("bptt", "rtrl", "hybrid, blocks of 16")]
    # three gradients that differ in rounding alone: the same four digits after 300 updates
    assert max(exact) - min(exact) < 2e-4 and max(exact) < 0.52  # below the floor of one lag
    assert held_out["truncated, every 1, 6 down"] > 0.6 > held_out["truncated, every 1, 7 down"]


# --- the character model


def test_the_character_model_and_its_methods() -> None:
    pytest.importorskip("matplotlib")
    printed = run("characters")
    unigram, bigram = map(float, re.findall(r"(?:uni|bi)gram (\d\.\d+)", printed))
    (lstm,) = map(float, re.findall(r"epoch 1: (\d\.\d+)", printed))
    assert bigram < lstm < unigram  # 39 updates only; a full run is below the bigrams
    (apart,) = map(float, re.findall(r"over 100 updates: (\S+) apart", printed))
    assert apart < 1e-8


def test_the_parts_of_the_text_are_parts(characters: ModuleType) -> None:
    text = characters.Text.of_topics()
    whole = "\n\n".join(characters.topics.values())
    assert len(text.learned) + len(text.tuned) + len(text.held_out) == len(whole)
    assert abs(len(text.held_out) - len(whole) / 10) < 1
    short = characters.Text.of_topics(1000)
    assert (short.learned == text.learned[-1000:]).all()
    assert (short.held_out == text.held_out).all()
    assert max(a.max() for a in (text.learned, text.tuned, text.held_out)) < text.size
    assert text.learned.max() < text.size - 1  # the last one stands for what is unknown


def test_the_bigram_model_is_a_distribution_of_the_best_weights(characters: ModuleType) -> None:
    text = characters.Text.of_topics(20_000)
    bigram = characters.Bigram(text)
    for order, weights in bigram.weights.items():
        sums = np.tensordot(weights, bigram.models[: order + 1], axes=1).sum(axis=-1)
        seen = np.unique(text.learned[:-1])
        assert np.abs(sums[seen] - 1).max() < 1e-12  # 104 terms, and weights off by eps each
        best = bigram.bits(text.tuned, order)
        for k in range(order):
            bigram.weights[order] = weights + 0.01 * (np.eye(order + 1)[k] - np.eye(order + 1)[-1])
            assert bigram.bits(text.tuned, order) > best
        bigram.weights[order] = weights
    assert bigram.bits(text.held_out, 2) < bigram.bits(text.held_out, 1) < math.log2(text.size)


def test_bigrams_of_a_known_text(characters: ModuleType) -> None:
    """abab.. has no bit per character to tell by its bigrams, and one by its unigrams."""
    text = np.arange(400) % 2
    bigram = characters.Bigram(characters.Text(text, text, text, 2))
    assert bigram.bits(text, 2) < 1e-6 and abs(bigram.bits(text, 1) - 1) < 1e-12


def test_pieces_are_the_streams_in_order(characters: ModuleType) -> None:
    text = np.arange(characters.STREAMS * (3 * characters.PIECE + 5))
    pieces = list(characters.pieces(text))
    length = len(text) // characters.STREAMS
    assert len(pieces) == 3
    for k, (x, y) in enumerate(pieces):
        assert (y == x + 1).all()
        assert (x[0] == np.arange(characters.STREAMS) * length + k * characters.PIECE).all()


# --- the picture of gradients by distance


def test_flows_are_drawn_on_logarithmic_axes(tmp_path: Path) -> None:
    pyplot = pytest.importorskip("matplotlib.pyplot")
    example = load("gradient_flow")
    norm = 0.5 ** np.arange(6)
    flows = {
        "halved": example.GradientFlow("halved", norm, norm, norm),
        "a batch, one vanished": example.GradientFlow("two", np.stack([norm, 0 * norm], 1), norm),
    }
    path = example.plot(flows, tmp_path / "new" / "flow.png")
    assert path.read_bytes().startswith(b"\x89PNG")
    left, right = pyplot.gcf().axes
    assert left.get_yscale() == "log" and left.get_xlabel() and left.get_ylabel()
    assert [len(axes.lines) for axes in (left, right)] == [2, 1]
    assert np.abs(left.lines[0].get_ydata() / norm - 1).max() < 1e-14  # exp of log: 10 eps
    labels = [text.get_text() for text in pyplot.gcf().legends[0].get_texts()]
    assert labels == list(flows)


# --- a class index as the input, and a largest entry in a cell: selectors of a step


def agree(network: Any, theta: dict[str, Any], data: tuple[Array, ...]) -> None:
    """All methods give one gradient, for blocks that divide the steps, do not, or are longer."""
    gradient = network.compile().recurrence.gradient
    flat = network.flat(theta)
    exact = gradient(flat, *data)
    for block in (None, 1, 3, 9):
        options = {"method": "rtrl"} if block is None else {"method": "hybrid", "block": block}
        found = gradient(flat, *data, **options)
        for name, bar in exact.by.items():
            # sums of fewer than 200 terms in another order, none of which cancel altogether
            assert np.abs(found.by[name] - bar).max() < 1e-13 * np.abs(bar).max(), (name, block)


def test_the_methods_agree_for_class_indices(characters: ModuleType) -> None:
    rng = np.random.default_rng(6)
    theta = characters.characters.initial(rng, {"n": 3, "m": 5, "prediction_k": 4})
    k, y = rng.integers(5, size=(7, 2)), rng.integers(4, size=(7, 2))
    agree(characters.characters, theta, (k, y))


def test_the_methods_agree_where_a_largest_entry_is_picked() -> None:
    rng = np.random.default_rng(7)
    theta = peak.initial(rng, {"n": 3, "m": 5, "prediction_k": 4})
    agree(peak, theta, (rng.normal(size=(7, 2, 5)), rng.normal(size=(7, 2, 4))))


def test_a_column_is_the_product_with_an_indicator(characters: ModuleType) -> None:
    """The character model's LSTM is the library's on one-hot vectors."""
    rng = np.random.default_rng(8)
    net = characters.characters
    flat = net.flat(net.initial(rng, {"n": 3, "m": 5, "prediction_k": 4}))
    k, y = rng.integers(5, size=(7, 2)), rng.integers(4, size=(7, 2))
    plain = lstm_classifier.compile().recurrence.gradient(flat, np.eye(5)[k], y)
    found = net.compile().recurrence.gradient(flat, k, y)
    for name, bar in plain.by.items():
        assert np.abs(found.by[name] - bar).max() < 1e-13 * np.abs(bar).max(), name
