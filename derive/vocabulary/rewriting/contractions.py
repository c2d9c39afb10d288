"""Contractions of contractions written as one."""

from __future__ import annotations

from typing import TypeGuard

import sympy

from ...language.accesses import stays_inside
from ...language.expressions import Contraction, Node, contraction
from ...language.forms import make_form
from ...language.spaces import Real
from .searching import DEPTH


def flattened(node: Contraction) -> Contraction:
    """The contraction with the factors of its factors, where these are products of entries."""
    for _ in range(DEPTH):
        products = (
            composed(node, k, x)
            for k, x in enumerate(node.filled)
            if writes_each_once(x) and x.is_pointwise
        )
        made = next(products, node)
        if made is node or not isinstance(made, Contraction):
            break
        node = made
    return node


def writes_each_once(node: Node) -> TypeGuard[Contraction]:
    """A contraction that writes every entry of its array, each once."""
    if not isinstance(node, Contraction) or node.selectors:
        return False
    assert isinstance(node.space, Real)
    return node.form.covers(node.opened, node.space.shape)


def composed(node: Contraction, position: int, factor: Contraction) -> Node:
    """The two contractions as one, the factor's indices being those that it is read at.

    The node itself where the factor may be read outside: there it is zero, whatever its own factors
    are.
    """
    assert isinstance(factor.space, Real)
    if not reads_inside(node, position, factor.space):
        return node
    at = dict(zip(factor.output, node.access(position), strict=True))
    own = {i: sympy.Symbol(f"s_{i}", integer=True, nonnegative=True) for i in factor.summed}
    extents = dict(node.form.extents) | {own[i]: factor.form.extent(i) for i in factor.summed}
    reads = [node.access(k) for k in range(len(node.filled))]
    inner_reads = [
        tuple(entry.xreplace(at | own) for entry in factor.access(k))
        for k in range(len(factor.filled))
    ]
    accesses = [*reads[:position], *inner_reads, *reads[position + 1 :], node.output]
    filled = [*node.filled[:position], *factor.filled, *node.filled[position + 1 :]]
    form = make_form(accesses, extents, node.form.bound)
    return contraction(node.space, form, len(filled), filled, node.selectors)


def reads_inside(node: Contraction, position: int, space: Real) -> bool:
    """An operand of that space is never read outside its array."""
    extents = dict(node.form.extents)
    pairs = zip(node.access(position), space.shape, strict=True)
    return all(stays_inside(entry, extent, extents) for entry, extent in pairs)


def sum_of_diagonal(node: Node) -> Node | None:
    """A product of which only a diagonal is read: tr(A* B) = <A, B>, the diagonal alone made."""
    if not isinstance(node, Contraction):
        return None
    for k, factor in enumerate(node.filled):
        access = node.access(k)
        on_diagonal = len(set(access)) < len(access) and all(e.is_Symbol for e in access)
        if on_diagonal and writes_each_once(factor) and factor.summed:
            made = composed(node, k, factor)
            return flattened(made) if isinstance(made, Contraction) else made
    return None


def merged(node: Contraction, first: int, second: int, factor: Node) -> Node:
    """The contraction with one factor in place of two that are read at one access."""
    gone = node.slots[second]
    slots = [access for slot, access in enumerate(node.form.slots) if slot != gone]
    form = make_form(slots, dict(node.form.extents), node.form.bound)
    filled = [factor if k == first else x for k, x in enumerate(node.filled) if k != second]
    opened = node.opened - (gone < node.opened)
    return contraction(node.space, form, opened, filled, node.selectors)
