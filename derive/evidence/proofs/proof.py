"""Every derived map against the component-wise derivative that SymPy takes by itself, exactly.

The calculus is not used here: SymPy differentiates the components of the rewritten layer; a verdict
of its own says whether these equal those of the declared formula.  The derived map is written in
components, and exact arithmetic at random points of a prime field decides whether the two are the
same function (see `field`).  Where a branch of an elementwise function holds at a single point,
which no random point hits, the difference quotient of the function decides (see `quotients`); at
zeros and far out, that of the whole layer does (see `edge_points`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement, product
from typing import Any

import sympy

from ...calculus.maps import LinearMap
from ...language.expressions import Elementwise, Node, Variable
from ...language.mistakes import called
from ...language.spaces import Indices, Space, SpaceError, leaves
from ...language.walk import topological
from ...models.layers import Layer, require_layer
from . import field, quotients
from .agreement import disagreement
from .components import Components
from .depth import NESTED, nested
from .edge_points import differing
from .symbols import flat_components, gram_matrix

Sizes = Mapping[sympy.Symbol, int]


class Undecided(ArithmeticError):
    """The proof of a layer's maps is not decided: the layer is too deep, or has so many roots and
    logarithms that no random point was found at which all have a value."""


@dataclass(frozen=True)
class Verdict:
    """One derived map at one choice of sizes: proved, or the component in which it differs."""

    map_name: str
    sizes: str
    differs_at: int | None

    @property
    def proved(self) -> bool:
        """Whether the derived map is the derivative."""
        return self.differs_at is None


@called
def prove(layer: Layer, seed: int = 0) -> list[Verdict]:
    """All first and second order maps of a layer and their adjoints, at sizes 2 and 3.

    Source of the maps: thesis sections 2.2 and 2.3; of the method: Schwartz 1980, Zippel 1979.
    Raises Undecided for a layer of more than NESTED nested operations, and for one with so many
    roots and logarithms, or such restrictive ones, that all are defined at no random point.
    """
    require_layer("prove", layer)
    try:
        found = [v for sizes in small_sizes(layer) for v in prove_at(layer, sizes, seed)]
    except field.NoPoint:
        raise Undecided(_without_point(layer)) from None
    return [*found, *_at_equalities(layer)]


def _at_equalities(layer: Layer) -> Iterator[Verdict]:
    """Verdicts on derivatives of operations at points where a branch on an equality is taken."""
    nodes = (node for node in topological(layer.output) if isinstance(node, Elementwise))
    for psi in dict.fromkeys(node.operation for node in nodes):
        for place, error in quotients.errors(psi):
            yield Verdict(place, "any", None if error <= quotients.NEAR else 0)


def small_sizes(layer: Layer) -> list[dict[sympy.Symbol, int]]:
    """Two choices of unequal sizes 2 and 3, some larger if an extent would be below 1."""
    return [_fitting(layer, shift) for shift in range(2 if layer.sizes else 1)]


def _fitting(layer: Layer, shift: int) -> dict[sympy.Symbol, int]:
    found = fitting(layer.sizes, layer.derived_extents, shift)
    if found is None:
        raise SpaceError(f"layer {layer.name}: no small sizes make every extent at least 1")
    return found


def fitting(
    symbols: Sequence[sympy.Symbol], extents: Sequence[sympy.Expr], shift: int
) -> dict[sympy.Symbol, int] | None:
    """The sizes 2, 3, 2, .. or 3, 2, 3, .., increased by the least total that makes extents fit."""
    least = {size: 2 + (k + shift) % 2 for k, size in enumerate(symbols)}
    for more in range(8):
        for raised in combinations_with_replacement(symbols, more):
            sizes = {size: count + raised.count(size) for size, count in least.items()}
            if all(extent.xreplace(sizes) >= 1 for extent in extents):
                return sizes
    return None


def prove_at(layer: Layer, sizes: Sizes, seed: int = 0) -> Iterator[Verdict]:
    """All verdicts at these sizes."""
    _check_depth(layer)
    oracle = Oracle(layer, sizes, seed)
    shown = ", ".join(f"{size}={count}" for size, count in sizes.items())
    if layer.rewrites:
        yield Verdict(f"{layer.signature}, rewritten", shown, oracle.rewritten_differs_at(seed))
    claims = [*oracle.first_order(), *oracle.second_order()]
    pairs = [(oracle.components_of(derived.body), expected) for derived, expected in claims]
    at_edges = {
        layer.derivative(x.name).name: differing(layer, x, sizes, seed)
        for x in layer.differentiable
    }
    for (derived, _), differs in zip(claims, field.differences(pairs, seed=seed), strict=True):
        yield Verdict(
            derived.name, shown, at_edges.get(derived.name) if differs is None else differs
        )


def _without_point(layer: Layer) -> str:
    return (
        f"layer {layer.name}: the proof is not decided: at none of {field.DRAWS} random points, "
        "with entries between -2 and 2, all of its square roots, logarithms and powers have a "
        "value in exact arithmetic (each root of an entry of its own has one at every fourth "
        "point); declare fewer entries where their number is fixed, R(2) for R(6), or prove the "
        "parts that have roots as layers of their own, with positive arguments, sqrt(1 + x * x); "
        "the laws of maps and kernels are checked by numbers all the same"
    )


def _check_depth(layer: Layer) -> None:
    """Raises Undecided if products and functions are nested too deep; sums do not count."""
    depth = nested(layer.output)
    if depth > NESTED:
        raise Undecided(
            f"layer {layer.name}: the proof is not decided: its formula has "
            f"{depth} nested operations, and exact components are "
            f"compared up to {NESTED}; prove its parts as layers of their own (the laws of maps "
            "and kernels are checked by numbers at any depth)"
        )


class Oracle:
    """The components of a layer, each argmax a fixed place, and SymPy's derivatives of them."""

    def __init__(self, layer: Layer, sizes: Sizes, seed: int = 0) -> None:
        self.layer, self.sizes = layer, sizes
        indices = {
            a.name: some_indices(a.variable.space, sizes)
            for a in layer.arguments
            if isinstance(a.variable.space, Indices)
        }
        self._components = Components(sizes, indices, seed)
        self.output = self.components_of(layer.rewritten.output)
        self._partials: dict[tuple[Any, ...], sympy.Expr] = {}

    def components_of(self, node: Node) -> list[sympy.Expr]:
        """An expression's components in order."""
        return flat_components(self._components.of(node))

    def rewritten_differs_at(self, seed: int) -> int | None:
        """The first component in which declared and rewritten formula differ, or None."""
        declared = self.components_of(self.layer.output)
        exact = field.differences([(declared, self.output)], seed=seed)[0]
        return None if exact is None else disagreement(declared, self.output, seed)

    def jacobian(self, x: Variable) -> sympy.Matrix:
        """df_i / dx_j."""
        symbols = self.components_of(x)
        entries = [self.partial(i, s) for i in range(len(self.output)) for s in symbols]
        return sympy.Matrix(len(self.output), len(symbols), entries)

    def moved_jacobian(self, y: Variable, x: Variable, direction: list[sympy.Expr]) -> sympy.Matrix:
        """The sum over k of d^2 f_i / dx_k dy_j times the direction's k-th component."""
        along = list(zip(self.components_of(x), direction, strict=True))
        columns = self.components_of(y)
        entries = [
            sympy.Add(*(self.partial(i, s, t) * d for s, d in along))
            for i in range(len(self.output))
            for t in columns
        ]
        return sympy.Matrix(len(self.output), len(columns), entries)

    def partial(self, i: int, *by: sympy.Symbol) -> sympy.Expr:
        """d^k f_i by these symbols, by SymPy's `diff`; sorted, since derivatives commute."""
        key = (i, *sorted(by, key=str))
        if key not in self._partials:
            *lower, last = key
            self._partials[key] = self.partial(*lower).diff(last) if by else self.output[i]
        return self._partials[key]

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
            bilinear = self.layer.second(x.name, y.name)
            moved = self.moved_jacobian(y, x, self.components_of(bilinear.left))
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


def some_indices(space: Indices, sizes: Sizes) -> Any:
    """Class indices in their range, each of them at least once if there is room."""
    bound = int(space.bound.subs(sizes))
    shape = tuple(int(extent.subs(sizes)) for extent in space.shape)
    if not shape:
        return bound - 1
    count = int(sympy.prod(shape))
    return sympy.Array([k % bound for k in range(count)]).reshape(*shape).tolist()
