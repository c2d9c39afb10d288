"""The laws of RTRL, of the hybrid and of truncated BPTT over a sequence.

methods       RTRL, and the hybrid for any block length, give the gradient of BPTT
truncation    truncated BPTT with every = down = T is BPTT
influence     J v is the difference of the last state along v
pieces        a sequence in pieces equals the whole sequence, by RTRL and by the hybrid
resets        a sequence with a reset equals two sequences
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial, reduce
from typing import Any

import numpy as np

from ...kernels.sequences.steps import Steps
from ...language.reference import Array, Value
from ...language.reference import shape_of as numbers
from ...language.spaces import leaves
from ...recurrence.blocks import StoredJacobian
from ...recurrence.influence import Influence
from .findings import EPS, Finding, compared, largest, vector
from .oracles import moved
from .sequence_calls import SequenceCalls, added_groups, by_group, shared
from .sequence_cases import mapped


class OnlineLaws(SequenceCalls):
    """A network with one cell that runs forward in time; each method is one law."""

    def methods(self) -> Iterator[Finding]:
        """The same gradient by every exact method."""
        steps = self.case.steps
        expected, off = (self._gradient(r, self.case).by for r in (self.tested, self.bounds))
        others = [("rtrl", {}), *(("hybrid", {"block": k}) for k in (1, 2, 3, steps, steps + 2))]
        for method, more in others:
            found = self._gradient(self.tested, self.case, method, **more).by
            bound = added_groups(off, self._gradient(self.bounds, self.case, method, **more).by)
            where = " ".join([method, *(f"block={k}" for k in more.values())])
            yield from self._same("methods", where, found, expected, bound)

    def truncation(self) -> Iterator[Finding]:
        """Truncated BPTT that propagates every loss to the first step."""
        steps = self.case.steps
        whole = {"every": steps, "down": steps}
        expected, off = (by_group(self._gradient(r, self.case)) for r in (self.tested, self.bounds))
        found = by_group(self._gradient(self.tested, self.case, "truncated_bptt", **whole))
        yield from self._same("truncation", "truncated_bptt", found, expected, off)

    def influence(self) -> Iterator[Finding]:
        """J v for a direction v of each parameter, against the difference of the last state."""
        stores = Influence(next(iter(Steps(self.network).transitions.values()))).stores
        J, off = (
            self._gradient(r, self.case, "rtrl").influence for r in (self.tested, self.bounds)
        )
        for name, value in self.case.theta.items():
            if name in self._on_the_state(stores):
                v = self._drawn(value)
                quotient, bound = self._quotient(partial(self._last, name, v))
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

    def _on_the_state(self, stores: list[StoredJacobian]) -> set[str]:
        return {_owner(x).name.removesuffix("_reset") for s in stores for x in s.by} | {
            f"{cell.state.name}_0" for cell in self.network.cells if self.network.learned
        }

    def _last(self, name: str, v: Value, h: float) -> tuple[Value, Value]:
        """The last state with a parameter moved."""
        theta = {**self.case.theta, name: moved(self.case.theta[name], h, v)}
        found, off = (
            r.forward(theta, *self.case.inputs, **self.case.options)[-1]
            for r in (self.tested, self.bounds)
        )
        return found, off

    def _along(self, stores: list[StoredJacobian], J: Any, v: Mapping[str, Value]) -> Array:
        """J v, component by component of the state."""
        found = self._zeros()
        for s, array in zip(stores, J, strict=True):
            found[s.component] = found[s.component] + along(
                s, np.asarray(array), self._directed(s, v)
            )
        return vector(tuple(found))

    def _zeros(self) -> list[Array]:
        """Zero for the components of a state that no parameter influences, for every sample."""
        (cell,), batch = self.network.cells, self.case.active.shape[1]
        shapes = (numbers(space, self.case.sizes) for space in leaves(cell.state.space))
        return [np.zeros((batch, *shape)) for shape in shapes]

    def _directed(self, s: StoredJacobian, v: Mapping[str, Value]) -> list[Array]:
        """The direction of each array of a store, zero for those of other parameters."""
        made = []
        batch, first = self.case.active.shape[1], f"{self.network.cells[0].state.name}_0"
        for x in s.by:
            owner = _owner(x).name
            learned = owner not in self.case.theta
            name = first if learned else owner
            value = v.get(name, mapped(self.case.theta[name], np.zeros_like))
            part = _component(x, value)
            made.append(np.broadcast_to(part, (batch, *np.shape(part))) if learned else part)
        return made

    def pieces(self) -> Iterator[Finding]:
        """Two steps, then the rest from the state and the influence after them."""
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
            found = {**added_groups(shared(first), shared(rest)), "last": rest.last}
            expected, bound = ({**shared(g), "last": g.last} for g in (whole, off))
            yield from self._same("pieces", method, found, expected, bound)

    def resets(self) -> Iterator[Finding]:
        """A reset of all samples before the third step: two sequences from the initial state."""
        reset = np.zeros(self.case.active.shape)
        plain = replace(self.case, reset=reset, active=np.ones(reset.shape))
        case = replace(plain, reset=reset + (np.arange(self.case.steps) == 2)[:, None])
        for method, more in self.every_method:
            if method == "truncated_bptt":
                continue  # its windows are counted across a reset
            whole, off = (
                self._gradient(r, case, method, **more) for r in (self.tested, self.bounds)
            )
            parts = [plain.part(0, 2), plain.part(2, case.steps)]
            found = reduce(
                added_groups,
                (shared(self._gradient(self.tested, c, method, **more)) for c in parts),
            )
            yield from self._same("resets", method, found, shared(whole), shared(off))


def _owner(x: Any) -> Any:
    """The parameter that an array is or belongs to."""
    return x if hasattr(x, "name") else _owner(x.operands[0])


def _component(x: Any, value: Any) -> Any:
    """The value of an array, taken from that of its parameter."""
    return value if hasattr(x, "name") else _component(x.operands[0], value)[x.position]


def along(s: StoredJacobian, J: Array, v: list[Array]) -> Array:
    """J v for one stored array: the sum over all entries of its parameters, on tied axes too."""
    if s.offsets is not None:
        return np.asarray(J @ np.concatenate([np.ravel(part) for part in v]))
    (part,) = v
    rank = J.ndim - len(s.axes) + len({p for _, p in s.tied})
    out = list(range(rank))
    tied = {p: q for q, p in s.tied}
    entry = [tied.get(p, rank + p) for p in range(len(s.axes))]
    stored = [*out, *(e for p, e in enumerate(entry) if p not in tied)]
    return np.asarray(np.einsum(J, stored, part, entry, out))
