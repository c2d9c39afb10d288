"""The scalar functions of a layer and their derivatives, as printed equations.

The printed formula is checked against the function as kernels compute it, and that of a derivative
against differences of the function it is the derivative of, at the values that the layer feeds it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from ...language.expressions import Elementwise, Node, Variable, elementwise, variable
from ...language.reference import Array, values_of
from ...language.scalars.operations import Operation
from ...language.walk import topological
from ...models.layers import Layer
from ..typesetting.scalar_functions import defined, formula, value
from .claims import Difference, Equation, Side
from .problem import Problem


def applications(layer: Layer) -> list[Elementwise]:
    """The first application of each scalar function."""
    found: dict[Operation, Elementwise] = {}
    for node in topological(layer.rewritten.output):
        if isinstance(node, Elementwise):
            found.setdefault(node.operation, node)
    return list(found.values())


def equations(layer: Layer) -> Iterator[Equation]:
    """psi(t) = its formula, for each function and its derivatives, unless that is trivial.

    If a layer holds psi and psi', each derivative is listed once.
    """
    said: set[Operation] = set()
    for node in applications(layer):
        at = arguments(node)
        for psi in defined(node.operation):
            if psi in said:
                continue
            said.add(psi)
            plain = replace(psi, name=f"{psi.name}_as_printed", stable=psi.body)
            right = Side(formula(psi.body), elementwise(plain, *at))
            yield Equation(Side(value(psi), _measured(psi, at)), right)


def _measured(psi: Operation, at: list[Variable]) -> Node | Difference:
    """The function itself, or a difference quotient of the one it is the derivative of."""
    if psi.derived_from is None:
        return elementwise(psi, *at)
    lower, argument = psi.derived_from
    return Difference(elementwise(lower, *at), ((at[argument], along(at[0])),))


def arguments(node: Elementwise) -> list[Variable]:
    """A variable for each argument of the function."""
    name = node.operation.name
    return [variable(f"{name}_at_{k}", z.space) for k, z in enumerate(node.arguments)]


def along(at: Variable) -> Variable:
    """Ones: the direction of a scalar's difference."""
    return variable("ones", at.space)


def points(problem: Problem) -> dict[Variable, Array]:
    """The values of these variables: the functions' arguments at the problem's point."""
    point, found = problem.point, dict[Variable, Array]()
    for node in applications(problem.layer):
        values = values_of(node.arguments, point.values, point.sizes)
        found.update(zip(arguments(node), values, strict=True))
        found[along(arguments(node)[0])] = np.ones_like(values[0])
    return found
