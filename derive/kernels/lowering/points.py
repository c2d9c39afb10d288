"""Expressions at one point of a loop nest: the scalars that make an entry, each computed once."""

from __future__ import annotations

from collections.abc import Container, Mapping, MutableMapping
from typing import TypeAlias

import sympy

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
from ...language.patterns import is_rearranged
from ...language.reading import Reading
from ...language.text import identifier_of
from ..statements.loops import Accumulate, Largest, Let, Select, Statement
from ..statements.scalars import (
    Apply,
    Buffer,
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
from .loop_names import LoopNames

Memory = Mapping[Node, Buffer]
Known: TypeAlias = "MutableMapping[tuple[Node, Subscript], Scalar]"
Selected: TypeAlias = "MutableMapping[tuple[Node, Subscript], sympy.Symbol]"
NESTED = 8  # operations of one statement within each other: Cython takes twice as long for each
WIDE = 128  # terms of a sum that one statement adds up: a compiler goes down them by recursion


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

        The root of a store needs no name of its own.
        """
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
            return False  # as short as a name would be
        if isinstance(scalar, Sum) and len(scalar.terms) > WIDE:
            return True
        if self.nested[node, place] >= NESTED and not root:
            return True
        named = node in self.names and not root
        # what is only rearranged is a load at another place, which needs no name
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


def _common_weight(node: LinearCombination) -> sympy.Expr:
    """The weight of all terms up to sign: a difference is taken first, so that equals leave 0."""
    first, *rest = (weight for weight, _ in node.terms)
    same = rest and all(weight in (first, -first) for weight in rest)
    return -first if same and first.could_extract_minus_sign() else first if same else sympy.S.One


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
