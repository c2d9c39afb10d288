"""The components of any expression as SymPy objects, at given sizes.

Written from the definition of each node, with the plain bodies of elementwise operations; it shares
nothing with the calculus, so that SymPy's own derivatives can be held against it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import singledispatch
from itertools import product
from typing import Any

import numpy as np
import sympy

from .expressions import (
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
from .forms import Access
from .reference import Sizes, extent, shape_of
from .spaces import Gram, Indices, Product, Real, Space, leaves
from .walk import topological

Components = Any  # an object array of SymPy expressions, or a tuple of components


def to_sympy(
    node: Node, sizes: Sizes, indices: Mapping[str, Any] | None = None
) -> sympy.NDimArray | tuple[Any, ...]:
    """The components of an expression as SymPy arrays, a tuple for a direct product.

    The components of a variable x are the real symbols x_0_1, ..; class indices have no symbol and
    are given as integers by name.  A Gram matrix is symmetric by its symbols.
    """
    return _as_sympy(components([node], sizes, indices or {})[0])


def _as_sympy(value: Components) -> Any:
    if isinstance(value, tuple):
        return tuple(_as_sympy(part) for part in value)
    return sympy.ImmutableDenseNDimArray(value.ravel().tolist(), value.shape)


def components(
    roots: list[Node], sizes: Sizes, indices: Mapping[str, Any]
) -> list[Components]:
    """The roots' components as object arrays of SymPy expressions."""
    at = _At(sizes, indices, _gram_names(roots))
    for node in topological(*roots):
        at.found[node] = _components(node, at)
    return [at.found[root] for root in roots]


def flat_components(value: Components) -> list[sympy.Expr]:
    """All components in order."""
    if isinstance(value, tuple):
        return [entry for part in value for entry in flat_components(part)]
    return list(value.ravel())


def symbols_of(name: str, space: Space, sizes: Sizes, symmetric: bool = False) -> Components:
    """The real symbols name_0_1, .. that stand for a variable's components."""
    if isinstance(space, Product):
        return tuple(
            symbols_of(f"{name}_{k}_", factor, sizes) for k, factor in enumerate(space.factors)
        )
    assert isinstance(space, Real)
    array = np.empty(shape_of(space, sizes), dtype=object)
    for place in np.ndindex(*array.shape):
        shown = sorted(place) if symmetric else place
        array[place] = sympy.Symbol("_".join([name, *map(str, shown)]), real=True)
    return array


def gram_matrix(gram: Gram, count: int) -> sympy.Matrix:
    """The Gram matrix, or its inverse, in symbols."""
    space = Real((sympy.Integer(count),) * 2, (None, None))
    matrix = sympy.Matrix(symbols_of(gram.name, space, {}, symmetric=True).tolist())
    return matrix.inv(method="ADJ") if gram.inverted else matrix


def _gram_names(roots: list[Node]) -> dict[str, Gram]:
    found: dict[str, Gram] = {}
    for node in topological(*roots):
        for leaf in leaves(node.space):
            for gram in getattr(leaf, "grams", ()):
                if gram is not None:
                    found[gram.name] = Gram(gram.name)
                    found[f"{gram.name}_inverse"] = Gram(gram.name, inverted=True)
    return found


class _At:
    """Sizes, class indices, Gram matrices, and the components so far."""

    def __init__(self, sizes: Sizes, indices: Mapping[str, Any], grams: dict[str, Gram]) -> None:
        self.sizes, self.indices, self.grams = sizes, indices, grams
        self.found: dict[Node, Components] = {}

    def __getitem__(self, node: Node) -> Components:
        return self.found[node]


@singledispatch
def _components(node: Node, at: _At) -> Components:
    raise TypeError(f"{type(node).__name__} is uninterpreted and has no components")


@_components.register
def _(node: Variable, at: _At) -> Components:
    if isinstance(node.space, Indices):
        return np.asarray(at.indices[node.name], dtype=object)
    if node.name in at.grams:
        count = shape_of(node.space, at.sizes)[0]  # type: ignore[arg-type]
        return np.array(gram_matrix(at.grams[node.name], count).tolist(), dtype=object)
    return symbols_of(node.name, node.space, at.sizes)


@_components.register
def _(node: Constant, at: _At) -> Components:
    return _filled(node.space, at, node.value.subs(at.sizes))


@_components.register
def _(node: LinearCombination, at: _At) -> Components:
    total = _filled(node.space, at, sympy.S.Zero)
    for weight, term in node.terms:
        total = np.asarray(total + weight.subs(at.sizes) * at[term], dtype=object)
    return total


@_components.register
def _(node: Elementwise, at: _At) -> Components:
    psi, arrays = node.operation, [at[z] for z in node.arguments]
    result = np.empty(arrays[0].shape, dtype=object)
    for place in np.ndindex(*result.shape):
        entries = (array[place] for array in arrays)
        result[place] = psi.body.xreplace(dict(zip(psi.arguments, entries, strict=True)))
    return result


@_components.register
def _(node: Tuple, at: _At) -> Components:
    return tuple(at[component] for component in node.components)


@_components.register
def _(node: Projection, at: _At) -> Components:
    return at[node.operand][node.position]


@_components.register
def _(node: Held, at: _At) -> Components:
    return at[node.operand]


@_components.register
def _(node: Argmax, at: _At) -> Components:
    """For each entry the conditions under which each value of the index is the first largest."""
    (summed,) = node.form.summed(1)
    count = extent(node.form.extent(summed), at.sizes)
    result = np.empty(shape_of(node.space, at.sizes), dtype=object)  # type: ignore[arg-type]
    for values in _grid(node.form.free, node.form, at, without=(summed,)):
        reads = [
            _read(at[node.operand], node.form.slots[0], values | {summed: sympy.Integer(k)}, at)
            for k in range(count)
        ]
        result[_place(node.form.slots[1], values, at)] = [_first(reads, k) for k in range(count)]
    return result


def _first(reads: list[sympy.Expr], k: int) -> sympy.Basic:
    before = [reads[k] > reads[j] for j in range(k)]
    after = [reads[k] >= reads[j] for j in range(k + 1, len(reads))]
    return sympy.And(*before, *after)


@_components.register
def _(node: Contraction, at: _At) -> Components:
    result = _filled(node.space, at, sympy.S.Zero)
    for values in _grid([index for index, _ in node.form.extents], node.form, at):
        place = _place(node.output, values, at)
        if not all(0 <= p < count for p, count in zip(place, result.shape, strict=True)):
            continue
        reads = [
            _read(at[x], node.access(k), values, at) for k, x in enumerate(node.filled)
        ]
        result[place] = result[place] + sympy.prod(reads) * _chosen(node, values, at)
    return result


def _chosen(node: Contraction, values: Mapping[sympy.Symbol, Any], at: _At) -> sympy.Expr:
    """One where every bound index has its selector's value, else zero."""
    chosen = sympy.S.One
    for (index, access), selector in zip(node.form.bound, node.selectors, strict=True):
        selected = at[selector][_place(access, values, at)]
        if isinstance(selected, list):
            condition = selected[int(values[index])]
            chosen = chosen * sympy.Piecewise((1, condition), (0, True))
        else:
            chosen = chosen * (1 if int(selected) == int(values[index]) else 0)
    return chosen


def _grid(order: Any, form: Any, at: _At, without: tuple[sympy.Symbol, ...] = ()) -> Any:
    running = [index for index in order if index not in without]
    counts = [range(extent(form.extent(index), at.sizes)) for index in running]
    for numbers in product(*counts):
        yield {i: sympy.Integer(k) for i, k in zip(running, numbers, strict=True)}


def _place(access: Access, values: Mapping[sympy.Symbol, Any], at: _At) -> tuple[int, ...]:
    return tuple(int(entry.subs(at.sizes).xreplace(values)) for entry in access)


def _read(array: Any, access: Access, values: Mapping[sympy.Symbol, Any], at: _At) -> sympy.Expr:
    place = _place(access, values, at)
    inside = all(0 <= p < count for p, count in zip(place, array.shape, strict=True))
    return array[place] if inside else sympy.S.Zero


def _filled(space: Space, at: _At, number: sympy.Expr) -> Components:
    assert isinstance(space, Real)
    return np.full(shape_of(space, at.sizes), number, dtype=object)
