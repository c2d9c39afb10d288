"""Kernels over whole sequences: loops over time that call the steps of a recurrent network.

    forward          h_i = f(h_{i-1}; x_i; theta) and y^_i = g(h_i; zeta)
    loss             the weighed sum of the losses
    bptt             it and its gradient (thesis theorems 5.1.5, 5.1.7, algorithm 5.1.2)
    truncated_bptt   every `every` steps, `down` applications of f down; each loss is sent back once
    rtrl             the same gradient forward in time (theorem 5.1.3, algorithm 5.1.1)
    hybrid           the same by blocks of `block` steps (lemma 5.1.6 split at each block's start)

Arrays of a sequence have the axis of time first, then that of the batch.  What a step computes is
a program of its own, lowered like any other; here is only where its arrays lie.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sympy

from ..cells import inputs_of
from ..expressions import variable
from ..hybrid import TIMES, Hybrid
from ..influence import Influence, bar_name
from ..levels import FORWARD, Level, Place, Recurrent
from ..lift import lift_space
from ..names import Allocator
from ..programs import BATCH, Program, Result
from ..roles import GIVEN, MASK, PARAMETER, STATE, Argument
from ..spaces import Indices, R, Space, leaves
from ..transitions import Masks, Names, Observation, Transition, masks_of
from ..walk import storage
from .loops import Asked, Buffer, Call, Copy, Fill, For, Pointer, Statement, Step
from .lower import WORDS, Kernel, lower

STEPS = sympy.Symbol("steps", integer=True, nonnegative=True)
EVERY, DOWN, BLOCK = (
    sympy.Symbol(name, integer=True, positive=True) for name in ("every", "down", "block")
)
ONE, ZERO = sympy.S.One, sympy.S.Zero
Pointers = tuple[Pointer, ...]


@dataclass(frozen=True)
class Stack:
    """An array, or those of a direct product, for each time: the first axis is that of time."""

    buffers: tuple[Buffer, ...]

    def at(self, time: sympy.Expr) -> Pointers:
        """Where a time's arrays begin."""
        return tuple(Pointer(b, time * b.stride(0)) for b in self.buffers)

    @property
    def start(self) -> Pointers:
        """Where the arrays begin."""
        return self.at(ZERO)


class Steps:
    """The steps of a network as programs, and as kernels once they are wanted."""

    def __init__(self, network: Recurrent) -> None:
        self.network, self.names = network, Names.of(network)
        self.masks: Masks = masks_of(network, self.names)
        self.transitions = {
            cell: Transition(network, cell, self.names, self.masks) for cell in network.cells
        }
        self.total = self.names.variable("J", R()).name
        self.weight = self.names.variable("weight", R())
        self.prediction = self.names.variable("prediction", R()).name
        self.observations = {
            level: Observation(network, level, self.names, self.total, self.weight)
            for level in network.levels
        }
        self.last = self.observations[network.levels[-1]]
        self._lowered: dict[str, Kernel] = {}

    def kernel(self, program: Program) -> Kernel:
        """A program lowered, once."""
        if program.name not in self._lowered:
            self._lowered[program.name] = lower(program)
        return self._lowered[program.name]

    @property
    def used(self) -> list[Kernel]:
        """The kernels that have been asked for."""
        return list(self._lowered.values())


class Draft:
    """One kernel over a sequence in the making: its arrays by name, and its statements."""

    def __init__(self, steps: Steps, name: str, extra: Sequence[sympy.Symbol] = ()) -> None:
        self.steps, self.network, self.name = steps, steps.network, name
        self.extra = tuple(extra)
        self.allocator = Allocator((*map(str, self.sizes), *WORDS))
        self.arguments: list[Argument] = []
        self.inputs: list[tuple[Buffer, ...]] = []
        self.results: list[Result] = []
        self.outputs: list[tuple[Buffer, ...]] = []
        self.workspace: list[Buffer] = []
        self.indices: list[str] = []
        self.scratch = Buffer(self.allocator.fresh("scratch"), (ZERO,), "workspace")
        self.needed: list[sympy.Expr] = []
        self.arrays: dict[str, Pointers] = {}
        self.body: list[Statement] = []
        self.callees: dict[str, Kernel] = {}

    @property
    def sizes(self) -> tuple[sympy.Symbol, ...]:
        return (STEPS, BATCH, *self.network.sizes, *self.extra)

    # --- arrays

    def _buffers(self, name: str, space: Space, lead: Sequence[sympy.Expr], kind: str) -> Stack:
        found = list(leaves(space))
        names = [name] if len(found) == 1 else [f"{name}_{k}" for k in range(len(found))]
        kinds = ["index" if isinstance(leaf, Indices) else kind for leaf in found]
        return Stack(
            tuple(
                Buffer(self.allocator.fresh(n), (*lead, *leaf.shape), k)
                for n, leaf, k in zip(names, found, kinds, strict=True)
            )
        )

    def argument(
        self, name: str, space: Space, role: str, lead: Sequence[sympy.Expr] = ()
    ) -> Stack:
        """An argument of the kernel."""
        lifted = space
        for extent in reversed(lead):
            lifted = lift_space(lifted, extent)
        stack = self._buffers(name, space, lead, "argument")
        self.arguments.append(Argument(variable(name, lifted), role))
        self.inputs.append(stack.buffers)
        self.arrays[name] = stack.start
        return stack

    def result(
        self, name: str, space: Space, lead: Sequence[sympy.Expr] = (), adds: bool = True
    ) -> Stack:
        """A result of the kernel."""
        lifted = space
        for extent in reversed(lead):
            lifted = lift_space(lifted, extent)
        stack = self._buffers(name, space, lead, "result")
        self.results.append(Result(name, variable(name, lifted), BATCH in lead, adds=adds))
        self.outputs.append(stack.buffers)
        self.arrays[name] = stack.start
        return stack

    def stack(self, name: str, space: Space, lead: Sequence[sympy.Expr]) -> Stack:
        """Arrays of the workspace."""
        made = self._buffers(name, space, lead, "workspace")
        self.workspace += made.buffers
        return made

    def index(self, wanted: str) -> sympy.Symbol:
        """A loop index."""
        name = self.allocator.fresh(wanted)
        self.indices.append(name)
        return sympy.Symbol(name, integer=True, nonnegative=True)

    # --- statements

    def call(
        self,
        program: Program,
        at: Mapping[str, Pointers | None],
        count: sympy.Expr = ONE,
        most: sympy.Expr | None = None,
        times: sympy.Expr = ZERO,
    ) -> Step:
        """A step called on these arrays, others by their names.

        A batch of it are `count` times of all samples, never more than `most`.
        """
        kernel = self.steps.kernel(program)
        given = {BATCH: count * BATCH, TIMES: times}
        sizes = tuple((s, given.get(s, s)) for s in kernel.sizes)
        inputs = self._found(at, [x.name for x in program.arguments], kernel.arguments)
        outputs = self._found(at, [r.name for r in program.results], kernel.results)
        if kernel.workspace:
            bound = count if most is None else most
            together = bound if times == 0 else count
            largest = {**dict(sizes), BATCH: together * BATCH, TIMES: bound}
            self.needed.append(kernel.workspace_count.xreplace(largest))
        place = Pointer(self.scratch) if kernel.workspace else None
        name = f"{self.network.name}_{program.name}"
        self.callees[name] = kernel
        made = Call(name, sizes, (*inputs, *outputs), place)
        return Step(program.law, tuple(_where_asked(made, outputs)))

    def _found(
        self,
        at: Mapping[str, Pointers | None],
        names: Sequence[str],
        groups: Sequence[tuple[Buffer, ...]],
    ) -> list[Pointer | None]:
        """The arrays of a step by name; none for a result that nobody asks for."""
        arrays: list[Pointer | None] = []
        for name, group in zip(names, groups, strict=True):
            found = at[name] if name in at else self.arrays.get(name)
            arrays += [None] * len(group) if found is None else found
        return arrays

    def copy(
        self, count_like: Stack, source: Pointers, target: Pointers, add: bool = False
    ) -> Iterator[Statement]:
        """The arrays of one time copied, or added; into a result only where it is asked for."""
        for buffer, a, b in zip(count_like.buffers, source, target, strict=True):
            made: Statement = Copy(sympy.Mul(*buffer.shape[1:]), a, b, add)
            yield Asked((b.buffer.name,), (made,)) if b.buffer.kind == "result" else made

    def fill(self, *stacks: Stack) -> Iterator[Statement]:
        """Arrays set to zero."""
        for stack in stacks:
            yield from (Fill(buffer) for buffer in stack.buffers)

    def kernel(self, law: Sequence[str]) -> Kernel:
        """The finished kernel."""
        count = sympy.Max(ZERO, *self.needed) if self.needed else ZERO
        scratch = Buffer(self.scratch.name, (count,), "workspace")
        slots, end = [], ZERO
        for buffer in (*self.workspace, *([scratch] if self.needed else [])):
            slots.append((buffer, end))
            end = sympy.expand(end + buffer.count)
        program = Program(
            self.network,
            self.name,
            tuple(law),
            tuple(self.arguments),
            tuple(self.results),
            False,
            (),
            False,
            {},
            self.extra,
        )
        return Kernel(
            program,
            self.sizes,
            tuple(self.inputs),
            tuple(self.outputs),
            (),
            tuple(slots),
            end,
            tuple(self.body),
            tuple(self.indices),
            (),
            {},
            {},
            (),
            (),
            (),
            self.callees,
        )


def _where_asked(call: Call, outputs: Sequence[Pointer | None]) -> Iterator[Statement]:
    """A call that only makes results of the kernel itself: where one of these is asked for."""
    buffers = [pointer.buffer for pointer in outputs if pointer is not None]
    if all(buffer.kind == "result" for buffer in buffers):
        names = tuple(dict.fromkeys(buffer.name for buffer in buffers))
        yield from [Asked(names, (call,))] if names else []
    else:
        yield call


# --- arguments and results that several kernels have


class Given:
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
        for level in network.levels:
            for place in level.places:
                for theta in place.parameters:
                    draft.argument(theta.name, theta.space, PARAMETER)

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


def gradient_results(draft: Draft) -> None:
    """J and the gradient by every parameter."""
    draft.result(draft.steps.total, R())
    for level in draft.network.levels:
        for place in level.places:
            for theta in place.parameters:
                stack = draft.result(f"{theta.name}_bar", theta.space)
                for leaf, at in zip(storage(theta), stack.start, strict=True):
                    draft.arrays[bar_name(leaf)] = (at,)


def last_states(draft: Draft) -> dict[Place, Stack]:
    """The states after the last step, which another piece of the sequence goes on from."""
    return {
        cell: draft.result(f"{cell.state.name}_last", cell.state.space, (BATCH,), adds=False)
        for cell in draft.network.cells
    }


# --- one cell over times


class Pass:
    """One cell over times 0 .. count - 1: its states, what is saved, its cotangents.

    The state before the first step of a direction and those after each step lie in one stack of
    count + 1 arrays: forward in time, step t leads from array t to array t + 1, backward in time
    from t + 1 to t.
    """

    def __init__(self, draft: Draft, cell: Place, count: sympy.Expr, backward: bool) -> None:
        self.draft, self.cell, self.count = draft, cell, count
        self.t = draft.steps.transitions[cell]
        self.ahead = cell.direction == FORWARD
        name, space, one_more = cell.state.name, cell.state.space, (count + 1, BATCH)
        self.h = draft.stack(name, space, one_more)
        self.kept: dict[str, Stack] = {}
        if backward:
            self.error = draft.stack(f"{name}_error", space, one_more)
            self.eps = draft.stack(f"{name}_bar", space, one_more)
            self.kept = {
                x.name: draft.stack(x.name, x.space, (count,))
                for x in (*self.t.saved.values(), *self.t.deltas.values())
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

    def forward(self, given: Given, count: sympy.Expr, first: sympy.Expr = ZERO) -> For:
        """The cell over `count` times, whose input begins at the time `first` of the sequence."""
        r = self.draft.index("t")
        time = r if self.ahead else count - 1 - r
        program = self.t.forward(saving=bool(self.kept))
        return For(r, count, (self.draft.call(program, self.at(given, time, first)),))

    def back(
        self, given: Given, time: sympy.Expr, first: sympy.Expr, error: Pointers | None = None
    ) -> Step:
        """eps before the step of a time from eps after it (thesis (5.14))."""
        at = self.at(given, time, first)
        at[self.t.error.name] = self.error.at(self.before(time)) if error is None else error
        return self.draft.call(self.t.backward(), at)

    def adjoints(
        self, given: Given, time: sympy.Expr, first: sympy.Expr, count: sympy.Expr
    ) -> Step:
        """The gradients by parameters and inputs, one product over `count` times (5.22)."""
        at = self.at(given, time, first)
        for x in self.t.inputs_wanted:
            name = f"{x.name}_bar"
            at[name] = given.bars[name].at(first + time) if name in given.bars else None
        return self.draft.call(self.t.adjoints(), at, count=count, most=self.count)

    def at(self, given: Given, time: sympy.Expr, first: sympy.Expr) -> dict[str, Pointers | None]:
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
        }


# --- the kernels


def forward(steps: Steps) -> Kernel:
    """h_i and y^_i for all times."""
    draft = Draft(steps, "forward")
    given = Given(draft, observed=False)
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
    passes = forward_levels(draft, given, backward=False)
    draft.body.append(predict(draft, passes, steps.network.levels[-1], predicted))
    for cell, p in passes.items():
        whole = zip(states[cell].buffers, p.h.at(p.after(ZERO)), states[cell].start, strict=True)
        draft.body += [Copy(buffer.count, source, target) for buffer, source, target in whole]
        draft.body += draft.copy(p.h, p.h.at(p.end(STEPS)), last[cell].start)
    return draft.kernel([f"states and predictions of {steps.network.signature}"])


def forward_levels(draft: Draft, given: Given, backward: bool) -> dict[Place, Pass]:
    """Every cell over the sequence, each level on the predictions of the one below."""
    passes: dict[Place, Pass] = {}
    network = draft.network
    for number, level in enumerate(network.levels):
        for cell in level.cells:
            p = passes[cell] = Pass(draft, cell, STEPS, backward)
            initial = given.initial[cell].start
            draft.body += draft.copy(p.h, initial, p.h.at(p.start))
            draft.body.append(p.forward(given, STEPS))
        if number + 1 < len(network.levels):
            given.below(draft, level, network.levels[number + 1], backward)
            draft.body.append(predict(draft, passes, level, given.predicted[level]))
    return passes


def predict(draft: Draft, passes: Mapping[Place, Pass], level: Level, to: Stack) -> Step:
    """g of the states of all times."""
    observation = draft.steps.observations[level]
    at = shown_states(passes, level)
    at[observation.predicted.name] = to.start
    return draft.call(observation.predict(), at, count=STEPS)


def shown_states(passes: Mapping[Place, Pass], level: Level) -> dict[str, Pointers | None]:
    """The states after each step, all times together."""
    return {cell.state.name: passes[cell].h.at(passes[cell].after(ZERO)) for cell in level.cells}


def loss(steps: Steps) -> Kernel:
    """The weighed sum of the losses."""
    draft = Draft(steps, "loss")
    given = Given(draft, observed=True)
    draft.result(steps.total, R())
    last = last_states(draft)
    passes = forward_levels(draft, given, backward=False)
    at = shown_states(passes, steps.network.levels[-1]) | given.at(ZERO)
    draft.body.append(draft.call(steps.last.loss(), at, count=STEPS))
    for cell, p in passes.items():
        draft.body += draft.copy(p.h, p.h.at(p.end(STEPS)), last[cell].start)
    return draft.kernel([f"{steps.total} += sum over the times of weight loss"])


def bptt(steps: Steps) -> Kernel:
    """The gradient by BPTT (thesis theorems 5.1.5, 5.1.7)."""
    draft = Draft(steps, "bptt")
    given = Given(draft, observed=True)
    gradient_results(draft)
    initial_bars(draft)
    given.wanted(draft)
    last = last_states(draft)
    passes = forward_levels(draft, given, backward=True)
    levels = steps.network.levels
    for number, level in reversed(list(enumerate(levels))):
        observe(draft, given, passes, level, number + 1 == len(levels))
        for cell in level.cells:
            through_time(draft, given, passes[cell])
    for cell, p in passes.items():
        draft.body += draft.copy(p.h, p.h.at(p.end(STEPS)), last[cell].start)
    law = [f"{steps.total} += sum over the times of weight loss", "and its gradient by BPTT"]
    return draft.kernel(law)


def observe(
    draft: Draft, given: Given, passes: Mapping[Place, Pass], level: Level, is_last: bool
) -> None:
    """D*g . e for all times, of the loss or of what comes from the level above."""
    observation = draft.steps.observations[level]
    at = shown_states(passes, level)
    for cell in level.cells:
        p = passes[cell]
        draft.body += draft.fill(p.error)
        at[f"{cell.state.name}_error"] = p.error.at(p.after(ZERO))
    if is_last:
        at |= given.at(ZERO)
        program = observation.observe()
    else:
        at[observation.bar.name] = given.predicted_bar[level].start
        program = observation.backward()
    draft.body.append(draft.call(program, at, count=STEPS))


def through_time(draft: Draft, given: Given, p: Pass) -> None:
    """eps down the sequence, then the adjoints of all times."""
    end = p.end(STEPS)
    draft.body += draft.copy(p.eps, p.error.at(end), p.eps.at(end))
    r = draft.index("t")
    time = STEPS - 1 - r if p.ahead else r
    draft.body.append(For(r, STEPS, (p.back(given, time, ZERO),)))
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
    given = Given(draft, observed=True)
    gradient_results(draft)
    initial_bars(draft)
    given.wanted(draft)
    last = last_states(draft)
    passes = forward_levels(draft, given, backward=True)
    (level,) = steps.network.levels
    ((_, p),) = passes.items()
    observe(draft, given, passes, level, is_last=True)
    w = draft.index("w")
    begin = w * EVERY
    end = sympy.Min(begin + EVERY, STEPS)
    count = sympy.Min(end, sympy.Max(EVERY, DOWN))
    nothing = draft.stack("no_error", p.cell.state.space, (ONE, BATCH))
    draft.body += draft.fill(nothing)
    r, q, z = draft.index("t"), draft.index("t"), draft.index("z")
    inside = end - begin - 1
    bar = draft.arrays[f"{p.t.first.name}_bar"]
    window: list[Statement] = [
        *draft.copy(p.eps, p.error.at(end), p.eps.at(end)),
        For(r, inside, (p.back(given, end - 1 - r, ZERO),)),
        For(q, count - inside, (p.back(given, begin - q, ZERO, nothing.start),)),
        p.adjoints(given, end - count, ZERO, count),
        For(
            z,
            sympy.Max(ZERO, sympy.Min(ONE, count - end + 1)),
            tuple(draft.copy(p.eps, p.eps.at(ZERO), bar, add=True)),
        ),
    ]
    draft.body.append(For(w, sympy.floor((STEPS + EVERY - 1) / EVERY), tuple(window)))
    draft.body += draft.copy(p.h, p.h.at(p.end(STEPS)), last[p.cell].start)
    law = [
        f"{steps.total} += sum over the times of weight loss",
        "and its gradient by truncated BPTT: every `every` steps, their losses go `down` steps",
        "down, at least `every`",
    ]
    return draft.kernel(law)


# --- RTRL and the hybrid


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
    blocks = sympy.floor((STEPS + BLOCK - 1) / BLOCK)
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


WHY = "a cell runs backward in time, and its state depends on the whole future of the sequence"
WHY_LEVELS = "several cells one above the other; make one cell of them by stack(..)"


@dataclass(frozen=True)
class Made:
    """The steps of a network, its kernels over sequences, and what their arguments are."""

    steps: list[Kernel]
    kernels: list[Kernel]
    roles: dict[str, Any]


def sequences(network: Recurrent) -> Made:
    """The kernels over sequences that a network has, and the steps that they call."""
    steps = Steps(network)
    made, influence = [forward(steps)], None
    if network.loss is not None:
        made += [loss(steps), bptt(steps)]
        if network.is_online:
            (transition,) = steps.transitions.values()
            influence = Influence(transition)
            made += [lower(influence.start()), truncated_bptt(steps), rtrl(steps, influence)]
            made.append(hybrid(steps, influence, Hybrid(influence)))
    return Made(steps.used, made, _roles(steps, influence))


def _roles(steps: Steps, influence: Influence | None) -> dict[str, Any]:
    """The arguments of the kernels by what they are for."""
    network, transitions = steps.network, list(steps.transitions.values())
    reset = steps.masks.reset
    places = [place for level in network.levels for place in level.places]
    backward = any(cell.direction != FORWARD for cell in network.cells)
    roles: dict[str, Any] = {
        "initial": tuple(t.first.name for t in transitions),
        "inputs": tuple(a.name for a in network.inputs),
        "anew": () if reset is None else tuple(t.initial.name for t in transitions),
        "reset": "" if reset is None else reset.name,
        "active": steps.masks.active.name,
        "prediction": steps.prediction,
        "parameters": tuple(theta.name for place in places for theta in place.parameters),
    }
    if network.loss is not None:
        targets = tuple(a.name for a in network.targets)
        roles |= {"targets": targets, "weight": steps.weight.name, "total": steps.total}
    if influence is not None:
        roles["influence"] = tuple(s.variable.name for s in influence.stores)
        roles["learned"] = network.learned
    else:
        roles["why"] = WHY if backward else WHY_LEVELS
    return roles
