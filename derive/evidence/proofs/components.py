"""The components of any expression as SymPy objects, at given sizes.

Written from the definition of each node, with the plain bodies of elementwise operations.  It has
no code in common with the calculus, so that SymPy's own derivatives of it are independent.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
import sympy

from ...calculus.maps import BilinearMap, LinearMap
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
)
from ...language.forms import Access, Form
from ...language.mistakes import called
from ...language.reading import Reading
from ...language.reference import Sizes, extent, shape_of, values_of
from ...language.sizes import dims
from ...language.spaces import Gram, Indices, Product, Real, Space, SpaceError, leaves
from ...language.walk import topological
from ...models.layers import Layer
from .depth import nested
from .symbols import Value, flat_components, gram_matrix, gram_names, symbols_of

Bound = tuple[tuple[tuple[sympy.Symbol, Access], Node], ...]  # bound indices with their selectors


@called
def to_sympy(
    item: Node | LinearMap | BilinearMap | Layer,
    sizes: Sizes,
    indices: Mapping[str, Any] | None = None,
) -> Any:
    """The components of an expression, a map's value or a layer's as SymPy arrays.

    A tuple stands for an element of a direct product.  The components of a variable x are the real
    symbols x_0_1, ..; class indices have no symbol and are given as integers by name.  A Gram
    matrix has equal symbols across its diagonal.  Raises SpaceError if a size is missing, two
    variables would share a symbol, or the expression is too deep for SymPy's recursion.

    >>> from derive import R, dims, variable
    >>> to_sympy(variable("x", R(dims("n"))) * 2, {"n": 2})
    [2*x_0, 2*x_1]
    """
    if isinstance(item, (LinearMap, BilinearMap)):
        item = item.body
    node = item.output if isinstance(item, Layer) else item
    if not isinstance(node, Node) or not isinstance(sizes, Mapping):
        raise SpaceError(
            "to_sympy: expected an expression, a map or a layer, and sizes {n: 2}, got "
            f"{item!r} and {sizes!r}"
        )
    sizes = {dims(n) if isinstance(n, str) else n: count for n, count in sizes.items()}
    try:
        return _as_sympy(Components(sizes, indices or {}).of(node))
    except RecursionError:
        raise SpaceError(
            f"an expression with {nested(node)} nested operations is too deep for SymPy's "
            "recursion; take the components of its parts, or evaluate it at numbers"
        ) from None


def _as_sympy(value: Value) -> Any:
    if isinstance(value, tuple):
        return tuple(_as_sympy(part) for part in value)
    return sympy.ImmutableDenseNDimArray(value.ravel().tolist(), value.shape)


class Components(Reading[Value]):
    """Components of expressions at some sizes and class indices; shared parts are kept.

    With a seed, every argmax is a fixed place, the one at a random point of this seed: it does not
    move near the point.  Without a seed, it is a list of conditions.
    """

    def __init__(self, sizes: Sizes, indices: Mapping[str, Any], seed: int | None = None) -> None:
        self.sizes, self.indices, self.seed = sizes, indices, seed
        self._grams: dict[str, Gram] = {}
        self._owner: dict[sympy.Symbol, str] = {}
        self._found: dict[Node, Value] = {}

    def __getitem__(self, node: Node) -> Value:
        return self._found[node]

    def of(self, node: Node) -> Value:
        """The components of one expression, an object array or a tuple of them."""
        order = topological(node)
        self._grams.update(gram_names(order))
        for inner in order:
            if inner not in self._found:
                self._found[inner] = self(inner)
        return self._found[node]

    def variable(self, x: Variable) -> Value:
        """Its symbols, the entries of a Gram matrix, or the class indices given."""
        if isinstance(x.space, Indices):
            if x.name not in self.indices:
                raise SpaceError(f"{x.name} of {x.space} has no symbol; give it in indices={{...}}")
            return np.asarray(self.indices[x.name], dtype=object)
        if x.name in self._grams:
            (count, _) = (extent(entry, self.sizes) for entry in _array(x.space).shape)
            value = _objects(gram_matrix(self._grams[x.name], count).tolist())
        else:
            value = symbols_of(x.name, x.space, self.sizes)
        self._claim(x.name.removesuffix("_inverse") if x.name in self._grams else x.name, value)
        return value

    def place_of(self, node: Argmax) -> Value:
        """The place where the operand is largest at the random point, in integers."""
        variables = [x for x in topological(node) if isinstance(x, Variable)]
        point = {x: self._drawn(x) for x in variables}
        with np.errstate(all="ignore"):
            (found,) = values_of([node], point, self.sizes)
        return np.asarray(found, dtype=object)

    def _drawn(self, x: Variable) -> Value:
        """A value of a variable that depends only on its name and the seed."""
        if isinstance(x.space, Indices):
            return np.asarray(self.indices[x.name])
        random = np.random.default_rng([*x.name.encode(), self.seed or 0])
        drawn = [random.normal(size=shape_of(leaf, self.sizes)) for leaf in leaves(x.space)]
        return tuple(drawn) if isinstance(x.space, Product) else drawn[0]

    def _claim(self, name: str, value: Value) -> None:
        for symbol in (s for entry in flat_components(value) for s in entry.free_symbols):
            if self._owner.setdefault(symbol, name) != name:
                raise SpaceError(
                    f"{name} and {self._owner[symbol]} both have a component called {symbol}; "
                    "rename one of them"
                )

    def constant(self, node: Constant) -> Value:
        return _filled(node.space, self, node.value.subs(self.sizes))

    def linear_combination(self, node: LinearCombination) -> Value:
        total = _filled(node.space, self, sympy.S.Zero)
        for weight, term in node.terms:
            total = np.asarray(total + weight.subs(self.sizes) * self[term], dtype=object)
        return total

    def elementwise(self, node: Elementwise) -> Value:
        psi, arrays = node.operation, [self[z] for z in node.arguments]
        result = np.empty(arrays[0].shape, dtype=object)
        for place in np.ndindex(*result.shape):
            entries = (array[place] for array in arrays)
            result[place] = psi.body.xreplace(dict(zip(psi.arguments, entries, strict=True)))
        return result

    def running_sum(self, node: RunningSum) -> Value:
        array = self[node.operand]
        result = np.empty(array.shape, dtype=object)
        for *row, k in np.ndindex(*array.shape):
            summed = range(k, array.shape[-1]) if node.reverse else range(k + 1)
            result[(*row, k)] = sympy.Add(*(array[(*row, j)] for j in summed))
        return result

    def tuple_(self, node: Tuple) -> Value:
        return tuple(self[component] for component in node.components)

    def projection(self, node: Projection) -> Value:
        return self[node.operand][node.position]

    def held(self, node: Held | Potential) -> Value:
        return self[node.operand]

    potential = held

    def jet(self, node: Jet) -> Value:
        raise TypeError("Jet is uninterpreted and has no components")

    def argmax(self, node: Argmax) -> Value:
        """For each entry a list of conditions; the first that holds is the first maximum."""
        if self.seed is not None:
            return self.place_of(node)
        assert isinstance(node.space, Indices)
        count = extent(node.space.bound, self.sizes)
        kept = [index for index in node.form.free if index not in node.summed]
        result: Value = np.empty(shape_of(node.space, self.sizes), dtype=object)
        for values in _grid(kept, node.form, self):
            first = _first_largest(node, values, self)
            result[_place(node.form.slots[1], values, self)] = [
                sympy.Or(*(true for place, true in first.items() if place[node.position] == k))
                for k in range(count - 1)
            ] + [sympy.true]
        return result

    def contraction(self, node: Contraction) -> Value:
        result = _filled(node.space, self, sympy.S.Zero)
        bound = tuple(zip(node.form.bound, node.selectors, strict=True))
        for values in _grid(node.form.free, node.form, self):
            for place, term in _terms(node, bound, values, self).items():
                if _inside(place, result.shape):
                    result[place] = result[place] + term
        return result


def _array(space: Space) -> Real:
    assert isinstance(space, Real)
    return space


def _objects(rows: list[list[sympy.Expr]]) -> Value:
    return np.array(rows, dtype=object)


def _first_largest(
    node: Argmax, values: Mapping[sympy.Symbol, Any], at: Components
) -> dict[tuple[int, ...], sympy.Basic]:
    """For each place of a window, the condition that its first largest entry is there."""
    array, reads = at[node.operand], {}
    for window in _grid(node.summed, node.form, at):
        read = _place(node.form.slots[0], {**values, **window}, at)
        if _inside(read, array.shape):
            reads[tuple(int(k) for k in window.values())] = array[read]
    alone = len(node.summed) == 1  # conditions are then tested in order of the places
    return {
        place: sympy.And(
            *(x > other for before, other in reads.items() if before < place and not alone),
            *(x >= other for after, other in reads.items() if after > place),
        )
        for place, x in reads.items()
    }


def _terms(
    node: Contraction, bound: Bound, values: Mapping[sympy.Symbol, Any], at: Components
) -> dict[tuple[int, ...], sympy.Expr]:
    """What one setting of the running indices adds to the result, by place."""
    if not bound:
        reads = (_read(at[x], node.access(k), values, at) for k, x in enumerate(node.filled))
        return {_place(node.output, values, at): sympy.prod(reads)}
    (index, access), selector = bound[0]
    chosen = at[selector][_place(access, values, at)]
    if not isinstance(chosen, list):
        return _terms(node, bound[1:], {**values, index: sympy.Integer(chosen)}, at)
    branches = [
        _terms(node, bound[1:], {**values, index: sympy.Integer(k)}, at) for k in range(len(chosen))
    ]
    places = dict.fromkeys(place for branch in branches for place in branch)
    return {place: _by_condition(branches, place, chosen) for place in places}


def _by_condition(
    branches: list[dict[tuple[int, ...], sympy.Expr]],
    place: tuple[int, ...],
    conditions: list[sympy.Basic],
) -> sympy.Expr:
    terms = (branch.get(place, sympy.S.Zero) for branch in branches)
    return sympy.Piecewise(*zip(terms, conditions, strict=True))


def _grid(
    running: Sequence[sympy.Symbol], form: Form, at: Components
) -> Iterator[dict[sympy.Symbol, sympy.Integer]]:
    counts = [range(extent(form.extent(index), at.sizes)) for index in running]
    for numbers in product(*counts):
        yield {i: sympy.Integer(k) for i, k in zip(running, numbers, strict=True)}


def _place(access: Access, values: Mapping[sympy.Symbol, Any], at: Components) -> tuple[int, ...]:
    known = {**at.sizes, **values}
    return tuple(int(entry.xreplace(known)) for entry in access)


def _inside(place: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    return all(0 <= p < count for p, count in zip(place, shape, strict=True))


def _read(
    array: Any,
    access: Access,
    values: Mapping[sympy.Symbol, Any],
    at: Components,
) -> sympy.Expr:
    place = _place(access, values, at)
    return array[place] if _inside(place, array.shape) else sympy.S.Zero


def _filled(space: Space, at: Components, number: sympy.Expr) -> Value:
    return np.full(shape_of(_array(space), at.sizes), number, dtype=object)
