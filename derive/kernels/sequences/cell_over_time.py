"""What kernels over sequences have in common: arguments, results, and one cell over times."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import sympy

from ...language.roles import GIVEN, MASK, STATE, THETA
from ...language.spaces import R
from ...language.walk import storage
from ...models.cells import inputs_of
from ...models.levels import FORWARD, CellInstance, Level
from ...models.programs import BATCH
from ...recurrence.influence import bar_name
from ..statements.loops import Commented, Copy, For, Statement
from .sequence_kernel import STEPS, ZERO, Draft, Pointers, Stack


class SequenceArguments:
    """The arguments of a kernel, in the network's order: states, input, masks, targets, theta."""

    def __init__(self, draft: Draft, observed: bool) -> None:
        steps, network = draft.steps, draft.network
        self.initial = {
            cell: draft.argument(t.first.name, cell.state.space, STATE, (BATCH,))
            for cell, t in steps.transitions.items()
        }
        for cell, t in steps.transitions.items():
            if t.reset is not None:
                draft.argument(t.initial.name, cell.state.space, STATE, (BATCH,))
        self.timed = {
            a.name: draft.argument(a.name, a.variable.space, a.role, (STEPS, BATCH))
            for a in network.inputs
        }
        for mask in (steps.masks.reset, steps.masks.active):
            if mask is not None:
                self.timed[mask.name] = draft.argument(mask.name, R(), MASK, (STEPS, BATCH))
        if observed:
            for target in network.targets:
                self.timed[target.name] = draft.argument(
                    target.name, target.variable.space, target.role, (STEPS, BATCH)
                )
            name = steps.weight.name
            self.timed[name] = draft.argument(name, R(), GIVEN, (STEPS, BATCH))
        for a in network.arguments:
            if a.role in THETA:
                draft.argument(a.name, a.variable.space, a.role)

        self.bars: dict[str, Stack] = {}
        self.predicted: dict[Level, Stack] = {}
        self.predicted_bar: dict[Level, Stack] = {}

    def at(self, time: sympy.Expr) -> dict[str, Pointers | None]:
        """The arrays of a sequence from a time on."""
        return {name: stack.at(time) for name, stack in self.timed.items()}

    def wanted(self, draft: Draft) -> None:
        """The gradient by the input, a result."""
        for x in draft.network.inputs:
            if x.role == STATE:
                name = f"{x.name}_bar"
                self.bars[name] = draft.result(name, x.variable.space, (STEPS, BATCH))

    def below(self, draft: Draft, level: Level, above: Level, backward: bool) -> None:
        """The predictions of a level, which the one above takes as input, and their cotangents."""
        space = level.prediction.function.output.space
        name = f"{level.prediction.label.replace('.', '_')}_below"
        self.predicted[level] = draft.stack(name, space, (STEPS, BATCH))
        for cell in above.cells:
            (x,) = inputs_of(cell.function)
            self.timed[x.name] = self.predicted[level]
        if backward:
            self.predicted_bar[level] = draft.stack(f"{name}_bar", space, (STEPS, BATCH))
            self.bars[f"{x.name}_bar"] = self.predicted_bar[level]
            draft.body += draft.fill(self.predicted_bar[level])


def gradient_results(draft: Draft) -> Stack:
    """The losses, and the gradient of their sum J by every parameter."""
    losses = draft.result(draft.steps.losses, R(), (STEPS, BATCH))
    for theta in draft.network.parameters:
        stack = draft.result(f"{theta.name}_bar", theta.space)
        for leaf, at in zip(storage(theta), stack.start, strict=True):
            draft.arrays[bar_name(leaf)] = (at,)
    return losses


def last_states(draft: Draft) -> dict[CellInstance, Stack]:
    """The states after the last step, which another piece of the sequence goes on from."""
    return {
        cell: draft.result(f"{cell.state.name}_last", cell.state.space, (BATCH,), adds=False)
        for cell in draft.network.cells
    }


# --- one cell over times


class CellLoop:
    """One cell over times 0 .. count - 1: its states, what is saved, its cotangents.

    The state before the first step of a direction and those after each step lie in one stack of
    count + 1 arrays: forward in time, step t leads from array t to array t + 1, backward in time
    from t + 1 to t.
    """

    def __init__(self, draft: Draft, cell: CellInstance, count: sympy.Expr, backward: bool) -> None:
        self.draft, self.cell, self.count = draft, cell, count
        self.t = draft.steps.transitions[cell]
        self.ahead = cell.direction == FORWARD
        name, space, one_more = cell.state.name, cell.state.space, (count + 1, BATCH)
        self.h = draft.stack(name, space, one_more)
        self.kept: dict[str, Stack] = {}
        if backward:
            self.error = draft.stack(f"{name}_error", space, one_more)
            self.eps = draft.stack(f"{name}_bar", space, one_more)
            self.source = draft.stack(self.t.source.name, R(), one_more)
            self.heard = draft.stack(self.t.heard.name, R(), one_more)
            self.kept = {
                x.name: draft.stack(x.name, x.space, (count,))
                for x in (*self.t.saved.values(), *self.t.deltas.values(), self.t.reached)
            }

    @property
    def start(self) -> sympy.Expr:
        """The place of the state before the first step."""
        return ZERO if self.ahead else self.count

    def end(self, count: sympy.Expr) -> sympy.Expr:
        """The place of the state after as many steps."""
        return count if self.ahead else self.count - count

    def after(self, time: sympy.Expr) -> sympy.Expr:
        """The place of the state after the step of a time."""
        return time + 1 if self.ahead else time

    def before(self, time: sympy.Expr) -> sympy.Expr:
        """The place of the state before it."""
        return time if self.ahead else time + 1

    def forward(self, given: SequenceArguments, count: sympy.Expr, first: sympy.Expr = ZERO) -> For:
        """The cell over `count` times, whose input begins at the time `first` of the sequence."""
        r = self.draft.index("t")
        time = r if self.ahead else count - 1 - r
        program = self.t.forward(saving=bool(self.kept))
        return For(r, count, (self.draft.call(program, self.at(given, time, first)),))

    def listen(self, weights: Pointers, count: sympy.Expr) -> Iterator[Statement]:
        """Where a loss is: the masks of `count` times, from a place on; nothing elsewhere."""
        yield from self.draft.fill(self.source)
        target = self.source.at(self.after(ZERO))
        yield from (Copy(count * BATCH, a, b) for a, b in zip(weights, target, strict=True))

    def begin_back(self, end: sympy.Expr) -> Iterator[Statement]:
        """eps and what is heard at the place of the last state."""
        yield from self.draft.copy(self.eps, self.error.at(end), self.eps.at(end))
        yield from self.draft.copy(self.heard, self.source.at(end), self.heard.at(end))

    def back(
        self,
        given: SequenceArguments,
        time: sympy.Expr,
        first: sympy.Expr,
        silent: Mapping[str, Pointers] | None = None,
    ) -> tuple[Commented, ...]:
        """eps before the step of a time from eps after it (thesis (5.14)).

        `silent` are an error and a source of nothing, where those of this time count elsewhere.
        """
        at, before = self.at(given, time, first), self.before(time)
        own = {self.t.error.name: self.error.at(before), self.t.source.name: self.source.at(before)}
        at |= own if silent is None else silent
        return (self.draft.call(self.t.reaching(), at), self.draft.call(self.t.backward(), at))

    def adjoints(
        self, given: SequenceArguments, time: sympy.Expr, first: sympy.Expr, count: sympy.Expr
    ) -> Commented:
        """The gradients by parameters and inputs, one product over `count` times (5.22)."""
        at = self.at(given, time, first)
        for x in self.t.inputs_wanted:
            name = f"{x.name}_bar"
            at[name] = given.bars[name].at(first + time) if name in given.bars else None
        return self.draft.call(self.t.adjoints(), at, count=count, most=self.count)

    def at(
        self, given: SequenceArguments, time: sympy.Expr, first: sympy.Expr
    ) -> dict[str, Pointers | None]:
        """The arrays of a time by the names that the steps call them."""
        return {
            **{name: stack.at(first + time) for name, stack in given.timed.items()},
            **{name: stack.at(time) for name, stack in self.kept.items()},
            self.t.h.name: self.h.at(self.before(time)),
            self.t.next.name: self.h.at(self.after(time)),
            **self._cotangents(time),
        }

    def _cotangents(self, time: sympy.Expr) -> dict[str, Pointers | None]:
        if not self.kept:
            return {}
        return {
            self.t.eps.name: self.eps.at(self.after(time)),
            self.t.eps_before: self.eps.at(self.before(time)),
            self.t.heard.name: self.heard.at(self.after(time)),
            self.t.heard_before: self.heard.at(self.before(time)),
        }
