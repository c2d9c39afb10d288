"""Expressions as they are lowered: nested sums as one, windows laid out, shares scaled once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Iterable, Mapping

import sympy

from ...language.expressions import (
    Held,
    LinearCombination,
    Node,
    linear_combination,
)
from ...language.patterns import as_share
from ...language.walk import rebuild, topological
from .products import (
    laid_out,
)

WIDE = 64  # terms of a sum within a sum that are written as terms of the outer one


def prepared(roots: Iterable[Node], names: Container[Node]) -> dict[Node, Node]:
    """Every node as it is lowered: held values are plain ones, nameless sums in sums one sum.

    Products with windows are products with what the windows show: those are matrix products.
    Shares of a sum of exponentials are the exponentials that are summed, times one number: a
    division for each row in place of an exponential for each entry.
    """
    order = topological(*roots)
    uses = Counter(operand for node in order for operand in node.operands)
    new: dict[Node, Node] = {}
    for node in order:
        if isinstance(node, Held):  # nothing more is derived
            new[node] = new[node.operand]
        elif isinstance(node, LinearCombination) and node.terms:
            new[node] = _flat_sum(node, new, lambda x: uses[x] == 1 and x not in names)
        else:
            made = laid_out(rebuild(node, [new[operand] for operand in node.operands]))
            share = as_share(made)
            new[node] = made if share is None else share
    return new


def _flat_sum(
    node: LinearCombination, new: Mapping[Node, Node], once: Callable[[Node], bool]
) -> Node:
    """The sum with the terms of sums that are read here alone; one of more than WIDE is kept."""
    terms: list[tuple[sympy.Expr, Node]] = []
    for weight, x in node.terms:
        inner = new[x] if once(x) else None
        if isinstance(inner, LinearCombination) and 0 < len(inner.terms) <= WIDE:
            terms += [(weight * w, t) for w, t in inner.terms]
        else:
            terms.append((weight, new[x]))
    return linear_combination(terms) if terms else node
