"""The expressions a layer is made of: nine nodes and one uninterpreted one.

variable, constant, linear combination, elementwise map, contraction, tuple, projection, argmax and
held (a value without derivative, or with the gradient that a potential has); a jet is a derivative
of an uninterpreted function.  Nodes are
interned: equal expressions are the same object, so sharing, names and equality are those of
objects.
"""

from __future__ import annotations

import atexit
import numbers
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from functools import cache, cached_property
from math import isfinite
from operator import attrgetter
from typing import Any, TypeVar, cast
from weakref import WeakValueDictionary

import sympy

from .accesses import stays_inside
from .forms import Access, Form, make_form
from .hooks import Shown
from .mistakes import called
from .positions import Position, chosen, first_extent, numbered
from .refusals import Refusals
from .scalars import shipped
from .scalars.constants import folded
from .scalars.operations import Operation
from .scalars.scalars import digits_of, is_beyond_floats
from .spaces import Gram, Indices, Product, Real, Size, Space, SpaceError, codomain_of

_interned: WeakValueDictionary[tuple[Any, ...], Node] = WeakValueDictionary()
atexit.register(_interned.clear)  # later on SymPy can't hash the keys any more
N = TypeVar("N", bound="Node")


@dataclass(frozen=True, eq=False, repr=False)
class Node(Refusals, Shown):
    """An expression with its space.  Arithmetic is that of the space; nothing broadcasts."""

    space: Space

    @property
    def operands(self) -> tuple[Node, ...]:
        """The expressions that this one is made of, in order."""
        return ()

    def __add__(self, other: object) -> Node:
        return linear_combination([(1, self), (1, like(other, self, "+"))])

    def __radd__(self, other: object) -> Node:
        return linear_combination([(1, like(other, self, "+")), (1, self)])

    def __sub__(self, other: object) -> Node:
        return linear_combination([(1, self), (-1, like(other, self, "-"))])

    def __rsub__(self, other: object) -> Node:
        return linear_combination([(1, like(other, self, "-")), (-1, self)])

    def __pos__(self) -> Node:
        return self

    def __neg__(self) -> Node:
        return _multiple(-1, self)

    def __mul__(self, other: object) -> Node:
        if isinstance(other, Node):
            return hadamard(self, other)
        return _multiple(coefficient(other), self)

    def __rmul__(self, other: object) -> Node:
        return self * other

    def __truediv__(self, other: object) -> Node:
        if isinstance(other, Node):
            return quotient(self, other)
        number = coefficient(other)
        if number == 0:
            raise SpaceError(f"{self.space} / 0: division by zero")
        return _multiple(1 / number, self)

    def __rtruediv__(self, other: object) -> Node:
        return linear_combination([(coefficient(other), elementwise(shipped.reciprocal, self))])

    def __pow__(self, exponent: object) -> Node:
        if isinstance(exponent, Node):
            raise SpaceError(
                f"{self.space} ** {exponent.space}: an exponent is a number; for one in each entry "
                "declare power = elementwise_function('power', lambda a, b: a**b) and write "
                "power(x, y)"
            )
        return _no_inverse_meant(self, coefficient(exponent))

    def __matmul__(self, other: Node | tuple[Node, ...]) -> Node:
        return apply_linear(self, other)

    def __iter__(self) -> Iterator[Node]:
        return iter(parts(self))

    def __len__(self) -> int:
        return count_of_parts(self)

    def __contains__(self, node: object) -> bool:
        return any(part is node for part in parts(self))

    def __getitem__(self, key: object) -> Node:
        return part_at(self, key)


def intern(node: N) -> N:
    """The one object that stands for all nodes equal to this one."""
    kind: Any = type(node)  # mypy does not see that a type is hashable
    return cast(N, _interned.setdefault((kind, *_fields_of(kind)(node)), node))


@cache
def _fields_of(kind: type[Node]) -> Callable[[Node], tuple[Any, ...]]:
    """What takes the fields of a node of this type: two at least, its space among them."""
    return attrgetter(*(field.name for field in fields(kind)))


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
    every number.  `position` says which of these indices' values this is: (k*, l*) is two nodes.
    """

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

    @property
    def together(self) -> tuple[Argmax, ...]:
        """The argmax of every index of this window, this one among them."""
        spaces = (Indices(self.form.extent(index), self.space.shape) for index in self.summed)  # type: ignore[attr-defined]
        return tuple(argmax(self.form, s, self.operand, k) for k, s in enumerate(spaces))


@dataclass(frozen=True, eq=False, repr=False)
class Held(Node):
    """The value of an expression, without derivative."""

    operand: Node

    @property
    def operands(self) -> tuple[Node, ...]:
        return (self.operand,)


@dataclass(frozen=True)
class Gradient:
    """What the gradient of a potential is, from its argument x and its own value s: of(x, s)."""

    name: str
    of: Callable[[Node, Node], Node]

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, eq=False, repr=False)
class Potential(Held):
    """s(x), a number for each row of x, whose gradient is known in terms of s itself.

    D s . v = <gradient(x, s), v> over the last axis, as log-sum-exp has the gradient Exp(x - s):
    derived through the sums that its value is computed by, it would come out as the difference of
    large terms.  The value is that of `operand`; that the two belong together is proved as for any
    layer.
    """

    argument: Node
    gradient: Gradient

    @property
    def operands(self) -> tuple[Node, ...]:
        return self.operand, self.argument

    def along(self, v: Node) -> Node:
        """<gradient(x, s), v> over the last axis."""
        space = array_space(self.argument, self.gradient.name)
        read = axes(0, space.rank)
        form = aligned(space.shape, [read, read, read[:-1]])
        return contraction(self.space, form, 2, (self.gradient.of(self.argument, self), v))


@dataclass(frozen=True, eq=False, repr=False)
class Jet(Node):
    """The form <D^k f(arguments)(directions), cotangent> of an uninterpreted f, with one slot open.

    `directions` holds (number of the argument, direction).  Without a cotangent the codomain is
    open and this is the k-th derivative; with one, the slot of argument `opened` is.
    """

    function: str
    arguments: tuple[Node, ...]
    directions: tuple[tuple[int, Node], ...]
    opened: int | None
    cotangent: Node | None

    @property
    def operands(self) -> tuple[Node, ...]:
        last = () if self.cotangent is None else (self.cotangent,)
        return (*self.arguments, *(direction for _, direction in self.directions), *last)


# --- constructors: each returns the simplest node for what it says


@called
def variable(name: str, space: Space) -> Variable:
    """The variable of that name and space.

    Raises SpaceError where the name is no word, or the space none.
    """
    if not (isinstance(name, str) and name) or not isinstance(space, Space):
        raise SpaceError(
            f"variable: expected a name and a space, as in variable('x', R(n)), got {name!r}, "
            f"{space!r}"
        )
    return intern(Variable(space, name))


def zero(space: Space) -> Node:
    """The zero of a space."""
    if isinstance(space, Product):
        return tuple_of(tuple(zero(factor) for factor in space.factors))
    return intern(LinearCombination(space, ()))


def is_zero(node: Node) -> bool:
    """The node is the zero of its space, as written."""
    if isinstance(node, Tuple):
        return all(is_zero(component) for component in node.components)
    return isinstance(node, LinearCombination) and not node.terms


def coefficient(value: object) -> sympy.Expr:
    """An exact number: a float is read as the decimal it prints as (0.1 is 1/10).

    Raises SpaceError for anything else than a finite real number or an expression in sizes.
    """
    if not isinstance(value, numbers.Real) and getattr(value, "shape", None) == ():
        value = getattr(value, "item", lambda: value)()  # an array of no axes
    if isinstance(value, bool) or not isinstance(value, (numbers.Real, sympy.Expr)):
        raise SpaceError(
            f"expected a number or an expression of the same space, got {_told(value)}"
        )
    number = _exact(value)
    unreal = number is sympy.nan or number.is_finite is False or number.is_extended_real is False
    if unreal or any(not symbol.is_integer for symbol in number.free_symbols):
        raise SpaceError(f"expected a finite real number or an expression in sizes, got {value!r}")
    _check_in_range(number)
    return number


def _exact(value: numbers.Real | sympy.Expr) -> sympy.Expr:
    if isinstance(value, sympy.Expr):
        is_float = isinstance(value, sympy.Float) and value.is_finite
        return sympy.Rational(str(value)) if is_float else value
    if isinstance(value, numbers.Rational):
        return sympy.Rational(int(value.numerator), int(value.denominator))
    return sympy.Rational(str(value)) if isfinite(value) else sympy.nan


def _check_in_range(number: sympy.Expr) -> None:
    if number.is_Rational and is_beyond_floats(number):
        raise SpaceError(
            f"expected a number below 1.8e308, the largest in floating point, got one of "
            f"{digits_of(number)} digits; scale the formula"
        )


def _told(value: object) -> str:
    """What was given in place of an expression; for an array also what to do with it."""
    if isinstance(value, Node):
        return f"an expression of {value.space}"
    if hasattr(value, "__array__") or isinstance(value, (list, set, dict)):
        return (
            f"{type(value).__name__} {value!r}; an array is data: declare an argument for it, "
            "c: given(R(n)) where each point has its own, c: fixed(R(n)) right of the *"
        )
    return f"{value!r} of type {type(value).__name__}"


def _multiple(number: sympy.Expr | int, node: Node) -> Node:
    _check_arithmetic(node)
    return linear_combination([(number, node)])


def _check_arithmetic(node: Node) -> None:
    if isinstance(node.space, Indices):
        raise SpaceError(f"{node.space} has no arithmetic; class indices are only selected by")


def like(value: object, node: Node, symbol: str) -> Node:
    """`value` as an expression of the node's space: itself, or a number in every entry."""
    _check_arithmetic(node)
    if isinstance(value, tuple):
        value = tuple_of(value)
    if not isinstance(value, Node):
        return constant(coefficient(value), node.space)
    if value.space != node.space:
        raise SpaceError(
            f"{node.space} {symbol} {value.space}: the two sides must be of one space; "
            "nothing broadcasts, use broadcast(x, space) or scale(number, x)"
        )
    return value


def constant(value: sympy.Expr, space: Space) -> Node:
    """The number `value` in every entry."""
    if isinstance(space, Product):
        return tuple_of(tuple(constant(value, factor) for factor in space.factors))
    if not isinstance(space, Real):
        raise SpaceError(f"{value}: {space} has no arithmetic; class indices are only selected by")
    return zero(space) if value == 0 else intern(Constant(space, sympy.sympify(value)))


def linear_combination(terms: Iterable[tuple[Any, Node]]) -> Node:
    """The sum of coefficient times term, like terms added, in the order of first appearance."""
    terms = list(terms)
    space = terms[0][1].space
    if isinstance(space, Product):
        columns = zip(*(parts(term) for _, term in terms), strict=True)
        weights = [weight for weight, _ in terms]
        return tuple_of(
            tuple(linear_combination(zip(weights, column, strict=True)) for column in columns)
        )
    added: dict[object, tuple[sympy.Expr, Node]] = {}
    for weight, term in terms:
        number, inner = scaled_part(term)
        if not is_zero(inner):
            before, first = added.get(modulo_order(inner), (sympy.S.Zero, inner))
            added[modulo_order(inner)] = (before + weight * number, first)
    kept = tuple((weight, term) for weight, term in added.values() if weight != 0)
    for weight, _ in kept:
        _check_in_range(weight)
    if len(kept) == 1 and isinstance(kept[0][1], Constant):
        return constant(kept[0][0], space)
    if len(kept) == 1 and kept[0][0] == 1:
        return kept[0][1]
    return intern(LinearCombination(space, kept))


def modulo_order(node: Node) -> object:
    """A key that two expressions share where they differ only in the order of factors.

    Factors that a form reads at one access commute: a (.) b is b (.) a and <u, v> is <v, u>.
    """
    if not isinstance(node, Contraction):
        return node
    factors = Counter((node.access(k), x) for k, x in enumerate(node.filled))
    return node.form, node.opened, node.selectors, frozenset(factors.items())


def scaled_part(node: Node) -> tuple[sympy.Expr, Node]:
    """The number and the expression that a scaled expression is the product of."""
    if isinstance(node, LinearCombination) and len(node.terms) == 1:
        return node.terms[0]
    if isinstance(node, Constant):
        return node.value, intern(Constant(node.space, sympy.S.One))
    return sympy.S.One, node


def elementwise(psi: Operation, *arguments: Node) -> Node:
    """Psi(z_1, ..), the arguments all of one array space."""
    if len(arguments) != len(psi.arguments):
        raise SpaceError(
            f"{psi.name}: expected {', '.join(map(str, psi.arguments))}, got {len(arguments)} "
            "arguments"
        )
    for argument in arguments:
        if not isinstance(argument, Node):
            raise SpaceError(f"{psi.name}: expected an expression, got {_told(argument)}")
    first = arguments[0].space
    if not isinstance(first, Real):
        raise SpaceError(f"{psi.name}: expected an array space, got {first}; apply it to a part")
    for argument in arguments:
        if argument.space != first:
            raise SpaceError(
                f"{psi.name}: all arguments must be of one space, got {first} and "
                f"{argument.space}; use broadcast(x, space)"
            )
    if psi.stable.is_Symbol:
        return arguments[psi.arguments.index(psi.stable)]
    own = [arguments[k] for k in psi.linear]
    if own and all(map(is_zero, own)):
        return zero(first)
    if psi.keeps_common and len(set(own)) == 1:
        return own[0]
    found = folded(psi, tuple(_number(argument) for argument in arguments))
    if found is None:
        return intern(Elementwise(first, psi, arguments))
    number, place = found
    if place is None:
        return constant(number, first)
    return linear_combination([(number, arguments[place])])


def _number(node: Node) -> sympy.Expr | None:
    """The number that every entry is; None for what is no constant."""
    if isinstance(node, Constant):
        return node.value
    return sympy.S.Zero if is_zero(node) else None


def contraction(
    space: Space, form: Form, opened: int, filled: Sequence[Node], selectors: Sequence[Node] = ()
) -> Node:
    """The form with one slot open: zero where a factor is, numbers taken out in front."""
    if any(is_zero(node) for node in filled):
        return zero(space)
    scaled = [scaled_part(node) for node in filled]
    weight = sympy.Mul(*(number for number, _ in scaled))
    node = _without_ones(space, form, opened, [inner for _, inner in scaled], tuple(selectors))
    return node if weight == 1 else linear_combination([(weight, node)])


def _without_ones(
    space: Space, form: Form, opened: int, filled: list[Node], selectors: tuple[Node, ...]
) -> Node:
    """Slots that read the constant one inside its array are dropped, and so is the identity."""
    slots = [slot for slot in range(len(form.slots)) if slot != opened]
    if len(filled) == 1:
        whole = isinstance(space, Real) and form.covers(opened, space.shape)
        if isinstance(filled[0], Constant) and whole and _stays_inside(form, slots[0], filled[0]):
            count = sympy.Mul(*(form.extent(index) for index in form.summed(opened)))
            return constant(count, space)
        same = form.slots[0] == form.slots[1] and whole
        if same and space == filled[0].space and not form.bound and not form.summed(opened):
            return filled[0]
    for position, (slot, node) in enumerate(zip(slots, filled, strict=True)):
        plain = isinstance(node, Constant) and len(filled) > 1 and form.is_plain(slot)
        if plain and _stays_inside(form, slot, node):
            rest = [access for number, access in enumerate(form.slots) if number != slot]
            smaller = make_form(rest, dict(form.extents), form.bound)
            others = filled[:position] + filled[position + 1 :]
            return contraction(space, smaller, opened - (slot < opened), others, selectors)
    return intern(Contraction(space, form, opened, tuple(filled), selectors))


def _stays_inside(form: Form, slot: int, node: Node) -> bool:
    """The slot is read at no place outside the array; class indices are in their range."""
    pairs = zip(form.slots[slot], array_space(node, "a contraction").shape, strict=True)
    return all(stays_inside(index, axis, dict(form.extents)) for index, axis in pairs)


def tuple_of(components: Iterable[Node]) -> Node:
    """The element of the direct product with these components."""
    components = tuple(tuple_of(x) if isinstance(x, tuple) else x for x in components)
    if not components or not all(isinstance(component, Node) for component in components):
        raise SpaceError(f"a tuple of a direct product holds expressions, got {components!r}")
    space = Product(tuple(component.space for component in components))
    if all(isinstance(part, Projection) for part in components):
        whole = components[0].operands[0]
        if whole.space == space and components == parts(whole):
            return whole
    return intern(Tuple(space, components))


def projection(node: Node, position: int) -> Node:
    """A component of an element of a direct product."""
    if isinstance(node, Tuple):
        return node.components[position]
    assert isinstance(node.space, Product)
    return intern(Projection(node.space.factors[position], node, position))


def parts(node: Node) -> tuple[Node, ...]:
    """The components of a tuple, or the slices of an array along a first axis of known size."""
    take = projection if isinstance(node.space, Product) else slice_of
    return tuple(take(node, k) for k in range(count_of_parts(node)))


def count_of_parts(node: Node) -> int:
    """How many parts an element of a direct product, or of an array along its first axis, has.

    Raises SpaceError where it can't be taken apart.
    """
    if isinstance(node.space, Product):
        return len(node.space.factors)
    return first_extent(array_space(node, "the parts of it"))


def part_at(node: Node, key: object) -> Node:
    """x[0], x[1:3]: the part of an element at a number, or at the numbers of a slice.

    Numbers count from 0, negative ones from the end.  Of an array they are along its first axis, or
    along several, x[0, 1:3]; each of them has a number for its extent.
    """
    if isinstance(node.space, Product):
        at = numbered(len(node.space.factors), key)
        if isinstance(at, int):
            return projection(node, at)
        return tuple_of(projection(node, k) for k in at)
    found = chosen(array_space(node, "an index, [..],"), key)
    if len(found) == 1 and isinstance(found[0], int):
        return slice_of(node, found[0])
    return _parts_at(node, found)


def argmax(form: Form, space: Space, operand: Node, position: int = 0) -> Argmax:
    """The argmax node: integers that bind an index of a form."""
    return intern(Argmax(space, form, operand, position))


def held(node: Node) -> Node:
    """The value of an expression, without derivative."""
    if isinstance(node.space, Product):
        return tuple_of(held(part) for part in parts(node))
    known = isinstance(node, Constant) or type(node) is Held or is_zero(node)
    return node if known else intern(Held(node.space, node))


def potential(value: Node, argument: Node, gradient: Gradient) -> Node:
    """A function of the rows of an array with its value and its gradient; of numbers a number."""
    if isinstance(value, Constant) or is_zero(value):
        return value
    return intern(Potential(value.space, value, argument, gradient))


# --- the bilinear operations that arithmetic stands for


def aligned(shape: Sequence[Size], accesses: Sequence[Access]) -> Form:
    """A form whose indices are `axis(0), ..` with these extents."""
    return make_form(accesses, {axis(k): extent for k, extent in enumerate(shape)})


def axis(number: int) -> sympy.Symbol:
    """The index that `aligned` gives the extent in that place."""
    return sympy.Symbol(f"a{number}", integer=True, nonnegative=True)


def axes(start: int, stop: int) -> Access:
    """The indices axis(start), .., axis(stop - 1)."""
    return tuple(axis(number) for number in range(start, stop))


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


def hadamard(left: Node, right: Node) -> Node:
    """left (.) right, entry by entry (thesis (2.12))."""
    if isinstance(left.space, Product) and left.space == right.space:
        return tuple_of(map(hadamard, parts(left), parts(right)))
    space = array_space(left, "*")
    if left.space != right.space:
        raise SpaceError(
            f"{left.space} * {right.space}: the Hadamard product needs one space on both sides; "
            "use scale(number, x) for a scalar, broadcast(x, space), or @ to apply a linear map"
        )
    access = axes(0, space.rank)
    return contraction(space, aligned(space.shape, [access] * 3), 2, (left, right))


def apply_linear(operator: Node, x: Node | tuple[Node, ...]) -> Node:
    """W @ x, the linear map W applied to x; block by block where a space is a direct product."""
    x = tuple_of(x) if isinstance(x, tuple) else x
    if not isinstance(operator, Node) or not isinstance(x, Node):
        raise SpaceError(f"@: expected a linear map and an expression, got {operator!r} @ {x!r}")
    codomain = codomain_of(operator.space, x.space)
    if codomain is None:
        raise SpaceError(
            f"{operator.space} @ {x.space}: the last axes of the map must be the argument's; "
            f"{_fix_of_map(operator, x)}"
        )
    if isinstance(operator, Elementwise) and _is_power(operator) and is_square(operator.space):
        raise SpaceError(
            f"{operator.space} @ {x.space}: the map is A**p, a power entry by entry; write "
            "A @ (A @ x) to apply the map again, (A * A) @ x for the squares of its entries"
        )
    return _applied(operator, x, codomain)


def _fix_of_map(operator: Node, x: Node) -> str:
    """What was meant by a map that does not fit its argument."""
    if isinstance(operator.space, Real) and not operator.space.shape:
        return (
            "a number is no map: write scale(s, x); A @ B of two arrays of one space is the number "
            "<A, B>, and one map after the other is A @ (B @ x)"
        )
    if codomain_of(x.space, operator.space) is not None:
        return "a map stands on the left: A @ x"
    return f"declare a map on {x.space} as Hom({x.space}, codomain)"


def _is_power(node: Elementwise) -> bool:
    """Each entry to the power of a whole number."""
    base, exponent = node.operation.body.as_base_exp()
    return bool(base in node.operation.arguments and exponent.is_Integer and exponent > 1)


def _applied(operator: Node, x: Node, codomain: Space) -> Node:
    """`apply_linear` for spaces that fit."""
    if isinstance(codomain, Product):
        rows = zip(parts(operator), codomain.factors, strict=True)
        return tuple_of(_applied(row, x, factor) for row, factor in rows)
    if isinstance(x.space, Product):
        blocks = zip(parts(operator), parts(x), strict=True)
        return linear_combination([(1, _applied(block, part, codomain)) for block, part in blocks])
    assert isinstance(codomain, Real)
    shape, split = array_space(operator, "@").shape, codomain.rank
    accesses = [axes(0, len(shape)), axes(split, len(shape)), axes(0, split)]
    return contraction(codomain, aligned(shape, accesses), 2, (operator, x))


def is_square(space: Space) -> bool:
    """The space may be that of the linear maps of a space of one axis or more to itself."""
    shape = space.shape if isinstance(space, Real) else ()
    half = len(shape) // 2
    return bool(shape) and shape[:half] == shape[half:]


def slice_of(node: Node, position: int) -> Node:
    """The part of an array at a number on its first axis."""
    space = array_space(node, "a slice")
    part = Real(space.shape[1:], space.grams[1:])
    read = (sympy.Integer(position), *axes(0, part.rank))
    return contraction(part, aligned(part.shape, [read, axes(0, part.rank)]), 1, (node,))


def _parts_at(node: Node, found: Sequence[Position]) -> Node:
    """The part of an array at these positions along its first axes, one contraction."""
    space, read = array_space(node, "an index, [..],"), list[sympy.Expr]()
    kept: list[tuple[Size, Gram | None]] = []
    every = (*found, *(None for _ in space.shape[len(found) :]))
    for here, extent, gram in zip(every, space.shape, space.grams, strict=True):
        index = axis(len(kept))
        if isinstance(here, int):
            read.append(sympy.Integer(here))
        elif here is None:
            read.append(index)
            kept.append((extent, gram))
        else:
            read.append(here.start + here.step * index)
            kept.append((sympy.Integer(len(here)), None))
    part = Real(tuple(extent for extent, _ in kept), tuple(gram for _, gram in kept))
    return contraction(part, aligned(part.shape, [tuple(read), axes(0, part.rank)]), 1, (node,))


def quotient(left: Node, right: Node) -> Node:
    """left / right, entry by entry."""
    return elementwise(shipped.quotient, left, right)


def power(node: Node, exponent: sympy.Expr) -> Node:
    """x**p, entry by entry, for a rational number p."""
    if not exponent.is_Rational:
        raise SpaceError(f"**: the exponent must be a rational number, got {exponent}")
    return node if exponent == 1 else elementwise(shipped.power(exponent), node)


def _no_inverse_meant(node: Node, exponent: sympy.Expr) -> Node:
    """x**p as a user writes it: of an element of Hom(X, X) with p < 0, an inverse may be meant."""
    if exponent.is_negative and is_square(node.space):
        raise SpaceError(
            f"an element of {node.space} to the power {exponent}: a power is entry by entry, no "
            "inverse; write 1 / A for the reciprocals of the entries, and give the inverse of a "
            "map as an argument"
        )
    return power(node, exponent)
