"""Every derived map against the component-wise derivative that SymPy takes by itself, exactly.

The calculus is told nothing here: SymPy differentiates the components of the layer, the derived map
is written in components, and exact arithmetic at random points of a prime field decides whether the
two are one function (see `field`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

import sympy

from . import field
from .components import components, flat_components, gram_matrix
from .expressions import Node, Variable
from .layers import Layer
from .maps import LinearMap
from .spaces import Indices, Space, leaves

Sizes = Mapping[sympy.Symbol, int]


@dataclass(frozen=True)
class Verdict:
    """One derived map at one choice of sizes: proved, or the component in which it differs."""

    map_name: str
    sizes: str
    differs_at: int | None

    @property
    def proved(self) -> bool:
        """The derived map is the derivative."""
        return self.differs_at is None


def prove(layer: Layer, seed: int = 0) -> list[Verdict]:
    """All first and second order maps of a layer and their adjoints, at sizes 2 and 3.

    Source of the maps: thesis sections 2.2 and 2.3; of the method: Schwartz 1980, Zippel 1979.
    """
    return [verdict for sizes in small_sizes(layer) for verdict in prove_at(layer, sizes, seed)]


def small_sizes(layer: Layer) -> list[dict[sympy.Symbol, int]]:
    """Two choices of unequal sizes 2 and 3."""
    return [
        {size: 2 + (k + shift) % 2 for k, size in enumerate(layer.sizes)}
        for shift in range(2 if layer.sizes else 1)
    ]


def prove_at(layer: Layer, sizes: Sizes, seed: int = 0) -> Iterator[Verdict]:
    """The verdicts at these sizes."""
    oracle = Oracle(layer, sizes)
    shown = ", ".join(f"{size}={count}" for size, count in sizes.items())
    for derived, expected in [*oracle.first_order(), *oracle.second_order()]:
        found = oracle.components_of(derived.body)
        yield Verdict(derived.name, shown, field.difference(found, expected, seed=seed))


class Oracle:
    """The components of a layer and what SymPy's own `diff` makes of them."""

    def __init__(self, layer: Layer, sizes: Sizes) -> None:
        self.layer, self.sizes = layer, sizes
        self.indices = {
            x.name: _some_indices(x.space, sizes)
            for x in layer.of_role("given")
            if isinstance(x.space, Indices)
        }
        self.output = self.components_of(layer.output)
        self._jacobians: dict[Variable, sympy.Matrix] = {}

    def components_of(self, node: Node) -> list[sympy.Expr]:
        """An expression's components in order."""
        return flat_components(components([node], self.sizes, self.indices)[0])

    def jacobian(self, x: Variable) -> sympy.Matrix:
        """df_i / dx_j, by SymPy's diff."""
        if x not in self._jacobians:
            symbols = self.components_of(x)
            rows = [[f.diff(s) for s in symbols] for f in self.output]
            self._jacobians[x] = sympy.Matrix(len(rows), len(symbols), sum(rows, []))
        return self._jacobians[x]

    def gram(self, space: Space, inverted: bool = False) -> sympy.Matrix:
        """The Gram matrix of a space in coordinates, or its inverse."""
        blocks = [self._gram_of_leaf(leaf, inverted) for leaf in leaves(space)]
        return sympy.diag(*blocks) if blocks else sympy.eye(0)

    def _gram_of_leaf(self, leaf: Any, inverted: bool) -> sympy.Matrix:
        matrix = sympy.eye(1)
        for extent, gram in zip(leaf.shape, leaf.grams, strict=True):
            count = int(extent.subs(self.sizes))
            chosen = gram.inverse if gram is not None and inverted else gram
            own = sympy.eye(count) if chosen is None else gram_matrix(chosen, count)
            matrix = sympy.kronecker_product(matrix, own)
        return matrix

    def first_order(self) -> Iterator[tuple[LinearMap, list[sympy.Expr]]]:
        """D and nabla by each argument, and their adjoints."""
        for x in self.layer.differentiable:
            derived, jacobian = self.layer.derivative(x.name), self.jacobian(x)
            yield derived, _times(jacobian, self.components_of(derived.variable))
            yield derived.adjoint, self._adjoint(jacobian, x.space, derived.adjoint)

    def second_order(self) -> Iterator[tuple[LinearMap, list[sympy.Expr]]]:
        """(v _| D^2 f)*, (v _| D nabla f)*, (u _| nabla D f)*, (u _| nabla^2 f)*."""
        for x, y in product(self.layer.differentiable, repeat=2):
            bilinear, jacobian = self.layer.second(x.name, y.name), self.jacobian(y)
            along = dict(
                zip(self.components_of(x), self.components_of(bilinear.left), strict=True)
            )
            moved = jacobian.applyfunc(lambda f, a=along: sum(f.diff(s) * d for s, d in a.items()))
            hooked = bilinear.hook()
            yield hooked, _times(moved, self.components_of(hooked.variable))
            yield hooked.adjoint, self._adjoint(moved, y.space, hooked.adjoint)

    def _adjoint(
        self, jacobian: sympy.Matrix, domain: Space, adjoint: LinearMap
    ) -> list[sympy.Expr]:
        """G1^-1 J^T G2 w."""
        w = sympy.Matrix(self.components_of(adjoint.variable))
        covector = jacobian.T * (self.gram(self.layer.output.space) * w)
        return list(self.gram(domain, inverted=True) * covector)


def _times(matrix: sympy.Matrix, vector: list[sympy.Expr]) -> list[sympy.Expr]:
    return list(matrix * sympy.Matrix(vector))


def _some_indices(space: Indices, sizes: Sizes) -> Any:
    bound = int(space.bound.subs(sizes))
    shape = tuple(int(extent.subs(sizes)) for extent in space.shape)
    if not shape:
        return bound - 1
    count = int(sympy.prod(shape))
    return (sympy.Array([k % bound for k in range(count)]).reshape(*shape)).tolist()


