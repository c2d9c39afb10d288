"""How deep an expression is nested, and how deep exact proofs go."""

from __future__ import annotations

from ...language.expressions import Elementwise, LinearCombination, Node
from ...language.walk import topological

NESTED = 64  # nested operations: SymPy recurses through them, and the fields grow


def nested(node: Node) -> int:
    """The depth to which products and functions of an expression are nested; sums do not count.

    >>> from derive import R, dims, tanh, variable
    >>> x = variable("x", R(dims("n")))
    >>> nested(tanh(tanh(x) + x * x))
    2
    """
    depth: dict[Node, int] = {}
    for inner in topological(node):
        counts = isinstance(inner, Elementwise) or len(inner.operands) > 1
        own = counts and not isinstance(inner, LinearCombination)
        depth[inner] = own + max((depth[x] for x in inner.operands), default=0)
    return depth[node]
