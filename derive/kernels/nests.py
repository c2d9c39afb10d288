"""Loop nests: scalars at a point, and the stores of what a nest makes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, count
from typing import TypeAlias

import sympy

from ..accesses import stays_inside
from ..expressions import Argmax, Constant, Contraction, Elementwise, LinearCombination, Node
from ..forms import Access
from ..names import Allocator
from ..text import spoken
from .loops import (
    Apply,
    Buffer,
    For,
    Guards,
    Inside,
    Largest,
    Let,
    Load,
    Local,
    Number,
    Place,
    Position,
    Scalar,
    Select,
    Statement,
    Store,
    Sum,
    Times,
)
from .products import is_rearranged

Memory = Mapping[Node, Buffer]
Known: TypeAlias = "dict[tuple[Node, Place], Scalar]"
Selected: TypeAlias = "dict[tuple[Node, Place], sympy.Symbol]"


class Indices:
    """The loop indices and scalars of one kernel, by readable names that nothing else has."""

    def __init__(self, allocator: Allocator, batch: sympy.Symbol) -> None:
        self.batch = batch
        self._allocator = allocator
        self._sample = allocator.fresh("s")
        self._letters: list[str] = []
        self.used: dict[str, None] = {}
        self.scalars: dict[str, None] = {}
        self.extents: dict[sympy.Symbol, sympy.Expr] = {}

    def fresh(self, extents: Sequence[sympy.Expr]) -> list[sympy.Symbol]:
        """One index for each extent: s for the batch, i, j, k, .. for the others."""
        found: list[sympy.Symbol] = []
        letter = 0
        for extent in extents:
            if extent == self.batch and self._sample not in map(str, found):
                name = self._sample
            else:
                name, letter = self._letter(letter), letter + 1
            found.append(self.index(name, extent))
        return found

    def index(self, name: str, extent: sympy.Expr) -> sympy.Symbol:
        """The index of that name, now running over `extent` values."""
        symbol = sympy.Symbol(name, integer=True, nonnegative=True)
        self.used[name] = None
        self.extents[symbol] = extent
        return symbol

    def _letter(self, number: int) -> str:
        while len(self._letters) <= number:
            wanted = "ijklpqrtuvw"[len(self._letters) % 11]
            self._letters.append(self._allocator.fresh(wanted))
        return self._letters[number]

    def scalar(self, wanted: str, place: Place, used: set[str]) -> str:
        """A name for a scalar that this nest does not use yet; an array's with the place behind it.

        Scalars are set before they are read in every nest, so that one may serve again in another.
        """
        spot = "".join(str(index) for index in place if index.is_Symbol)
        first = [wanted, f"{wanted}_{spot}"] if spot else [wanted]
        for stem in chain(first, (f"{wanted}_{number}" for number in count(2))):
            if stem not in used and (stem in self.scalars or not self._allocator.is_taken(stem)):
                break
        if stem not in self.scalars:
            self.scalars[self._allocator.fresh(stem)] = None
        used.add(stem)
        return stem

    def scalar_index(self, wanted: str) -> str:
        """A name for an index that no loop nest runs over."""
        return self._allocator.fresh(wanted)

    def outside(self, access: Place, shape: Place) -> Guards:
        """The entries of an access that may lie outside an array of that shape."""
        return tuple(
            (entry, extent)
            for entry, extent in zip(access, shape, strict=True)
            if not stays_inside(entry, extent, self.extents)
        )


class Points:
    """Scalars of pointwise expressions at points of one nest, each computed once.

    `lets` are the statements that name scalars; they come before the statement that uses them.
    """

    def __init__(self, memory: Memory, names: Mapping[Node, str], indices: Indices) -> None:
        self.memory, self.names, self.indices = memory, names, indices
        self.uses: dict[tuple[Node, Place], int] = {}
        self.known: Known = {}
        self.selected: Selected = {}
        self.lets: list[Statement] = []
        self.used: set[str] = set()

    def count(self, node: Node, place: Place) -> None:
        """Counts how often each expression is used at each place."""
        self.uses[node, place] = self.uses.get((node, place), 0) + 1
        if self.uses[node, place] == 1 and node not in self.memory:
            for operand, at in self._reads(node, place):
                self.count(operand, at)

    def value(self, node: Node, place: Place, root: bool = False) -> Scalar:
        """The scalar of an expression at a place, by name where it is used again or has one.

        The root of a store needs no name of its own."""
        if (node, place) not in self.known:
            scalar = self._scalar(node, place)
            if self._wants_name(node, place, scalar, root):
                name = self.indices.scalar(spoken(node, self.names, "r"), place, self.used)
                self.lets.append(Let(name, scalar))
                scalar = Local(name)
            self.known[node, place] = scalar
        return self.known[node, place]

    def _wants_name(self, node: Node, place: Place, scalar: Scalar, root: bool) -> bool:
        if isinstance(scalar, (Local, Number, Load, Position)):
            return False
        named = node in self.names and not root
        return named or (self.uses.get((node, place), 0) > 1 and not is_rearranged(node))

    def _reads(self, node: Node, place: Place) -> list[tuple[Node, Place]]:
        if isinstance(node, Contraction):
            moved = self._moved(node, place, select=False)
            return [(x, placed(node.access(k), moved)) for k, x in enumerate(node.filled)]
        if isinstance(node, Argmax):
            return []
        return [(operand, place) for operand in node.operands]

    def _scalar(self, node: Node, place: Place) -> Scalar:
        if node in self.memory:
            buffer = self.memory[node]
            return Load(buffer, place)
        if isinstance(node, Constant):
            return Number(node.value)
        if isinstance(node, Argmax):
            return Position(self._selected(node, place, node.space.bound))  # type: ignore[attr-defined]
        if isinstance(node, LinearCombination):
            terms = [(weight, self.value(x, place)) for weight, x in node.terms]
            return Sum(
                tuple(
                    (sympy.S.One, weighted(w, x)) if isinstance(x, Number) else (w, x)
                    for w, x in terms
                )
            )
        if isinstance(node, Elementwise):
            return Apply(node.operation, tuple(self.value(z, place) for z in node.arguments))
        assert isinstance(node, Contraction), type(node)
        moved = self._moved(node, place)
        return self.product(node, moved)

    def product(self, node: Contraction, moved: Mapping[sympy.Symbol, sympy.Expr]) -> Scalar:
        """The product of a contraction's operands where its indices have these values."""
        factors = tuple(
            self.read(x, placed(node.access(k), moved)) for k, x in enumerate(node.filled)
        )
        return factors[0] if len(factors) == 1 else Times(factors)

    def read(self, node: Node, place: Place, outside: sympy.Expr = sympy.S.Zero) -> Scalar:
        """An operand at a place, zero or another number outside its borders."""
        guards = self.indices.outside(place, node.space.shape)  # type: ignore[attr-defined]
        value = self.value(node, place)
        return Inside(guards, value, outside) if guards else value

    def _moved(
        self, node: Contraction, place: Place, select: bool = True
    ) -> dict[sympy.Symbol, sympy.Expr]:
        """The values of a pointwise contraction's indices at a place of its result."""
        moved = dict(zip(node.output, place, strict=True))
        return moved | self.bound(node, moved, select)

    def bound(
        self, node: Contraction, moved: Mapping[sympy.Symbol, sympy.Expr], select: bool = True
    ) -> dict[sympy.Symbol, sympy.Expr]:
        """The bound indices, read from their integer arrays by statements before this point."""
        found: dict[sympy.Symbol, sympy.Expr] = {}
        for (index, access), selector in zip(node.form.bound, node.selectors, strict=True):
            at = placed(access, moved)
            if not select:
                found[index] = sympy.Symbol(f"selected{len(found)}")
                continue
            found[index] = self._selected(selector, at, node.form.extent(index))
        return found

    def _selected(self, selector: Node, place: Place, extent: sympy.Expr) -> sympy.Symbol:
        """The index that a selector gives at a place; those of one window come together."""
        if (selector, place) not in self.selected:
            if isinstance(selector, Argmax) and selector not in self.memory:
                self.lets.append(self._largest(selector, place))
            else:
                symbol = self._index("k", extent)
                self.lets.append(Select(symbol, extent, self.memory[selector], place))
                self.selected[selector, place] = symbol
        return self.selected[selector, place]

    def _index(self, letter: str, extent: sympy.Expr) -> sympy.Symbol:
        return self.indices.index(self.indices.scalar_index(letter), extent)

    def _largest(self, node: Argmax, place: Place) -> Statement:
        extents = tuple(node.form.extent(index) for index in node.summed)
        found = tuple(self._index("k", extent) for extent in extents)
        self.selected |= {(one, place): k for one, k in zip(node.together, found, strict=True)}
        running = tuple(self._index("j", extent) for extent in extents)
        moved = dict(zip((*node.form.slots[1], *node.summed), (*place, *running), strict=True))
        inner = Points(self.memory, self.names, self.indices)
        value = inner.read(node.operand, placed(node.form.slots[0], moved), -sympy.oo)
        best = self.indices.scalar("largest", (), self.used)
        candidate = self.indices.scalar("candidate", (), self.used)
        return Largest(found, running, extents, best, candidate, value, tuple(inner.lets))


class Nest:
    """A loop nest over a shape that makes entries of several buffers."""

    def __init__(
        self, memory: Memory, names: Mapping[Node, str], indices: Indices, shape: Place
    ) -> None:
        self.indices, self.shape = indices, shape
        self.place = tuple(indices.fresh(shape))
        self.points = Points(memory, names, indices)
        # what is named so far, with those who ask for it: nobody in particular, or some results
        self._named: list[tuple[frozenset[str], Known, Selected]] = []

    def count(self, roots: Sequence[Node], own: Sequence[Node]) -> None:
        """Counts uses over all roots, so that what is shared is computed once.

        `own` are those that this nest makes: it has them at hand and does not load them.
        """
        self.points.memory = {x: b for x, b in self.points.memory.items() if x not in own}
        for root in roots:
            self.points.count(root, self.place)

    def store(
        self, buffer: Buffer, node: Node, add: bool, asked: frozenset[str]
    ) -> list[Statement]:
        """The statements that make one entry of a buffer where it is asked for."""
        value, lets = self._value(node, asked, root=True)
        return [*lets, Store(buffer, self.place, value, add)]

    def share(
        self, roots: Sequence[tuple[Node, frozenset[str]]], everyone: frozenset[str]
    ) -> Iterator[tuple[frozenset[str], list[Statement]]]:
        """Names what roots with different askers use, where one of these asks.

        Where they are all that ask for the nest, nobody in particular does."""
        below = [
            ({node for node, at in self._visited(root) if at == self.place}, asked)
            for root, asked in roots
        ]
        visited = (
            node for root, _ in roots for node, at in self._visited(root) if at == self.place
        )
        for node in dict.fromkeys(visited):
            askers = {asked for nodes, asked in below if node in nodes}
            if len(askers) > 1:
                union = frozenset[str]().union(*askers)
                together = frozenset() if union == everyone else union
                yield together, self._value(node, together)[1]

    def _value(
        self, node: Node, asked: frozenset[str], root: bool = False
    ) -> tuple[Scalar, list[Statement]]:
        """A scalar here, and what has to be named for it and is not yet where this is asked for."""
        points = self.points
        points.known, points.selected, points.lets = {}, {}, []
        for askers, known, selected in self._named:
            if not askers or (asked and asked <= askers):
                points.known |= known
                points.selected |= selected
        value = points.value(node, self.place, root)
        self._named.append((asked, points.known, points.selected))
        return value, points.lets

    def _visited(self, root: Node) -> dict[tuple[Node, Place], None]:
        """The expressions that a root is made of here, operands first."""
        counted = Points(self.points.memory, self.points.names, self.indices)
        counted.count(root, self.place)
        return dict.fromkeys(reversed(list(counted.uses)))

    def named_below(self, root: Node) -> Iterator[Node]:
        """The named expressions that this nest computes for a root, operands first."""
        seen: set[Node] = set()

        def visit(node: Node) -> Iterator[Node]:
            if node in seen or node in self.points.memory:
                return
            seen.add(node)
            for operand in node.operands:
                yield from visit(operand)
            if node in self.points.names:
                yield node

        return visit(root)

    def loops(self, body: Sequence[Statement]) -> list[Statement]:
        """The body inside the loops of the shape."""
        return wrapped(self.place, self.shape, body)


def wrapped(
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


def _symbols(place: Place) -> set[sympy.Symbol]:
    return set[sympy.Symbol]().union(*(entry.free_symbols for entry in place))


def placed(access: Access, values: Mapping[sympy.Symbol, sympy.Expr]) -> Place:
    """An access where the indices have these values."""
    return tuple(entry.xreplace(values) for entry in access)


def weighted(weight: sympy.Expr, value: Scalar) -> Scalar:
    """A number times a scalar."""
    if isinstance(value, Number):
        return Number(weight * value.value)
    return value if weight == 1 else Sum(((weight, value),))
