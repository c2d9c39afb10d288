"""The laws of a recurrent network over a whole sequence.

sequence kernel       every result is that of the reference, in both precisions
unrolled              states, predictions and J are those of the layers, step by step
sequence difference   (J(x + h v) - J(x - h v)) / 2h = <gradient, v> by parameters, starts, inputs
methods               RTRL and the hybrid, whatever its blocks, give the gradient of BPTT
truncation            truncated BPTT with every = down = T is BPTT
influence             J v is the difference of the last state along v
samples               a batch of sequences is its samples, one by one
pieces                a sequence in pieces is the sequence at once, by RTRL and by the hybrid
lengths               samples of lengths 0, 1, T are sequences of these lengths
resets                a sequence with a reset is two sequences
missing targets       a target of weight 0 is not read, and neither is what is beyond a length

Tolerances are those of `sequence_runs`: rounding carried through each method's own operations.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import reduce
from typing import Any

import numpy as np

from ..influence import Influence, Store, shape_of
from ..kernels.sequences import Steps, sequences
from ..levels import Recurrent
from ..reference import Array, Value
from ..runtime.recurrence import Gradient, Recurrence
from .findings import EPS, Finding, compared, largest, vector
from .oracles import STEP, TRUNCATION, moved
from .sampling import uniform
from .sequence_cases import SequenceCase, as_dtype, at, drawn_case, mapped, unrolled
from .sequence_runs import reference_runs

DTYPES = (np.float64, np.float32)
Groups = dict[str, Value]
Law = Callable[[], Iterator[Finding]]
FAILURES = (TypeError, ValueError, ArithmeticError, LookupError, AssertionError)


class SequenceLaws:
    """A network's recurrence, compiled or not, against the reference and against itself."""

    def __init__(
        self,
        network: Recurrent,
        recurrence: Recurrence,
        seed: int = 0,
        dtypes: tuple[type, ...] = DTYPES,
    ) -> None:
        self.network, self.tested, self.dtypes = network, recurrence, dtypes
        self.random = np.random.default_rng(seed)
        self.values, self.bounds = reference_runs(network.name, sequences(network))
        self.case = drawn_case(network, self.random)
        self.is_trained = network.loss is not None
        self.is_online = network.is_online and self.is_trained

    def findings(self) -> Iterator[Finding]:
        """All laws that apply; an error that a call raises is a failure of its law."""
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

    # --- the laws

    def kernels(self) -> Iterator[Finding]:
        """Every result of every kernel; what is below the smallest number is nothing."""
        for dtype in self.dtypes:
            eps, case = float(np.finfo(dtype).eps), as_dtype(self.case, dtype)
            name = np.dtype(dtype).name
            runs = ((self.tested, case), (self.values, self.case), (self.bounds, self.case))
            found = [self._forward(r, c) for r, c in runs]
            yield from self._same("sequence kernel", f"forward, {name}", *found, eps)  # type: ignore[arg-type]
            for method, more in self.every_method if self.is_trained else []:
                found = [by_group(self._gradient(r, c, method, **more)) for r, c in runs]
                yield from self._same("sequence kernel", f"{method}, {name}", *found, eps)  # type: ignore[arg-type]

    def _forward(self, r: Recurrence, case: SequenceCase) -> Groups:
        prediction, *rest = r.forward(case.theta, *case.inputs, **case.options)
        found: Groups = {"prediction": prediction, **_numbered("states", rest)}
        if self.is_trained:
            data = (*case.inputs, *case.targets)
            found["J"] = r.loss(case.theta, *data, weight=case.weight, **case.options)[0]
        return found

    def unrolled(self) -> Iterator[Finding]:
        """The layers as they are declared."""
        made = unrolled(self.network, self.case)
        rest = [*made.states, *made.last]
        found, bound = (self._forward(r, self.case) for r in (self.tested, self.bounds))
        expected: Groups = {"prediction": made.prediction, **_numbered("states", rest)}
        expected |= {"J": np.asarray(made.loss)} if self.is_trained else {}
        yield from self._same("unrolled", "forward", found, expected, bound)

    def difference(self) -> Iterator[Finding]:
        """The gradient of BPTT by every parameter, initial state and input."""
        gradient, off = (self._gradient(r, self.case) for r in (self.tested, self.bounds))
        for group, value, move in self._directions():
            v = self._drawn(value)
            expected = float(vector(group(gradient)[1]) @ vector(v))
            rounding = EPS * float(vector(group(off)[1]) @ abs(vector(v)))
            quotient, bound = self._quotient(lambda h, m=move, v=v: self._loss(m(h, v)))
            yield compared(
                self.network.name,
                "sequence difference",
                group(gradient)[0],
                quotient,
                np.asarray(expected),
                bound + rounding,
            )

    def _loss(self, case: SequenceCase) -> tuple[Value, Value]:
        data = (*case.inputs, *case.targets)
        options = {**case.options, "weight": case.weight}
        found, off = (r.loss(case.theta, *data, **options)[0] for r in (self.tested, self.bounds))
        return np.asarray(found), np.asarray(off)

    def _quotient(self, value: Callable[[float], tuple[Value, Value]]) -> tuple[Array, float]:
        """A central difference, and how far rounding and truncation may put it off."""
        (above, off), (below, _) = value(STEP), value(-STEP)
        quotient = (vector(above) - vector(below)) / (2 * STEP)
        truncation = TRUNCATION * max(largest(quotient), largest(above))
        return quotient, EPS * largest(off) / STEP + truncation

    def _drawn(self, value: Value) -> Value:
        return mapped(value, lambda a: uniform(self.random, np.shape(a), (-1, 1)))

    def _directions(self) -> Iterator[tuple[Any, Value, Any]]:
        """What can be moved: its part of a gradient, its value, the case with it moved."""
        case = self.case
        for name, value in case.theta.items():
            yield (
                lambda g, n=name: (n, g.by[n]),
                value,
                lambda h, v, n=name: replace(
                    case, theta={**case.theta, n: moved(case.theta[n], h, v)}
                ),
            )
        for k, value in enumerate(case.initial or ()):
            name = self.tested.initial[k]
            yield (
                lambda g, n=name: (n, g.by_initial[n]),
                value,
                lambda h, v, k=k: replace(case, initial=_moved_at(case.initial, k, h, v)),
            )
        for k, name in enumerate(self.tested.inputs):
            if f"{name}_bar" in [r.name for r in self.tested.kernels["bptt"].results]:
                yield (
                    lambda g, n=name: (n, g.by_input[n]),
                    case.inputs[k],
                    lambda h, v, k=k: replace(case, inputs=_moved_at(case.inputs, k, h, v)),
                )

    def methods(self) -> Iterator[Finding]:
        """The same gradient by every exact method."""
        steps = self.case.steps
        expected, off = (self._gradient(r, self.case).by for r in (self.tested, self.bounds))
        others = [("rtrl", {}), *(("hybrid", {"block": k}) for k in (1, 2, 3, steps, steps + 2))]
        for method, more in others:
            found = self._gradient(self.tested, self.case, method, **more).by
            bound = _added(off, self._gradient(self.bounds, self.case, method, **more).by)
            where = " ".join([method, *(f"block={k}" for k in more.values())])
            yield from self._same("methods", where, found, expected, bound)

    def truncation(self) -> Iterator[Finding]:
        """All losses sent back all the way."""
        steps = self.case.steps
        whole = {"every": steps, "down": steps}
        expected, off = (by_group(self._gradient(r, self.case)) for r in (self.tested, self.bounds))
        found = by_group(self._gradient(self.tested, self.case, "truncated_bptt", **whole))
        yield from self._same("truncation", "truncated_bptt", found, expected, off)

    def influence(self) -> Iterator[Finding]:
        """J v for a direction v of each parameter, against the difference of the last state."""
        stores = Influence(next(iter(Steps(self.network).transitions.values()))).stores
        J, off = (self._gradient(r, self.case, "rtrl").influence for r in (self.tested, self.bounds))
        for name, value in self.case.theta.items():
            if name in self._on_the_state(stores):
                v = self._drawn(value)
                quotient, bound = self._quotient(lambda h, n=name, v=v: self._last(n, h, v))
                expected = self._along(stores, J, {name: v})
                rounding = self._along(stores, off, {name: mapped(v, abs)})
                yield compared(
                    self.network.name,
                    "influence",
                    name,
                    quotient,
                    expected,
                    bound + EPS * largest(rounding),
                )

    def _on_the_state(self, stores: list[Store]) -> set[str]:
        return {_owner(x).name.removesuffix("_reset") for s in stores for x in s.by} | {
            f"{cell.state.name}_0" for cell in self.network.cells if self.network.learned
        }

    def _last(self, name: str, h: float, v: Value) -> tuple[Value, Value]:
        """The last state with a parameter moved."""
        theta = {**self.case.theta, name: moved(self.case.theta[name], h, v)}
        found, off = (
            r.forward(theta, *self.case.inputs, **self.case.options)[-1]
            for r in (self.tested, self.bounds)
        )
        return found, off

    def _along(self, stores: list[Store], J: Any, v: Mapping[str, Value]) -> Array:
        """J v, component by component of the state."""
        found: dict[int, Array] = {}
        for s, array in zip(stores, J, strict=True):
            made = along(s, np.asarray(array), self._directed(s, v))
            found[s.component] = found.get(s.component, 0) + made
        return vector(tuple(found[a] for a in sorted(found)))

    def _directed(self, s: Store, v: Mapping[str, Value]) -> list[Array]:
        """The direction of each array of a store, zero for those of other parameters."""
        made = []
        batch, first = self.case.active.shape[1], f"{self.network.cells[0].state.name}_0"
        for x in s.by:
            owner = _owner(x).name
            learned = owner not in self.case.theta
            name = first if learned else owner
            value = v.get(name, mapped(self.case.theta[name], np.zeros_like))
            part = value[x.position] if isinstance(value, tuple) else value  # type: ignore[attr-defined]
            made.append(np.broadcast_to(part, (batch, *np.shape(part))) if learned else part)
        return made

    def samples(self) -> Iterator[Finding]:
        """Each sample without the batch axis; gradients by what they share are added."""
        count, case = self.case.active.shape[1], self.case
        for method, more in self.every_method:
            whole, off = (self._gradient(r, case, method, **more) for r in (self.tested, self.bounds))
            every = [self._gradient(self.tested, case.sample(s), method, **more) for s in range(count)]
            found = reduce(_added, (shared(g) for g in every))
            yield from self._same("samples", method, found, shared(whole), shared(off))
            for s, one in enumerate(every):
                row, rounding = (at(g.last, s) for g in (whole, off))
                where = f"sample {s} by {method}"
                yield from self._same("samples", where, {"last": one.last}, {"last": row}, {"last": rounding})

    def pieces(self) -> Iterator[Finding]:
        """Two steps, then the rest from the state and the influence that they left."""
        for method, more in (("rtrl", {}), ("hybrid", {"block": 2})):
            whole, off = (
                self._gradient(r, self.case, method, **more) for r in (self.tested, self.bounds)
            )
            first = self._gradient(self.tested, self.case.part(0, 2), method, **more)
            rest = self._gradient(
                self.tested,
                self.case.part(2, self.case.steps),
                method,
                state=first.last,
                influence=first.influence,
                **more,
            )
            found = {**_added(shared(first), shared(rest)), "last": rest.last}
            expected, bound = ({**shared(g), "last": g.last} for g in (whole, off))
            yield from self._same("pieces", method, found, expected, bound)

    def lengths(self) -> Iterator[Finding]:
        """Samples of lengths 0, 1 and T against sequences of these lengths."""
        steps = self.case.steps
        lengths = (0, 1, steps)
        active = (np.arange(steps)[:, None] < np.array(lengths)).astype(np.float64)
        case = replace(self.case, active=active)
        for method, more in self.every_method:
            whole, off = (self._gradient(r, case, method, **more) for r in (self.tested, self.bounds))
            each = [case.sample(s).part(0, n) for s, n in enumerate(lengths) if n]
            found = reduce(_added, (shared(self._gradient(self.tested, c, method, **more)) for c in each))
            yield from self._same("lengths", method, found, shared(whole), shared(off))
            if case.initial is not None:
                begun, last = (tuple(at(v, 0) for v in x) for x in (case.initial, whole.last))
                yield compared(self.network.name, "lengths", f"length 0 by {method}", last, begun, 0.0)

    def resets(self) -> Iterator[Finding]:
        """A reset of all samples before the third step: two sequences from the initial state."""
        reset = np.zeros(self.case.active.shape)
        plain = replace(self.case, reset=reset, active=np.ones(reset.shape))
        case = replace(plain, reset=reset + (np.arange(self.case.steps) == 2)[:, None])
        for method, more in self.every_method:
            if method == "truncated_bptt":
                continue  # its windows go on counting over a reset
            whole, off = (self._gradient(r, case, method, **more) for r in (self.tested, self.bounds))
            parts = [plain.part(0, 2), plain.part(2, case.steps)]
            found = reduce(_added, (shared(self._gradient(self.tested, c, method, **more)) for c in parts))
            yield from self._same("resets", method, found, shared(whole), shared(off))

    def missing(self) -> Iterator[Finding]:
        """NaN where nothing may be read: beyond the lengths, and in targets of weight 0."""
        case, beyond = self.case, self.case.active == 0
        unseen = beyond | (case.weight == 0)
        hidden = replace(
            case,
            inputs=mapped(case.inputs, lambda a: _hidden(a, beyond)),
            targets=mapped(case.targets, lambda a: _hidden(a, unseen)),
        )
        for method, more in self.every_method:
            expected, found = (by_group(self._gradient(self.tested, c, method, **more)) for c in (case, hidden))
            yield from self._same("missing targets", method, found, expected, _zeros(expected))


# --- groups of numbers


def by_group(g: Gradient) -> Groups:
    """All results of a gradient."""
    starts = {f"start {name}": value for name, value in g.by_initial.items() if value is not None}
    inputs = {f"input {name}": value for name, value in g.by_input.items()}
    influence = _numbered("influence", g.influence)
    return {**shared(g), **starts, **inputs, **influence, "last": g.last}


def shared(g: Gradient) -> Groups:
    """J and its gradient by what all samples share."""
    return {"J": np.asarray(g.loss), **g.by}


def _numbered(name: str, values: Any) -> Groups:
    return {f"{name} {k}": value for k, value in enumerate(values)}


def _added(left: Groups, right: Groups) -> Groups:
    return {name: moved(value, 1, right[name]) for name, value in left.items()}


def _zeros(groups: Groups) -> Groups:
    return {name: np.zeros(1) for name in groups}


def _moved_at(values: Any, k: int, h: float, v: Value) -> tuple[Value, ...]:
    return tuple(moved(x, h, v) if j == k else x for j, x in enumerate(values))


def _hidden(array: Array, where: Array) -> Array:
    """NaN at these times; class indices have none."""
    if array.dtype.kind in "iu":
        return array
    hidden = np.array(array)
    hidden[where] = np.nan
    return hidden


def _owner(x: Any) -> Any:
    """The parameter that an array is, or is a component of."""
    return x if hasattr(x, "name") else _owner(x.operands[0])


def along(s: Store, J: Array, v: list[Array]) -> Array:
    """J v of one array of derivatives: over all entries of its parameters, stored or tied."""
    if s.offsets is not None:
        return np.asarray(J @ np.concatenate([np.ravel(part) for part in v]))
    (x,), (part,) = s.by, v
    rank = J.ndim - len(shape_of(x)) + len({p for _, p in s.tied})
    out = list(range(rank))
    tied = {p: q for q, p in s.tied}
    entry = [tied.get(p, rank + p) for p in range(len(shape_of(x)))]
    stored = [*out, *(e for p, e in enumerate(entry) if p not in tied)]
    return np.asarray(np.einsum(J, stored, part, entry, out))
