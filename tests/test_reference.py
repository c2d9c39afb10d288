"""The reference computes what NumPy does when the mathematics is written out by hand."""

import math

import numpy as np
import pytest
from formulas import SIZES, A, B, H, W, X, b, h, i, j, k, m, n, r, x, x2
from points import EPS, close, draw_all

from derive import (
    Hom,
    Index,
    R,
    SpaceError,
    broadcast,
    entry,
    form,
    indices,
    inner,
    largest,
    log_softmax,
    log_sum_exp,
    mean,
    norm,
    outer,
    relu,
    scale,
    sigmoid,
    softmax,
    tanh,
    total_sum,
    uninterpreted,
    variable,
)
from derive.language.expressions import constant, held, tuple_of
from derive.language.reference import value

# Sums of at most 60 products on both sides, and functions within a few ulp.
ROUNDING = 200
c = variable("c", Index(m))
z4 = variable("z", H**4)
pair = variable("s", H * X)


def np_softmax(v):
    return np.exp(v) / np.exp(v).sum()


BY_HAND = {
    "affine": (2 * (W @ x) - b / 3 + 0.25, lambda W, x, b: 2 * W @ x - b / 3 + 0.25),
    "transposed product": (form("t", A=(i, j), x=(i,), to=(j,))(W, h), lambda W, h: W.T @ h),
    "hadamard": (x * x2, lambda x, x2: x * x2),
    "quotient": (x / x2 + 1 / x, lambda x, x2: x / x2 + 1 / x),
    "power": (x**-2, lambda x: x**-2.0),
    "inner": (inner(x, x2), lambda x, x2: x @ x2),
    "inner of matrices": (inner(W, A), lambda W, A: np.sum(W * A)),
    "norm": (norm(x), lambda x: np.linalg.norm(x)),
    "outer": (outer(h, x), lambda h, x: np.outer(h, x)),
    "outer twice": (outer(h, outer(x, b)), lambda h, x, b: np.einsum("i,j,k", h, x, b)),
    "sum and mean": (total_sum(W) * mean(x), lambda W, x: W.sum() * x.mean()),
    "broadcast": (broadcast(mean(x), Hom(X, H)) * W, lambda x, W: x.mean() * W),
    "scale": (scale(inner(x, x2), h), lambda x, x2, h: (x @ x2) * h),
    "bilinear": ((B @ x) @ h, lambda B, x, h: np.einsum("kji,i,j->k", B, x, h)),
    "trace": (form("tr", A=(i, i), to=())(variable("S", R(m, m))), lambda S: np.trace(S)),
    "diagonal": (form("d", A=(i, i), to=(i,))(variable("S", R(m, m))), lambda S: np.diag(S)),
    "repeated": (form("r", x=(i,), to=(j, i), ranges={j: n})(x), lambda x: np.tile(x, (3, 1))),
    "summed over nothing": (form("s", x=(i,), to=(), ranges={j: n})(x), lambda x: 3 * x.sum()),
    "constant": (constant(x.space.shape[0] / n, R(2)), lambda: np.full(2, 4 / 3)),
    "softmax": (softmax(x), np_softmax),
    "log softmax": (log_softmax(x), lambda x: np.log(np_softmax(x))),
    "log sum exp": (log_sum_exp(x), lambda x: np.log(np.exp(x).sum())),
    "largest": (largest(x), np.max),
    "entry": (entry(x, c), lambda x, c: x[c]),
    "held": (held(tanh(x)), np.tanh),
    "unpacked power": (z4[1] - z4[3], lambda z: z[1] - z[3]),
    "unpacked pair": (tuple_of((pair[1] * 2, pair[0])), lambda s: (2 * s[1], s[0])),
    "blocks": (
        variable("Q", Hom(X * H, H * X)) @ (x, h),
        lambda Q, x, h: (Q[0][0] @ x + Q[0][1] @ h, Q[1][0] @ x + Q[1][1] @ h),
    ),
}


@pytest.mark.parametrize(("node", "by_hand"), BY_HAND.values(), ids=BY_HAND)
def test_every_node_as_written_by_hand(node, by_hand) -> None:
    point = draw_all([node], SIZES)
    expected = by_hand(*point.values())  # variables come in the order of the text
    assert close(value(node, point, SIZES), expected, ROUNDING)


@pytest.mark.parametrize("psi", [relu, sigmoid, tanh], ids=lambda psi: psi.__name__)
def test_elementwise_functions_at_their_edges(psi) -> None:
    at = np.array([0.0, -0.0, 800.0, -800.0, math.inf, -math.inf, math.nan, 1.0])
    with np.errstate(all="raise"):
        found = value(psi(variable("t", R(8))), {variable("t", R(8)): at})
    by_hand = {
        "relu": [0, 0, 800, 0, math.inf, 0, math.nan, 1],
        "sigmoid": [0.5, 0.5, 1, 0, 1, 0, math.nan, 1 / (1 + math.exp(-1))],
        "tanh": [0, 0, 1, -1, 1, -1, math.nan, math.tanh(1)],
    }
    np.testing.assert_allclose(found, by_hand[psi.__name__], rtol=4 * EPS, atol=0)


@pytest.mark.parametrize("big", [0.0, 800.0, -800.0])
def test_softmax_does_not_overflow(big) -> None:
    at = {x: np.array([big, 0.0, 1.0, -big])}
    shifted = at[x] - at[x].max()
    assert close(value(softmax(x), at), np_softmax(shifted), ROUNDING)
    expected = np.log(np.exp(shifted).sum()) + at[x].max()
    assert close(value(log_sum_exp(x), at), expected, ROUNDING)


# --- accesses beyond the border are zero

s, t, p, q = indices("s t p q")


def loops(kernel, image, stride, pad, rows, columns):
    """A convolution by four loops."""
    out = np.zeros((len(kernel), rows, columns))
    for place in np.ndindex(*out.shape, *kernel.shape[1:]):
        o, row, column, channel, down, right = place
        y, z = stride * row + down - pad, stride * column + right - pad
        if 0 <= y < image.shape[1] and 0 <= z < image.shape[2]:
            out[o, row, column] += kernel[o, channel, down, right] * image[channel, y, z]
    return out


@pytest.mark.parametrize(("stride", "pad"), [(1, 0), (1, 2), (2, 1), (3, 4)])
def test_convolution_with_padding(stride, pad) -> None:
    rows, columns = 7, 6
    image, kernel = variable("x", R(2, 6, 5)), variable("K", R(3, 2, 3, 2))
    o, channel = indices("o c")
    convolve = form(
        "C",
        K=(o, channel, s, t),
        x=(channel, stride * i + s - pad, stride * j + t - pad),
        to=(o, i, j),
        ranges={i: rows, j: columns},
    )
    point = draw_all([kernel, image], {})
    expected = loops(point[kernel], point[image], stride, pad, rows, columns)
    assert close(value(convolve(kernel, image), point), expected, ROUNDING)


def test_shifts_flips_and_crops() -> None:
    shift = form("shift", x=(i + 1,), to=(i,), ranges={i: m})
    flip = form("flip", x=(m - 1 - i,), to=(i,), ranges={i: m})
    crop = form("crop", x=(i + 1,), to=(i,), ranges={i: m - 2})
    at = {x: np.array([1.0, 2.0, 3.0, 4.0])}
    assert value(shift(x), at).tolist() == [2, 3, 4, 0]
    assert value(flip(x), at).tolist() == [4, 3, 2, 1]
    assert value(crop(x), at).tolist() == [2, 3]
    strided = form("strided", x=(r * i - 1,), to=(i,), ranges={i: m})
    assert value(strided(x), at, {r: 2}).tolist() == [0, 2, 4, 0]


def test_the_first_largest_wins_and_a_nan_wins_over_all() -> None:
    picked = largest(x).operands[1]
    assert value(picked, {x: np.array([1.0, 3.0, 3.0, 2.0])}) == 1
    assert value(picked, {x: np.array([1.0, math.nan, 5.0, math.nan])}) == 1
    assert value(picked, {x: np.full(4, -math.inf)}) == 0


# --- dtypes, sizes, arguments


def test_it_runs_in_float64_and_complex() -> None:
    for dtype, expected in [(np.float32, np.float64), (int, np.float64), (complex, complex)]:
        assert value(W @ x, {W: np.ones((3, 4), dtype), x: np.ones(4, dtype)}).dtype == expected
    assert value(tanh(x), {x: np.full(4, 1e-30j)}).tolist() == [1e-30j] * 4


def test_lists_and_numbers_are_arrays() -> None:
    assert value(2 * x + 1, {x: [1, 2, 3, 4]}).tolist() == [3, 5, 7, 9]
    number = variable("a", R())
    assert value(scale(number, x), {number: 2, x: [1, 2, 3, 4]}).tolist() == [2, 4, 6, 8]


def test_nothing_given_is_changed() -> None:
    at = draw_all([W, x, b], SIZES)
    kept = {v: array.copy() for v, array in at.items()}
    f = tanh(W @ x + b) * b
    assert np.array_equal(value(f, at), value(f, at))
    assert all(np.array_equal(at[v], kept[v]) for v in at)


ones = np.ones
RAISES = {
    "no value": (W @ x, {x: ones(4)}, r"W of R\(n, m\) has no value; give it an array"),
    "rank": (2 * x, {x: ones((4, 1))}, r"x: expected an array of R\(m\), got shape \(4, 1\)"),
    "two sizes": (
        W @ x,
        {W: ones((3, 4)), x: ones(5)},
        r"x: shape \(5,\) does not fit R\(m\): m is 4",
    ),
    "a fixed size": (variable("f", R(2)) * 2, {variable("f", R(2)): ones(3)}, "2 is 2 here"),
    "parts": (pair[0], {pair: (ones(3),)}, r"s: expected 2 arrays for R\(n\) \* R\(m\), got 1"),
    "unknown size": (constant(n, R(k)), {}, r"the size (k|n) is not known; give it as sizes="),
}


@pytest.mark.parametrize(("node", "at", "sentence"), RAISES.values(), ids=RAISES)
def test_wrong_arrays_are_refused_by_name(node, at, sentence) -> None:
    with pytest.raises(SpaceError, match=sentence):
        value(node, at)


def test_what_is_uninterpreted_has_no_value() -> None:
    with pytest.raises(TypeError, match="uninterpreted and has no value"):
        value(uninterpreted("f", X, H)(x), {x: ones(4)}, SIZES)
