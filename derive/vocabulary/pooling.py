"""Pooling: the largest entry or the mean of each window of an image (thesis (4.18) to (4.27))."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import sympy

from ..language.expressions import (
    Node,
    argmax,
    array_space,
    constant,
    contraction,
    elementwise,
    held,
    linear_combination,
)
from ..language.forms import Access, FormName, make_form
from ..language.mistakes import called
from ..language.scalars import shipped
from ..language.scalars.declaring import operation
from ..language.sizes import Size
from ..language.spaces import Indices, SpaceError
from .forming import form
from .result_spaces import result_space
from .windows import Extents, Numbers, Windows, as_sizes, kept_axes, windows_on


@called
def max_pool(
    x: Node,
    window: Extents,
    *,
    stride: Numbers | None = None,
    padding: Numbers = 0,
    ties: str = "first",
) -> Node:
    """Phi(x): the largest entry of each window of each channel (thesis (4.18) to (4.20)).

    x in R(c, n, ..); `window` is an extent, or one for each of the last axes; the stride is the
    window where none is given, so that windows are disjoint.  Padding is below every entry.
    Its derivative selects, and the adjoint embeds, at (k*, l*), the first place of the largest
    entry (theorem 4.2.7); with ties="average" it is the mean over all places that attain it (remark
    4.2.5).  A NaN is larger than every number.

    Raises SpaceError where a window is larger than the image or the padding not below the window.

    >>> from derive import R, dims, variable
    >>> c, n = dims("c n")
    >>> print(max_pool(variable("x", R(c, n, 8)), 2).space)
    R(c, floor(n/2), 4)
    """
    if ties not in ("first", "average"):
        raise SpaceError(f"max_pool: expected ties='first' or 'average', got {ties!r}")
    front, at, shape = _pooled("max_pool", x, window, stride, padding)
    to = (*front, *at.at)
    ranges = {**dict(zip(front, shape, strict=True)), **at.ranges}
    accesses = [(*front, *at.places), to]
    reads = [("x", accesses[0], array_space(x, "max_pool"))]
    space = result_space("max_pool", reads, to, (*shape, *at.counts), ranges)
    search = make_form(accesses, ranges, name=FormName("kappa"))
    found = [
        argmax(search, Indices(extent, space.shape), x, k) for k, extent in enumerate(at.extents)
    ]
    bound = make_form(accesses, ranges, [(s, to) for s in at.within], FormName("Phi"))
    largest = contraction(space, bound, 1, (x,), found)
    return largest if ties == "first" else _averaged(x, largest, at, front)


def _averaged(x: Node, largest: Node, at: Windows, front: Access) -> Node:
    """The largest entries, whose derivative is the mean over the places that attain them."""
    to = (*front, *at.at)
    window = (*to, *at.within)
    cut = form("windows", x=(*front, *at.places), to=window, ranges=at.ranges)
    spread = form("spread", y=to, to=window, ranges=at.ranges)
    total = form("total", a=window, to=to)
    weigh = form("weigh", w=window, v=window, to=to)
    entries, most = cut(x), spread(held(largest))
    attained = elementwise(_SAME, entries, most)
    if any(at.padding):  # what is outside attains nothing
        attained = attained * cut(constant(sympy.S.One, x.space))
    weight = attained / spread(total(attained))
    still = elementwise(shipped.difference, entries, held(entries))  # 0, of infinite entries too
    return held(largest) + weigh(held(weight), still)


_SAME = operation("same", lambda a, b: sympy.Piecewise((1, sympy.Eq(a, b)), (0, True)))


@called
def average_pool(
    x: Node,
    window: Extents,
    *,
    stride: Numbers | None = None,
    padding: Numbers = 0,
    count_padding: bool = True,
) -> Node:
    """The mean of each window of each channel; `window`, `stride`, `padding` as for `max_pool`.

    Padding counts as entries that are zero, unless `count_padding` is False: then the mean is over
    what lies inside.

    >>> from derive import R, dims, variable
    >>> c, n = dims("c n")
    >>> print(average_pool(variable("x", R(c, n, 8)), (2, 4), stride=1).space)
    R(c, n - 1, 5)
    """
    front, at, _ = _pooled("average_pool", x, window, stride, padding)
    total = form("total", x=(*front, *at.places), to=(*front, *at.at), ranges=at.ranges)
    if count_padding or not any(at.padding):
        return linear_combination([(1 / sympy.Mul(*at.extents), total(x))])
    return total(x) / total(constant(sympy.S.One, x.space))


def _pooled(
    what: str, x: Node, window: Extents, stride: Numbers | None, padding: Numbers
) -> tuple[Access, Windows, tuple[Size, ...]]:
    """The indices and extents of the axes in front, and the windows on the last ones."""
    shape = array_space(x, what).shape
    many = isinstance(window, Sequence)
    axes = len(window) if many else max(len(shape) - 1, 1)  # type: ignore[arg-type]
    if not 1 <= axes <= len(shape):
        raise SpaceError(f"{what}: a window {window!r} has no place on {x.space}")
    extents = as_sizes(what, window if many else (window,) * axes)  # type: ignore[arg-type]
    split = len(shape) - axes
    at = windows_on(what, shape[split:], extents, 1 if stride is None else stride, padding)
    if stride is None:
        at = replace(at, stride=extents)
    for pad, extent in zip(at.padding, extents, strict=True):
        if pad and not (extent - pad).is_positive:
            raise SpaceError(
                f"{what}: the padding {pad} must be below the window's extent {extent}, so that "
                "every window meets the image"
            )
    return kept_axes(split), at, shape[:split]
