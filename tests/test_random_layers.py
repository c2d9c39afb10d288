"""200 random layers of fixed seeds, and every layer that was ever found, against PyTorch.

Each test is a bundle of layers whose kernels are one module; the rest is for the command
`python tests/random_layers.py`.
"""

import inspect
from pathlib import Path

import found_layers
import numpy as np
import pytest
import random_bundles
import random_differences
import random_layers
from random_drafts import Argument, Draft, Statement, declaration, source
from random_drawing import drawn
from random_points import Finding, distance
from random_shrinking import shrunk
from random_trials import Trial

from derive import Layer, R, dims, elementwise_function, tanh

SEED, BUNDLES, EACH = 11, 8, 25
n = dims("n")


@pytest.fixture(scope="module")
def torch():
    reason = "PyTorch is an optional oracle: pip install 'layerwise[oracle]'"
    return pytest.importorskip("torch", reason=reason)


@pytest.fixture
def folder(request) -> Path:
    """A folder that stays from run to run, so that what did not change is not compiled again."""
    return Path(request.config.cache.mkdir("random_layers"))


@pytest.mark.parametrize("number", range(BUNDLES))
def test_layers_of_fixed_seeds_are_right(folder, torch, number) -> None:
    numbers = range(number * EACH, (number + 1) * EACH)
    drafts = [drawn(SEED, k) for k in numbers]
    name = f"random_{SEED}_{number}"
    report = random_layers.run(drafts, name, folder / name)
    shown = [f"{finding}\n{source([draft])}" for draft, finding in report.wrong]
    assert not shown, "\n\n".join(shown)
    assert report.rejected.total() <= 3, str(report)  # what is rejected shows nothing


FOUND = {name: f for name, f in vars(found_layers).items() if isinstance(f, Layer)}


def test_what_was_found_is_right(folder, torch) -> None:
    torch.set_num_threads(1)
    trials = [
        Trial(f, getattr(found_layers, f"{name}_torch"), torch=torch).run()
        for name, f in FOUND.items()
    ]
    assert not any(trial.rejected for trial in trials)
    random_bundles.measure(
        [t for t in trials if not t.findings], "found_layers", folder, random_bundles.QUICK
    )
    assert {t.layer.name: t.findings for t in trials if t.findings} == {}


# --- the generator itself


def test_a_seed_is_a_layer() -> None:
    assert drawn(3, 5) == drawn(3, 5)
    assert drawn(3, 5) != drawn(3, 6)


def test_everything_public_that_kernels_have_is_drawn() -> None:
    """What a formula is written with, but for what has no oracle or is another's argument."""
    from derive import _HOMES

    text = "\n".join(declaration(drawn(seed, k)) for seed in range(4) for k in range(500))
    others = {"language.roles", "language.running_sums"}
    rooms = [room for room in _HOMES if room.startswith("vocabulary.") or room in others]
    names = " ".join(_HOMES[room] for room in rooms).split()
    missing = {name for name in names if f"{name}(" not in text}
    assert missing == {"uninterpreted"}
    assert all(word in text for word in ("sympy.Piecewise", "sympy.Or", "sympy.Abs", "held("))


def test_a_wrong_derivative_is_found_at_every_stage(folder, torch) -> None:
    """A layer beside the oracle of another one: the maps, the programs and the kernels differ."""
    layer = Layer.of("cubed", state={"x": R(n)}, output=lambda x: x**3)
    trial = Trial(layer, lambda torch, noisy, x, **sizes: noisy(x * x * x.detach()), torch=torch)
    stages = {f.stage for f in trial.run().findings}
    assert stages == {"reference", "maps"}
    assert {f.message.split(":")[0] for f in trial.findings if f.stage == "reference"} == {
        *("tangent", "backward", "tangent_backward")
    }
    trial.findings.clear()
    random_bundles.measure([trial], "wrong_oracle", folder, random_bundles.QUICK)
    assert {f.stage for f in trial.findings} == {"float64", "float32"}


@pytest.mark.parametrize("factor", [1.0, 1.001])
def test_differences_see_what_pytorch_sees(factor) -> None:
    """The oracle without PyTorch: right for a right layer, and off for a slope that is not."""
    psi = elementwise_function("psi", lambda t: t**2)
    layer = Layer.of("f", state={"x": R(n)}, parameters={"w": R(n)}, output=lambda x, w: psi(x) * w)
    trial = Trial(layer, None)
    derived = trial.run().reference()
    assert trial.findings == [] and not trial.rejected
    derived["tangent"] = [part * factor for part in derived["tangent"]]
    trial.reference = lambda: derived if trial.values is values else Trial.reference(trial)
    values = trial.values
    found = [f.message.split(":")[0] for f in random_differences.findings(trial, derived)]
    assert found == ([] if factor == 1 else ["tangent", "backward"])


def test_a_layer_is_rejected_where_noise_decides() -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is an optional oracle: pip install "
                                "'layerwise[oracle]'")  # fmt: skip
    layer = Layer.of("f", state={"x": R(n)}, output=lambda x: tanh(x) + 10**9 - 10**9)
    trial = Trial(layer, lambda torch, noisy, x, **_: noisy(noisy(torch.tanh(x)) + 1e9) - 1e9,
                  torch=torch).run()  # fmt: skip
    assert (trial.rejected, trial.findings) == ("badly conditioned", [])


def test_shrinking_keeps_what_is_wrong() -> None:
    """Of seven statements the one that is to blame, on an argument."""
    fails_at = Finding("reference", "forward: off")

    def fails(draft: Draft) -> Finding | None:
        return fails_at if any("gelu" in s.layerwise for s in draft.statements) else None

    chain = ("tanh({0})", "relu({0})", "gelu({0})", "exp({0})", "{0} * {0}")
    names = ("x0", "t1", "t2", "t3", "t4", "t5")
    statements = tuple(
        Statement(names[k + 1], text, text, (names[k],) * text.count("{0}"), (n,), "entrywise")
        for k, text in enumerate(chain)
    )
    argument = Argument("x0", "R(n)", "state", (n,))
    draft = Draft("f", (argument,), statements, ("t5", "t2"))
    small, found = shrunk(draft, fails_at, fails)
    assert found is fails_at
    assert [s.layerwise for s in small.statements] == ["gelu({0})"]
    assert len(small.arguments) == 1 and small.outputs == ("t3",)
    assert "gelu(" in inspect.cleandoc(declaration(small))


def test_distances_are_relative_and_nan_is_far() -> None:
    assert distance([np.array([1.0, 4.0])], [np.array([1.0, 2.0])], 2.0, 1e-290) == 1.0
    assert distance([np.array([np.nan])], [np.array([1.0])], 1.0, 1e-290) == np.inf
