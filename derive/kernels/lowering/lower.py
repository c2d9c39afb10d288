"""From a program's expressions to the loops of a kernel.

Every entry of a pointwise expression becomes a scalar in a loop nest; a two-operand contraction
falls by its index sets into the batch, M, N and K of a matrix product; any other sum becomes a loop
nest of its own.  Nothing here knows a layer.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
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
from ...language.text import Writer, spoken
from ...language.walk import storage
from ...models.programs import BATCH, Program
from .loops import Asked, Buffer, Fill, Statement, Step, instances
from .nests import Indices, Nest
from .products import Summed, is_sum
from .rows import cleared_sum, copied_rows, set_rows
from .schedule import Schedule, Sink, is_leaf, prepared
from .sums import sum_statements


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


NOBODY: frozenset[str] = frozenset()
# operations within each other, and in all, in a line: what one can read, and a compiler goes down
DEPTH, LENGTH = 14, 256
WORDS = ("saved", "workspace")


def lower(program: Program) -> Kernel:
    """The kernel of a program."""
    return _Lowering(program).kernel()


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
        self.indices = Indices(self.allocator, BATCH)

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
        """The node's name; one that is made up is none that something else has."""
        name = spoken(node, self.names, "t")
        if node in self.names or isinstance(node, Variable):
            return name
        return unused(name, self._taken)

    # --- statements

    def kernel(self) -> Kernel:
        """The kernel, its steps in order and its workspace laid out."""
        self.schedule = schedule = self._schedule()
        workspace = self._stored(schedule)
        steps = merged([*self._zero_results(), *self._steps(schedule), *self._set_rows()])
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
            tuple(self.indices.used),
            tuple(self.indices.scalars),
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
        for node, sink in schedule.stored.items():
            if sink.result is not None:
                self.memory[node] = by_name[sink.result]
            else:
                self.memory[node] = self._buffer(self._name(node), node, "workspace")
                workspace.append(self.memory[node])
        called = {n: b.name for n, b in self.memory.items()} | self.names
        tops = tuple(s.node for s in schedule.sinks)
        called = abbreviated(tops, called, self._taken | self.program.layer.words, DEPTH, LENGTH)
        self.names |= {n: name for n, name in called.items() if n not in self.memory}
        self.writer = Writer(called, BATCH)
        self.targets = {
            sink: self.memory[sink.node] for sink in schedule.stored.values()
        } | self._copy_targets(schedule, by_name)
        return workspace

    def _copy_targets(
        self, schedule: Schedule, by_name: Mapping[str, Buffer]
    ) -> dict[Sink, Buffer]:
        saved = dict(zip(self.saves, self.saved, strict=True))
        return {
            sink: saved[sink.node] if sink.result == "saved" else by_name[sink.result or ""]
            for sink in schedule.copies
        }

    def _zero_results(self) -> Iterator[Statement]:
        """A result that is zero is set; one that is added to needs nothing."""
        for buffers, nodes in zip(self.results, self.result_nodes, strict=True):
            for buffer, node in zip(buffers, nodes, strict=True):
                if is_zero(node) and buffer not in self.added and buffer not in self.where:
                    yield Step((self._line(buffer.name, "=", node),), (Fill(buffer),))

    def _steps(self, schedule: Schedule) -> Iterator[Statement]:
        nests: dict[int, dict[object, list[Sink]]] = {}
        sums: dict[int, list[tuple[Sink, sympy.Expr, Summed]]] = {}
        for sink in schedule.sinks:
            if sink.pointwise is not None:
                shapes = nests.setdefault(sink.pointwise_stage, {})
                shapes.setdefault(self.targets[sink].shape, []).append(sink)
            for (weight, total), stage in zip(sink.sums, sink.sum_stages, strict=True):
                sums.setdefault(stage, []).append((sink, weight, total))
        for stage in sorted({*nests, *sums}):
            for sinks in nests.get(stage, {}).values():
                made = {self.targets[sink] for sink in sinks}
                chosen = {sink: self._selected(sink, made) for sink in sinks}
                for sink, steps in chosen.items():
                    yield from self._asked(sink.asked, steps)
                if rest := [sink for sink, steps in chosen.items() if not steps]:
                    yield from self._nest(rest)
            for sink, weight, total in sums.get(stage, []):
                yield from self._asked(sink.asked, [self._sum(sink, weight, total)])

    def _selected(self, sink: Sink, made: Collection[Buffer]) -> list[Statement]:
        """What only selects rows of another array, as one step; nothing for other sinks.

        An array that is `made` in the same loop nest is not there before: the nest selects, too.
        """
        target = self.targets[sink]
        if sink.result is not None or sink.sums or sink.pointwise is None:
            return []
        rows = copied_rows(self.memory, target, sink.pointwise)
        if rows is None or rows.source in made:
            return []
        return [Step((self._line(target.name, "=", sink.node),), (rows,))]

    def _set_rows(self) -> Iterator[Statement]:
        """Results that are set or cleared for some samples alone, by a mask."""
        for buffers, nodes in zip(self.results, self.result_nodes, strict=True):
            for buffer, node in zip(buffers, nodes, strict=True):
                if buffer in self.where:
                    yield self._rows(buffer, self.where[buffer], node)
                if buffer in self.cleared:
                    yield self._rows(buffer, self.cleared[buffer], zero(node.space))

    def _rows(self, buffer: Buffer, where: Node, node: Node) -> Step:
        body = set_rows(self.memory, self.names, self.indices, buffer, where, node)
        line = f"{self._line(buffer.name, '=', node)}, where {self.writer.formula(where)}"
        return Step((line,), tuple(body))

    def _nest(self, sinks: list[Sink]) -> Iterator[Statement]:
        """One loop nest that makes the pointwise parts of several sinks.

        What only some results ask for is guarded, outside the loops where it is all of the nest.
        """
        nest = Nest(self.memory, self.names, self.indices, self.targets[sinks[0]].shape)
        outer = NOBODY if any(not s.asked for s in sinks) else _union(s.asked for s in sinks)
        asked = {s: NOBODY if s.asked == outer else s.asked for s in sinks}
        ordered = sorted(sinks, key=lambda s: (bool(asked[s]), -len(asked[s]), sorted(asked[s])))
        roots = {s: s.pointwise for s in ordered if s.pointwise is not None}
        nest.count(
            list(roots.values()), [s.node for s in sinks if self.schedule.owner(s.node) is s]
        )
        body: list[Statement] = []
        for sink in (s for s in ordered if not asked[s]):
            body += nest.store(self.targets[sink], roots[sink], self._adds(sink), NOBODY)
        guarded = [s for s in ordered if asked[s]]
        for together, lets in nest.share([(roots[s], asked[s]) for s in guarded], outer):
            body += self._asked(together, lets)
        for sink in guarded:
            entry = nest.store(self.targets[sink], roots[sink], self._adds(sink), asked[sink])
            body += self._asked(asked[sink], entry)
        formulas = dict.fromkeys(line for s in sinks for line in self._formulas(s, nest))
        step = Step(tuple(formulas), tuple(nest.loops(merged(body))))
        yield from self._asked(outer, [step])

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

    def _formulas(self, sink: Sink, nest: Nest) -> list[str]:
        target = self.targets[sink].name
        assert sink.pointwise is not None
        below = nest.named_below(sink.pointwise)
        lets = [self._line(self.names[node], "=", node) for node in below]
        again = sink.node in self.schedule.stored and self.schedule.owner(sink.node) is not sink
        copied = sink.result == "saved" or again or is_leaf(sink.node) or self._adds(sink)
        shown = target if copied else self.names.get(sink.node, target)
        sign = "+=" if self._adds(sink) else "="
        by_name = not sink.sums and sink.pointwise in self.names
        if by_name and self.names[sink.pointwise] == shown:
            return lets
        left = target if sink.sums else shown
        return [*lets, self._line(left, sign, sink.pointwise, by_name=by_name)]

    def _adds(self, sink: Sink) -> bool:
        return self.targets[sink] in self.added

    def _sum(self, sink: Sink, weight: sympy.Expr, total: Node) -> Step:
        target = self.targets[sink]
        first = total is sink.first_sum and not self._adds(sink)
        assert is_sum(total)
        body = sum_statements(self.memory, self.names, self.indices, target, weight, total, first)
        line = self._line(target.name, "=" if first else "+=", total, weight)
        return Step((line,), tuple(body))

    def _asked(self, asked: frozenset[str], steps: list[Statement]) -> list[Statement]:
        """Statements that are taken only where one of these results is asked for."""
        return [Asked(self._pointers(asked), tuple(steps))] if asked and steps else steps

    def _pointers(self, asked: frozenset[str]) -> tuple[str, ...]:
        order = [b.name for buffers in self.results for b in buffers] + ["saved"]
        return tuple(sorted(asked, key=order.index))


def _union(askers: Iterable[frozenset[str]]) -> frozenset[str]:
    return frozenset[str]().union(*askers)


def _functions(nodes: Iterable[Node]) -> list[str]:
    """The names of the elementwise operations, which a kernel calls."""
    return [node.operation.name for node in nodes if isinstance(node, Elementwise)]


def merged(steps: Iterable[Statement]) -> list[Statement]:
    """Neighbours that the same results ask for under one condition, some of them inside."""
    result: list[
        tuple[Statement, list[Statement]]
    ] = []  # the bodies of conditions grow beside them
    for step in steps:
        last = result[-1][0] if result else None
        if isinstance(step, Asked) and isinstance(last, Asked):
            if set(step.pointers) == set(last.pointers):
                result[-1][1].extend(step.body)
                continue
            if set(step.pointers) < set(last.pointers):
                result[-1][1].append(step)
                continue
        result.append((step, list(step.body) if isinstance(step, Asked) else []))
    return [
        Asked(step.pointers, tuple(merged(body))) if isinstance(step, Asked) else step
        for step, body in result
    ]


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
