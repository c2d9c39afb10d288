"""A priori rounding error bounds of expressions (N. J. Higham, Accuracy and Stability, section 3).

For each node the bound says how far two evaluations in the same precision, in whatever order of
summation, may be apart, to first order and in units of eps: every operation of either is off by
eps/2, every elementwise function by 4 ulp (which is checked by itself), and what the operands are
off by is carried on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import singledispatch

import numpy as np

from ...language import reference
from ...language.expressions import (
    Argmax,
    Constant,
    Contraction,
    Elementwise,
    Held,
    LinearCombination,
    Node,
    Projection,
    Tuple,
    Variable,
)
from ...language.reference import Array, Sizes, Value, at_sizes, extent, values_of
from ...language.walk import topological

FUNCTION = 8  # eps between two evaluations of one psi, 4 ulp each
TINY = 1e-30  # a step so small that products of errors vanish beside first-order terms


def values_and_bounds(
    roots: Sequence[Node],
    given: Mapping[Variable, Value],
    sizes: Sizes,
    off: Mapping[Variable, Value] | None = None,
) -> list[tuple[Value, Value]]:
    """The roots' values and the bounds of their rounding errors, in units of eps.

    `off` has how far arguments are off that were computed, too; others are exact.
    """
    order = topological(*roots)
    at = _At(dict(zip(order, values_of(order, given, sizes), strict=True)), sizes)
    with np.errstate(all="ignore"):
        for node in order:
            known = isinstance(node, Variable) and node in (off or {})
            at.bound[node] = off[node] if known else _bound(node, at)  # type: ignore[index]
    return [(at.value[root], at.bound[root]) for root in roots]


class _At:
    """Values of all nodes, and the bounds so far."""

    def __init__(self, values: dict[Node, Value], sizes: Sizes) -> None:
        self.value, self.sizes = values, sizes
        self.bound: dict[Node, Value] = {}


def _zeros(of: Value) -> Value:
    return tuple(map(_zeros, of)) if isinstance(of, tuple) else np.zeros(np.shape(of))


@singledispatch
def _bound(node: Node, at: _At) -> Value:
    raise TypeError(f"{type(node).__name__} has no rounding error bound")


@_bound.register
def _(node: Variable | Argmax, at: _At) -> Value:
    return _zeros(at.value[node])


@_bound.register
def _(node: Constant, at: _At) -> Value:
    return abs(at.value[node])


@_bound.register
def _(node: LinearCombination, at: _At) -> Value:
    total = np.zeros(np.shape(at.value[node]))
    operations = len(node.terms) + 1
    for coefficient, term in node.terms:
        weight = abs(float(at_sizes(coefficient, at.sizes)))
        total = total + weight * (at.bound[term] + operations * abs(at.value[term]))
    return total


@_bound.register
def _(node: Elementwise, at: _At) -> Value:
    """4 ulp of psi, in the tails of a derivative 4 eps of its largest value; then psi' carries."""
    psi, z = node.operation, [np.asarray(at.value[x]) for x in node.arguments]
    own = FUNCTION * np.max(abs(at.value[node]), initial=0.0)
    carried = (_carried(psi.derivative(k)(*z), at.bound[x]) for k, x in enumerate(node.arguments))
    return own + sum(carried)


def _carried(slope: Array, bound: Array) -> Array:
    """|psi'| times the bound of an argument: nothing of what is exact, also where psi' is none."""
    return np.where(np.asarray(bound) == 0, 0.0, abs(slope) * bound)


@_bound.register
def _(node: Contraction, at: _At) -> Value:
    """|x_1| .. e_k .. |x_n| for each k, in one go: the imaginary part for |x_k| + i t e_k."""
    values = {x: abs(at.value[x]) + 1j * TINY * at.bound[x] for x in node.filled}
    values |= {k: at.value[k] for k in node.selectors}
    moved = reference._value(node, reference._At(values, at.sizes, np.dtype(complex)))
    return moved.imag / TINY + _operations(node, at.sizes) * moved.real


def _operations(node: Contraction, sizes: Sizes) -> int:
    """The roundings on the way to one entry: products and the length of the sum."""
    summed = [i for i in node.form.free if i not in node.output]
    return len(node.filled) + int(np.prod([extent(node.form.extent(i), sizes) for i in summed]))


def operations(root: Node, sizes: Sizes) -> int:
    """The additions and products on all ways to one entry of an expression, and one more."""
    sums = [node for node in topological(root) if isinstance(node, Contraction)]
    return 1 + sum(_operations(node, sizes) for node in sums)


@_bound.register
def _(node: Tuple, at: _At) -> Value:
    return tuple(at.bound[x] for x in node.components)


@_bound.register
def _(node: Projection, at: _At) -> Value:
    return at.bound[node.operand][node.position]


@_bound.register
def _(node: Held, at: _At) -> Value:
    return at.bound[node.operand]
