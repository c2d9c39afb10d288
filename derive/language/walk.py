"""Walking expressions: order, rebuilding on other operands, dependence, equality, jets."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields
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
    RunningSum,
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
    running_sum,
    tuple_of,
    zero,
)
from .reading import Reading
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


class Rebuilt(Reading[Node]):
    """The same node on other operands."""

    __slots__ = ("operands",)

    def __init__(self, operands: Sequence[Node]) -> None:
        self.operands = operands

    def variable(self, node: Variable) -> Node:
        return node

    def constant(self, node: Constant) -> Node:
        return node

    def linear_combination(self, node: LinearCombination) -> Node:
        if not self.operands:
            return node
        return linear_combination(zip((w for w, _ in node.terms), self.operands, strict=True))

    def elementwise(self, node: Elementwise) -> Node:
        return elementwise(node.operation, *self.operands)

    def contraction(self, node: Contraction) -> Node:
        count = len(node.filled)
        filled, selectors = self.operands[:count], self.operands[count:]
        return contraction(node.space, node.form, node.opened, filled, selectors)

    def tuple_(self, node: Tuple) -> Node:
        return tuple_of(self.operands)

    def projection(self, node: Projection) -> Node:
        return projection(self.operands[0], node.position)

    def argmax(self, node: Argmax) -> Node:
        return argmax(node.form, node.space, self.operands[0], node.position)

    def held(self, node: Held) -> Node:
        return held(self.operands[0])

    def potential(self, node: Potential) -> Node:
        value, argument = self.operands
        return potential(value, argument, node.gradient)

    def jet(self, node: Jet) -> Node:
        count, more = len(node.arguments), len(node.directions)
        slots = (number for number, _ in node.directions)
        directions = list(zip(slots, self.operands[count : count + more], strict=True))
        last = self.operands[count + more] if node.cotangent is not None else None
        return jet(node.function, node.space, self.operands[:count], directions, node.opened, last)

    def running_sum(self, node: RunningSum) -> Node:
        return running_sum(self.operands[0], node.reverse)


def rebuild(node: Node, operands: Sequence[Node]) -> Node:
    """The same node on other operands."""
    return Rebuilt(operands)(node)


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
