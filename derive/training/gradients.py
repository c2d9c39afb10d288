"""Trees of gradients: finite values, clipping, and checks before anything is changed in place."""

import math
from numbers import Real
from typing import Any

import numpy as np

from derive.training.parameters import Array, Tree, align, leaves, overlaps

_DTYPES = (np.dtype(np.float32), np.dtype(np.float64))


class NotFinite(FloatingPointError):
    """A loss or a gradient that is infinite or not a number."""


def check_finite(step: int, loss: float, gradient: Tree) -> None:
    """Raise NotFinite, naming ``step``, unless the loss and every entry of the gradient are finite.

    The message gives the value of the loss, or each qualified name with the number of its entries
    that are not finite.

    >>> check_finite(7, 0.5, {"b": np.array([1.0, np.nan, np.inf])})
    Traceback (most recent call last):
    derive.training.gradients.NotFinite: step 7: the gradient is not finite in 'b' (2 of 3 entries)
    """
    if not math.isfinite(loss):
        raise NotFinite(f"step {step}: the loss is {float(loss)}")
    check_gradient(leaves(gradient), f"step {step}: ")


def clip_by_norm(gradient: Tree, limit: float) -> float:
    """Scale the gradient in place to g min(1, limit / ||g||), and return the norm ||g|| before.

    ||g|| is the Euclidean norm over all leaves, s sqrt(sum_i (g_i / s)^2) with s = max_i |g_i|,
    so that squares neither overflow nor vanish. A gradient within the limit keeps its bits.
    Source: Pascanu, Mikolov and Bengio (2013), Algorithm 1. Raises ValueError for a limit that is
    not positive, NotFinite for a gradient that is not finite, both before any change.
    """
    return scale_to_norm(_changeable(gradient), limit)


def scale_to_norm(named: list[tuple[str, Array]], limit: float) -> float:
    """`clip_by_norm` on leaves that may be written to and share no memory."""
    limit = within("limit", limit, 0.0, math.inf, open_below=True)
    scale = max(check_gradient(named, "clip_by_norm: "), default=0.0)
    if scale == 0.0:
        return 0.0
    squares = (np.square(np.divide(g, scale, dtype=np.float64)).sum() for _, g in named)
    relative = math.sqrt(math.fsum(squares))  # ||g|| / s >= 1
    if relative > limit / scale:
        for _, g in named:
            g[...] = np.divide(g, scale, dtype=np.float64) * (limit / relative)
    return scale * relative


def clip_by_value(gradient: Tree, limit: float) -> None:
    """Clip each entry in place to g_i <- min(max(g_i, -limit), limit).

    Raises ValueError for a limit that is not positive, NotFinite for a gradient that is not
    finite, both before any change.
    """
    clip_to_value(_changeable(gradient), limit)


def clip_to_value(named: list[tuple[str, Array]], limit: float) -> None:
    """`clip_by_value` on leaves that may be written to and share no memory."""
    limit = within("limit", limit, 0.0, math.inf, open_below=True)
    check_gradient(named, "clip_by_value: ")
    for _, g in named:
        bound = g.dtype.type(min(limit, float(np.finfo(g.dtype).max)))
        np.clip(g, -bound, bound, out=g)


def clip(gradient: Tree, norm: float | None = None, value: float | None = None) -> None:
    """`clip_by_norm`, then `clip_by_value`, each where a limit is given."""
    clip_leaves(_changeable(gradient), norm, value)


def clip_leaves(named: list[tuple[str, Array]], norm: float | None, value: float | None) -> None:
    """`clip` on leaves that may be written to and share no memory."""
    if norm is not None:
        scale_to_norm(named, norm)
    if value is not None:
        clip_to_value(named, value)


def _changeable(gradient: Tree) -> list[tuple[str, Array]]:
    """The leaves, checked to be arrays that may be written to and share no memory."""
    named = writable(gradient, "gradient")
    check_disjoint(named, "the gradients")
    return named


def magnitude(a: Array) -> float:
    """max_i |a_i|, without a work array; nan if an entry is nan."""
    return max(float(a.max()), -float(a.min())) if a.size else 0.0


def check_gradient(named: list[tuple[str, Array]], where: str) -> list[float]:
    """The largest absolute value of each array; raises NotFinite where there is none."""
    sizes = [magnitude(g) for _, g in named]
    if not all(map(math.isfinite, sizes)):
        bad = [pair for pair, size in zip(named, sizes, strict=True) if not math.isfinite(size)]
        counts = ((name, np.count_nonzero(~np.isfinite(g)), g.size) for name, g in bad)
        listed = ", ".join(f"{name!r} ({count} of {size} entries)" for name, count, size in counts)
        raise NotFinite(f"{where}the gradient is not finite in {listed}")
    return sizes


def writable(tree: Tree, role: str) -> list[tuple[str, Array]]:
    """The leaves, checked to be float32 or float64 arrays that may be written to."""
    named = leaves(tree)
    for name, array in named:
        if array.dtype not in _DTYPES:
            raise TypeError(
                f"{role} {name!r}: expected float32 or float64 in native byte order, "
                f"got {array.dtype!r}; convert it with astype"
            )
        if not array.flags.writeable:
            raise ValueError(f"{role} {name!r} is read-only, but is updated in place; copy it")
    return named


def matched(parameters: Tree, gradient: Tree) -> list[tuple[Any, ...]]:
    """The rows (name, theta, g), checked."""
    check_disjoint(writable(parameters, "parameter"), "the parameters")
    rows = align(parameters, gradient, roles=("the parameters", "the gradient"))
    for name, theta, g in rows:
        check_like(f"the gradient of {name!r}", theta, g)
    check_unshared(rows)
    return rows


def check_like(what: str, theta: Array, array: Array) -> None:
    if (array.shape, array.dtype) != (theta.shape, theta.dtype):
        raise ValueError(
            f"{what} has the shape {array.shape} and the dtype {array.dtype}; "
            f"expected those of the parameter, {theta.shape} and {theta.dtype}"
        )


def check_disjoint(named: list[tuple[str, Array]], role: str) -> None:
    for j, k in overlaps([array for _, array in named]):
        raise ValueError(
            f"{role} {named[j][0]!r} and {named[k][0]!r} share memory, and would be changed twice; "
            "hold a shared parameter once, with the sum of its gradients, or copy one of them"
        )


def check_unshared(rows: list[tuple[Any, ...]]) -> None:
    """No gradient may change while the parameters before its own are updated."""
    arrays = [theta for _, theta, _ in rows] + [g for _, _, g in rows]
    size = len(rows)
    for j, k in overlaps(arrays):
        low, high = min(j, k), max(j, k)
        if low < size <= high and high - low != size:
            raise ValueError(
                f"the gradient of {rows[high - size][0]!r} shares memory with the parameter "
                f"{rows[low][0]!r}, which the step changes; copy the gradient"
            )


def within(name: str, value: object, low: float, high: float, *, open_below: bool = False) -> float:
    """``value`` as a float, low <= value < high, or low < value if ``open_below``."""
    if not isinstance(value, Real) or isinstance(value, bool):
        raise TypeError(f"{name} is a real number; got {value!r}")
    number = float(value)
    if not (low < number < high or (number == low and not open_below)):
        bound = "<" if open_below else "<="
        raise ValueError(f"{name} satisfies {low:g} {bound} {name} < {high:g}; got {value!r}")
    return number
