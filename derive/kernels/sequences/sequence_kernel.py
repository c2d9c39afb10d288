"""A kernel over a sequence in the making: its arrays, and the steps that it calls.

Arrays of a sequence have the axis of time first, then that of the batch.  What a step computes is
a program of its own, lowered like any other; a draft says where its arrays lie.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import sympy

from ...calculus.lift import lift_space
from ...language.expressions import variable
from ...language.names import Allocator
from ...language.roles import Argument
from ...language.spaces import Indices, Space, leaves
from ...models.programs import BATCH, Program, Result
from ...recurrence.hybrid import TIMES
from ..lowering.arrays import WORDS
from ..lowering.kernel import Kernel
from ..statements.loops import Asked, Call, Commented, Copy, Fill, Pointer, Statement
from ..statements.scalars import Buffer
from .recurrent_cost import called_costs
from .steps import Steps

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
    ) -> Commented:
        """A step called on these arrays, others by their names.

        A batch of it are `count` times of all samples, never more than `most`.
        """
        if not program.results:  # as the influence of no parameters
            return Commented((), ())
        kernel = self.steps.kernel(program)
        given = {BATCH: count * BATCH, TIMES: times}
        sizes = tuple((s, given.get(s, s)) for s in kernel.sizes)
        inputs = self._found(at, [x.name for x in program.arguments], kernel.arguments, True)
        outputs = self._found(at, [r.name for r in program.results], kernel.results, False)
        if kernel.workspace:
            bound = count if most is None else most
            together = bound if times == 0 else count
            largest = {**dict(sizes), BATCH: together * BATCH, TIMES: bound}
            self.needed.append(kernel.workspace_count.xreplace(largest))
        place = Pointer(self.scratch) if kernel.workspace else None
        name = f"{self.network.name}_{program.name}"
        self.callees[name] = kernel
        made = Call(name, sizes, (*inputs, *outputs), place)
        return Commented(program.law, tuple(_where_asked(made, outputs)))

    def sample(
        self, program: Program, at: Mapping[str, Pointers | None]
    ) -> tuple[sympy.Symbol, Commented]:
        """A step of one sample of the batch, and the index that the sample has."""
        s = self.index("s")
        kernel = self.steps.kernel(program)
        groups = chain(
            zip([x.name for x in program.arguments], kernel.arguments, strict=True),
            zip([r.name for r in program.results], kernel.results, strict=True),
        )
        own = {name: self._of_sample(at, name, group, s) for name, group in groups}
        return s, self.call(program, own, count=1 / BATCH)

    def _of_sample(
        self,
        at: Mapping[str, Pointers | None],
        name: str,
        group: Sequence[Buffer],
        s: sympy.Symbol,
    ) -> Pointers | None:
        """Where the arrays of a sample begin, of those that have the axis of the batch."""
        found = at[name] if name in at else self.arrays.get(name)
        if found is None or not all(BATCH in b.shape for b in group):
            return found
        return tuple(
            Pointer(p.buffer, p.offset + s * b.stride(0)) for p, b in zip(found, group, strict=True)
        )

    def _found(
        self,
        at: Mapping[str, Pointers | None],
        names: Sequence[str],
        groups: Sequence[tuple[Buffer, ...]],
        inputs: bool,
    ) -> list[Pointer | None]:
        """The arrays of a step by name; None for a result that is not asked for."""
        arrays: list[Pointer | None] = []
        for name, group in zip(names, groups, strict=True):
            found = at[name] if name in at else self.arrays.get(name)
            if found is None and inputs:
                raise KeyError(f"{self.network.name}.{self.name}: nothing is given for {name}")
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
        count = _largest(self.needed)
        scratch = Buffer(self.scratch.name, (count,), "workspace")
        slots, end = [], ZERO
        for buffer in (*self.workspace, *([scratch] if self.needed else [])):
            slots.append((buffer, end))
            end = end + sympy.expand(buffer.count)
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
            tuple(called_costs(self.callees.values())),
            self.callees,
        )


def _largest(counts: Iterable[sympy.Expr]) -> sympy.Expr:
    """The largest of some counts, 0 of none; one that is never above another is left out.

    SymPy would compare every two by their assumptions, which takes longer than all else here.
    """
    found = list(dict.fromkeys(map(sympy.expand, counts)))
    kept = [x for x in found if not any(y is not x and _is_below(x, y) for y in found)]
    return sympy.Max(*kept, evaluate=False) if kept else ZERO


def _is_below(x: sympy.Expr, y: sympy.Expr) -> bool:
    """x <= y term by term, sizes being one and more of something."""
    more = {size: size + 1 for size in (y - x).free_symbols if size.is_positive}
    terms = sympy.expand((y - x).xreplace(more)).as_coefficients_dict()
    return all(number >= 0 for number in terms.values())


def _where_asked(call: Call, outputs: Sequence[Pointer | None]) -> Iterator[Statement]:
    """A call that only makes results of the kernel itself: where one of these is asked for."""
    buffers = [pointer.buffer for pointer in outputs if pointer is not None]
    if all(buffer.kind == "result" for buffer in buffers):
        names = tuple(dict.fromkeys(buffer.name for buffer in buffers))
        yield from [Asked(names, (call,))] if names else []
    else:
        yield call
