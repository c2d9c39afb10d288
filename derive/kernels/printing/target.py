"""What one target language says differently from another.

Which functions and primitives a module uses, what its kernels take and the walk over statements
are the same for all of them.  A language is a subclass of `Target`, which can't be made while one
of its phrases is missing, and a folder of templates with a branch for each kind of statement.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Literal

Kind = Literal["size", "real", "index"]
"""What a number is: a size or a loop's index, a real number, an entry of an array of indices."""


class Target(ABC):
    """The phrases of a language; every argument that is text is already in that language."""

    @property
    @abstractmethod
    def folder(self) -> str:
        """The folder of its templates, below templates/."""

    # --- types

    @abstractmethod
    def type(self, kind: Kind) -> str:
        """The type of a number."""

    @abstractmethod
    def pointer(self, kind: Kind, name: str, constant: bool) -> str:
        """The declaration of a pointer to numbers, which are only read where it is constant."""

    # --- integers

    @abstractmethod
    def quotient(self, above: str, below: str) -> str:
        """The quotient, rounded down, of integers that are not negative."""

    @abstractmethod
    def floor_quotient(self, above: str, below: str) -> str:
        """The quotient, rounded down, where `above` may be negative: a call."""

    @abstractmethod
    def extreme(self, word: Literal["max", "min"], parts: Sequence[str]) -> str:
        """The largest or the smallest of integers: a call."""

    # --- real numbers

    @abstractmethod
    def real(self, number: str) -> str:
        """A number in the kernel's precision; it binds more tightly than a product."""

    @abstractmethod
    def call(self, name: str, arguments: Sequence[str]) -> str:
        """An elementwise function at real numbers."""

    @abstractmethod
    def choice(self, value: str, condition: str, other: str) -> str:
        """A value where a condition holds, elsewhere the other one, without parentheses."""

    # --- conditions

    @abstractmethod
    def join(self, word: str, conditions: Sequence[str]) -> str:
        """Whether all conditions hold, or one of them."""

    @abstractmethod
    def bounds(self, entry: str, extent: str) -> str:
        """Whether 0 <= entry < extent."""

    @abstractmethod
    def is_given(self, pointer: str) -> str:
        """Whether a pointer is not NULL."""

    def address_if_given(self, pointer: str, address: str) -> str:
        """An address in an array, and NULL where there is no array."""
        return self.choice(address, self.is_given(pointer), "NULL")
