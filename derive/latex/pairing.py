"""The third of the four steps: factors are moved across the inner product, one law a line.

    <u, a (.) W v> = <a (.) u, W v> = <W^T (a (.) u), v>

Each move opens the other slot of one form (`calculus.pull`); what is written here is only where a
line ends and which law it follows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from functools import singledispatch

from ..calculus import pull
from ..expressions import Contraction, Jet, LinearCombination, Node, Variable, linear_combination
from ..forms import Access
from ..functions import dot
from ..walk import depends_on

Pair = tuple[Node, Node]
"""A cotangent u and an expression e, for <u, e>."""


@dataclass(frozen=True)
class Move:
    """A sum of pairings, and the laws by which it follows from the line before."""

    pairs: tuple[Pair, ...]
    laws: tuple[str, ...]

    @property
    def node(self) -> Node:
        """The number."""
        return linear_combination([(1, dot(u, e)) for u, e in self.pairs])


HADAMARD = r"$\odot$ moves across, (2.13)"


def moves(u: Node, e: Node, directions: Set[Variable]) -> Iterator[Move]:
    """<u, e> line by line, until only directions stand on the right.

    e is linear in the directions; raises calculus.NotLinear where it is not.
    """
    pairs: tuple[Pair, ...] = ((u, e),)
    dependent = depends_on([e], directions)
    while any(right not in directions for _, right in pairs):
        laws: dict[str, None] = {}
        moved = [pair for pair in pairs for pair in _moved(pair, directions, dependent, laws)]
        pairs = tuple(moved)
        yield Move(pairs, tuple(laws))


def _moved(
    pair: Pair, directions: Set[Variable], dependent: set[Node], laws: dict[str, None]
) -> Iterator[Pair]:
    """One law's factors moved across; a sum is parted first."""
    u, e = pair
    if e in directions:
        yield pair
    elif isinstance(e, LinearCombination):
        for operand, share in pull(e, u, dependent):
            yield from _moved((share, operand), directions, dependent, laws)
    else:
        law = _law(e, dependent)
        laws[law] = None
        yield from _while(law, (u, e), directions, dependent)


def _while(law: str, pair: Pair, directions: Set[Variable], dependent: set[Node]) -> Iterator[Pair]:
    """The factors of one law, all of them."""
    u, e = pair
    if e in directions or isinstance(e, LinearCombination) or _law(e, dependent) != law:
        yield pair
        return
    for operand, share in pull(e, u, dependent):
        yield from _while(law, (share, operand), directions, dependent)


@singledispatch
def _law(node: Node, dependent: Set[Node]) -> str:
    return "the components apart"


@_law.register
def _(node: Jet, dependent: Set[Node]) -> str:
    return "the adjoint's definition"


@_law.register
def _(node: Contraction, dependent: Set[Node]) -> str:
    accesses = [node.access(k) for k in range(len(node.filled))]
    if node.selectors:
        return "the adjoint of a selection puts back"
    if all(access == node.output for access in accesses):
        return HADAMARD if node.output else "linearity"
    return _of_slot(node, next(k for k, x in enumerate(node.filled) if x in dependent))


def _of_slot(node: Contraction, slot: int) -> str:
    """The law by which the operand in that slot is set free."""
    access, output = node.access(slot), node.output
    others = [node.access(k) for k in range(len(node.filled)) if k != slot]
    if access == output or (others and not (access and output)):
        return "linearity"
    if not others:
        return _rearranged(access, output)
    if set(access) == set(output) | {i for o in others for i in o}:
        return r"$\langle u, Ax\rangle = \langle u\,x^{T}, A\rangle$"
    if len(others) == 1 and set(others[0]) == set(output) ^ set(access):
        return "the adjoint of a matrix"
    return "the adjoint of a partial map"


def _rearranged(access: Access, output: Access) -> str:
    """The law for an operand alone."""
    if not output:
        return r"$\alpha\langle\mathbf 1, v\rangle = \langle\alpha\mathbf 1, v\rangle$"
    if not access:
        return r"$\langle u, \alpha\mathbf 1\rangle = \alpha\langle\mathbf 1, u\rangle$"
    if set(access) == set(output):
        return "the adjoint of a transposition"
    if set(access) < set(output):
        return "the adjoint of a repetition sums"
    if set(output) < set(access):
        return "the adjoint of a sum repeats"
    return "the adjoint of a projection embeds"


def collected(arrived: Sequence[Node]) -> Node:
    """The sum of what arrived at one variable."""
    return linear_combination([(1, u) for u in arrived])
