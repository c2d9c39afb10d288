"""The checks of a call are one table, which the compiled and the plain edge follow."""

from __future__ import annotations

import sys
import traceback
import warnings
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from drawn_calls import generated, kernels_of, known, sizes_of, whole_call, zeros
from edge_kernels import misaligned, read_only
from fuzzed_calls import NAMES, bad_call

from derive import library
from derive.kernels.interpreting import plain_edge
from derive.kernels.interpreting.evaluated import evaluated_module
from derive.runtime import checks
from derive.runtime import steps as compiled_edge
from derive.runtime.called import Call

Named = dict[str, Any]
Change = Callable[[Named], object]
Outcome = tuple[str, type[BaseException] | None, str]
ROWS = [row.__name__ for row in checks.CHECKS]


@cache
def twin(name: str) -> Any:
    """The kernels of a layer, interpreted, behind the edge in Python."""
    return evaluated_module(library.layers()[name], plain_edge)


def good_call(layer: str, program: str) -> Named:
    """A call with everything in it that the kernel takes."""
    module, sizes = generated(layer), sizes_of(layer)
    kernel, call = getattr(module, program), whole_call(module, program, sizes)
    out = zeros(kernel, sizes, np.float64)
    call |= {"out": out[0] if len(out) == 1 else tuple(out)}
    call["workspace"] = np.zeros(kernel.workspace_size(**known(kernel, sizes)))
    if kernel.saved_role == "written":
        call["saved"] = np.zeros(kernel.saved_size(**known(kernel, sizes)))
    return call


# --- where and why a call is refused, by either edge


def by_compiled(kernel: Any, call: Named, binding: bool = False) -> Outcome:
    """The step that a call does not pass, the exception and the sentence; or no step."""
    steps: list[str] = []
    usual = compiled_edge.refusal

    def told(step: str, *given: Any, **named: Any) -> Exception:
        steps.append(step)
        return usual(step, *given, **named)

    compiled_edge.refusal = told
    try:
        (kernel.bind if binding else kernel)(**call)
    except Exception as error:
        # a step that calls a function of a row is seen in the traceback
        frames = [
            frame.name.rpartition(".")[2] for frame in traceback.extract_tb(error.__traceback__)
        ]
        steps += [name for name in frames if name in compiled_edge.NAMES]
        return steps[0], type(error), sentence(error)
    finally:
        compiled_edge.refusal = usual
    return "", None, ""


def by_table(kernel: Any, call: Named, binding: bool = False) -> Outcome:
    """The same of the rows in Python, one after the other."""
    made = Call(kernel._checked._slots, binding, (), **call)
    for row in checks.CHECKS:
        try:
            row(made)
        except Exception as error:
            return row.__name__, type(error), sentence(error)
    return "", None, ""


def sentence(error: BaseException) -> str:
    """What is said; of memory that the system lacks each says something else."""
    return "" if isinstance(error, MemoryError) else str(error)


def both(layer: str, program: str, call: Named, binding: bool = False) -> tuple[Outcome, Outcome]:
    one, other = getattr(generated(layer), program), getattr(twin(layer), program)
    return by_compiled(one, call, binding), by_table(other, call, binding)


# --- bad calls for each row


def put(name: str, change: Callable[[Any], Any]) -> Change:
    """One value of a call is another."""
    return lambda call: call.update({name: change(call[name])})


def gone(name: str) -> Change:
    return lambda call: call.pop(name)


def too_small(call: Named) -> None:
    """A window of two does not fit, and no array that is given shows that."""
    call.update(x=call["x"][:, :, :1], out=None, saved=None)


FAULTS: list[tuple[str, str, str, Change]] = [
    ("arguments", "dense", "forward", gone("b")),
    ("arguments", "dense", "forward", lambda call: call.update(c=call["b"])),
    ("arguments", "dense", "backward", lambda call: call.update(cotangent=call["y_bar"])),
    ("arrays", "dense", "forward", put("W", lambda W: None)),
    ("arrays", "dense", "forward", put("W", np.ma.masked_array)),
    ("arrays", "dense", "forward", put("x", lambda x: [[1.0], [1.0, 2.0]])),
    ("dtypes", "dense", "forward", put("x", lambda x: x.astype(int))),
    ("dtypes", "dense", "forward", put("W", lambda W: W.astype(np.float32))),
    ("dtypes", "dense", "forward", put("b", lambda b: b.astype(">f8"))),
    ("dtypes", "dense", "forward", put("b", lambda b: b.astype("M8[s]"))),
    ("dtypes", "dense", "forward", put("b", misaligned)),
    ("dtypes", "embedding_lookup", "forward", put("k", lambda k: k.astype(float))),
    ("dtypes", "embedding_lookup", "forward", put("k", misaligned)),
    ("dtypes", "elman", "loss", put("reset", lambda mask: mask.astype(int))),
    ("dtypes", "elman", "start", put("out", lambda out: {"U_bar": 1})),
    ("axes", "dense", "forward", put("W", lambda W: W[0])),
    ("axes", "dense", "backward", put("x", lambda x: x[0])),
    ("keywords", "elman", "start", gone("n")),
    ("keywords", "elman", "start", put("n", lambda n: 2.0)),
    ("keywords", "elman", "start", put("n", lambda n: 2**70)),
    ("keywords", "dense", "forward", lambda call: call.update(m=-1)),
    ("sizes", "dense", "forward", put("x", lambda x: x[:, :0])),
    ("sizes", "elman", "start", put("n", lambda n: 0)),
    ("within", "thesis_cnn_layer", "forward", put("x", lambda x: x[..., :1])),
    ("shapes", "dense", "forward", put("W", lambda W: W[:, :2])),
    ("shapes", "dense", "forward", lambda call: call.update(m=7)),
    ("shapes", "max_pooling", "backward", put("y_bar", lambda y_bar: y_bar[..., :0])),
    ("saved", "dense", "backward", gone("saved")),
    ("saved", "dense", "backward", put("saved", lambda saved: saved[:-1])),
    ("saved", "dense", "backward", put("saved", lambda saved: saved.astype(np.float32))),
    ("saved", "dense", "forward", put("saved", lambda saved: saved.tolist())),
    ("saved", "dense", "forward", put("saved", read_only)),
    ("saved", "dense", "tangent", lambda call: call.update(saved=np.zeros(3))),
    ("results", "dense", "forward", put("out", lambda out: out.tolist())),
    ("results", "dense", "forward", put("out", lambda out: out[:1])),
    ("results", "dense", "forward", put("out", lambda out: out.astype(np.float32))),
    ("results", "dense", "forward", put("out", np.asfortranarray)),
    ("results", "dense", "forward", put("out", read_only)),
    ("results", "dense", "forward", put("out", misaligned)),
    ("results", "dense", "backward", put("out", lambda out: out[:2])),
    ("results", "max_pooling", "forward", too_small),
    ("workspace", "dense", "forward", put("workspace", lambda array: array[:3])),
    ("workspace", "dense", "forward", put("workspace", lambda array: array.reshape(2, -1))),
    ("workspace", "dense", "forward", put("workspace", read_only)),
    ("overlap", "dense", "forward", lambda call: call.update(workspace=call["saved"])),
    ("overlap", "dense", "forward", lambda call: call.update(workspace=call["out"].reshape(-1))),
    ("ranges", "embedding_lookup", "forward", put("k", lambda k: k - 9)),
    ("ranges", "embedding_lookup", "forward", put("k", lambda k: k + 2**40)),
    ("ranges", "elman", "loss", put("reset", lambda mask: mask + 0.5)),
]
HELD: list[tuple[str, str, str, Change]] = [  # what only `bind` refuses
    ("arrays", "dense", "forward", put("W", lambda W: W.tolist())),
    ("copies", "dense", "forward", put("W", np.asfortranarray)),
    ("copies", "dense", "backward", put("saved", lambda saved: np.repeat(saved, 2)[::2])),
    ("copies", "embedding_lookup", "forward", put("k", lambda k: k.astype(np.int32))),
    ("copies", "elman", "loss", put("reset", lambda mask: mask.astype(bool))),
]
EVERY = [*((*fault, False) for fault in FAULTS), *((*fault, True) for fault in HELD)]


def test_the_steps_of_the_compiled_edge_are_the_rows_in_their_order() -> None:
    assert list(compiled_edge.NAMES) == ROWS
    assert {row for row, *_ in EVERY} == {*ROWS} and len(ROWS) == len(set(ROWS))
    assert all(row.__doc__ and row.__doc__.split("\n")[0].endswith(".") for row in checks.CHECKS)


@pytest.mark.parametrize(("row", "layer", "program", "change", "binding"), EVERY)
def test_a_bad_call_is_refused_by_its_row_alike(
    row: str, layer: str, program: str, change: Change, binding: bool
) -> None:
    call = good_call(layer, program)
    assert both(layer, program, call, binding) == (("", None, ""), ("", None, ""))
    change(call)
    arrays = [value for value in call.values() if isinstance(value, np.ndarray)]
    before = [array.tobytes() for array in arrays]
    compiled, table = both(layer, program, call, binding)
    assert compiled == table
    assert compiled[0] == row and compiled[1] in (TypeError, ValueError)
    kernel = getattr(twin(layer), program)
    with pytest.raises(compiled[1]) as refused:
        (kernel.bind if binding else kernel)(**call)
    assert str(refused.value) == compiled[2]
    assert [array.tobytes() for array in arrays] == before


@pytest.mark.parametrize("at", sorted({fault[1:3] for fault in FAULTS}), ids=".".join)
def test_of_two_faults_both_edges_name_the_first(at: tuple[str, str]) -> None:
    seen = 0
    for one, other in combinations([fault for fault in FAULTS if fault[1:3] == at], 2):
        if one[0] == other[0]:
            continue
        for first, second in ((one, other), (other, one)):
            call = good_call(*at)
            with suppress(
                KeyError, TypeError, IndexError, AttributeError
            ):  # the first took it away
                first[3](call)
                second[3](call)
                compiled, table = both(*at, call)
                assert compiled == table and compiled[0] in ROWS
                seen += compiled[0] == min(one[0], other[0], key=ROWS.index)
    assert seen or len({fault[0] for fault in FAULTS if fault[1:3] == at}) == 1


def fuzzed(seed: int, count: int) -> list[tuple[Outcome, Outcome]]:
    """Random calls with one to three faults, made and bound, as both edges see them."""
    rng = np.random.default_rng(seed)
    kernels = [(name, k) for name in NAMES for k in kernels_of(generated(name))]
    found = []
    for _ in range(count):
        layer, program = kernels[rng.integers(len(kernels))]
        call = bad_call(generated(layer), program, sizes_of(layer), rng)
        found.append(both(layer, program, call, bool(rng.integers(2))))
    return found


def test_the_edges_agree_on_random_calls() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = fuzzed(7, 2000)
    assert [pair for pair in found if pair[0] != pair[1]] == []
    assert {row for (row, *_), _ in found} > {"", *ROWS} - {"keywords", "within", "overlap"}


# --- where the two disagree, it is said


@pytest.mark.parametrize("row", ROWS)
def test_a_row_that_is_taken_away_is_missed(row: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "CHECKS", tuple(r for r in checks.CHECKS if r.__name__ != row))
    for name, layer, program, change, binding in EVERY:
        if name == row:
            call = good_call(layer, program)
            change(call)
            compiled, table = both(layer, program, call, binding)
            assert table[0] != row and compiled[0] == row, (compiled, table)


@pytest.mark.parametrize("row", ["axes", "shapes", "saved", "workspace", "overlap", "copies"])
def test_a_disagreement_names_the_kernel_and_the_step(
    row: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "CHECKS", checks.CHECKS[:0])
    name, layer, program, change, binding = next(fault for fault in EVERY if fault[0] == row)
    call = good_call(layer, program)
    change(call)
    kernel = getattr(generated(layer), program)
    with pytest.raises(RuntimeError, match=rf"{kernel.name}: the compiled edge .* step '{name}'"):
        (kernel.bind if binding else kernel)(**call)


# --- what a refused call leaves behind


class Changing:
    """Gives another array each time that it is converted."""

    def __init__(self) -> None:
        self.times = 0

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        self.times += 1
        return np.zeros((3, self.times + 1))


@pytest.mark.parametrize("name", ["W", "b"])
@pytest.mark.parametrize("edge", [generated, twin])
def test_what_is_no_array_is_converted_once(edge: Callable[[str], Any], name: str) -> None:
    kernel, call = edge("dense").forward, good_call("dense", "forward")
    call[name] = Changing()
    with pytest.raises(ValueError, match=rf"{name} has shape \(3, 2\)"):
        kernel(**call)
    assert call[name].times == 1


def test_saved_values_that_are_no_array_are_converted_once() -> None:
    kernel, call = generated("dense").backward, good_call("dense", "backward")
    call["saved"] = Changing()
    with pytest.raises(ValueError, match=r"saved has shape \(3, 2\)"):
        kernel(**call)
    assert call["saved"].times == 1


@pytest.mark.parametrize(("row", "layer", "program", "change"), FAULTS)
def test_an_exception_holds_no_array(row: str, layer: str, program: str, change: Change) -> None:
    """Only what a tuple or a name says wrong is told by the frames that read it."""
    call = good_call(layer, program)
    change(call)
    arrays = [value for value in call.values() if isinstance(value, np.ndarray)]
    before = [sys.getrefcount(array) for array in arrays]
    kept = []
    try:
        getattr(generated(layer), program)(**call)
    except (TypeError, ValueError) as error:
        kept.append(error)
    assert kept and (
        row in {"arguments", "arrays"} or [sys.getrefcount(array) for array in arrays] == before
    )
