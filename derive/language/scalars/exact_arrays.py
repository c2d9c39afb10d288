"""The algebra of arrays of mpmath's reals: `Multiprecision` entry by entry, one fold for all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .algebras import Multiprecision


class ExactArrays(Multiprecision):
    """Object arrays of multiprecision numbers, in mpmath's working precision."""

    def variable(self, value: Any) -> Any:
        return _entrywise(lambda x: Multiprecision.variable(self, x), 1)(value)

    def multiply(self, above: Sequence[Any], below: Sequence[Any]) -> Any:
        counts = len(above), len(below)
        product = _entrywise(
            lambda *z: Multiprecision.multiply(self, z[: counts[0]], z[counts[0] :]), sum(counts)
        )
        return product(*above, *below)

    def call(self, name: str, *arguments: Any) -> Any:
        one = _entrywise(lambda *z: Multiprecision.call(self, name, *z), len(arguments))
        return one(*arguments)

    def compare(self, relation: str, left: Any, right: Any) -> Any:
        one = _entrywise(lambda a, b: Multiprecision.compare(self, relation, a, b), 2)
        return np.asarray(one(left, right), dtype=bool)

    def join(self, word: str, parts: Sequence[Any]) -> Any:
        return np.all(parts, axis=0) if word == "and" else np.any(parts, axis=0)

    def select(self, branches: Sequence[tuple[Any, Any]], fallback: Any) -> Any:
        for value, holds in reversed(branches):
            fallback = np.where(holds, value, fallback)
        return fallback


def _entrywise(function: Any, count: int) -> Any:
    return np.frompyfunc(function, count, 1)
