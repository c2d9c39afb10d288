"""Laws of networks: composition, heads and tails, backpropagation, gradients, sizes, trees."""

import re

import numpy as np
import pytest

from derive import (
    Gram,
    Hom,
    Index,
    R,
    SpaceError,
    dims,
    form,
    indices,
    inner,
    layer,
    mean,
    tanh,
)
from derive.expressions import Variable, axis, constant, contraction, zero
from derive.forms import make_form
from derive.initialise import fans_of
from derive.library.dense import affine, dense, dense_gelu, dense_sigmoid
from derive.library.losses import cross_entropy, cross_entropy_index, squared_loss
from derive.library.norms import bilinear, gated, layer_norm, normalise
from derive.networks import Network, network, with_sizes
from derive.parameters import leaves
from derive.programs import BATCH, programs
from derive.proof import prove
from derive.reference import shape_of, value
from derive.spaces import Indices, Product
from derive.walk import topological

n, m, p = dims("n m p")
EPS = np.finfo(np.float64).eps


@layer
def branch(x: R(m), *, A: Hom(R(m), R(n)), B: Hom(R(m), R(p))) -> R(n) * R(p):
    return tanh(A @ x), B @ x


@layer
def join(s: R(n) * R(p), *, A: Hom(R(n), R(m)), B: Hom(R(p), R(m))) -> R(m):
    a, b = s
    return A @ a + B @ b


@layer
def embedding(k: Index(m), *, E: R(m, n)) -> R(n):
    accesses = [(axis(0), axis(1)), (axis(1),)]
    row = make_form(accesses, {axis(0): m, axis(1): n}, [(axis(0), ())])
    return contraction(R(n), row, 1, (E,), (k,))


@layer
def windows(x: R(m), *, K: R(2)) -> R(m - 1):
    i, j = indices("i j")
    return form("C", K=(j,), x=(i + j,), to=(i,), ranges={i: m - 1})(K, x)


@layer
def average(x: R(n)) -> R():
    return mean(x)


@layer
def rearranged(x: R(n)) -> R(n) * R(n) * R(n):
    """The entries backwards, a number that is a size, and zero."""
    (i,) = indices("i")
    backwards = form("backwards", x=(n - 1 - i,), to=(i,), ranges={i: n})
    return backwards(x), constant(n, x.space), zero(x.space)


mlp = network("mlp", hidden=dense, output=affine)
NETWORKS = {
    "one": (network("one", only=dense_gelu), {"m": 3, "only_n": 4}),
    "mlp": (mlp, {"m": 3, "hidden_n": 4, "output_n": 5}),
    "deep": (
        network("deep", a=dense_sigmoid, b=normalise, c=gated, d=layer_norm, e=dense),
        {"m": 3, "a_n": 4, "c_m": 5, "e_n": 2},
    ),
    "nested": (
        network("nested", body=mlp, top=network("top", a=dense, b=mlp)),
        {"m": 3, "body_hidden_n": 4, "body_output_n": 5,
         "top_a_n": 2, "top_b_hidden_n": 6, "top_b_output_n": 3},
    ),
    "two states": (
        network("two", first=dense, both=bilinear),
        {"m": 3, "first_n": 4, "both_m": 5, "both_k": 2},
    ),
    "product": (
        network("product", split=branch, joined=join, top=dense),
        {"m": 3, "split_n": 4, "split_p": 5, "joined_m": 2, "top_n": 6},
    ),
    "windows": (network("windows", step=windows, top=dense), {"m": 5, "top_n": 4}),
    "embedded": (network("embedded", word=embedding, top=dense), {"m": 5, "word_n": 4, "top_n": 3}),
}  # fmt: skip
networks = pytest.mark.parametrize(("f", "counts"), NETWORKS.values(), ids=NETWORKS)


def draw(rng, space, sizes):
    """A random element of a space."""
    if isinstance(space, Product):
        return tuple(draw(rng, factor, sizes) for factor in space.factors)
    if isinstance(space, Indices):
        return rng.integers(int(space.bound.subs(sizes)), size=shape_of(space, sizes))
    return rng.normal(size=shape_of(space, sizes))


def point(f, counts, seed=0):
    """Random arguments of a layer, by name, and its sizes as numbers."""
    rng = np.random.default_rng(seed)
    sizes = {dims(name): count for name, count in counts.items()} | {BATCH: 6}
    return {a.name: draw(rng, a.variable.space, sizes) for a in f.arguments}, sizes


def evaluated(f, values, sizes, body=None):
    """An expression in the arguments of a layer at these values, by name."""
    at = {a.variable: values[a.name] for a in f.arguments if a.name in values}
    return value(f.output if body is None else body, at, sizes)


def applied(map_, f, values, sizes, e):
    """A map that belongs to a layer, at these values, applied to e."""
    at = {a.variable: values[a.name] for a in f.arguments}
    return value(map_.body, at | {map_.variable: e}, sizes)


def flat(result):
    parts = result if isinstance(result, tuple) else (result,)
    return np.concatenate([np.ravel(part) for part in parts])


def assert_equal(got, expected):
    np.testing.assert_array_equal(flat(got), flat(expected))


def assert_close(got, expected, tolerance):
    got, expected = flat(got), flat(expected)
    assert np.abs(expected).max() > 0
    assert np.abs(got - expected).max() <= tolerance * np.abs(expected).max()


# Composition (3.1), heads and tails (3.2), (3.3), (3.4). Both sides evaluate the same operations on
# the same arrays, so they are equal to the last bit.


@networks
def test_a_network_is_the_composition_of_its_layers(f, counts):
    values, sizes = point(f, counts)
    x = values[f.stages[0].input.name]
    for stage in f.stages:
        x = evaluated(stage.function, values | {stage.input.name: x}, sizes)
    assert_equal(evaluated(f, values, sizes), x)


@pytest.mark.parametrize("name", ["mlp", "deep", "nested"])
def test_its_layers_are_those_declared(name):
    """The declared layers, which know nothing of the network, give the same at its parameters."""
    f, counts = NETWORKS[name]
    declared = {
        "mlp": [dense, affine],
        "deep": [dense_sigmoid, normalise, gated, layer_norm, dense],
        "nested": [dense, affine, dense, dense, affine],
    }[name]
    values, sizes = point(f, counts)
    x, parameters = values["x"], [values[theta.name] for theta in f.parameters]
    for g in declared:
        own = [parameters.pop(0) for _ in g.parameters]
        arguments = dict(zip([*g.state, *g.parameters], [x, *own], strict=True))
        x = value(g.output, arguments)
    assert not parameters
    assert_equal(evaluated(f, values, sizes), x)


@networks
def test_head_and_tail_split_a_network_at_every_layer(f, counts):
    """F = omega_{i+1} . alpha_i, omega_i = omega_{i+1} . f_i, alpha_i = f_i . alpha_{i-1}."""
    values, sizes = point(f, counts)
    whole = evaluated(f, values, sizes)
    for i, stage in enumerate(f.stages, 1):
        x = input_of(f, i, values, sizes)
        after = evaluated(stage.function, values | {stage.input.name: x}, sizes)
        assert_equal(evaluated(f.head(i), values, sizes), after)
        for omega, argument in ((f.tail(i), x), (f.tail(i + 1), after)):
            first = omega.arguments[0].name
            assert_equal(evaluated(omega, values | {first: argument}, sizes), whole)


def test_head_and_tail_say_which_layers_there_are():
    with pytest.raises(IndexError, match=re.escape("mlp: head(3): expected 0 <= i <= 2")):
        mlp.head(3)
    with pytest.raises(IndexError, match=re.escape("mlp: tail(0): expected 1 <= i <= 3")):
        mlp.tail(0)


# Backpropagation (3.11) and lemma 3.2.1. The two sides sum the same products, of at most 6 factors
# a layer and 5 layers, in another order: 6 * 5 * eps = 7e-15 of terms that may cancel tenfold.
REORDERED = 1e-13


@networks
def test_backpropagation(f, counts):
    """D*omega_i(x_i) = D*f_i(x_i) . D*omega_{i+1}(x_{i+1}), i in [L]."""
    values, sizes = point(f, counts)
    e = draw(np.random.default_rng(1), f.output.space, sizes)
    for i, stage in enumerate(f.stages, 1):
        if stage.input not in stage.function.state:
            continue  # class indices have no derivative
        at = with_inputs(f, values, sizes)
        tail, after = f.tail(i), f.tail(i + 1)
        at[after.arguments[0].name] = evaluated(f.head(i), values, sizes)
        whole = applied(tail.D(stage.input.name).adjoint, tail, at, sizes, e)
        behind = applied(after.D(after.state[0].name).adjoint, after, at, sizes, e)
        own = stage.function.D(stage.input.name).adjoint
        assert_close(whole, applied(own, stage.function, at, sizes, behind), REORDERED)


@networks
def test_the_gradient_of_each_parameter_by_lemma_3_2_1(f, counts):
    """nabla*_{theta_i} F = nabla*_{theta_i} f_i(x_i) . D*omega_{i+1}(x_{i+1})."""
    values, sizes = point(f, counts)
    e = draw(np.random.default_rng(1), f.output.space, sizes)
    for i, stage in enumerate(f.stages, 1):
        at, after = with_inputs(f, values, sizes), f.tail(i + 1)
        at[after.arguments[0].name] = evaluated(f.head(i), values, sizes)
        behind = applied(after.D(after.state[0].name).adjoint, after, at, sizes, e)
        for theta in stage.function.parameters:
            whole = applied(f.nabla(theta.name).adjoint, f, values, sizes, e)
            own = stage.function.nabla(theta.name).adjoint
            assert_close(whole, applied(own, stage.function, at, sizes, behind), REORDERED)


def with_inputs(f, values, sizes):
    """The values with x_i = alpha_{i-1}(x) for each layer."""
    inputs = {g.input.name: input_of(f, i, values, sizes) for i, g in enumerate(f.stages, 1)}
    return values | inputs


def input_of(f, i, values, sizes):
    """x_i = alpha_{i-1}(x), where alpha_0 = id is a layer unless x is a class index."""
    first = f.stages[0].input
    if i == 1 and isinstance(first.space, Indices):
        return values[first.name]
    return evaluated(f.head(i - 1), values, sizes)


def test_backpropagation_in_other_inner_products():
    """<e, F'(x) v> = <F'(x)* e, v> in G and H, where the adjoint is no transpose."""
    G, H = Gram("G"), Gram("H")
    X, Y = R(n, gram=G), R(m, gram=H)

    @layer
    def there(x: X, *, W: R(m, n)) -> Y:
        i, j = indices("i j")
        z = form("apply", W=(i, j), x=(j,), to=(i,))(W, x)
        unit = make_form([(axis(0),), (axis(0),)], {axis(0): m})
        return tanh(contraction(Y, unit, 1, (z,)))

    @layer
    def stretch(y: Y, *, c: Y) -> Y:
        return y * c

    f = network("curved", a=there, b=stretch)
    rng = np.random.default_rng(0)
    values, sizes = point(f, {"n": 3, "a_m": 4})
    A, B = rng.normal(size=(3, 3)), rng.normal(size=(4, 4))
    G_, H_ = A @ A.T + np.eye(3), B @ B.T + np.eye(4)
    grams = {"G": G_, "G_inverse": np.linalg.inv(G_), "H": H_, "H_inverse": np.linalg.inv(H_)}
    v, e = rng.normal(size=3), rng.normal(size=4)
    D = f.D()
    at = {x: (values | grams)[x.name] for x in variables(D.body, D.adjoint.body, f.output)
          if x.name in values | grams}  # fmt: skip
    Dv = value(D.body, at | {D.variable: v}, sizes)
    De = value(D.adjoint.body, at | {D.adjoint.variable: e}, sizes)
    # condition numbers of G and H below 100, so the inverses are right to 100 eps
    assert abs(e @ H_ @ Dv - De @ G_ @ v) <= 1e-12 * abs(e @ H_ @ Dv)
    assert abs(e @ Dv - De @ v) > 1e-3 * abs(e @ Dv)


def variables(*bodies):
    return [x for x in topological(*bodies) if isinstance(x, Variable)]


def test_one_gram_matrix_has_one_size():
    @layer
    def stretched(x: R(n), *, c: R(m, gram=Gram("G")), W: Hom(R(m), R(n))) -> R(n):
        i, j = indices("i j")
        return tanh(form("apply", W=(i, j), c=(j,), to=(i,))(W, c) + x)

    network("fine", a=stretched)
    with pytest.raises(SpaceError, match="the Gram matrix G is of size a_m and of size b_m"):
        network("two", a=stretched, b=stretched)


# Gradients of the loss against central differences on five points,
# (8 J(t + h) - 8 J(t - h) - J(t + 2h) + J(t - 2h)) / 12h with h = eps^(1/5), which are off by
# h^4 |J^(5)| / 30 + 3 eps |J| / 2h; both are near eps^(4/5) = 3e-13 times the scale of J.
STEP = EPS ** (1 / 5)
DIFFERENCED = 1e3 * EPS ** (4 / 5)  # a fifth derivative may be 30000 times as large as J


@pytest.mark.parametrize(
    "loss", [squared_loss, cross_entropy, cross_entropy_index], ids=lambda loss: loss.name
)
@pytest.mark.parametrize("name", ["one", "mlp", "deep", "nested", "two states", "embedded"])
def test_the_gradient_of_the_loss_against_central_differences(name, loss):
    f, counts = NETWORKS[name]
    J = f.with_loss(loss).loss_layer
    values, sizes = point(J, counts)
    rng = np.random.default_rng(1)
    tolerance = DIFFERENCED * (1 + abs(evaluated(J, values, sizes)))
    for x in J.differentiable:
        gradient = applied(J.derivative(x.name).adjoint, J, values, sizes, np.ones(()))
        for _ in range(3):
            v = rng.normal(size=gradient.shape)
            v /= np.sqrt(np.sum(v * v))

            def along(t, x=x, v=v):
                moved = values[x.name] + t * STEP * v
                return evaluated(J, values | {x.name: moved}, sizes)

            numeric = (8 * (along(1) - along(-1)) - along(2) + along(-2)) / (12 * STEP)
            assert abs(numeric) > 100 * tolerance
            assert abs(np.sum(gradient * v) - numeric) <= tolerance


def test_a_network_of_two_layers_is_proved():
    """Every first and second derivative against SymPy's own, exactly."""
    verdicts = prove(network("two", a=dense_sigmoid, b=affine))
    assert len(verdicts) == 2 * (2 * 5 + 2 * 25)
    assert all(verdict.proved for verdict in verdicts)


def test_a_network_is_derived_over_a_batch_like_every_layer():
    """The backward program sums nabla*F . y_bar over the points and keeps D*F . y_bar of each."""
    f, counts = NETWORKS["mlp"]
    _, _, backward, _ = programs(f)
    values, sizes = point(backward, counts)
    at = {a.variable: values[a.name] for a in backward.arguments}
    x, y_bar = values["x"], values["y_bar"]
    for result in backward.results:
        name = result.name.removesuffix("_bar")
        adjoint = f.derivative(name).adjoint
        each = np.array([
            applied(adjoint, f, values | {"x": x[k]}, sizes, y_bar[k]) for k in range(len(x))
        ])  # fmt: skip
        expected = each if name == "x" else each.sum(axis=0)
        assert_close(value(result.node, at, sizes), expected, REORDERED)


# Names and sizes


def test_names_and_sizes_of_an_mlp():
    assert mlp.signature == "mlp(x; hidden_W, hidden_b, output_W, output_b)"
    assert [str(size) for size in mlp.sizes] == ["m", "hidden_n", "output_n"]
    spaces = [str(theta.space) for theta in mlp.parameters]
    assert spaces == ["R(hidden_n, m)", "R(hidden_n)", "R(output_n, hidden_n)", "R(output_n)"]
    assert set(mlp.names.values()) == {"hidden_z", "hidden"}


def test_the_same_layer_may_come_twice():
    twice = network("twice", a=dense, b=dense)
    assert [theta.name for theta in twice.parameters] == ["a_W", "a_b", "b_W", "b_b"]
    assert set(twice.names.values()) == {"a_z", "a", "b_z"}


def test_states_of_later_layers_come_behind_those_of_the_first():
    f, _ = NETWORKS["two states"]
    assert f.signature == "two(x, both_y; first_W, first_b, both_W)"


def test_a_loss_adds_its_target():
    J = mlp.with_loss(cross_entropy_index).loss_layer
    assert J.signature == "mlp_loss(x, k; hidden_W, hidden_b, output_W, output_b)"
    assert str(J.of_role("given")[0].space) == "Index(output_n)"
    assert network("mlp", hidden=dense, output=affine, loss=squared_loss).loss_layer.signature == (
        "mlp_loss(x, y; hidden_W, hidden_b, output_W, output_b)"
    )


def test_a_target_whose_name_is_taken_is_qualified():
    both = network("both", only=bilinear, loss=squared_loss)
    assert both.loss_layer.signature == "both_loss(x, y, squared_loss_y; only_W)"


def test_a_nested_network_equals_the_flat_one():
    nested = network("f", body=mlp, top=dense)
    plain = network("f", body_hidden=dense, body_output=affine, top=dense)
    assert nested.output is plain.output
    assert nested.arguments == plain.arguments
    assert set(plain.names.values()) == {"body_hidden_z", "body_hidden", "body_output", "top_z"}
    assert set(nested.names.values()) == {"body_hidden_z", "body_hidden", "body", "top_z"}


def test_sizes_are_bound_to_numbers_and_expressions():
    fixed = network("fixed", hidden=with_sizes(dense, {"n": 32}), output=affine)
    assert [str(size) for size in fixed.sizes] == ["m", "output_n"]
    assert str(fixed.argument("output_W").space) == "R(output_n, 32)"
    f, _ = NETWORKS["windows"]
    assert str(f.argument("top_W").space) == "R(top_n, m - 1)"


def test_sizes_of_a_network_can_be_fixed():
    fixed = with_sizes(mlp.with_loss(cross_entropy_index), {"hidden_n": 4, dims("output_n"): 5})
    assert isinstance(fixed, Network)
    assert fixed.loss_layer.sizes == (m,)
    values, sizes = point(mlp, {"m": 3, "hidden_n": 4, "output_n": 5})
    assert_equal(evaluated(fixed, values, {}), evaluated(mlp, values, sizes))


@pytest.mark.parametrize("other", [m, p])
def test_sizes_are_replaced_all_at_once(other):
    assert with_sizes(dense, {"n": m, "m": other}).sizes == tuple(dict.fromkeys([other, m]))
    assert with_sizes(dense, {"m": n, "n": other}).sizes == tuple(dict.fromkeys([n, other]))


def test_sizes_may_change_places():
    swapped = with_sizes(dense, {"n": m, "m": n})
    assert str(swapped.argument("W").space) == "R(m, n)"
    assert str(swapped.output.space) == "R(m)"
    values, sizes = point(swapped, {"n": 3, "m": 4})
    W, x, b = values["W"], values["x"], values["b"]
    # einsum sums the three products in its own order
    assert_close(evaluated(swapped, values, sizes), np.tanh(W @ x + b), 8 * EPS)


def test_a_size_in_a_number_or_an_access_is_replaced():
    x = np.array([1.0, 2.0, 4.0, 8.0])
    four = with_sizes(average, {"n": 4})
    assert evaluated(four, {"x": x}, {}) == 3.75
    assert four.D().adjoint.body.space == R(4)
    parts = evaluated(with_sizes(rearranged, {"n": 4}), {"x": x}, {})
    assert_equal(parts, [8.0, 4.0, 2.0, 1.0] + 4 * [4.0] + 4 * [0.0])
    steps = with_sizes(windows, {"m": 4})
    assert_equal(evaluated(steps, {"x": x, "K": np.array([-1.0, 1.0])}, {}), [1.0, 2.0, 4.0])


# What does not fit


@pytest.mark.parametrize(
    ("layers", "sentence"),
    [
        (
            {"a": with_sizes(dense, {"n": 32}), "b": with_sizes(affine, {"m": 16})},
            "network f: layer b takes x of R(16), but layer a gives R(32); use layers that fit, "
            "or set sizes of one of them by with_sizes(layer, {size: value})",
        ),
        (
            {"a": dense, "b": with_sizes(affine, {"m": 16})},
            "layer b takes x of R(16), but layer a gives R(a_n)",
        ),
        ({"a": branch, "b": dense}, "layer b takes x of R(a_n), but layer a gives R(a_n) * R(a_p)"),
        ({"a": dense, "b": join}, "layer b takes s of R(a_n) * R(b_p), but layer a gives R(a_n)"),
        ({"a": average, "b": dense}, "layer b takes x of R(b_m), but layer a gives R()"),
        ({"a": dense, "b": embedding}, "layer b has no state to take the output of a"),
        ({"a": dense, "b": 3}, "b must be a layer, got int"),
        ({"a": mlp.with_loss(squared_loss), "b": dense}, "a has a loss of its own; give it to f"),
        ({}, "expected at least one layer"),
    ],
    ids=range(9),
)
def test_layers_that_do_not_fit(layers, sentence):
    with pytest.raises(SpaceError, match=re.escape(sentence)):
        network("f", **layers)


def test_two_sizes_never_share_a_name():
    hidden_n = dims("hidden_n")

    @layer
    def first(x: R(hidden_n), *, W: Hom(R(hidden_n), R(n))) -> R(n):
        return W @ x

    with pytest.raises(SpaceError, match="hidden_n, which is another size of the network"):
        network("f", hidden=first)


@layer
def weighted_sum(x: R(n), *, c: R(n)) -> R():
    return inner(x, c)


@pytest.mark.parametrize("loss", [weighted_sum, rearranged, np.sum], ids=["c", "R(n)", "sum"])
def test_a_loss_is_a_scalar_without_parameters(loss):
    with pytest.raises(SpaceError, match="a loss is a layer without parameters"):
        mlp.with_loss(loss)


def test_a_loss_takes_the_output():
    with pytest.raises(SpaceError, match=re.escape("but layer output gives R(7)")):
        fixed = with_sizes(mlp, {"output_n": 7})
        fixed.with_loss(with_sizes(squared_loss, {"n": 5}))
    with pytest.raises(SpaceError, match="network mlp has no loss"):
        _ = mlp.loss_layer


def test_a_size_that_is_none_of_the_layer_is_named():
    with pytest.raises(SpaceError, match=re.escape("has no size 'k'; it has m, n")):
        with_sizes(dense, {"k": 3})
    with pytest.raises(SpaceError, match="at least 1"):
        with_sizes(dense, {"n": 0})


# The tree of parameters, and where it starts


def test_tree_and_flat_are_inverse():
    f, counts = NETWORKS["nested"]
    values, _ = point(f, counts)
    by_name = {theta.name: values[theta.name] for theta in f.parameters}
    tree = f.tree(by_name)
    assert list(tree) == ["body", "top"]
    assert tree["top"]["b"]["output"]["W"] is values["top_b_output_W"]
    assert f.flat(tree) == by_name
    assert [name.replace(".", "_") for name, _ in leaves(tree)] == list(by_name)


def test_trees_that_do_not_fit_are_refused():
    values, _ = point(mlp, NETWORKS["mlp"][1])
    tree = mlp.tree({theta.name: values[theta.name] for theta in mlp.parameters})
    with pytest.raises(ValueError, match="network mlp: expected values of"):
        mlp.tree({"hidden_W": values["hidden_W"]})
    del tree["hidden"]["b"]
    with pytest.raises(ValueError, match=re.escape("hidden.b")):
        mlp.flat(tree)
    with pytest.raises(
        ValueError, match=re.escape("got ['hidden.W', 'output.W', 'output.b', 'c']")
    ):
        mlp.flat(tree | {"c": values["x"]})


@networks
def test_initial_parameters_have_their_shapes(f, counts):
    sizes = {dims(name): count for name, count in counts.items()}
    theta = f.flat(f.initial(np.random.default_rng(0), counts))
    assert list(theta) == [parameter.name for parameter in f.parameters]
    for parameter in f.parameters:
        assert theta[parameter.name].shape == shape_of(parameter.space, sizes)
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


def test_initial_needs_every_size():
    with pytest.raises(SpaceError, match="the size output_n is not known"):
        mlp.initial(np.random.default_rng(0), {"m": 3, "hidden_n": 4})
    with pytest.raises(SpaceError, match="has no size 'k'"):
        mlp.initial(np.random.default_rng(0), {"k": 3})
