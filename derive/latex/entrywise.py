"""The scalar functions of a layer with their derivatives, as they are printed, asserted.

The formula that is printed is evaluated against the function as kernels compute it, and that of a
derivative against differences of the function before.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from ..elementwise.operations import Operation
from ..expressions import Elementwise, Node, Variable, elementwise, variable
from ..layers import Layer
from ..reference import Array
from ..spaces import R
from ..walk import topological
from .claims import Difference, Equation, Side
from .scalar_functions import defined, formula, value

COUNT = 6
SPACE = R(COUNT)
ALONG = variable("along_t", SPACE)  # ones: the direction of a scalar's difference
SIGNED = np.array([-1.2, -0.7, -0.3, 0.4, 0.9, 1.3])  # away from the kinks at 0 and 1


def functions(layer: Layer) -> Iterator[tuple[Operation, Operation]]:
    """Each scalar function of a layer, and what is printed of it: itself, its derivatives."""
    nodes = (node for node in topological(layer.output) if isinstance(node, Elementwise))
    for own in dict.fromkeys(node.operation for node in nodes):
        for psi in defined(own):
            yield own, psi


def equations(layer: Layer) -> Iterator[Equation]:
    """psi(t) = its formula, for each of them."""
    for own, psi in functions(layer):
        at = tuple(arguments(psi))
        plain = replace(psi, name=f"{psi.name}_as_printed", stable=psi.body)
        right = Side(formula(psi.body), elementwise(plain, *at))
        yield Equation(Side(value(psi), _measured(own, psi, at)), right)


def _measured(own: Operation, psi: Operation, at: tuple[Variable, ...]) -> Node | Difference:
    """The function itself, or the difference of the one that it is a derivative of."""
    moved = [k for k, order in enumerate(psi.orders) if order]
    if not moved:
        return elementwise(psi, *at)
    lower = own
    for argument, order in enumerate(psi.orders):
        for _ in range(order - (argument == moved[-1])):
            lower = lower.derivative(argument)
    return Difference(elementwise(lower, *at), ((at[moved[-1]], ALONG),))


def arguments(psi: Operation) -> Iterator[Variable]:
    """A variable for each argument, an array of points."""
    for k, _ in enumerate(psi.arguments):
        yield variable(f"points_{k}_of_t", SPACE)


def points() -> dict[Variable, Array]:
    """Values of the variables; those of a second argument are others than the first's."""
    shifted = {variable(f"points_{k}_of_t", SPACE): np.roll(SIGNED, k) for k in range(4)}
    return {**shifted, ALONG: np.ones(COUNT)}
