"""What a declaration must fulfil before it is a layer; a sentence names the layer and the fix."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import sympy

from ..calculus.maps import variables_of
from ..language.expressions import (
    Argmax,
    Constant,
    Contraction,
    Elementwise,
    LinearCombination,
    Node,
)
from ..language.names import RESERVED, checked, checked_argument, checked_function
from ..language.reading import Reading
from ..language.roles import PARAMETER, STATE, Argument
from ..language.scalars.operations import Operation
from ..language.scalars.shipped import shipped
from ..language.spaces import Gram, Indices, Real, Space, SpaceError, leaves
from ..language.walk import topological


def check_names(
    name: str, arguments: Sequence[Argument], sizes: Sequence[sympy.Symbol], output: Node
) -> None:
    """Every name can be emitted, and means one thing."""
    checked(name, "layer")
    for size in sizes:
        if size.is_positive:  # a user's; the batch, whose size may be 0, has a name of the kernels
            checked_argument(str(size), f"size of layer {name}")
    seen: set[str] = {str(size) for size in sizes}
    for gram in gram_extents(name, arguments, output):
        _claim(name, checked(gram, f"Gram matrix of layer {name}"), seen)
        seen.add(f"{gram}_inverse")
    for argument in arguments:
        _claim(name, checked_argument(argument.name, f"layer {name}"), seen)
        if argument.role in (STATE, PARAMETER) and _has_indices(argument.variable.space):
            raise SpaceError(
                f"layer {name}: argument {argument.name}: class indices are given, not "
                "differentiated; declare them by themselves as Index(...), or right of the * as "
                "fixed(Index(...))"
            )


def _claim(layer: str, name: str, seen: set[str]) -> None:
    if name in seen:
        raise SpaceError(
            f"layer {layer}: {name!r} is the name of two things among its arguments, sizes "
            "and Gram matrices; rename one"
        )
    seen.add(name)


def gram_extents(layer: str, arguments: Sequence[Argument], output: Node) -> dict[str, sympy.Expr]:
    """The Gram matrices by name, with the extent of their axis."""
    found: dict[str, sympy.Expr] = {}
    for space in (*(a.variable.space for a in arguments), output.space):
        for gram, extent in _grams(space):
            if found.setdefault(gram.name, extent) != extent:
                raise SpaceError(
                    f"layer {layer}: the Gram matrix {gram.name} belongs to an axis of "
                    f"size {found[gram.name]} and to one of size {extent}; use two names"
                )
    return found


def check_output(layer: str, arguments: Sequence[Argument], output: Node) -> None:
    """The formula is an array of the declared arguments."""
    if _has_indices(output.space):
        raise SpaceError(
            f"layer {layer}: it returns class indices, {output.space}, which have no "
            "derivative; return an array"
        )
    extents = gram_extents(layer, arguments, output)
    grams = {f"{name}{end}" for name in extents for end in ("", "_inverse")}
    known = {argument.variable for argument in arguments}
    for x in variables_of(output):
        if x not in known and x.name not in grams:
            raise SpaceError(
                f"layer {layer}: the formula has {x.name} of {x.space}, which is not "
                "an argument; declare it as state, parameter, given or fixed"
            )


def check_operations(layer: str, sizes: Sequence[sympy.Symbol], output: Node) -> None:
    """Operations become functions of a kernel: each name is free and means one of them."""
    found: dict[str, Operation] = {}
    taken = {str(size) for size in sizes}
    nodes = (node for node in topological(output) if isinstance(node, Elementwise))
    for psi in (node.operation for node in nodes):
        if found.setdefault(psi.name, psi) != psi or psi.base in taken:
            raise SpaceError(
                f"layer {layer}: operation {psi.name!r}: another operation or a size of "
                "this layer has this name; rename one"
            )
        _check_operation(psi, f"layer {layer}: operation")


def _check_operation(psi: Operation, what: str) -> None:
    """The names of a user's operation and its arguments can be a function's in a kernel."""
    if psi.base not in shipped:
        checked_function(psi.base, what)
        for argument in psi.arguments:
            checked(str(argument), f"{what} {psi.base}: argument")
    elif psi.name in RESERVED and psi != shipped[psi.name]:
        raise SpaceError(f"{what}: {psi.name!r} is the name of another function; rename it")


def extents_of(space: Space) -> Iterator[sympy.Expr]:
    """The extents of a space's axes, and the bound of class indices."""
    for leaf in leaves(space):
        yield from leaf.shape
        if isinstance(leaf, Indices):
            yield leaf.bound


def sizes_written(node: Node) -> set[sympy.Symbol]:
    """The sizes that an expression is written with, beside its space: in numbers and accesses."""
    return _SIZES(node)


class _Sizes(Reading[set[sympy.Symbol]]):
    """The sizes in a node's own numbers and accesses."""

    def constant(self, node: Constant) -> set[sympy.Symbol]:
        return set(node.value.free_symbols)

    def linear_combination(self, node: LinearCombination) -> set[sympy.Symbol]:
        return {size for weight, _ in node.terms for size in weight.free_symbols}

    def _of_form(self, node: Contraction | Argmax) -> set[sympy.Symbol]:
        indices, extents = zip(*node.form.extents, strict=True) if node.form.extents else ((), ())
        bound = (entry for _, access in node.form.bound for entry in access)
        read = (*(entry for access in node.form.slots for entry in access), *bound, *extents)
        return {symbol for part in read for symbol in part.free_symbols}.difference(indices)

    contraction = argmax = _of_form

    def _none(self, node: Node) -> set[sympy.Symbol]:
        return set()

    variable = elementwise = running_sum = tuple_ = projection = _none
    held = potential = jet = _none


_SIZES = _Sizes()


def _grams(space: Space) -> Iterator[tuple[Gram, sympy.Expr]]:
    for leaf in leaves(space):
        if isinstance(leaf, Real):
            pairs = zip(leaf.grams, leaf.shape, strict=True)
            yield from ((gram, extent) for gram, extent in pairs if gram is not None)


def _has_indices(space: Space) -> bool:
    return any(isinstance(leaf, Indices) for leaf in leaves(space))
