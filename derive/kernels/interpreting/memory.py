"""The memory of a kernel that is interpreted: every read and write of it is checked.

A place outside of an axis is an error; so is a read of what was never written, or of what another
buffer left in the same workspace; and so is memory that is NULL.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...language.reference import Array
from ..statements.scalars import Buffer

UNWRITTEN = -1


class InterpretationError(ValueError):
    """A statement did what no kernel may do; the message names the buffer and the place."""


@dataclass
class Region:
    """The memory of one buffer: entries, who wrote each of them last, and what may be done."""

    name: str
    entries: Array
    shape: tuple[int, ...]
    writer: Array
    owner: int
    writable: bool
    is_read: bool = False

    def at(self, place: Sequence[int]) -> int:
        """The offset of a place, every axis checked."""
        offset = 0
        for entry, extent in zip(place, self.shape, strict=True):
            if not 0 <= entry < extent:
                raise InterpretationError(f"{self.name}{list(place)} is outside of {self.shape}")
            offset = offset * extent + entry
        return offset

    def read(self, offset: Any, to_add: bool = False) -> Any:
        """Entries that were written before; `to_add`: only to be written again."""
        self.is_read |= not to_add
        own = self.writer[offset] == self.owner
        if not (own if isinstance(offset, int) else own.all()):
            raise InterpretationError(f"{self.name}: entry {offset} is read and was not written")
        return self.entries[offset]

    def write(self, offset: Any, value: Any) -> None:
        """Sets entries."""
        if not self.writable:
            raise InterpretationError(f"{self.name} is written to and is an input")
        self.entries[offset], self.writer[offset] = value, self.owner


class Memory(dict[str, Region | None]):
    """The regions by name; None stands for NULL.  `scratch` are those in the workspace."""

    def __init__(self) -> None:
        super().__init__()
        self.scratch: list[Region] = []

    def check_use(self) -> None:
        """Every workspace buffer that was written was read: nothing is written but never read."""
        for region in self.scratch:
            if np.any(region.writer == region.owner) and not region.is_read:
                raise InterpretationError(f"{region.name} is computed and nothing reads it")

    def region(self, buffer: Buffer) -> Region:
        found = self[buffer.name]
        if found is None:
            raise InterpretationError(f"{buffer.name} is NULL: it is not asked for")
        return found
