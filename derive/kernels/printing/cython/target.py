"""The phrases of Cython: one text for float and double, by the fused type `real`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from ..target import Kind, Target

TYPES: dict[Kind, str] = {"size": "Py_ssize_t", "real": "real", "index": "int64_t"}


class Cython(Target):
    """Cython; elementwise functions go by their names in runtime/elementary.pxd.

    Every constant is cast, so that a float32 kernel computes nothing in double.
    """

    @property
    def folder(self) -> str:
        return "cython"

    def type(self, kind: Kind) -> str:
        return TYPES[kind]

    def pointer(self, kind: Kind, name: str, constant: bool) -> str:
        return f"{'const ' if constant else ''}{TYPES[kind]}* {name}"

    def quotient(self, above: str, below: str) -> str:
        return f"{above} // {below}"

    def floor_quotient(self, above: str, below: str) -> str:
        return f"floordiv({above}, {below})"

    def extreme(self, word: Literal["max", "min"], parts: Sequence[str]) -> str:
        return f"{word}({', '.join(parts)})"

    def real(self, number: str) -> str:
        return f"<real>{number}"

    def call(self, name: str, arguments: Sequence[str]) -> str:
        return f"{name}({', '.join(arguments)})"

    def choice(self, value: str, condition: str, other: str) -> str:
        return f"{value} if {condition} else {other}"

    def join(self, word: str, conditions: Sequence[str]) -> str:
        return f" {word} ".join(f"({c})" if " or " in c else c for c in conditions)

    def bounds(self, entry: str, extent: str) -> str:
        return f"0 <= {entry} < {extent}"

    def is_given(self, pointer: str) -> str:
        return f"{pointer} is not NULL"

    def address_if_given(self, pointer: str, address: str) -> str:
        return f"NULL if {pointer} is NULL else {address}"


CYTHON = Cython()
