"""The arrays that a kernel is called with: arguments, results, and what forward saves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from ...language.expressions import Elementwise, Node, Variable
from ...language.names import Allocator, unused
from ...language.normal_form import normal
from ...language.spaces import Indices as IndexSpace
from ...language.spaces import Real
from ...language.text import identifier_of
from ...language.walk import storage
from ...models.programs import Program
from ..statements.scalars import Buffer
from .preparing import prepared
from .rows import cleared_sum
from .stored import SAVED, Wanted

WORDS = (SAVED, "workspace")
"""The pointers that every kernel has beside its arguments and results."""


@dataclass(frozen=True)
class ResultArray:
    """One array of a result: its buffer, its expression, and which of its entries are set.

    It `adds` to what the caller gives, or is set `where` a mask is not zero, or is made whole and
    then `cleared` where a mask is not zero.
    """

    buffer: Buffer
    node: Node
    adds: bool
    where: Node | None
    cleared: Node | None = None


class Arrays:
    """The arrays of a program's kernel, and its expressions in the form in which they are lowered.

    Names are handed out in the order of the kernel's arguments, so that these keep theirs, and what
    is made on the way takes a number where a name is taken.
    """

    def __init__(self, program: Program) -> None:
        self.program = program
        plain, operations = _lowered_forms(program)
        self.names = _names(program, plain)
        self.named = frozenset(self.names.values())
        self.allocator = Allocator((*map(str, program.sizes), *WORDS, *operations))
        self.memory: dict[Node, Buffer] = {}
        self.arguments = tuple(self._argument(a.variable) for a in program.arguments)
        self.results = tuple(tuple(found) for found in self._results(plain))
        self.saves = tuple(plain[node] for node in program.saves)
        self.saved = tuple(self.buffer(f"saved_{self.name(n)}", n, "saved") for n in self.saves)
        if program.reads_saved:
            self.memory.update(zip(self.saves, self.saved, strict=True))

    @property
    def each_result(self) -> Iterator[ResultArray]:
        """The arrays of all results."""
        return (array for arrays in self.results for array in arrays)

    @property
    def wanted(self) -> list[Wanted]:
        """What is to be scheduled: not what is set row by row, which is made after all else."""
        every = (r for r in self.each_result if r.where is None)
        found = [Wanted(r.buffer.name, r.node, not r.adds) for r in every]
        saves = () if self.program.reads_saved else self.saves
        return [*found, *(Wanted(SAVED, node, False) for node in saves)]

    def buffer(self, name: str, node: Node, kind: str) -> Buffer:
        """A new array for an expression, by that name or one with a number."""
        assert isinstance(node.space, (Real, IndexSpace))
        return Buffer(self.allocator.fresh(name), node.space.shape, kind)

    def name(self, node: Node) -> str:
        """The node's name; a generated one never collides with an existing name."""
        name = identifier_of(node, self.names, "t")
        if node in self.names or isinstance(node, Variable):
            return name
        return unused(name, self.named)

    def _argument(self, x: Variable) -> tuple[Buffer, ...]:
        nodes = storage(x)
        buffers = self._buffers(x.name, nodes, _kind_of(x))
        self.memory.update(zip(nodes, buffers, strict=True))
        return buffers

    def _results(self, plain: Mapping[Node, Node]) -> Iterator[Iterator[ResultArray]]:
        for r in self.program.results:
            nodes = storage(plain[r.node])
            buffers = self._buffers(r.name, nodes, "result")
            where = None if r.where is None else plain[r.where]
            adds = self.program.adds(r)
            pairs = zip(buffers, nodes, strict=True)
            yield (_cleared_later(ResultArray(b, node, adds, where)) for b, node in pairs)

    def _buffers(self, name: str, nodes: tuple[Node, ...], kind: str) -> tuple[Buffer, ...]:
        if len(nodes) == 1:
            return (self.buffer(name, nodes[0], kind),)
        return tuple(self.buffer(f"{name}_{k}", node, kind) for k, node in enumerate(nodes))


def _kind_of(x: Variable) -> str:
    return "index" if isinstance(x.space, IndexSpace) else "argument"


def _cleared_later(result: ResultArray) -> ResultArray:
    """A sum that is selected by a mask is made in its result, whose other rows are cleared then.

    Otherwise it would need an array of its own, to be selected from.
    """
    where = None if result.adds or result.where is not None else cleared_sum(result.node)
    if where is None:
        return result
    return replace(result, node=result.node.operands[1], cleared=where)


def _lowered_forms(program: Program) -> tuple[dict[Node, Node], list[str]]:
    """Results, masks, what is saved and what has a name as they are lowered; the functions called.

    All at once, so that what they have in common stays one expression.
    """
    masks = [r.where for r in program.results if r.where is not None]
    roots = [*(r.node for r in program.results), *masks, *program.saves, *program.names]
    new = normal(*roots)
    ready = prepared(dict.fromkeys(new[x] for x in roots), {new[x] for x in program.names})
    functions = [x.operation.name for x in ready.values() if isinstance(x, Elementwise)]
    return {node: ready[new[node]] for node in roots}, functions


def _names(program: Program, plain: Mapping[Node, Node]) -> dict[Node, str]:
    """The names of expressions; where two have become one, the first of its names."""
    names: dict[Node, str] = {}
    for node, name in program.names.items():
        if not isinstance(node, Variable):
            names.setdefault(plain[node], name)
    return names
