"""A formula rewritten before it is derived.

What a user writes and what is computed are one function, but not one computation: the logarithm of
softmax overflows where log_softmax does not, and the derivative of sqrt(<x, x>)**2 divides by zero
where that of <x, x> does not.  The printed formula stays the user's; D, nabla, kernels and the
written derivation start from the rewritten one.

Two tables of laws are applied: identities between expressions (`identities`), and those of scalar
functions (`language.scalars.laws`) to what an expression does entry by entry.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import sympy

from ...language.expressions import Constant, Contraction, Elementwise, LinearCombination, Node
from ...language.scalars import laws
from ...language.walk import rebuild, topological
from .identities import LAWS
from .pointwise import Scalars

PASSES = 16  # more than the laws that can act on each other's results, one after the other
MANY = 8  # terms of a sum in which no law of a few terms is looked for


@dataclass(frozen=True)
class Rewrite:
    """A law that was applied: the expression it was applied to, and what took its place.

    `domain` says where the two differ, by convention; mostly nowhere.
    """

    law: str
    before: Node
    after: Node
    domain: str


def rewritten(root: Node) -> tuple[dict[Node, Node], tuple[Rewrite, ...]]:
    """Every part of an expression with what it has become, and the laws that did it, in order."""
    new, applied = {node: node for node in topological(root)}, list[Rewrite]()
    for _ in range(PASSES):
        passed, found = _pass(new[root])
        if not found:
            break
        new = {node: passed.get(before, before) for node, before in new.items()}
        applied += found
    return new, tuple(applied)


def _pass(root: Node) -> tuple[dict[Node, Node], list[Rewrite]]:
    """Every part on what its operands have become, the first law that holds applied to it."""
    order = topological(root)
    uses = Counter(operand for node in order for operand in node.operands)
    new: dict[Node, Node] = {}
    applied: list[Rewrite] = []
    for node in order:
        operands = tuple(new[operand] for operand in node.operands)
        built = node if operands == node.operands else rebuild(node, operands)
        found = next(_steps(built, uses), None)
        applied += [found] if found else []
        new[node] = found.after if found else built
        if new[node] is not node:
            uses[new[node]] += uses[node]
    return new, applied


def _steps(node: Node, uses: Mapping[Node, int]) -> Iterator[Rewrite]:
    """What each law makes of an expression."""
    for law in LAWS:
        after = law.applied(node)
        if after is not None and after is not node:
            yield Rewrite(law.name, node, after, law.domain)
    yield from _scalar_step(node, uses)


# --- the laws of scalar functions


def _scalar_step(node: Node, uses: Mapping[Node, int]) -> Iterator[Rewrite]:
    """What the laws of scalar functions make of an expression.

    Below a function a law looks through everything, since digits lost there are lost; in a sum or a
    product only through what stands nowhere else, since the rest would be computed twice.
    """
    if not _may_lose_digits(node):
        return
    inside = isinstance(node, Elementwise)
    scalars = Scalars(lambda x: inside or uses[x] <= 1)
    after, found = laws.rewritten(scalars.formula(node))
    made = scalars.expression(after, node.space) if found else None
    if made is not None and made is not node:
        domains = dict.fromkeys(law.convention for law in found if law.convention)
        yield Rewrite(", ".join(law.name for law in found), node, made, "; ".join(domains))


def _may_lose_digits(node: Node) -> bool:
    """One of the laws' left sides may be of this kind; cheap to tell."""
    if isinstance(node, Elementwise):
        return _function(node) in (sympy.Pow, sympy.Mul, sympy.exp, sympy.log)
    parts = [x for x in node.operands[:MANY] if isinstance(x, Elementwise)]
    functions = [_function(x) for x in parts]
    if isinstance(node, LinearCombination) and len(node.terms) < MANY:
        beside = any(isinstance(x, Constant) for x in node.operands)
        return bool(parts) if beside else functions.count(sympy.exp) > 1
    return isinstance(node, Contraction) and sympy.exp in functions and node.is_pointwise


def _function(node: Elementwise) -> type[sympy.Basic]:
    found: type[sympy.Basic] = node.operation.rewritten.func
    return found
