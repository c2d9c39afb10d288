"""Names for parts of an expression that is too deep, or too long, to be written in one piece.

Tools that read, typeset and compile formulas, comments and scalars of kernels descend by recursion,
and so do people: between two names at most DEPTH operations are nested.
"""

from __future__ import annotations

from collections.abc import Container, Mapping

from .expressions import Constant, Node, Projection, Variable
from .names import Numbered
from .walk import topological

DEPTH = 48  # nested operations
LENGTH = 4096  # operations in all; a shared part counts each time that it is written


def abbreviated(
    roots: tuple[Node, ...],
    names: Mapping[Node, str],
    taken: Container[str] = (),
    deepest: int = DEPTH,
    longest: int = LENGTH,
) -> dict[Node, str]:
    """The names, with t, t_2, .. for parts of the roots: no formula between names is deep or long.

    Operands come before what is made of them.  A new name is never in `taken`, among the names, or
    the name of a variable.

    >>> from derive import R, dims, tanh, variable
    >>> x = variable("x", R(dims("n")))
    >>> for _ in range(100):
    ...     x = tanh(x)
    >>> len(abbreviated((x,), {}))
    2
    """
    order = topological(*roots)
    used = {*names.values(), *(x.name for x in order if isinstance(x, Variable))}
    fresh = Numbered(used, taken)
    found, at_top = dict(names), set(roots) - {x for node in order for x in node.operands}
    depth: dict[Node, int] = {}
    length: dict[Node, int] = {}
    for node in order:
        below = node.operands
        depth[node] = 1 + max((depth[x] for x in below), default=-1)
        length[node] = 1 + sum(length[x] for x in below)
        atom = isinstance(node, (Variable, Constant, Projection))
        too_much = depth[node] >= deepest or length[node] >= longest
        if too_much and not atom and node not in found and node not in at_top:
            found[node] = fresh("t")
        if node in found:
            depth[node], length[node] = 0, 1
    return found
