"""A result of the thesis for functions of which nothing is known, and how it is checked.

To evaluate an equation, the unknown functions are replaced by smooth ones of which no derivative
vanishes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ...calculus.maps import substituted, variables_of
from ...evidence.checks.drawing import Point, draw
from ...language.expressions import Node, Variable
from ...language.roles import given
from ...language.sizes import dims
from ...language.spaces import R, Space
from ...models.layers import Layer
from ..layers.blocks import Block, Display, Heading, Prose
from ..layers.claims import Difference, Equation, Meaning, Side
from ..layers.labels import Labels
from ..layers.problem import SEED, Problem
from ..layers.pullback import by_definition
from ..layers.steps import Steps
from .interpreted import interpreted, smooth, weights

LAYERED = dict(zip(dims("n_1 n_i n_next n_L p_i"), (3, 4, 5, 2, 6), strict=True))
RECURRENT = dict(zip(dims("n_h n_y p_T p_P"), (3, 4, 5, 6), strict=True))
SIZES = LAYERED | RECURRENT
E1, EI, ENEXT, EL, HI = (R(n) for n in LAYERED)
EH, EY, HT, HP = (R(n) for n in RECURRENT)
SPACES: dict[str, tuple[Space, ...]] = {
    "alpha": (E1, EI),
    "f_i": (EI, HI, ENEXT),
    "omega": (ENEXT, EL),
    "F": (E1, HI, EL),
    **dict.fromkeys(("flow", "flow_before", "mu", "f", "f_next", "f_1", "f_2"), (EH, HT, EH)),
    "f_3": (EH, HT, EH),
    "g": (EH, HP, EY),
    **{name: (EH, R()) for name in ("rest", "loss_1", "loss_2")},
}
PARAMETERS = ("theta_i", "theta", "zeta")


@dataclass(frozen=True, eq=False)
class Theorem:
    """A result of the thesis: its number, what is derived, and its last equation, by hand.

    name          name of the differentiated function, in LaTeX
    said          the assumptions, in LaTeX
    result        its left side in LaTeX and by the calculus, and the right side of the thesis
    reason        the reason of the last equation
    named         the definitions of letters on the right side, each by earlier ones
    distribution  the target y is a distribution, <1, y> = 1
    """

    number: str
    title: str
    name: str
    said: str
    problem: Problem
    result: Callable[[Problem], tuple[str, Node, Node]]
    order: int = 1
    reason: str = ""
    named: Mapping[Variable, Node] = field(default_factory=dict)
    distribution: bool = False

    def blocks(self) -> Iterator[Block]:
        """The statement, the four steps, the result."""
        steps = Steps(self.problem, Labels(self.problem.layer, self.name))
        yield Heading(f"{self.title} ({self.number})")
        yield Prose(self.said)
        yield from steps.formula()
        yield from steps.first_order() if self.order == 1 else self._second(steps)
        yield Prose(f"This is ({self.number}):")
        yield Display(tuple(self._result()))

    def _second(self, steps: Steps) -> Iterator[Block]:
        """The second order, after the equations of the first one that it refers to."""
        closing = self.problem.closing
        yield Prose("The tangents and cotangents of the first order are")
        yield steps.tangents()
        yield Display(tuple(by_definition(line, closing) for line in self.problem.back.bars))
        yield from steps.second_order()

    def _result(self) -> Iterator[Equation]:
        left, meaning, right = self.result(self.problem)
        closing, full = self.problem.closing, dict[Variable, Node]()
        for x, node in self.named.items():
            full[x] = closing(substituted(node, full))
        whole = closing(substituted(right, full))
        yield Equation(Side(left, meaning), Side(right, whole), self.reason)
        for x, node in self.named.items():
            yield Equation(Side(x, full[x]), Side(node, full[x]))

    def point(self) -> Point:
        """Values of all variables, including the arrays of the functions."""
        random, values = np.random.default_rng(SEED), dict[Variable, Any]()
        known = [*self.problem.variables(), *_weights()]
        for x in dict.fromkeys(known):
            values[x] = draw(random, x.space, SIZES)
            if self.distribution and x.name == "y":
                values[x] = abs(values[x]) / abs(values[x]).sum()
        return Point(dict(SIZES), values)


def meant(equation: Equation) -> Equation:
    """The equation, its meaning with concrete functions in place of the unknown ones."""
    left, right = (
        Side(side.shown, _meant(side.meaning), side.otherwise)
        for side in (equation.left, equation.right)
    )
    return Equation(left, right, equation.reason, equation.optional)


def _meant(meaning: Meaning) -> Meaning:
    if isinstance(meaning, Difference):
        return Difference(interpreted(meaning.node, FUNCTIONS), meaning.along, meaning.whole)
    return interpreted(meaning, FUNCTIONS)


FUNCTIONS: Mapping[str, Callable[..., Node]] = {
    name: smooth(name, spaces[:-1], spaces[-1]) for name, spaces in SPACES.items()
}


def _weights() -> Iterator[Variable]:
    for name, spaces in SPACES.items():
        yield from weights(name, spaces[:-1], spaces[-1])


def layer_of(name: str, output: Node, names: Mapping[Node, str], *data: str) -> Layer:
    """A layer of the variables in the output; `data` are given arguments, theta is a parameter."""
    used = {u.name: u.space for u in variables_of(output)}
    made = Layer.of(
        name,
        state={k: space for k, space in used.items() if k not in (*data, *PARAMETERS)},
        given={k: given(used[k]) for k in data},
        parameters={k: space for k, space in used.items() if k in PARAMETERS},
        output=output,
    )
    return replace(made, names=names)
