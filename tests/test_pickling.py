"""Kernels in a pickle: a reference that loads or builds them again; copies are the same kernels."""

import copy
import importlib
import pickle
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cached import elsewhere, power, surroundings  # noqa: F401
from drawn_calls import generated
from sequence_points import BATCH, parameters, sequences

from derive import Layer
from derive.kernels.compiling.modules import EXTENSION
from derive.kernels.interpreting import plain_edge
from derive.kernels.interpreting.evaluated import evaluated_module
from derive.library.dense import dense
from derive.library.networks import elman
from derive.runtime.pickling import Kernels, referable
from derive.tools.build import load_kernels
from derive.tools.cache import again
from derive.tools.references import reference

COPIES = [copy.copy, copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))]


@pytest.mark.parametrize("copied", COPIES)
def test_a_module_of_the_library_and_its_kernels_pickle_by_name(copied: Any) -> None:
    dense = generated("dense")
    assert isinstance(dense, Kernels)
    assert copied(dense) is dense
    assert copied(dense.forward) is dense.forward
    held = copied({"kernels": [dense, dense.backward]})
    assert held["kernels"] == [dense, dense.backward]
    assert b"derive.generated.dense" in pickle.dumps(dense.forward)


@pytest.mark.usefixtures("surroundings")
@pytest.mark.parametrize("copied", COPIES)
def test_compiled_kernels_in_the_same_process_are_the_same(copied: Any, tmp_path: Path) -> None:
    for kernels in (power(3).compile(), power(3).compile(cache=tmp_path / "cache")):
        assert copied(kernels) is kernels
        assert copied(kernels.forward) is kernels.forward


def cubed(kernels: Any, forward: Any) -> tuple[float, float]:
    three = np.array([3.0])
    return float(kernels.forward(three)[0]), float(forward(three)[0])


def read_and_called(held: bytes) -> tuple[float, float]:
    kernels, forward = pickle.loads(held)
    return cubed(kernels, forward)


@pytest.mark.usefixtures("surroundings")
def test_another_process_loads_them_or_builds_them_again(tmp_path: Path) -> None:
    kernels = power(5).compile(cache=tmp_path / "cache")
    assert elsewhere(cubed, kernels, kernels.forward) == (45.0, 45.0)
    held = pickle.dumps((kernels, kernels.forward))
    for file in (tmp_path / "cache").rglob("*.so"):
        file.unlink()
    assert elsewhere(read_and_called, held) == (45.0, 45.0)


@pytest.mark.usefixtures("surroundings")
def test_a_process_that_has_imported_nothing_reads_them(tmp_path: Path) -> None:
    held = pickle.dumps(dense.compile(cache=tmp_path / "cache").forward)
    program = "import pickle, sys; print(pickle.load(sys.stdin.buffer).name)"
    found = subprocess.run([sys.executable, "-c", program], input=held, capture_output=True)
    assert found.stdout.decode().strip() == "dense.forward", found.stderr.decode()


def test_kernels_of_the_reference_are_copied_as_themselves() -> None:
    kernels = evaluated_module(power(2), plain_edge)
    assert copy.deepcopy(kernels.forward) is kernels.forward
    with pytest.raises(pickle.PicklingError, match=r"power\.forward is in no module of kernels"):
        pickle.dumps(kernels.forward)


@pytest.mark.usefixtures("surroundings")
def test_what_can_not_be_had_again_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    power(7).compile(cache=tmp_path / "cache")
    (library,) = (tmp_path / "cache").rglob(f"power{EXTENSION}")
    shutil.copy(library, tmp_path)  # a library of its own: Python loads one only once
    kernels = load_kernels("power", tmp_path)
    held = pickle.dumps((kernels, kernels.forward))
    monkeypatch.delitem(sys.modules, "power")
    with pytest.raises(pickle.PicklingError, match=r"power were loaded from .* and not imported"):
        pickle.dumps(kernels.forward)
    with pytest.raises(ImportError, match=r"kernels power, .* put their folder on sys.path"):
        pickle.loads(held)
    monkeypatch.syspath_prepend(str(tmp_path))
    there, forward = pickle.loads(held)
    assert there is importlib.import_module("power") and forward is there.forward
    monkeypatch.delitem(sys.modules, "power")


class Local(Layer):
    """A layer that can't be pickled."""

    def __reduce__(self) -> Any:
        raise LookupError("not today")


def test_a_layer_that_is_not_pickled_is_named_with_its_kernels() -> None:
    layer = power(2)
    local = Local(layer.name, layer.arguments, layer.output)
    kernels = evaluated_module(layer, plain_edge)
    referable(kernels, reference(local, None, again))
    for held in (kernels, kernels.forward):
        with pytest.raises(pickle.PicklingError, match="their layer can't: LookupError: not today"):
            pickle.dumps(held)


def test_a_bound_kernel_is_not_pickled() -> None:
    dense = generated("dense")
    bound = dense.forward.bind(np.ones((2, 3)), np.ones((4, 3)), np.ones(4))
    with pytest.raises(pickle.PicklingError, match=r"dense.forward: a bound kernel holds the arr"):
        pickle.dumps(bound)


@pytest.mark.parametrize("copied", COPIES)
def test_sequences_and_a_stepper_go_on_as_before(copied: Any) -> None:
    run, (x, y) = generated("elman").recurrence, sequences()
    theta = elman.flat(parameters())
    assert copied(run).gradient(theta, x, y).loss == run.gradient(theta, x, y).loss
    stepper = run.stepper(theta, batch=BATCH)
    stepper.step(x[0], y[0])
    other = copied(stepper)
    for t in (1, 2):
        assert other.step(x[t], y[t]) == stepper.step(x[t], y[t])
    for name, bar in stepper.gradient.items():
        assert np.array_equal(other.gradient[name], bar)
    stepper.step(x[3], y[3])
    assert other.steps == 3  # two steppers, not one
    assert not np.array_equal(other.state, stepper.state)


def gone_on(run: Any, stepper: Any) -> tuple[float, float]:
    x, y = sequences()
    theta = elman.flat(parameters())
    return run.gradient(theta, x, y).loss, stepper.step(x[1], y[1])


def test_they_go_on_in_another_process() -> None:
    run, (x, y) = generated("elman").recurrence, sequences()
    stepper = run.stepper(elman.flat(parameters()), batch=BATCH)
    stepper.step(x[0], y[0])
    there = elsewhere(gone_on, run, stepper)
    assert there == gone_on(run, stepper)
