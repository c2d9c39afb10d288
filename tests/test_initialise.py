"""Where training starts: shapes, scales and seeds of the initial parameters."""

import numpy as np
import pytest
from composed import (
    NETWORKS,
    assert_equal,
    embedding,
    evaluated,
    flat,
    m,
    mlp,
    n,
    networks,
    p,
    point,
)
from declared import LAYERS

from derive import Hom, R, SpaceError, dims, form, indices, layer, tanh
from derive.language.reference import shape_of
from derive.library.norms import bilinear
from derive.models.initialise import fans_of
from derive.models.networks import network


@networks
def test_initial_parameters_have_their_shapes(f, counts):
    sizes = {dims(name): count for name, count in counts.items()}
    theta = f.flat(f.initial(np.random.default_rng(0), counts))
    assert list(theta) == [x.name for x in f.theta]
    for x in f.theta:
        assert theta[x.name].shape == shape_of(x.space, sizes)
    values, _ = point(f, counts)
    assert np.all(np.isfinite(flat(evaluated(f, values | theta, sizes))))


def test_initial_maps_are_glorot_uniform_and_biases_zero():
    theta = mlp.initial(np.random.default_rng(0), {"m": 30, "hidden_n": 40, "output_n": 50})
    for name, fans in (("hidden", 30 + 40), ("output", 40 + 50)):
        a = np.sqrt(6 / fans)
        W = theta[name]["W"]
        # of 1200 uniform entries the largest misses 0.99 a with probability 0.99^1200 = 6e-6
        assert 0.99 * a < np.abs(W).max() <= a
        # the variance of 1200 uniform entries has a relative deviation of sqrt(0.8 / 1200) = 2.6 %
        assert abs(W.var() / (a**2 / 3) - 1) < 0.13
        assert not theta[name]["b"].any()


def test_initial_parameters_are_the_same_on_every_run_and_in_each_dtype():
    _, counts = NETWORKS["mlp"]
    first, second, single = (
        mlp.flat(mlp.initial(np.random.default_rng(3), counts, dtype))
        for dtype in (np.float64, np.float64, np.float32)
    )
    for name, W in first.items():
        assert_equal(W, second[name])
        assert single[name].dtype == np.float32
        assert_equal(single[name], W.astype(np.float32))


@layer
def filtered(x: R(p, m), *, K: R(n, p, 3), g: R(n, m), b: R(n, m)) -> R(n, m):
    o, c, s, t = indices("o c s t")
    return g * form("C", K=(o, c, s), x=(c, t + s), to=(o, t), ranges={t: m})(K, x) + b


@layer
def stacked(x: R(m), *, W: Hom(R(m), R(n) ** 2)) -> R(n):
    first, second = W
    return tanh(first @ x) * (second @ x)


@pytest.mark.parametrize(
    ("f", "name", "sizes", "fan_in", "fan_out"),
    [
        (filtered, "K", {"p": 20, "m": 7, "n": 30}, 3 * 20, 3 * 30),
        (stacked, "W", {"m": 50, "n": 40}, 50, 40),
        (bilinear, "W", {"n": 20, "m": 10, "k": 15}, 20, 150),
        (embedding, "E", {"m": 60, "n": 50}, 1, 50),
    ],
    ids=["filters", "stacked", "bilinear", "embedding"],
)
def test_fans_count_what_a_map_sums_and_reaches(f, name, sizes, fan_in, fan_out):
    net = network("f", a=f)
    counts = {str(s): sizes[str(s).removeprefix("a_")] for s in net.sizes}
    found = fans_of(f.argument(name), f.output)
    known = {dims(size): count for size, count in sizes.items()}
    assert np.prod([int(extent.subs(known)) for extent in found.into]) == fan_in
    assert np.prod([int(extent.subs(known)) for extent in found.out]) == fan_out
    W = net.initial(np.random.default_rng(0), counts)["a"][name]
    a = np.sqrt(6 / (fan_in + fan_out))
    assert 0.99 * a < np.abs(W).max() <= a  # at least 1800 entries, as above


def test_a_gain_starts_at_one():
    f, counts = NETWORKS["deep"]
    theta = f.initial(np.random.default_rng(0), counts)
    assert (theta["d"]["gamma"] == 1).all() and (theta["d"]["beta"] == 0).all()
    net = network("f", a=filtered)
    theta = net.initial(np.random.default_rng(0), {"p": 3, "m": 4, "a_n": 5})
    assert (theta["a"]["g"] == 1).all() and (theta["a"]["b"] == 0).all()


def test_what_is_fixed_is_drawn_as_a_parameter_in_its_place() -> None:
    f, counts = NETWORKS["fixed"]
    for dtype in (np.float64, np.float32):
        theta = f.initial(np.random.default_rng(0), counts, dtype)
        a = np.sqrt(6 / (3 + 4))
        assert 0.1 * a < np.abs(theta["entry"]["P"]).max() <= a
        assert theta["entry"]["P"].dtype == dtype
        assert not theta["middle"]["mu"].any() and (theta["middle"]["gamma"] == 1).all()


def test_fixed_class_indices_and_products_have_values_to_start_from() -> None:
    net = network("f", a=LAYERS["permuted"])
    theta = net.initial(np.random.default_rng(0), {"m": 4, "a_n": 3}, np.float32)["a"]
    assert theta["order"].dtype == np.int64 and theta["order"].tolist() == [0] * 4
    assert [part.shape for part in theta["offset"]] == [(3,), (4,)]


def test_initial_needs_every_size():
    with pytest.raises(SpaceError, match="the size output_n is not known"):
        mlp.initial(np.random.default_rng(0), {"m": 3, "hidden_n": 4})
    with pytest.raises(SpaceError, match="has no size 'k'"):
        mlp.initial(np.random.default_rng(0), {"k": 3})
