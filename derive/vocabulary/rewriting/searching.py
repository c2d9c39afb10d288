"""What a law looks for below an expression, and when two expressions are one."""

from __future__ import annotations

from collections.abc import Iterator

from ...language.expressions import Elementwise, Node, Variable
from ...language.normal_form import normal
from ...language.walk import rebuild

DEPTH = 6  # how far below an expression the parts of a law's formula stand at most


MANY = 64  # expressions between a law's formula and its argument at most


def is_same(left: Node, right: Node) -> bool:
    """The two have one normal form."""
    if left is right:
        return True
    new = normal(left, right)
    return new[left] is new[right]


def as_formula(node: Node, x: Node, hole: Variable) -> Node | None:
    """The expression with a variable in place of x; None if it has other variables or is long."""
    new: dict[Node, Node] = {x: hole}
    stack, seen = [node], {x}
    while stack:
        inner = stack[-1]
        if inner in new:
            stack.pop()
        elif inner in seen:
            new[stack.pop()] = rebuild(inner, [new[operand] for operand in inner.operands])
        else:
            seen.add(inner)
            stack.extend(operand for operand in inner.operands if operand not in new)
            if isinstance(inner, Variable) or len(seen) > MANY:
                return None
    return new[node]


def outline(node: Node) -> object:
    """The kinds of an expression and its operands: what is cheap to compare."""
    return _kind(node), frozenset(_kind(x) for x in node.operands)


def _kind(node: Node) -> object:
    return (type(node), node.operation.base) if isinstance(node, Elementwise) else type(node)


def within(node: Node, depth: int) -> Iterator[Node]:
    """The expressions below a node, to that depth, the nearest first and each once."""
    seen, level = {node}, [node]
    for _ in range(depth):
        level = list(dict.fromkeys(x for y in level for x in y.operands if x not in seen))
        seen.update(level)
        yield from level
