"""From a program's expressions to the loops of a kernel.

Every entry of a pointwise expression becomes a scalar in a loop nest; a two-operand contraction
falls by its index sets into the batch, M, N and K of a matrix product; any other sum becomes a loop
nest of its own.  Nothing here knows a layer.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import accumulate

import sympy

from ...language.abbreviations import abbreviated
from ...language.expressions import Elementwise, Node, Variable, is_zero, zero
from ...language.names import Allocator, unused
from ...language.normal_form import normal
from ...language.spaces import Indices as IndexSpace
from ...language.spaces import Real
from ...language.text import Writer, identifier_of
from ...language.walk import storage
from ...models.programs import BATCH, Program
from ..optimise.guards import guards_joined
from ..optimise.pipeline import PASSES, Pass, optimised
from ..statements.checking import names_set
from ..statements.instances import instances
from ..statements.loops import Asked, Commented, Fill, Statement
from ..statements.scalars import Buffer
from .nests import LoopNames, Nest
from .products import Summed, is_sum
from .rows import cleared_sum, copied_rows, set_rows
from .schedule import Schedule, Stored, is_leaf, prepared
from .sums import loop_letters, sum_statements


@dataclass(frozen=True)
class Line:
    """What a formula of a step is made of: target = weight right, or += weight right."""

    target: str
    sign: str
    right: Node
    weight: sympy.Expr


@dataclass(frozen=True)
class Kernel:
    """A lowered program: its buffers, its steps, and the names of its indices and scalars."""

    program: Program
    sizes: tuple[sympy.Symbol, ...]
    arguments: tuple[tuple[Buffer, ...], ...]
    results: tuple[tuple[Buffer, ...], ...]
    saved: tuple[Buffer, ...]
    workspace: tuple[tuple[Buffer, sympy.Expr], ...]
    workspace_count: sympy.Expr
    steps: tuple[Statement, ...]
    indices: tuple[str, ...]
    scalars: tuple[str, ...]
    names: Mapping[Node, str]
    lines: Mapping[str, Line]
    saved_nodes: tuple[Node, ...]
    result_nodes: tuple[tuple[Node, ...], ...]
    costs: tuple[str, ...] | None = None  # lines about the cost, where they are not counted
    callees: Mapping[str, Kernel] = field(default_factory=dict)  # the kernels that it calls

    @property
    def saved_count(self) -> sympy.Expr:
        """The number of entries that forward saves for backward."""
        return sum((buffer.count for buffer in self.saved), sympy.S.Zero)


UNGUARDED: frozenset[str] = frozenset()
# operations within each other, and in all, in a line: what one can read, and a compiler goes down
DEPTH, LENGTH = 14, 256
WORDS = ("saved", "workspace")


def lower(program: Program, passes: Sequence[Pass] = PASSES) -> Kernel:
    """The kernel of a program, its statements after all passes."""
    return _Lowering(program).kernel(passes)


class _Lowering:
    def __init__(self, program: Program) -> None:
        self.program = program
        self.sizes = program.sizes
        masks = [r.where for r in program.results if r.where is not None]
        roots = [*(r.node for r in program.results), *masks, *program.saves, *program.names]
        new = normal(*roots)
        ready = prepared(
            dict.fromkeys(new[root] for root in roots), {new[x] for x in program.names}
        )
        plain = {node: ready[new[node]] for node in roots}
        self.names: dict[Node, str] = {}
        for node, name in program.names.items():
            if not isinstance(node, Variable):
                self.names.setdefault(plain[node], name)
        self._taken = set(self.names.values())
        self.writer = Writer(self.names, BATCH)
        self.allocator = Allocator((*map(str, self.sizes), *WORDS, *_functions(ready.values())))
        self.memory: dict[Node, Buffer] = {}
        self.lines: dict[str, Line] = {}
        self.arguments = [self._argument(a.variable) for a in program.arguments]
        self.result_nodes = [storage(plain[r.node]) for r in program.results]
        self.results = [
            self._buffers(r.name, nodes, "result")
            for r, nodes in zip(program.results, self.result_nodes, strict=True)
        ]
        self.added = {
            buffer
            for r, buffers in zip(program.results, self.results, strict=True)
            for buffer in buffers
            if program.adds(r)
        }
        self.where = {
            buffer: plain[r.where]
            for r, buffers in zip(program.results, self.results, strict=True)
            if r.where is not None
            for buffer in buffers
        }
        self._clear_later()
        self.saves = [plain[node] for node in program.saves]
        self.saved = [self._buffer(f"saved_{self._name(n)}", n, "saved") for n in self.saves]
        self.indices = LoopNames(self.allocator, BATCH)

    def _clear_later(self) -> None:
        """A sum that is selected by a mask is made in its result, whose other rows are cleared."""
        self.cleared: dict[Buffer, Node] = {}
        for k, (nodes, buffers) in enumerate(zip(self.result_nodes, self.results, strict=True)):
            for buffer, node in zip(buffers, nodes, strict=True):
                unread = cleared_sum(node)
                if unread is not None and buffer not in self.added and buffer not in self.where:
                    self.cleared[buffer] = unread
            pairs = zip(buffers, nodes, strict=True)
            self.result_nodes[k] = tuple(
                x.operands[1] if b in self.cleared else x for b, x in pairs
            )

    # --- buffers

    def _argument(self, x: Variable) -> tuple[Buffer, ...]:
        nodes = storage(x)
        kind = "index" if isinstance(x.space, IndexSpace) else "argument"
        buffers = self._buffers(x.name, nodes, kind)
        self.memory.update(zip(nodes, buffers, strict=True))
        return buffers

    def _buffers(self, name: str, nodes: tuple[Node, ...], kind: str) -> tuple[Buffer, ...]:
        if len(nodes) == 1:
            return (self._buffer(name, nodes[0], kind),)
        return tuple(self._buffer(f"{name}_{k}", node, kind) for k, node in enumerate(nodes))

    def _buffer(self, name: str, node: Node, kind: str) -> Buffer:
        assert isinstance(node.space, (Real, IndexSpace))
        return Buffer(self.allocator.fresh(name), node.space.shape, kind)

    def _name(self, node: Node) -> str:
        """The node's name; a generated one never collides with an existing name."""
        name = identifier_of(node, self.names, "t")
        if node in self.names or isinstance(node, Variable):
            return name
        return unused(name, self._taken)

    # --- statements

    def kernel(self, passes: Sequence[Pass]) -> Kernel:
        """The kernel, its steps in order and its workspace laid out."""
        self.schedule = schedule = self._schedule()
        workspace = self._stored(schedule)
        made = [*self._zero_results(), *self._steps(schedule), *self._set_rows()]
        steps = optimised(made, passes)
        names = names_set(tuple(steps))
        slots, count = lay_out(workspace, steps)
        return Kernel(
            self.program,
            self.sizes,
            tuple(self.arguments),
            tuple(self.results),
            tuple(self.saved),
            slots,
            count,
            tuple(steps),
            tuple(name for name in self.indices.used if name in names),
            tuple(name for name in self.indices.scalars if name in names),
            self.writer.names,
            self.lines,
            tuple(self.saves),
            tuple(self.result_nodes),
        )

    def _schedule(self) -> Schedule:
        wanted = [
            (buffer.name, node, buffer not in self.added)
            for buffers, nodes in zip(self.results, self.result_nodes, strict=True)
            for buffer, node in zip(buffers, nodes, strict=True)
            if buffer not in self.where
        ]
        if self.program.reads_saved:
            self.memory.update(zip(self.saves, self.saved, strict=True))
        else:
            wanted += [("saved", node, False) for node in self.saves]
        return Schedule(wanted, list(self.memory))

    def _stored(self, schedule: Schedule) -> list[Buffer]:
        """Gives every stored expression its buffer: a result's own, or workspace."""
        by_name = {buffer.name: buffer for buffers in self.results for buffer in buffers}
        workspace = []
        for node, stored in schedule.stored.items():
            if stored.result is not None:
                self.memory[node] = by_name[stored.result]
            else:
                self.memory[node] = self._buffer(self._name(node), node, "workspace")
                workspace.append(self.memory[node])
        called = {n: b.name for n, b in self.memory.items()} | self.names
        tops = tuple(s.node for s in schedule.contents)
        called = abbreviated(tops, called, self._taken | self.program.layer.words, DEPTH, LENGTH)
        self.names |= {n: name for n, name in called.items() if n not in self.memory}
        self.writer = Writer(called, BATCH, letters=loop_letters(self.indices))
        self.targets = {
            stored: self.memory[stored.node] for stored in schedule.stored.values()
        } | self._copy_targets(schedule, by_name)
        return workspace

    def _copy_targets(
        self, schedule: Schedule, by_name: Mapping[str, Buffer]
    ) -> dict[Stored, Buffer]:
        saved = dict(zip(self.saves, self.saved, strict=True))
        return {
            stored: saved[stored.node] if stored.result == "saved" else by_name[stored.result or ""]
            for stored in schedule.copies
        }

    def _zero_results(self) -> Iterator[Statement]:
        """A result that is zero is set; one that is added to needs nothing."""
        for buffers, nodes in zip(self.results, self.result_nodes, strict=True):
            for buffer, node in zip(buffers, nodes, strict=True):
                if is_zero(node) and buffer not in self.added and buffer not in self.where:
                    yield Commented((self._line(buffer.name, "=", node),), (Fill(buffer),))

    def _steps(self, schedule: Schedule) -> Iterator[Statement]:
        nests: dict[int, dict[object, list[Stored]]] = {}
        sums: dict[int, list[tuple[Stored, sympy.Expr, Summed]]] = {}
        for stored in schedule.contents:
            if stored.pointwise is not None:
                shapes = nests.setdefault(stored.pointwise_stage, {})
                shapes.setdefault(self.targets[stored].shape, []).append(stored)
            for (weight, total), stage in zip(stored.sums, stored.sum_stages, strict=True):
                sums.setdefault(stage, []).append((stored, weight, total))
        for stage in sorted({*nests, *sums}):
            for contents in nests.get(stage, {}).values():
                made = {self.targets[stored] for stored in contents}
                chosen = {stored: self._selected(stored, made) for stored in contents}
                for stored, steps in chosen.items():
                    yield from self._guarded(stored.guards, steps)
                if rest := [stored for stored, steps in chosen.items() if not steps]:
                    yield from self._nest(rest)
            for stored, weight, total in sums.get(stage, []):
                yield from self._guarded(stored.guards, [self._sum(stored, weight, total)])

    def _selected(self, stored: Stored, made: Collection[Buffer]) -> list[Statement]:
        """What only selects rows of another array, as one step; nothing for other stored arrays.

        An array that is `made` in the same loop nest is not there before: the nest selects, too.
        """
        target = self.targets[stored]
        if stored.result is not None or stored.sums or stored.pointwise is None:
            return []
        rows = copied_rows(self.memory, target, stored.pointwise)
        if rows is None or rows.source in made:
            return []
        return [Commented((self._line(target.name, "=", stored.node),), (rows,))]

    def _set_rows(self) -> Iterator[Statement]:
        """Results that are set or cleared for some samples alone, by a mask."""
        for buffers, nodes in zip(self.results, self.result_nodes, strict=True):
            for buffer, node in zip(buffers, nodes, strict=True):
                if buffer in self.where:
                    yield self._rows(buffer, self.where[buffer], node)
                if buffer in self.cleared:
                    yield self._rows(buffer, self.cleared[buffer], zero(node.space))

    def _rows(self, buffer: Buffer, where: Node, node: Node) -> Commented:
        body = set_rows(self.memory, self.names, self.indices, buffer, where, node)
        line = f"{self._line(buffer.name, '=', node)}, where {self.writer.formula(where)}"
        return Commented((line,), tuple(body))

    def _nest(self, contents: list[Stored]) -> Iterator[Statement]:
        """One loop nest that makes the pointwise parts of several stored arrays.

        What only some results ask for is guarded, outside the loops where it is all of the nest.
        """
        nest = Nest(self.memory, self.names, self.indices, self.targets[contents[0]].shape)
        outer = (
            UNGUARDED if any(not s.guards for s in contents) else _union(s.guards for s in contents)
        )
        guards = {s: UNGUARDED if s.guards == outer else s.guards for s in contents}
        ordered = sorted(
            contents, key=lambda s: (bool(guards[s]), -len(guards[s]), sorted(guards[s]))
        )
        roots = {s: s.pointwise for s in ordered if s.pointwise is not None}
        nest.count(
            list(roots.values()), [s.node for s in contents if self.schedule.owner(s.node) is s]
        )
        body: list[Statement] = []
        for stored in (s for s in ordered if not guards[s]):
            body += nest.store(self.targets[stored], roots[stored], self._adds(stored), UNGUARDED)
        guarded = [s for s in ordered if guards[s]]
        for together, lets in nest.share([(roots[s], guards[s]) for s in guarded], outer):
            body += self._guarded(together, lets)
        for stored in guarded:
            entry = nest.store(
                self.targets[stored], roots[stored], self._adds(stored), guards[stored]
            )
            body += self._guarded(guards[stored], entry)
        formulas = dict.fromkeys(line for s in contents for line in self._formulas(s, nest))
        step = Commented(tuple(formulas), tuple(nest.loops(guards_joined(body))))
        yield from self._guarded(outer, [step])

    def _line(
        self,
        target: str,
        sign: str,
        right: Node,
        weight: sympy.Expr = sympy.S.One,
        by_name: bool = False,
    ) -> str:
        """The text of a line of the mathematics, noted with what it is made of."""
        shown = self.writer(right) if by_name else self.writer.formula(right)
        factor = "" if weight == 1 else f"{weight} "
        text = f"{target} {sign} {factor}{shown}"
        self.lines[text] = Line(target, sign, right, weight)
        return text

    def _formulas(self, stored: Stored, nest: Nest) -> list[str]:
        target = self.targets[stored].name
        assert stored.pointwise is not None
        below = nest.named_below(stored.pointwise)
        lets = [self._line(self.names[node], "=", node) for node in below]
        again = (
            stored.node in self.schedule.stored and self.schedule.owner(stored.node) is not stored
        )
        copied = stored.result == "saved" or again or is_leaf(stored.node) or self._adds(stored)
        shown = target if copied else self.names.get(stored.node, target)
        sign = "+=" if self._adds(stored) else "="
        by_name = not stored.sums and stored.pointwise in self.names
        if by_name and self.names[stored.pointwise] == shown:
            return lets
        left = target if stored.sums else shown
        return [*lets, self._line(left, sign, stored.pointwise, by_name=by_name)]

    def _adds(self, stored: Stored) -> bool:
        return self.targets[stored] in self.added

    def _sum(self, stored: Stored, weight: sympy.Expr, total: Node) -> Commented:
        target = self.targets[stored]
        first = total is stored.first_sum and not self._adds(stored)
        assert is_sum(total)
        body = sum_statements(self.memory, self.names, self.indices, target, weight, total, first)
        line = self._line(target.name, "=" if first else "+=", total, weight)
        return Commented((line,), tuple(body))

    def _guarded(self, guards: frozenset[str], steps: list[Statement]) -> list[Statement]:
        """Statements that are taken only where one of these results is asked for."""
        return [Asked(self._pointers(guards), tuple(steps))] if guards and steps else steps

    def _pointers(self, guards: frozenset[str]) -> tuple[str, ...]:
        order = [b.name for buffers in self.results for b in buffers] + ["saved"]
        return tuple(sorted(guards, key=order.index))


def _union(askers: Iterable[frozenset[str]]) -> frozenset[str]:
    return frozenset[str]().union(*askers)


def _functions(nodes: Iterable[Node]) -> list[str]:
    """The names of the elementwise operations, which a kernel calls."""
    return [node.operation.name for node in nodes if isinstance(node, Elementwise)]


def lay_out(
    buffers: list[Buffer], steps: list[Statement]
) -> tuple[tuple[tuple[Buffer, sympy.Expr], ...], sympy.Expr]:
    """Each workspace buffer's offset: a place serves several of one size, one at a time."""
    lives = _lives(set(buffers), steps)
    sizes: list[sympy.Expr] = []
    busy: dict[sympy.Expr, list[tuple[int, int]]] = {}  # of a size: the last step, the place
    free: dict[sympy.Expr, list[int]] = {}
    placed: dict[Buffer, int] = {}
    for buffer in sorted(buffers, key=lambda b: lives[b][0]):
        first, last = lives[buffer]
        waiting, ready = busy.setdefault(buffer.count, []), free.setdefault(buffer.count, [])
        while waiting and waiting[0][0] < first:
            heappush(ready, heappop(waiting)[1])
        number = heappop(ready) if ready else len(sizes)
        sizes += [buffer.count] if number == len(sizes) else []
        heappush(waiting, (last, number))
        placed[buffer] = number
    starts = list(accumulate(sizes, initial=sympy.S.Zero))
    return tuple((b, starts[placed[b]]) for b in buffers), starts[-1]


def _lives(buffers: set[Buffer], steps: list[Statement]) -> dict[Buffer, tuple[int, int]]:
    """The first and the last step that reads or writes each buffer."""
    lives: dict[Buffer, tuple[int, int]] = {}
    for number, step in enumerate(in_order(steps)):
        for buffer in instances(step, Buffer):
            if buffer in buffers:
                lives[buffer] = lives.get(buffer, (number,))[0], number
    return lives


def in_order(steps: Iterable[Statement]) -> Iterator[Statement]:
    """The steps one after the other, those under a condition too."""
    for step in steps:
        if isinstance(step, Asked):
            yield from in_order(step.body)
        else:
            yield step
