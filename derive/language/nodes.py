"""The nodes of expressions."""

from __future__ import annotations

import atexit
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from functools import cache, cached_property
from operator import attrgetter
from typing import Any, ClassVar, TypeVar, cast
from weakref import WeakValueDictionary

import sympy

from .forms import Access, Form
from .hooks import Shown
from .refusals import Refusals
from .scalars.operations import Operation
from .spaces import Product, Real, Space, SpaceError

_interned: WeakValueDictionary[tuple[Any, ...], Node] = WeakValueDictionary()
atexit.register(_interned.clear)  # later SymPy can no longer hash the keys
N = TypeVar("N", bound="Node")


class Operators:
    """What operators between expressions do: `arithmetic`, which builds on the nodes, fills it."""

    sum: Callable[[object, object], Node]
    difference: Callable[[object, object], Node]
    product: Callable[[Node, object], Node]
    quotient: Callable[[object, object], Node]
    power: Callable[[Node, object], Node]
    image: Callable[[Node, Node | tuple[Node, ...]], Node]
    part: Callable[[Node, object], Node]
    parts: Callable[[Node], tuple[Node, ...]]
    count: Callable[[Node], int]


operators = Operators()


@dataclass(frozen=True, eq=False, repr=False)
class Node(Refusals, Shown):
    """An expression with its space.  Arithmetic is that of the space; nothing broadcasts."""

    space: Space
    shown_by: ClassVar[tuple[str, ...]] = ()  # what is no part of its value, but of what is written

    @property
    def operands(self) -> tuple[Node, ...]:
        """The expressions that this one is made of, in order."""
        return ()

    def __add__(self, other: object) -> Node:
        return operators.sum(self, other)

    def __radd__(self, other: object) -> Node:
        return operators.sum(other, self)

    def __sub__(self, other: object) -> Node:
        return operators.difference(self, other)

    def __rsub__(self, other: object) -> Node:
        return operators.difference(other, self)

    def __pos__(self) -> Node:
        return self

    def __neg__(self) -> Node:
        return operators.product(self, -1)

    def __mul__(self, other: object) -> Node:
        return operators.product(self, other)

    def __rmul__(self, other: object) -> Node:
        return operators.product(self, other)

    def __truediv__(self, other: object) -> Node:
        return operators.quotient(self, other)

    def __rtruediv__(self, other: object) -> Node:
        return operators.quotient(other, self)

    def __pow__(self, exponent: object) -> Node:
        return operators.power(self, exponent)

    def __matmul__(self, other: Node | tuple[Node, ...]) -> Node:
        return operators.image(self, other)

    def __iter__(self) -> Iterator[Node]:
        return iter(operators.parts(self))

    def __len__(self) -> int:
        return operators.count(self)

    def __contains__(self, node: object) -> bool:
        return any(part is node for part in operators.parts(self))

    def __getitem__(self, key: object) -> Node:
        return operators.part(self, key)


def intern(node: N) -> N:
    """The one object that stands for all nodes equal to this one and written by the same names."""
    kind: Any = type(node)  # mypy does not see that a type is hashable
    return cast(N, _interned.setdefault((kind, *_fields_of(kind)(node)), node))


@cache
def _fields_of(kind: type[Node]) -> Callable[[Node], tuple[Any, ...]]:
    """What takes the fields of a node of this type: two at least, its space among them."""
    return attrgetter(*(field.name for field in fields(kind)), *kind.shown_by)


@dataclass(frozen=True, eq=False, repr=False)
class Variable(Node):
    """A variable: a state, a parameter, a given array or a direction, by name and space."""

    name: str


@dataclass(frozen=True, eq=False, repr=False)
class Constant(Node):
    """The number `value` in every entry: value times the all-ones vector."""

    value: sympy.Expr


@dataclass(frozen=True, eq=False, repr=False)
class LinearCombination(Node):
    """The sum of coefficient times term; zero where there is no term."""

    terms: tuple[tuple[sympy.Expr, Node], ...]

    @property
    def operands(self) -> tuple[Node, ...]:
        return tuple(term for _, term in self.terms)


@dataclass(frozen=True, eq=False, repr=False)
class Elementwise(Node):
    """Psi(z_1, ..): an elementwise operation applied entry by entry (thesis (2.9))."""

    operation: Operation
    arguments: tuple[Node, ...]

    @property
    def operands(self) -> tuple[Node, ...]:
        return self.arguments


@dataclass(frozen=True, eq=False, repr=False)
class Contraction(Node):
    """A form with one slot open, the others filled by `filled` in order.

    `selectors` are the integer expressions that the form's bound indices are read from.
    """

    shown_by = ("form.name",)
    form: Form
    opened: int
    filled: tuple[Node, ...]
    selectors: tuple[Node, ...]

    @property
    def operands(self) -> tuple[Node, ...]:
        return (*self.filled, *self.selectors)

    @cached_property
    def slots(self) -> tuple[int, ...]:
        """The slot of each filled operand."""
        return tuple(slot for slot in range(len(self.form.slots)) if slot != self.opened)

    def access(self, position: int) -> Access:
        """The access of the operand in that position."""
        return self.form.slots[self.slots[position]]

    @property
    def output(self) -> Access:
        """The access of the open slot."""
        return self.form.slots[self.opened]

    @cached_property
    def summed(self) -> tuple[sympy.Symbol, ...]:
        """The indices that are summed over."""
        return self.form.summed(self.opened)

    @cached_property
    def is_pointwise(self) -> bool:
        """Each entry of the result is one product of entries."""
        return self.form.is_pointwise(self.opened, array_space(self, "a contraction").shape)

    @cached_property
    def is_entrywise(self) -> bool:
        """A product entry by entry: each operand, of the result's shape, is read where it is."""
        shape = array_space(self, "a contraction").shape
        return (
            self.is_pointwise
            and not self.selectors
            and all(self.access(k) == self.output for k in range(len(self.filled)))
            and all(array_space(x, "a product").shape == shape for x in self.filled)
        )


@dataclass(frozen=True, eq=False, repr=False)
class Tuple(Node):
    """An element of a direct product."""

    components: tuple[Node, ...]

    @property
    def operands(self) -> tuple[Node, ...]:
        return self.components


@dataclass(frozen=True, eq=False, repr=False)
class Projection(Node):
    """A component of an element of a direct product."""

    operand: Node
    position: int

    @property
    def operands(self) -> tuple[Node, ...]:
        return (self.operand,)


@dataclass(frozen=True, eq=False, repr=False)
class Argmax(Node):
    """For each entry of the result, the value of a summed index where the operand is largest.

    The form has two slots: the operand's access and the result's, which is open.  Over all summed
    indices together, the last one running fastest, the first place wins a tie; a NaN wins over
    every number.  `position` says which of these indices the value belongs to: (k*, l*) is two
    nodes.
    """

    shown_by = ("form.name",)
    form: Form
    operand: Node
    position: int = 0

    @property
    def operands(self) -> tuple[Node, ...]:
        return (self.operand,)

    @property
    def summed(self) -> tuple[sympy.Symbol, ...]:
        """The indices that run over the window."""
        return self.form.summed(1)


def array_space(node: Node, what: str) -> Real:
    """The node's space, which must be an array space."""
    if not isinstance(node, Node) or not isinstance(node.space, Real):
        found = node.space if isinstance(node, Node) else repr(node)
        raise SpaceError(f"{what}: expected an expression of an array space, got {found}")
    return node.space


def array_or_product(node: Node, what: str) -> Space:
    """The node's space, which must be a vector space: an array space or a direct product."""
    if isinstance(node, Node) and isinstance(node.space, Product):
        return node.space
    return array_space(node, what)
