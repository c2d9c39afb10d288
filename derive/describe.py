"""A layer in words: formula and spaces, derived maps of both orders, kernels and their cost."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from .expressions import is_zero
from .kernels.cost import Cost, cost_of
from .kernels.lower import lower
from .layers import Layer
from .maps import LinearMap
from .places import Place
from .programs import programs
from .text import Writer
from .walk import topological


@dataclass(frozen=True)
class ArgumentText:
    """An argument: its name, its space and its role."""

    name: str
    space: str
    role: str


@dataclass(frozen=True)
class MapText:
    """A derived map L: `variable` -> `body`, from `domain` to `codomain`.

    `symbol` is D_x, or D^2_(x, W) of a second-order map, which is the adjoint of a hook.
    """

    symbol: str
    name: str
    order: int
    variable: str
    domain: str
    codomain: str
    body: str
    zero: bool


@dataclass(frozen=True)
class KernelText:
    """A kernel: the laws that it computes, and its cost in closed form."""

    name: str
    law: tuple[str, ...]
    cost: Cost


@dataclass(frozen=True)
class Description:
    """All that `derive show` tells of a layer."""

    name: str
    signature: str
    doc: str
    declared: Place | None
    arguments: tuple[ArgumentText, ...]
    output: str
    formula: tuple[str, ...]
    maps: tuple[MapText, ...]
    kernels: tuple[KernelText, ...]


def describe(layer: Layer) -> Description:
    """The description of a layer."""
    return Description(
        name=layer.name,
        signature=layer.signature,
        doc=layer.doc,
        declared=layer.place,
        arguments=tuple(
            ArgumentText(a.name, str(a.variable.space), a.role) for a in layer.arguments
        ),
        output=str(layer.output.space),
        formula=tuple(formula(layer)),
        maps=tuple(maps(layer)),
        kernels=tuple(KernelText(p.name, p.law, cost_of(lower(p))) for p in programs(layer)),
    )


def formula(layer: Layer) -> list[str]:
    """The layer's lines: each local in the order of its use, then what is returned."""
    writer = Writer(layer.names)
    named = [node for node in topological(layer.output) if node in layer.names]
    lines = [f"{layer.names[node]} = {writer.formula(node)}" for node in named]
    returned = writer(layer.output) if layer.output in layer.names else writer.formula(layer.output)
    return [*lines, f"{layer.signature} = {returned}"]


def spaces(layer: Layer) -> list[str]:
    """Every argument with its space and role, and the space of the output."""
    lines = [f"{a.name} in {a.variable.space}, {a.role}" for a in layer.arguments]
    return [*lines, f"{layer.signature} in {layer.output.space}"]


def maps(layer: Layer) -> Iterator[MapText]:
    """Each first derivative and its adjoint, then the adjoint of each second derivative's hook."""
    for x in layer.differentiable:
        derivative = layer.derivative(x.name)
        for linear in (derivative, derivative.adjoint):
            yield _map(layer, linear.name, linear, order=1)
    for x in layer.differentiable:
        for y in layer.differentiable:
            second = layer.second(x.name, y.name)
            yield _map(layer, second.name, second.hook().adjoint, order=2)


def _map(layer: Layer, name: str, linear: LinearMap, order: int) -> MapText:
    return MapText(
        symbol=name.removesuffix(f" {layer.signature}"),
        name=linear.name,
        order=order,
        variable=linear.variable.name,
        domain=str(linear.domain),
        codomain=str(linear.codomain),
        body=Writer(layer.names).formula(linear.body),
        zero=is_zero(linear.body),
    )


# --- as lines


def lines(found: Description) -> Iterator[str]:
    """The lines of `derive show`; second-order maps that are zero share one."""
    first = [m for m in found.maps if m.order == 1]
    second = [m for m in found.maps if m.order == 2 and not m.zero]
    zero = [m.symbol for m in found.maps if m.order == 2 and m.zero]
    yield found.signature
    if found.doc:
        yield f"    {found.doc.splitlines()[0]}"
    yield from _section("spaces", _space_lines(found))
    yield from _section("formula", found.formula)
    yield from _section("first order", _map_lines(first))
    zeros = [f"zero: {', '.join(zero)}"] if zero else []
    yield from _section("second order, adjoint", [*_map_lines(second), *zeros])
    yield from _section("kernels", _kernel_lines(found.kernels))


def _section(title: str, lines_: Iterable[str]) -> Iterator[str]:
    yield ""
    yield f"{title}:"
    yield from (f"    {line}" for line in lines_)


def _space_lines(found: Description) -> Iterator[str]:
    yield from (f"{a.name} in {a.space}, {a.role}" for a in found.arguments)
    yield f"{found.signature} in {found.output}"


def _map_lines(found: Iterable[MapText]) -> Iterator[str]:
    for linear in found:
        yield f"{linear.name} : {linear.domain} -> {linear.codomain}"
        yield f"    {linear.variable} -> {linear.body}"


def _kernel_lines(found: Iterable[KernelText]) -> Iterator[str]:
    for kernel in found:
        yield f"{kernel.name}: {'; '.join(kernel.law)}"
        yield from (f"    {line}" for line in kernel.cost.lines)
