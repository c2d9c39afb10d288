"""Layers of windows that are in no library: every argument of every function, and NumPy by loops.

Each is declared together with what it computes, written with loops over places: `BY_HAND`.
"""

from itertools import product

import numpy as np
import pytest
from conftest import QUICK, built

from derive import (
    R,
    average_pool,
    convolution,
    crop,
    dims,
    embed,
    form,
    indices,
    layer,
    max_pool,
    per_channel,
    relu,
    tanh,
    transposed_convolution,
    vec,
)
from derive.tools.build import load_kernels, texts

o, c, n, l, p, q, g = dims("o c n l p q g")  # noqa: E741 -- the thesis's letters
i, j, s = indices("i j s")


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
def of_convolution(x: R(c, n, l), *, W: R(o, c, 2, 2), b: R(o)) -> R(o, (n + 1) // 2, (l + 1) // 2):
    """The largest entries of a convolution."""
    z = convolution(W, x, padding=1) + per_channel(b, R(o, n + 1, l + 1))
    return max_pool(z, 2)


@layer
def over_the_whole(x: R(c, n, l)) -> R(c, 1, 1):
    """The largest entry of each channel."""
    return max_pool(tanh(x), (n, l), stride=1)


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
    return average_pool(x, (n, l), stride=1)


# --- several of them, and parts of arrays


@layer
def deep(x: R(1, 5, l), *, U: R(2, 1, 2, 2), W: R(o, 2, 2, 1), b: R(o)) -> R(o, 1, l // 2 - 1):
    """Two convolutions and a pool."""
    h = tanh(convolution(U, x))
    z = convolution(W, h) + per_channel(b, R(o, 3, l - 1))
    return max_pool(z * z, (2, 3), stride=2)


@layer
def vector_of_means(x: R(2, 4, n), *, W: R(3, 2, 2, 2)) -> R(9 * ((n - 1) // 2)):
    """A flattened image."""
    z = tanh(convolution(W, x, stride=(2, 1), padding=(1, 0)))
    return vec(average_pool(z, (1, 2)))


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
def blocks(x: R(2, l), y: R(p, l), *, g: R(p + 2)) -> R(p + 2, l):
    """Two arrays, one below the other, each row with a bias."""
    shape = (p + 2, l)
    return tanh(embed(x, (0, 0), shape) + embed(y, (2, 0), shape) + per_channel(g, R(*shape)))


@layer
def through_less(x: R(c, n), *, W: R(o, c, 3), V: R(o, o, 1), U: R(p, c, 3), T: R(o, p, 1)) -> R(
    o, n + 2
):
    """A sum of two ways, on one of which is less than the image, and then more."""
    less, more = tanh(convolution(W, x)), tanh(convolution(U, x, padding=1))
    return convolution(V, less, padding=2) + convolution(T, more, padding=1)


@layer
def far(x: R(c, n), *, W: R(o, c, 2)) -> R(o, (n + 2) // 3 + 3):
    """More padding than a window is long, and more stride."""
    return convolution(W, x, stride=3, padding=5)


@layer
def padded_product(x: R(n, c), *, W: R(o, n + p)) -> R(o, c):
    """A matrix of more columns than there are rows: those beyond are zero."""
    product = form("product", A=(i, j), x=(j, s), to=(i, s))
    return product(W, embed(x, (0, 0), (n + p, c)))


@layer
def beyond(x: R(c, n), *, W: R(o, c, p)) -> R(o, 1):
    """The second place of a pool behind a convolution, where there is one."""
    z = convolution(W, x, stride=2, padding=2)
    return crop(max_pool(z, 2, stride=2, padding=1), (1,), (1,))


@layer
def any_groups(x: R(g * c, n), *, W: R(g * o, c, 3)) -> R(g * o, n):
    """As many groups as one likes."""
    return convolution(W, x, padding=1, groups=g)


@layer
def with_itself(x: R(3, n, 2)) -> R(3, 5, 3):
    """One image as the filters and as what they meet: a product of it with itself."""
    return convolution(x, x, padding=(2, 1))


@layer
def several_pools(x: R(c, n)) -> R(c, n - 1):
    """Three searches, of which two are of the same windows, and a pool of a pool."""
    both = max_pool(x, 2, stride=1) * max_pool(x, 2, stride=1, ties="average")
    return both + max_pool(max_pool(-x, 2, stride=1), 3, stride=1, padding=1)


LAYERS = {
    declared.name: declared
    for declared in (
        *(signal, uneven, volume, two_groups, groups_of_sizes, multiplied, summed, biased),
        *(widened, widened_in_groups, widened_to_one, overlapping, signal_pool, averaged, of_relu),
        *(averaged_of_relu, of_convolution, over_the_whole, over_sizes, mean_counted),
        *(mean_uncounted, mean_of_the_whole, deep, vector_of_means, cropped, embedded, blocks),
        *(through_less, far, padded_product, beyond, any_groups, with_itself, several_pools),
    )
}


# --- what each computes, of one point


def by_channel(b, y):
    """b_c everywhere in channel c."""
    return np.broadcast_to(b.reshape(-1, *[1] * (y.ndim - 1)), y.shape)


def deep_by_hand(x, U, W, b):
    z = convolved(np.tanh(convolved(x, U)), W)
    return pooled((z + by_channel(b, z)) ** 2, (2, 3), 2)


def part(x, at, extents):
    """A part of the last axes, zero beyond the border."""
    y = np.zeros((*x.shape[: -len(at)], *extents))
    for place in product(*map(range, y.shape)):
        front, tap = place[: -len(at)], place[-len(at) :]
        read = tuple(k + s for k, s in zip(at, tap, strict=True))
        if all(k < m for k, m in zip(read, x.shape[-len(at) :], strict=True)):
            y[place] = x[(*front, *read)]
    return y


def convolved_with_bias(x, W, b):
    z = convolved(x, W, padding=1)
    return pooled(z + by_channel(b, z), (2, 2), 2)


def gained(x, W, b, g):
    z = convolved(x, W, (1, 3))
    return by_channel(g, z) * np.tanh(z + by_channel(b, z))


def two_ways(x, W, V, U, T):
    less, more = np.tanh(convolved(x, W)), np.tanh(convolved(x, U, padding=1))
    return convolved(less, V, padding=2) + convolved(more, T, padding=1)


def pools_by_hand(x):
    once = pooled(x, (2,), 1)
    return once * once + pooled(pooled(-x, (2,), 1), (3,), 1, 1)


def flattened(x, W):
    z = np.tanh(convolved(x, W, (2, 1), (1, 0)))
    return pooled(z, (1, 2), (1, 2), of=np.mean).ravel()


BY_HAND = {
    "signal": lambda x, W: convolved(x, W, 2, 2, 2),
    "uneven": lambda x, W: convolved(x, W, (2, 1), (1, 0), (1, 2)),
    "volume": lambda x, W: convolved(x, W, (1, 2, 1), (0, 1, 0)),
    "two_groups": lambda x, W: convolved(x, W, 1, (0, 1), 1, 2),
    "groups_of_sizes": lambda x, W: np.tanh(
        convolved(x, W, 2, 1, 1, 2)[:, : x.shape[1] // 2],
    ),
    "multiplied": lambda x, W: convolved(x, W, 1, 1, 1, len(x)),
    "summed": lambda x, W: np.tanh(convolved(x, W, 2, 1)),
    "biased": gained,
    "widened": lambda x, W: spread(
        x, W, (3 * x.shape[1], 2 * x.shape[2] + 2), (3, 2), (1, 0), (1, 2)
    ),
    "widened_in_groups": lambda x, W: spread(x, W, (2 * x.shape[1],), 2, groups=2),
    "widened_to_one": lambda x, W: spread(x, W, (2 * x.shape[1] + W.shape[1] - 3,), 2, 1),
    "overlapping": lambda x: pooled(x, (3, 2), (2, 1), (1, 0)),
    "signal_pool": lambda x: pooled(x * x, (3,), 2, 1),
    "averaged": lambda x: pooled(x, (3, 3), 2, 1),
    "of_relu": lambda x: pooled(np.maximum(x, 0), (2, 2), 2),
    "averaged_of_relu": lambda x: pooled(np.maximum(x, 0), (2,), 1),
    "of_convolution": convolved_with_bias,
    "over_the_whole": lambda x: np.tanh(x).max(axis=(1, 2), keepdims=True),
    "over_sizes": lambda x, p: pooled(x, (p,), 1),
    "mean_counted": lambda x: pooled(x, (2, 3), 2, 1, of=lambda z: np.sum(z) / 6),
    "mean_uncounted": lambda x: pooled(x, (2, 3), 2, 1, of=np.mean),
    "mean_of_the_whole": lambda x: x.mean(axis=(1, 2), keepdims=True),
    "deep": deep_by_hand,
    "vector_of_means": flattened,
    "cropped": lambda x: part(np.tanh(x), (1, 2), (2, 3)),
    "embedded": lambda x: np.pad(x, ((0, 0), (1, 3))) ** 2,
    "through_less": two_ways,
    "far": lambda x, W: convolved(x, W, 3, 5),
    "padded_product": lambda x, W: W[:, : len(x)] @ x,
    "beyond": lambda x, W: part(pooled(convolved(x, W, 2, 2), (2,), 2, 1), (1,), (1,)),
    "any_groups": lambda x, W: convolved(x, W, 1, 1, 1, len(x) // W.shape[1]),
    "with_itself": lambda x: convolved(x, x, 1, (2, 1)),
    "several_pools": pools_by_hand,
    "blocks": lambda x, y, g: np.tanh(np.r_[x, y] + g[:, None]),
}


# --- their kernels


LOADED = {}


def compiled_windows(request: pytest.FixtureRequest):
    """The kernels of every layer, by its name, kept in pytest's cache and loaded once."""
    if LOADED:
        return LOADED
    folder = built(request, "windowed", lambda: texts(LAYERS), QUICK)
    LOADED.update((name, load_kernels(name, folder)) for name in LAYERS)
    return LOADED
