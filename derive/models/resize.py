"""Sizes replaced: expressions and layers on spaces of other sizes, under other names.

A size stands in the spaces of an expression, in the extents and accesses of its forms, and in its
numbers (a mean divides by one); all of them are replaced, and all at once, so that n and m may
change places.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import sympy

from ..language.expressions import (
    Argmax,
    Constant,
    Contraction,
    Jet,
    LinearCombination,
    Node,
    Variable,
    argmax,
    constant,
    contraction,
    intern,
    linear_combination,
    variable,
    zero,
)
from ..language.forms import Access, Form
from ..language.roles import Argument
from ..language.sizes import Size, size
from ..language.spaces import Indices, Space, SpaceError, leaves, substitute
from ..language.walk import Rebuilt, topological
from .layers import Layer, require_layer

Sizes = Mapping[sympy.Symbol, Size]


def resized(
    roots: Sequence[Node], sizes: Sizes, values: Mapping[Node, Node] | None = None
) -> dict[Node, Node]:
    """Every node of the roots with its sizes replaced, keyed by the old node.

    What `values` holds is put in as it is: an expression of the new sizes for a variable.
    """
    at, new = _Replacement(sizes), dict(values or {})
    for node in topological(*roots):
        if node not in new:
            new[node] = _Resized([new[operand] for operand in node.operands], at)(node)
    return new


def resized_space(space: Space, sizes: Sizes) -> Space:
    """The space with its sizes replaced, all at once."""
    return _Replacement(sizes).space(space)


def resized_layer(
    layer: Layer,
    sizes: Sizes,
    *,
    name: str = "",
    renamed: Mapping[str, str] | None = None,
    prefix: str = "",
) -> Layer:
    """The layer with its sizes replaced, its arguments renamed, a prefix before its locals."""
    called = renamed or {}
    values: dict[Node, Node] = {}
    arguments = []
    for argument in layer.arguments:
        space = resized_space(argument.variable.space, sizes)
        moved = variable(called.get(argument.name, argument.name), space)
        values[argument.variable] = moved
        arguments.append(Argument(moved, argument.role))
    new = resized([layer.output], sizes, values)
    names = {new[node]: f"{prefix}{local}" for node, local in layer.names.items() if node in new}
    output, doc = new[layer.output], layer.doc
    return Layer(name or layer.name, tuple(arguments), output, names, doc)


def sizes_of(layer: Layer, sizes: Mapping[sympy.Symbol | str, object]) -> dict[sympy.Symbol, Size]:
    """The layer's sizes that are to be replaced, given by symbol or by name.

    Raises SpaceError where the layer has no such size, or the new one is below 1 or no size.
    """
    require_layer("sizes", layer)
    known = {str(symbol): symbol for symbol in layer.sizes}
    if not isinstance(sizes, Mapping):
        shown = ", ".join(f"'{name}': 3" for name in known)
        raise SpaceError(f"{layer.signature}: expected sizes by name, {{{shown}}}, got {sizes!r}")
    for given in sizes:
        if str(given) not in known:
            expected = ", ".join(known) or "none"
            raise SpaceError(f"{layer.signature} has no size {str(given)!r}; it has {expected}")
    return {known[str(given)]: size(extent) for given, extent in sizes.items()}


def symbols_of(space: Space) -> tuple[sympy.Symbol, ...]:
    """The sizes that a space is written with, in order of first appearance."""
    found: dict[sympy.Symbol, None] = {}
    for leaf in leaves(space):
        extents = (leaf.bound, *leaf.shape) if isinstance(leaf, Indices) else leaf.shape
        for extent in extents:
            found.update(dict.fromkeys(sorted(extent.free_symbols, key=str)))
    return tuple(found)


def bound_sizes(space: Space, given: Space) -> dict[sympy.Symbol, Size]:
    """The plain sizes of a space where each of them is in a given one; the rest is not compared.

    >>> from derive import R, dims
    >>> n, m = dims("n m")
    >>> bound_sizes(R(n, 2 * m), R(4, 6))
    {n: 4}
    """
    bound: dict[sympy.Symbol, Size] = {}
    for own, other in zip(leaves(space), leaves(given), strict=False):
        for extent, value in zip(own.shape, other.shape, strict=False):
            if isinstance(extent, sympy.Symbol):
                bound.setdefault(extent, value)
    return bound


class _Replacement:
    """Sizes to replace, wherever an expression holds them."""

    def __init__(self, sizes: Sizes) -> None:
        self.sizes = {symbol: size(extent) for symbol, extent in sizes.items()}

    def space(self, space: Space) -> Space:
        return substitute(space, self.sizes)

    def number(self, expression: sympy.Expr) -> sympy.Expr:
        return expression.xreplace(self.sizes)

    def access(self, access: Access) -> Access:
        return tuple(self.number(entry) for entry in access)

    def form(self, form: Form) -> Form:
        return Form(
            tuple(self.access(access) for access in form.slots),
            tuple((index, self.access(access)) for index, access in form.bound),
            tuple((index, size(self.number(extent))) for index, extent in form.extents),
            form.name,
        )


class _Resized(Rebuilt):
    """The node with its sizes replaced, on operands that have theirs replaced."""

    __slots__ = ("at",)

    def __init__(self, operands: Sequence[Node], at: _Replacement) -> None:
        super().__init__(operands)
        self.at = at

    def variable(self, node: Variable) -> Node:
        return variable(node.name, self.at.space(node.space))

    def constant(self, node: Constant) -> Node:
        return constant(self.at.number(node.value), self.at.space(node.space))

    def linear_combination(self, node: LinearCombination) -> Node:
        if not self.operands:
            return zero(self.at.space(node.space))
        weights = (self.at.number(weight) for weight, _ in node.terms)
        return linear_combination(zip(weights, self.operands, strict=True))

    def contraction(self, node: Contraction) -> Node:
        count, space, form = len(node.filled), self.at.space(node.space), self.at.form(node.form)
        filled, selectors = self.operands[:count], self.operands[count:]
        return contraction(space, form, node.opened, filled, selectors)

    def argmax(self, node: Argmax) -> Node:
        form, space = self.at.form(node.form), self.at.space(node.space)
        return argmax(form, space, self.operands[0], node.position)

    def jet(self, node: Jet) -> Node:
        new, space = super().jet(node), self.at.space(node.space)
        return intern(replace(new, space=space)) if isinstance(new, Jet) else zero(space)
