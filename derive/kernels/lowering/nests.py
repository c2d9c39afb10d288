"""Loop nests: scalars at a point, and the stores of what a nest makes."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Container, Iterator, Mapping, MutableMapping, Sequence
from typing import TypeAlias

import sympy

from ...language.accesses import stays_inside
from ...language.expressions import (
    Argmax,
    Constant,
    Contraction,
    Elementwise,
    LinearCombination,
    Node,
    is_zero,
    together,
)
from ...language.forms import Access
from ...language.names import Allocator
from ...language.patterns import is_rearranged
from ...language.reading import Reading
from ...language.text import identifier_of
from ..statements.loops import Accumulate, For, Largest, Let, Select, Statement, Store
from ..statements.scalars import (
    Apply,
    Buffer,
    Guards,
    Inside,
    Load,
    Local,
    Number,
    Position,
    Scalar,
    Subscript,
    Sum,
    Times,
)

Memory = Mapping[Node, Buffer]
Known: TypeAlias = "MutableMapping[tuple[Node, Subscript], Scalar]"
Selected: TypeAlias = "MutableMapping[tuple[Node, Subscript], sympy.Symbol]"
NESTED = 8  # operations of one statement within each other: Cython takes twice as long for each
WIDE = 128  # terms of a sum that one statement adds up: a compiler goes down them by recursion


class LoopNames:
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
        return [self.index(name, e) for name, e in zip(self.names(extents), extents, strict=True)]

    def names(self, extents: Sequence[sympy.Expr]) -> list[str]:
        """The names that `fresh` gives to indices over these extents."""
        found: list[str] = []
        for extent in extents:
            first = extent == self.batch and self._sample not in found
            letter = len(found) - found.count(self._sample)
            found.append(self._sample if first else self._letter(letter))
        return found

    def index(self, name: str, extent: sympy.Expr) -> sympy.Symbol:
        """The index of that name, now running over `extent` values."""
        symbol = sympy.Symbol(name, integer=True, nonnegative=True)
        self.used[name] = None
        self.extents[symbol] = extent
        return symbol

    def _letter(self, number: int) -> str:
        while len(self._letters) <= number:
            self._letters.append(self._allocator.fresh("ijklpqrtuvw"[len(self._letters) % 11]))
        return self._letters[number]

    def scalar(self, wanted: str, place: Subscript, used: dict[str, int]) -> str:
        """A name for a scalar that this nest does not use yet; an array's with the place behind it.

        Scalars are set before they are read in every nest, so that one may serve again in another.
        `used` has the last number behind every name.
        """
        spot = "".join(str(index) for index in place if index.is_Symbol)
        name, number = wanted, 1
        if spot and not self._is_free(name, used):
            name = f"{wanted}_{spot}"
        if not self._is_free(name, used):
            number = used.get(wanted, 1)
            while not self._is_free(name, used):
                number += 1
                name = f"{wanted}_{number}"
            used[wanted] = number
        if name not in self.scalars:
            self.scalars[self._allocator.fresh(name)] = None
        used.setdefault(name, 1)
        return name

    def _is_free(self, name: str, used: dict[str, int]) -> bool:
        return name not in used and (name in self.scalars or not self._allocator.is_taken(name))

    def scalar_index(self, wanted: str) -> str:
        """A name for an index that no loop nest runs over."""
        return self._allocator.fresh(wanted)

    def outside(self, access: Subscript, shape: Subscript) -> Guards:
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

    def __init__(
        self,
        memory: Memory,
        names: Mapping[Node, str],
        indices: LoopNames,
        own: Container[Node] = frozenset(),
    ) -> None:
        self.memory, self.names, self.indices = memory, names, indices
        self.own = own  # what this nest makes: it has them at hand and does not load them
        self.uses: dict[tuple[Node, Subscript], int] = {}
        self.known: Known = {}
        self.nested: dict[tuple[Node, Subscript], int] = {}
        self.selected: Selected = {}
        self.lets: list[Statement] = []
        self.used: dict[str, int] = {}

    def loads(self, node: Node) -> bool:
        """The expression is loaded from a buffer."""
        return node in self.memory and node not in self.own

    def count(self, node: Node, place: Subscript) -> None:
        """Counts how often each expression is used at each place."""
        stack = [(node, place)]
        while stack:
            node, place = stack.pop()
            self.uses[node, place] = self.uses.get((node, place), 0) + 1
            if self.uses[node, place] == 1 and not self.loads(node):
                stack.extend(reversed(self.reads(node, place)))

    def value(self, node: Node, place: Subscript, root: bool = False) -> Scalar:
        """The scalar of an expression at a place, by name where it is used again or has one.

        The root of a store needs no name of its own."""
        stack = [(node, place, False)]
        while stack:
            inner, at, ready = stack.pop()
            if (inner, at) in self.known:
                continue
            if ready or self.loads(inner):
                self.known[inner, at] = self._named(inner, at, root and inner is node)
            else:
                stack.append((inner, at, True))
                reads = reversed(self.reads(inner, at, select=True))
                stack.extend((operand, spot, False) for operand, spot in reads)
        return self.known[node, place]

    def _named(self, node: Node, place: Subscript, root: bool) -> Scalar:
        """The scalar of an expression whose operands are known, by name where it is to have one."""
        scalar = self._scalar(node, place)
        within = [] if self.loads(node) else self.reads(node, place, select=True)
        self.nested[node, place] = 1 + max((self.nested.get(x, 0) for x in within), default=-1)
        if not self._wants_name(node, place, scalar, root):
            return scalar
        self.nested[node, place] = 0
        name = self.indices.scalar(identifier_of(node, self.names, "r"), place, self.used)
        self.lets += _summed_up(name, scalar)
        return Local(name)

    def _wants_name(self, node: Node, place: Subscript, scalar: Scalar, root: bool) -> bool:
        if isinstance(scalar, (Local, Number, Load, Position)):
            return False
        if isinstance(scalar, Sum) and len(scalar.terms) > WIDE:
            return True
        if self.nested[node, place] >= NESTED and not root:
            return True
        named = node in self.names and not root
        return named or (self.uses.get((node, place), 0) > 1 and not is_rearranged(node))

    def reads(
        self, node: Node, place: Subscript, select: bool = False
    ) -> list[tuple[Node, Subscript]]:
        """The operands at the places where they are read, first their places themselves."""
        return _Reads(self, place, select)(node)

    def _scalar(self, node: Node, place: Subscript) -> Scalar:
        if self.loads(node):
            return Load(self.memory[node], place)
        return _Entry(self, place)(node)

    def product(self, node: Contraction, moved: Mapping[sympy.Symbol, sympy.Expr]) -> Scalar:
        """The product of a contraction's operands where its indices have these values."""
        factors = tuple(
            self.read(x, placed(node.access(k), moved)) for k, x in enumerate(node.filled)
        )
        return factors[0] if len(factors) == 1 else Times(factors)

    def read(self, node: Node, place: Subscript) -> Scalar:
        """An operand at a place, zero outside its borders."""
        guards = self.indices.outside(place, node.space.shape)  # type: ignore[attr-defined]
        value = self.value(node, place)
        return Inside(guards, value) if guards else value

    def moved(
        self, node: Contraction, place: Subscript, select: bool = True
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
            found[index] = self.chosen(selector, at, node.form.extent(index))
        return found

    def chosen(self, selector: Node, place: Subscript, extent: sympy.Expr) -> sympy.Symbol:
        """The index that a selector gives at a place; those of one window come together."""
        if (selector, place) not in self.selected:
            if isinstance(selector, Argmax) and not self.loads(selector):
                self.lets.append(self._largest(selector, place))
            else:
                symbol = self._index("k", extent)
                self.lets.append(Select(symbol, extent, self.memory[selector], place))
                self.selected[selector, place] = symbol
        return self.selected[selector, place]

    def _index(self, letter: str, extent: sympy.Expr) -> sympy.Symbol:
        return self.indices.index(self.indices.scalar_index(letter), extent)

    def _largest(self, node: Argmax, place: Subscript) -> Statement:
        extents = tuple(node.form.extent(index) for index in node.summed)
        found = tuple(self._index("k", extent) for extent in extents)
        self.selected.update(zip(((one, place) for one in together(node)), found, strict=True))
        running = tuple(self._index("j", extent) for extent in extents)
        moved = dict(zip((*node.form.slots[1], *node.summed), (*place, *running), strict=True))
        inner = Points(self.memory, self.names, self.indices, self.own)
        read = placed(node.form.slots[0], moved)
        guards = self.indices.outside(read, node.operand.space.shape)  # type: ignore[attr-defined]
        value = inner.value(node.operand, read)
        best = self.indices.scalar("largest", (), self.used)
        candidate = self.indices.scalar("candidate", (), self.used)
        return Largest(found, running, extents, best, candidate, value, tuple(inner.lets), guards)


class _Reads(Reading[list[tuple[Node, Subscript]]]):
    """The operands of an expression at the places where an entry of it reads them."""

    __slots__ = ("place", "points", "select")

    def __init__(self, points: Points, place: Subscript, select: bool) -> None:
        self.points, self.place, self.select = points, place, select

    def contraction(self, node: Contraction) -> list[tuple[Node, Subscript]]:
        moved = self.points.moved(node, self.place, self.select)
        return [(x, placed(node.access(k), moved)) for k, x in enumerate(node.filled)]

    def _there(self, node: Node) -> list[tuple[Node, Subscript]]:
        return [(operand, self.place) for operand in node.operands]

    variable = constant = linear_combination = elementwise = _there
    tuple_ = projection = held = potential = jet = running_sum = _there

    def argmax(self, node: Argmax) -> list[tuple[Node, Subscript]]:
        return []  # its window is gone through by a statement of its own


class _Entry(Reading[Scalar]):
    """One entry of an expression that a nest computes, as a scalar."""

    __slots__ = ("place", "points")

    def __init__(self, points: Points, place: Subscript) -> None:
        self.points, self.place = points, place

    def constant(self, node: Constant) -> Scalar:
        return Number(node.value)

    def linear_combination(self, node: LinearCombination) -> Scalar:
        if is_zero(node):
            return Number(sympy.S.Zero)
        common = _common_weight(node)
        terms = [(weight / common, self.points.value(x, self.place)) for weight, x in node.terms]
        total = Sum(
            tuple(
                (sympy.S.One, weighted(w, x)) if isinstance(x, Number) else (w, x) for w, x in terms
            )
        )
        return weighted(common, total)

    def elementwise(self, node: Elementwise) -> Scalar:
        arguments = (self.points.value(z, self.place) for z in node.arguments)
        return Apply(node.operation, tuple(arguments))

    def contraction(self, node: Contraction) -> Scalar:
        return self.points.product(node, self.points.moved(node, self.place))

    def argmax(self, node: Argmax) -> Scalar:
        return Position(self.points.chosen(node, self.place, node.space.bound))  # type: ignore[attr-defined]

    def _stored(self, node: Node) -> Scalar:
        raise TypeError(f"{type(node).__name__} has no entries of its own: it lies in memory")

    variable = projection = running_sum = _stored
    tuple_ = held = potential = jet = _stored  # parted, plain or unknown before they are lowered


class Nest:
    """A loop nest over a shape that makes entries of several buffers."""

    def __init__(
        self, memory: Memory, names: Mapping[Node, str], indices: LoopNames, shape: Subscript
    ) -> None:
        self.indices, self.shape = indices, shape
        self.place = tuple(indices.fresh(shape))
        self.points = Points(memory, names, indices)
        # what is named so far, by the results that ask for it; empty for no guard
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

        A union of all the guards of the nest needs no guard of its own.
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


def _common_weight(node: LinearCombination) -> sympy.Expr:
    """The weight of all terms up to sign: a difference is taken first, so that equals leave 0."""
    first, *rest = (weight for weight, _ in node.terms)
    same = rest and all(weight in (first, -first) for weight in rest)
    return -first if same and first.could_extract_minus_sign() else first if same else sympy.S.One


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


def placed(access: Access, values: Mapping[sympy.Symbol, sympy.Expr]) -> Subscript:
    """An access where the indices have these values."""
    return tuple(entry.xreplace(values) for entry in access)


def weighted(weight: sympy.Expr, value: Scalar) -> Scalar:
    """A number times a scalar."""
    if isinstance(value, Number):
        return Number(weight * value.value)
    return value if weight == 1 else Sum(((weight, value),))


def _summed_up(name: str, value: Scalar) -> list[Statement]:
    """A named scalar, the terms of a long sum added to it one part after the other."""
    if not isinstance(value, Sum) or len(value.terms) <= WIDE:
        return [Let(name, value)]
    parts = [Sum(value.terms[k : k + WIDE]) for k in range(0, len(value.terms), WIDE)]
    return [Let(name, parts[0]), *(Accumulate(name, part) for part in parts[1:])]
