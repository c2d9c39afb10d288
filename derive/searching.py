"""What a law looks for below an expression, and when two expressions are one."""

from __future__ import annotations

from collections.abc import Iterator

from .expressions import Elementwise, Node
from .normal_form import normal

DEPTH = 6  # how far below an expression the parts of a law's formula stand at most


def is_same(left: Node, right: Node) -> bool:
    """The two have one normal form."""
    if left is right:
        return True
    new = normal(left, right)
    return new[left] is new[right]


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
