"""Layers of windows that are in no library: every argument of every function, and NumPy by loops.

Each is declared together with what it computes, written with loops over places: `BY_HAND`.
"""

from itertools import product
from pathlib import Path
from types import ModuleType

import numpy as np
from conftest import QUICK

from derive import (
    R,
    average_pool,
    convolution,
    crop,
    dims,
    embed,
    layer,
    max_pool,
    per_channel,
    relu,
    tanh,
    transposed_convolution,
    vec,
)
from derive.build import load_kernels, runtime_modules, texts, write_texts
from derive.compile import Module, compile_modules

o, c, n, l, p, q = dims("o c n l p q")  # noqa: E741 -- the thesis's letters


# --- the same by loops


def each(number, axes):
    """One number for each axis."""
    return (number,) * axes if isinstance(number, int) else tuple(number)


def counts(image, extents, stride, padding, dilation=1):
    """How many windows lie on each axis."""
    axes = len(image)
    numbers = zip(
        image, extents, each(stride, axes), each(padding, axes), each(dilation, axes), strict=True
    )
    return tuple((m + 2 * a - d * (k - 1) - 1) // s + 1 for m, k, s, a, d in numbers)


def taps(image, extents, stride, padding, dilation=1):
    """(window, tap within, place in the image) wherever the place is inside the image."""
    axes = len(image)
    steps, pads, apart = each(stride, axes), each(padding, axes), each(dilation, axes)
    for at in np.ndindex(*counts(image, extents, stride, padding, dilation)):
        for tap in np.ndindex(*extents):
            numbers = zip(at, tap, steps, pads, apart, strict=True)
            place = tuple(s * i + d * t - a for i, t, s, a, d in numbers)
            if all(0 <= k < m for k, m in zip(place, image, strict=True)):
                yield at, tap, place


def convolved(x, W, stride=1, padding=0, dilation=1, groups=1):
    """C(W, x): a filter for every input channel of its group, or the thesis's over their sum."""
    if W.ndim == x.ndim:
        x, W = x.sum(axis=0, keepdims=True), W[:, None]
    out, inner = len(W) // groups, W.shape[1]
    y = np.zeros((len(W), *counts(x.shape[1:], W.shape[2:], stride, padding, dilation)))
    for at, tap, place in taps(x.shape[1:], W.shape[2:], stride, padding, dilation):
        for k in range(len(W)):
            for j in range(inner):
                y[(k, *at)] += W[(k, j, *tap)] * x[(k // out * inner + j, *place)]
    return y


def spread(y, W, image, stride=1, padding=0, dilation=1, groups=1):
    """(W _| C)* . y on images of these extents: what each window has read gets its share."""
    one = W.ndim == y.ndim
    W = W[:, None] if one else W
    out, inner = len(W) // groups, W.shape[1]
    x = np.zeros((groups * inner, *image))
    for at, tap, place in taps(image, W.shape[2:], stride, padding, dilation):
        if all(i < m for i, m in zip(at, y.shape[1:], strict=True)):
            for k in range(len(W)):
                for j in range(inner):
                    x[(k // out * inner + j, *place)] += W[(k, j, *tap)] * y[(k, *at)]
    return x


def windows(x, extents, stride, padding=0):
    """For each place of the result the entries of its window that are inside, in order."""
    axes = len(extents)
    found = {}
    for at, _, place in taps(x.shape[x.ndim - axes :], extents, stride, padding):
        for front in np.ndindex(*x.shape[: x.ndim - axes]):
            found.setdefault((*front, *at), []).append((*front, *place))
    return found


def pooled(x, extents, stride, padding=0, of=np.max):
    """A function of the entries of each window."""
    shape = (*x.shape[: -len(extents)], *counts(x.shape[-len(extents) :], extents, stride, padding))
    y = np.zeros(shape)
    for at, places in windows(x, extents, stride, padding).items():
        y[at] = of([x[place] for place in places])
    return y


# --- convolutions


@layer
def signal(x: R(c, n), *, W: R(o, c, 3)) -> R(o, (n + 1) // 2):
    """One axis, every second place, taps two apart, two zeros on each side."""
    return convolution(W, x, stride=2, padding=2, dilation=2)


@layer
def uneven(x: R(c, n, l), *, W: R(o, c, 3, 2)) -> R(o, (n + 1) // 2, l - 2):
    """Every number another one on each axis."""
    return convolution(W, x, stride=(2, 1), padding=(1, 0), dilation=(1, 2))


@layer
def volume(x: R(2, n, 3, 4), *, W: R(o, 2, 2, 2, 3)) -> R(o, n - 1, 2, 2):
    """Three axes."""
    return convolution(W, x, stride=(1, 2, 1), padding=(0, 1, 0))


@layer
def two_groups(x: R(4, n, l), *, W: R(6, 2, 2, 3)) -> R(6, n - 1, l):
    """Two groups of two channels, three filters for each."""
    return convolution(W, x, padding=(0, 1), groups=2)


@layer
def groups_of_sizes(x: R(2 * c, n), *, W: R(2 * o, c, 3)) -> R(2 * o, n // 2):
    """Two groups of c channels and of o filters."""
    z = convolution(W, x, stride=2, padding=1, dilation=1, groups=2)
    return crop(tanh(z), (0,), (n // 2,))


@layer
def multiplied(x: R(c, n, l), *, W: R(2 * c, 1, 3, 3)) -> R(2 * c, n, l):
    """Two filters for each channel."""
    return convolution(W, x, padding=1, groups=c)


@layer
def summed(x: R(c, n, l), *, W: R(o, p, q)) -> R(o, (n - p) // 2 + 2, (l - q) // 2 + 2):
    """The thesis's filter over the sum of the channels, extents and image of any size."""
    return tanh(convolution(W, x, stride=2, padding=1))


@layer
def biased(x: R(c, n, 5), *, W: R(o, c, 2, 2), b: R(o), g: R(o)) -> R(o, n - 1, 2):
    """A bias and a gain for each channel."""
    space = R(o, n - 1, 2)
    z = convolution(W, x, stride=(1, 3), padding=0) + per_channel(b, space)
    return per_channel(g, space) * tanh(z)


@layer
def widened(x: R(o, n, l), *, W: R(o, c, 3, 2)) -> R(c, 3 * n, 2 * l + 2):
    """A transposed convolution, every number another one on each axis."""
    return transposed_convolution(
        W, x, stride=(3, 2), padding=(1, 0), dilation=(1, 2), output_padding=(2, 1)
    )


@layer
def widened_in_groups(x: R(4, n), *, W: R(4, 3, 2)) -> R(6, 2 * n):
    """A transposed convolution of two groups."""
    return transposed_convolution(W, x, stride=2, groups=2)


@layer
def widened_to_one(x: R(o, n), *, W: R(o, p)) -> R(1, 2 * n + p - 3):
    """The adjoint of the thesis's convolution, to an image of one channel."""
    return transposed_convolution(W, x, stride=2, padding=1, output_padding=1)


# --- pools


@layer
def overlapping(x: R(c, n, l)) -> R(c, (n + 1) // 2, l - 1):
    """Windows that overlap, and stand out of the image on one axis."""
    return max_pool(x, (3, 2), stride=(2, 1), padding=(1, 0))


@layer
def signal_pool(x: R(n)) -> R((n + 1) // 2):
    """One axis and no channels."""
    return max_pool(x * x, (3,), stride=2, padding=1)


@layer
def averaged(x: R(c, n, 5)) -> R(c, (n + 1) // 2, 3):
    """Overlapping windows in which a tie is averaged."""
    return max_pool(x, 3, stride=2, padding=1, ties="average")


@layer
def of_relu(x: R(c, n, 4)) -> R(c, n // 2, 2):
    """Pools in which zeros are equal."""
    return max_pool(relu(x), 2)


@layer
def averaged_of_relu(x: R(c, n)) -> R(c, n - 1):
    """The same with ties averaged."""
    return max_pool(relu(x), 2, stride=1, ties="average")


@layer
def of_convolution(x: R(c, n, l), *, W: R(o, c, 2, 2), b: R(o)) -> R(
    o, (n + 1) // 2, (l + 1) // 2
):
    """The largest entries of a convolution."""
    z = convolution(W, x, padding=1) + per_channel(b, R(o, n + 1, l + 1))
    return max_pool(z, 2)


@layer
def over_the_whole(x: R(c, n, l)) -> R(c, 1, 1):
    """The largest entry of each channel."""
    return max_pool(tanh(x), (n, l))


@layer
def over_sizes(x: R(c, n)) -> R(c, n - p + 1):
    """Windows whose extent is a size."""
    return max_pool(x, p, stride=1)


@layer
def mean_counted(x: R(c, n, l)) -> R(c, n // 2 + 1, (l + 1) // 2):
    """Means in which padding counts as zeros."""
    return average_pool(x, (2, 3), stride=2, padding=1)


@layer
def mean_uncounted(x: R(c, n, l)) -> R(c, n // 2 + 1, (l + 1) // 2):
    """Means over what lies inside."""
    return average_pool(x, (2, 3), stride=2, padding=1, count_padding=False)


@layer
def mean_of_the_whole(x: R(c, n, l)) -> R(c, 1, 1):
    """The mean of each channel."""
    return average_pool(x, (n, l))


# --- several of them, and parts of arrays


@layer
def deep(x: R(2, 7, l), *, U: R(3, 2, 2, 2), W: R(o, 3, 2, 1), b: R(o)) -> R(o, 2, l // 2 - 1):
    """Two convolutions and a pool."""
    h = tanh(convolution(U, x))
    z = convolution(W, h, padding=(0, 0)) + per_channel(b, R(o, 5, l - 1))
    return max_pool(z * z, (2, 3), stride=2)


@layer
def vector_of_pools(x: R(2, 4, n), *, W: R(3, 2, 2, 2)) -> R(6 * ((n - 1) // 2)):
    """A flattened image."""
    return vec(average_pool(tanh(convolution(W, x, padding=(1, 0), stride=(2, 1))), (1, 2))[:])


@layer
def cropped(x: R(c, n, l)) -> R(c, 2, 3):
    """A part of each channel; a part of that is beyond the border."""
    return crop(tanh(x), (1, 2), (2, 3))


@layer
def embedded(x: R(c, n)) -> R(c, n + 4):
    """Each channel between zeros."""
    z = embed(x, (1,), (n + 4,))
    return z * z


@layer
def blocks(x: R(n, l), y: R(p, l), *, g: R(n + p)) -> R(n + p, l):
    """Two arrays one after the other, each row with a gain."""
    z = embed(x, (0, 0), (n + p, l)) + per_channel(g, R(n + p, l))
    return tanh(z)


LAYERS = {}
