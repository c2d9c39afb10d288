"""How deep an expression is nested, and how deep exact proofs go."""

from __future__ import annotations

from ...language.expressions import Elementwise, LinearCombination, Node
from ...language.reading import Reading
from ...language.walk import topological

NESTED = 64  # nested operations: SymPy recurses through them, and the fields grow


def nested(node: Node) -> int:
    """The depth to which products and functions of an expression are nested; sums do not count.

    >>> from derive import R, dims, tanh, variable
    >>> x = variable("x", R(dims("n")))
    >>> nested(tanh(tanh(x) + x * x))
    2
    """
    depth, counts = dict[Node, int](), _Counts()
    for inner in topological(node):
        depth[inner] = counts(inner) + max((depth[x] for x in inner.operands), default=0)
    return depth[node]


class _Counts(Reading[bool]):
    """Whether a node adds a level: what SymPy nests, rather than adds up or passes through."""

    def elementwise(self, node: Elementwise) -> bool:
        return True

    def linear_combination(self, node: LinearCombination) -> bool:
        return False

    def _of_several(self, node: Node) -> bool:
        return len(node.operands) > 1

    variable = constant = contraction = running_sum = argmax = _of_several
    tuple_ = projection = held = potential = jet = _of_several
