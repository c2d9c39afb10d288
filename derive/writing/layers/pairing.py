"""The third of the four steps: factors are moved across the inner product, one law per line.

    <u, a (.) W v> = <a (.) u, W v> = <W^T (a (.) u), v>

Each move opens the other slot of one form (`calculus.pull`); this module only decides where a line
ends, and which law is its reason.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass

from ...calculus.calculus import pull
from ...language.expressions import (
    Contraction,
    Jet,
    LinearCombination,
    Node,
    RunningSum,
    Variable,
    linear_combination,
)
from ...language.forms import Access
from ...language.patterns import for_every_pattern, pattern
from ...language.reading import Reading
from ...language.spaces import Real, Space
from ...language.walk import depends_on
from ...vocabulary.linear import dot

Pair = tuple[Node, Node]
"""A cotangent u and an expression e, for <u, e>."""


@dataclass(frozen=True)
class Move:
    """A sum of pairings, and the laws by which it follows from the line before."""

    pairs: tuple[Pair, ...]
    laws: tuple[str, ...]

    @property
    def node(self) -> Node:
        """The sum as an expression."""
        return linear_combination([(1, dot(u, e)) for u, e in self.pairs])


HADAMARD = r"$\odot$ moves across, (2.13)"
DEFINITION = "definition of the adjoint"
LINEARITY = "linearity"
RUNNING = "the adjoint sums from the other end"
SELECTS = "the adjoint of a selection scatters"
PUTS = "the adjoint of scattering selects"
_MATRIX = "the adjoint of a matrix"
_TRACE = r"$\alpha\operatorname{tr}A = \langle\alpha I, A\rangle$"
_OF_TRACE = r"$\langle A, \alpha I\rangle = \alpha\operatorname{tr}A$"
_DIAGONAL_PART = r"$\langle u, \operatorname{diag}A\rangle = \langle\operatorname{Diag}u, A\rangle$"
_DIAGONAL_MATRIX = (
    r"$\langle A, \operatorname{Diag}v\rangle = \langle\operatorname{diag}A, v\rangle$"
)

_OF_FACTOR = {
    "image": (r"$\langle u, Ax\rangle = \langle u\,x^{\mathsf T}, A\rangle$", _MATRIX),
    "transposed_image": (
        r"$\langle u, A^{\mathsf T}x\rangle = \langle x\,u^{\mathsf T}, A\rangle$",
        _MATRIX,
    ),
    "outer": (
        r"$\langle A, u\,x^{\mathsf T}\rangle = \langle Ax, u\rangle$",
        r"$\langle A, u\,x^{\mathsf T}\rangle = \langle A^{\mathsf T}u, x\rangle$",
    ),
}
"""The laws by which the first factor of a pattern is set free, and the second."""

_OF_PATTERN = {
    "hadamard": HADAMARD,
    **dict.fromkeys(("scalars", "inner", "scaled", "same"), LINEARITY),
    "matrices": "the adjoint of a matrix product",
    "total": r"$\alpha\langle\mathbf 1, v\rangle = \langle\alpha\mathbf 1, v\rangle$",
    "constantly": r"$\langle u, \alpha\mathbf 1\rangle = \alpha\langle\mathbf 1, u\rangle$",
    "transposed": "the adjoint of a transposition",
    "slice_": "the adjoint of a projection embeds",
    "embedded": "the adjoint of an embedding projects",
    "of_ones": "the adjoint of a sum broadcasts",
    "outer_of_ones": "the adjoint of a broadcast sums",
    **dict.fromkeys(("largest", "entry"), SELECTS),
    "unit": PUTS,
}
for_every_pattern("the laws of adjoints", {**_OF_FACTOR, **_OF_PATTERN})


def moves(u: Node, e: Node, directions: Set[Variable]) -> Iterator[Move]:
    """<u, e> line by line, until only directions are left on the right.

    Raises calculus.NotLinear if e is not linear in the directions.
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
    """The next line: a sum is split, or the factors of one law are moved across."""
    u, e = pair
    if e in directions:
        yield pair
    elif isinstance(e, LinearCombination):
        for operand, share in pull(e, u, dependent):
            yield from _moved((share, operand), directions, dependent, laws)
    else:
        law = _Law(dependent)(e)
        laws[law] = None
        yield from _while(law, (u, e), directions, dependent)


def _while(law: str, pair: Pair, directions: Set[Variable], dependent: set[Node]) -> Iterator[Pair]:
    """The pair after all factors of that law are moved across."""
    u, e = pair
    if e in directions or isinstance(e, LinearCombination) or _Law(dependent)(e) != law:
        yield pair
        return
    for operand, share in pull(e, u, dependent):
        yield from _while(law, (share, operand), directions, dependent)


class _Law(Reading[str]):
    """The law that moves the factors of a node."""

    def __init__(self, dependent: Set[Node]) -> None:
        self.dependent = dependent

    def jet(self, node: Jet) -> str:
        return DEFINITION

    def running_sum(self, node: RunningSum) -> str:
        return RUNNING

    def _apart(self, node: Node) -> str:
        return "component by component"

    variable = constant = linear_combination = elementwise = _apart
    tuple_ = projection = argmax = held = potential = _apart

    def contraction(self, node: Contraction) -> str:
        slot = next(k for k, x in enumerate(node.filled) if x in self.dependent)
        found = pattern(node)
        if found is None:
            return _of_form(node, slot)
        if found.name in _OF_FACTOR:
            return _OF_FACTOR[found.name][found.arguments.index(node.filled[slot])]
        return _OF_PATTERN[found.name]


def _of_form(node: Contraction, slot: int) -> str:
    """The law for a form that is not a pattern of linear algebra."""
    if len(node.filled) > 1:
        return "the adjoint of a partial map"
    if node.selectors:
        return _of_selection(node)
    return _of_diagonal(node) or _of_axes(node) or DEFINITION


def _of_selection(node: Contraction) -> str:
    """The law for entries read at class indices, or written there."""
    bound = {index for index, _ in node.form.bound}
    reads, puts = (
        any(entry.free_symbols & bound for entry in access)
        for access in (node.access(0), node.output)
    )
    return DEFINITION if reads == puts else SELECTS if reads else PUTS


def _of_diagonal(node: Contraction) -> str | None:
    """The law for the diagonal of a matrix, the diagonal matrix of a vector, or the trace."""
    access, output, space = node.access(0), node.output, node.filled[0].space
    if _is_diagonal(access) and _is_square(space) and output in ((), access[:1]):
        return _TRACE if not output else _DIAGONAL_PART
    if _is_diagonal(output) and _is_square(node.space) and access in ((), output[:1]):
        return _OF_TRACE if not access else _DIAGONAL_MATRIX
    return None


def _is_diagonal(access: Access) -> bool:
    return len(access) == 2 and access[0] == access[1] and access[0].is_Symbol


def _is_square(space: Space) -> bool:
    return isinstance(space, Real) and space.shape == space.shape[:1] * 2


def _of_axes(node: Contraction) -> str | None:
    """The law for a permutation of three or more axes."""
    ends = ((node.slots[0], node.filled[0].space), (node.opened, node.space))
    plain = all(node.form.covers(slot, space.shape) for slot, space in ends)  # type: ignore[attr-defined]
    permuted = plain and set(node.access(0)) == set(node.output)
    return "the adjoint of a permutation of axes" if permuted else None


def collected(arrived: Sequence[Node]) -> Node:
    """The sum of the cotangents that arrived at one variable."""
    return linear_combination([(1, u) for u in arrived])
