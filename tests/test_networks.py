"""Laws of networks: composition, heads and tails, backpropagation, gradients, sizes, trees."""

import re

import numpy as np
import pytest
from composed import (
    EPS,
    NETWORKS,
    applied,
    assert_close,
    assert_equal,
    average,
    branch,
    draw,
    embedding,
    evaluated,
    join,
    m,
    mlp,
    n,
    networks,
    p,
    point,
    rearranged,
    windows,
)

from derive import Gram, Hom, R, SpaceError, dims, form, indices, inner, layer, tanh, transpose
from derive.evidence.proofs.proof import prove
from derive.language.expressions import Variable, axis, contraction
from derive.language.forms import make_form
from derive.language.reference import value
from derive.language.spaces import Indices
from derive.language.walk import topological
from derive.library.dense import affine, dense, dense_sigmoid
from derive.library.losses import cross_entropy, cross_entropy_index, squared_loss
from derive.library.norms import bilinear, gated, layer_norm, normalise
from derive.models.networks import Network, network, with_fixed, with_sizes
from derive.models.programs import programs
from derive.models.sharing import with_shared
from derive.training.parameters import leaves

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


# The tree of parameters


def test_tree_and_flat_are_inverse():
    f, counts = NETWORKS["nested"]
    values, _ = point(f, counts)
    by_name = {theta.name: values[theta.name] for theta in f.parameters}
    tree = f.tree(by_name)
    assert list(tree) == ["body", "top"]
    assert tree["top"]["b"]["output"]["W"] is values["top_b_output_W"]
    assert f.flat(tree) == by_name
    assert [name.replace(".", "_") for name, _ in leaves(tree)] == list(by_name)


# What is fixed in a network

STILL, STILL_SIZES = NETWORKS["fixed"]


def test_what_is_fixed_is_qualified_and_stands_where_parameters_stand():
    assert STILL.signature == "still(x; entry_P, middle_gamma, middle_mu, top_W, top_b)"
    assert [v.name for v in STILL.fixed] == ["entry_P", "middle_mu"]
    assert [v.name for v in STILL.parameters] == ["middle_gamma", "top_W", "top_b"]
    assert [".".join(path) for path in STILL.paths] == [
        "entry.P",
        "middle.gamma",
        "middle.mu",
        "top.W",
        "top.b",
    ]
    whole = network("whole", a=STILL, b=dense)
    assert [v.name for v in whole.fixed] == ["a_entry_P", "a_middle_mu"]
    assert whole.paths[0] == ("a", "entry", "P")


def test_the_tree_holds_what_is_fixed_and_a_gradient_s_tree_does_not():
    values, _ = point(STILL, STILL_SIZES)
    by_name = {x.name: values[x.name] for x in STILL.theta}
    tree = STILL.tree(by_name)
    assert tree["middle"]["mu"] is values["middle_mu"] and STILL.flat(tree) == by_name
    trained = STILL.trained(tree)
    assert [name for name, _ in leaves(trained)] == ["middle.gamma", "top.W", "top.b"]
    assert trained["top"]["W"] is tree["top"]["W"]
    assert STILL.tree({p.name: by_name[p.name] for p in STILL.parameters}) == trained
    for missing in ("middle_mu", "top_b"):
        with pytest.raises(ValueError, match="network still: expected values of"):
            STILL.tree({name: value for name, value in by_name.items() if name != missing})
    del tree["middle"]["mu"]
    with pytest.raises(ValueError, match=re.escape("'middle.mu'")):
        STILL.flat(tree)


def test_parameters_of_a_network_are_fixed_by_their_qualified_names():
    f = network("f", a=dense, b=affine, loss=squared_loss)
    made = with_fixed(f, "a_W", "b_b")
    declared = network("f", a=with_fixed(dense, "W"), b=with_fixed(affine, "b"), loss=squared_loss)
    for net in (made, declared):
        assert type(net) is Network and net.signature == f.signature and net.paths == f.paths
        assert [v.name for v in net.parameters] == ["a_b", "b_W"]
        assert [v.name for v in net.loss_layer.fixed] == ["a_W", "b_b"]
        assert [v.name for v in net.head(1).fixed] == ["a_W"]
        results = [r.name for p in programs(net) if p.name == "gradient" for r in p.results]
        assert results == ["J", "x_bar", "a_b_bar", "b_W_bar"]
    resized = with_sizes(made, {"a_n": 7})
    assert [v.name for v in resized.fixed] == ["a_W", "b_b"]
    with pytest.raises(SpaceError, match="no parameter 'W' to fix; it has a_W, a_b, b_W, b_b"):
        with_fixed(f, "W")


def test_what_several_layers_share_is_fixed_in_all_of_them():
    """And what is fixed stays where a parameter beside it becomes the image of another."""
    untied = network("tied", code=dense, decode=affine)
    tau = {"decode_W": lambda code_W: transpose(code_W)}
    tied = with_fixed(with_shared(untied, **tau), "code_W")
    assert [v.name for v in tied.parameters] == ["code_b", "decode_b"]
    assert [[v.name for v in s.function.fixed] for s in tied.stages] == [["code_W"]] * 2
    assert tied.paths == (("code", "W"), ("code", "b"), ("decode", "b"))
    other = with_shared(with_fixed(untied, "decode_b"), **tau)
    assert other.signature == tied.signature and other.paths == tied.paths
    assert [v.name for v in other.fixed] == ["decode_b"]


def test_a_loss_has_nothing_fixed():
    with pytest.raises(SpaceError, match="a loss is a layer without parameters"):
        mlp.with_loss(with_fixed(weighted_sum, "c"))


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
