"""Laws of Algorithms 3.2.1 and 4.1.1, of optimisers on top of them, and of the training loop."""

import re

import numpy as np
import pytest

from derive import Hom, R, dims, fixed, layer, softplus, sqrt
from derive.kernels.interpreting.evaluated import evaluated_module
from derive.language.reference import value, values_of
from derive.language.scalars import shipped
from derive.language.scalars.declaring import operation
from derive.library.dense import affine, dense, dense_gelu, dense_relu, dense_sigmoid
from derive.library.losses import cross_entropy, cross_entropy_index, squared_loss
from derive.library.norms import bilinear, layer_norm
from derive.models.networks import network, with_fixed
from derive.models.programs import BATCH
from derive.runtime import edge
from derive.training.algorithms import (
    descend,
    gradient,
    gradient_descent,
    gradients,
    mlp_gradient,
    mlp_gradient_descent,
)
from derive.training.fitting import fit
from derive.training.gradients import NotFinite, clip_by_norm
from derive.training.optimise import Adam, GradientDescent
from derive.training.parameters import flatten, leaves, map_tree
from derive.training.targets import softmax

EPS = np.finfo(np.float64).eps
SIZES = {"m": 3, "first_n": 4, "second_n": 6, "last_n": 5}
IDENTITY = operation("identity", lambda t: t)
mlp = network("mlp", first=dense, second=dense_sigmoid, last=affine)
PSI = [shipped.tanh, shipped.sigmoid, IDENTITY]
POINTS = 7

TARGETS = {
    "regression": ("regression", squared_loss, lambda rng, n: rng.normal(size=(n, 5))),
    "one-hot": ("classification", cross_entropy, lambda rng, n: np.eye(5)[rng.integers(5, size=n)]),
    "index": ("classification", cross_entropy_index, lambda rng, n: rng.integers(5, size=n)),
    "distribution": (
        "classification",
        cross_entropy,
        lambda rng, n: softmax(rng.normal(size=(n, 5))),
    ),
}
targets = pytest.mark.parametrize(("kind", "loss", "draw"), TARGETS.values(), ids=TARGETS)


def data(draw, points=POINTS, seed=0):
    """A batch, its targets, and parameters that are all different from zero."""
    rng = np.random.default_rng(seed)
    theta = mlp.initial(rng, SIZES)
    theta = map_tree(lambda a: a + 0.1 * rng.normal(size=a.shape), theta)
    return rng.normal(size=(points, 3)), draw(rng, points), theta


def assert_close(got, expected, tolerance):
    """Leaf by leaf, to `tolerance` relative to the largest entry of the leaf."""
    pairs = list(zip(leaves(got), leaves(expected), strict=True))
    for (name, a), (_, b) in pairs:
        assert np.abs(b).max() > 0, name
        assert np.abs(a - b).max() <= tolerance * np.abs(b).max(), name


def loss_gradient(f, x, y, theta, **given):
    """J and grad J of one point by the loss layer as a whole, not layer by layer."""
    J = f.loss_layer
    named = {**given, f.stages[0].input.name: x, J.arguments[-1 - len(f.parameters)].name: y}
    named |= f.flat(theta)
    at = {a.variable: named[a.name] for a in J.arguments}
    nablas = [J.nabla(p.name).adjoint for p in f.parameters]
    one = {nabla.variable: np.ones(()) for nabla in nablas}
    (total, *found) = values_of([J.output, *(nabla.body for nabla in nablas)], at | one)
    flat = {p.name: np.asarray(g) for p, g in zip(f.parameters, found, strict=True)}
    return float(total), f.tree(flat)


def averaged(trees):
    return map_tree(lambda *gs: sum(gs) / len(gs), *trees)


# Both sides are sums of the same products, of at most three factors a layer, over 7 points and 6
# units, in another order: some hundred roundings, of which few add up.
REORDERED = 1e-13


@targets
def test_algorithm_3_2_1_gives_the_gradient_of_the_loss(kind, loss, draw):
    """Theorems 3.2.2 and 3.2.4, for each point of a batch and averaged."""
    f = mlp.with_loss(loss)
    x, y, theta = data(draw)
    expected = [loss_gradient(f, x[j], y[j], theta)[1] for j in range(POINTS)]
    for j in range(POINTS):
        assert_close(gradient(f, x[j], y[j], theta, kind), expected[j], REORDERED)
    assert_close(gradient(f, x, y, theta, kind), averaged(expected), REORDERED)


@targets
def test_algorithm_4_1_1_equals_3_2_1_on_dense_layers(kind, loss, draw):
    x, y, theta = data(draw)
    generic = gradient(mlp, x, y, theta, kind)
    assert_close(mlp_gradient(x, y, theta, PSI, kind), generic, REORDERED)
    point = gradient(mlp, x[2], y[2], theta, kind)
    assert_close(mlp_gradient(x[2], y[2], theta, PSI, kind), point, REORDERED)
    updated = gradient_descent(mlp, x, y, theta, kind, 0.5, decay=0.1)
    assert_close(mlp_gradient_descent(x, y, theta, PSI, kind, 0.5, decay=0.1), updated, REORDERED)


@targets
def test_both_algorithms_equal_pytorch(kind, loss, draw):
    torch = pytest.importorskip("torch", reason="PyTorch is an outside oracle: layerwise[oracle]")
    x, y, theta = data(draw)
    J, expected = torch_gradient(torch, x, y, theta, loss is squared_loss)
    # two implementations, each with the roundings counted at REORDERED and 2 ulp in tanh and exp
    assert_close(gradient(mlp, x, y, theta, kind), expected, 1e-12)
    assert_close(mlp_gradient(x, y, theta, PSI, kind), expected, 1e-12)
    f = mlp.with_loss(loss)
    losses = [loss_gradient(f, x[j], y[j], theta)[0] for j in range(POINTS)]
    assert abs(np.mean(losses) - J) <= 1e-12 * abs(J)


def torch_gradient(torch, x, y, theta, squared):
    """J and grad J, averaged over the batch, of the same network written in PyTorch."""
    t = {
        k: {n: torch.tensor(a, requires_grad=True) for n, a in v.items()} for k, v in theta.items()
    }
    h = torch.tanh(torch.tensor(x) @ t["first"]["W"].T + t["first"]["b"])
    h = torch.sigmoid(h @ t["second"]["W"].T + t["second"]["b"])
    h = h @ t["last"]["W"].T + t["last"]["b"]
    y = torch.tensor(y)
    if squared:
        J = 0.5 * ((h - y) ** 2).sum(dim=1).mean()
    else:
        J = torch.nn.functional.cross_entropy(h, y)
    J.backward()
    return J.item(), {k: {n: a.grad.numpy() for n, a in v.items()} for k, v in t.items()}


@pytest.mark.parametrize("name", ["one-hot", "index", "distribution"])
@pytest.mark.parametrize("size", [1e3, 700.0])
def test_logits_of_a_thousand_are_stable(name, size):
    torch = pytest.importorskip("torch", reason="PyTorch is an outside oracle: layerwise[oracle]")
    kind, loss, draw = TARGETS[name]
    x, y, theta = data(draw)
    theta["last"]["b"] += size * np.array([1.0, -1.0, 1.0, -1.0, 0.0])
    J, expected = torch_gradient(torch, x, y, theta, False)
    f = mlp.with_loss(loss)
    losses = [loss_gradient(f, x[j], y[j], theta)[0] for j in range(POINTS)]
    assert np.isfinite(losses).all()
    # logits carry a rounding error of eps * size, which is what J and softmax see
    assert abs(np.mean(losses) - J) <= 4 * EPS * size * (1 + abs(J))
    assert_close(gradient(f, x, y, theta, kind), expected, 1e-12 + 16 * EPS * size)
    assert_close(mlp_gradient(x, y, theta, PSI, kind), expected, 1e-12 + 16 * EPS * size)


@pytest.mark.parametrize("point", [True, False], ids=["point", "batch"])
def test_the_error_is_sent_back_through_the_old_parameters(point):
    """Lines 6 and 12: each layer is updated before the layer below it, and that must not show."""
    kind, _, draw = TARGETS["regression"]
    x, y, theta = data(draw)
    x, y = (x[0], y[0]) if point else (x, y)
    old = map_tree(np.copy, theta)
    expected = map_tree(lambda t, g: t - 0.5 * g, theta, gradient(mlp, x, y, theta, kind))
    for updated in (
        gradient_descent(mlp, x, y, theta, kind, 0.5),
        mlp_gradient_descent(x, y, theta, PSI, kind, 0.5),
    ):
        assert_close(updated, expected, 4 * EPS)
    assert_close(theta, old, 0.0)


def test_the_parameters_may_change_while_the_error_is_sent_back():
    """The same, with an update so large that one slip of line 6 is all that is left."""
    kind, _, draw = TARGETS["regression"]
    x, y, theta = data(draw)
    expected = gradient(mlp, x, y, theta, kind)
    found = {}
    for _, gradient_i in gradients(mlp, x, y, theta, kind):
        found |= map_tree(np.copy, gradient_i)
        for name in gradient_i:
            mlp.flat(theta)[name][...] = 1e6
    assert_close(mlp.tree(found), expected, 0.0)


def test_weight_decay_is_remark_3_2_6():
    """theta_i <- theta_i - eta (grad J + lambda theta_i)."""
    kind, _, draw = TARGETS["one-hot"]
    x, y, theta = data(draw)
    g = gradient(mlp, x, y, theta, kind)
    expected = map_tree(lambda t, d: t - 0.5 * (d + 0.1 * t), theta, g)
    assert_close(gradient_descent(mlp, x, y, theta, kind, 0.5, decay=0.1), expected, 4 * EPS)


@pytest.mark.parametrize(
    "make",
    [
        lambda: GradientDescent(0.1, momentum=0.9),
        lambda: GradientDescent(0.1, momentum=0.9, nesterov=True, decay=0.01),
        lambda: Adam(0.1),
    ],
    ids=["momentum", "nesterov", "adam"],
)
def test_a_step_of_an_optimiser_takes_the_clipped_gradient(make):
    kind, _, draw = TARGETS["index"]
    x, y, theta = data(draw)
    expected, one, other = map_tree(np.copy, theta), make(), make()
    limit = 0.5 * np.linalg.norm(flatten(gradient(mlp, x, y, theta, kind))[0])
    for _ in range(3):
        g = gradient(mlp, x, y, expected, kind)
        clip_by_norm(g, limit)
        one.step(expected, g)
        descend(mlp, x, y, theta, kind, other, clip_norm=limit)
        assert_close(theta, expected, 0.0)
    before = map_tree(np.copy, theta)
    g = gradient(mlp, x, y, theta, kind)
    descend(mlp, x, y, theta, kind, GradientDescent(1.0), clip_value=1e-3)
    clipped = map_tree(lambda a: np.clip(a, -1e-3, 1e-3), g)
    assert_close(theta, map_tree(np.subtract, before, clipped), 4 * EPS)


@pytest.mark.parametrize("batch", [False, True], ids=["point", "batch"])
def test_algorithm_3_2_1_on_other_layers(batch):
    """Layers without parameters, nested networks, gains, kinks, a second state that is given."""
    n = dims("n")

    @layer
    def activation(x: R(n)) -> R(n):
        return softplus(x)

    inside = network("inside", a=dense_relu, act=activation, norm=layer_norm)
    f = network("f", body=inside, pair=bilinear, top=dense_gelu, loss=squared_loss)
    rng = np.random.default_rng(0)
    counts = {"m": 3, "body_a_n": 4, "pair_m": 2, "pair_k": 5, "top_n": 6}
    theta = map_tree(lambda a: a + 0.1, f.initial(rng, counts))
    x, w, y = rng.normal(size=(4, 3)), rng.normal(size=(4, 2)), rng.normal(size=(4, 6))
    each = [loss_gradient(f, x[j], y[j], theta, pair_y=w[j])[1] for j in range(4)]
    if batch:
        got = gradient(f, x, y, theta, "regression", given={"pair_y": w})
        assert_close(got, averaged(each), REORDERED)
    else:
        got = gradient(f, x[1], y[1], theta, "regression", given={"pair_y": w[1]})
        assert_close(got, each[1], REORDERED)
        updated = gradient_descent(f, x[1], y[1], theta, "regression", 0.5, given={"pair_y": w[1]})
        assert_close(updated, map_tree(lambda t, g: t - 0.5 * g, theta, each[1]), 1e-12)


def test_single_precision_parameters_get_single_precision_gradients():
    kind, _, draw = TARGETS["regression"]
    x, y, theta = data(draw)
    single = map_tree(lambda a: a.astype(np.float32), theta)
    for g in (
        gradient(mlp, x, y, single, kind),
        mlp_gradient(x, y, single, PSI, kind),
    ):
        assert {array.dtype for _, array in leaves(g)} == {np.dtype(np.float32)}


@pytest.mark.parametrize(
    ("kind", "y", "sentence"),
    [
        ("ranking", np.zeros((2, 5)), "expected the kind 'regression' or 'classification'"),
        ("regression", np.zeros((2, 4)), "expected targets of shape [(2, 5)], got [(2, 4)]"),
        ("classification", np.array([0, 5]), "class indices from 0 to 4, got 0 to 5"),
        ("classification", np.array([-1, 0]), "class indices from 0 to 4, got -1 to 0"),
        ("classification", np.array([0.0, 1.0]), "got float64 of shape (2,)"),
        ("classification", np.ones((2, 5)), "must be a distribution"),
        ("classification", np.full((2, 5), np.nan), "must be a distribution"),
        ("classification", np.eye(5)[:2] * 2 - 0.2, "must be a distribution"),
    ],
)
def test_targets_that_do_not_fit_are_refused(kind, y, sentence):
    x, _, theta = data(TARGETS["regression"][2], points=2)
    for run in (
        lambda: gradient(mlp, x, y, theta, kind),
        lambda: mlp_gradient(x, y, theta, PSI, kind),
    ):
        with pytest.raises(ValueError, match=re.escape(sentence)):
            run()


def test_batches_that_do_not_fit_are_refused():
    _, _, theta = data(TARGETS["regression"][2])
    with pytest.raises(ValueError, match="expected at least one point, got 0"):
        gradient(mlp, np.zeros((0, 3)), np.zeros((0, 5)), theta, "regression")
    with pytest.raises(ValueError, match="expected at least one point, got 0"):
        mlp_gradient(np.zeros((0, 3)), np.zeros((0, 5)), theta, PSI, "regression")
    with pytest.raises(TypeError, match=re.escape("x must be of R(m), or a batch of these")):
        gradient(mlp, np.zeros((2, 2, 3)), np.zeros((2, 2, 5)), theta, "regression")
    with pytest.raises(ValueError, match="one operation for each of"):
        mlp_gradient(np.zeros((2, 3)), np.zeros((2, 5)), theta, PSI[:2], "regression")


# --- the training loop, over a stand-in for a compiled kernel


def stand_in(f):
    """A function of the convention of a compiled gradient kernel, made from the reference.

    It adds the average loss of a batch to out["J"], and its gradient where it is asked for.
    """
    J = f.loss_layer.batched(BATCH)
    nablas = {p.name: J.nabla(p.name).adjoint for p in f.parameters}

    def kernel(*batch, out, **named):
        data = [a.variable for a in J.arguments if a.name not in named]
        at = dict(zip(data, batch, strict=True)) | {J.argument(x): a for x, a in named.items()}
        each = value(J.output, at)
        weights = np.full(len(each), 1 / len(each))
        if out.get("J") is not None:
            out["J"] += each @ weights
        for name, nabla in nablas.items():
            if out.get(f"{name}_bar") is not None:
                out[f"{name}_bar"] += value(nabla.body, at | {nabla.variable: weights})

    return kernel


def test_fit_goes_by_name_whatever_the_order_of_the_tree() -> None:
    """All sizes are equal, so that no shape can tell one parameter from another."""
    f = network("f", hidden=dense, output=affine, loss=cross_entropy_index)
    theta = f.initial(np.random.default_rng(0), {"m": 3, "hidden_n": 3, "output_n": 3})
    reordered = {"output": theta["output"], "hidden": theta["hidden"]}
    batch = (np.eye(3), np.arange(3))
    found = [
        fit(stand_in(f), map_tree(np.copy, tree), [batch] * 2, GradientDescent(0.1))
        for tree in (theta, reordered)
    ]
    assert found[0] == found[1]


def task(seed=0, points=60):
    """Points of three classes around three corners, and a network to tell them apart."""
    f = network("f", hidden=dense, output=affine, loss=cross_entropy_index)
    rng = np.random.default_rng(seed)
    k = rng.integers(3, size=points)
    x = 2 * np.eye(4)[k] + rng.normal(size=(points, 4))
    theta = f.initial(rng, {"m": 4, "hidden_n": 5, "output_n": 3})
    return f, x, k, theta


def batches(x, k, size=20, epochs=1):
    return [
        (x[j : j + size], k[j : j + size]) for _ in range(epochs) for j in range(0, len(x), size)
    ]


@pytest.mark.parametrize("clip_norm", [None, 0.1])
def test_fit_takes_the_steps_of_the_algorithm(clip_norm):
    f, x, k, theta = task()
    expected, optimiser = map_tree(np.copy, theta), Adam(0.05)
    for batch in batches(x, k):
        descend(f, *batch, expected, "classification", optimiser, clip_norm=clip_norm)
    seen = []
    losses = fit(
        stand_in(f),
        theta,
        batches(x, k),
        Adam(0.05),
        clip_norm=clip_norm,
        progress=lambda step, loss: seen.append((step, loss)),
    )
    # Adam divides by the root of v^, which does not enlarge relative errors of the gradient
    assert_close(theta, expected, 100 * REORDERED)
    assert seen == list(enumerate(losses))
    assert len(losses) == 3


def test_fit_learns():
    f, x, k, theta = task()
    losses = fit(stand_in(f), theta, batches(x, k, epochs=40), GradientDescent(0.5, momentum=0.9))
    assert np.mean(losses[-3:]) < 0.3 * np.mean(losses[:3])


def test_fit_takes_flat_parameters_too():
    f, x, k, theta = task()
    flat = map_tree(np.copy, f.flat(theta))
    first = fit(stand_in(f), theta, batches(x, k), GradientDescent(0.5))
    assert first == fit(stand_in(f), flat, batches(x, k), GradientDescent(0.5))
    assert_close(f.tree(flat), theta, 0.0)


@pytest.mark.parametrize("bad", ["loss", "gradient"])
def test_fit_stops_where_a_number_is_not_finite(bad):
    """The step is counted on from the optimiser's, and the parameters are those before it."""
    f, x, k, theta = task()
    kernel, optimiser, calls = stand_in(f), GradientDescent(0.5), []
    fit(kernel, theta, batches(x, k), optimiser)

    def broken(*batch, out, **named):
        kernel(*batch, out=out, **named)
        calls.append(map_tree(np.copy, theta))
        if len(calls) == 2:
            out["J" if bad == "loss" else "output_W_bar"][...] = np.nan

    sentence = {
        "loss": "step 4: the loss is nan",
        "gradient": "step 4: the gradient is not finite in 'output.W' (15 of 15 entries)",
    }
    with pytest.raises(NotFinite, match=re.escape(sentence[bad])):
        fit(broken, theta, batches(x, k), optimiser)
    assert len(calls) == 2
    assert_close(theta, calls[-1], 0.0)
    assert int(optimiser.state["step"]) == 4


# --- what is fixed is never trained

c, m, n = dims("c m n")


@layer
def projected(x: R(m), *, P: fixed(Hom(R(m), R(n)))) -> R(n):
    return P @ x


@layer
def batch_norm(x: R(c), *, gamma: R(c), mu: fixed(R(c)), beta: R(c), sigma2: fixed(R(c))) -> R(c):
    return gamma * (x - mu) / sqrt(sigma2 + 1e-5) + beta


STILL = network(
    "still", first=projected, norm=batch_norm, hidden=dense, last=affine, loss=squared_loss
)
STILL_SIZES = {"m": 3, "first_n": 4, "hidden_n": 6, "last_n": 2}
STATED = {"first.P", "norm.mu", "norm.sigma2"}


def still_task():
    """Points, targets and a tree without zeros."""
    rng = np.random.default_rng(0)
    theta = map_tree(lambda a: a + 0.3 + 0.1 * rng.random(a.shape), STILL.initial(rng, STILL_SIZES))
    return rng.normal(size=(20, 3)), rng.normal(size=(20, 2)), theta


OPTIMISERS = {
    "descent": lambda: GradientDescent(0.01, decay=0.5),
    "momentum": lambda: GradientDescent(0.01, momentum=0.9, nesterov=True, decay=0.5),
    "adam": lambda: Adam(0.01, decay=0.5),
    "adamw": lambda: Adam(0.01, decay=0.5, decoupled=True),
}


def assert_stays(theta, before, still):
    """These leaves have their bits, all others have moved."""
    for name, array in leaves(theta):
        assert np.array_equal(array, dict(leaves(before))[name]) == (name in still), name


@pytest.mark.parametrize("make", OPTIMISERS.values(), ids=OPTIMISERS)
@pytest.mark.parametrize("as_tree", [True, False], ids=["tree", "flat"])
def test_fit_never_changes_what_is_fixed(make, as_tree):
    """By the kernel's own word, whatever the decay; the optimiser's state has no part of it."""
    x, y, theta = still_task()
    before, optimiser = map_tree(np.copy, theta), make()
    given = theta if as_tree else STILL.flat(theta)
    kernel = evaluated_module(STILL, edge).gradient
    losses = fit(kernel, given, [(x, y)] * 5, optimiser, clip_norm=1.0, clip_value=0.5)
    assert losses[-1] < losses[0]
    assert_stays(theta, before, STATED)
    for name, moment in optimiser.state.items():
        if name != "step":
            trained = {key.replace(".", "_") for key, _ in leaves(moment)}
            assert trained == {p.name for p in STILL.parameters}


def test_fit_is_descend_where_something_is_fixed():
    x, y, theta = still_task()
    expected = map_tree(np.copy, theta)
    optimiser = Adam(0.05, decay=0.1)
    for _ in range(3):
        descend(STILL, x, y, expected, "regression", optimiser)
    fit(evaluated_module(STILL, edge).gradient, theta, [(x, y)] * 3, Adam(0.05, decay=0.1))
    assert_close(theta, expected, 100 * REORDERED)
    assert_stays(expected, still_task()[2], STATED)


def test_a_gradient_has_no_leaf_for_what_is_fixed():
    x, y, theta = still_task()
    grad = gradient(STILL, x, y, theta, "regression")
    assert [name for name, _ in leaves(grad)] == [
        *["norm.gamma", "norm.beta", "hidden.W", "hidden.b", "last.W", "last.b"]
    ]
    _, _, *bars = evaluated_module(STILL, edge).gradient(x, y, **STILL.flat(theta))
    by_name = dict(zip((p.name for p in STILL.parameters), bars, strict=True))
    assert_close(grad, STILL.tree(by_name), REORDERED)


def test_one_iteration_of_the_algorithm_leaves_what_is_fixed():
    x, y, theta = still_task()
    new = gradient_descent(STILL, x, y, theta, "regression", 0.1, decay=0.5)
    assert_stays(new, theta, STATED)


def test_a_parameter_that_is_fixed_leaves_the_others_gradient_as_it_is():
    net = with_fixed(STILL, "hidden_W", "last_b", "norm_gamma", "norm_beta")
    x, y, theta = still_task()
    whole = dict(leaves(gradient(STILL, x, y, theta, "regression")))
    found = dict(leaves(gradient(net, x, y, theta, "regression")))
    assert list(found) == ["hidden.b", "last.W"]
    for name, array in found.items():
        assert np.array_equal(array, whole[name])
    before = map_tree(np.copy, theta)
    fit(evaluated_module(net, edge).gradient, theta, [(x, y)], GradientDescent(0.1, decay=0.5))
    still = {*STATED, "hidden.W", "last.b", "norm.gamma", "norm.beta"}
    assert_stays(theta, before, still)


def test_fixed_arrays_may_be_read_only_and_share_memory_with_others():
    """Nothing writes to them."""
    x, y, theta = still_task()
    theta["norm"]["mu"] = theta["norm"]["sigma2"]
    theta["norm"]["mu"].setflags(write=False)
    theta["first"]["P"].setflags(write=False)
    fit(evaluated_module(STILL, edge).gradient, theta, [(x, y)], Adam(0.1))
