"""A formula rewritten before it is derived.

What a user writes and what is computed are one function, but not one computation: the logarithm of
softmax overflows where log_softmax does not, and the derivative of sqrt(<x, x>)**2 divides by zero
where that of <x, x> does not.  The printed formula stays the user's; D, nabla, kernels and the
written derivation start from the rewritten one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .expressions import Node
from .identities import LAWS, Law
from .walk import rebuild, topological

PASSES = 16  # more than the laws that can act on each other's results, one after the other


@dataclass(frozen=True)
class Rewrite:
    """A law that was applied: the expression it was applied to, and what took its place."""

    law: Law
    before: Node
    after: Node


def rewritten(root: Node) -> tuple[dict[Node, Node], tuple[Rewrite, ...]]:
    """Every part of an expression with what it has become, and the laws that did it, in order."""
    new, applied = {node: node for node in topological(root)}, list[Rewrite]()
    for _ in range(PASSES):
        passed, found = _pass(new[root])
        if not found:
            break
        new = {node: passed.get(before, before) for node, before in new.items()}
        applied += found
    return new, tuple(applied)


def _pass(root: Node) -> tuple[dict[Node, Node], list[Rewrite]]:
    """Every part on what its operands have become, the first law that holds applied to it."""
    new: dict[Node, Node] = {}
    applied: list[Rewrite] = []
    for node in topological(root):
        operands = tuple(new[operand] for operand in node.operands)
        built = node if operands == node.operands else rebuild(node, operands)
        found = next(_steps(built), None)
        applied += [found] if found else []
        new[node] = found.after if found else built
    return new, applied


def _steps(node: Node) -> Iterator[Rewrite]:
    """What each law makes of an expression."""
    for law in LAWS:
        after = law.applied(node)
        if after is not None and after is not node:
            yield Rewrite(law, node, after)
