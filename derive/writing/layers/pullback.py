"""The derivation of a layer's maps in four steps, by the same code for both orders.

    1. derive the tangent              z_dot = D e . (..) for every line z = e
    2. pair it with a cotangent        <w, y_dot>
    3. move factors across             <z_bar, z_dot> = .. = <x_bar, x_dot> + ..
    4. read off the adjoint            D* f . w = x_bar

The second order consists of the same four steps for the lines and their tangents, derived along a
second direction.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass

from ...language.expressions import (
    Contraction,
    Elementwise,
    Held,
    Jet,
    Node,
    Potential,
    Variable,
    variable,
)
from ...language.reading import Reading
from ...language.riesz import riesz
from ...language.walk import depends_on, storage, topological
from .claims import Difference, Equation, Side
from .definitions import Closing, Definition, Derived, leaves_of
from .pairing import LINEARITY, Move, Pair, collected, moves


@dataclass(frozen=True)
class PullBack:
    """The result of step 3: a chain of equations for every line, and the adjoint.

    bars     the cotangents that got a name, in order
    chains   for each line the definition of the cotangent, if any, then the moves of its pairing
    arrived  the value of the adjoint for each direction
    """

    bars: tuple[Definition, ...]
    chains: tuple[tuple[Equation, ...], ...]
    arrived: Mapping[Variable, Node]


def by_difference(
    node: Node, directions: Mapping[Variable, Variable], closing: Closing, whole: bool = False
) -> Difference:
    """The derivative of an expression along directions, as a difference quotient."""
    return Difference(closing(node), tuple(directions.items()), whole)


def tangent_equations(
    lines: Iterable[Definition],
    d: Derived,
    directions: Mapping[Variable, Variable],
    closing: Closing,
) -> tuple[Equation, ...]:
    """Step 1: z_dot = D e . (..) for every line, checked against differences."""
    expressions = {line.variable: line.expression for line in lines}
    origin = {d.moved[x]: x for x in expressions if x in d.moved}
    found = []
    for line in d.lines:
        x = origin[line.variable]
        left = Side(line.variable, by_difference(x, directions, closing))
        right = Side(line.expression, closing(line.expression))
        found.append(Equation(left, right, rule(expressions[x], d.moved)))
    return tuple(found)


def rule(expression: Node, moved: Mapping[Variable, Variable]) -> str:
    """The rules of differentiation that a line uses."""
    dependent = depends_on([expression], moved)
    nodes = [node for node in topological(expression) if node in dependent]
    own = _Rule(dependent)
    followed = {own(node) for node in nodes}
    if any(type(node) is Held for node in topological(expression)):
        followed.add(FIXED)
    return "; ".join(rule for rule in RULES if rule in followed) or LINEARITY


RULES = PRODUCT, CHAIN, CHAIN_OF_MAPS, GIVEN, FIXED = (
    "product rule",
    "chain rule, (2.10)",
    "chain rule (2.3)",
    "the gradient in terms of the value itself",
    "the shift is held fixed, since $f$ does not depend on it",
)


class _Rule(Reading[str]):
    """The rule by which a node is differentiated."""

    def __init__(self, dependent: Set[Node]) -> None:
        self.dependent = dependent

    def contraction(self, node: Contraction) -> str:
        return PRODUCT if sum(x in self.dependent for x in node.filled) > 1 else LINEARITY

    def elementwise(self, node: Elementwise) -> str:
        return CHAIN

    def jet(self, node: Jet) -> str:
        return CHAIN_OF_MAPS

    def potential(self, node: Potential) -> str:
        return GIVEN

    def _linear(self, node: Node) -> str:
        return LINEARITY

    variable = constant = linear_combination = running_sum = _linear
    tuple_ = projection = argmax = held = _linear


# --- step 3


class _Names:
    """Names of cotangents; one that is already defined keeps its name."""

    def __init__(self, known: Iterable[Definition]) -> None:
        self.known = {line.expression: line.variable for line in known}
        self.new: list[Definition] = []

    def of(self, u: Node, name: str) -> Variable:
        """A variable that stands for a cotangent."""
        if isinstance(u, Variable):
            return u
        if u not in self.known:
            self.known[u] = variable(name, u.space)
            self.new.append(Definition(self.known[u], u))
        return self.known[u]


def pull_back(
    d: Derived,
    seeds: Iterable[tuple[Variable, Node]],
    closing: Closing,
    names: Mapping[Variable, str],
    known: Iterable[Definition] = (),
) -> PullBack:
    """Step 3: from the last line to the first, move the factors of each pairing across.

    seeds   the tangent of each output with its cotangent
    names   the name of the cotangent of each tangent
    known   cotangents that already have a name
    """
    arrived: dict[Variable, list[Node]] = {}
    for y_dot, w in seeds:
        arrived.setdefault(y_dot, []).append(w)
    bars, chains = _Names(known), list[tuple[Equation, ...]]()
    directions = set(d.moved.values())
    for line in reversed(d.lines):
        if line.variable in arrived and isinstance(line.expression, Variable):
            arrived.setdefault(line.expression, []).extend(arrived.pop(line.variable))
        elif line.variable in arrived:
            u = collected(arrived.pop(line.variable))
            before = len(bars.new)
            bar = bars.of(u, names[line.variable])
            defined = [by_definition(x, closing.add([x])) for x in bars.new[before:]]
            last, chain = _chain(bar, line, directions, closing)
            chains.append((*defined, *(() if _only_projects(line.expression) else chain)))
            for share, x_dot in last:
                assert isinstance(x_dot, Variable)
                arrived.setdefault(x_dot, []).append(share)
    ends = {x_dot: collected(shares) for x_dot, shares in arrived.items()}
    return PullBack(tuple(bars.new), tuple(chains), ends)


def _only_projects(node: Node) -> bool:
    """Whether it is a part of an array; its adjoint, an embedding, gets no line of its own."""
    return isinstance(node, Contraction) and len(node.operands) == 1 and node.is_pointwise


def by_definition(line: Definition, closing: Closing) -> Equation:
    """z_bar = the sum of the cotangents that arrived at z_dot."""
    meaning = closing(line.expression)
    return Equation(Side(line.variable, meaning), Side(line.expression, meaning), "collected")


def _chain(
    u: Variable, line: Definition, directions: Set[Variable], closing: Closing
) -> tuple[tuple[Pair, ...], tuple[Equation, ...]]:
    """<u, z_dot> = <u, e> = ..; the last pairings, and the equations."""
    first = ((u, line.variable),)
    left = paired(first, closing)
    steps = [Move(((u, line.expression),), (r"inserting the tangent",))]
    steps += moves(u, line.expression, directions)
    equations = tuple(
        Equation(left, paired(step.pairs, closing), "; ".join(step.laws) or "linearity")
        for step in steps
    )
    return steps[-1].pairs, equations


def paired(pairs: tuple[Pair, ...], closing: Closing) -> Side:
    """A sum of pairings."""
    return Side(pairs, closing(Move(pairs, ()).node))


def totals(
    seeds: Iterable[tuple[Variable, Node]], arrived: Mapping[Variable, Node], closing: Closing
) -> Equation:
    """The whole of step 3: <w, y_dot> = <x_bar, x_dot> + .."""
    left = tuple((w, y_dot) for y_dot, w in seeds)
    right = tuple((u, x_dot) for x_dot, u in arrived.items())
    return Equation(paired(left, closing), paired(right, closing), "all lines inserted")


def seeds_of(
    output: Node, moved: Mapping[Variable, Variable], w: Node
) -> list[tuple[Variable, Node]]:
    """Each output's tangent with its cotangent in coordinates, G w."""
    pairs = zip(leaves_of(output), storage(w), strict=True)
    return [(moved[y], riesz(u)) for y, u in pairs if y in moved]
