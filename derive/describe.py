"""A layer in plain text: formula and spaces, derived maps of both orders, kernels and cost."""

from __future__ import annotations

from collections.abc import Iterator

from .kernels.cost import cost
from .kernels.lower import lower
from .layers import Layer
from .maps import LinearMap
from .programs import programs
from .text import Writer
from .walk import topological


def description(layer: Layer) -> Iterator[str]:
    """The lines of `derive show`."""
    writer = Writer(layer.names)
    yield layer.signature
    if layer.doc:
        yield f"    {layer.doc.splitlines()[0]}"
    yield from _section("spaces", spaces(layer))
    yield from _section("formula", formula(layer))
    yield from _section("first order", _first(layer, writer))
    yield from _section("second order, adjoint", _second(layer, writer))
    yield from _section("kernels", _kernels(layer))


def spaces(layer: Layer) -> list[str]:
    """Every argument with its space and role, and the space of the output."""
    lines = [f"{a.name} in {a.variable.space}, {a.role}" for a in layer.arguments]
    return [*lines, f"{layer.signature} in {layer.output.space}"]


def formula(layer: Layer) -> list[str]:
    """The layer's lines: each local in the order of its use, then what is returned."""
    writer = Writer(layer.names)
    named = [node for node in topological(layer.output) if node in layer.names]
    lines = [f"{layer.names[node]} = {writer.formula(node)}" for node in named]
    returned = writer(layer.output) if layer.output in layer.names else writer.formula(layer.output)
    return [*lines, f"{layer.signature} = {returned}"]


def _section(title: str, lines: Iterator[str] | list[str]) -> Iterator[str]:
    yield ""
    yield f"{title}:"
    yield from (f"    {line}" for line in lines)


def _first(layer: Layer, writer: Writer) -> Iterator[str]:
    for x in layer.differentiable:
        derivative = layer.derivative(x.name)
        yield from _map(derivative, writer)
        yield from _map(derivative.adjoint, writer)


def _second(layer: Layer, writer: Writer) -> Iterator[str]:
    for x in layer.differentiable:
        for y in layer.differentiable:
            yield from _map(layer.second(x.name, y.name).hook().adjoint, writer)


def _map(linear: LinearMap, writer: Writer) -> Iterator[str]:
    yield str(linear)
    yield f"    {linear.variable.name} -> {writer.formula(linear.body)}"


def _kernels(layer: Layer) -> Iterator[str]:
    for program in programs(layer):
        yield f"{program.name}: {'; '.join(program.law)}"
        yield from (f"    {line}" for line in cost(lower(program)))
