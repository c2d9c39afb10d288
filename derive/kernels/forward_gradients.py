"""Gradients forward in time: RTRL, and the exact hybrid of RTRL and BPTT by blocks.

rtrl     thesis lemma 5.1.2, theorem 5.1.3, algorithm 5.1.1
hybrid   lemma 5.1.6 split at the start of each block of `block` steps
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import sympy

from ..hybrid import Hybrid
from ..influence import Influence
from ..programs import BATCH
from ..roles import GIVEN
from .draft import BLOCK, ONE, STEPS, ZERO, Draft, Pointers, Stack, Steps
from .loops import For, Pieces, Statement, Step
from .lower import Kernel
from .passes import Given, Pass, gradient_results, last_states
from .through_time import initial_bar


class Carried:
    """The state and the influence, from one step or block to the next, in two places in turn."""

    def __init__(self, draft: Draft, influence: Influence, given: Given, with_state: bool) -> None:
        self.draft, self.influence = draft, influence
        self.t = influence.transition
        two = (sympy.Integer(2),)
        self.places: dict[str, Stack] = {}
        self.after: dict[str, str] = {}
        for s in influence.stores:
            name, next_ = s.variable.name, influence.next[s]
            source = draft.argument(name, s.variable.space, GIVEN)
            self._add(name, next_, draft.stack(next_, s.variable.space, two), source)
        if with_state:
            h, cell = self.t.h, self.t.cell
            stack = draft.stack(h.name, h.space, two)
            self._add(h.name, self.t.next.name, stack, given.initial[cell])

    def _add(self, name: str, after: str, stack: Stack, source: Stack) -> None:
        self.places[name], self.after[name] = stack, after
        self.draft.body += self.draft.copy(stack, source.start, stack.at(ZERO))

    def at(self, time: sympy.Expr) -> dict[str, Pointers | None]:
        """The arrays before a step, and after it."""
        before = {name: stack.at(sympy.Mod(time, 2)) for name, stack in self.places.items()}
        after = {
            self.after[name]: stack.at(sympy.Mod(time + 1, 2))
            for name, stack in self.places.items()
        }
        return {**before, **after}

    def results(self) -> dict[str, Stack]:
        """The influence after the last step."""
        return {
            s.variable.name: self.draft.result(
                f"{s.variable.name}_last", s.variable.space, adds=False
            )
            for s in self.influence.stores
        }

    def leave(self, time: sympy.Expr, results: Mapping[str, Stack]) -> Iterator[Statement]:
        """What is left after the last step."""
        for name, result in results.items():
            stack = self.places[name]
            yield from self.draft.copy(stack, stack.at(sympy.Mod(time, 2)), result.start)


class Readout:
    """The gradients of parameters side by side, added up in columns and parted in the end."""

    def __init__(self, draft: Draft, influence: Influence) -> None:
        self.draft, self.influence = draft, influence
        for columns in influence.total.values():
            if columns is not None:
                stack = draft.stack(columns.name, columns.space, (ONE,))
                draft.arrays[columns.name] = stack.start
                draft.body += draft.fill(stack)

    def call(self, eps: Pointers, at: Mapping[str, Pointers | None]) -> Step:
        """nabla J += J* . eps (thesis (5.12))."""
        name = self.influence.transition.eps.name
        return self.draft.call(self.influence.readout(), {**at, name: eps})

    def parted(self) -> Iterator[Statement]:
        """The gradient of each parameter."""
        program = self.influence.parted()
        if program is not None:
            yield self.draft.call(program, {})


def rtrl(steps: Steps, influence: Influence) -> Kernel:
    """The gradient by RTRL (thesis lemma 5.1.2, theorem 5.1.3)."""
    draft = Draft(steps, "rtrl")
    given = Given(draft, observed=True)
    t, observation = influence.transition, steps.last
    (cell,) = steps.network.cells
    carried = Carried(draft, influence, given, with_state=True)
    gradient_results(draft)
    if steps.network.learned:
        initial_bar(draft, t)
    last, left = last_states(draft), carried.results()
    readout = Readout(draft, influence)
    predicted = draft.result(
        steps.prediction, observation.predicted_space, (STEPS, BATCH), adds=False
    )
    error = draft.stack(f"{cell.state.name}_error", cell.state.space, (ONE, BATCH))
    i = draft.index("t")
    at = {**given.at(i), **carried.at(i)}
    seen = {
        **given.at(i),
        cell.state.name: at[t.next.name],
        f"{cell.state.name}_error": error.start,
    }
    new = {name: at[after] for name, after in carried.after.items()}
    shown = {cell.state.name: at[t.next.name], observation.predicted.name: predicted.at(i)}
    body = (
        draft.call(influence.forward(), at),
        draft.call(observation.predict(), shown),
        draft.call(observation.observe(), seen),
        readout.call(error.start, new),
    )
    draft.body.append(For(i, STEPS, body))
    draft.body += readout.parted()
    draft.body += carried.leave(STEPS, {**left, t.h.name: last[cell]})
    law = [
        f"{steps.total} += sum over the times of weight loss, and its gradient by RTRL",
        "from an influence of the parameters on the initial state",
    ]
    return draft.kernel(law)


def hybrid(steps: Steps, influence: Influence, lemma: Hybrid) -> Kernel:
    """The gradient by blocks (thesis lemma 5.1.6 split at each block's start)."""
    draft = Draft(steps, "hybrid", (BLOCK,))
    given = Given(draft, observed=True)
    t, observation = influence.transition, steps.last
    (cell,) = steps.network.cells
    carried = Carried(draft, influence, given, with_state=False)
    gradient_results(draft)
    if steps.network.learned:
        initial_bar(draft, t)
    last, left = last_states(draft), carried.results()
    readout = Readout(draft, influence)
    long = sympy.Min(BLOCK, STEPS)
    p = Pass(draft, cell, long, backward=True)
    two = (sympy.Integer(2),)
    lambdas = {
        key: draft.stack(s.variable.name, s.variable.space, two) for key, s in lemma.stores.items()
    }
    factors = {x.name: draft.stack(x.name, x.space, (long,)) for x in lemma.factors.values()}
    draft.body += draft.copy(p.h, given.initial[cell].start, p.h.at(ZERO))
    b = draft.index("b")
    first = b * BLOCK
    count = sympy.Min(BLOCK, STEPS - first)
    down, up = draft.index("t"), draft.index("t")
    time, below = count - 1 - down, count - 1 - up
    seen = {
        **given.at(first),
        cell.state.name: p.h.at(ONE),
        f"{cell.state.name}_error": p.error.at(ONE),
    }
    turn = carried.at(b)
    start = {s.variable.name: lambdas[key].at(ZERO) for key, s in lemma.stores.items()}
    stepped = {
        **p.at(given, below, first),
        **{s.variable.name: lambdas[key].at(sympy.Mod(up, 2)) for key, s in lemma.stores.items()},
        **{lemma.before[key]: stack.at(sympy.Mod(up + 1, 2)) for key, stack in lambdas.items()},
        **{name: stack.at(below) for name, stack in factors.items()},
    }
    ended = {
        **turn,
        **{
            s.variable.name: lambdas[key].at(sympy.Mod(count, 2)) for key, s in lemma.stores.items()
        },
        **stacks_of(lemma, p, given, factors, first),
    }
    body = (
        p.forward(given, count, first),
        *draft.fill(p.error),
        draft.call(observation.observe(), seen, count=count, most=long),
        *draft.copy(p.eps, p.error.at(count), p.eps.at(count)),
        For(down, count, (p.back(given, time, first),)),
        p.adjoints(given, ZERO, first, count),
        readout.call(p.eps.at(ZERO), turn),
        draft.call(lemma.start(), start),
        For(up, count, (draft.call(lemma.backward(), stepped),)),
        draft.call(lemma.end(), ended, most=long, times=count),
        *draft.copy(p.h, p.h.at(count), p.h.at(ZERO)),
    )
    blocks = Pieces(STEPS, BLOCK)
    draft.body.append(For(b, blocks, body))
    draft.body += readout.parted()
    draft.body += draft.copy(p.h, p.h.at(ZERO), last[cell].start)
    draft.body += carried.leave(blocks, left)
    law = [
        f"{steps.total} += sum over the times of weight loss, and its gradient by blocks of BPTT",
        "with the influence carried from block to block",
    ]
    return draft.kernel(law)


def stacks_of(
    lemma: Hybrid, p: Pass, given: Given, factors: Mapping[str, Stack], first: sympy.Expr
) -> dict[str, Pointers | None]:
    """The arrays of a block that the factors of Lambda . nabla f are read from."""
    timed = {name: stack.at(first) for name, stack in given.timed.items()}
    kept = {name: stack.at(ZERO) for name, stack in {**p.kept, **factors}.items()}
    states = {p.t.h.name: p.h.at(ZERO)}
    known = {**timed, **kept, **states}
    return {stack.name: known[lemma.source_of[stack]] for stack in lemma.stacks.values()}
