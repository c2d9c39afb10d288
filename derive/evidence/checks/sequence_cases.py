"""Sequences that recurrent networks are checked on, and their results, layer by layer.

A sequence has samples of different lengths, a reset inside one of them and targets that are
missing.  `step_by_step` runs the layers as they were declared, sample by sample: the recurrence
itself, without any kernel.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import sympy

from ...calculus.lift import lift_space
from ...language.reference import Array, Value, values_of
from ...language.roles import MASK, Argument
from ...models.cells import inputs_of
from ...models.layers import Layer
from ...models.levels import FORWARD, CellInstance, Level, Recurrent
from ...models.programs import BATCH
from .drawing import draw, unequal_sizes, uniform
from .sampling import point_of

TIME = sympy.Symbol("steps", integer=True, nonnegative=True)
STEPS, SAMPLES = 5, 3
WEIGHTS = (0.25, 1.0)


@dataclass(frozen=True)
class SequenceCase:
    """Theta and a batch of sequences: (time, batch, ..), a state for each cell, masks.

    `reset` is None if a cell runs backward in time; `initial` is None if it is learned and thus
    among the parameters.
    """

    sizes: Mapping[sympy.Symbol, int]
    theta: Mapping[str, Value]
    inputs: tuple[Value, ...]
    targets: tuple[Value, ...]
    initial: tuple[Value, ...] | None
    active: Array
    reset: Array | None
    weight: Array

    @property
    def steps(self) -> int:
        """The number of time steps."""
        return len(self.active)

    @property
    def options(self) -> dict[str, Any]:
        """The options of a call of a recurrence, except `weight`."""
        found: dict[str, Any] = {"active": self.active}
        found |= {} if self.reset is None else {"reset": self.reset}
        return found | ({} if self.initial is None else {"initial": self.initial})

    def part(self, begin: int, end: int) -> SequenceCase:
        """The times from `begin` to before `end`."""
        cut = slice(begin, end)
        return self._indexed(lambda array: array[cut])

    def sample(self, s: int) -> SequenceCase:
        """One sample without the batch axis."""
        one = self._indexed(lambda array: array[:, s])
        initial = None if self.initial is None else at(self.initial, s)
        return replace(one, initial=initial)

    def _indexed(self, take: Any) -> SequenceCase:
        return replace(
            self,
            inputs=mapped(self.inputs, take),
            targets=mapped(self.targets, take),
            active=take(self.active),
            reset=None if self.reset is None else take(self.reset),
            weight=take(self.weight),
        )


def mapped(value: Any, function: Any) -> Any:
    """A function of every array."""
    if isinstance(value, tuple):
        return tuple(mapped(part, function) for part in value)
    return function(value)


def at(value: Any, *place: int) -> Any:
    """The entries at an index of the first axes."""
    return mapped(value, lambda array: np.asarray(array[place]))


def as_dtype(case: SequenceCase, dtype: type) -> SequenceCase:
    """The same numbers in another precision; class indices are unchanged."""

    def cast(array: Array) -> Array:
        return array if array.dtype.kind in "iu" else array.astype(dtype)

    return replace(
        case,
        theta={name: mapped(value, cast) for name, value in case.theta.items()},
        inputs=mapped(case.inputs, cast),
        targets=mapped(case.targets, cast),
        initial=mapped(case.initial, cast) if case.initial is not None else None,
        weight=case.weight.astype(dtype),
    )


def drawn_case(network: Recurrent, random: np.random.Generator) -> SequenceCase:
    """Unequal sizes; lengths 5, 4, 2; a reset before the third step of one sample.

    Raises NoPoint if no point is found at which one step of the network is finite.
    """
    sizes = unequal_sizes(network)
    point, several = point_of(network, sizes, random), {**sizes, BATCH: SAMPLES, TIME: STEPS}
    theta = {x.name: point.values[x] for x in network.theta}
    starts = [point.values[cell.state] for cell in network.cells]
    if network.learned:
        theta |= {f"{cell.state.name}_0": v for cell, v in zip(network.cells, starts, strict=True)}
    states = tuple(_near(random, v) for v in starts)
    lengths = np.array([STEPS, STEPS - 1, 2])
    reset = np.zeros((STEPS, SAMPLES))
    reset[2, 0] = 1
    streams = all(cell.direction == FORWARD for cell in network.cells)
    return SequenceCase(
        sizes,
        theta,
        tuple(_over_time(random, a, several) for a in network.inputs),
        tuple(_over_time(random, a, several) for a in network.targets),
        None if network.learned else states,
        (np.arange(STEPS)[:, None] < lengths).astype(np.float64),
        reset if streams else None,
        _weights(random),
    )


def _near(random: np.random.Generator, value: Value) -> Value:
    """A state for every sample, near one at which the network is finite."""

    def moved(array: Array) -> Array:
        return array * uniform(random, (SAMPLES, *np.shape(array)), (0.5, 1.0))

    return mapped(value, moved)


def _over_time(random: np.random.Generator, argument: Argument, sizes: Any) -> Value:
    space = lift_space(lift_space(argument.variable.space, BATCH), TIME)
    value = draw(random, space, sizes)
    return mapped(value, lambda a: (a > 0).astype(float)) if argument.role == MASK else value


def _weights(random: np.random.Generator) -> Array:
    """Weights of the losses; a target is missing at one step."""
    weight = uniform(random, (STEPS, SAMPLES), WEIGHTS)
    weight[1, 1] = 0
    return weight


# --- the layers themselves


@dataclass(frozen=True)
class Unrolled:
    """The results of the layers: predictions and states at each time, the last states, J."""

    prediction: Value
    states: tuple[Value, ...]
    last: tuple[Value, ...]
    loss: float


def step_by_step(network: Recurrent, case: SequenceCase) -> Unrolled:
    """The network over a batch of sequences, one layer at one time after the other."""
    every = [_Sample(network, case, s) for s in range(case.active.shape[1])]
    for sample in every:
        sample.run()
    count = len(network.cells)
    return Unrolled(
        _stacked([s.predictions for s in every], 1),
        tuple(_stacked([s.states[k] for s in every], 1) for k in range(count)),
        tuple(_stacked([s.last[k] for s in every], 0) for k in range(count)),
        float(sum(s.loss for s in every)),
    )


def _stacked(values: Sequence[Any], axis: int) -> Any:
    """The samples' values as arrays; with axis 1, each has the times in front."""
    rows = [_timed(value) if axis else value for value in values]
    if isinstance(rows[0], tuple):
        return tuple(_joined([row[k] for row in rows], axis) for k in range(len(rows[0])))
    return np.stack(rows, axis)


def _joined(parts: Sequence[Any], axis: int) -> Any:
    if isinstance(parts[0], tuple):
        return tuple(_joined([p[k] for p in parts], axis) for k in range(len(parts[0])))
    return np.stack(parts, axis)


def _timed(values: Sequence[Any]) -> Any:
    return _joined(values, 0)


class _Sample:
    """One sample: its states by cell, its predictions, its weighted loss."""

    def __init__(self, network: Recurrent, case: SequenceCase, s: int) -> None:
        self.network, self.case, self.s = network, case, s
        self.states: list[list[Any]] = []
        self.last: list[Any] = []
        self.predictions: list[Any] = []
        self.loss = 0.0

    def run(self) -> None:
        """Run level after level, then the losses."""
        times, case = range(self.case.steps), self.case
        names = [a.name for a in self.network.inputs]
        rows = [[at(v, t, self.s) for v in case.inputs] for t in times]
        x = [dict(zip(names, row, strict=True)) for row in rows]
        for level in self.network.levels:
            x = [self._renamed(level, now) for now in x]
            first = len(self.states)
            for cell in level.cells:
                self._cell(cell, x)
            self.predictions = [self._predicted(level, t, first) for t in times]
            x = [{"": y} for y in self.predictions]
        if self.network.loss is not None:
            self.loss = sum(self._loss(t) for t in times)

    def _renamed(self, level: Level, now: Mapping[str, Any]) -> dict[str, Any]:
        """The input of a level: the predictions below, under the name that its cells use."""
        if "" not in now:
            return dict(now)
        return {a.name: now[""] for cell in level.cells for a in inputs_of(cell.function)}

    def _value(self, layer: Layer, given: Mapping[str, Any]) -> Any:
        known = {**self.case.theta, **given}
        values = {a.variable: known[a.name] for a in layer.arguments}
        return values_of([layer.output], values, self.case.sizes)[0]

    def _cell(self, cell: CellInstance, x: Sequence[Mapping[str, Any]]) -> None:
        number, case = len(self.states), self.case
        name = cell.state.name
        first = (
            case.theta[f"{name}_0"] if case.initial is None else at(case.initial[number], self.s)
        )
        h, found = first, {}
        for t in self._times(cell):
            if case.active[t, self.s]:
                begun = case.reset is not None and case.reset[t, self.s]
                h = self._value(cell.function, {**x[t], name: first if begun else h})
            found[t] = h
        self.states.append([found[t] for t in range(case.steps)])
        self.last.append(h)

    def _times(self, cell: CellInstance) -> Iterator[int]:
        times = range(self.case.steps)
        return iter(times) if cell.direction == FORWARD else reversed(times)

    def _predicted(self, level: Level, t: int, first: int) -> Any:
        states = {c.state.name: self.states[first + k][t] for k, c in enumerate(level.cells)}
        return self._value(level.prediction.function, states)

    def _loss(self, t: int) -> float:
        """The weighted loss at a time within the length whose target is not missing."""
        weight = self.case.weight[t, self.s] * self.case.active[t, self.s]
        if not weight or self.network.loss is None:
            return 0.0
        layer = self.network.loss.function
        names = [a.name for a in self.network.targets]
        targets = [at(v, t, self.s) for v in self.case.targets]
        seen = {
            layer.arguments[0].name: self.predictions[t],
            **dict(zip(names, targets, strict=True)),
        }
        return float(weight * self._value(layer, seen))
