"""Converters of ONNX's convolutions, pools and norms; the first axis is that of the batch."""

from __future__ import annotations

from typing import Any

import numpy as np
import sympy
from onnx_cases import Case, NotExpressible, Pairs, converts
from onnx_entrywise import number, spread

from derive import (
    average_pool,
    convolution,
    crop,
    elementwise_function,
    embed,
    exp,
    form,
    log,
    max_pool,
    per_channel,
    sqrt,
    transposed_convolution,
    vec,
)
from derive.language.expressions import Node, axes


def extents(x: Node) -> tuple[int, ...]:
    return tuple(map(int, x.space.shape))


class Windows:
    """The windows of a case on the axes of an image, and the padding before and behind it."""

    def __init__(self, case: Case, image: tuple[int, ...], window: tuple[int, ...]) -> None:
        count = len(image)
        self.window = window
        self.strides = tuple(case.attribute("strides", [1] * count))
        self.dilations = tuple(case.attribute("dilations", [1] * count))
        self.reach = [d * (p - 1) + 1 for d, p in zip(self.dilations, window, strict=True)]
        pads = case.attribute("pads", [0] * (2 * count))
        self.begin, self.end = list(pads[:count]), list(pads[count:])
        kind = case.attribute("auto_pad", "NOTSET")
        if kind.startswith("SAME"):
            self._same(image, kind)

    def _same(self, image: tuple[int, ...], kind: str) -> None:
        """As many windows as places that the stride meets; an odd one more behind, or before."""
        for axis, (n, s, r) in enumerate(zip(image, self.strides, self.reach, strict=True)):
            total = max((-(-n // s) - 1) * s + r - n, 0)
            less, more = total // 2, total - total // 2
            self.begin[axis], self.end[axis] = (
                (less, more) if kind == "SAME_UPPER" else (more, less)
            )

    @property
    def even(self) -> bool:
        return self.begin == self.end


def padded(x: Node, at: Windows) -> Node:
    """The image with zeros around it."""
    ends = zip(extents(x)[1:], at.begin, at.end, strict=True)
    return embed(x, at.begin, [n + before + behind for n, before, behind in ends])


@converts("Conv")
def conv(case: Case) -> Pairs:
    x, W = case.family(0), case.shared(1)
    at = Windows(case, extents(x)[1:], extents(W)[2:])
    more = {"stride": at.strides, "dilation": at.dilations, "groups": case.attribute("group", 1)}
    if at.even:
        y = convolution(W, x, padding=tuple(at.begin), **more)
    else:
        y = convolution(W, padded(x, at), **more)
    return [(biased(case, y), case.outputs[0])]


def biased(case: Case, y: Node) -> Node:
    return y + per_channel(case.shared(2), y.space) if case.has(2) else y


@converts("ConvTranspose")
def conv_transpose(case: Case) -> Pairs:
    """The whole of the adjoint, then what the padding leaves of it, zeros where it ends before."""
    y, W = case.family(0), case.shared(1)
    window, shape = extents(W)[2:], np.shape(case.outputs[0])[2:]
    strides = tuple(case.attribute("strides", [1] * len(window)))
    dilations = tuple(case.attribute("dilations", [1] * len(window)))
    whole = transposed_convolution(
        W, y, stride=strides, dilation=dilations, groups=case.attribute("group", 1)
    )
    begin = _begin(case, extents(whole)[1:], shape)
    needed = [max(n, b + s) for n, b, s in zip(extents(whole)[1:], begin, shape, strict=True)]
    whole = embed(whole, [0] * len(needed), needed)
    return [(biased(case, crop(whole, begin, shape)), case.outputs[0])]


def _begin(case: Case, whole: tuple[int, ...], shape: tuple[int, ...]) -> list[int]:
    """Where the result begins: as `pads` say, or as a given shape leaves it."""
    kind = case.attribute("auto_pad", "NOTSET")
    if case.attribute("output_shape") is None and not kind.startswith("SAME"):
        return list(case.attribute("pads", [0] * (2 * len(whole)))[: len(whole)])
    extra = case.attribute("output_padding", [0] * len(whole))
    total = [max(n + e - s, 0) for n, e, s in zip(whole, extra, shape, strict=True)]
    return [t // 2 if kind == "SAME_UPPER" else t - t // 2 for t in total]


# --- pools


@converts("MaxPool")
def max_pool_of(case: Case) -> Pairs:
    if len(case.outputs) > 1:
        raise NotExpressible("the places of the largest entries as a result")
    x = case.family(0)
    at = Windows(case, extents(x)[1:], tuple(case.attribute("kernel_shape")))
    if not at.even:
        raise NotExpressible("a pool of largest entries whose padding differs on the two sides")
    if set(at.dilations) != {1}:
        raise NotExpressible("a pool of largest entries that are not neighbours")
    y = max_pool(x, at.window, stride=at.strides, padding=tuple(at.begin))
    if extents(y)[1:] != np.shape(case.outputs[0])[2:]:
        raise NotExpressible("a pool whose last window is partly beyond the padding")
    return [(y, case.outputs[0])]


@converts("AveragePool")
def average_pool_of(case: Case) -> Pairs:
    """By `average_pool` where it has the windows, else by a sum of windows over their counts."""
    x, counted = case.family(0), bool(case.attribute("count_include_pad", 0))
    at = Windows(case, extents(x)[1:], tuple(case.attribute("kernel_shape")))
    narrow = all(pad < extent for pad, extent in zip(at.begin, at.window, strict=True))
    if at.even and narrow and set(at.dilations) == {1}:
        y = average_pool(
            x, at.window, stride=at.strides, padding=tuple(at.begin), count_padding=counted
        )
        if extents(y)[1:] == np.shape(case.outputs[0])[2:]:
            return [(y, case.outputs[0])]
    whole = padded(x, at)
    ones = 0 * whole + 1 if counted else padded(0 * x + 1, at)
    summed = [_window_sums(z, at, np.shape(case.outputs[0])[2:]) for z in (whole, ones)]
    return [(summed[0] / summed[1], case.outputs[0])]


def _window_sums(x: Node, at: Windows, shape: tuple[int, ...]) -> Node:
    """The sum of each window; what is beyond the array counts as zero."""
    count = len(shape)
    (c,), place, within = axes(0, 1), axes(1, 1 + count), axes(20, 20 + count)
    read = [
        s * i + d * j for s, i, d, j in zip(at.strides, place, at.dilations, within, strict=True)
    ]
    ranges = dict(zip((*place, *within), (*shape, *at.window), strict=True))
    return form("sums", x=(c, *read), to=(c, *place), ranges=ranges)(x)


@converts("GlobalMaxPool")
def global_max_pool(case: Case) -> Pairs:
    x = case.family(0)
    return [(max_pool(x, extents(x)[1:]), case.outputs[0])]


@converts("GlobalAveragePool")
def global_average_pool(case: Case) -> Pairs:
    x = case.family(0)
    return [(average_pool(x, extents(x)[1:]), case.outputs[0])]


# --- norms


def normalised(x: Node, first: int, eps: sympy.Expr, centred: bool = True) -> Node:
    """x less its mean over the axes from `first` on, over its standard deviation there."""
    shape = extents(x)
    every, kept = axes(0, len(shape)), axes(0, first)
    over = number(float(np.prod(shape[first:])))
    ranges = dict(zip(every, shape, strict=True))
    mean = form("mean", x=every, to=kept)
    back = form("back", m=kept, to=every, ranges={i: ranges[i] for i in every[first:]})
    if centred:
        x = x - back(mean(x) / over)
    return x / back(sqrt(mean(x * x) / over + eps))


def epsilon(case: Case) -> sympy.Expr:
    return number(case.attribute("epsilon", 1e-5))


@converts("BatchNormalization")
def batch_normalization(case: Case) -> Pairs:
    if case.attribute("training_mode", 0) or len(case.outputs) > 1:
        raise NotExpressible("a norm over the batch, whose points are seen one by one")
    x = case.family(0)
    gain, bias, mean, variance = (per_channel(case.shared(k), x.space) for k in range(1, 5))
    return [(gain * (x - mean) / sqrt(variance + epsilon(case)) + bias, case.outputs[0])]


@converts("InstanceNormalization")
def instance_normalization(case: Case) -> Pairs:
    x = case.family(0)
    gain, bias = (per_channel(case.shared(k), x.space) for k in (1, 2))
    return [(gain * normalised(x, 1, epsilon(case)) + bias, case.outputs[0])]


@converts("GroupNormalization")
def group_normalization(case: Case) -> Pairs:
    x, count = case.family(0), int(case.attribute("num_groups"))
    shape = extents(x)
    g, c, *rest = axes(0, 1 + len(shape))
    each = shape[0] // count
    ranges = {g: count, c: each}
    split = form("groups", x=(each * g + c, *rest), to=(g, c, *rest), ranges=ranges)
    join = form("joined", x=(g, c, *rest), to=(each * g + c, *rest), shape=shape)
    gain, bias = (per_channel(case.shared(k), x.space) for k in (1, 2))
    return [(gain * join(normalised(split(x), 1, epsilon(case))) + bias, case.outputs[0])]


@converts("LayerNormalization", "RMSNormalization")
def layer_normalization(case: Case) -> Pairs:
    if len(case.outputs) > 1 and case.operator == "RMSNormalization":
        raise NotExpressible("further results of a norm")
    x = case.one(0)
    first = case.attribute("axis", -1) % x.space.rank
    shape = extents(x)
    y = normalised(x, first, epsilon(case), case.operator == "LayerNormalization")
    y = spread(case.one(1), shape) * y
    y = y + spread(case.one(2), shape) if case.has(2) else y
    return [(y, case.outputs[0]), *_statistics(case, x, first)]


def _statistics(case: Case, x: Node, first: int) -> Pairs:
    """The mean and the inverse of the standard deviation, which a layer norm may return too."""
    if len(case.outputs) == 1:
        return []
    shape, kept, every = extents(x), axes(0, first), axes(0, x.space.rank)
    over = number(float(np.prod(shape[first:])))
    total = form("total", x=every, to=kept)
    mean = total(x) / over
    variance = total(x * x) / over - mean * mean
    return [(mean, case.outputs[1]), (1 / sqrt(variance + epsilon(case)), case.outputs[2])]


@converts("LpNormalization")
def lp_normalization(case: Case) -> Pairs:
    x, p = case.one(0), case.attribute("p", 2)
    every, axis = axes(0, x.space.rank), case.attribute("axis", -1) % x.space.rank
    kept = tuple(i for k, i in enumerate(every) if k != axis)
    total = form("total", x=every, to=kept)
    back = form("back", x=kept, to=every, ranges={every[axis]: extents(x)[axis]})
    absolute = elementwise_function("absolute", lambda t: sympy.Abs(t))
    size: Any = total(absolute(x)) if p == 1 else sqrt(total(x * x))
    quotient = lambda s, t: sympy.Piecewise((s / t, t > 0), (0, True))  # noqa: E731
    return [(elementwise_function("over", quotient)(x, back(size)), case.outputs[0])]


@converts("MeanVarianceNormalization")
def mean_variance_normalization(case: Case) -> Pairs:
    if 0 in case.attribute("axes", [0, 2, 3]):
        x = case.one(0)  # the statistics are over the batch, so that it is an axis like others
        every = axes(0, 4)
        turned = form("turned", x=every, to=(every[1], every[0], *every[2:]))
        return [(turned(normalised(turned(x), 1, number(1e-9))), case.outputs[0])]
    raise NotExpressible("other axes of a norm")


@converts("Flatten")
def flatten(case: Case) -> Pairs:
    x = case.one(0)
    return [(vec(x), np.ravel(case.outputs[0]))]


REDUCED = {
    "ReduceL1": (lambda x: elementwise_function("absolute", lambda t: sympy.Abs(t))(x), None),
    "ReduceL2": (lambda x: x * x, sqrt),
    "ReduceLogSum": (lambda x: x, log),
    "ReduceLogSumExp": (exp, log),
    "ReduceMean": (lambda x: x, None),
    "ReduceSum": (lambda x: x, None),
    "ReduceSumSquare": (lambda x: x * x, None),
}


@converts(*REDUCED)
def reduced(case: Case) -> Pairs:
    """A sum along axes, which ONNX gives as data: they are read when the case is converted."""
    x, (before, behind) = case.one(0), REDUCED[case.operator]
    given = list(case.inputs[1]) if case.has(1) else []
    if not given and case.attribute("noop_with_empty_axes", 0):
        return [(x, case.outputs[0])]
    every = axes(0, x.space.rank)
    over = {int(axis) % len(every) for axis in given} or set(range(len(every)))
    kept = tuple(i for k, i in enumerate(every) if k not in over)
    y = form("total", x=every, to=kept)(before(x))
    if case.operator == "ReduceMean":
        y = y / int(np.prod([extents(x)[axis] for axis in over]))
    return [(behind(y) if behind else y, case.outputs[0])]
