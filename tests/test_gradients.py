"""Laws of clipping, and of the checks for finite values."""

import math

import numpy as np
import pytest
from trees import EPS, assert_close, bits, draw, dtypes

from derive.training.gradients import NotFinite, check_finite, clip_by_norm, clip_by_value
from derive.training.parameters import flatten, leaves, map_tree

# Finite values.


@pytest.mark.parametrize("loss", [math.nan, math.inf, np.float32(-np.inf)])
def test_check_finite_names_the_step_and_the_loss(loss):
    with pytest.raises(NotFinite, match=f"step 7: the loss is {float(loss)}"):
        check_finite(7, loss, {"b": np.ones(3)})


def test_check_finite_names_each_leaf_and_counts_its_entries():
    gradient = {"first": {"W": np.ones((3, 4)), "b": np.full(3, np.nan)}, "c": np.ones(5)}
    gradient["c"][2:4] = np.inf, np.nan
    with pytest.raises(FloatingPointError, match=r"step 3: .*'first\.b' \(3 of 3.*'c' \(2 of 5"):
        check_finite(3, 0.5, gradient)


def test_check_finite_accepts_the_largest_numbers_and_empty_leaves():
    check_finite(0, np.float64(1e308), {"b": np.array([1.7e308, -1.7e308]), "c": np.zeros((0, 5))})


# Clipping.


def norm(tree):
    return float(np.linalg.norm(flatten(tree)[0].astype(np.float64)))


@dtypes
def test_clip_by_norm_keeps_the_direction_and_reaches_the_limit(dtype):
    gradient = draw(np.random.default_rng(14), dtype)
    old = map_tree(np.copy, gradient)
    # Sums of 36 squares on both sides, each by at most 36 roundings of float64.
    returned = clip_by_norm(gradient, 1.5)
    assert abs(returned - norm(old)) <= 80 * EPS * norm(old)
    assert abs(norm(gradient) - 1.5) <= 2 * np.finfo(dtype).eps * 1.5 + 80 * EPS
    expected = map_tree(lambda a: a.astype(np.float64) * (1.5 / norm(old)), old)
    assert_close(gradient, expected, np.finfo(dtype).eps + 80 * EPS)
    assert all(a.dtype == dtype for _, a in leaves(gradient))


def test_clip_by_norm_keeps_the_bits_within_the_limit():
    gradient = draw(np.random.default_rng(15))
    before = bits(gradient)
    assert clip_by_norm(gradient, 1.01 * norm(gradient)) < 1.01 * norm(gradient)
    assert bits(gradient) == before


@pytest.mark.parametrize("scale", [1e-300, 1e-160, 1.0, 1e160, 2e307])
def test_clip_by_norm_is_homogeneous_at_every_scale(scale):
    gradient = {"a": 3.0 * scale * np.ones(1), "b": 4.0 * scale * np.ones(1)}
    assert clip_by_norm(gradient, scale) == pytest.approx(5.0 * scale, rel=8 * EPS)
    assert gradient["a"][0] == pytest.approx(0.6 * scale, rel=8 * EPS)
    assert gradient["b"][0] == pytest.approx(0.8 * scale, rel=8 * EPS)


def test_clip_by_norm_clips_even_where_the_norm_itself_overflows():
    gradient = {"b": np.full(4, 1.6e308)}
    assert clip_by_norm(gradient, 1.0) == math.inf
    assert np.all(np.abs(gradient["b"] - 0.5) <= 4 * EPS)


def test_clip_by_norm_of_mixed_dtypes_loses_no_narrow_leaf():
    gradient = {"a": np.full(1, 1e300), "b": np.full(1, 1e38, np.float32)}
    clip_by_norm(gradient, 1e299)
    assert gradient["b"][0] == pytest.approx(1e37, rel=2 * float(np.finfo(np.float32).eps))


@pytest.mark.parametrize("gradient", [{}, {"b": np.zeros(3)}, {"b": np.zeros((0, 5))}])
def test_clip_by_norm_of_zero_is_zero(gradient):
    assert clip_by_norm(gradient, 1.0) == 0.0


@dtypes
@pytest.mark.parametrize("limit", [0.1, 1.0, 1e300])
def test_clip_by_value_is_the_nearest_entry_in_the_box(dtype, limit):
    gradient = draw(np.random.default_rng(16), dtype)
    old = map_tree(np.copy, gradient)
    clip_by_value(gradient, limit)
    for (_, g), (_, a) in zip(leaves(gradient), leaves(old), strict=True):
        expected = [math.copysign(min(abs(x), limit), x) for x in a.ravel().tolist()]
        np.testing.assert_array_equal(g.ravel(), np.array(expected, dtype))
        assert g.dtype == dtype


@pytest.mark.parametrize("clip", [clip_by_norm, clip_by_value])
def test_clipping_refuses_without_a_change(clip):
    W = np.full((3, 4), 9.0)
    for gradient, error, match in (
        ({"W": W, "b": np.array([np.nan, 9.0])}, NotFinite, r"'b' \(1 of 2 entries\)"),
        ({"W": W, "b": np.ones(3, int)}, TypeError, "gradient 'b': expected float32 or float64"),
        ({"W": W, "V": W.T}, ValueError, "the gradients 'W' and 'V' share memory"),
    ):
        with pytest.raises(error, match=match):
            clip(gradient, 1.0)
        assert np.all(W == 9.0)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: clip_by_norm({"b": np.ones(3)}, 0.0), "limit satisfies 0 < limit"),
        (lambda: clip_by_value({"b": np.ones(3)}, math.nan), "limit satisfies"),
    ],
)
def test_limits_out_of_range_are_refused_with_a_sentence(make, match):
    with pytest.raises(ValueError, match=match):
        make()
