"""What backward reads of the forward pass, and forward keeps for it."""

from __future__ import annotations

from ..language.expressions import (
    Argmax,
    Constant,
    Contraction,
    Node,
    Projection,
    Variable,
    is_zero,
    together,
)
from ..language.walk import depends_on, storage, topological


def saved_border(adjoints: list[Node], y_bar: Variable, places: bool = True) -> tuple[Node, ...]:
    """What backward reads of the forward pass: values at the border of what depends on y_bar.

    With `places` the place of a largest entry is kept, rather than the array that was searched.
    """
    dependent = depends_on(adjoints, [y_bar])
    border: dict[Node, None] = {}
    for node in topological(*adjoints):
        if node in dependent:
            for operand in node.operands:
                if operand not in dependent:
                    border.update(dict.fromkeys(stored_parts(operand, places)))
    return tuple(border)


def stored_parts(node: Node, places: bool = True) -> list[Node]:
    """An expression itself, or what it only rearranges; nothing for arguments and constants."""
    if isinstance(node, Argmax):
        return list(together(node)) if places else stored_parts(node.operand, places)
    if isinstance(node, (Variable, Constant, Projection)) or is_zero(node):
        return []
    if isinstance(node, Contraction) and node.is_pointwise and len(node.filled) == 1:
        return [part for operand in node.operands for part in stored_parts(operand, places)]
    if isinstance(node, Contraction) and node.is_pointwise and not _computed(node):
        return []
    return list(storage(node))


def _computed(node: Node) -> bool:
    """Something other than arguments and constants is in the expression's operands."""
    return any(not isinstance(x, (Variable, Constant, Projection)) for x in node.operands)
