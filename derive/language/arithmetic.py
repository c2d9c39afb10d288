"""What +, *, /, ** and @ between expressions mean, and x[..]: the operators of the nodes."""

from __future__ import annotations

from collections.abc import Sequence

import sympy

from .coefficients import coefficient
from .constructors import (
    aligned,
    axes,
    axis,
    constant,
    contraction,
    elementwise,
    linear_combination,
    projection,
    tuple_of,
)
from .nodes import Elementwise, Node, array_space, operators
from .positions import Position, chosen, first_extent, numbered
from .scalars import shipped
from .sizes import Size
from .spaces import Gram, Indices, Product, Real, Space, SpaceError, codomain_of


def _sum(left: object, right: object) -> Node:
    a, b = _both(left, right, "+")
    return linear_combination([(1, a), (1, b)])


def _difference(left: object, right: object) -> Node:
    a, b = _both(left, right, "-")
    return linear_combination([(1, a), (-1, b)])


def _both(left: object, right: object, symbol: str) -> tuple[Node, Node]:
    """Two sides of which one is an expression, the other one of its space or a number."""
    if isinstance(left, Node):
        return left, like(right, left, symbol)
    assert isinstance(right, Node)
    return like(left, right, symbol), right


def _product(node: Node, other: object) -> Node:
    return hadamard(node, other) if isinstance(other, Node) else _multiple(coefficient(other), node)


def _quotient(left: object, right: object) -> Node:
    if not isinstance(left, Node):
        assert isinstance(right, Node)
        return linear_combination([(coefficient(left), elementwise(shipped.reciprocal, right))])
    if isinstance(right, Node):
        return quotient(left, right)
    number = coefficient(right)
    if number == 0:
        raise SpaceError(f"{left.space} / 0: division by zero")
    return _multiple(1 / number, left)


def _power(node: Node, exponent: object) -> Node:
    if isinstance(exponent, Node):
        raise SpaceError(
            f"{node.space} ** {exponent.space}: an exponent is a number; for one in each entry "
            "declare power = elementwise_function('power', lambda a, b: a**b) and write "
            "power(x, y)"
        )
    return _no_inverse_meant(node, coefficient(exponent))


def _multiple(number: sympy.Expr | int, node: Node) -> Node:
    _check_arithmetic(node)
    return linear_combination([(number, node)])


def _check_arithmetic(node: Node) -> None:
    if isinstance(node.space, Indices):
        raise SpaceError(f"{node.space} has no arithmetic; class indices only select entries")


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


def parts(node: Node) -> tuple[Node, ...]:
    """The components of a tuple, or the slices of an array along a first axis of known size."""
    take = projection if isinstance(node.space, Product) else slice_of
    return tuple(take(node, k) for k in range(count_of_parts(node)))


def count_of_parts(node: Node) -> int:
    """The number of parts of an element of a direct product, or of an array along its first axis.

    Raises SpaceError where it can't be taken apart.
    """
    if isinstance(node.space, Product):
        return len(node.space.factors)
    return first_extent(array_space(node, "the parts of it"))


def part_at(node: Node, key: object) -> Node:
    """x[0], x[1:3]: the part of an element at a number, or at the numbers of a slice.

    Numbers count from 0, negative ones from the end.  In an array they are along its first axis, or
    along several, x[0, 1:3], whose extents must be numbers.
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
    """What to write instead of a map that does not fit its argument."""
    if isinstance(operator.space, Real) and not operator.space.shape:
        return (
            "a number is not a map: write scale(s, x); A @ B of two arrays of one space is the "
            "number <A, B>, and one map after the other is A @ (B @ x)"
        )
    if codomain_of(x.space, operator.space) is not None:
        return "a map stands on the left: A @ x"
    return f"declare a map on {x.space} as Hom({x.space}, codomain)"


def _is_power(node: Elementwise) -> bool:
    """Whether the node is each entry to the power of a whole number."""
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
    """Whether the space may be Hom(X, X) for a space X of one axis or more."""
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
    """x**p as a user writes it; refused in Hom(X, X) for p < 0, where an inverse may be meant."""
    if exponent.is_negative and is_square(node.space):
        raise SpaceError(
            f"an element of {node.space} to the power {exponent}: a power is entry by entry, not "
            "an inverse; write 1 / A for the reciprocals of the entries, and give the inverse of a "
            "map as an argument"
        )
    return power(node, exponent)


operators.sum, operators.difference = _sum, _difference
operators.product, operators.quotient, operators.power = _product, _quotient, _power
operators.image, operators.part = apply_linear, part_at
operators.parts, operators.count = parts, count_of_parts
