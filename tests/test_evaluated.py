"""Kernels without a compiler: the same calls, the same results, the same refusals."""

import inspect
import threading
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from cached import QUICK, power, surroundings
from declared import LAYERS
from kernels import DTYPES, ROUNDING, Runner, filled, least, relative, unequal

from derive import Gram, Hom, Layer, R, dims, tanh
from derive.kernels.compiling import compile as compile_
from derive.kernels.interpreting import evaluated as subject
from derive.library.networks import mlp
from derive.runtime import edge
from derive.tools import cache

__all__ = ["surroundings"]
n, m = dims("n m")
WEIGHED = Layer.of(
    "weighed",
    state={"x": R(m)},
    parameters={"W": Hom(R(m), R(n, gram=Gram("G")))},
    output=lambda x, W: tanh(W @ x),
)
# products, class indices, masks, derived sizes, a gradient, what is fixed, Gram matrices, a network
# and its loss
CHOSEN = [
    *(LAYERS[name] for name in ("lstm_step", "embedding", "masked", "conv1d", "squares")),
    *(LAYERS[name] for name in ("evaluated", "permuted")),
    *(WEIGHED, mlp),
]
CONV = LAYERS["conv1d"]


@pytest.fixture(scope="module")
def pairs(tmp_path_factory) -> dict[str, tuple[ModuleType, ModuleType]]:
    """Compiled and evaluated kernels by the layer's name."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cache, "FLAGS", QUICK)
        compiled = {layer.name: layer.compile(cache=folder) for layer in CHOSEN}
    return {
        layer.name: (compiled[layer.name], subject.evaluated_module(layer, edge))
        for layer in CHOSEN
    }


def without_compiler(patch: pytest.MonkeyPatch) -> None:
    patch.delenv("CC", raising=False)
    patch.setenv("PATH", "")
    patch.setattr(compile_.sysconfig, "get_config_var", lambda _: "some-cc")


@pytest.mark.usefixtures("surroundings")
def test_without_a_compiler_there_is_one_warning_and_the_calls_are_the_same(tmp_path, monkeypatch):
    without_compiler(monkeypatch)
    layer = power(2)
    with pytest.warns(UserWarning, match=r"^No C compiler .* NumPy reference computes") as said:
        kernels = layer.compile()
    assert len(said) == 1 and said[0].filename == __file__
    assert layer.compile() is kernels and kernels.__name__ == "power"
    assert kernels.forward(np.array([1.0, 3.0])).tolist() == [2.0, 18.0]
    x, y_bar, out = np.array([[1.0, 3.0]]), np.array([[1.0, 10.0]]), np.ones((1, 2))
    assert kernels.backward(x, y_bar, out=out) is out
    assert out.tolist() == [[5.0, 121.0]]
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize("layer", CHOSEN, ids=lambda layer: layer.name)
def test_results_are_those_of_the_compiled_kernels(pairs, layer):
    """Both are within ROUNDING of what is exact, so within twice that of each other."""
    for dtype in DTYPES:
        for sizes, batch in ((unequal(layer), 4), (unequal(layer), 0), (least(layer), 1)):
            compiled, evaluated = (Runner(k, layer, sizes, batch, dtype) for k in pairs[layer.name])
            for name in compiled.programs:
                point = compiled.point(name)
                expected = compiled.results(name, point)
                out = tuple(filled(e, 1.0, dtype) for e in expected)
                start = float(compiled.programs[name].accumulate)
                found = evaluated.results(name, point, out)
                unit = 2 * ROUNDING * float(np.finfo(dtype).eps)
                for f, e, given in zip(found, expected, out, strict=True):
                    assert relative(f, e, start) <= unit, (name, dtype, batch)
                    assert f is given or isinstance(f, tuple)


@pytest.mark.parametrize("layer", CHOSEN, ids=lambda layer: layer.name)
def test_declarations_are_those_of_the_compiled_kernels(pairs, layer):
    sizes = {"batch": 7, **{str(size): 5 + k for k, size in enumerate(layer.sizes)}}
    compiled, evaluated = pairs[layer.name]
    kernels = [name for name, value in vars(compiled).items() if type(value) is edge.Kernel]
    assert kernels == [name for name in vars(evaluated) if not name.startswith("__")]
    for name in kernels:
        one, other = getattr(compiled, name), getattr(evaluated, name)
        for what in ("name", "sizes", "mode", "saved_role"):
            assert getattr(one, what) == getattr(other, what)
        assert one.saved_size(**sizes) == other.saved_size(**sizes)
        assert one.workspace_size(**sizes) == other.workspace_size(**sizes)
        assert repr(one) == repr(other) and one.__doc__.startswith(other.__doc__)
        assert inspect.signature(one) == inspect.signature(other)


X, K, B = np.ones((2, 5)), np.ones((3, 2)), np.ones(3)
SAVED, BAR = np.ones(2 * 3 * 4), np.ones((2, 3, 4))
STATE, OUT = np.ones((2, 4)), np.zeros((2, 5))
REFUSED: list[tuple[str, str, tuple[Any, ...], dict[str, Any]]] = [
    ("conv1d", "forward", (X, K), {}),
    ("conv1d", "forward", (X, None, B), {}),
    ("conv1d", "forward", (X, K.astype("f4"), B), {}),
    ("conv1d", "forward", (X, K, np.ones(4)), {}),
    ("conv1d", "forward", (X, K, B), {"out": np.zeros((2, 3, 5))}),
    ("conv1d", "forward", (X, K, B), {"out": np.zeros((4, 3, 2)).T}),
    ("conv1d", "forward", (X, K, B), {"saved": np.zeros(3)}),
    ("conv1d", "forward", (X, K, B), {"m": 6}),
    ("conv1d", "backward", (X, K, B, BAR), {}),
    ("conv1d", "backward", (X, K, B, BAR[:, :, 1:]), {"saved": SAVED}),
    ("conv1d", "backward", (X, K, B, BAR), {"saved": SAVED, "out": (X, None, None)}),
    ("conv1d", "backward", (X, K, B, BAR), {"saved": SAVED, "out": {"y": X}}),
    ("conv1d", "backward", (X[0], K, B, BAR), {"saved": SAVED}),
    ("embedding", "forward", (np.array([[1, 9]]), np.ones((4, 3))), {}),
    ("embedding", "forward", (np.array([[1.0, 2]]), np.ones((4, 3))), {}),
    ("masked", "forward", (STATE, 2 * STATE, STATE, np.array(1.0)), {}),
    ("lstm_step", "forward", (X, X, X, X, X), {}),
    ("evaluated", "forward", (STATE, STATE[0], STATE, STATE[0], STATE[0]), {}),
    ("evaluated", "forward", (STATE, STATE[0], STATE[0], STATE[0], B), {}),
    ("permuted", "forward", (STATE, np.full(4, 4), np.ones((3, 4)), (B, STATE[0])), {}),
]


@pytest.mark.parametrize(("layer", "name", "given", "named"), REFUSED)
def test_refusals_are_those_of_the_compiled_kernels(pairs, layer, name, given, named):
    sentences = []
    for kernels in pairs[layer]:
        with pytest.raises((TypeError, ValueError)) as refused:
            getattr(kernels, name)(*given, **named)
        sentences.append((refused.type, str(refused.value)))
    assert sentences[0] == sentences[1]


def test_what_is_not_asked_for_is_not_computed(pairs, monkeypatch):
    asked = []
    values_of = subject.values_of
    monkeypatch.setattr(
        subject, "values_of", lambda nodes, *rest: asked.append(nodes) or values_of(nodes, *rest)
    )
    _, kernels = pairs["conv1d"]
    found = kernels.backward(X, K, B, BAR, saved=SAVED, out={"K_bar": np.zeros((3, 2))})
    assert found[0] is None and found[2] is None and len(asked[0]) == 1


def test_bound_arrays_are_read_again_at_each_call(pairs):
    x, K_, b = X.copy(), K.copy(), B.copy()
    compiled, evaluated = (kernels.forward.bind(x, K_, b) for kernels in pairs["conv1d"])
    for number in (0.5, 0.25):
        x[...] = number
        assert evaluated() is evaluated.results
        assert relative(evaluated.results, compiled()) <= 2 * ROUNDING * np.finfo(float).eps
    out = np.ones((2, 5))
    bound = pairs["conv1d"][1].backward.bind(x, K_, b, BAR, saved=SAVED, out=(out, None, None))
    once = bound()[0].copy()
    assert relative(bound()[0], 2 * once - 1) <= ROUNDING * np.finfo(float).eps


def test_a_failure_is_raised_and_leaves_arrays_as_they_were(pairs, monkeypatch):
    _, kernels = pairs["conv1d"]
    y, bound = np.full((2, 3, 4), 7.0), kernels.forward.bind(X, K, B, out=np.zeros((2, 3, 4)))

    def fail(*_: Any) -> None:
        raise failure

    monkeypatch.setattr(subject, "values_of", fail)
    for failure in (MemoryError("no more"), KeyboardInterrupt()):
        for call in (lambda: kernels.forward(X, K, B, out=y), bound):
            with pytest.raises(type(failure)):
                call()
    assert np.all(y == 7.0)
    monkeypatch.undo()
    assert np.all(kernels.forward(X, K, B, out=y) == np.tanh(3.0))


def test_a_failure_is_that_of_its_thread(pairs, monkeypatch):
    """One thread fails; before it has said so, the main thread makes a whole call."""
    _, kernels = pairs["conv1d"]
    failed, done = threading.Event(), threading.Event()
    values_of, raise_failure = subject.values_of, subject._Evaluation.raise_failure
    main = threading.main_thread()

    def of_main_only(*given: Any) -> Any:
        if threading.current_thread() is not main:
            raise MemoryError("no more")
        return values_of(*given)

    def after_main(evaluation: Any) -> None:
        if threading.current_thread() is not main:
            failed.set()
            done.wait(10)
        raise_failure(evaluation)

    monkeypatch.setattr(subject, "values_of", of_main_only)
    monkeypatch.setattr(subject._Evaluation, "raise_failure", after_main)
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(kernels.forward, X, K, B)
        assert failed.wait(10)
        assert np.all(kernels.forward(X, K, B) == np.tanh(3.0))
        done.set()
        assert isinstance(other.exception(), MemoryError)
