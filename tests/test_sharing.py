"""Shared parameters: the gradient is the untied network's, brought together by tau*.

tau* is written by hand in NumPy beside each tau; gradients come from the loss layer, from Algorithm
4.3.1 line by line, and from compiled kernels.
"""

import re

import numpy as np
import pytest
from conftest import QUICK, built
from kernels import relative

from derive import (
    R,
    SpaceError,
    dims,
    embed,
    form,
    given,
    indices,
    inner,
    layer,
    network,
    prove,
    tanh,
    transpose,
    with_shared,
    with_sizes,
)
from derive.evidence.checks.check import check
from derive.language.reference import value, values_of
from derive.library.convolution import convolutional, flattening
from derive.library.dense import affine, dense, dense_sigmoid, residual
from derive.library.losses import cross_entropy, cross_entropy_index, squared_loss
from derive.library.norms import gated
from derive.models.networks import Network
from derive.tools.build import load_kernels, texts
from derive.training.algorithms import gradient, gradient_descent
from derive.training.targets import softmax

# Both sides are sums of the same products, of at most three factors a layer, in another order, over
# at most 8 units and 5 points: some hundred roundings, of which few add up.
REORDERED = 1e-12
i, j = indices("i j")


# --- networks of dense layers, tau and its adjoint by hand

chain = network("chain", first=dense, second=dense_sigmoid, third=affine, loss=squared_loss)


def turned(W):
    """Rows and columns from the other end."""
    rows, columns = W.space.shape
    flip = form("flip", A=(rows - 1 - i, columns - 1 - j), to=(i, j), ranges={i: rows, j: columns})
    return flip(W)


def rows_summed(W):
    return form("rows", W=(i, j), to=(i,))(W)


# name: the untied network, its sizes, the target, tau, and tau in NumPy with tau* by source
CASES = {
    "transposed": (
        network("f", code=dense, decode=affine, loss=squared_loss),
        {"m": 4, "code_n": 3},
        {"decode_n": 4},
        {"decode_W": lambda code_W: transpose(code_W)},
        lambda t: {"decode_W": t["code_W"].T},
        lambda g: {"code_W": g["decode_W"].T},
    ),
    "turned round": (
        chain,
        {"m": 4, "third_n": 2},
        {"first_n": 4, "second_n": 4},
        {"second_W": lambda first_W: turned(first_W)},
        lambda t: {"second_W": t["first_W"][::-1, ::-1]},
        lambda g: {"first_W": g["second_W"][::-1, ::-1]},
    ),
    "a block": (
        chain,
        {"m": 3, "first_n": 4, "third_n": 2},
        {"second_n": 6},
        {"second_W": lambda first_W: embed(first_W, (1, 1), (6, 4))},
        lambda t: {"second_W": np.pad(t["first_W"], ((1, 1), (1, 0)))},
        lambda g: {"first_W": g["second_W"][1:5, 1:]},
    ),
    "two blocks": (
        network("f", a=dense, b=dense, c=dense, d=affine, loss=squared_loss),
        {},
        {"m": 3, "a_n": 3, "b_n": 3, "c_n": 6, "d_n": 2},
        {"c_W": lambda a_W, b_W: embed(a_W, (0, 0), (6, 3)) + embed(b_W, (3, 0), (6, 3))},
        lambda t: {"c_W": np.r_[t["a_W"], t["b_W"]]},
        lambda g: {"a_W": g["c_W"][:3], "b_W": g["c_W"][3:]},
    ),
    "a sum of two": (
        network("f", a=dense, b=dense, c=dense, d=affine, loss=squared_loss),
        {"d_n": 2},
        {"m": 3, "a_n": 3, "b_n": 3, "c_n": 3},
        {"c_W": lambda a_W, b_W: 2 * a_W - b_W / 3},
        lambda t: {"c_W": 2 * t["a_W"] - t["b_W"] / 3},
        lambda g: {"a_W": 2 * g["c_W"], "b_W": -g["c_W"] / 3},
    ),
    "twice": (
        network("f", a=dense, b=dense, c=dense, loss=squared_loss),
        {"m": 3},
        {"a_n": 3, "b_n": 3, "c_n": 3},
        {"b_W": lambda a_W: a_W, "c_W": lambda a_W: transpose(a_W)},
        lambda t: {"b_W": t["a_W"], "c_W": t["a_W"].T},
        lambda g: {"a_W": g["b_W"] + g["c_W"].T},
    ),
    "a bias from a matrix": (
        chain,
        {"m": 4, "first_n": 3, "third_n": 2},
        {"second_n": 3},
        {"second_b": lambda first_W: rows_summed(first_W)},
        lambda t: {"second_b": t["first_W"].sum(axis=1)},
        lambda g: {"first_W": np.outer(g["second_b"], np.ones(4))},
    ),
    "within a layer": (
        network("f", only=gated, top=affine, loss=squared_loss),
        {"n": 4, "only_m": 3, "top_n": 2},
        {},
        {"only_B": lambda only_A: -only_A},
        lambda t: {"only_B": -t["only_A"]},
        lambda g: {"only_A": -g["only_B"]},
    ),
    "forward": (
        network("f", first=dense, second=residual, third=affine, loss=squared_loss),
        {"m": 3},
        {"first_n": 3, "third_n": 3},
        {"first_W": lambda second_W: transpose(second_W), "third_b": lambda first_b: first_b},
        lambda t: {"first_W": t["second_W"].T, "third_b": t["first_b"]},
        lambda g: {"second_W": g["first_W"].T, "first_b": g["third_b"]},
    ),
    "nested": (
        network("f", body=network("g", a=dense, b=dense), top=affine, loss=squared_loss),
        {"m": 4, "body_a_n": 3},
        {"body_b_n": 5, "top_n": 5},
        {
            "top_W": lambda body_b_W, body_a_W: (
                embed(body_b_W, (0, 0), (5, 5)) + embed(body_a_W, (2, 1), (5, 5))
            )
        },
        lambda t: {
            "top_W": np.pad(t["body_b_W"], ((0, 0), (0, 2)))
            + np.pad(t["body_a_W"], ((2, 0), (1, 0)))
        },
        lambda g: {"body_b_W": g["top_W"][:, :3], "body_a_W": g["top_W"][2:, 1:]},
    ),
}
cases = pytest.mark.parametrize("name", CASES)


def tied(name):
    untied, _, more, taus, *_ = CASES[name]
    return with_shared(with_sizes(untied, more) if name in FIXED else untied, **taus)


FIXED = {"a block", "two blocks", "nested", "a sum of two"}  # of which tau has to know sizes


def drawn(made, sizes, seed=0):
    """Parameters that are all different from zero, by name."""
    rng = np.random.default_rng(seed)
    theta = made.initial(rng, {str(s): sizes[str(s)] for s in made.sizes})
    return {key: a + 0.1 * rng.normal(size=a.shape) for key, a in made.flat(theta).items()}


def loss_gradient(made, data, theta):
    """J and grad J of one point by the loss layer, by name."""
    J = made.loss_layer
    at = {a.variable: {**data, **theta}[a.name] for a in J.arguments}
    nablas = {p.name: J.nabla(p.name).adjoint for p in J.parameters}
    one = {nabla.variable: np.ones(()) for nabla in nablas.values()}
    total, *found = values_of([J.output, *(nabla.body for nabla in nablas.values())], at | one)
    return float(total), dict(zip(nablas, map(np.asarray, found), strict=True))


def agree(found, expected):
    """Name by name, relative to the largest entry; none is zero."""
    assert found.keys() == expected.keys()
    for key, array in expected.items():
        assert np.abs(array).max() > 0, key
        assert relative(found[key], array) <= REORDERED, key


@cases
def test_the_gradient_is_the_untied_one_brought_together(name):
    """Lemmas 4.3.2 and 4.3.4: nabla* f = tau* nabla* h, summed over all uses."""
    untied, few, more, _, tau, tau_adjoint = CASES[name]
    made, sizes = tied(name), {**few, **more}
    theta, rng = drawn(made, sizes), np.random.default_rng(1)
    every = {**theta, **tau(theta)}
    x, y = (a.variable for a in made.loss_layer.arguments if a.role != "parameter")
    data = {v.name: rng.normal(size=shape(v, sizes)) for v in (x, y)}
    J, found = loss_gradient(made, data, theta)
    expected_J, by = loss_gradient(untied, data, every)
    expected = {key: by[key] for key in theta}
    for key, array in tau_adjoint(by).items():
        expected[key] = expected[key] + array
    agree({"J": np.array(J), **found}, {"J": np.array(expected_J), **expected})


def shape(node, sizes):
    by_name = [{s: sizes[str(s)] for s in e.free_symbols} for e in node.space.shape]
    return tuple(int(e.xreplace(at)) for e, at in zip(node.space.shape, by_name, strict=True))


@cases
def test_algorithm_3_2_1_sums_over_all_uses(name):
    """Layer by layer as in Algorithm 4.3.1, and each parameter updated once, with all of it."""
    _, few, more, *_ = CASES[name]
    made, sizes = tied(name), {**few, **more}
    theta, rng = drawn(made, sizes), np.random.default_rng(1)
    x, y = (a.variable for a in made.loss_layer.arguments if a.role != "parameter")
    data = {v.name: rng.normal(size=shape(v, sizes)) for v in (x, y)}
    point = (*data.values(), made.tree(theta), "regression")
    _, expected = loss_gradient(made, data, theta)
    agree(made.flat(gradient(made, *point)), expected)
    updated = made.flat(gradient_descent(made, *point, 0.5))
    agree(updated, {key: theta[key] - 0.5 * expected[key] for key in theta})


@cases
def test_what_is_shared_is_no_parameter(name):
    """Arguments, trees, paths and sizes are those of what is left."""
    untied, few, more, taus, *_ = CASES[name]
    made = tied(name)
    left = [p.name for p in untied.parameters if p.name not in taus]
    assert sorted(p.name for p in made.parameters) == sorted(left)
    assert {str(s) for s in made.sizes} <= {str(s) for s in untied.sizes}
    theta = drawn(made, {**few, **more})
    tree = made.tree(theta)
    assert made.flat(tree).keys() == theta.keys()
    assert all(made.flat(tree)[key] is theta[key] for key in theta)
    assert len(set(made.paths)) == len(made.paths) == len(left)
    paths = dict(zip((p.name for p in untied.parameters), untied.paths, strict=True))
    assert list(made.paths) == [paths[p.name] for p in made.parameters]


@cases
def test_heads_and_tails_compose(name):
    """F = omega_{i+1} . alpha_i for each i, each with the parameters it reads."""
    _, few, more, *_ = CASES[name]
    made, sizes = tied(name), {**few, **more}
    theta = drawn(made, sizes)
    x = made.stages[0].input
    at = np.random.default_rng(2).normal(size=shape(x, sizes))
    expected = at_values(made, {x.name: at, **theta})
    for k in range(len(made.stages) + 1):
        head, tail = made.head(k), made.tail(k + 1)
        between = at_values(head, {x.name: at, **theta})
        first = tail.arguments[0].name
        assert relative(at_values(tail, {**theta, first: between}), expected) <= REORDERED


def at_values(f, values):
    return value(f.output, {a.variable: values[a.name] for a in f.arguments})


def test_sizes_that_sharing_makes_equal_are_one():
    untied = network("f", a=dense, b=dense, c=affine)
    assert str(untied.sizes) == "(m, a_n, b_n, c_n)"
    made = with_shared(untied, c_W=lambda a_W: transpose(a_W))
    assert str(made.output.space) == "R(m)" and len(made.sizes) == 2
    (W, *_) = made.parameters
    assert W.space.shape[0] in made.sizes and str(W.space.shape[1]) == "m"
    grown = with_shared(untied, b_W=lambda a_W: embed(a_W, (0, 0), grown_shape(a_W)))
    assert str(grown.stages[1].function.output.space) == "R(a_n + 2)"


def grown_shape(W):
    return (W.space.shape[0] + 2, W.space.shape[0])


def test_sizes_may_be_set_before_or_after():
    untied = network("f", code=dense, decode=affine, loss=squared_loss)
    taus = {"decode_W": lambda code_W: transpose(code_W)}
    sizes = {"m": 4, "code_n": 3}
    one = with_shared(with_sizes(untied, sizes), **taus)
    other = with_sizes(with_shared(untied, **taus), sizes)
    assert one.output is other.output and one.sizes == other.sizes == ()
    assert one.loss_layer.output is other.loss_layer.output
    assert [a.name for a in one.arguments] == [a.name for a in other.arguments]


def test_a_loss_may_come_before_or_after():
    """Also one whose target is the input."""
    whole = with_sizes(network("f", code=dense, decode=affine), {"decode_n": dims("m")})
    taus = {"decode_W": lambda code_W: transpose(code_W)}
    one = with_shared(whole.with_loss(squared_loss, target="input"), **taus)
    other = with_shared(whole, **taus).with_loss(squared_loss, target="input")
    assert one.loss_layer.output is other.loss_layer.output
    assert [a.name for a in one.loss_layer.arguments] == ["x", "code_W", "code_b", "decode_b"]


def test_a_shared_network_is_a_layer_of_another():
    """Sharing within, without, and of two copies of it."""
    inside = with_shared(
        network("g", code=dense, decode=affine), decode_W=lambda code_W: transpose(code_W)
    )
    outer = network("f", one=inside, two=inside, top=affine, loss=squared_loss)
    made = with_shared(outer, two_code_W=lambda one_code_W: one_code_W)
    sizes = {"m": 4, "one_code_n": 3, "two_code_n": 3, "top_n": 2}
    theta = drawn(made, sizes)
    every = theta | {"two_code_W": theta["one_code_W"]}
    rng = np.random.default_rng(1)
    data = {"x": rng.normal(size=4), "y": rng.normal(size=2)}
    (J, found), (expected_J, by) = (
        loss_gradient(made, data, theta),
        loss_gradient(outer, data, every),
    )
    by["one_code_W"] = by["one_code_W"] + by.pop("two_code_W")
    assert abs(J - expected_J) <= REORDERED * abs(expected_J)
    agree(found, {key: by[key] for key in found})
    assert made.paths[0] == ("one", "code", "W") and ("two", "code", "b") in made.paths


def test_a_shared_network_holds_and_is_proved():
    """The laws of maps and programs, and the proof, of a tied auto-encoder."""
    made = with_shared(
        network("f", code=dense, decode=affine), decode_W=lambda code_W: transpose(code_W)
    )
    assert [found for found in check(made) if not found.ok] == []
    verdicts = prove(made)
    assert verdicts and all(v.proved for v in verdicts)


# --- images

twice = with_shared(
    network(
        "twice",
        a=convolutional,
        b=convolutional,
        flat=flattening,
        top=affine,
        loss=cross_entropy_index,
    ),
    b_W=lambda a_W: a_W,
)


def test_two_convolutions_with_one_filter():
    sizes = {"c": 2, "n": 4, "l": 3, "a_o": 2, "b_o": 2, "top_n": 3}
    untied = network(
        "twice",
        a=convolutional,
        b=convolutional,
        flat=flattening,
        top=affine,
        loss=cross_entropy_index,
    )
    assert {p.name for p in twice.parameters} == {"a_W", "a_b", "b_b", "top_W", "top_b"}
    theta = drawn(twice, sizes)
    data = {"x": np.random.default_rng(1).normal(size=(2, 4, 3)), "k": np.array(2)}
    J, found = loss_gradient(twice, data, theta)
    expected_J, by = loss_gradient(untied, data, theta | {"b_W": theta["a_W"]})
    by["a_W"] = by["a_W"] + by.pop("b_W")
    assert abs(J - expected_J) <= REORDERED * abs(expected_J)
    agree(found, {key: by[key] for key in found})


# --- Algorithm 4.3.1

PSI = {
    dense: (np.tanh, lambda z: 1 - np.tanh(z) ** 2),
    dense_sigmoid: (lambda z: 1 / (1 + np.exp(-z)), lambda z: np.exp(-z) / (1 + np.exp(-z)) ** 2),
    affine: (lambda z: z, np.ones_like),
}
NAMES = ["one", "two", "three", "four"]
LAYERS = [dense, dense_sigmoid, dense, affine]
EXTENTS = [5, 4, 3, 4, 5]
COUNTS = {"m": 5, "one_n": 4, "two_n": 3}


def auto_encoder(loss, name="dae"):
    """2L = 4 layers, the weights of layer i those of xi(i) = 5 - i, transposed."""
    untied = network(name, **dict(zip(NAMES, LAYERS, strict=True)))
    shared = with_shared(
        untied,
        three_W=lambda two_W: transpose(two_W),
        four_W=lambda one_W: transpose(one_W),
    )
    return shared.with_loss(loss, target="input")


AUTO_ENCODERS = {
    "squared": auto_encoder(squared_loss, "dae_squared"),
    "cross-entropy": auto_encoder(cross_entropy, "dae_cross_entropy"),
}
KIND = {"squared": "regression", "cross-entropy": "classification"}
losses = pytest.mark.parametrize("loss", AUTO_ENCODERS)


def xi(k):
    return 4 - k + 1


def grad_desc_dae(x, W, b, loss, eta):
    """Algorithm 4.3.1, its 24 lines; W = {1, .., L}, b = {1, .., 2L}.  Also returns grad J."""
    L = 2
    psi = {k: PSI[f][0] for k, f in enumerate(LAYERS, 1)}
    d_psi = {k: PSI[f][1] for k, f in enumerate(LAYERS, 1)}
    W, b, K, z, e, grad_W, grad_b = dict(W), dict(b), {}, {}, {}, {}, {}
    x_ = {1: x}  # 2
    for k in range(1, 2 * L + 1):  # 3
        if k <= L:  # 4
            K[k] = W[k]  # 5
        else:  # 6
            K[k] = W[xi(k)].T  # 7
        z[k] = K[k] @ x_[k] + b[k]  # 8
        x_[k + 1] = psi[k](z[k])  # 9
    for k in range(2 * L, 0, -1):  # 10
        if k == 2 * L and loss == "squared":  # 11
            e[k] = x_[2 * L + 1] - x  # 12
        elif k == 2 * L and loss == "cross-entropy":  # 13
            e[k] = softmax(x_[2 * L + 1]) - x  # 14
        else:  # 15
            e[k] = K[k + 1].T @ (d_psi[k + 1](z[k + 1]) * e[k + 1])  # 16
        grad_b[k] = d_psi[k](z[k]) * e[k]  # 17
        b[k] = b[k] - eta * grad_b[k]  # 18
        if k > L:  # 19
            grad_W[xi(k)] = np.outer(d_psi[k](z[k]) * e[k], x_[k]).T  # 20
        else:  # 21
            grad_W[k] = grad_W[k] + np.outer(d_psi[k](z[k]) * e[k], x_[k])  # 22
            W[k] = W[k] - eta * grad_W[k]  # 23
    return (W, b), (grad_W, grad_b)  # 24


def data(loss, points=5):
    """Points, which are distributions for the cross-entropy, and parameters."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=(points, 5))
    return softmax(x) if loss == "cross-entropy" else x, drawn(AUTO_ENCODERS[loss], COUNTS)


def split(theta):
    """W_1, W_2 and b_1, .., b_4."""
    W = {k: theta[f"{name}_W"] for k, name in enumerate(NAMES[:2], 1)}
    return W, {k: theta[f"{name}_b"] for k, name in enumerate(NAMES, 1)}


def joined(W, b):
    by_W = {f"{NAMES[k - 1]}_W": array for k, array in W.items()}
    return by_W | {f"{NAMES[k - 1]}_b": array for k, array in b.items()}


@losses
def test_algorithm_4_3_1_is_the_gradient(loss):
    """Its lines, the generic algorithm on the shared network, and the loss layer as a whole."""
    made, (x, theta) = AUTO_ENCODERS[loss], data(loss)
    every = [joined(*grad_desc_dae(point, *split(theta), loss, 0.5)[1]) for point in x]
    for point, by_lines in zip(x, every, strict=True):
        agree(loss_gradient(made, {"x": point}, theta)[1], by_lines)
        agree(made.flat(gradient(made, point, point, made.tree(theta), KIND[loss])), by_lines)
    mean = {key: sum(by[key] for by in every) / len(x) for key in theta}
    agree(made.flat(gradient(made, x, x, made.tree(theta), KIND[loss])), mean)


@losses
def test_an_iteration_of_algorithm_4_3_1(loss):
    made, (x, theta) = AUTO_ENCODERS[loss], data(loss)
    kept = {key: array.copy() for key, array in theta.items()}
    found = gradient_descent(made, x[0], x[0], made.tree(theta), KIND[loss], 0.5)
    agree(made.flat(found), joined(*grad_desc_dae(x[0], *split(theta), loss, 0.5)[0]))
    assert all(np.array_equal(theta[key], kept[key]) for key in theta)


SHARED = {made.name: made for made in (*AUTO_ENCODERS.values(), twice)}


@pytest.fixture(scope="session")
def compiled(request):
    """The kernels of the auto-encoders and of a network of images."""
    folder = built(request, "sharing", lambda: texts(SHARED), QUICK)
    return {name: load_kernels(name, folder) for name in SHARED}


def by_kernel(module, *arrays, **theta):
    results = [r.name for r in module.gradient.results]
    found = dict(zip(results, module.gradient(*arrays, **theta), strict=True))
    return {key.removesuffix("_bar"): np.asarray(array) for key, array in found.items()}


@losses
def test_the_compiled_gradient_is_that_of_the_algorithm(compiled, loss):
    """The kernel is given x alone: the target is its input."""
    made, (x, theta) = AUTO_ENCODERS[loss], data(loss)
    found = by_kernel(compiled[made.name], x, **theta)
    found.pop("x", None)
    J = np.mean([loss_gradient(made, {"x": point}, theta)[0] for point in x])
    expected = made.flat(gradient(made, x, x, made.tree(theta), KIND[loss]))
    agree(found, {"J": np.array(J), **expected})


def test_the_compiled_gradient_of_shared_filters(compiled):
    sizes = {"c": 2, "n": 4, "l": 3, "a_o": 2, "b_o": 2, "top_n": 3}
    theta, rng = drawn(twice, sizes), np.random.default_rng(1)
    x, k = rng.normal(size=(3, 2, 4, 3)), np.array([2, 0, 1])
    found = by_kernel(compiled["twice"], x, k, **theta)
    each = [loss_gradient(twice, {"x": a, "k": b}, theta) for a, b in zip(x, k, strict=True)]
    mean = {key: sum(g[key] for _, g in each) / 3 for key in theta}
    agree({key: found[key] for key in theta}, mean)
    assert relative(found["J"], np.mean([J for J, _ in each])) <= REORDERED


# --- what is refused

pair = network("pair", code=dense, decode=affine)
n, m = dims("n m")


@layer
def two_targets(x: R(n), y: given(R(n)), z: given(R(n))) -> R():
    return inner(x, y) + inner(x, z)


@layer
def no_target(x: R(n)) -> R():
    return inner(x, x)


REFUSED = {
    "no network": (
        lambda: with_shared(dense, W=lambda b: b),
        "with_shared: expected a network, got Layer",
    ),
    "no parameter": (
        lambda: with_shared(pair, V=lambda code_W: code_W),
        "network pair has no parameter V; it has ['code_W', 'code_b', 'decode_W', 'decode_b']",
    ),
    "a state": (
        lambda: with_shared(pair, x=lambda code_b: code_b),
        "network pair has no parameter x",
    ),
    "no function": (
        lambda: with_shared(pair, decode_W=transpose(pair.parameters[0])),
        "network pair: decode_W = tau(..): tau must be a function of parameters, got",
    ),
    "an unknown source": (
        lambda: with_shared(pair, decode_W=lambda W: transpose(W)),
        "network pair: decode_W = tau(..): tau takes ['W']; its arguments must be called like "
        "other parameters that are not shared themselves, some of ['code_W', 'code_b', 'decode_b']",
    ),
    "itself": (
        lambda: with_shared(pair, decode_W=lambda decode_W: decode_W),
        "network pair: decode_W = tau(..): tau takes ['decode_W']; its arguments must be called",
    ),
    "nothing": (
        lambda: with_shared(pair, decode_W=lambda: 0),
        "network pair: decode_W = tau(..): tau takes nothing",
    ),
    "a product": (
        lambda: with_shared(pair, decode_W=lambda code_W: transpose(code_W * code_W)),
        "network pair: decode_W = tau(..): tau must be linear in",
    ),
    "a function": (
        lambda: with_shared(pair, decode_W=lambda code_W: transpose(tanh(code_W))),
        "network pair: decode_W = tau(..): tau must be linear in",
    ),
    "a constant besides": (
        lambda: with_shared(pair, decode_W=lambda code_W: transpose(code_W) + 1),
        "network pair: decode_W = tau(..): tau must be linear in",
    ),
    "another rank": (
        lambda: with_shared(pair, decode_W=lambda code_b: code_b),
        "network pair: decode_W = tau(..): tau must return an expression of R(decode_n, code_n), "
        "the space of decode_W, got R(code_n)",
    ),
    "other numbers": (
        lambda: with_shared(
            with_sizes(pair, {"m": 3, "code_n": 4, "decode_n": 5}),
            decode_W=lambda code_W: transpose(code_W),
        ),
        "network pair: decode_W = tau(..): tau must return an expression of R(5, 4), the space of "
        "decode_W, got R(3, 4)",
    ),
    "no expression": (
        lambda: with_shared(pair, decode_W=lambda code_W: 3),
        "network pair: decode_W = tau(..)",
    ),
    "what is shared": (
        lambda: with_shared(
            network("f", a=dense, b=dense, c=dense),
            b_W=lambda a_W: a_W,
            c_W=lambda b_W: b_W,
        ),
        "network f: c_W = tau(..): tau takes ['b_W']; its arguments must be called like other "
        "parameters that are not shared themselves",
    ),
    "twice": (
        lambda: with_shared(
            with_shared(pair, decode_W=lambda code_W: transpose(code_W)),
            decode_W=lambda code_W: transpose(code_W),
        ),
        "network pair has no parameter decode_W; it has ['code_W', 'code_b', 'decode_b']",
    ),
    "a space of the output": (
        lambda: pair.with_loss(squared_loss, target="input"),
        "network pair: with target='input' the loss compares the output with the input x of R(m), "
        "but squared_loss is given y of R(decode_n)",
    ),
    "an index as target": (
        lambda: AUTO_ENCODERS["squared"].with_loss(cross_entropy_index, target="input"),
        "with target='input' the loss compares the output with the input x of R(m), but "
        "cross_entropy_index is given k of Index(m)",
    ),
    "two targets": (
        lambda: AUTO_ENCODERS["squared"].with_loss(two_targets, target="input"),
        "but two_targets is given y of R(m), z of R(m); use a loss with one given argument",
    ),
    "no target": (
        lambda: AUTO_ENCODERS["squared"].with_loss(no_target, target="input"),
        "but no_target is given nothing; use a loss with one given argument",
    ),
}


@pytest.mark.parametrize(("made", "sentence"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_shared_is_refused(made, sentence):
    with pytest.raises(SpaceError, match=re.escape(sentence)):
        made()


@pytest.mark.parametrize("target", ["x", "output", None])
def test_a_target_is_given_or_the_input(target):
    sentence = f"network pair: expected target='given' or 'input', got {target!r}"
    with pytest.raises(ValueError, match=re.escape(sentence)):
        pair.with_loss(squared_loss, target=target)


def test_nothing_shared_changes_nothing():
    made = with_shared(chain)
    assert isinstance(made, Network) and made.output is chain.output
