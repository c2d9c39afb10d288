"""Calls of a recurrent network's kernels and of their reference, and their results by group."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from ...language.reference import Array, Value
from ...models.levels import Recurrent
from ...runtime.recurrence import Gradient, Recurrence
from .drawing import uniform
from .findings import EPS, Finding, compared, largest, vector
from .kernel_laws import DTYPES
from .oracles import STEP, TRUNCATION, moved
from .sequence_cases import SequenceCase, drawn_case, mapped
from .sequence_runs import reference_runs

Groups = dict[str, Value]


class SequenceCalls:
    """A network's recurrence, compiled or not, its reference, and a case that both are run on.

    `values` and `bounds` are recurrences as well: the results by the reference, and the bounds of
    their rounding errors in units of eps.
    """

    def __init__(
        self,
        network: Recurrent,
        recurrence: Recurrence,
        seed: int = 0,
        dtypes: Sequence[type] = DTYPES,
    ) -> None:
        self.network, self.tested, self.dtypes = network, recurrence, dtypes
        self.random = np.random.default_rng(seed)
        self.values, self.bounds = reference_runs(network)
        self.case = drawn_case(network, self.random)
        self.is_trained = network.loss is not None
        self.is_online = network.is_online and self.is_trained

    # --- calls

    @property
    def every_method(self) -> list[tuple[str, dict[str, int]]]:
        """The methods that apply, with their sizes."""
        online: list[tuple[str, dict[str, int]]] = [
            ("truncated_bptt", {"every": 2, "down": 3}),
            ("rtrl", {}),
            ("hybrid", {"block": 2}),
        ]
        return [("bptt", {}), *(online if self.is_online else [])]

    def _gradient(
        self, r: Recurrence, case: SequenceCase, method: str = "bptt", **more: Any
    ) -> Gradient:
        options = {**case.options, "weight": case.weight, **more}
        return r.gradient(case.theta, *case.inputs, *case.targets, method=method, **options)

    def _same(
        self, law: str, where: str, found: Groups, expected: Groups, bound: Groups, eps: float = EPS
    ) -> Iterator[Finding]:
        for name, value in expected.items():
            off = eps * largest(bound[name])
            group = f"{name} of {where}"
            yield compared(self.network.name, law, group, found[name], value, off)

    def _forward(self, r: Recurrence, case: SequenceCase) -> Groups:
        prediction, *rest = r.forward(case.theta, *case.inputs, **case.options)
        found: Groups = {"prediction": prediction, **numbered("states", rest)}
        if self.is_trained:
            data = (*case.inputs, *case.targets)
            found["J"] = r.loss(case.theta, *data, weight=case.weight, **case.options)[0]
        return found

    def _loss(self, case: SequenceCase) -> tuple[Value, Value]:
        data = (*case.inputs, *case.targets)
        options = {**case.options, "weight": case.weight}
        found, off = (r.loss(case.theta, *data, **options)[0] for r in (self.tested, self.bounds))
        return np.asarray(found), np.asarray(off)

    def _quotient(self, value: Callable[[float], tuple[Value, Value]]) -> tuple[Array, float]:
        """A central difference, and the bound of its rounding and truncation errors."""
        (above, off), (below, _) = value(STEP), value(-STEP)
        quotient = (vector(above) - vector(below)) / (2 * STEP)
        truncation = TRUNCATION * max(largest(quotient), largest(above))
        return quotient, EPS * largest(off) / STEP + truncation

    def _drawn(self, value: Value) -> Value:
        return mapped(value, lambda a: uniform(self.random, np.shape(a), (-1, 1)))


# --- groups of numbers


def by_group(g: Gradient) -> Groups:
    """All results of a gradient."""
    starts = {f"start {name}": value for name, value in g.by_initial.items() if value is not None}
    inputs = {f"input {name}": value for name, value in g.by_input.items()}
    influence = numbered("influence", g.influence)
    return {**shared(g), **starts, **inputs, **influence, "last": g.last}


def shared(g: Gradient) -> Groups:
    """J and its gradient with respect to what all samples share."""
    return {"J": np.asarray(g.loss), **g.by}


def numbered(name: str, values: Any) -> Groups:
    return {f"{name} {k}": value for k, value in enumerate(values)}


def added_groups(left: Groups, right: Groups) -> Groups:
    return {name: moved(value, 1, right[name]) for name, value in left.items()}


def zeros_of(groups: Groups) -> Groups:
    return {name: np.zeros(1) for name in groups}
