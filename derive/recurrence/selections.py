"""What a step of a sequence selects by the masks of resets, lengths and missing targets.

The transition of a cell f is masked once, as a formula, so that everything else is derived:

    F(h; x, h_reset, reset, active; theta) = select(active, f(begun; x; theta), h)
    begun = select(reset, h_reset, h)

where a reset begins anew inside a stream and a step beyond a sequence's length is not active.  A
mask selects and does not multiply: a NaN of what is not selected stays where it is.  Samples do not
see one another, so that D F selects between D f and the identity.  Sums over the samples, as in the
gradients of parameters, read no sample that is not selected.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ..calculus.lift import lift, lift_space
from ..language.expressions import Contraction, Held, Node, Variable, variable
from ..language.names import unused
from ..language.roles import MASK, STATE, Argument
from ..language.spaces import R, Space, leaves
from ..language.walk import rebuild, rewrite, storage, topological
from ..models.cells import inputs_of
from ..models.layers import Layer
from ..models.levels import FORWARD, CellInstance, Recurrent
from ..models.programs import BATCH
from ..vocabulary.selecting import gate, only, select


class Names:
    """Names that nothing else in a network has."""

    def __init__(self, taken: Iterable[str]) -> None:
        self._taken = set(taken)

    @classmethod
    def of(cls, network: Recurrent) -> Names:
        """The names beside those of a network's arguments, sizes and targets."""
        return cls(network.words)

    def variable(self, wanted: str, space: Space) -> Variable:
        """A new variable."""
        name = unused(wanted, self._taken)
        self._taken.add(name)
        return variable(name, space)

    def mask(self, wanted: str) -> Variable:
        """A new mask over the samples."""
        return self.variable(wanted, R(BATCH))


@dataclass(frozen=True, eq=False)
class Masks:
    """What is given at each step beside the input, for all cells of a network.

    Where a cell runs backward in time there are no resets: they are for streams.
    """

    reset: Variable | None
    active: Variable


def masks_of(network: Recurrent, names: Names) -> Masks:
    """The masks of a network."""
    streams = all(cell.direction == FORWARD for cell in network.cells)
    reset = names.variable("reset", R()) if streams else None
    return Masks(reset, names.variable("active", R()))


@dataclass(frozen=True, eq=False)
class Masked:
    """The layer F of a cell, the state that f begins from, and f itself, for one sample."""

    layer: Layer
    begun: Node
    inner: Node

    def lifted(self) -> tuple[Node, Node]:
        """What f begins from and f itself, for all samples, without derivatives held."""
        families = [a.variable for a in self.layer.arguments if a.variable not in self.layer.theta]
        (begun, inner), _ = lift([self.begun, self.inner], families, BATCH)
        new = plain_values([begun, inner])
        return new[begun], new[inner]


def masked(cell: CellInstance, initial: Variable, masks: Masks) -> Masked:
    """The layer F of a cell."""
    f, h = cell.function, cell.state
    begun = h if masks.reset is None else select(masks.reset, initial, h)
    read = gate(masks.active, begun)
    new: dict[Node, Node] = {a.variable: _gated(masks.active, a) for a in inputs_of(f)}
    new[h] = read
    moved = rewrite([f.output], new.get)
    inner = moved[f.output]
    more = [] if masks.reset is None else [Argument(initial, STATE), Argument(masks.reset, MASK)]
    arguments = (*f.arguments, *more, Argument(masks.active, MASK))
    local = {moved[node]: name for node, name in f.names.items() if node in moved}
    if masks.reset is not None:
        for leaf, name in _named(h, read):
            local.setdefault(leaf, unused(name, {*local.values(), *f.words}))
    label, after = cell.label.replace(".", "_"), select(masks.active, inner, h)
    return Masked(Layer(label, arguments, after, local), begun, inner)


def _gated(mask: Variable, argument: Argument) -> Node:
    """An input that f reads; what has no derivative needs no gate."""
    return gate(mask, argument.variable) if argument.role == STATE else argument.variable


def _named(h: Variable, read: Node) -> Iterator[tuple[Node, str]]:
    """What f begins from, by a name that a reader of the kernels knows."""
    found = storage(read)
    ends = [""] if len(found) == 1 else [f"_{k}" for k in range(len(found))]
    yield from ((leaf, f"{h.name}_begun{end}") for leaf, end in zip(found, ends, strict=True))


# --- after the derivative is taken


def plain_values(roots: Sequence[Node]) -> dict[Node, Node]:
    """Every node of the roots with values in place of held ones, once nothing more is derived."""
    new: dict[Node, Node] = {}
    for node in topological(*roots):
        operands = [new[operand] for operand in node.operands]
        new[node] = operands[0] if isinstance(node, Held) else rebuild(node, operands)
    return new


def selected_sums(
    roots: Sequence[Node], mask: Node, settled: Iterable[Node] = ()
) -> dict[Node, Node]:
    """Every node of the roots, sums over the samples being over those where the mask is not zero.

    A term of such a sum is a product: each factor that a sample has of its own is selected.  Those
    that are `settled` are zero already where nothing is selected.
    """
    new: dict[Node, Node] = {}
    known = {*settled}
    for node in topological(*roots):
        operands = [new[operand] for operand in node.operands]
        if isinstance(node, Contraction) and not is_family(node):
            for k, operand in enumerate(node.filled):
                if is_family(operand) and operand not in known:
                    operands[k] = only(mask, operands[k])
        new[node] = rebuild(node, operands)
    return new


def selected_parts(roots: Sequence[Node], mask: Node, parts: Iterable[Node]) -> dict[Node, Node]:
    """Every node of the roots, some of them being zero where the mask is."""
    new: dict[Node, Node] = {}
    known = {*parts}
    for node in topological(*roots):
        made = rebuild(node, [new[operand] for operand in node.operands])
        new[node] = only(mask, made) if node in known else made
    return new


def is_family(node: Node) -> bool:
    """The expression has the batch axis."""
    return any(BATCH in leaf.shape for leaf in leaves(node.space))


def over_batch(mask: Variable) -> Variable:
    """A mask of one sample as that of all."""
    return variable(mask.name, lift_space(mask.space, BATCH))


def renamed(names: Mapping[Node, str], new: Mapping[Node, Node]) -> dict[Node, str]:
    """The names, with those of nodes that others have taken the place of."""
    return {new.get(node, node): name for node, name in names.items()}
