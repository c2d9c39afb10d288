"""Concrete functions in place of uninterpreted ones, so that derived equations can be checked.

A jet is replaced by what it stands for: a derivative of the concrete function, taken by the
calculus, at the arguments of the jet.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ...calculus.calculus import tangent, transpose
from ...language.expressions import Jet, Node, Variable, variable
from ...language.spaces import Hom, Real, Space
from ...language.walk import rebuild, rewrite, topological
from ...vocabulary.functions import tanh

Functions = Mapping[str, Callable[..., Node]]


def interpreted(node: Node, functions: Functions) -> Node:
    """The expression with every uninterpreted function replaced, in all its derivatives."""
    new: dict[Node, Node] = {}
    for inner in topological(node):
        operands = [new[operand] for operand in inner.operands]
        if isinstance(inner, Jet) and inner.function in functions:
            new[inner] = _put_in(inner, functions[inner.function], operands)
        else:
            new[inner] = rebuild(inner, operands)
    return new[node]


def _put_in(jet: Jet, function: Callable[..., Node], operands: list[Node]) -> Node:
    """<D^k f(arguments)(directions), cotangent> with one slot open, for a concrete f."""
    slots = [variable(f"slot{k}", x.space) for k, x in enumerate(jet.operands)]
    count = len(jet.arguments)
    value = function(*slots[:count])
    for (slot, _), direction in zip(jet.directions, slots[count:], strict=False):
        value = tangent(value, {slots[slot]: direction})
    if jet.opened is not None:
        opened = variable("opened", jet.space)
        moved = tangent(value, {slots[jet.opened]: opened})
        value = transpose(moved, slots[-1], [opened])[opened]
    return rewrite([value], dict[Node, Node](zip(slots, operands, strict=True)).get)[value]


def smooth(name: str, domain: tuple[Space, ...], codomain: Space) -> Callable[..., Node]:
    """tanh(A_1 x_1 + A_2 x_2 + ..) with its own arrays A_k: none of its derivatives vanishes."""
    arrays = weights(name, domain, codomain)

    def function(*arguments: Node) -> Node:
        terms = [a @ x for a, x in zip(arrays, arguments, strict=True)]
        total = terms[0]
        for term in terms[1:]:
            total = total + term
        return tanh(total)

    return function


def weights(name: str, domain: tuple[Space, ...], codomain: Space) -> list[Variable]:
    """The arrays A_k of `smooth`."""
    assert isinstance(codomain, Real)
    return [variable(f"{name}_{k}", Hom(x, codomain)) for k, x in enumerate(domain)]
