"""Printed equations and their meaning: two sides that are evaluated independently.

A side is printed as a formula in names; it means an expression in the arguments alone, or a
difference quotient of one.  `check` evaluates both sides of every equation at one point, and
refuses the document if two differ by more than rounding.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...evidence.checks.drawing import Point
from ...evidence.checks.findings import EPS, largest, vector
from ...evidence.checks.oracles import quotients
from ...evidence.checks.rounding import values_and_bounds
from ...language.expressions import Held, Node, Variable, variable
from ...language.reference import Array, values_of
from ...language.walk import rewrite, topological
from .pairing import Pair


class FalseEquation(AssertionError):
    """An equation of a derivation does not hold at the point where it is checked."""


@dataclass(frozen=True)
class Difference:
    """d/dt e(x + t v) at t = 0, measured by a central difference (thesis (2.2)).

    Held parts of e keep their value at x, unless e as a whole does not depend on them; then
    everything is moved.
    """

    node: Node
    along: tuple[tuple[Variable, Variable], ...]
    whole: bool = False


Meaning = Node | Difference


@dataclass(frozen=True)
class Sums:
    """A sum over times, and what is added to it: each part after its sign, "" for a plain one."""

    parts: tuple[tuple[str, Node], ...]


Shown = Node | Sums | tuple[Pair, ...] | str


@dataclass(frozen=True)
class Side:
    """One side of an equation: what is printed, an expression, pairings or text, and its value.

    `otherwise` is printed if `shown` is too wide: the same with more names.
    """

    shown: Shown
    meaning: Meaning
    otherwise: Node | None = None


@dataclass(frozen=True)
class Equation:
    """left = right, with the reason; an optional one is printed only if it is short enough."""

    left: Side
    right: Side
    reason: str = ""
    optional: bool = False


def in_names(roots: Sequence[Node], names: Mapping[Node, str]) -> tuple[list[Equation], list[Node]]:
    """The definitions of these names as equations, operands first, and the roots in these names."""
    known: dict[Node, Node] = {}
    equations = []
    for node, name in names.items():
        short, x = rewrite([node], known.get)[node], variable(name, node.space)
        equations.append(Equation(Side(x, node), Side(short, node)))
        known[node] = x
    new = rewrite(roots, known.get)
    return equations, [new[root] for root in roots]


Measured = tuple[Array, float]  # entries, and the error allowed to them


def check(title: str, equations: Iterable[Equation], point: Point) -> None:
    """Check every equation at the point.

    The tolerance is the a priori rounding bound of both sides, plus the error of a central
    difference (`oracles.quotients`) if a side is one.  Raises FalseEquation, naming the equation
    and by how much it is off.
    """
    equations = list(equations)
    with np.errstate(all="ignore"):  # NaN and infinity are refused below
        found = _measured([m for e in equations for m in (e.left.meaning, e.right.meaning)], point)
        for number, equation in enumerate(equations, 1):
            sides = found[equation.left.meaning], found[equation.right.meaning]
            (left, one), (right, other) = sides
            error = largest(left - right) if left.shape == right.shape else np.inf
            if not error <= one + other:
                raise FalseEquation(
                    f"{title}: equation {number} ({_called(equation)}) is off by "
                    f"{error:.1e}, allowed {one + other:.1e}; nothing is written"
                )


def _called(equation: Equation) -> str:
    """Its left side, if that is text, and its reason."""
    left = equation.left.shown
    reason = equation.reason or "by definition"
    return f"{left}, {reason}" if isinstance(left, str) else reason


def _measured(meanings: Sequence[Meaning], point: Point) -> dict[Meaning, Measured]:
    nodes = [m for m in dict.fromkeys(meanings) if isinstance(m, Node)]
    found: dict[Any, Measured] = {}
    for node, (value, bound) in zip(
        nodes, values_and_bounds(nodes, point.values, point.sizes), strict=True
    ):
        found[node] = vector(value), EPS * (largest(bound) + largest(value))
    for along, differences in _by_direction(meanings).items():
        directions = {x: point.values[v] for x, v in along}
        there, nodes = _held_at(point, differences)
        found.update(zip(differences, quotients(nodes, there, directions), strict=True))
    return found


def _held_at(point: Point, differences: Sequence[Difference]) -> tuple[Point, list[Node]]:
    """The expressions to move, every held part replaced by a variable with its value."""
    parts = [d.node for d in differences if not d.whole]
    held = [node for node in topological(*parts) if type(node) is Held]
    fixed = {node: variable(f"held{k}", node.space) for k, node in enumerate(held)}
    values = values_of(held, point.values, point.sizes)
    there = Point(point.sizes, {**point.values, **dict(zip(fixed.values(), values, strict=True))})
    new = rewrite(parts, dict[Any, Node](fixed).get)
    return there, [d.node if d.whole else new[d.node] for d in differences]


def _by_direction(meanings: Iterable[Meaning]) -> Mapping[Any, list[Difference]]:
    grouped: dict[Any, list[Difference]] = {}
    for meaning in dict.fromkeys(meanings):
        if isinstance(meaning, Difference):
            grouped.setdefault(meaning.along, []).append(meaning)
    return grouped
