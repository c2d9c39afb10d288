"""Loop nests: the entries of several buffers of one shape, made together, and what they share."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterator, Mapping, Sequence

import sympy

from ...language.expressions import (
    Node,
)
from ..statements.loops import For, Largest, Select, Statement, Store
from ..statements.scalars import (
    Buffer,
    Scalar,
    Subscript,
)
from .loop_names import LoopNames
from .points import Known, Memory, Points, Selected


class Nest:
    """A loop nest over a shape that makes entries of several buffers."""

    def __init__(
        self, memory: Memory, names: Mapping[Node, str], indices: LoopNames, shape: Subscript
    ) -> None:
        self.indices, self.shape = indices, shape
        self.place = tuple(indices.fresh(shape))
        self.points = Points(memory, names, indices)
        # What is named so far, by the results that ask for it; empty for no guard.  A scalar that
        # is set under a guard must not be read outside of it: each guard has names of its own.
        self._named: dict[frozenset[str], tuple[Known, Selected]] = {}
        self._seen: set[Node] = set()

    def count(self, roots: Sequence[Node], own: Sequence[Node]) -> None:
        """Counts uses over all roots, so that what is shared is computed once.

        `own` are those that this nest makes: it has them at hand and does not load them.
        """
        self.points.own = frozenset(own)
        for root in roots:
            self.points.count(root, self.place)

    def store(
        self, buffer: Buffer, node: Node, add: bool, guards: frozenset[str]
    ) -> list[Statement]:
        """The statements that make one entry of a buffer where it is asked for."""
        value, lets = self._value(node, guards, root=True)
        return [*lets, Store(buffer, self.place, value, add)]

    def share(
        self, roots: Sequence[tuple[Node, frozenset[str]]], everyone: frozenset[str]
    ) -> Iterator[tuple[frozenset[str], list[Statement]]]:
        """Names what roots with different NULL guards use, under a guard that is their union.

        Otherwise each would compute it again under its own guard.  A union of all the guards of the
        nest needs no guard of its own: the whole nest has it.
        """
        for node, askers in self._askers(roots).items():
            if len(askers) > 1:
                union = frozenset[str]().union(*askers)
                together = frozenset() if union == everyone else union
                yield together, self._value(node, together)[1]

    def _askers(
        self, roots: Sequence[tuple[Node, frozenset[str]]]
    ) -> dict[Node, set[frozenset[str]]]:
        """What the roots are made of here, operands first, with the askers of these roots."""
        met: dict[tuple[Node, Subscript], set[frozenset[str]]] = {}
        order: list[Node] = []
        for root, guards in roots:
            found: list[Node] = []
            stack = [(root, self.place)]
            while stack:
                node, at = stack.pop()
                askers = met.setdefault((node, at), set())
                found += [node] if not askers and at == self.place else []
                if guards not in askers and not self.points.loads(node):
                    stack.extend(reversed(self.points.reads(node, at)))
                askers.add(guards)
            order += reversed(found)
        return {node: met[node, self.place] for node in order}

    def _value(
        self, node: Node, guards: frozenset[str], root: bool = False
    ) -> tuple[Scalar, list[Statement]]:
        """A scalar here, and what has to be named for it and is not yet where this is asked for."""
        points = self.points
        own = self._named.setdefault(guards, ({}, {}))
        others = [
            named
            for askers, named in reversed(self._named.items())
            if named is not own and (not askers or (guards and guards <= askers))
        ]
        points.known = ChainMap(own[0], *(known for known, _ in others))
        points.selected = ChainMap(own[1], *(selected for _, selected in others))
        points.lets = []
        return points.value(node, self.place, root), points.lets

    def named_below(self, root: Node) -> list[Node]:
        """The named expressions that this nest computes for a root, operands first.

        Those that have been listed for another root before are not listed again.
        """
        found: list[Node] = []
        stack = [(root, False)]
        while stack:
            node, ready = stack.pop()
            if ready and node in self.points.names:
                found.append(node)
            if ready or node in self._seen or self.points.loads(node):
                continue
            self._seen.add(node)
            stack.append((node, True))
            stack.extend((operand, False) for operand in reversed(node.operands))
        return found

    def loops(self, body: Sequence[Statement]) -> list[Statement]:
        """The body inside the loops of the shape."""
        return in_loops(self.place, self.shape, body)


def in_loops(
    place: Sequence[sympy.Symbol], extents: Sequence[sympy.Expr], body: Sequence[Statement]
) -> list[Statement]:
    """Statements inside loops, the first index outermost; an index is read where it is known."""
    inner = list(body)
    for index, extent in reversed(list(zip(place, extents, strict=True))):
        outside, inside = parted(inner, index)
        inner = [*outside, For(index, extent, tuple(inside))]
    return inner


def parted(
    body: Sequence[Statement], index: sympy.Symbol
) -> tuple[list[Statement], list[Statement]]:
    """The indices that are read at places a loop does not change, and what stays within it."""
    outside, inside, changed = list[Statement](), list[Statement](), {index}
    for statement in body:
        if isinstance(statement, Select) and not _symbols(statement.place) & changed:
            outside.append(statement)
            continue
        inside.append(statement)
        if isinstance(statement, Select):
            changed.add(statement.index)
        if isinstance(statement, Largest):
            changed.update(statement.indices)
    return outside, inside


def _symbols(place: Subscript) -> set[sympy.Symbol]:
    return set[sympy.Symbol]().union(*(entry.free_symbols for entry in place))
