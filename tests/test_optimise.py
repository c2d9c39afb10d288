"""Laws of the optimisers: closed forms, PyTorch's steps, resuming and refusals."""

import math
import re
import tracemalloc

import numpy as np
import pytest
from trees import EPS, assert_close, bits, draw, dtypes

from derive.training.gradients import NotFinite
from derive.training.optimise import Adam, GradientDescent, constant, cosine
from derive.training.parameters import leaves, map_tree
from derive.training.saving import load, save

METHODS = {
    "descent": lambda: GradientDescent(0.1),
    "descent, decay": lambda: GradientDescent(0.1, decay=0.03),
    "momentum": lambda: GradientDescent(0.1, momentum=0.9),
    "nesterov, decay": lambda: GradientDescent(0.1, momentum=0.8, nesterov=True, decay=0.03),
    "schedule": lambda: GradientDescent(cosine(0.3, 40), momentum=0.5),
    "adam": lambda: Adam(0.01),
    "adam, decay": lambda: Adam(0.01, beta_1=0.8, beta_2=0.99, decay=0.03),
    "adamw": lambda: Adam(cosine(0.02, 60), decay=0.03, decoupled=True),
}
methods = pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)


# Closed forms on J(theta) = a theta^2 / 2, with gradient a theta.


@pytest.mark.parametrize("decay", [0.0, 0.2])
def test_descent_on_a_quadratic_is_a_geometric_sequence(decay):
    a, rate, start = np.array([0.5, 1.0, 3.0]), 0.25, np.array([2.0, -1.0, 4.0])
    theta = {"x": start.copy()}
    optimiser = GradientDescent(rate, decay=decay)
    for _ in range(20):
        optimiser.step(theta, {"x": a * theta["x"]})
    # Four roundings of a step, relative to theta, since |rate (a + decay)| <= 1: 20 * 4 EPS,
    # and as much for the power; the entries of small factor are the smaller ones of the group.
    assert_close(theta, {"x": (1 - rate * (a + decay)) ** 20 * start}, 160 * EPS)


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("decay", [0.0, 0.2])
def test_momentum_on_a_quadratic_is_a_matrix_power(nesterov, decay):
    a, rate, mu, start = 0.7, 0.3, 0.6, 2.0
    theta = {"x": np.array([start])}
    optimiser = GradientDescent(rate, momentum=mu, nesterov=nesterov, decay=decay)
    for _ in range(15):
        optimiser.step(theta, {"x": a * theta["x"]})
    c = a + decay
    velocity = np.array([mu, c])  # v' = mu v + c theta, as a row acting on (v, theta)
    used = mu * velocity + [0.0, c] if nesterov else velocity
    matrix = np.array([velocity, [0.0, 1.0] - rate * used])
    v, expected = np.linalg.matrix_power(matrix, 15) @ [0.0, start]
    # 15 steps of 8 roundings on each side, each of a number of at most 2 start, and carried on by
    # a power of the matrix, whose norm is at most 2: 15 * 8 * 2 * 2 * EPS start = 2e-13.
    powers = [np.linalg.matrix_power(matrix, n) for n in range(16)]
    assert max(np.linalg.norm(power, 2) for power in powers) <= 2
    assert abs(theta["x"][0] - expected) <= 480 * EPS * start
    assert abs(optimiser.state["velocity"]["x"][0] - v) <= 480 * EPS * start


def test_adam_on_a_constant_gradient_moves_at_the_rate():
    # m^ = g and v^ = g^2 for a constant gradient, so each step is rate g / (|g| + epsilon).
    g, rate, epsilon = np.array([3.0, -0.5, 1e-3]), 0.01, 1e-4
    theta = {"x": np.zeros(3)}
    optimiser = Adam(rate, epsilon=epsilon)
    for _ in range(30):
        optimiser.step(theta, {"x": g})
    # 1 - 0.999^n loses EPS / 1e-3 at most, in a square root: 500 EPS, and some roundings.
    assert_close(theta, {"x": -30 * rate * g / (np.abs(g) + epsilon)}, 600 * EPS)


def test_decoupled_decay_alone_is_a_geometric_sequence():
    theta = {"x": np.array([2.0, -1.0, 4.0])}
    optimiser = Adam(0.1, decay=0.5, decoupled=True)
    for _ in range(10):
        optimiser.step(theta, {"x": np.zeros(3)})
    assert_close(theta, {"x": 0.95**10 * np.array([2.0, -1.0, 4.0])}, 30 * EPS)


# The same steps as PyTorch's.

TORCH = {
    "descent": ("SGD", GradientDescent, {"rate": 0.1}),
    "descent, decay": ("SGD", GradientDescent, {"rate": 0.1, "decay": 0.03}),
    "momentum": ("SGD", GradientDescent, {"rate": 0.1, "momentum": 0.9, "decay": 0.03}),
    "nesterov": ("SGD", GradientDescent, {"rate": 0.1, "momentum": 0.9, "nesterov": True}),
    "nesterov, decay": (
        "SGD",
        GradientDescent,
        {"rate": 0.1, "momentum": 0.8, "nesterov": True, "decay": 0.03},
    ),
    "adam": ("Adam", Adam, {}),
    "adam, decay": ("Adam", Adam, {"rate": 0.01, "beta_1": 0.8, "beta_2": 0.99, "decay": 0.03}),
    "adam, no means": ("Adam", Adam, {"rate": 0.01, "beta_1": 0.0, "beta_2": 0.0}),
    "adamw": ("AdamW", Adam, {"rate": 0.01, "decay": 0.03, "decoupled": True}),
    "adamw, epsilon": (
        "AdamW",
        Adam,
        {"rate": 0.01, "epsilon": 0.1, "decay": 0.3, "decoupled": True},
    ),
}


def torch_options(name, options):
    """The options of torch.optim's class ``name`` that mean the same."""
    result = {
        "lr": options.get("rate", 1e-3),
        "weight_decay": options.get("decay", 0.0),
        "foreach": False,
    }
    if name == "SGD":
        return result | {key: options[key] for key in ("momentum", "nesterov") if key in options}
    betas = (options.get("beta_1", 0.9), options.get("beta_2", 0.999))
    return result | {"betas": betas, "eps": options.get("epsilon", 1e-8)}


@pytest.mark.parametrize("name, kind, options", TORCH.values(), ids=TORCH)
def test_each_of_fifty_steps_is_that_of_pytorch(name, kind, options):
    torch = pytest.importorskip(
        "torch", reason="needs the optional oracle: pip install layerwise[oracle]"
    )
    rng = np.random.default_rng(5)
    theta = draw(rng)
    oracle = [torch.tensor(a, requires_grad=True) for _, a in leaves(theta)]
    reference = getattr(torch.optim, name)(oracle, **torch_options(name, options))
    optimiser = kind(**options)
    for step in range(50):
        gradient = draw(rng)
        for tensor, (_, g) in zip(oracle, leaves(gradient), strict=True):
            tensor.grad = torch.tensor(g)
        reference.step()
        optimiser.step(theta, gradient)
        # At most 12 roundings a step and side: 1200 EPS = 2.7e-13; the gradients are drawn, not
        # computed from theta, so that no error feeds back but by the contracting decay.
        for (leaf, a), tensor in zip(leaves(theta), oracle, strict=True):
            b = tensor.detach().numpy()
            assert np.abs(a - b).max() <= 1e-12 * np.abs(b).max(), (step, leaf)


# Laws of every method.


@methods
@dtypes
def test_a_step_keeps_dtypes_and_arrays_and_leaves_the_gradient(method, dtype):
    rng = np.random.default_rng(6)
    theta, gradient = draw(rng, dtype), draw(rng, dtype)
    arrays, before, old = [a for _, a in leaves(theta)], bits(gradient), map_tree(np.copy, theta)
    optimiser = method()
    for _ in range(3):
        optimiser.step(theta, gradient)
    assert all(a is b for a, (_, b) in zip(arrays, leaves(theta), strict=True))
    assert bits(gradient) == before
    assert all(a.dtype == dtype for _, a in leaves(theta))
    assert all(np.all(a != b) for (_, a), (_, b) in zip(leaves(theta), leaves(old), strict=True))
    moments = {key: tree for key, tree in optimiser.state.items() if key != "step"}
    assert all(a.dtype == dtype for _, a in leaves(moments))
    assert optimiser.state["step"] == 3


@methods
def test_float32_follows_float64_to_its_rounding(method):
    wide, narrow, one, other = {}, {}, method(), method()
    for dtype, tree in ((np.float64, wide), (np.float32, narrow)):
        tree.update(draw(np.random.default_rng(7), dtype))
    for seed in range(20):
        one.step(wide, draw(np.random.default_rng(seed), np.float64))
        other.step(narrow, draw(np.random.default_rng(seed), np.float32))
    # 20 steps of at most 12 roundings, each relative to numbers of the size of theta or, for
    # the moments, of the sum of the gradients' sizes times the rate, at most 10 times larger.
    assert_close(narrow, wide, 20 * 12 * 10 * np.finfo(np.float32).eps)


@methods
@dtypes
def test_resuming_from_files_gives_the_same_bits(method, dtype, tmp_path):
    gradients = [draw(np.random.default_rng(seed), dtype) for seed in range(20)]
    straight = draw(np.random.default_rng(8), dtype)
    first = method()
    for step, gradient in enumerate(gradients):
        if step in (0, 7):
            save(tmp_path / "parameters.npz", straight)
            save(tmp_path / "state.npz", first.state)
            resumed, second, start = load(tmp_path / "parameters.npz"), method(), step
            second.restore(load(tmp_path / "state.npz"))
        first.step(straight, gradient)
    assert start == 7
    for gradient in gradients[start:]:
        second.step(resumed, gradient)
    assert bits(resumed) == bits(straight)
    assert bits(second.state) == bits(first.state)


def test_resuming_before_the_first_step_is_beginning(tmp_path):
    optimiser = Adam()
    save(tmp_path / "state.npz", optimiser.state)
    optimiser.restore(load(tmp_path / "state.npz"))
    optimiser.step({"b": np.ones(3)}, {"b": np.ones(3)})
    assert optimiser.state["step"] == 1


def test_restore_copies_the_state():
    first, second = Adam(), Adam()
    first.step({"b": np.ones(3)}, {"b": np.ones(3)})
    second.restore(first.state)
    before = bits(second.state)
    first.step({"b": np.ones(3)}, {"b": np.ones(3)})
    assert bits(second.state) == before != bits(first.state)


@methods
def test_the_layout_in_memory_does_not_change_the_bits(method):
    results = []
    for lay_out in (np.ascontiguousarray, np.asfortranarray, lambda a: np.repeat(a, 2, 0)[::2]):
        rng = np.random.default_rng(9)
        theta, optimiser = {"W": lay_out(rng.normal(size=(3, 4)))}, method()
        for _ in range(5):
            optimiser.step(theta, {"W": rng.normal(size=(3, 4))})
        results.append(bits(theta))
    assert results[0] == results[1] == results[2]


@methods
def test_a_gradient_that_is_the_parameter_itself_counts_as_it_was(method):
    # The gradient of |theta|^2 / 2 is theta.
    shared, apart = draw(np.random.default_rng(10)), draw(np.random.default_rng(10))
    one, other = method(), method()
    for _ in range(3):
        one.step(shared, shared)
        other.step(apart, map_tree(np.copy, apart))
    assert bits(shared) == bits(apart)


@methods
def test_a_step_after_the_first_allocates_no_array(method):
    size = 100_000
    theta = {"W": np.ones((size // 4, 4)), "b": np.ones(7)}
    gradient = map_tree(np.copy, theta)
    optimiser = method()
    optimiser.step(theta, gradient)
    tracemalloc.start()
    optimiser.step(theta, gradient)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < size  # bytes: an eighth of one work array of float64


def test_the_schedule_is_called_with_the_steps_taken():
    seen = []

    def schedule(step):
        seen.append(step)
        return [0.5, 0.25, 0.0][step]

    theta, optimiser = {"b": np.zeros(3)}, GradientDescent(schedule)
    for _ in range(3):
        optimiser.step(theta, {"b": np.ones(3)})
    assert seen == [0, 1, 2]
    np.testing.assert_array_equal(theta["b"], np.full(3, -0.75))


def test_schedules_have_their_closed_forms():
    assert [constant(0.1)(step) for step in (0, 5)] == [0.1, 0.1]
    rate = cosine(0.4, 6)
    # cos(pi t / 6) for t = 0, 2, 3, 4, 6: 1, 1/2, 0, -1/2, -1
    for step, factor in ((0, 1.0), (2, 0.75), (3, 0.5), (4, 0.25), (6, 0.0), (9, 0.0)):
        assert abs(rate(step) - 0.4 * factor) <= 4 * EPS


# Refusals, each before anything is changed.


def refused(optimiser, theta, gradient, error, match):
    before, state = bits(theta), bits(optimiser.state)
    with pytest.raises(error, match=match):
        optimiser.step(theta, gradient)
    assert bits(theta) == before and bits(optimiser.state) == state


@methods
def test_a_step_refuses_a_gradient_that_is_not_finite(method):
    theta, optimiser = draw(np.random.default_rng(11)), method()
    optimiser.step(theta, draw(np.random.default_rng(12)))
    gradient = draw(np.random.default_rng(13))
    gradient["pair"][0][1:3, 2] = np.nan, -np.inf
    gradient["pair"][1]["scale"][...] = np.inf
    refused(
        optimiser,
        theta,
        gradient,
        NotFinite,
        re.escape("step 1: ") + r".*'pair\.0' \(2 of 20 entries\), 'pair\.1\.scale' \(1 of 1 ",
    )


@methods
def test_a_step_refuses_trees_that_do_not_match(method):
    theta, optimiser = {"W": np.ones((3, 4)), "b": np.ones(3)}, method()
    good = map_tree(np.ones_like, theta)
    refused(optimiser, theta, {"W": good["W"]}, ValueError, r"the gradient is missing \['b'\]")
    extra = good | {"c": np.ones(5)}
    refused(optimiser, theta, extra, ValueError, r"the gradient has the extra \['c'\]")
    turned = good | {"W": np.ones((4, 3))}
    refused(optimiser, theta, turned, ValueError, r"gradient of 'W' has the shape \(4, 3\)")
    narrow = good | {"b": np.ones(3, np.float32)}
    refused(optimiser, theta, narrow, ValueError, "gradient of 'b'.*float32.*expected.*float64")


@pytest.mark.parametrize("dtype", [np.int64, np.float16, np.complex128, ">f8"])
def test_a_step_refuses_other_dtypes(dtype):
    theta = {"b": np.ones(3, dtype)}
    refused(Adam(), theta, theta, TypeError, "parameter 'b': expected float32 or float64")


def test_a_step_refuses_read_only_parameters():
    theta = {"W": np.ones(3), "b": np.ones(3)}
    theta["b"].flags.writeable = False
    refused(Adam(), theta, {"W": np.ones(3), "b": np.ones(3)}, ValueError, "'b' is read-only")


def test_a_step_refuses_parameters_that_share_memory():
    W = np.ones((3, 4))
    refused(
        Adam(),
        {"code": W, "decode": W.T},
        {"code": np.ones((3, 4)), "decode": np.ones((4, 3))},
        ValueError,
        "the parameters 'code' and 'decode' share memory",
    )


def test_a_step_refuses_a_gradient_that_is_another_parameter():
    # J = <u, v> has the gradient (v, u).
    u, v = np.ones(3), np.full(3, 2.0)
    refused(
        GradientDescent(0.1),
        {"u": u, "v": v},
        {"u": v, "v": u},
        ValueError,
        "the gradient of '[uv]' shares memory with the parameter '[uv]'",
    )


def test_one_array_may_be_the_gradient_of_two_parameters():
    # J = sum(u + v)
    g, theta = np.ones(3), {"u": np.zeros(3), "v": np.zeros(3)}
    GradientDescent(0.5).step(theta, {"u": g, "v": g})
    np.testing.assert_array_equal(theta["u"], theta["v"])


def test_a_step_refuses_a_state_of_other_parameters():
    optimiser = Adam()
    optimiser.step({"b": np.ones(3)}, {"b": np.ones(3)})
    four = {"b": np.ones(4)}
    refused(optimiser, four, four, ValueError, "state's 'first_moment' of 'b' has the shape")
    other = {"c": np.ones(3)}
    refused(optimiser, other, other, ValueError, r"'first_moment' is missing \['c'\]")


def test_restore_refuses_the_state_of_another_method():
    momentum = GradientDescent(0.1, momentum=0.9)
    momentum.step({"b": np.ones(3)}, {"b": np.ones(3)})
    with pytest.raises(ValueError, match=r"Adam.*expects a state of \['step', 'first_moment'"):
        Adam().restore(momentum.state)
    for step in (np.array(-1), np.array(1.0), np.array([1]), 1):
        with pytest.raises(ValueError, match="'step' is a 0-dimensional int64"):
            GradientDescent(0.1).restore({"step": step})


@dtypes
def test_adam_refuses_a_gradient_whose_square_overflows(dtype):
    largest = math.sqrt(np.finfo(dtype).max)
    theta = {"a": np.ones(3, dtype), "b": np.ones(3, dtype)}
    good = {"a": np.ones(3, dtype), "b": np.full(3, -0.99 * largest, dtype)}
    Adam().step(theta, good)
    bad = {"a": np.ones(3, dtype), "b": np.full(3, -1.01 * largest, dtype)}
    refused(Adam(), theta, bad, NotFinite, "step 0: the gradient of 'b'.*Adam overflows float")
    theta["b"][:] = largest
    Adam(decay=0.5, decoupled=True).step(map_tree(np.copy, theta), good)
    refused(Adam(decay=0.5), theta, good, NotFinite, "step 0: the gradient of 'b', with decay")


@pytest.mark.parametrize("value", [-0.1, math.nan, math.inf])
def test_a_step_refuses_a_schedule_with_a_value_that_is_no_rate(value):
    theta = {"b": np.ones(3)}
    optimiser = GradientDescent(lambda step: value)
    refused(optimiser, theta, theta, ValueError, "rate at step 0 satisfies 0 <= ")


@pytest.mark.parametrize(
    "make, match",
    [
        (lambda: GradientDescent(0.0), "rate satisfies 0 < rate < inf; got 0.0"),
        (lambda: GradientDescent(-1), "rate satisfies"),
        (lambda: GradientDescent(math.nan), "rate satisfies"),
        (lambda: GradientDescent(0.1, momentum=1.0), "momentum satisfies 0 <= momentum < 1"),
        (lambda: GradientDescent(0.1, momentum=-0.1), "momentum satisfies"),
        (lambda: GradientDescent(0.1, nesterov=True), "nesterov=True needs a momentum"),
        (lambda: GradientDescent(0.1, decay=-1e-3), "decay satisfies 0 <= decay < inf"),
        (lambda: Adam(0.0), "rate satisfies"),
        (lambda: Adam(beta_1=1.0), "beta_1 satisfies 0 <= beta_1 < 1"),
        (lambda: Adam(beta_2=-0.5), "beta_2 satisfies"),
        (lambda: Adam(epsilon=0.0), "epsilon satisfies"),
        (lambda: Adam(epsilon=1e-50), "epsilon satisfies"),
        (lambda: Adam(decay=math.inf), "decay satisfies"),
        (lambda: constant(0.0), "rate satisfies"),
        (lambda: cosine(0.0, 5), "start satisfies"),
        (lambda: cosine(0.1, 0), "steps is a whole number of at least 1; got 0"),
        (lambda: cosine(0.1, True), "steps is a whole number of at least 1; got True"),
    ],
)
def test_hyperparameters_out_of_range_are_refused_with_a_sentence(make, match):
    with pytest.raises(ValueError, match=match):
        make()


@pytest.mark.parametrize("value", ["0.1", None, 1j, True, np.ones(1)])
def test_hyperparameters_that_are_no_numbers_are_refused(value):
    with pytest.raises(TypeError, match="decay is a real number"):
        Adam(decay=value)


def test_a_schedule_without_its_numbers_says_how_it_is_called():
    with pytest.raises(
        TypeError, match=r"^cosine: missing .* 'steps'; call it as cosine\(start, s"
    ):
        cosine(0.1)
    with pytest.raises(TypeError, match=r"call it as constant\(rate\)"):
        constant()
