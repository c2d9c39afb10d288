"""Stages: layers where they stand in a network, in its sizes and under qualified names.

Sizes are unified here: the state of a stage is the output of the one before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import sympy

from ..language.expressions import Node, Tuple, Variable
from ..language.roles import THETA, Argument
from ..language.sizes import Size, dims
from ..language.spaces import SpaceError, leaves
from ..language.walk import rewrite, topological
from .layers import Layer
from .resize import bound_sizes, resized_space, symbols_of

Path = tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Stage:
    """The layer f_i where it stands in a network: in the network's sizes, under qualified names.

    `paths` says where each parameter, and what is fixed, hangs in the tree.
    """

    name: str
    function: Layer
    paths: tuple[Path, ...] = ()

    @property
    def input(self) -> Variable:
        """x_i: the first state, or what is given where a first layer has no state."""
        return input_of(self.function)


def chained(name: str, stages: Sequence[Stage]) -> Layer:
    """The composition of stages, as a layer of the first one's input.

    An argument that several stages have is one, in the place of its first use.
    """
    output: Node = stages[0].input
    data: list[Argument] = []
    theta: list[Argument] = []
    names: dict[Node, str] = {}
    for stage in stages:
        f = stage.function
        put_in: dict[Node, Node] = {stage.input: output}
        new = rewrite([f.output], put_in.get)
        names |= {new[node]: local for node, local in f.names.items() if node in new}
        left = [a for a in f.arguments if stage is stages[0] or a.variable is not stage.input]
        data += [a for a in left if a.role not in THETA and a not in data]
        theta += [a for a in left if a.role in THETA and a not in theta]
        output = new[f.output]
        if stage is not stages[-1] and not isinstance(output, (Variable, Tuple)):
            names.setdefault(output, stage.name)
    return Layer(name, (*data, *theta), output, names)


def identity(name: str, x: Argument) -> Layer:
    """id on the space of x."""
    return Layer(name, (x,), x.variable)


def data_of(layer: Layer) -> tuple[Argument, ...]:
    """The arguments left of the semicolon."""
    return tuple(a for a in layer.arguments if a.role not in THETA)


def input_of(layer: Layer) -> Variable:
    """The first state, or the first thing given."""
    inputs = layer.state or tuple(a.variable for a in data_of(layer))
    if not inputs:
        raise SpaceError(f"{layer.signature} has no state, so it can't be a layer of a network")
    return inputs[0]


def stage_sizes(
    where: str, label: str, layer: Layer, before: Sequence[Stage]
) -> dict[sympy.Symbol, Size]:
    """What each size of a layer becomes: kept, bound, or qualified by the layer's name."""
    if before and not layer.state:
        raise SpaceError(
            f"network {where}: layer {label} has no state to take the output of "
            f"{before[-1].name}; only the first layer may do without"
        )
    if before:
        sizes = bound_sizes(input_of(layer).space, before[-1].function.output.space)
    else:
        sizes = {s: s for a in data_of(layer) for s in symbols_of(a.variable.space)}
    taken = [s for extent in sizes.values() for s in extent.free_symbols]
    taken += [s for stage in before for s in stage.function.sizes]
    for symbol in layer.sizes:
        if symbol not in sizes:
            sizes[symbol] = dims(f"{label}_{symbol}")
            if sizes[symbol] in taken:
                raise SpaceError(
                    f"network {where}: the size {symbol} of layer {label} would be called "
                    f"{sizes[symbol]}, which is another size of the network; rename the layer"
                )
    if before:
        _check_fit(where, label, layer, before[-1], sizes)
    return sizes


def _check_fit(
    where: str, label: str, layer: Layer, before: Stage, sizes: Mapping[sympy.Symbol, Size]
) -> None:
    """The state, in the network's sizes, is of the space that the stage before gives."""
    x, given = input_of(layer), before.function.output.space
    wanted = resized_space(x.space, sizes)
    if wanted != given:
        raise SpaceError(
            f"network {where}: layer {label} takes {x.name} of {wanted}, but layer "
            f"{before.name} gives {given}; use layers that fit, or set sizes of one of them by "
            "with_sizes(layer, {size: value})"
        )


def check_grams(where: str, outputs: Sequence[Node]) -> None:
    """A Gram matrix is one argument by its name, so it has one size."""
    found: dict[str, Size] = {}
    for node in topological(*outputs):
        for leaf in leaves(node.space):
            for gram, extent in zip(getattr(leaf, "grams", ()), leaf.shape, strict=False):
                if gram is not None and found.setdefault(gram.name, extent) != extent:
                    raise SpaceError(
                        f"network {where}: the Gram matrix {gram.name} is of size "
                        f"{found[gram.name]} and of size {extent}; give the two different names"
                    )
