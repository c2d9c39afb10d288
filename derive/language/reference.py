"""The reference: any expression evaluated with NumPy, as written, at any sizes.

Slow and plain; the kernels are measured against it.  It runs in float64; in complex numbers where
an input is complex, so that a complex step is possible; and in mpmath's numbers where the inputs
are arrays of them, by the plain formulas: then the result is exact to the working precision.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import sympy

from .expressions import (
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
from .forms import Access, Form
from .reading import Reading
from .scalars.algebras import Arrays
from .scalars.exact_arrays import ExactArrays
from .scalars.fold import evaluate
from .spaces import Indices, Product, Real, Space, SpaceError, leaves
from .walk import topological

Array = np.ndarray[Any, Any]
Value = Any  # an array, or a tuple of values for an element of a direct product
Sizes = Mapping[sympy.Symbol, int]


def value(node: Node, values: Mapping[Variable, Value], sizes: Sizes | None = None) -> Value:
    """The value of one expression; see `values_of`."""
    return values_of([node], values, sizes)[0]


def values_of(
    roots: Sequence[Node], given: Mapping[Variable, Value], sizes: Sizes | None = None
) -> list[Value]:
    """The roots' values at these arrays; sizes are read off the shapes, or given.

    Raises SpaceError where a variable has no value or a shape does not fit its space.
    """
    bound = dict(sizes or {})
    for x, value_ in given.items():
        bind_sizes(x.name, x.space, value_, bound)
    arrays = (array for value_ in given.values() for array in flat_arrays(value_))
    dtype = np.result_type(np.float64, *(array.dtype for array in arrays))
    found: dict[Node, Value] = {x: _cast(x.space, v, dtype) for x, v in given.items()}
    at = Values(found, bound, dtype)
    for node in topological(*roots):
        if node not in found:
            found[node] = at(node)
    return [found[root] for root in roots]


def _cast(space: Space, value_: Value, dtype: np.dtype[Any]) -> Value:
    """A value as arrays of the dtype; class indices as they are."""
    if isinstance(space, Product):
        parts = zip(space.factors, value_, strict=True)
        return tuple(_cast(factor, part, dtype) for factor, part in parts)
    return np.asarray(value_, dtype=None if isinstance(space, Indices) else dtype)


def flat_arrays(value_: Value) -> list[Array]:
    """The arrays that a value consists of."""
    if isinstance(value_, tuple):
        return [array for part in value_ for array in flat_arrays(part)]
    return [np.asarray(value_)]


def bind_sizes(name: str, space: Space, array: Value, sizes: dict[sympy.Symbol, int]) -> None:
    """Reads the sizes of a space off an array of it, and checks those that are known."""
    arrays = flat_arrays(array)
    spaces = list(leaves(space))
    if len(arrays) != len(spaces):
        raise SpaceError(f"{name}: expected {len(spaces)} arrays for {space}, got {len(arrays)}")
    for part, leaf in zip(arrays, spaces, strict=True):
        if part.ndim != len(leaf.shape):
            raise SpaceError(f"{name}: expected an array of {leaf}, got shape {part.shape}")
        for extent, count in zip(leaf.shape, part.shape, strict=True):
            if isinstance(extent, sympy.Symbol):
                sizes.setdefault(extent, count)
            known = at_sizes(extent, sizes)
            if known.is_number and known != count:
                raise SpaceError(
                    f"{name}: shape {part.shape} does not fit {leaf}: {extent} is {known} here"
                )


def at_sizes(expression: sympy.Expr, sizes: Sizes) -> sympy.Expr:
    """An expression at the sizes that are known; nearly all are a number or one size."""
    if expression.is_Symbol:
        return sympy.sympify(sizes.get(expression, expression))
    return expression if expression.is_Number else expression.subs(sizes)


def extent(expression: sympy.Expr, sizes: Sizes) -> int:
    """A size as a number."""
    number = at_sizes(expression, sizes)
    if not number.is_Integer:
        raise SpaceError(f"the size {expression} is not known; give it as sizes={{...}}")
    return int(number)


def shape_of(space: Real | Indices, sizes: Sizes) -> tuple[int, ...]:
    """The shape of an array space as numbers."""
    return tuple(extent(entry, sizes) for entry in space.shape)


class Values(Reading[Value]):
    """The values at a point: those found so far, at some sizes, in a dtype."""

    def __init__(self, found: dict[Node, Value], sizes: Sizes, dtype: np.dtype[Any]) -> None:
        self.found, self.sizes, self.dtype = found, sizes, dtype

    def __getitem__(self, node: Node) -> Value:
        return self.found[node]

    def number(self, coefficient: sympy.Expr) -> Any:
        number = at_sizes(coefficient, self.sizes)
        if number.free_symbols:
            raise SpaceError(f"the size {coefficient} is not known; give it as sizes={{...}}")
        return ExactArrays().constant(number) if self.dtype.kind == "O" else float(number)

    def full(self, space: Space, number: float) -> Array:
        assert isinstance(space, Real)
        return np.full(shape_of(space, self.sizes), number, dtype=self.dtype)

    def variable(self, node: Variable) -> Value:
        raise SpaceError(f"{node.name} of {node.space} has no value; give it an array")

    def constant(self, node: Constant) -> Value:
        return self.full(node.space, self.number(node.value))

    def linear_combination(self, node: LinearCombination) -> Value:
        total = self.full(node.space, 0.0)
        for weight, term in node.terms:
            total = total + self.number(weight) * self[term]
        return total

    def elementwise(self, node: Elementwise) -> Value:
        psi = node.operation
        arrays = (np.asarray(self[z]) for z in node.arguments)
        values = dict(zip(psi.arguments, arrays, strict=True))
        formula = psi.stable if self.dtype.kind == "f" else psi.body
        algebra: Any = ExactArrays() if self.dtype.kind == "O" else Arrays()
        return np.broadcast_to(evaluate(formula, values, algebra), values[psi.arguments[0]].shape)

    def tuple_(self, node: Tuple) -> Value:
        return tuple(self[component] for component in node.components)

    def projection(self, node: Projection) -> Value:
        return self[node.operand][node.position]

    def held(self, node: Held | Potential) -> Value:
        return self[node.operand]

    potential = held

    def jet(self, node: Jet) -> Value:
        raise TypeError("Jet is uninterpreted and has no value")

    def running_sum(self, node: RunningSum) -> Value:
        array, step = np.asarray(self[node.operand]), -1 if node.reverse else 1
        return np.cumsum(array[..., ::step], axis=-1)[..., ::step]

    def argmax(self, node: Argmax) -> Value:
        kept, summed = _shown(node.form, 1), node.summed
        grid = _Grid(node.form, self, [*kept, *summed])
        operand, access = np.asarray(self[node.operand]).real, node.form.slots[0]
        reads = grid.read(operand, access, outside=-np.inf)
        inside = grid.read(np.ones(operand.shape, dtype=bool), access, outside=False)
        shape, window = reads.shape[: len(kept)], reads.shape[len(kept) :]
        reads, inside = (a.reshape(*shape, math.prod(window)) for a in (reads, inside))
        most = np.max(reads, axis=-1, keepdims=True)  # a NaN before all numbers
        attained = inside & ((reads == most) | (reads != reads))
        return np.unravel_index(np.argmax(attained, axis=-1), window)[node.position]

    def contraction(self, node: Contraction) -> Value:
        plain = _einsum(node, self)
        if plain is not None:
            return plain
        grid = _Grid(node.form, self, list(node.form.free), [self[k] for k in node.selectors])
        product: Array = np.ones((1,) * len(grid.order), dtype=self.dtype)
        for position, operand in enumerate(node.filled):
            product = product * grid.read(np.asarray(self[operand]), node.access(position))
        return grid.add_into(self.full(node.space, 0.0), node.output, product)


def _shown(form: Form, slot: int) -> list[sympy.Symbol]:
    return [index for index in form.free if index in form.slots[slot]]


def _einsum(node: Contraction, at: Values) -> Array | None:
    """The contraction by einsum, where every access is a list of running indices."""
    form, free = node.form, {index: k for k, index in enumerate(node.form.free)}
    accesses = [node.access(k) for k in range(len(node.filled))]
    flat = [entry for access in (*accesses, node.output) for entry in access]
    if form.bound or not all(entry in free for entry in flat) or not form.is_plain(node.opened):
        return None
    if not all(_runs_over(x.space, access, form) for x, access in _slots(node)):
        return None
    arguments: list[Any] = []
    for operand, access in zip(node.filled, accesses, strict=True):
        arguments += [at[operand], [free[entry] for entry in access]]
    for index in free:
        if not any(index in access for access in accesses):
            arguments += [np.ones(extent(form.extent(index), at.sizes)), [free[index]]]
    result: Array = np.einsum(*arguments, [free[entry] for entry in node.output])
    return result


def _slots(node: Contraction) -> list[tuple[Node, Access]]:
    """The contraction and its operands, each with its access."""
    return [(node, node.output), *((x, node.access(k)) for k, x in enumerate(node.filled))]


def _runs_over(space: Space, access: Access, form: Form) -> bool:
    """Every index runs over the whole of its axis, and not over a part."""
    assert isinstance(space, Real)
    extents = dict(form.extents)
    return all(extents[entry] == axis for entry, axis in zip(access, space.shape, strict=True))


class _Grid:
    """All values of the running indices at once, one axis for each."""

    def __init__(
        self, form: Form, at: Values, order: list[sympy.Symbol], selectors: Sequence[Array] = ()
    ) -> None:
        self.order, self.sizes = order, at.sizes
        self.values: dict[sympy.Symbol, Array] = {}
        for axis, index in enumerate(order):
            count = extent(form.extent(index), at.sizes)
            shape = [-1 if k == axis else 1 for k in range(len(order))]
            self.values[index] = np.arange(count).reshape(shape)
        for (index, access), selector in zip(form.bound, selectors, strict=True):
            self.values[index] = np.asarray(selector)[self.positions(access)]

    def positions(self, access: Access) -> tuple[Array, ...]:
        """An access at every point of the grid."""
        return tuple(np.asarray(self._entry(entry)) for entry in access)

    def _entry(self, entry: sympy.Expr) -> Any:
        expression = at_sizes(entry, self.sizes)
        symbols = sorted(expression.free_symbols, key=str)
        total: Any = expression.subs(dict.fromkeys(symbols, 0)) if symbols else expression
        total = np.array(int(total))
        for index in symbols:
            total = total + int(expression.coeff(index)) * self.values[index]
        return total

    def read(self, array: Array, access: Access, outside: float = 0.0) -> Array:
        """The entries of an array at an access, `outside` beyond its borders."""
        places = self.positions(access)
        inside: Any = np.array(True)
        for place, count in zip(places, array.shape, strict=True):
            inside = inside & (place >= 0) & (place < count)
        clipped = tuple(
            np.clip(place, 0, count - 1) for place, count in zip(places, array.shape, strict=True)
        )
        return np.where(inside, array[clipped] if clipped else array, outside)

    def add_into(self, result: Array, access: Access, product: Array) -> Array:
        """The product summed into the result at an access; what falls outside is dropped."""
        shape = tuple(self.values[index].size for index in self.order)
        product = np.broadcast_to(product, shape)
        places = [np.broadcast_to(place, shape) for place in self.positions(access)]
        if not places:
            total: Array = result + product.sum()
            return total
        inside = np.ones(shape, dtype=bool)
        for place, count in zip(places, result.shape, strict=True):
            inside &= (place >= 0) & (place < count)
        np.add.at(result, tuple(place[inside] for place in places), product[inside])
        return result
