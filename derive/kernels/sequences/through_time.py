"""The forward pass over a sequence, and backpropagation through time.

forward          h_i = f(h_{i-1}; x_i; theta) and y^_i = g(h_i; zeta)
loss             the weighted losses
bptt             these and the gradient of their sum (thesis theorems 5.1.5, 5.1.7, algorithm 5.1.2)
truncated_bptt   every `every` steps, `down` applications of f down; each loss is sent back once
"""

from __future__ import annotations

from collections.abc import Mapping

import sympy

from ...language.spaces import R
from ...language.walk import storage
from ...models.levels import CellInstance, Level
from ...models.programs import BATCH
from ...recurrence.influence import bar_name
from ...recurrence.transitions import Transition
from ..lowering.kernel import Kernel
from ..statements.loops import Commented, Copy, For, Statement
from ..statements.scalars import Pieces
from .cell_over_time import CellLoop, SequenceArguments, gradient_results, last_states
from .sequence_kernel import DOWN, EVERY, ONE, STEPS, ZERO, Draft, Pointers, Stack
from .steps import Steps


def forward(steps: Steps) -> Kernel:
    """h_i and y^_i for all times."""
    draft = Draft(steps, "forward")
    given = SequenceArguments(draft, observed=False)
    predicted = draft.result(
        steps.prediction, steps.last.predicted_space, (STEPS, BATCH), adds=False
    )
    states = {
        cell: draft.result(
            f"{cell.state.name}_sequence", cell.state.space, (STEPS, BATCH), adds=False
        )
        for cell in steps.network.cells
    }
    last = last_states(draft)
    loops = forward_levels(draft, given, backward=False)
    draft.body.append(predict(draft, loops, steps.network.levels[-1], predicted))
    for cell, p in loops.items():
        whole = zip(states[cell].buffers, p.h.at(p.after(ZERO)), states[cell].start, strict=True)
        draft.body += [Copy(buffer.count, source, target) for buffer, source, target in whole]
        draft.body += draft.copy(p.h, p.h.at(p.end(STEPS)), last[cell].start)
    return draft.kernel([f"states and predictions of {steps.network.signature}"])


def forward_levels(
    draft: Draft, given: SequenceArguments, backward: bool
) -> dict[CellInstance, CellLoop]:
    """Every cell over the sequence, each level on the predictions of the one below."""
    loops: dict[CellInstance, CellLoop] = {}
    network = draft.network
    for number, level in enumerate(network.levels):
        for cell in level.cells:
            p = loops[cell] = CellLoop(draft, cell, STEPS, backward)
            initial = given.initial[cell].start
            draft.body += draft.copy(p.h, initial, p.h.at(p.start))
            draft.body.append(p.forward(given, STEPS))
        if number + 1 < len(network.levels):
            given.below(draft, level, network.levels[number + 1], backward)
            draft.body.append(predict(draft, loops, level, given.predicted[level]))
    return loops


def predict(
    draft: Draft, loops: Mapping[CellInstance, CellLoop], level: Level, to: Stack
) -> Commented:
    """g of the states of all times."""
    observation = draft.steps.observations[level]
    at = shown_states(loops, level)
    at[observation.predicted.name] = to.start
    return draft.call(observation.predict(), at, count=STEPS)


def shown_states(
    loops: Mapping[CellInstance, CellLoop], level: Level
) -> dict[str, Pointers | None]:
    """The states after each step, all times together."""
    return {cell.state.name: loops[cell].h.at(loops[cell].after(ZERO)) for cell in level.cells}


def loss(steps: Steps) -> Kernel:
    """The weighted losses."""
    draft = Draft(steps, "loss")
    given = SequenceArguments(draft, observed=True)
    draft.result(steps.losses, R(), (STEPS, BATCH))
    last = last_states(draft)
    loops = forward_levels(draft, given, backward=False)
    at = shown_states(loops, steps.network.levels[-1]) | given.at(ZERO)
    draft.body.append(draft.call(steps.last.loss(), at, count=STEPS))
    for cell, p in loops.items():
        draft.body += draft.copy(p.h, p.h.at(p.end(STEPS)), last[cell].start)
    return draft.kernel(
        [f"{steps.losses} += weight loss, for each time and sample; J is their sum"]
    )


def bptt(steps: Steps) -> Kernel:
    """The gradient by BPTT (thesis theorems 5.1.5, 5.1.7)."""
    draft = Draft(steps, "bptt")
    given = SequenceArguments(draft, observed=True)
    gradient_results(draft)
    initial_bars(draft)
    given.wanted(draft)
    last = last_states(draft)
    loops = forward_levels(draft, given, backward=True)
    levels = steps.network.levels
    for number, level in reversed(list(enumerate(levels))):
        above = None if number + 1 == len(levels) else levels[number + 1]
        observe(draft, given, loops, level, above)
        for cell in level.cells:
            through_time(draft, given, loops[cell])
    for cell, p in loops.items():
        draft.body += draft.copy(p.h, p.h.at(p.end(STEPS)), last[cell].start)
    law = [
        f"{steps.losses} += weight loss, for each time and sample; J is their sum",
        "and the gradient of J by BPTT",
    ]
    return draft.kernel(law)


def observe(
    draft: Draft,
    given: SequenceArguments,
    loops: Mapping[CellInstance, CellLoop],
    level: Level,
    above: Level | None,
) -> None:
    """D*g . e for all times, of the loss or of what comes from the level above."""
    observation = draft.steps.observations[level]
    at = shown_states(loops, level)
    for cell in level.cells:
        p = loops[cell]
        draft.body += draft.fill(p.error)
        at[f"{cell.state.name}_error"] = p.error.at(p.after(ZERO))
    if above is None:
        at |= given.at(ZERO)
        heard, program = at[observation.weight.name], observation.observe()
    else:
        heard, program = hear(draft, loops, level, above), observation.backward()
        at |= {observation.bar.name: given.predicted_bar[level].start}
        at |= {observation.heard.name: heard}
    assert heard is not None
    for cell in level.cells:
        draft.body += loops[cell].listen(heard, STEPS)
    draft.body.append(draft.call(program, at, count=STEPS))


def hear(
    draft: Draft, loops: Mapping[CellInstance, CellLoop], level: Level, above: Level
) -> Pointers:
    """Which predictions of a level the cells above read where a loss hears of them."""
    observation = draft.steps.observations[level]
    stack = draft.stack(observation.heard.name, R(), (STEPS, BATCH))
    ts = [loops[cell].t for cell in above.cells]
    reached = {t.reached.name: loops[t.cell].kept[t.reached.name].start for t in ts}
    at: dict[str, Pointers | None] = {**reached, observation.heard.name: stack.start}
    draft.body.append(draft.call(observation.hearing(ts), at, count=STEPS))
    return stack.start


def through_time(draft: Draft, given: SequenceArguments, p: CellLoop) -> None:
    """eps down the sequence, then the adjoints of all times."""
    end = p.end(STEPS)
    draft.body += p.begin_back(end)
    r = draft.index("t")
    time = STEPS - 1 - r if p.ahead else r
    draft.body.append(For(r, STEPS, p.back(given, time, ZERO)))
    draft.body.append(p.adjoints(given, ZERO, ZERO, STEPS))
    bar = draft.arrays[f"{p.t.first.name}_bar"]
    draft.body += draft.copy(p.eps, p.eps.at(p.start), bar, add=True)


def initial_bars(draft: Draft) -> None:
    """The gradients by the state before the first step, and by that which resets begin from."""
    for t in draft.steps.transitions.values():
        draft.result(f"{t.first.name}_bar", t.cell.state.space, (BATCH,))
        if t.reset is not None:
            initial_bar(draft, t)


def initial_bar(draft: Draft, t: Transition) -> None:
    """The gradient by the state that resets begin from."""
    stack = draft.result(f"{t.initial.name}_bar", t.cell.state.space, (BATCH,))
    for leaf, at in zip(storage(t.initial), stack.start, strict=True):
        draft.arrays[bar_name(leaf)] = (at,)


def truncated_bptt(steps: Steps) -> Kernel:
    """Every `every` steps the losses of these are sent `down` steps down."""
    draft = Draft(steps, "truncated_bptt", (EVERY, DOWN))
    given = SequenceArguments(draft, observed=True)
    gradient_results(draft)
    initial_bars(draft)
    given.wanted(draft)
    last = last_states(draft)
    loops = forward_levels(draft, given, backward=True)
    (level,) = steps.network.levels
    ((_, p),) = loops.items()
    observe(draft, given, loops, level, None)
    w = draft.index("w")
    window = _window(draft, given, p, w * EVERY)
    draft.body.append(For(w, Pieces(STEPS, EVERY), tuple(window)))
    draft.body += draft.copy(p.h, p.h.at(p.end(STEPS)), last[p.cell].start)
    law = [
        f"{steps.losses} += weight loss, for each time and sample; J is their sum",
        "and the gradient of J by truncated BPTT: every `every` steps, their losses go `down`",
        "steps down, at least `every`",
    ]
    return draft.kernel(law)


def _window(
    draft: Draft, given: SequenceArguments, p: CellLoop, begin: sympy.Expr
) -> list[Statement]:
    """The losses of `every` steps from `begin` on sent down, and the adjoints of the times passed.

    Below `begin` the losses are those of windows before, which have been sent: what this one reads
    there is silent.  Where it comes down to the first step, the initial state has its gradient.
    """
    end = sympy.Min(begin + EVERY, STEPS)
    count, inside = sympy.Min(end, sympy.Max(EVERY, DOWN)), end - begin - 1
    nothing = draft.stack("no_error", p.cell.state.space, (ONE, BATCH))
    nobody = draft.stack("no_source", R(), (ONE, BATCH))
    draft.body += draft.fill(nothing, nobody)
    silent = {p.t.error.name: nothing.start, p.t.source.name: nobody.start}
    r, q, z = draft.index("t"), draft.index("t"), draft.index("z")
    bar = draft.arrays[f"{p.t.first.name}_bar"]
    first = draft.copy(p.eps, p.eps.at(ZERO), bar, add=True)
    is_down = sympy.Max(ZERO, sympy.Min(ONE, count - end + 1))  # 1 where count = end, else 0
    return [
        *p.begin_back(end),
        For(r, inside, p.back(given, end - 1 - r, ZERO)),
        For(q, count - inside, p.back(given, begin - q, ZERO, silent)),
        p.adjoints(given, end - count, ZERO, count),
        For(z, is_down, tuple(first)),
    ]
