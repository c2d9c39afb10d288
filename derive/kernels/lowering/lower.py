"""From a program's expressions to the loops of a kernel.

Every entry of a pointwise expression becomes a scalar in a loop nest; a two-operand contraction
falls by its index sets into the batch, M, N and K of a matrix product; any other sum becomes a loop
nest of its own.  Nothing here knows a layer.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence

import sympy

from ...language.abbreviations import abbreviated
from ...language.expressions import Node, is_zero, zero
from ...language.text import Writer
from ...models.programs import BATCH, Program
from ..optimise.guards import guards_joined
from ..optimise.pipeline import PASSES, Pass, optimised
from ..statements.checking import names_set
from ..statements.loops import Asked, Commented, Fill, Statement
from ..statements.scalars import Buffer
from .arrays import Arrays
from .kernel import Kernel, Line
from .loop_names import LoopNames
from .nests import Nest
from .products import Summed, is_sum
from .rows import copied_rows, set_rows
from .schedule import scheduled
from .stored import SAVED, Schedule, Stored, is_leaf
from .sums import loop_letters, sum_statements
from .workspace import lay_out

UNGUARDED: frozenset[str] = frozenset()
# of a formula: operations within each other, and in all; longer ones are read by nobody
DEPTH, LENGTH = 14, 256


def lower(program: Program, passes: Sequence[Pass] = PASSES) -> Kernel:
    """The kernel of a program, its statements after all passes.

    Its arrays, then what is stored and when, then the statements, then where the workspace lies:
    that last, since it is read off the statements which arrays live together.
    """
    arrays = Arrays(program)
    made = _Statements(arrays, scheduled(arrays.wanted, arrays.memory))
    steps = optimised(made.steps(), passes)
    names, (slots, count) = names_set(tuple(steps)), lay_out(made.workspace, steps)
    return Kernel(
        program,
        program.sizes,
        arrays.arguments,
        tuple(tuple(r.buffer for r in found) for found in arrays.results),
        arrays.saved,
        slots,
        count,
        tuple(steps),
        tuple(name for name in made.indices.used if name in names),
        tuple(name for name in made.indices.scalars if name in names),
        made.writer.names,
        made.lines,
        arrays.saves,
        tuple(tuple(r.node for r in found) for found in arrays.results),
    )


class _Statements:
    """The statements of a schedule, and their formulas, in the order of its stages."""

    def __init__(self, arrays: Arrays, schedule: Schedule) -> None:
        self.arrays, self.schedule = arrays, schedule
        self.indices = LoopNames(arrays.allocator, BATCH)
        self.workspace: list[Buffer] = []
        self.targets = dict(self._targets())
        own = {node: self.targets[stored] for node, stored in schedule.stored.items()}
        self.memory = {**arrays.memory, **own}
        called = self._called()
        self.names = arrays.names | {n: x for n, x in called.items() if n not in self.memory}
        self.writer = Writer(called, BATCH, letters=loop_letters(self.indices))
        self.added = {r.buffer for r in arrays.each_result if r.adds}
        self.lines: dict[str, Line] = {}

    def _targets(self) -> Iterator[tuple[Stored, Buffer]]:
        """The buffer of each stored expression: a result's own, what is saved, or workspace."""
        arrays = self.arrays
        saved = dict(zip(arrays.saves, arrays.saved, strict=True))
        by_name = {r.buffer.name: r.buffer for r in arrays.each_result}
        for stored in self.schedule.contents:
            if stored.result is None:
                made = arrays.buffer(arrays.name(stored.node), stored.node, "workspace")
                self.workspace.append(made)
                yield stored, made
            else:
                own = saved[stored.node] if stored.result == SAVED else by_name[stored.result]
                yield stored, own

    def _called(self) -> dict[Node, str]:
        """What expressions are called in formulas; parts of long ones get a name of their own."""
        called = {node: buffer.name for node, buffer in self.memory.items()} | self.arrays.names
        tops = tuple(stored.node for stored in self.schedule.contents)
        taken = self.arrays.named | self.arrays.program.layer.words
        return abbreviated(tops, called, taken, DEPTH, LENGTH)

    def steps(self) -> list[Statement]:
        """Zeros first; rows that a mask selects last, when what they read is there."""
        return [*self._zero_results(), *self._staged(), *self._set_rows()]

    def _zero_results(self) -> Iterator[Statement]:
        """A result that is zero is set; one that is added to needs nothing."""
        for r in self.arrays.each_result:
            if is_zero(r.node) and not r.adds and r.where is None:
                yield Commented((self._line(r.buffer.name, "=", r.node),), (Fill(r.buffer),))

    def _staged(self) -> Iterator[Statement]:
        """Stage by stage the loop nests, one for each shape, then the sums."""
        nests: dict[int, dict[object, list[Stored]]] = {}
        sums: dict[int, list[tuple[Stored, sympy.Expr, Summed]]] = {}
        for stored in self.schedule.contents:
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
        for r in self.arrays.each_result:
            if r.where is not None:
                yield self._rows(r.buffer, r.where, r.node)
            if r.cleared is not None:
                yield self._rows(r.buffer, r.cleared, zero(r.node.space))

    def _rows(self, buffer: Buffer, where: Node, node: Node) -> Commented:
        body = set_rows(self.memory, self.names, self.indices, buffer, where, node)
        line = f"{self._line(buffer.name, '=', node)}, where {self.writer.formula(where)}"
        return Commented((line,), tuple(body))

    def _nest(self, contents: list[Stored]) -> Iterator[Statement]:
        """One loop nest that makes the pointwise parts of several stored arrays.

        What only some results ask for is guarded, outside the loops where it is all of the nest.
        """
        nest = Nest(self.memory, self.names, self.indices, self.targets[contents[0]].shape)
        outer = _union(s.guards for s in contents) if all(s.guards for s in contents) else UNGUARDED
        guards = {s: UNGUARDED if s.guards == outer else s.guards for s in contents}
        # what is always made comes first, then what most ask for: others may read its scalars
        ordered = sorted(
            contents, key=lambda s: (bool(guards[s]), -len(guards[s]), sorted(guards[s]))
        )
        roots = {s: s.pointwise for s in ordered if s.pointwise is not None}
        nest.count(list(roots.values()), [s.node for s in contents if self.schedule.has_own(s)])
        body = [x for s in ordered if not guards[s] for x in self._entry(nest, s, UNGUARDED)]
        guarded = [s for s in ordered if guards[s]]
        for together, lets in nest.share([(roots[s], guards[s]) for s in guarded], outer):
            body += self._guarded(together, lets)
        for stored in guarded:
            body += self._guarded(guards[stored], self._entry(nest, stored, guards[stored]))
        formulas = dict.fromkeys(line for s in contents for line in self._formulas(s, nest))
        step = Commented(tuple(formulas), tuple(nest.loops(guards_joined(body))))
        yield from self._guarded(outer, [step])

    def _entry(self, nest: Nest, stored: Stored, guards: frozenset[str]) -> list[Statement]:
        """The statements that make one entry of a stored array's pointwise part."""
        assert stored.pointwise is not None
        return nest.store(self.targets[stored], stored.pointwise, self._adds(stored), guards)

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
        again = stored.node in self.schedule.stored and not self.schedule.has_own(stored)
        copied = stored.result == SAVED or again or is_leaf(stored.node) or self._adds(stored)
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
        order = [*(r.buffer.name for r in self.arrays.each_result), SAVED]
        return tuple(sorted(guards, key=order.index))


def _union(askers: Iterable[frozenset[str]]) -> frozenset[str]:
    return frozenset[str]().union(*askers)
