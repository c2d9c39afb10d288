"""Points of random layers, and how far values are apart."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

NOISE = 1e-9
WORST = 1e4
# A statement is up to 30 operations of one rounding each (a softmax of four entries, a product of
# matrices of five), its derivatives are twice that; and noise that is drawn is not the worst one.
ROUNDINGS = 200
TINY = {np.float64: 1e-290, np.float32: 1e-30}  # below it numbers lose their digits

ORDER = ("forward", "tangent", "backward", "gradient", "tangent_backward")
Groups = dict[str, list[np.ndarray]]  # by a kernel's name: its results, array by array


@dataclass(frozen=True)
class Finding:
    """What is wrong: at which stage, and what came."""

    stage: str
    message: str


def rounded(drawn: Any, mask: bool = False) -> Any:
    """Normal numbers as float32 has them, class indices as they are."""
    if isinstance(drawn, tuple):
        return tuple(rounded(part, mask) for part in drawn)
    array = np.asarray(drawn)
    if array.dtype.kind == "i":
        return array
    return (array > 0).astype(float) if mask else array.astype(np.float32).astype(float)


def mapped(function: Any, value: Any) -> Any:
    """A function of arrays at every leaf of a value."""
    if isinstance(value, tuple):
        return tuple(mapped(function, part) for part in value)
    return function(np.asarray(value))


def largest(group: Iterable[Any]) -> float:
    """The largest entry of a group of arrays."""
    return max((float(np.abs(part).max(initial=0.0)) for part in map(np.asarray, group)), default=0)


def distance(found: Iterable[Any], expected: Iterable[Any], scale: float, tiny: float) -> float:
    """The largest difference, in units of `scale`; NaN counts as infinite.

    A difference below `tiny` counts as zero.
    """
    pairs = list(zip(map(np.asarray, found), map(np.asarray, expected), strict=True))
    worst = max((np.abs(f - e).max(initial=0.0) for f, e in pairs), default=0.0)
    if np.isnan(worst):
        return float("inf")
    return float(worst / max(scale, tiny)) if worst > tiny else 0.0


def scales(groups: Groups) -> dict[str, float]:
    """By a kernel's name, the largest entry of its results and of those of lower order.

    The terms of a derivative are of that size, and it may be their difference: that of
    <1, softmax(x)> is zero, computed as numbers of size 1 less others.
    """
    found, so_far = {}, 0.0
    for name in ORDER:
        if name in groups:
            found[name] = so_far = max(so_far, largest(groups[name]))
    return found
