"""The loop indices and scalars of one kernel, and the names that they have."""

from __future__ import annotations

from collections.abc import Sequence

import sympy

from ...language.accesses import stays_inside
from ...language.names import Allocator
from ..statements.scalars import (
    Guards,
    Subscript,
)


class LoopNames:
    """The loop indices and scalars of one kernel, by readable names that nothing else has."""

    def __init__(self, allocator: Allocator, batch: sympy.Symbol) -> None:
        self.batch = batch
        self._allocator = allocator
        self._sample = allocator.fresh("s")
        self._letters: list[str] = []
        self.used: dict[str, None] = {}
        self.scalars: dict[str, None] = {}
        self.extents: dict[sympy.Symbol, sympy.Expr] = {}

    def fresh(self, extents: Sequence[sympy.Expr]) -> list[sympy.Symbol]:
        """One index for each extent: s for the batch, i, j, k, .. for the others."""
        return [self.index(name, e) for name, e in zip(self.names(extents), extents, strict=True)]

    def names(self, extents: Sequence[sympy.Expr]) -> list[str]:
        """The names that `fresh` gives to indices over these extents."""
        found: list[str] = []
        for extent in extents:
            first = extent == self.batch and self._sample not in found
            letter = len(found) - found.count(self._sample)
            found.append(self._sample if first else self._letter(letter))
        return found

    def index(self, name: str, extent: sympy.Expr) -> sympy.Symbol:
        """The index of that name, now running over `extent` values."""
        symbol = sympy.Symbol(name, integer=True, nonnegative=True)
        self.used[name] = None
        self.extents[symbol] = extent
        return symbol

    def _letter(self, number: int) -> str:
        while len(self._letters) <= number:
            wanted = "ijklpqrtuvw"[len(self._letters) % 11]
            self._letters.append(self._allocator.fresh(wanted))
        return self._letters[number]

    def scalar(self, wanted: str, place: Subscript, used: dict[str, int]) -> str:
        """A name for a scalar that this nest does not use yet; an array's with the place behind it.

        Scalars are set before they are read in every nest, so that one may serve again in another.
        `used` has the last number behind every name.
        """
        spot = "".join(str(index) for index in place if index.is_Symbol)
        name, number = wanted, 1
        if spot and not self._is_free(name, used):
            name = f"{wanted}_{spot}"
        if not self._is_free(name, used):
            number = used.get(wanted, 1)
            while not self._is_free(name, used):
                number += 1
                name = f"{wanted}_{number}"
            used[wanted] = number
        if name not in self.scalars:
            self.scalars[self._allocator.fresh(name)] = None
        used.setdefault(name, 1)
        return name

    def _is_free(self, name: str, used: dict[str, int]) -> bool:
        return name not in used and (name in self.scalars or not self._allocator.is_taken(name))

    def scalar_index(self, wanted: str) -> str:
        """A name for an index that no loop nest runs over."""
        return self._allocator.fresh(wanted)

    def outside(self, access: Subscript, shape: Subscript) -> Guards:
        """The entries of an access that may lie outside an array of that shape."""
        return tuple(
            (entry, extent)
            for entry, extent in zip(access, shape, strict=True)
            if not stays_inside(entry, extent, self.extents)
        )
