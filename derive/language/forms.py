"""Multilinear forms given by index accesses.

A form sends arrays (x_1, .., x_k) to the number  sum over all indices of  x_1[a_1] ... x_k[a_k],
where each access a_j is a tuple of affine integer expressions in the indices, one for each axis,
and a read outside an array is zero.  An index is *bound* where its value is read from an integer
array (an embedding look-up, the class of a target).

A form with one slot open is a linear map in every other slot, and opening another slot of the same
form gives the adjoint: no rule for a transpose is ever written.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import sympy

from .mistakes import SpaceError, called
from .sizes import Size, size

Access = tuple[sympy.Expr, ...]


@called
def indices(names: str) -> tuple[sympy.Symbol, ...]:
    """Summation indices, from names separated by spaces.

    Raises SpaceError where a name is not an identifier, or stands twice.
    """
    words = names.split() if isinstance(names, str) else []
    if not words or len(set(words)) < len(words) or not all(w.isidentifier() for w in words):
        raise SpaceError(
            "indices: expected different names separated by spaces, as in indices('i j'), got "
            f"{names!r}"
        )
    return tuple(sympy.Symbol(name, integer=True, nonnegative=True) for name in names.split())


def canonical_index(position: int) -> sympy.Symbol:
    """The index that a form uses at `position`, whatever its user called it."""
    return sympy.Symbol(f"i{position}", integer=True, nonnegative=True)


@dataclass(frozen=True)
class FormName:
    """What a form was called where it was written, and which slots of that one are ones."""

    word: str
    ones: tuple[int, ...] = ()

    def with_ones(self, slot: int, count: int) -> FormName:
        """The name of what remains of `count` slots where this one is filled with ones."""
        left = [k for k in range(count + len(self.ones)) if k not in self.ones]
        return FormName(self.word, tuple(sorted((*self.ones, left[slot]))))


@dataclass(frozen=True)
class Form:
    """The slots' accesses, the bound indices with their integer array's access, the extents.

    The name is for display and no part of the value: forms of two names are equal.
    """

    slots: tuple[Access, ...]
    bound: tuple[tuple[sympy.Symbol, Access], ...]
    extents: tuple[tuple[sympy.Symbol, Size], ...]
    name: FormName | None = field(default=None, compare=False, repr=False)

    def extent(self, index: sympy.Symbol) -> Size:
        """The number of values of an index."""
        return dict(self.extents)[index]

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        return hash((self.slots, self.bound, self.extents))

    def __reduce__(self) -> tuple[Any, ...]:
        """A pickle is without the hash, which is another in every process."""
        return Form, (self.slots, self.bound, self.extents, self.name)

    @cached_property
    def free(self) -> tuple[sympy.Symbol, ...]:
        """The indices that run, in order: all but the bound ones."""
        bound = {index for index, _ in self.bound}
        return tuple(index for index, _ in self.extents if index not in bound)

    def summed(self, opened: int) -> tuple[sympy.Symbol, ...]:
        """The running indices that the open slot does not show."""
        shown = set(self.slots[opened])
        return tuple(index for index in self.free if index not in shown)

    def is_plain(self, slot: int) -> bool:
        """The slot's access is a list of different running indices: every entry is met once."""
        access = self.slots[slot]
        return len(set(access)) == len(access) and set(access) <= set(self.free)

    def covers(self, slot: int, shape: Sequence[Size]) -> bool:
        """The slot's access is plain, and its indices run over the whole of an array's axes."""
        pairs = zip(self.slots[slot], shape, strict=True)
        return self.is_plain(slot) and all(self.extent(index) == axis for index, axis in pairs)

    def is_pointwise(self, opened: int, shape: Sequence[Size]) -> bool:
        """With this slot open, each entry of a result of that shape is one product of entries."""
        return self.covers(opened, shape) and not self.summed(opened)


def make_form(
    slots: Iterable[Access],
    extents: Mapping[sympy.Symbol, Size],
    bound: Iterable[tuple[sympy.Symbol, Access]] = (),
    name: FormName | None = None,
) -> Form:
    """A form with its indices renamed in the order in which they appear."""
    slots, bound = tuple(slots), tuple(bound)
    order: dict[sympy.Symbol, sympy.Symbol] = {}
    for access in (*slots, *(access for _, access in bound)):
        for expression in access:
            for symbol in sorted(expression.free_symbols & extents.keys(), key=lambda s: s.name):
                order.setdefault(symbol, canonical_index(len(order)))
    for index in sorted(extents.keys() - order.keys(), key=lambda s: s.name):
        order[index] = canonical_index(len(order))
    return Form(
        tuple(_renamed(access, order) for access in slots),
        tuple((order[index], _renamed(access, order)) for index, access in bound),
        tuple((new, size(extents[old])) for old, new in order.items()),
        name,
    )


def with_ones(form: Form, slot: int) -> Form:
    """What remains of a form where a slot is filled with ones."""
    rest = [access for k, access in enumerate(form.slots) if k != slot]
    name = form.name and form.name.with_ones(slot, len(form.slots))
    return make_form(rest, dict(form.extents), form.bound, name)


def _renamed(access: Access, order: Mapping[sympy.Symbol, sympy.Symbol]) -> Access:
    entries = (sympy.sympify(entry, strict=True) for entry in access)
    return tuple(order.get(e, e) if e.is_Symbol else e.xreplace(order) for e in entries)


def extents_of(
    name: str,
    accesses: Iterable[tuple[str, Access, tuple[Size, ...]]],
    given: Mapping[sympy.Symbol, Size],
) -> dict[sympy.Symbol, Size]:
    """The extent of every index: the given one, else that of an axis where it is a plain entry.

    An index with a given extent reads a part of a longer axis, and zeros beyond a shorter one, as
    an entry 2 i does.  Raises SpaceError where two axes disagree, an access has the wrong number of
    entries, or an index without a given extent is nowhere a plain entry.
    """
    found: dict[sympy.Symbol, Size] = dict(given)
    accesses = list(accesses)
    for slot, access, shape in accesses:
        if len(access) != len(shape):
            raise SpaceError(
                f"{name}: {slot} has shape {shape}, but its access {access} has "
                f"{len(access)} entries; write one entry for each axis"
            )
        for entry, extent in zip(access, shape, strict=True):
            if not isinstance(entry, sympy.Symbol) or entry in given:
                continue
            if found.setdefault(entry, extent) != extent:
                raise SpaceError(
                    f"{name}: index {entry} runs over {found[entry]} elsewhere and over {extent} "
                    f"in {slot}; give the two axes the same size or use two indices"
                )
    return found
