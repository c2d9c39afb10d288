"""Convolution, its adjoint in the image, and a number for each channel (thesis section 4.2).

Nothing here has a derivative of its own: D is Leibniz, the adjoint opens the other slot.
"""

from __future__ import annotations

import sympy

from ..calculus.calculus import transpose as adjoint
from ..language.expressions import Node, array_space, variable
from ..language.forms import indices
from ..language.mistakes import called
from ..language.sizes import Size
from ..language.spaces import R, Real, SpaceError
from .forming import form
from .result_spaces import require_standard
from .windows import Numbers, as_sizes, kept_axes, whole_numbers, windows_on

# --- convolution

CHANNELS, GROUPS, FILTERS = indices("c g o")


@called
def convolution(
    W: Node,
    x: Node,
    *,
    stride: Numbers = 1,
    padding: Numbers = 0,
    dilation: Numbers = 1,
    groups: int | sympy.Expr = 1,
) -> Node:
    """C(W, x): the filters' inner products with windows of the image (thesis (4.15), (4.16)).

    x in R(c, n, ..) is an image of c channels with one axis or several.  W in R(o, c, p, ..) has a
    filter for every input channel; W in R(o, p, ..) is the thesis's, whose filters meet the sum of
    the channels; with groups, W in R(o, c / groups, p, ..), and each group of output channels sees
    its own group of input channels.  The result is in R(o, n', ..) with
    n' = floor((n + 2 padding - dilation (p - 1) - 1) / stride) + 1.  `stride`, `padding` (zeros on
    each side) and `dilation` are whole numbers, one for all axes or one for each.  As in the field
    this is the cross-correlation: no filter is flipped.

    Raises SpaceError where a number is too small, no window fits, or channels do not match.

    >>> from derive import R, dims, variable
    >>> o, c, n = dims("o c n")
    >>> W, x = variable("W", R(o, c, 3, 3)), variable("x", R(c, n, 8))
    >>> print(convolution(W, x, padding=1).space, convolution(W, x, stride=2, padding=1).space)
    R(o, n, 8) R(o, floor(n/2 + 1/2), 4)
    """
    return _convolution("convolution", W, x, stride, padding, dilation, groups)


def _convolution(
    what: str,
    W: Node,
    x: Node,
    stride: Numbers,
    padding: Numbers,
    dilation: Numbers,
    groups: int | sympy.Expr,
) -> Node:
    image, filters = array_space(x, what).shape, array_space(W, what).shape
    (count,) = as_sizes(what, [groups])
    _check_filters(what, filters, image, count)
    at = windows_on(what, image[1:], filters[1 - len(image) :], stride, padding, dilation)
    if len(filters) == len(image):
        names = {"W": (FILTERS, *at.within), "x": (CHANNELS, *at.places)}
        return form("C", **names, to=(FILTERS, *at.at), ranges=at.ranges)(W, x)
    out, inner = sympy.cancel(filters[0] / count), filters[1]
    own = sympy.S.Zero if out == 1 and count != 1 else FILTERS
    channel = sympy.S.Zero if inner == 1 and count != 1 else CHANNELS
    group = GROUPS if count != 1 else sympy.S.Zero
    target = out * group + own
    return form(
        "C",
        W=(target, channel, *at.within),
        x=(inner * group + channel, *at.places),
        to=(target, *at.at),
        ranges={GROUPS: count, FILTERS: out, CHANNELS: inner, **at.ranges},
        shape=(filters[0], *at.counts),
    )(W, x)


def _check_filters(
    what: str, filters: tuple[Size, ...], image: tuple[Size, ...], count: Size
) -> None:
    """The filters have an axis for each axis of the image, and channels that match the groups."""
    if len(image) < 2 or len(filters) - len(image) not in (0, 1):
        raise SpaceError(
            f"{what}: expected an image R(c, n, ..) and filters R(o, c, p, ..) or R(o, p, ..) "
            f"with an extent for each axis of the image, got {R(*image)} and {R(*filters)}"
        )
    plain = len(filters) == len(image)
    if plain and count != 1:
        raise SpaceError(
            f"{what}: filters that meet the sum of the channels have no groups; give a filter "
            "for every input channel, R(o, c / groups, p, ..)"
        )
    if not plain and sympy.expand(filters[1] * count - image[0]) != 0:
        raise SpaceError(
            f"{what}: the image has {image[0]} channels, but filters {R(*filters)} in "
            f"{count} groups take {sympy.expand(filters[1] * count)}; the second extent of the "
            "filters must be the channels divided by the groups"
        )
    if not plain and not sympy.cancel(filters[0] / count).is_integer:
        raise SpaceError(
            f"{what}: {filters[0]} output channels do not fall into {count} groups; make "
            "their number a multiple of the groups"
        )


@called
def transposed_convolution(
    W: Node,
    y: Node,
    *,
    stride: Numbers = 1,
    padding: Numbers = 0,
    dilation: Numbers = 1,
    groups: int | sympy.Expr = 1,
    output_padding: Numbers = 0,
) -> Node:
    """(W _| C)* . y: the adjoint of `convolution` in its image (thesis, theorem 4.2.3).

    W and the numbers are those of the convolution whose adjoint it is: W in R(o, c / groups, p, ..)
    takes y in R(o, n', ..) to an image in R(c, n, ..) with
    n = (n' - 1) stride - 2 padding + dilation (p - 1) + 1 + output_padding.
    The thesis's W in R(o, p, ..) takes it to one channel.  Raises SpaceError as `convolution` does,
    and where output_padding is not below the stride.

    >>> from derive import R, variable
    >>> W, y = variable("W", R(4, 3, 2, 2)), variable("y", R(4, 5, 6))
    >>> print(transposed_convolution(W, y, stride=2).space)
    R(3, 10, 12)
    """
    what = "transposed_convolution"
    small, filters = array_space(y, what).shape, array_space(W, what).shape
    axes = len(small) - 1
    _check_transposed(what, W, y)
    steps = whole_numbers(what, "stride", stride, axes, 1)
    pads = whole_numbers(what, "padding", padding, axes, 0)
    apart = whole_numbers(what, "dilation", dilation, axes, 1)
    reach = [d * (p - 1) + 1 for d, p in zip(apart, filters[-axes:], strict=True)]
    more = _output_padding(what, output_padding, steps)
    extents = zip(small[1:], steps, pads, reach, more, strict=True)
    image = [(n - 1) * s - 2 * q + r + extra for n, s, q, r, extra in extents]
    channels = filters[1] * groups if len(filters) > len(small) else 1
    x = variable("x", R(*as_sizes(what, (channels, *image))))
    for slot, space in (("W", array_space(W, what)), ("y", array_space(y, what))):
        require_standard(what, slot, space, 1, array_space(x, what))
    return adjoint(_convolution(what, W, x, steps, pads, apart, groups), y, (x,))[x]


def _check_transposed(what: str, W: Node, y: Node) -> None:
    """The filters have an axis for each axis of y, and y a channel for each of them."""
    small, filters = array_space(y, what).shape, array_space(W, what).shape
    if len(small) < 2 or len(filters) - len(small) not in (0, 1) or filters[0] != small[0]:
        raise SpaceError(
            f"{what}: expected y in R(o, n, ..) and filters R(o, c, p, ..) or R(o, p, ..), got "
            f"{y.space} and {W.space}"
        )


def _output_padding(what: str, given: Numbers, steps: tuple[int, ...]) -> tuple[int, ...]:
    """Which image is meant, of those that a strided convolution takes to this size."""
    more = whole_numbers(what, "output_padding", given, len(steps), 0)
    if any(extra >= step for extra, step in zip(more, steps, strict=True)):
        raise SpaceError(f"{what}: output_padding must be below the stride, got {given}")
    return more


@called
def per_channel(b: Node, space: Real) -> Node:
    """b_c in every entry of channel c: a bias, or a gain, of an image's channels.

    Raises SpaceError where b is not a vector with an entry for each channel.

    >>> from derive import R, dims, variable
    >>> c, n = dims("c n")
    >>> print(per_channel(variable("b", R(c)), R(c, n, n)).space)
    R(c, n, n)
    """
    found = array_space(b, "per_channel").shape
    if not isinstance(space, Real) or not space.shape or found != space.shape[:1]:
        raise SpaceError(
            f"per_channel: expected a vector with an entry for each channel of {space}, got "
            f"{b.space}"
        )
    front, rest = kept_axes(1), indices(" ".join(f"i{k}" for k in range(1, space.rank)))
    ranges = dict(zip(rest, space.shape[1:], strict=True))
    return form("per_channel", b=front, to=(*front, *rest), ranges=ranges, shape=space)(b)
