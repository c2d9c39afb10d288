"""Walking expressions: order, rebuilding on other operands, dependence, equality, jets."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields
from functools import singledispatch
from typing import Any

from .expressions import (
    Argmax,
    Constant,
    Contraction,
    Elementwise,
    Held,
    Jet,
    LinearCombination,
    Node,
    Potential,
    Projection,
    Tuple,
    Variable,
    argmax,
    contraction,
    elementwise,
    held,
    intern,
    is_zero,
    linear_combination,
    parts,
    potential,
    projection,
    tuple_of,
    zero,
)
from .spaces import Product, Space


def topological(*roots: Node) -> list[Node]:
    """Every node that the roots are made of, operands first, in the order of the user's text."""
    done: dict[Node, None] = {}
    stack: list[tuple[Node, bool]] = [(root, False) for root in reversed(roots)]
    while stack:
        node, ready = stack.pop()
        if node in done:
            continue
        if ready:
            done[node] = None
        else:
            stack.append((node, True))
            stack.extend((operand, False) for operand in reversed(node.operands))
    return list(done)


@singledispatch
def rebuild(node: Node, operands: Sequence[Node]) -> Node:
    """The same node on other operands."""
    raise TypeError(f"{type(node).__name__} is not an expression")


@rebuild.register
def _(node: Variable | Constant, operands: Sequence[Node]) -> Node:
    return node


@rebuild.register
def _(node: LinearCombination, operands: Sequence[Node]) -> Node:
    if not operands:
        return node
    return linear_combination(zip((w for w, _ in node.terms), operands, strict=True))


@rebuild.register
def _(node: Elementwise, operands: Sequence[Node]) -> Node:
    return elementwise(node.operation, *operands)


@rebuild.register
def _(node: Contraction, operands: Sequence[Node]) -> Node:
    count = len(node.filled)
    return contraction(node.space, node.form, node.opened, operands[:count], operands[count:])


@rebuild.register
def _(node: Tuple, operands: Sequence[Node]) -> Node:
    return tuple_of(operands)


@rebuild.register
def _(node: Projection, operands: Sequence[Node]) -> Node:
    return projection(operands[0], node.position)


@rebuild.register
def _(node: Argmax, operands: Sequence[Node]) -> Node:
    return argmax(node.form, node.space, operands[0], node.position)


@rebuild.register
def _(node: Held, operands: Sequence[Node]) -> Node:
    return held(operands[0])


@rebuild.register
def _(node: Potential, operands: Sequence[Node]) -> Node:
    value, argument = operands
    return potential(value, argument, node.gradient)


@rebuild.register
def _(node: Jet, operands: Sequence[Node]) -> Node:
    count, more = len(node.arguments), len(node.directions)
    slots = (number for number, _ in node.directions)
    directions = list(zip(slots, operands[count : count + more], strict=True))
    last = operands[count + more] if node.cotangent is not None else None
    return jet(node.function, node.space, operands[:count], directions, node.opened, last)


def rewrite(roots: Sequence[Node], leaf: Callable[[Node], Node | None]) -> dict[Node, Node]:
    """Every node of the roots, substituting `leaf(node)` unless it is None, keyed by the old node.

    Nodes that occur only below substituted ones are left out.
    """
    new: dict[Node, Node] = {}
    stack = list(reversed(roots))
    while stack:
        node = stack.pop()
        if node in new:
            continue
        replaced = leaf(node)
        missing = [] if replaced is not None else [x for x in node.operands if x not in new]
        if missing:
            stack.append(node)
            stack.extend(reversed(missing))
        else:
            operands = [new[x] for x in node.operands] if replaced is None else []
            new[node] = replaced if replaced is not None else rebuild(node, operands)
    return new


def depends_on(roots: Sequence[Node], variables: Iterable[Node]) -> set[Node]:
    """The nodes of the roots that depend on one of the variables (for membership only)."""
    dependent = set(variables)
    for node in topological(*roots):
        if any(operand in dependent for operand in node.operands):
            dependent.add(node)
    return dependent


def storage(node: Node) -> tuple[Node, ...]:
    """The array expressions that an element of a direct product is stored as, in order."""
    if isinstance(node.space, Product):
        return tuple(leaf for part in parts(node) for leaf in storage(part))
    return (node,)


def jet(
    function: str,
    space: Space,
    arguments: Sequence[Node],
    directions: Sequence[tuple[int, Node]] = (),
    opened: int | None = None,
    cotangent: Node | None = None,
) -> Node:
    """A derivative of an uninterpreted f: symmetric in its directions, zero where one is zero."""
    given = [direction for _, direction in directions]
    if any(is_zero(node) for node in (*given, *([] if cotangent is None else [cotangent]))):
        return zero(space)
    ordered = tuple(sorted(directions, key=lambda pair: (pair[0], rank(pair[1]))))
    return intern(Jet(space, function, tuple(arguments), ordered, opened, cotangent))


def rank(node: Node) -> tuple[str, ...]:
    """The expression as text, node by node: an order that does not depend on memory or history."""
    order = topological(node)
    number = {inner: k for k, inner in enumerate(order)}
    return tuple(f"{_own(inner)} of {[number[x] for x in inner.operands]}" for inner in order)


def _own(node: Node) -> str:
    """What a node is apart from its operands."""
    data = [_without_nodes(getattr(node, field.name)) for field in fields(node)]
    return f"{type(node).__name__}{data}"


def _without_nodes(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_without_nodes(part) for part in value]
    return "." if isinstance(value, Node) else str(value)
