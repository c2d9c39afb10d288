"""What a layer says of itself: its formula line by line, and its spaces."""

from __future__ import annotations

from ..language.abbreviations import abbreviated
from ..language.text import Writer
from ..language.walk import topological
from .layers import Layer


def formula(layer: Layer) -> list[str]:
    """The layer's lines: each local in the order of its use, then what is returned."""
    names = abbreviated((layer.output,), layer.names, layer.words)
    writer = Writer(names)
    named = [node for node in topological(layer.output) if node in names]
    lines = [f"{names[node]} = {writer.formula(node)}" for node in named]
    returned = writer(layer.output) if layer.output in layer.names else writer.formula(layer.output)
    return [*lines, f"{layer.signature} = {returned}"]


def computed(layer: Layer) -> list[str]:
    """The laws that rewrite the formula and the lines that come of it; empty if no law does."""
    if not layer.rewrites:
        return []
    laws = dict.fromkeys(found.law for found in layer.rewrites)
    return [f"rewritten by {', '.join(laws)}:", *formula(layer.rewritten)]


def spaces(layer: Layer) -> list[str]:
    """Every argument with its space and role, and the space of the output."""
    lines = [f"{a.name} in {a.variable.space}, {a.role}" for a in layer.arguments]
    return [*lines, f"{layer.signature} in {layer.output.space}"]
