"""Gradients forward in time: RTRL, and the exact hybrid of RTRL and BPTT by blocks.

rtrl     thesis lemma 5.1.2, theorem 5.1.3, algorithm 5.1.1
hybrid   lemma 5.1.6 split at the start of each block of `block` steps
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import sympy

from ...language.roles import GIVEN
from ...models.programs import BATCH
from ...recurrence.hybrid import Hybrid
from ...recurrence.influence import Influence
from ..lowering.kernel import Kernel
from ..statements.loops import Commented, For, Statement, Where
from ..statements.scalars import Buffer, Load, Pieces
from .cell_over_time import CellLoop, SequenceArguments, gradient_results, last_states
from .sequence_kernel import BLOCK, ONE, STEPS, ZERO, Draft, Pointers, Stack
from .steps import Steps
from .through_time import initial_bar


class Carried:
    """The state and the influence, from one step or block to the next, in two places in turn."""

    def __init__(
        self, draft: Draft, influence: Influence, given: SequenceArguments, with_state: bool
    ) -> None:
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
        for columns in influence.columns:
            if columns is not None:
                stack = draft.stack(columns.name, columns.space, (ONE,))
                draft.arrays[columns.name] = stack.start
                draft.body += draft.fill(stack)

    def call(
        self, eps: Pointers, at: Mapping[str, Pointers | None], heard: Buffer, time: sympy.Expr
    ) -> Statement:
        """nabla J += J* . eps (thesis (5.12)), of those samples that a loss hears of."""
        if not self.influence.stores:  # of a cell without parameters
            return Commented((), ())
        name = self.influence.transition.eps.name
        sample, one = self.draft.sample(self.influence.readout(), {**at, name: eps})
        return For(sample, BATCH, (Where(Load(heard, (time, sample)), (one,)),))

    def parted(self) -> Iterator[Statement]:
        """The gradient of each parameter."""
        program = self.influence.parted()
        if program is not None:
            yield self.draft.call(program, {})


class Online:
    """What both kernels have: the sequence, J carried along it, and the results.

    The order is that of the kernel's arguments and results, then that of its workspace.
    """

    def __init__(self, draft: Draft, influence: Influence, with_state: bool) -> None:
        self.draft, self.influence = draft, influence
        self.steps, self.t = draft.steps, influence.transition
        self.given = SequenceArguments(draft, observed=True)
        (self.cell,) = draft.network.cells
        self.carried = Carried(draft, influence, self.given, with_state)
        self.losses = gradient_results(draft)
        if draft.network.learned:
            initial_bar(draft, self.t)
        self.last, self.left = last_states(draft), self.carried.results()
        self.readout = Readout(draft, influence)


def rtrl(steps: Steps, influence: Influence) -> Kernel:
    """The gradient by RTRL (thesis lemma 5.1.2, theorem 5.1.3)."""
    return RTRLKernel(Draft(steps, "rtrl"), influence).kernel()


class RTRLKernel(Online):
    """The kernel of RTRL: at each time a step of the state and of J, then the loss's gradient."""

    def __init__(self, draft: Draft, influence: Influence) -> None:
        super().__init__(draft, influence, with_state=True)
        self.predicted = draft.result(
            self.steps.prediction, self.steps.last.predicted_space, (STEPS, BATCH), adds=False
        )
        state = self.cell.state
        self.error_name = f"{state.name}_error"
        self.error = draft.stack(self.error_name, state.space, (ONE, BATCH))
        self.i = draft.index("t")

    def kernel(self) -> Kernel:
        """The loop over the times, and what is left after the last one."""
        draft, left = self.draft, {**self.left, self.t.h.name: self.last[self.cell]}
        draft.body.append(For(self.i, STEPS, tuple(self._step())))
        draft.body += self.readout.parted()
        draft.body += self.carried.leave(STEPS, left)
        law = [
            f"{self.steps.losses} += weight loss, and the gradient of their sum J by RTRL",
            "from an influence of the parameters on the initial state",
        ]
        return draft.kernel(law)

    def _step(self) -> Iterator[Statement]:
        """J_i before the loss of the time i, whose gradient is J_i* . D*g . e_i (thesis (5.12))."""
        draft, influence, i, observation = self.draft, self.influence, self.i, self.steps.last
        at = {**self.given.at(i), **self.carried.at(i)}
        state = {self.cell.state.name: at[self.t.next.name]}
        seen = {self.steps.losses: self.losses.at(i), self.error_name: self.error.start}
        for program in (influence.begin(), influence.forward(), influence.keep()):
            yield draft.call(program, at)
        shown = {observation.predicted.name: self.predicted.at(i)}
        yield draft.call(observation.predict(), {**state, **shown})
        yield draft.call(observation.observe(), {**self.given.at(i), **state, **seen})
        (weights,) = self.given.timed[self.steps.weight.name].buffers
        # the names of J before the step, but the arrays after it: the loss sees the new state
        new = {name: at[after] for name, after in self.carried.after.items()}
        yield self.readout.call(self.error.start, new, weights, i)


def hybrid(steps: Steps, influence: Influence, lemma: Hybrid) -> Kernel:
    """The gradient by blocks (thesis lemma 5.1.6 split at each block's start)."""
    return HybridKernel(Draft(steps, "hybrid", (BLOCK,)), influence, lemma).kernel()


class HybridKernel(Online):
    """The kernel of the hybrid: BPTT within a block, then the influence at its end."""

    def __init__(self, draft: Draft, influence: Influence, lemma: Hybrid) -> None:
        super().__init__(draft, influence, with_state=False)
        self.lemma, self.long = lemma, sympy.Min(BLOCK, STEPS)
        self.p = CellLoop(draft, self.cell, self.long, backward=True)
        two = (sympy.Integer(2),)
        self.Lambda = {
            key: draft.stack(s.variable.name, s.variable.space, two)
            for key, s in lemma.stores.items()
        }
        kept = (*lemma.factors.values(), lemma.linking)
        self.factors = {x.name: draft.stack(x.name, x.space, (self.long,)) for x in kept}
        self.linked = draft.stack(lemma.linked.name, lemma.linked.space, two)
        self.number = draft.index("b")
        self.first = self.number * BLOCK
        self.count = sympy.Min(BLOCK, STEPS - self.first)

    def kernel(self) -> Kernel:
        """The loop over the blocks, and what is left after the last one."""
        draft, p, blocks = self.draft, self.p, Pieces(STEPS, BLOCK)
        draft.body += draft.copy(p.h, self.given.initial[self.cell].start, p.h.at(ZERO))
        body = (
            *self._backward(),
            *self._carry(),
            *draft.copy(p.h, p.h.at(self.count), p.h.at(ZERO)),
        )
        draft.body.append(For(self.number, blocks, body))
        draft.body += self.readout.parted()
        draft.body += draft.copy(p.h, p.h.at(ZERO), self.last[self.cell].start)
        draft.body += self.carried.leave(blocks, self.left)
        law = [
            f"{self.steps.losses} += weight loss, and the gradient of their sum J",
            "by blocks of BPTT, with the influence carried from block to block",
        ]
        return draft.kernel(law)

    def _backward(self) -> Iterator[Statement]:
        """BPTT with the losses of the block alone, then J_{t0}* . eps_{t0}."""
        draft, p, count, t = self.draft, self.p, self.count, self.draft.index("t")
        yield p.forward(self.given, count, self.first)
        yield from draft.fill(p.error)
        yield from p.listen(self.given.timed[self.steps.weight.name].at(self.first), count)
        yield draft.call(self.steps.last.observe(), self._seen(), count=count, most=self.long)
        yield from p.begin_back(count)
        yield For(t, count, p.back(self.given, count - 1 - t, self.first))
        yield p.adjoints(self.given, ZERO, self.first, count)
        (heard,) = p.heard.buffers
        yield self.readout.call(p.eps.at(ZERO), self.carried.at(self.number), heard, ZERO)

    def _seen(self) -> dict[str, Pointers | None]:
        """What the prediction and the loss of all times of the block read and write."""
        name = self.cell.state.name
        places = {name: self.p.h.at(ONE), f"{name}_error": self.p.error.at(ONE)}
        places[self.steps.losses] = self.losses.at(self.first)
        return {**self.given.at(self.first), **places}

    def _carry(self) -> Iterator[Statement]:
        """Lambda down the block from the identity, then J_{t0+k}."""
        draft, lemma, t = self.draft, self.lemma, self.draft.index("t")
        yield draft.call(lemma.start(), self._Lambda_at(ZERO))
        yield For(t, self.count, (draft.call(lemma.backward(), self._stepped(t)),))
        linked = {**self.carried.at(self.number), **self._Lambda_at(self.count)}
        yield draft.call(self.influence.cleared(lemma.linked), linked)
        ended = {
            **self.carried.at(self.number),
            **self._Lambda_at(self.count),
            **stacks_of(lemma, self.p, self.given, self.factors, self.first),
        }
        yield draft.call(lemma.end(), ended, most=self.long, times=self.count)

    def _Lambda_at(self, turn: sympy.Expr) -> dict[str, Pointers | None]:
        """Lambda after as many steps down: in two places in turn."""
        place = sympy.Mod(turn, 2)
        places = {s.variable.name: self.Lambda[k].at(place) for k, s in self.lemma.stores.items()}
        return {**places, self.lemma.linked.name: self.linked.at(place)}

    def _stepped(self, t: sympy.Symbol) -> dict[str, Pointers | None]:
        """The arrays of one step down: Lambda before and after it, the factors of its time."""
        time, place = self.count - 1 - t, sympy.Mod(t + 1, 2)
        return {
            **self.p.at(self.given, time, self.first),
            **self._Lambda_at(t),
            **{self.lemma.before[key]: stack.at(place) for key, stack in self.Lambda.items()},
            self.lemma.linked_before: self.linked.at(place),
            **{name: stack.at(time) for name, stack in self.factors.items()},
        }


def stacks_of(
    lemma: Hybrid,
    p: CellLoop,
    given: SequenceArguments,
    factors: Mapping[str, Stack],
    first: sympy.Expr,
) -> dict[str, Pointers | None]:
    """The arrays of a block that the factors of Lambda . nabla f are read from."""
    timed = {name: stack.at(first) for name, stack in given.timed.items()}
    kept = {name: stack.at(ZERO) for name, stack in {**p.kept, **factors}.items()}
    states = {p.t.h.name: p.h.at(ZERO)}
    known = {**timed, **kept, **states}
    return {stack.name: known[source] for stack, source in lemma.source_of.items()}
