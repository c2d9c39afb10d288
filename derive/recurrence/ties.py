"""Ties: which axes of a block go over one index together, and which a recursion keeps so.

An axis of what is derived by that is *tied* to one of what is derived need not be stored: the block
is zero off that diagonal.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..calculus.terms import Term, Ties, ties

Key = tuple[int, int]
Tied = dict[Key, Ties]


def composed(left: Ties, right: Ties) -> Ties:
    """The ties of a product of two derivatives."""
    return frozenset((q, p) for q, r in left for s, p in right if r == s)


def met(terms: Sequence[Term]) -> Ties:
    """The axes that are tied in all of the terms."""
    return frozenset.intersection(*(ties(term) for term in terms))


def met_in_both(left: Tied, right: Tied) -> Tied:
    """The ties of a sum: a block that is in one of the two alone keeps its own."""
    return left | {key: left.get(key, own) & own for key, own in right.items()}


def tied_products(left: Tied, right: Tied) -> Tied:
    """The ties of all products of blocks; a block that is not there is zero."""
    found: Tied = {}
    for (a, b), first in left.items():
        for (c, k), second in right.items():
            if b == c:
                found = met_in_both(found, {(a, k): composed(first, second)})
    return found


def closure(start: Tied, carried: Callable[[Tied], Tied]) -> Tied:
    """The largest ties of a start that X = carried(X) + start keeps, block by block.

    A block that is not in what is found is zero for ever.
    """
    found = start
    while (new := met_in_both(found, carried(found))) != found:
        found = new
    return found
