"""A priori rounding error bounds of expressions (N. J. Higham, Accuracy and Stability, section 3).

For each node the bound says how far two evaluations in the same precision, whatever their orders of
summation, may differ, to first order and in units of eps: every operation of either has an error of
eps/2, every elementwise function of 4 ulp (which `accuracy` checks), and the errors of operands are
propagated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ...language.expressions import (
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
    array_space,
)
from ...language.reading import Reading
from ...language.reference import Array, Sizes, Value, Values, at_sizes, extent, values_of
from ...language.walk import topological

FUNCTION = 8  # eps between two evaluations of the same psi, each within 4 ulp
TINY = 1e-30  # a step so small that products of errors vanish beside first-order terms


def values_and_bounds(
    roots: Sequence[Node],
    given: Mapping[Variable, Value],
    sizes: Sizes,
    off: Mapping[Variable, Value] | None = None,
) -> list[tuple[Value, Value]]:
    """The roots' values and the bounds of their rounding errors, in units of eps.

    `off` holds the errors of arguments that were themselves computed; all others are exact.
    """
    order = topological(*roots)
    at = Bounds(dict(zip(order, values_of(order, given, sizes), strict=True)), sizes)
    with np.errstate(all="ignore"):
        for node in order:
            known = isinstance(node, Variable) and node in (off or {})
            at.bound[node] = off[node] if known else at(node)  # type: ignore[index]
    return [(at.value[root], at.bound[root]) for root in roots]


class Bounds(Reading[Value]):
    """The bounds of nodes, from the values of all nodes and the bounds so far."""

    def __init__(self, values: dict[Node, Value], sizes: Sizes) -> None:
        self.value, self.sizes = values, sizes
        self.bound: dict[Node, Value] = {}

    def _exact(self, node: Variable | Argmax) -> Value:
        return _zeros(self.value[node])

    variable = argmax = _exact

    def constant(self, node: Constant) -> Value:
        return abs(self.value[node])

    def linear_combination(self, node: LinearCombination) -> Value:
        total = np.zeros(np.shape(self.value[node]))
        operations = len(node.terms) + 1
        for coefficient, term in node.terms:
            weight = abs(float(at_sizes(coefficient, self.sizes)))
            total = total + weight * (self.bound[term] + operations * abs(self.value[term]))
        return total

    def elementwise(self, node: Elementwise) -> Value:
        """4 ulp of psi, in a derivative's tails 4 eps of its largest value; plus psi' e."""
        psi, z = node.operation, [np.asarray(self.value[x]) for x in node.arguments]
        own = FUNCTION * np.max(abs(self.value[node]), initial=0.0)
        slopes = (psi.derivative(k)(*z) for k in range(len(z)))
        carried = map(_carried, slopes, (self.bound[x] for x in node.arguments))
        return own + sum(carried)

    def contraction(self, node: Contraction) -> Value:
        """The sum of |x_1| .. e_k .. |x_n| over k: the imaginary part for |x_k| + i t e_k."""
        values = {x: abs(self.value[x]) + 1j * TINY * self.bound[x] for x in node.filled}
        values |= {k: self.value[k] for k in node.selectors}
        moved = Values(values, self.sizes, np.dtype(complex))(node)
        return moved.imag / TINY + _operations(node, self.sizes) * moved.real

    def running_sum(self, node: RunningSum) -> Value:
        """The running sum of the operand's errors, and one addition for each entry."""
        count, step = np.shape(self.value[node])[-1], -1 if node.reverse else 1
        own = self.bound[node.operand] + count * abs(self.value[node.operand])
        return np.cumsum(own[..., ::step], axis=-1)[..., ::step]

    def tuple_(self, node: Tuple) -> Value:
        return tuple(self.bound[x] for x in node.components)

    def projection(self, node: Projection) -> Value:
        return self.bound[node.operand][node.position]

    def held(self, node: Held | Potential) -> Value:
        return self.bound[node.operand]

    potential = held

    def jet(self, node: Jet) -> Value:
        raise TypeError("Jet has no rounding error bound")


def _zeros(of: Value) -> Value:
    return tuple(map(_zeros, of)) if isinstance(of, tuple) else np.zeros(np.shape(of))


def _carried(slope: Array, bound: Array) -> Array:
    """|psi'| times the bound of an argument; 0 for an exact one, even if psi' is not a number."""
    return np.where(np.asarray(bound) == 0, 0.0, abs(slope) * bound)


def _operations(node: Contraction, sizes: Sizes) -> int:
    """The number of roundings on the way to one entry: products, and the length of the sum."""
    summed = [i for i in node.form.free if i not in node.output]
    return len(node.filled) + int(np.prod([extent(node.form.extent(i), sizes) for i in summed]))


def operations(root: Node, sizes: Sizes) -> int:
    """The additions and products on all paths to one entry of an expression, plus one."""
    own = _Operations(sizes)
    return 1 + sum(own(node) for node in topological(root))


class _Operations(Reading[int]):
    """The additions and products on the way to one entry of a node, without those of functions."""

    def __init__(self, sizes: Sizes) -> None:
        self.sizes = sizes

    def contraction(self, node: Contraction) -> int:
        return _operations(node, self.sizes)

    def running_sum(self, node: RunningSum) -> int:
        return extent(array_space(node, "cumsum").shape[-1], self.sizes)

    def _none(self, node: Node) -> int:
        return 0

    variable = constant = linear_combination = elementwise = _none
    tuple_ = projection = argmax = held = potential = jet = _none
