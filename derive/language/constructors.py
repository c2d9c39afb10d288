"""Each constructor returns the simplest node for what it says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import sympy

from .accesses import stays_inside
from .coefficients import check_in_range, told
from .forms import Access, Form, make_form, with_ones
from .given_derivatives import Gradient, Held, Potential
from .mistakes import called
from .nodes import (
    Argmax,
    Constant,
    Contraction,
    Elementwise,
    LinearCombination,
    Node,
    Projection,
    Tuple,
    Variable,
    array_space,
    intern,
)
from .scalars.constants import folded
from .scalars.operations import Operation
from .sizes import Size
from .spaces import Indices, Product, Real, Space, SpaceError


@called
def variable(name: str, space: Space) -> Variable:
    """The variable of that name and space.

    Raises SpaceError where the name is not a text, or the space is not a space.
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


def constant(value: sympy.Expr, space: Space) -> Node:
    """The number `value` in every entry."""
    if isinstance(space, Product):
        return tuple_of(tuple(constant(value, factor) for factor in space.factors))
    if not isinstance(space, Real):
        raise SpaceError(f"{value}: {space} has no arithmetic; class indices only select entries")
    return zero(space) if value == 0 else intern(Constant(space, sympy.sympify(value)))


def linear_combination(terms: Iterable[tuple[Any, Node]]) -> Node:
    """The sum of coefficient times term, like terms added, in the order of first appearance."""
    terms = list(terms)
    space = terms[0][1].space
    if isinstance(space, Product):
        columns = zip(*(factors(term) for _, term in terms), strict=True)
        weights = [weight for weight, _ in terms]
        return tuple_of(
            tuple(linear_combination(zip(weights, column, strict=True)) for column in columns)
        )
    added: dict[object, tuple[sympy.Expr, Node]] = {}
    for weight, term in terms:
        number, inner = scaled_part(term)
        if not is_zero(inner):
            before, first = added.get(commutative_key(inner), (sympy.S.Zero, inner))
            added[commutative_key(inner)] = (before + weight * number, first)
    kept = tuple((weight, term) for weight, term in added.values() if weight != 0)
    for weight, _ in kept:
        check_in_range(weight)
    if len(kept) == 1 and isinstance(kept[0][1], Constant):
        return constant(kept[0][0], space)
    if len(kept) == 1 and kept[0][0] == 1:
        return kept[0][1]
    return intern(LinearCombination(space, kept))


def commutative_key(node: Node) -> object:
    """A key shared by expressions that differ only in the order of factors.

    Factors that a form reads at the same access commute: a (.) b is b (.) a and <u, v> is <v, u>.
    """
    if not isinstance(node, Contraction):
        return node
    factors = Counter((node.access(k), x) for k, x in enumerate(node.filled))
    return node.form, node.opened, node.selectors, frozenset(factors.items())


def scaled_part(node: Node) -> tuple[sympy.Expr, Node]:
    """A scaled expression as a number and the expression that it multiplies."""
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
            raise SpaceError(f"{psi.name}: expected an expression, got {told(argument)}")
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
    """The number in every entry; None where the node is not constant."""
    if isinstance(node, Constant):
        return node.value
    return sympy.S.Zero if is_zero(node) else None


def contraction(
    space: Space, form: Form, opened: int, filled: Sequence[Node], selectors: Sequence[Node] = ()
) -> Node:
    """The form with one slot open: zero where a factor is zero, numbers moved to the front."""
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
            smaller = with_ones(form, slot)
            others = filled[:position] + filled[position + 1 :]
            return contraction(space, smaller, opened - (slot < opened), others, selectors)
    return intern(Contraction(space, form, opened, tuple(filled), selectors))


def _stays_inside(form: Form, slot: int, node: Node) -> bool:
    """The slot is never read outside the array; class indices are in their range."""
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
        if whole.space == space and components == factors(whole):
            return whole
    return intern(Tuple(space, components))


def projection(node: Node, position: int) -> Node:
    """A component of an element of a direct product."""
    if isinstance(node, Tuple):
        return node.components[position]
    assert isinstance(node.space, Product)
    return intern(Projection(node.space.factors[position], node, position))


def factors(node: Node) -> tuple[Node, ...]:
    """The components of an element of a direct product."""
    assert isinstance(node.space, Product)
    return tuple(projection(node, k) for k in range(len(node.space.factors)))


def argmax(form: Form, space: Space, operand: Node, position: int = 0) -> Argmax:
    """The argmax node: integers that bind an index of a form."""
    return intern(Argmax(space, form, operand, position))


def together(place: Argmax) -> tuple[Argmax, ...]:
    """The argmax of every index of a window, that of `place` among them."""
    form = place.form
    spaces = (Indices(form.extent(index), place.space.shape) for index in place.summed)  # type: ignore[attr-defined]
    return tuple(argmax(form, s, place.operand, k) for k, s in enumerate(spaces))


def held(node: Node) -> Node:
    """The value of an expression, without derivative."""
    if isinstance(node.space, Product):
        return tuple_of(held(part) for part in factors(node))
    known = isinstance(node, Constant) or type(node) is Held or is_zero(node)
    return node if known else intern(Held(node.space, node))


def potential(value: Node, argument: Node, gradient: Gradient) -> Node:
    """A function of the rows of an array with its value and its gradient; a constant stays one."""
    if isinstance(value, Constant) or is_zero(value):
        return value
    return intern(Potential(value.space, value, argument, gradient))


# --- the bilinear operations that arithmetic stands for


def aligned(shape: Sequence[Size], accesses: Sequence[Access]) -> Form:
    """A form whose indices are `axis(0), ..` with these extents."""
    return make_form(accesses, {axis(k): extent for k, extent in enumerate(shape)})


def axis(number: int) -> sympy.Symbol:
    """The index that `aligned` has for the extent in that place."""
    return sympy.Symbol(f"a{number}", integer=True, nonnegative=True)


def axes(start: int, stop: int) -> Access:
    """The indices axis(start), .., axis(stop - 1)."""
    return tuple(axis(number) for number in range(start, stop))


def along(node: Potential, v: Node) -> Node:
    """<gradient(x, s), v> over the last axis: the derivative of a potential s at x."""
    space = array_space(node.argument, node.gradient.name)
    read = axes(0, space.rank)
    form = aligned(space.shape, [read, read, read[:-1]])
    return contraction(node.space, form, 2, (node.gradient.of(node.argument, node), v))
