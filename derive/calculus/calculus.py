"""The calculus: D is Leibniz, and the adjoint opens the other slot.

`tangent` derives an expression along directions of its variables (thesis (2.2), (2.3)), one line a
node.  `transpose` pairs an expression that is linear in some variables with a cotangent and moves
every factor across the inner product, one line a node again.  Reverse mode is nowhere written: it
is the transpose of the tangent.  Both walk each node once, so sharing is kept at every order.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ..language.expressions import (
    Argmax,
    Constant,
    Contraction,
    Elementwise,
    Held,
    Jet,
    LinearCombination,
    Node,
    Potential,
    Projection,
    RunningSum,
    Tuple,
    Variable,
    along,
    contraction,
    elementwise,
    hadamard,
    is_zero,
    linear_combination,
    projection,
    running_sum,
    tuple_of,
    zero,
)
from ..language.reading import Reading
from ..language.spaces import SpaceError
from ..language.walk import depends_on, jet, topological

Tangents = Mapping[Node, Node]
Shares = list[tuple[Node, Node]]  # for each operand what a cotangent becomes


class NotLinear(TypeError):
    """An expression was transposed in a variable in which it is not linear."""


def tangents(roots: Iterable[Node], directions: Mapping[Variable, Node]) -> dict[Node, Node]:
    """D e . v for every node e of the roots, v the directions of the variables (zero elsewhere).

    Raises SpaceError where a direction is not of its variable's space.
    Source: thesis (2.2) and the chain rule (2.3); the parameters' derivative nabla is the same map.
    """
    for x, v in directions.items():
        spaces = [node.space if isinstance(node, Node) else repr(node) for node in (x, v)]
        if not isinstance(x, Node) or spaces[0] != spaces[1]:
            raise SpaceError(f"a direction of {x} is of {spaces[0]}, got {spaces[1]}")
    roots = list(roots)
    moved = depends_on(roots, directions)
    along: dict[Node, Node] = dict(directions.items())
    derived = Tangent(along)
    for node in topological(*roots):
        if node not in along:
            along[node] = derived(node) if node in moved else zero(node.space)
    return along


def tangent(node: Node, directions: Mapping[Variable, Node]) -> Node:
    """D e . v for one expression."""
    return tangents([node], directions)[node]


class Tangent(Reading[Node]):
    """D e . v of a node, `d` has that of its operands."""

    __slots__ = ("d",)

    def __init__(self, d: Tangents) -> None:
        self.d = d

    def _none(self, node: Variable | Constant | Held | Argmax) -> Node:
        return zero(node.space)

    variable = constant = held = argmax = _none

    def potential(self, node: Potential) -> Node:
        return along(node, self.d[node.argument])

    def linear_combination(self, node: LinearCombination) -> Node:
        return sum_like(node, [(weight, self.d[term]) for weight, term in node.terms])

    def elementwise(self, node: Elementwise) -> Node:
        psi, z, d = node.operation, node.arguments, self.d
        curved = [k for k in range(len(z)) if k not in psi.linear]
        slopes = [(1, hadamard(elementwise(psi.derivative(k), *z), d[z[k]])) for k in curved]
        return sum_like(node, [*slopes, (1, linear_along(node, {k: d[z[k]] for k in psi.linear}))])

    def contraction(self, node: Contraction) -> Node:
        return sum_like(node, [(1, _with(node, k, self.d[x])) for k, x in enumerate(node.filled)])

    def running_sum(self, node: RunningSum) -> Node:
        return running_sum(self.d[node.operand], node.reverse)

    def tuple_(self, node: Tuple) -> Node:
        return tuple_of(self.d[component] for component in node.components)

    def projection(self, node: Projection) -> Node:
        return projection(self.d[node.operand], node.position)

    def jet(self, node: Jet) -> Node:
        given, u, d = node.directions, node.cotangent, self.d
        higher = [(1, _jet(node, (*given, (k, d[x])), u)) for k, x in enumerate(node.arguments)]
        inner = [
            (1, _jet(node, (*given[:k], (slot, d[v]), *given[k + 1 :]), u))
            for k, (slot, v) in enumerate(given)
        ]
        paired = [] if u is None else [(1, _jet(node, given, d[u]))]
        return sum_like(node, [*higher, *inner, *paired])


def linear_along(node: Elementwise, directions: Mapping[int, Node]) -> Node:
    """Psi with directions in slots in which it is linear, and zero in the other linear slots."""
    own = node.operation.linear
    if all(is_zero(v) for v in directions.values()):
        return zero(node.space)
    filled = [
        directions.get(k, zero(z.space)) if k in own else z for k, z in enumerate(node.arguments)
    ]
    return elementwise(node.operation, *filled)


def sum_like(like: Node, terms: Iterable[tuple[object, Node]]) -> Node:
    """The sum of the terms, which are of the space of `like`; zero without terms."""
    return linear_combination([*terms, (1, zero(like.space))])


def _with(node: Contraction, position: int, operand: Node) -> Node:
    """The contraction with another operand in that position."""
    filled = [*node.filled[:position], operand, *node.filled[position + 1 :]]
    return contraction(node.space, node.form, node.opened, filled, node.selectors)


def _jet(node: Jet, directions: tuple[tuple[int, Node], ...], cotangent: Node | None) -> Node:
    return jet(node.function, node.space, node.arguments, directions, node.opened, cotangent)


# --- the adjoint


def transpose(node: Node, cotangent: Node, variables: Iterable[Variable]) -> dict[Variable, Node]:
    """L* . u for a node L . v that is linear in the variables v, for the standard inner product.

    Raises NotLinear where the node is not linear in the variables, SpaceError where the cotangent
    is not of its space.
    """
    if not isinstance(cotangent, Node) or cotangent.space != node.space:
        found = cotangent.space if isinstance(cotangent, Node) else repr(cotangent)
        raise SpaceError(
            f"a cotangent of an expression of {node.space} must be of that space, got {found}"
        )
    return dict(cotangents(node, cotangent, tuple(variables))[0])


def cotangents(
    node: Node, cotangent: Node, variables: tuple[Variable, ...]
) -> tuple[dict[Variable, Node], dict[Node, Node]]:
    """The cotangents of the variables, and that of every node between them and the root."""
    dependent = depends_on([node], variables)
    arrived: dict[Node, list[Node]] = {node: [cotangent]}
    summed: dict[Node, Node] = {}
    for inner in reversed(topological(node)):
        if inner in dependent and inner in arrived:
            u = sum_like(inner, [(1, term) for term in arrived[inner]])
            summed[inner] = u
            for operand, share in pull(inner, u, dependent):
                arrived.setdefault(operand, []).append(share)
    return {v: summed.get(v, zero(v.space)) for v in variables}, summed


def pull(node: Node, u: Node, dependent: set[Node]) -> Shares:
    """For each operand that depends on the variables, what u becomes across this node.

    Raises NotLinear where the node is not linear in the variables.
    """
    return Pull(u, dependent)(node)


class Pull(Reading[Shares]):
    """u moved across a node, to each operand that depends on the variables."""

    __slots__ = ("dependent", "u")

    def __init__(self, u: Node, dependent: set[Node]) -> None:
        self.u, self.dependent = u, dependent

    def variable(self, node: Variable) -> Shares:
        return []

    def _refused(self, node: Node) -> Shares:
        kind = type(node).__name__
        raise NotLinear(f"{kind} depends on the variables, but is not linear in them")

    constant = argmax = held = potential = _refused

    def linear_combination(self, node: LinearCombination) -> Shares:
        if not all(x in self.dependent for x in node.operands):
            raise NotLinear("a term of a sum does not depend on the variables; the map is affine")
        return [(x, linear_combination([(w, self.u)])) for w, x in node.terms]

    def contraction(self, node: Contraction) -> Shares:
        open_slots = [k for k, x in enumerate(node.filled) if x in self.dependent]
        if len(open_slots) != 1 or any(x in self.dependent for x in node.selectors):
            raise NotLinear("a contraction depends on the variables in more than one slot")
        (position,) = open_slots
        return [(node.filled[position], opened(node, position, self.u))]

    def elementwise(self, node: Elementwise) -> Shares:
        psi, z, dependent = node.operation, node.arguments, self.dependent
        if any(z[k] in dependent for k in range(len(z)) if k not in psi.linear):
            raise NotLinear(f"{psi.name} depends on the variables, but is not linear in them")
        if not all(z[k] in dependent or is_zero(z[k]) for k in psi.linear):
            raise NotLinear(f"an argument of {psi.name} does not depend on the variables")
        return [(z[k], linear_along(node, {k: self.u})) for k in psi.linear if z[k] in dependent]

    def running_sum(self, node: RunningSum) -> Shares:
        return [(node.operand, running_sum(self.u, not node.reverse))]

    def tuple_(self, node: Tuple) -> Shares:
        if not all(x in self.dependent or is_zero(x) for x in node.components):
            raise NotLinear("a component does not depend on the variables; the map is affine")
        parted = enumerate(node.components)
        return [(x, projection(self.u, k)) for k, x in parted if x in self.dependent]

    def projection(self, node: Projection) -> Shares:
        whole = node.operand.space.factors  # type: ignore[attr-defined]
        filled = (self.u if k == node.position else zero(space) for k, space in enumerate(whole))
        return [(node.operand, tuple_of(filled))]

    def jet(self, node: Jet) -> Shares:
        at = [k for k, (_, v) in enumerate(node.directions) if v in self.dependent]
        paired = node.cotangent is not None and node.cotangent in self.dependent
        if len(at) + paired != 1 or any(x in self.dependent for x in node.arguments):
            raise NotLinear(f"{node.function}: the variables appear in more than one slot")
        if paired:
            assert node.opened is not None and node.cotangent is not None
            back = (*node.directions, (node.opened, self.u))
            space = node.cotangent.space
            return [(node.cotangent, jet(node.function, space, node.arguments, back))]
        (position,) = at
        slot, v = node.directions[position]
        rest = [*node.directions[:position], *node.directions[position + 1 :]]
        if node.cotangent is not None:
            assert node.opened is not None
            rest, cotangent = [*rest, (node.opened, self.u)], node.cotangent
        else:
            cotangent = self.u
        return [(v, jet(node.function, v.space, node.arguments, rest, slot, cotangent))]


def opened(node: Contraction, position: int, u: Node) -> Node:
    """The contraction with the slot of one operand open, and u in the slot that was."""
    by_slot = dict(zip(node.slots, node.filled, strict=True)) | {node.opened: u}
    slot = node.slots[position]
    filled = [by_slot[k] for k in range(len(node.form.slots)) if k != slot]
    return contraction(node.filled[position].space, node.form, slot, filled, node.selectors)
