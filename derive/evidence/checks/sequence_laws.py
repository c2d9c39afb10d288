"""The laws of a recurrent network over a whole sequence; those of RTRL are in `online_laws`.

sequence kernel       every result is that of the reference, in both precisions
unrolled              states, predictions and J equal those of the layers, step by step
sequence difference   (J(x + h v) - J(x - h v)) / 2h = <gradient, v> by parameters, starts, inputs
samples               a batch of sequences equals its samples, one by one
lengths               samples of lengths 0, 1, T equal sequences of these lengths
missing targets       targets of weight 0 and entries beyond a length are not read

Tolerances are those of `sequence_runs`: rounding propagated through each method's own operations.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial, reduce
from typing import Any

import numpy as np

from ...language.reference import Array, Value
from ...runtime.recurrence import Gradient
from .findings import EPS, Finding, compared, vector
from .online_laws import OnlineLaws
from .oracles import moved
from .sequence_calls import Groups, added_groups, by_group, numbered, shared, zeros_of
from .sequence_cases import SequenceCase, as_dtype, at, mapped, step_by_step

Law = Callable[[], Iterator[Finding]]
FAILURES = (TypeError, ValueError, ArithmeticError, LookupError, AssertionError)


@dataclass(frozen=True)
class Direction:
    """An argument that can be moved: its gradient, its value, and the case with another value."""

    name: str
    part: Callable[[Gradient], Value]
    value: Value
    case_at: Callable[[Value], SequenceCase]


def _part(where: str, name: str, g: Gradient) -> Value:
    return getattr(g, where)[name]


def _with(case: SequenceCase, name: str, value: Value) -> SequenceCase:
    return replace(case, theta={**case.theta, name: value})


def _with_at(case: SequenceCase, where: str, k: int, value: Value) -> SequenceCase:
    values = getattr(case, where)
    changed: Any = {where: (*values[:k], value, *values[k + 1 :])}
    return replace(case, **changed)


class SequenceLaws(OnlineLaws):
    """The laws of a network over sequences; each method is one law and yields its findings."""

    def findings(self) -> Iterator[Finding]:
        """All laws that apply; an exception of a call counts as a failure of its law."""
        laws: list[tuple[str, Law]] = [
            ("sequence kernel", self.kernels),
            ("unrolled", self.unrolled),
        ]
        if self.is_trained:
            laws += [("sequence difference", self.difference), ("samples", self.samples)]
            laws += [("lengths", self.lengths), ("missing targets", self.missing)]
        if self.is_online:
            laws += [("methods", self.methods), ("truncation", self.truncation)]
            laws += [("influence", self.influence), ("pieces", self.pieces)]
            laws += [("resets", self.resets)]
        for name, law in laws:
            try:
                yield from law()
            except FAILURES as error:
                group = f"{type(error).__name__}: {error}"
                yield Finding(self.network.name, name, group, np.inf, 0.0)

    def kernels(self) -> Iterator[Finding]:
        """Every result of every kernel; what is below the smallest number is nothing."""
        for dtype in self.dtypes:
            eps, case = float(np.finfo(dtype).eps), as_dtype(self.case, dtype)
            name = np.dtype(dtype).name
            runs = ((self.tested, case), (self.values, self.case), (self.bounds, self.case))
            found, expected, off = (self._forward(r, c) for r, c in runs)
            law, where = "sequence kernel", f"forward, {name}"
            yield from self._same(law, where, found, expected, off, eps)
            for method, more in self.every_method if self.is_trained else []:
                gradients = (self._gradient(r, c, method, **more) for r, c in runs)
                found, expected, off = map(by_group, gradients)
                yield from self._same(law, f"{method}, {name}", found, expected, off, eps)

    def unrolled(self) -> Iterator[Finding]:
        """The results against the layers as declared."""
        made = step_by_step(self.network, self.case)
        rest = [*made.states, *made.last]
        found, bound = (self._forward(r, self.case) for r in (self.tested, self.bounds))
        expected: Groups = {"prediction": made.prediction, **numbered("states", rest)}
        expected |= {"J": np.asarray(made.loss)} if self.is_trained else {}
        yield from self._same("unrolled", "forward", found, expected, bound)

    def difference(self) -> Iterator[Finding]:
        """The gradient of BPTT with respect to every parameter, initial state and input."""
        gradient, off = (self._gradient(r, self.case) for r in (self.tested, self.bounds))
        for x in self._directions():
            v = self._drawn(x.value)
            g, error, w = vector(x.part(gradient)), vector(x.part(off)), vector(v)
            rounding = float(error @ abs(w)) + (w.size + 1) * float(abs(g) @ abs(w))
            quotient, bound = self._quotient(partial(self._loss_along, x, v))
            off_by = bound + EPS * rounding
            law, expected = "sequence difference", np.asarray(g @ w)
            yield compared(self.network.name, law, x.name, quotient, expected, off_by)

    def _loss_along(self, x: Direction, v: Value, h: float) -> tuple[Value, Value]:
        return self._loss(x.case_at(moved(x.value, h, v)))

    def _directions(self) -> Iterator[Direction]:
        case = self.case
        for name, value in case.theta.items():
            if name not in self.tested.fixed:
                yield Direction(name, partial(_part, "by", name), value, partial(_with, case, name))
        for k, value in enumerate(case.initial or ()):
            name = self.tested.initial[k]
            start = partial(_with_at, case, "initial", k)
            yield Direction(f"start {name}", partial(_part, "by_initial", name), value, start)
        for k, name in enumerate(self.tested.inputs):
            if f"{name}_bar" in [r.name for r in self.tested.kernels["bptt"].results]:
                one = partial(_with_at, case, "inputs", k)
                part = partial(_part, "by_input", name)
                yield Direction(f"input {name}", part, case.inputs[k], one)

    def samples(self) -> Iterator[Finding]:
        """Each sample without the batch axis; gradients of what they share are added."""
        count, case = self.case.active.shape[1], self.case
        for method, more in self.every_method:
            whole, off = (
                self._gradient(r, case, method, **more) for r in (self.tested, self.bounds)
            )
            every = [
                self._gradient(self.tested, case.sample(s), method, **more) for s in range(count)
            ]
            found = reduce(added_groups, (shared(g) for g in every))
            yield from self._same("samples", method, found, shared(whole), shared(off))
            for s, one in enumerate(every):
                row, rounding = (at(g.last, s) for g in (whole, off))
                where = f"sample {s} by {method}"
                yield from self._same(
                    "samples", where, {"last": one.last}, {"last": row}, {"last": rounding}
                )

    def lengths(self) -> Iterator[Finding]:
        """Samples of lengths 0, 1 and T, against sequences of these lengths."""
        steps = self.case.steps
        lengths = (0, 1, steps)
        active = (np.arange(steps)[:, None] < np.array(lengths)).astype(np.float64)
        case = replace(self.case, active=active)
        for method, more in self.every_method:
            whole, off = (
                self._gradient(r, case, method, **more) for r in (self.tested, self.bounds)
            )
            each = [case.sample(s).part(0, n) for s, n in enumerate(lengths) if n]
            found = reduce(
                added_groups, (shared(self._gradient(self.tested, c, method, **more)) for c in each)
            )
            yield from self._same("lengths", method, found, shared(whole), shared(off))
            if case.initial is not None:
                begun, last = (tuple(at(v, 0) for v in x) for x in (case.initial, whole.last))
                yield compared(
                    self.network.name, "lengths", f"length 0 by {method}", last, begun, 0.0
                )

    def missing(self) -> Iterator[Finding]:
        """With NaN where nothing may be read: beyond the lengths, and in targets of weight 0."""
        case, beyond = self.case, self.case.active == 0
        unseen = beyond | (case.weight == 0)
        hidden = replace(
            case,
            inputs=mapped(case.inputs, lambda a: _hidden(a, beyond)),
            targets=mapped(case.targets, lambda a: _hidden(a, unseen)),
        )
        for method, more in self.every_method:
            expected, found = (
                by_group(self._gradient(self.tested, c, method, **more)) for c in (case, hidden)
            )
            yield from self._same("missing targets", method, found, expected, zeros_of(expected))


def _hidden(array: Array, where: Array) -> Array:
    """The array with NaN at these times; class indices have no NaN."""
    if array.dtype.kind in "iu":
        return array
    hidden = np.array(array)
    hidden[where] = np.nan
    return hidden
