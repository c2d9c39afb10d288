"""Windows: every layer is its loops, its kernels are the reference, and its maps are adjoint.

What a call gets from outside (sizes, saved places) never leads a kernel beside its arrays.
"""

import re
from types import SimpleNamespace

import numpy as np
import pytest
from kernels import DTYPES, ROUNDING, Runner, every, kernels_of, relative, unequal
from points import EPS, draw_all, pairing
from windowed import (
    BY_HAND,
    LAYERS,
    compiled_windows,
    convolved,
    counts,
    part,
    pooled,
    spread,
    windows,
)

from derive import (
    Layer,
    R,
    SpaceError,
    average_pool,
    convolution,
    crop,
    dims,
    embed,
    max_pool,
    per_channel,
    transpose,
    transposed_convolution,
    variable,
    vec,
)
from derive.calculus.calculus import transpose as adjoint
from derive.evidence.checks.cases import Cases
from derive.evidence.checks.check import by_layer, check
from derive.evidence.checks.kernel_laws import KernelLaws
from derive.evidence.proofs.proof import prove_at, small_sizes
from derive.kernels.interpreting.interpret import Interpreted
from derive.kernels.lowering.lower import lower
from derive.kernels.statements.loops import Largest, Select
from derive.language.reference import value
from derive.library.convolution import max_pooling
from derive.models.programs import programs

n, c = dims("n c")
layers = pytest.mark.parametrize("name", LAYERS)
dtypes = pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.__name__)


@pytest.fixture(scope="session")
def kernels(request):
    """The kernels of every layer in `windowed`."""
    return compiled_windows(request)


# --- errors at declaration

x8, W8 = variable("x", R(4, 8, 8)), variable("W", R(6, 4, 3, 3))
y6, y22 = variable("y", R(6, 3, 3)), variable("y", R(2, 2))
whole = "must be a whole number of at least 1, or 2 of them, one for each axis of the image; got"


def filters(*shape):
    return variable("W", R(*shape))


REFUSED = {
    "a larger window": (
        lambda: convolution(filters(6, 4, 9, 3), x8),
        "convolution: a window that reaches over 9 places is larger than the image, which has 8",
    ),
    "a larger dilated window": (
        lambda: convolution(W8, x8, dilation=(1, 4)),
        "convolution: a window that reaches over 9 places is larger than the image, which has 8",
    ),
    "a larger padded window": (
        lambda: convolution(filters(6, 4, 11, 3), x8, padding=1),
        "reaches over 11 places is larger than the image, which has 8 with a padding of 1",
    ),
    "a larger pool": (
        lambda: max_pool(x8, 9),
        "max_pool: a window that reaches over 9 places is larger than the image, which has 8",
    ),
    "a larger mean": (
        lambda: average_pool(x8, (3, 9)),
        "average_pool: a window that reaches over 9 places is larger than the image",
    ),
    "stride 0": (lambda: convolution(W8, x8, stride=0), f"convolution: stride {whole} 0"),
    "stride 0 of a pool": (lambda: max_pool(x8, 2, stride=0), f"max_pool: stride {whole} 0"),
    "one stride 0": (
        lambda: convolution(W8, x8, stride=(1, 0)),
        f"convolution: stride {whole} (1, 0)",
    ),
    "three strides": (
        lambda: convolution(W8, x8, stride=(1, 1, 1)),
        f"convolution: stride {whole} (1, 1, 1)",
    ),
    "a bool": (lambda: convolution(W8, x8, stride=True), f"convolution: stride {whole} True"),
    "a float": (lambda: convolution(W8, x8, stride=2.0), f"convolution: stride {whole} 2.0"),
    "a float of a pool": (
        lambda: average_pool(x8, 2, stride=1.5),
        f"average_pool: stride {whole} 1.5",
    ),
    "negative padding": (
        lambda: convolution(W8, x8, padding=-1),
        "convolution: padding must be a whole number of at least 0, or 2 of them, one for each "
        "axis of the image; got -1",
    ),
    "dilation 0": (
        lambda: convolution(W8, x8, dilation=0),
        f"convolution: dilation {whole} 0",
    ),
    "channels": (
        lambda: convolution(filters(6, 3, 3, 3), x8),
        "convolution: the image has 4 channels, but filters R(6, 3, 3, 3) in 1 groups take 3",
    ),
    "channels of groups": (
        lambda: convolution(W8, x8, groups=2),
        "convolution: the image has 4 channels, but filters R(6, 4, 3, 3) in 2 groups take 8",
    ),
    "output channels": (
        lambda: convolution(filters(5, 2, 3, 3), x8, groups=2),
        "convolution: 5 output channels do not fall into 2 groups",
    ),
    "output channels of any number": (
        lambda: convolution(filters(n, 2, 3, 3), x8, groups=2),
        "convolution: n output channels do not fall into 2 groups",
    ),
    "groups of the thesis's filters": (
        lambda: convolution(filters(6, 3, 3), x8, groups=2),
        "convolution: filters that meet the sum of the channels have no groups",
    ),
    "the rank of filters": (
        lambda: convolution(filters(4, 3), x8),
        "convolution: expected an image R(c, n, ..) and filters R(o, c, p, ..) or R(o, p, ..) "
        "with an extent for each axis of the image, got R(4, 8, 8) and R(4, 3)",
    ),
    "the rank of an image": (
        lambda: convolution(filters(4), variable("x", R(4))),
        "convolution: expected an image R(c, n, ..)",
    ),
    "no image": (
        lambda: convolution(W8, 3),
        "convolution: expected an expression of an array space, got 3",
    ),
    "padding of a pool": (
        lambda: max_pool(x8, 2, padding=2),
        "max_pool: the padding 2 must be below the window's extent 2",
    ),
    "padding of a mean": (
        lambda: average_pool(x8, (3, 2), padding=(1, 2)),
        "average_pool: the padding 2 must be below the window's extent 2",
    ),
    "a window of four axes": (
        lambda: max_pool(x8, (1, 2, 2, 2)),
        "max_pool: a window (1, 2, 2, 2) has no place on R(4, 8, 8)",
    ),
    "output_padding": (
        lambda: transposed_convolution(W8, y6, stride=2, output_padding=2),
        "transposed_convolution: output_padding must be below the stride, got 2",
    ),
    "output_padding without a stride": (
        lambda: transposed_convolution(W8, y6, output_padding=1),
        "transposed_convolution: output_padding must be below the stride, got 1",
    ),
    "the channels of y": (
        lambda: transposed_convolution(filters(5, 4, 3, 3), y6),
        "transposed_convolution: expected y in R(o, n, ..) and filters R(o, c, p, ..) or "
        "R(o, p, ..), got R(6, 3, 3) and R(5, 4, 3, 3)",
    ),
    "the stride of the adjoint": (
        lambda: transposed_convolution(W8, y6, stride=1.0),
        f"transposed_convolution: stride {whole} 1.0",
    ),
    "ties": (
        lambda: max_pool(x8, 2, ties="last"),
        "max_pool: expected ties='first' or 'average', got 'last'",
    ),
    "a place beyond": (
        lambda: crop(x8, (8, 0), (1, 1)),
        "crop: place 8 must be a whole number from 0 on, within the axis of 8",
    ),
    "a place before": (
        lambda: crop(x8, (0, -1), (1, 1)),
        "crop: place -1 must be a whole number from 0 on, within the axis of 8",
    ),
    "too few places": (
        lambda: crop(x8, (1,), (1, 1)),
        "crop: expected a place and an extent for each of some last axes of R(4, 8, 8), got the "
        "places (1,) and the extents (1, 1)",
    ),
    "a vector per channel": (
        lambda: per_channel(variable("b", R(3)), R(4, 5)),
        "per_channel: expected a vector with an entry for each channel of R(4, 5), got R(3)",
    ),
    "a matrix per channel": (
        lambda: per_channel(variable("b", R(4, 5)), R(4, 5)),
        "per_channel: expected a vector with an entry for each channel of R(4, 5), got R(4, 5)",
    ),
    "no axes": (
        lambda: transpose(x8),
        "transpose: expected a matrix R(n, m), got R(4, 8, 8)",
    ),
}


@pytest.mark.parametrize(("made", "sentence"), REFUSED.values(), ids=REFUSED)
def test_what_does_not_fit_is_refused(made, sentence):
    with pytest.raises(SpaceError, match=re.escape(sentence)):
        made()


NAMED = {
    "embed": lambda: embed(y22, (5, 0), (5, 5)),
    "transposed_convolution": lambda: transposed_convolution(W8, y6, groups=4),
    "max_pool": lambda: max_pool(x8, 0),
    "average_pool": lambda: average_pool(x8, 2.5),
    "convolution": lambda: convolution(W8, x8, groups=0),
    "crop": lambda: crop(x8, (True, 0), (1, 1)),
}


@pytest.mark.parametrize("called", NAMED)
def test_an_error_names_the_function_that_was_called(called):
    with pytest.raises(SpaceError, match=rf"^{called}: "):
        NAMED[called]()


def test_a_place_is_a_whole_number():
    with pytest.raises(SpaceError, match=r"crop: .*1\.5"):
        crop(x8, (1.5, 0), (1, 1))


@pytest.mark.parametrize("pool", [max_pool, average_pool])
def test_a_pool_over_whole_axes_of_any_size_needs_no_stride(pool):
    assert pool(variable("x", R(c, n, n)), (n, n)).space == R(c, 1, 1)


@pytest.mark.parametrize("pool", [max_pool, average_pool])
def test_a_pool_over_whole_axes_of_a_derived_size(pool):
    """Behind a convolution without padding; there is no padding that the window must exceed."""
    z = convolution(filters(3, c, 2, 2), variable("x", R(c, n, n)))
    assert pool(z, (n - 1, n - 1), stride=1).space == R(3, 1, 1)


# --- adjoints


def test_the_adjoint_of_a_part_is_its_embedding():
    """Lemma 4.2.1, and back."""
    x, y = variable("x", R(c, 5, 6)), variable("y", R(c, 2, 3))
    taken, put = crop(x, (1, 2), (2, 3)), embed(y, (1, 2), (5, 6))
    assert adjoint(taken, y, (x,))[x] is put
    assert adjoint(put, x, (y,))[y] is taken


def test_a_part_of_an_embedding_is_what_was_embedded():
    at = draw_all([y22], {})
    assert np.array_equal(value(crop(embed(y22, (1, 2), (5, 6)), (1, 2), (2, 2)), at), at[y22])
    assert value(embed(y22, (1, 2), (5, 6)), at).sum() == pytest.approx(at[y22].sum(), rel=4 * EPS)


@pytest.mark.parametrize("at", [(0, 0), (2, 1), (4, 3)])
def test_a_part_is_zero_beyond_the_border(at):
    x = variable("x", R(3, 5, 4))
    given = draw_all([x], {})
    assert np.array_equal(value(crop(x, at, (3, 3)), given), part(given[x], at, (3, 3)))


SETTINGS = {
    "plain": ((3, 7, 6), (2, 3, 3, 2), {}),
    "stride": ((3, 9, 6), (2, 3, 3, 2), {"stride": (2, 3)}),
    "padding": ((3, 5, 4), (2, 3, 3, 2), {"padding": (2, 1)}),
    "dilation": ((3, 7, 6), (2, 3, 3, 2), {"dilation": (2, 3)}),
    "two groups": ((4, 5, 6), (6, 2, 3, 2), {"groups": 2}),
    "depthwise": ((3, 5, 6), (6, 1, 3, 2), {"groups": 3}),
    "all": (
        (4, 8, 9),
        (2, 2, 3, 2),
        {"stride": (2, 3), "padding": (1, 2), "dilation": (2, 1), "groups": 2},
    ),
    "the thesis's": ((3, 7, 6), (2, 3, 2), {"stride": 2, "padding": 1}),
    "one axis": ((3, 9), (2, 3, 4), {"stride": 3, "padding": 2}),
    "three axes": ((2, 4, 3, 5), (3, 2, 2, 3, 2), {"stride": (1, 2, 3), "padding": (0, 1, 1)}),
    "larger than the image": ((2, 2, 3), (3, 2, 5, 4), {"padding": (2, 1)}),
}
settings = pytest.mark.parametrize(("image", "shape", "numbers"), SETTINGS.values(), ids=SETTINGS)


@settings
def test_a_convolution_is_its_loops(image, shape, numbers):
    x, W = variable("x", R(*image)), filters(*shape)
    at = draw_all([W, x], {})
    expected = convolved(at[x], at[W], **numbers)
    # sums of at most 24 products, once in another order
    assert relative(value(convolution(W, x, **numbers), at), expected) <= 48 * EPS


@settings
def test_both_partial_adjoints_pair(image, shape, numbers):
    """<C(W, x), y> = <W, (C |_ x)* y> = <x, (W _| C)* y> (theorems 4.2.2, 4.2.3)."""
    x, W = variable("x", R(*image)), filters(*shape)
    z = convolution(W, x, **numbers)
    y = variable("y", z.space)
    at = draw_all([W, x, y], {})
    left = pairing(value(z, at), at[y])
    for v in (W, x):
        pulled = value(adjoint(z, y, (v,))[v], at)
        # sums of at most 500 products that are nearly normal
        assert abs(pairing(pulled, at[v]) - left) <= 500 * EPS * pairing(abs(pulled), abs(at[v]))


@settings
def test_a_transposed_convolution_is_the_adjoint(image, shape, numbers):
    """<C(W, x), y> = <x, C^T(W, y)>, and one object where the thesis's filters do not sum."""
    x, W = variable("x", R(*image)), filters(*shape)
    z = convolution(W, x, **numbers)
    y = variable("y", z.space)
    more = missing(image, shape, numbers)
    turned = transposed_convolution(W, y, **numbers, output_padding=more)
    at = draw_all([W, x, y], {})
    found = value(turned, at)
    assert relative(found, spread(at[y], at[W], image[1:], **numbers)) <= 48 * EPS
    if len(shape) > len(image):
        assert turned is adjoint(z, y, (x,))[x]
    every_channel = at[x] if len(shape) > len(image) else at[x].sum(axis=0, keepdims=True)
    left, right = pairing(value(z, at), at[y]), pairing(found, every_channel)
    # sums of at most 500 products that are nearly normal
    assert abs(left - right) <= 500 * EPS * pairing(abs(found), abs(every_channel))


def missing(image, shape, numbers):
    """The places of an image that no window of a stride reaches: its output_padding."""
    axes = len(image) - 1
    spread_ = [
        numbers.get(key, default)
        for key, default in (("stride", 1), ("padding", 0), ("dilation", 1))
    ]
    steps, pads, apart = ((v,) * axes if isinstance(v, int) else v for v in spread_)
    at = counts(image[1:], shape[-axes:], steps, pads, apart)
    reach = zip(image[1:], at, shape[-axes:], steps, pads, apart, strict=True)
    return tuple(m - ((k - 1) * s - 2 * a + d * (p - 1) + 1) for m, k, p, s, a, d in reach)


def test_a_filter_as_large_as_the_image_is_a_matrix():
    """Value, and every derivative and adjoint, as dense has it with W reshaped."""
    o, shape = 5, (3, 4, 2)
    x, W = variable("x", R(*shape)), filters(o, *shape)
    M = variable("M", R(o, 24))
    y = variable("y", R(o, 1, 1))
    at = draw_all([W, x, y], {})
    matrix, vector, bar = at[W].reshape(o, 24), at[x].ravel(), at[y].ravel()
    z = convolution(W, x)
    by = {v: value(adjoint(z, y, (v,))[v], at) for v in (W, x)}
    dense = M @ vec(x)
    whole_ = {M: matrix, x: at[x], (u := variable("u", R(o))): bar}
    # sums of 24 products
    assert relative(value(z, at).ravel(), value(dense, whole_)) <= 48 * EPS
    assert relative(by[W].reshape(o, 24), value(adjoint(dense, u, (M,))[M], whole_)) <= 4 * EPS
    assert relative(by[x], value(adjoint(dense, u, (x,))[x], whole_)) <= 16 * EPS
    assert relative(by[W].reshape(o, 24), np.outer(bar, vector)) == 0


# --- pools at ties, NaN and infinity

POOLS = {
    "of_relu": ((2, 2), (2, 2), (0, 0), "first"),
    "overlapping": ((3, 2), (2, 1), (1, 0), "first"),
    "averaged": ((3, 3), (2, 2), (1, 1), "average"),
    "averaged_of_relu": ((2,), (1,), (0,), "average"),
}


def shares(x, y_bar, extents, stride, padding, ties):
    """D* phi(x) . y_bar: at the first place of the largest entry, or among all of them."""
    x_bar = np.zeros(x.shape)
    for at, places in windows(x, extents, stride, padding).items():
        entries = np.array([x[place] for place in places])
        attained = np.flatnonzero(entries == entries.max())
        attained = attained[:1] if ties == "first" else attained
        for k in attained:
            x_bar[places[k]] += y_bar[at] / len(attained)
    return x_bar


def test_the_loops_know_a_tie():
    x = np.array([[1.0, 3.0, 3.0]])
    assert shares(x, np.ones((1, 1)), (3,), (3,), (0,), "first").tolist() == [[0, 1, 0]]
    assert shares(x, np.ones((1, 1)), (3,), (3,), (0,), "average").tolist() == [[0, 0.5, 0.5]]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", POOLS)
def test_a_tie_goes_to_the_first_or_is_averaged(kernels, name, seed):
    """Entries are 0, 1 and 2, so that most windows have ties."""
    *numbers, ties = POOLS[name]
    runner = Runner(kernels[name], LAYERS[name], unequal(LAYERS[name]), 3, np.float64)
    values = runner.point("backward", seed)
    x, y_bar = (values[a.variable] for a in runner.programs["backward"].arguments)
    x[...] = np.random.default_rng(seed).integers(0 if "relu" in name else -1, 3, x.shape)
    (found,) = runner.results("backward", values)
    expected = [shares(a, b, *numbers, ties) for a, b in zip(x, y_bar, strict=True)]
    if "relu" in name:
        expected *= x > 0  # relu' is 0 at 0
    # at most 9 windows of shares to each place
    assert relative(found, np.array(expected)) <= 10 * EPS
    (y,) = runner.results("forward", values)
    assert np.array_equal(
        y, [pooled(np.maximum(a, 0) if "relu" in name else a, *numbers) for a in x]
    )


def test_ties_of_equal_entries_have_one_value_and_two_derivatives():
    """Remark 4.2.5: neither changes the value."""
    x, y = variable("x", R(1, 4)), variable("y", R(1, 2))
    at = {x: np.array([[2.0, 2.0, 1.0, 1.0]]), y: np.array([[1.0, 3.0]])}
    first, average = (max_pool(x, 2, ties=ties) for ties in ("first", "average"))
    assert value(first, at).tolist() == value(average, at).tolist() == [[2, 1]]
    by = [Layer.of("f", state={"x": x.space}, output=f).D().adjoint for f in (first, average)]
    found = [value(f.body, at | {f.variable: at[y]}).tolist() for f in by]
    assert found == [[[1, 0, 3, 0]], [[0.5, 0.5, 1.5, 1.5]]]


@pytest.mark.parametrize("ties", ["first", "average"])
@pytest.mark.parametrize("place", range(3))
def test_a_nan_wins_in_its_window_alone(ties, place):
    x = variable("x", R(2, 7))
    at = np.random.default_rng(place).normal(size=(2, 7))
    at[1, 3 + place] = np.nan
    with np.errstate(invalid="ignore"):
        found = value(max_pool(x, 3, stride=2, ties=ties), {x: at})
    assert np.array_equal(found, pooled(at, (3,), (2,)), equal_nan=True) and np.isnan(found).any()


@pytest.mark.parametrize("name", ["overlapping", "averaged"])
def test_a_nan_wins_in_kernels(kernels, name):
    extents, stride, padding, _ = POOLS[name]
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 5))
    x[1, 2, 1, 2] = np.nan
    found = kernels[name].forward(x)
    expected = [pooled(a, extents, stride, padding) for a in x]
    assert np.array_equal(found, expected, equal_nan=True) and np.isnan(found).any()


def test_a_window_of_minus_infinity_has_it_as_its_largest(kernels):
    x, at = variable("x", R(1, 4)), np.array([[-np.inf, -np.inf, 1.0, -np.inf]])
    assert value(max_pool(x, 2), {x: at}).tolist() == [[-np.inf, 1]]
    assert kernels["over_sizes"].forward(at[None], p=2).tolist() == [[[-np.inf, 1, 1]]]


# --- the place of the largest entry is kept

POOLED = [
    *POOLS,
    *("signal_pool", "of_convolution", "over_the_whole", "over_sizes", "deep"),
    *("several_pools", "beyond"),
]


def test_pools_are_what_searches():
    forward = {name: kernels_of(layer)["forward"] for name, layer in LAYERS.items()}
    assert set(POOLED) == {name for name, f in forward.items() if any(every(f.steps, Largest))}


@pytest.mark.parametrize("name", POOLED)
def test_backward_never_searches_again(name):
    """One search in forward, which saves the places, or with ties averaged the weights."""
    lowered = kernels_of(LAYERS[name])
    searches = 4 if name == "several_pools" else 1  # each of its pools, equal ones too
    assert len(list(every(lowered["forward"].steps, Largest))) == searches
    assert not list(every(lowered["backward"].steps, Largest))
    assert any(every(lowered["backward"].steps, Select)) is not name.startswith("averaged")


GARBAGE = [np.nan, np.inf, -np.inf, -1.0, -1e300, 1e300, 2.0**31, 2.0**63, -(2.0**63), 7.5]


@dtypes
@pytest.mark.parametrize("name", POOLED)
def test_garbage_in_saved_stays_inside(kernels, name, dtype):
    """No crash, and nothing written beside the results or into what is read."""
    runner = Runner(kernels[name], LAYERS[name], unequal(LAYERS[name]), 3, dtype)
    values = runner.point("backward")
    names = [r.name for r in runner.programs["backward"].results]
    like = dict(zip(names, runner.results("backward", values), strict=True))
    sizes = runner.named_sizes()
    count = runner.module.backward.saved_size(**sizes)
    for number in GARBAGE:
        with np.errstate(over="ignore"):
            saved = in_bands((count,), dtype, dtype(number))
        out = {key: in_bands(array.shape, dtype) for key, array in like.items()}
        arguments = runner.arguments("backward", values)
        asked = {key: sizes[key] for key in runner.module.backward.declaration.asked}
        runner.module.backward(*arguments, saved=saved[1], out=inside(out), **asked)
        assert intact(*out.values()) and intact(saved)
        assert np.array_equal(saved[1], np.full(count, saved[1].flat[0]), equal_nan=True)


BAND, MARK = 4096, -7.25  # larger than any of these arrays


def in_bands(shape, dtype=np.float64, start=0.0):
    """An array, as (all of it, the part inside, of that shape)."""
    count = int(np.prod(shape))
    around = np.full(count + 2 * BAND, MARK, dtype)
    around[BAND : BAND + count] = start
    return around, around[BAND : BAND + count].reshape(shape)


def inside(arrays):
    return {key: array for key, (_, array) in arrays.items()}


def intact(*arrays):
    """The numbers before and behind are as they were."""
    return all((a[:BAND] == MARK).all() and (a[len(a) - BAND :] == MARK).all() for a, _ in arrays)


# --- sizes that a call brings


def call(kernel, given, shapes, **sizes):
    """A kernel's results, every array of which it may write in bands; they are found intact."""
    more = {name: count for name, count in sizes.items() if name in kernel.sizes}
    out = {name: in_bands(shape) for name, shape in shapes.items()}
    scratch = [in_bands((kernel.workspace_size(**more),), start=np.nan)]
    saved = [in_bands((kernel.saved_size(**more),), start=np.nan)] if kernel.saved_role else []
    keep = {"saved": saved[0][1]} if saved else {}
    asked = {key: sizes[key] for key in kernel.declaration.asked}
    kernel(*given, out=inside(out), workspace=scratch[0][1], **keep, **asked)
    assert intact(*out.values(), *scratch, *saved)
    return inside(out)


@pytest.mark.parametrize("p", range(1, 7))
def test_filters_up_to_the_padded_image(kernels, p):
    """n = 4 and a padding of 1: filters of up to 6 entries fit."""
    rng = np.random.default_rng(p)
    x, W = rng.normal(size=(2, 3, 4, 5)), rng.normal(size=(2, p, 7))
    expected = np.array([BY_HAND["summed"](image, W) for image in x])
    sizes = {"batch": 2, "c": 3, "n": 4, "l": 5, "o": 2, "p": p, "q": 7}
    found = call(kernels["summed"].forward, (x, W), {"y": expected.shape}, **sizes)
    assert relative(found["y"], expected) <= ROUNDING * EPS


SMALL = {
    "a filter": ("summed", {"x": (2, 3, 4, 4), "W": (2, 7, 3)}),
    "a filter by far": ("summed", {"x": (2, 3, 4, 4), "W": (2, 19, 3)}),
    "dilated": ("uneven", {"x": (2, 3, 4, 2), "W": (2, 3, 3, 2)}),
    "dilated, nothing left": ("uneven", {"x": (2, 3, 4, 1), "W": (2, 3, 3, 2)}),
    "a pool": ("of_relu", {"x": (2, 3, 1, 4)}),
    "a pool of a size": ("over_sizes", {"x": (2, 3, 4)}),
    "a pool behind": ("vector_of_means", {"x": (2, 2, 4, 2), "W": (3, 2, 2, 2)}),
    "a convolution": ("signal", {"x": (2, 3, 0), "W": (2, 3, 3)}),
}


@pytest.mark.parametrize(("name", "shapes"), SMALL.values(), ids=SMALL)
def test_a_window_larger_than_the_image_is_refused_at_the_call(kernels, name, shapes):
    """By forward, and by backward before anything is written."""
    given = [np.ones(shape) for shape in shapes.values()]
    sizes = {"p": 5} if name == "over_sizes" else {}
    module = kernels[name]
    rank = len(LAYERS[name].output.space.shape) + 1
    with pytest.raises(ValueError, match=rf"{name}\.forward: .* must be at least 1"):
        module.forward(*given, **sizes)
    out = {f"{key}_bar": np.full(shape, 7.0) for key, shape in shapes.items()}
    y_bar = np.ones((2, *(0,) * (rank - 1)))
    saved = {"saved": np.ones(0)} if module.backward.saved_role else {}
    with pytest.raises(ValueError, match=rf"{name}\.backward: .* must be at least 1"):
        module.backward(*given, y_bar, out=out, **saved, **sizes)
    assert all((array == 7).all() for array in out.values())


@pytest.mark.parametrize(
    ("length", "p"), [(n, p) for n in range(1, 7) for p in range(1, 6) if p <= n + 4]
)
def test_a_place_that_a_small_image_has_not_is_zero(kernels, length, p):
    """Bounds with a floor in a floor: at n = 1, p = 5 all extents are 1 and place 1 is outside."""
    rng = np.random.default_rng(length)
    x, W = rng.normal(size=(2, 2, length)), rng.normal(size=(3, 2, p))
    y = kernels["beyond"].forward(x, W)
    expected = [BY_HAND["beyond"](point, W) for point in x]
    assert np.abs(y - expected).max() <= 1e-14 * max(1, np.abs(expected).max())  # sums of 10 terms


@pytest.mark.parametrize("length", [1, 2, 3])
def test_an_image_within_is_not_smaller_than_its_window(kernels, length):
    """A filter of 3 on a signal of 1 or 2: an error, though the result, padded later, is larger."""
    given = [np.ones((2, 3, length)), np.ones((4, 3, 3)), np.ones((4, 4, 1))]
    given += [np.ones((20, 3, 3)), np.ones((4, 20, 1))]
    sizes = {"batch": 2, "c": 3, "n": length, "o": 4, "p": 20}
    shapes = {"y": (2, 4, length + 2)}
    if length == 3:
        expected = BY_HAND["through_less"](given[0][0], *given[1:])
        y = call(kernels["through_less"].forward, given, shapes, **sizes)["y"]
        assert relative(y[0], expected) <= ROUNDING * EPS
    else:
        with pytest.raises(ValueError, match="must be at least 1"):
            call(kernels["through_less"].forward, given, shapes, **sizes)


@pytest.mark.parametrize("wrong", [-1, 4, 2**40])
def test_an_index_out_of_range_is_refused_before_anything_is_written(wrong):
    from derive.generated import embedding_lookup as lookup

    k, E = np.array([[0, 1, 3], [2, wrong, 0]]), np.ones((4, 5))
    y, E_bar = np.full((2, 3, 5), 7.0), np.full((4, 5), 7.0)
    with pytest.raises(ValueError, match=rf"k has index {wrong} at place 4, must be at least 0"):
        lookup.forward(k, E, out=y)
    with pytest.raises(ValueError, match=rf"k has index {wrong} at place 4, must be at least 0"):
        lookup.backward(k, E, np.ones((2, 3, 5)), out=(E_bar,))
    assert (y == 7).all() and (E_bar == 7).all()


# --- every layer


@layers
def test_a_layer_is_its_loops(kernels, name):
    runner = Runner(kernels[name], LAYERS[name], unequal(LAYERS[name]), 2, np.float64)
    values = runner.point("forward")
    (found,) = runner.results("forward", values)
    by_hand, arguments = BY_HAND[name], runner.programs["forward"].arguments
    sizes = {"p": runner.named_sizes()["p"]} if name == "over_sizes" else {}
    for row in range(2):
        given = [
            values[a.variable] if a.role == "parameter" else values[a.variable][row]
            for a in arguments
        ]
        assert relative(found[row], by_hand(*given, **sizes)) <= ROUNDING * EPS


@dtypes
@layers
def test_kernels_are_the_reference(kernels, name, dtype):
    runner = Runner(kernels[name], LAYERS[name], unequal(LAYERS[name]), 3, dtype)
    assert max(runner.errors(program) for program in runner.programs) <= 1


@layers
def test_every_access_is_inside_and_nothing_unwritten_is_read(name):
    """Interpreted, on batches of 0 and 1, sizes 1 and all zero."""
    for own, made in by_layer(programs(LAYERS[name])).items():
        interpreted = {p.name: Interpreted(lower(p), thrifty=True) for p in made}
        laws = KernelLaws(own, SimpleNamespace(**interpreted), made)
        for program in made:
            found = [*laws.alone(program, laws.cases.one, np.float64)]
            for case in (laws.cases.one, *laws.cases.small, *laws.cases.zero):
                found += laws.values(program, case, np.float64)
            assert [finding for finding in found if not finding.ok] == []


@pytest.mark.parametrize("name", [name for name in LAYERS if name != "through_less"])
def test_the_laws_of_maps_and_programs_hold(name):
    """Adjoints, symmetry, differences, remainders, the batch, the programs."""
    assert [found for found in check(LAYERS[name]) if not found.ok] == []


def test_a_point_away_from_kinks_is_found_for_large_images():
    """As `derive check` needs one, with some thousand windows."""
    large = Cases(max_pooling, programs(max_pooling), 0).large
    assert min(large.sizes.values()) >= 5


# One choice of sizes takes seconds for these; those that are left have all that they consist of.
LONG = {"volume", "two_groups", "multiplied", "biased", "widened", "deep", "summed", "through_less"}
LONG |= {"vector_of_means", "groups_of_sizes", "any_groups", "with_itself"}


@pytest.mark.parametrize("name", [name for name in LAYERS if name not in LONG])
def test_a_layer_is_proved(name):
    verdicts = list(prove_at(LAYERS[name], small_sizes(LAYERS[name])[0]))
    assert verdicts and [v for v in verdicts if not v.proved] == []
