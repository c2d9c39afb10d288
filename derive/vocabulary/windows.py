"""Windows on arrays: cropping and convolution, each one form (thesis section 4.2).

An image is an array R(c, n, l): channels in front, then one axis or several.  A window of extents
(p, q) lies at stride * i + dilation * s - padding on each axis; what it reads outside is zero.
Nothing here has a derivative of its own: D is Leibniz, the adjoint opens the other slot.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sympy

from ..calculus.calculus import transpose as adjoint
from ..language.expressions import Node, array_space, contraction, variable
from ..language.forms import Access, FormName, indices, make_form
from ..language.mistakes import called
from ..language.spaces import R, Real, Size, SpaceError, size
from .forming import form
from .result_spaces import require_standard, result_space

CHANNELS, GROUPS, FILTERS = indices("c g o")
Numbers = int | Sequence[int]
Extents = object  # a size, or one for each axis


@dataclass(frozen=True)
class Windows:
    """The windows on some axes of an image: where they lie and how many there are."""

    image: tuple[Size, ...]
    extents: tuple[Size, ...]
    stride: tuple[Size | int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]

    @property
    def at(self) -> Access:
        """The indices of the windows, one for each axis."""
        return indices(" ".join(f"i{axis}" for axis in range(len(self.image))))

    @property
    def within(self) -> Access:
        """The indices within a window, one for each axis."""
        return indices(" ".join(f"s{axis}" for axis in range(len(self.extents))))

    @property
    def places(self) -> Access:
        """Where the image is read."""
        every = zip(self.stride, self.at, self.dilation, self.within, self.padding, strict=True)
        return tuple(step * i + apart * s - pad for step, i, apart, s, pad in every)

    @property
    def counts(self) -> tuple[Size, ...]:
        """The number of windows along each axis: floor((n + 2 padding - reach) / stride) + 1."""
        return tuple(
            sympy.floor((n + 2 * pad - apart * (p - 1) - 1) / sympy.sympify(step)) + 1
            for n, p, step, pad, apart in zip(
                self.image, self.extents, self.stride, self.padding, self.dilation, strict=True
            )
        )

    @property
    def ranges(self) -> dict[sympy.Symbol, Size]:
        """The extents of the indices."""
        pairs = zip((*self.at, *self.within), (*self.counts, *self.extents), strict=True)
        return dict(pairs)


def windows_on(
    what: str,
    image: tuple[Size, ...],
    extents: tuple[Size, ...],
    stride: Numbers,
    padding: Numbers,
    dilation: Numbers = 1,
) -> Windows:
    """Windows of these extents; raises SpaceError where a number is too small or no window fits."""
    axes = len(image)
    steps = _numbers(what, "stride", stride, axes, 1)
    pads = _numbers(what, "padding", padding, axes, 0)
    apart = _numbers(what, "dilation", dilation, axes, 1)
    made = Windows(image, extents, steps, pads, apart)
    for axis, count in enumerate(made.counts):
        if count.is_nonpositive:
            reach = apart[axis] * (extents[axis] - 1) + 1
            raise SpaceError(
                f"{what}: a window that reaches over {reach} places is larger than the image, "
                f"which has {image[axis]} with a padding of {pads[axis]} on each side; use a "
                "smaller window or more padding"
            )
    return made


def _numbers(what: str, name: str, given: Numbers, axes: int, least: int) -> tuple[int, ...]:
    """One whole number for each axis, of at least `least`."""
    numbers = tuple(given) if isinstance(given, Sequence) else (given,) * axes
    sound = all(_is_whole(k) and k >= least for k in numbers)
    if len(numbers) != axes or not sound:
        raise SpaceError(
            f"{what}: {name} must be a whole number of at least {least}, or {axes} of them, one "
            f"for each axis of the image; got {given!r}"
        )
    return numbers


def _for_each_axis(given: object) -> Sequence[object]:
    """A lone place or extent is that of the last axis."""
    return given if isinstance(given, (tuple, list)) else (given,)


def _is_place(place: object) -> bool:
    """A whole number from 0 on, or a size."""
    if isinstance(place, sympy.Expr):
        return bool(place.is_integer and place.is_nonnegative)
    return isinstance(place, int) and not isinstance(place, bool) and place >= 0


def _is_whole(number: object) -> bool:
    return isinstance(number, (int, sympy.Integer)) and not isinstance(number, bool)


def as_sizes(what: str, given: Sequence[object]) -> tuple[Size, ...]:
    """Extents as sizes; the error of an extent that is not a size names the function."""
    try:
        return tuple(size(extent) for extent in given)
    except SpaceError as error:
        raise SpaceError(f"{what}: {error}") from error


# --- cropping and embedding


@called
def crop(x: Node, at: object, extents: object) -> Node:
    """kappa_at(x): the part of an array of these extents, from a place on (thesis (4.13)).

    Places count from 0, on the last axes of x; axes before them are kept.  One place and extent are
    those of the last axis.  What lies outside is zero.  Its adjoint is `embed` (lemma 4.2.1).
    Raises SpaceError where nothing lies inside.

    >>> from derive import R, dims, variable
    >>> c, n = dims("c n")
    >>> print(crop(variable("x", R(c, n, 8)), (0, 2), (1, 3)).space)
    R(c, 1, 3)
    """
    return _cropped("crop", x, at, extents)


def _cropped(what: str, x: Node, at: object, extents: object) -> Node:
    at, whole = _for_each_axis(at), array_space(x, what)
    shape, part = whole.shape, as_sizes(what, _for_each_axis(extents))
    kept = len(shape) - len(part)
    if kept < 0 or len(at) != len(part):
        raise SpaceError(
            f"{what}: expected a place and an extent for each of some last axes of {x.space}, got "
            f"the places {tuple(at)} and the extents {part}"
        )
    for place, count in zip(at, shape[kept:], strict=True):
        inside = _is_place(place) and not (count - 1 - place).is_negative
        if not inside:
            raise SpaceError(
                f"{what}: place {place!r} must be a whole number from 0 on, within the axis of "
                f"{count}"
            )
    front, inner = kept_axes(kept), Windows((), part, (), (), ()).within
    read = tuple(place + s for place, s in zip(at, inner, strict=True))
    ranges = dict(zip((*front, *inner), (*shape[:kept], *part), strict=True))
    accesses = [(*front, *read), (*front, *inner)]
    reads = [("x", accesses[0], whole)]
    space = result_space(what, reads, accesses[1], (*shape[:kept], *part), ranges)
    return contraction(space, make_form(accesses, ranges, name=FormName("kappa")), 1, (x,))


@called
def embed(y: Node, at: object, shape: object) -> Node:
    """Em_at(y): y as a part of an array that is zero elsewhere, from a place on (thesis (4.14)).

    `shape` are the extents of the last axes of the result, one or several; it is the adjoint of
    `crop`.

    >>> from derive import R, variable
    >>> print(embed(variable("y", R(2, 3)), (0, 1), (5, 5)).space)
    R(5, 5)
    """
    own, shape = array_space(y, "embed"), _for_each_axis(shape)
    kept = max(own.rank - len(shape), 0)
    whole = as_sizes("embed", (*own.shape[:kept], *shape))
    space = Real(whole, (*own.grams[:kept], *(None for _ in shape)))
    require_standard("embed", "y", own, kept, space)
    x = variable("x", space)
    return adjoint(_cropped("embed", x, at, own.shape[kept:]), y, (x,))[x]


def kept_axes(count: int) -> Access:
    """Indices of the axes without windows."""
    return indices(" ".join(f"c{axis}" for axis in range(count))) if count else ()


# --- convolution


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
    if axes < 1 or len(filters) - len(small) not in (0, 1) or filters[0] != small[0]:
        raise SpaceError(
            f"{what}: expected y in R(o, n, ..) and filters R(o, c, p, ..) or R(o, p, ..), got "
            f"{y.space} and {W.space}"
        )
    steps = _numbers(what, "stride", stride, axes, 1)
    pads = _numbers(what, "padding", padding, axes, 0)
    apart = _numbers(what, "dilation", dilation, axes, 1)
    reach = [d * (p - 1) + 1 for d, p in zip(apart, filters[-axes:], strict=True)]
    more = _output_padding(what, output_padding, steps)
    extents = zip(small[1:], steps, pads, reach, more, strict=True)
    image = [(n - 1) * s - 2 * q + r + extra for n, s, q, r, extra in extents]
    channels = filters[1] * groups if len(filters) > len(small) else 1
    x = variable("x", R(*as_sizes(what, (channels, *image))))
    for slot, space in (("W", array_space(W, what)), ("y", array_space(y, what))):
        require_standard(what, slot, space, 1, array_space(x, what))
    return adjoint(_convolution(what, W, x, steps, pads, apart, groups), y, (x,))[x]


def _output_padding(what: str, given: Numbers, steps: tuple[int, ...]) -> tuple[int, ...]:
    """Which image is meant, of those that a strided convolution takes to this size."""
    more = _numbers(what, "output_padding", given, len(steps), 0)
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
