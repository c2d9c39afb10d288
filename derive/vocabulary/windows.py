"""Windows on arrays: where they lie and how many there are (thesis section 4.2).

An image is an array R(c, n, l): channels in front, then one axis or several.  A window of extents
(p, q) lies at stride * i + dilation * s - padding on each axis; what it reads outside is zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sympy

from ..language.forms import Access, indices
from ..language.sizes import Size, size
from ..language.spaces import SpaceError

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
    steps = whole_numbers(what, "stride", stride, axes, 1)
    pads = whole_numbers(what, "padding", padding, axes, 0)
    apart = whole_numbers(what, "dilation", dilation, axes, 1)
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


def whole_numbers(what: str, name: str, given: Numbers, axes: int, least: int) -> tuple[int, ...]:
    """One whole number for each axis, of at least `least`."""
    numbers = tuple(given) if isinstance(given, Sequence) else (given,) * axes
    sound = all(_is_whole(k) and k >= least for k in numbers)
    if len(numbers) != axes or not sound:
        raise SpaceError(
            f"{what}: {name} must be a whole number of at least {least}, or {axes} of them, one "
            f"for each axis of the image; got {given!r}"
        )
    return numbers


def _is_whole(number: object) -> bool:
    return isinstance(number, (int, sympy.Integer)) and not isinstance(number, bool)


def as_sizes(what: str, given: Sequence[object]) -> tuple[Size, ...]:
    """Extents as sizes; the error of an extent that is not a size names the function."""
    try:
        return tuple(size(extent) for extent in given)
    except SpaceError as error:
        raise SpaceError(f"{what}: {error}") from error


def kept_axes(count: int) -> Access:
    """Indices of the axes without windows."""
    return indices(" ".join(f"c{axis}" for axis in range(count))) if count else ()
