"""Forms as they are compared: the open slot last, products within spliced in, one order of slots.

Forms are few: what is found out about one is kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import sympy

from .accesses import stays_inside
from .forms import Access, Form, make_form


@lru_cache(maxsize=4096)
def open_last(form: Form, opened: int) -> Form:
    """The form with the open slot as its last."""
    slots = [*form.slots[:opened], *form.slots[opened + 1 :], form.slots[opened]]
    return make_form(slots, dict(form.extents), form.bound)


@lru_cache(maxsize=4096)
def spliced_form(
    outer: Form, position: int, inner: Form, shape: tuple[sympy.Expr, ...]
) -> Form | None:
    """A form with the slots of an inner form in place of the slot that reads its result.

    None where the inner form sums and the outer one has other factors, and where the result is read
    outside its array or set in only a part of it: elsewhere it is zero.
    """
    last, read, extents = len(inner.slots) - 1, outer.slots[position], dict(outer.extents)
    summed = {i: sympy.Symbol(f"{i}_within", integer=True) for i in inner.summed(last)}
    if not inner.covers(last, shape) or (summed and len(outer.slots) > 2):
        return None
    if not all(stays_inside(entry, axis, extents) for entry, axis in zip(read, shape, strict=True)):
        return None
    moved = {**dict(zip(inner.slots[-1], read, strict=True)), **summed}
    extents |= {new: inner.extent(i) for i, new in summed.items()}
    within = [tuple(e.xreplace(moved) for e in access) for access in inner.slots[:-1]]
    slots = [*outer.slots[:position], *within, *outer.slots[position + 1 :]]
    return make_form(slots, extents, outer.bound)


@lru_cache(maxsize=4096)
def ordered_form(
    form: Form, ranks: tuple[int, ...], selected: tuple[int, ...]
) -> tuple[Form, tuple[int, ...], tuple[int, ...]]:
    """The form with its operands in one order, and the orders of operands and of selectors.

    Operands come by their ranks.  Operands of equal rank are ordered by where they are read, with
    indices named in the order in which the result, then the operands before them, show them; each
    way to break a tie is tried.
    """
    selectors = tuple(sorted(range(len(selected)), key=lambda k: (selected[k], k)))
    bound = [form.bound[k] for k in selectors]
    orders = list(_orders(form, ranks))
    found = orders[0] if len(orders) == 1 else min(orders, key=lambda o: _look(form, o, bound))
    slots = [*(form.slots[k] for k in found), form.slots[-1]]
    made = _output_first(slots, form, bound)
    return made, found, selectors


def _orders(form: Form, ranks: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """The orders of operands by rank, with every order of equal ones that are read differently."""
    orders: list[tuple[int, ...]] = [()]
    for rank in sorted(set(ranks)):
        equal = [k for k, own in enumerate(ranks) if own == rank]
        orders = [(*order, *more) for order in orders for more in _permuted(form, equal)]
    return iter(orders)


def _permuted(form: Form, equal: list[int]) -> list[tuple[int, ...]]:
    """All orders of operands; those that differ only in operands of equal access are given once."""
    if len(equal) == 1:
        return [tuple(equal)]
    first = {form.slots[k]: k for k in reversed(equal)}
    return [
        (k, *rest)
        for k in sorted(first.values())
        for rest in _permuted(form, [other for other in equal if other != k])
    ]


def _output_first(slots: Sequence[Access], form: Form, bound: Any) -> Form:
    """The form of these slots, indices named by the last slot, then by the others in order."""
    turned = make_form([slots[-1], *slots[:-1]], dict(form.extents), bound)
    return Form((*turned.slots[1:], turned.slots[0]), turned.bound, turned.extents)


def _look(form: Form, order: tuple[int, ...], bound: Any) -> tuple[Any, ...]:
    """What orders are compared by: the accesses in the names that the order gives."""
    made = _output_first([*(form.slots[k] for k in order), form.slots[-1]], form, bound)
    entries = (e for access in made.slots for e in access)
    sizes = (extent for _, extent in made.extents)
    return tuple(e.sort_key() for e in (*entries, *sizes))
