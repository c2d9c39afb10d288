"""ONNX's node tests of the operators that the library has: counts, and a part of them compiled."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

REASON = "the package onnx is an optional oracle: pip install 'layerwise[oracle]'"
onnx = pytest.importorskip("onnx", reason=REASON)

import onnx_layers  # noqa: E402
import random_bundles  # noqa: E402
from kernels import Runner  # noqa: E402
from onnx_cases import Case, apart, cases, converted  # noqa: E402

from derive.language.reference import flat_arrays  # noqa: E402
from derive.models.programs import programs  # noqa: E402

# By operator, how many are right, wrong, refused, not expressible.  Refused are scalar functions
# that are not known (acos, ceil, ..); not expressible other dtypes than float32 and float64, and
# pools of largest entries that are not neighbours or whose padding differs on the two sides.
RECURRENT = {"RNN": (6, 0, 0, 0), "GRU": (6, 0, 0, 0), "LSTM": (6, 0, 0, 0)}
IMAGES = {
    "Conv": (6, 0, 0, 0),
    "ConvTranspose": (11, 0, 0, 0),
    "AveragePool": (20, 0, 0, 0),
    "MaxPool": (9, 0, 0, 10),
    "GlobalAveragePool": (2, 0, 0, 0),
    "GlobalMaxPool": (2, 0, 0, 0),
}
NORMS = {
    "BatchNormalization": (2, 0, 0, 2),
    "GroupNormalization": (2, 0, 0, 0),
    "InstanceNormalization": (2, 0, 0, 0),
    "LayerNormalization": (19, 0, 0, 0),
    "LpNormalization": (6, 0, 0, 0),
    "MeanVarianceNormalization": (1, 0, 0, 0),
    "RMSNormalization": (19, 0, 0, 0),
}
OTHERS = {
    "Attention": (82, 0, 0, 11),
    "Gemm": (11, 0, 0, 0),
    "LogSoftmax": (7, 0, 0, 0),
    "MatMul": (7, 0, 0, 0),
    "NegativeLogLikelihoodLoss": (18, 0, 0, 0),
    "Softmax": (7, 0, 0, 0),
    "SoftmaxCrossEntropyLoss": (34, 0, 0, 0),
}
NAMED = RECURRENT | IMAGES | NORMS | OTHERS
ELEMENTWISE = (164, 0, 14, 63)  # all others together, sums among them


@pytest.fixture(scope="module")
def found():
    return onnx_layers.outcomes()


def test_every_case_is_of_the_kind_that_is_counted(found) -> None:
    table = onnx_layers.table(found)
    assert {name: table[name] for name in NAMED} == NAMED
    rest = [counts for name, counts in table.items() if name not in NAMED]
    assert tuple(map(sum, zip(*rest, strict=True))) == ELEMENTWISE


def test_nothing_is_wrong(found) -> None:
    assert [one.name for one in found if one.kind == "wrong"] == []


def test_reasons_are_sentences_about_the_library(found) -> None:
    refused = onnx_layers.reasons(found, "refused")
    assert refused and all("not a scalar function that can be emitted" in text for text in refused)
    words = ("results of", "arrays", "a pool", "a norm over the batch", "the places of")
    missing = onnx_layers.reasons(found, "not expressible")
    assert missing and all(text.startswith(words) for text in missing)


def part_of(found) -> list[Case]:
    """One of eight that are right, of all operators; large arrays are left to the reference."""
    right = {one.name for one in found if one.kind == "right"}
    small = (
        case
        for case in cases()
        if case.name in right and sum(np.size(x) for x in case.inputs if x is not None) < 2000
    )
    return list(small)[::8]


def test_a_part_is_right_compiled(found, request) -> None:
    """Forward, in float32, in which the expected values are computed, too: both are rounded."""
    made = {case.name: converted(case) for case in part_of(found)}
    assert len(made) >= 40
    trials = [
        SimpleNamespace(layer=w.layer, programs={"forward": programs(w.layer)[0]})
        for w in made.values()
    ]
    folder = Path(request.config.cache.mkdir("onnx"))
    modules = random_bundles.compiled(trials, "onnx_nodes", folder, random_bundles.QUICK)
    off = {}
    for trial, whole in zip(trials, made.values(), strict=True):
        forward = trial.programs["forward"]
        runner = Runner(modules[trial.layer.name], trial.layer, {}, whole.batch, np.float32,
                        [forward])  # fmt: skip
        results = runner.results("forward", whole.values_of(forward))
        off[trial.layer.name] = whole.distance(flat_arrays(tuple(results))) / whole.tolerance
    assert {name: times for name, times in off.items() if not times <= 2} == {}


def test_infinities_and_nan_must_agree() -> None:
    inf = np.inf
    assert apart(np.array([1.0, inf]), np.array([1.5, inf])) == 0.5
    assert apart(np.array([1.0, 2.0]), np.array([1.0, inf])) == inf
    assert apart(np.array([np.nan]), np.array([1.0])) == inf
