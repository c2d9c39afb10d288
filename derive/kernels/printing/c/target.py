"""The phrases of C99: a text for each dtype, names with the dtype behind them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Literal

from ....language.scalars.scalars import CALLED
from ..target import Kind, Target

REALS = {"float64": "double", "float32": "float"}


@dataclass(frozen=True)
class C(Target):
    """C99 in one dtype; elementary functions go by their names in math.h: exp, expf."""

    dtype: str

    @property
    def folder(self) -> str:
        return "c"

    def type(self, kind: Kind) -> str:
        return {"size": "ptrdiff_t", "real": REALS[self.dtype], "index": "int64_t"}[kind]

    def pointer(self, kind: Kind, name: str, constant: bool) -> str:
        return f"{'const ' if constant else ''}{self.type(kind)} *{name}"

    def quotient(self, above: str, below: str) -> str:
        return f"{above} / {below}"

    def floor_quotient(self, above: str, below: str) -> str:
        return f"layerwise_floordiv({above}, {below})"

    def extreme(self, word: Literal["max", "min"], parts: Sequence[str]) -> str:
        return reduce(lambda left, right: f"layerwise_{word}({left}, {right})", parts)

    def real(self, number: str) -> str:
        return f"({self.type('real')}){number}"

    def call(self, name: str, arguments: Sequence[str]) -> str:
        suffix = f"_{self.dtype}" if name not in CALLED else "f" if self.dtype == "float32" else ""
        return f"{name}{suffix}({', '.join(arguments)})"

    def choice(self, value: str, condition: str, other: str) -> str:
        return f"{condition} ? {value} : {other}"

    def join(self, word: str, conditions: Sequence[str]) -> str:
        sign = {"and": " && ", "or": " || "}[word]
        return sign.join(f"({c})" if "&&" in c or "||" in c else c for c in conditions)

    def bounds(self, entry: str, extent: str) -> str:
        return f"0 <= {entry} && {entry} < {extent}"

    def is_given(self, pointer: str) -> str:
        return f"{pointer} != NULL"

    def address_if_given(self, pointer: str, address: str) -> str:
        return self.choice(address, self.is_given(pointer), "NULL")
