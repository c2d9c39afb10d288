"""The node tests of the package `onnx`, each taken to expressions of layerwise and evaluated.

A converter, one for each operator, returns pairs of an expression and the array that it must be
equal to.  It reads the inputs through a `Case`: as a family over the first axis, with one more axis
for a batch of one, or as what all points share.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np

from derive import Layer, R
from derive.language.expressions import Node, Variable, tuple_of, variable
from derive.language.reference import flat_arrays, value
from derive.language.roles import GIVEN, PARAMETER, STATE, Argument
from derive.models.programs import BATCH, Program

Pairs = list[tuple[Node, Any]]
CONVERTERS: dict[str, Callable[[Case], Pairs]] = {}
# The expected values were computed in float32, some with sums of 25 * 16 products.
TOLERANCE = 400 * 2**-24


class NotExpressible(Exception):
    """A case that no expression of the library stands for; the message says what is missing."""


def converts(*operators: str) -> Callable[[Any], Any]:
    """The function below is the converter of these operators."""

    def register(function: Callable[[Case], Pairs]) -> Callable[[Case], Pairs]:
        CONVERTERS.update(dict.fromkeys(operators, function))
        return function

    return register


@dataclass
class Case:
    """A node with its inputs and expected outputs, and the layer's arguments so far."""

    name: str
    operator: str
    attributes: dict[str, Any]
    inputs: list[Any]  # None for one that is left out
    outputs: list[Any]
    opset: int
    arguments: dict[Argument, Any] = field(default_factory=dict)

    def attribute(self, name: str, default: Any = None) -> Any:
        found = self.attributes.get(name, default)
        return found.decode() if isinstance(found, bytes) else found

    def has(self, place: int) -> bool:
        return place < len(self.inputs) and self.inputs[place] is not None

    def family(self, place: int) -> Node:
        """An input whose first axis is that of the batch."""
        return self.read(self.inputs[place], STATE, f"x{place}")

    def one(self, place: int) -> Node:
        """An input as the only point of a batch."""
        return self.read(np.asarray(self.inputs[place])[None], STATE, f"x{place}")

    def shared(self, place: int) -> Node:
        """An input that all points share."""
        return self.read(self.inputs[place], PARAMETER, f"w{place}")

    def data(self, array: Any, name: str) -> Node:
        """Data of every point, its first axis that of the batch."""
        return self.read(array, GIVEN, name)

    def read(self, array: Any, role: str, name: str) -> Node:
        array = np.asarray(array)
        if array.dtype not in (np.float32, np.float64) and role != GIVEN:
            raise NotExpressible(f"arrays of {array.dtype.name}")
        if 0 in array.shape:
            raise NotExpressible("arrays without entries")
        shape = array.shape if role == PARAMETER else array.shape[1:]
        made = variable(name, R(*shape))
        self.arguments[Argument(made, role)] = array
        return made


@dataclass(frozen=True)
class Outcome:
    """What came of a case: right, wrong, refused (with the sentence), or why not expressible."""

    name: str
    operator: str
    kind: str
    reason: str = ""


@dataclass(frozen=True)
class Converted:
    """A layer, its arguments' values, and what it must return."""

    layer: Layer
    values: dict[Variable, Any]
    expected: list[np.ndarray]
    batch: int

    def distance(self, results: list[np.ndarray]) -> float:
        """The largest difference, relative to the largest finite entry of all results: those of a
        recurrent network are slices of one array."""
        finite = [np.abs(e[np.isfinite(e)]).max(initial=0.0) for e in self.expected]
        scale = max(float(max(finite)), 1e-30)
        pairs = zip(results, self.expected, strict=True)
        return max(apart(np.asarray(f).reshape(e.shape), e) for f, e in pairs) / scale

    @property
    def tolerance(self) -> float:
        """Roundings; where the expected values are written with four decimals, one of the last."""
        decimals = all(np.allclose(e, np.round(e, 4), rtol=1e-6, atol=0) for e in self.expected)
        whole = all(np.array_equal(e, np.round(e), equal_nan=True) for e in self.expected)
        return TOLERANCE if whole or not decimals else 1e-4 / np.abs(self.expected[0]).max()

    def reference(self) -> list[np.ndarray]:
        lifted = self.layer.batched(BATCH)
        given = {a.variable: self.values[x.variable] for a, x in self.pairs(lifted)}
        with np.errstate(all="ignore"):
            return flat_arrays(value(lifted.output, given, {BATCH: self.batch}))

    def values_of(self, program: Program) -> dict[Variable, Any]:
        """The values of a program's arguments."""
        by_name = {x.name: array for x, array in self.values.items()}
        return {a.variable: by_name[a.name] for a in program.arguments}

    def pairs(self, lifted: Layer) -> Iterator[tuple[Argument, Argument]]:
        return zip(lifted.arguments, self.layer.arguments, strict=True)


def apart(found: np.ndarray, expected: np.ndarray) -> float:
    """The largest difference; infinite where infinities or NaN differ."""
    expected = expected.astype(np.float64)
    finite = np.isfinite(expected)
    same = np.array_equal(found[~finite], expected[~finite], equal_nan=True)
    if not same or not np.isfinite(found[finite]).all():
        return float("inf")
    return float(np.abs(found[finite] - expected[finite]).max(initial=0.0))


@cache
def cases() -> tuple[Case, ...]:
    """The cases of one node whose operator has a converter, in the order of their names."""
    import onnx
    from onnx.backend.test.loader import load_model_tests

    with np.errstate(all="ignore"):
        found = load_model_tests(kind="node")
    made = []
    for test in sorted(found, key=lambda test: test.name):
        nodes = test.model.graph.node
        if len(nodes) == 1 and nodes[0].op_type in CONVERTERS and nodes[0].domain == "":
            made.append(_case(onnx, test, nodes[0]))
    return tuple(made)


def _case(onnx: Any, test: Any, node: Any) -> Case:
    given, expected = test.data_sets[0]
    supply = iter(given)
    inputs = [next(supply, None) if name else None for name in node.input]
    attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    opset = next(o.version for o in test.model.opset_import if o.domain in ("", "ai.onnx"))
    return Case(test.name, node.op_type, attributes, inputs, list(expected), opset)


def converted(case: Case) -> Converted:
    """The case as a layer.  Raises NotExpressible, and what the library refuses with."""
    case.arguments.clear()
    if any(np.asarray(y).dtype not in (np.float32, np.float64) for y in case.outputs):
        raise NotExpressible(f"results of {np.asarray(case.outputs[-1]).dtype.name}")
    pairs = CONVERTERS[case.operator](case)
    nodes, expected = zip(*pairs, strict=True)
    order = {STATE: 0, GIVEN: 0, PARAMETER: 1}
    arguments = sorted(case.arguments, key=lambda a: order[a.role])
    values = {a.variable: case.arguments[a] for a in arguments}
    output = nodes[0] if len(nodes) == 1 else tuple_of(nodes)
    batch = next(len(case.arguments[a]) for a in arguments if a.role != PARAMETER)
    layer = Layer(case.name[:60], tuple(arguments), output)  # longer names are refused
    return Converted(layer, values, [np.asarray(e, dtype=np.float64) for e in expected], batch)


def outcome(case: Case) -> Outcome:
    """The case by the reference."""

    def made(kind: str, reason: str = "") -> Outcome:
        return Outcome(case.name, case.operator, kind, reason)

    try:
        whole = converted(case)
    except NotExpressible as error:
        return made("not expressible", str(error))
    except (TypeError, ValueError) as error:
        return made("refused", str(error))
    off = whole.distance(whole.reference())
    return made("right") if off <= whole.tolerance else made("wrong", f"off by {off:.2g}")
