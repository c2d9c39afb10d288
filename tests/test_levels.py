"""Recurrent networks as declared: their arguments, sizes and trees, and what they refuse."""

import numpy as np
import pytest
from points import close, draw_all
from test_cells import of_none, of_square, of_two

from derive import (
    Gram,
    Hom,
    R,
    Recurrent,
    SpaceError,
    bidirectional,
    cell,
    deep,
    dims,
    fixed,
    given,
    inner,
    layer,
    recurrent,
    stack,
    tanh,
    with_fixed,
)
from derive.evidence.checks.drawing import unequal_sizes
from derive.language.reference import value
from derive.library.losses import cross_entropy_index, squared_loss
from derive.library.rnn import (
    lstm,
    readout,
    readout_of_both,
    readout_of_pair,
    readout_of_pairs,
    vanilla_rnn,
)
from derive.models.levels import BACKWARD, FORWARD

n, m, k = dims("n m k")
H, X, Y = R(n), R(m), R(k)
plain = recurrent("plain", vanilla_rnn, prediction=readout)


def names(network: Recurrent) -> list[str]:
    return [a.name for a in network.arguments]


# --- one cell


def test_a_recurrent_network_is_one_step_of_it() -> None:
    """(h_{i-1}, x_i) -> y^_i = g(f(h_{i-1}; x_i; theta); zeta), called by hand."""
    sizes = unequal_sizes(plain)
    values = draw_all([a.variable for a in plain.arguments], sizes)
    h, x, W, U, b, V, c = values.values()
    expected = V @ np.tanh(W @ h + U @ x + b) + c
    assert close(value(plain.output, values, sizes), expected, 16)  # sums of at most 5 products


def test_names_and_sizes() -> None:
    """The cell's arguments and sizes keep their names, those of the prediction get its label."""
    assert plain.signature == ("plain(h, x; cell_W, cell_U, cell_b, prediction_V, prediction_c)")
    assert [str(p.space) for p in plain.parameters] == [
        "R(n, n)",
        "R(n, m)",
        "R(n)",
        "R(prediction_k, n)",
        "R(prediction_k)",
    ]
    assert list(map(str, plain.sizes)) == ["n", "m", "prediction_k"]
    assert [a.name for a in plain.inputs] == ["x"] and plain.targets == ()


def test_parameters_hang_in_a_tree() -> None:
    rng = np.random.default_rng(0)
    tree = plain.initial(rng, {"n": 3, "m": 4, "prediction_k": 5})
    shapes = {place: {name: a.shape for name, a in tree[place].items()} for place in tree}
    assert shapes == {
        "cell": {"W": (3, 3), "U": (3, 4), "b": (3,)},
        "prediction": {"V": (5, 3), "c": (5,)},
    }
    flat = plain.flat(tree)
    assert list(flat) == [p.name for p in plain.parameters]
    assert plain.tree(flat) == tree


def test_without_a_prediction_the_state_is_it() -> None:
    bare = recurrent("bare", vanilla_rnn)
    assert bare.output.space == H and names(bare) == ["h", "x", "cell_W", "cell_U", "cell_b"]
    assert bare.levels[0].prediction.parameters == ()


def test_a_loss_binds_its_sizes_to_the_prediction() -> None:
    net = recurrent("net", vanilla_rnn, prediction=readout, loss=squared_loss)
    (target,) = net.targets
    assert target.name == "y" and target.variable.space == net.output.space
    words = recurrent("words", lstm, prediction=readout_of_pair, loss=cross_entropy_index)
    (word,) = words.targets
    assert word.name == "k" and str(word.variable.space) == "Index(prediction_k)"
    assert names(net) == names(plain)  # a step has no target


def test_a_target_that_is_called_like_an_argument_gets_the_name_of_its_loss() -> None:
    @layer
    def off(y: Y, x: given(Y)) -> R():
        e = y - x
        return inner(e, e)

    net = plain.with_loss(off)
    assert [a.name for a in net.targets] == ["off_x"]


def test_a_learned_initial_state_is_said() -> None:
    assert not plain.learned and recurrent("a", vanilla_rnn, initial="learned").learned


def test_online_is_what_has_one_cell_forward_in_time() -> None:
    assert plain.is_online and recurrent("a", stack("s", a=lstm, b=lstm)).is_online
    two_ways = bidirectional(
        "b", forward=vanilla_rnn, backward=vanilla_rnn, prediction=readout_of_both
    )
    assert not two_ways.is_online
    assert not deep("d", lower=plain, upper=plain).is_online


# --- what is fixed


@cell
def reservoir(h: H, x: X, *, W: fixed(Hom(H, H)), U: fixed(Hom(X, H))) -> H:
    return tanh(W @ h + U @ x)


def test_what_is_fixed_is_named_and_hangs_where_parameters_do() -> None:
    net = recurrent("echo", reservoir, prediction=readout)
    assert net.signature == "echo(h, x; cell_W, cell_U, prediction_V, prediction_c)"
    assert [v.name for v in net.fixed] == ["cell_W", "cell_U"]
    assert [v.name for v in net.parameters] == ["prediction_V", "prediction_c"]
    assert net.paths[:2] == (("cell", "W"), ("cell", "U"))
    tree = net.initial(np.random.default_rng(0), {"n": 3, "m": 4, "prediction_k": 5})
    assert tree["cell"]["W"].shape == (3, 3) and tree["cell"]["W"].any()
    assert list(net.flat(tree)) == [v.name for v in net.theta]
    assert list(net.trained(tree)) == ["prediction"]
    assert [a.name for a in net.inputs] == ["x"]


def test_parameters_of_a_recurrent_network_are_fixed_by_their_qualified_names() -> None:
    f = recurrent("f", vanilla_rnn, prediction=readout, loss=squared_loss, initial="learned")
    made = with_fixed(f, "cell_W", "prediction_c")
    cell_, g = with_fixed(vanilla_rnn, "W"), with_fixed(readout, "c")
    declared = recurrent("f", cell_, prediction=g, loss=squared_loss, initial="learned")
    for net in (made, declared):
        assert type(net) is Recurrent and net.learned and net.signature == f.signature
        assert [v.name for v in net.parameters] == ["cell_U", "cell_b", "prediction_V"]
        assert [v.name for v in net.cells[0].parameters] == ["cell_U", "cell_b"]
        assert [v.name for v in net.levels[0].prediction.function.fixed] == ["prediction_c"]
        assert net.loss is not None and net.paths == f.paths
    tree = f.initial(np.random.default_rng(0), {"n": 3, "m": 4, "prediction_k": 5})
    assert list(made.trained(tree)) == ["cell", "prediction", "h_0"]
    with pytest.raises(SpaceError, match="no parameter 'h_0' to fix; it has cell_W, cell_U"):
        with_fixed(f, "h_0")


def test_what_is_fixed_goes_into_stacks_levels_and_directions() -> None:
    deep_cell = stack("s", low=reservoir, up=with_fixed(vanilla_rnn, "b"))
    assert deep_cell.signature == "s(state, x; low_W, low_U, up_W, up_U, up_b)"
    assert [v.name for v in deep_cell.fixed] == ["low_W", "low_U", "up_b"]
    both = bidirectional(
        "b", forward=reservoir, backward=vanilla_rnn, prediction=with_fixed(readout_of_both, "c")
    )
    assert [v.name for v in both.fixed] == ["forward_W", "forward_U", "prediction_c"]
    two = deep("d", lower=recurrent("r", reservoir), upper=both)
    assert [v.name for v in two.fixed] == [
        *["lower_cell_W", "lower_cell_U"],
        *["upper_forward_W", "upper_forward_U", "upper_prediction_c"],
    ]


def test_a_loss_of_a_step_has_nothing_fixed() -> None:
    @layer
    def weighed(y: Y, t: given(Y), *, w: fixed(Y)) -> R():
        return inner(w, y - t)

    with pytest.raises(SpaceError, match="recurrent plain: a loss is a layer without parameters"):
        plain.with_loss(weighed)


# --- two directions


def test_two_directions_have_one_input_and_two_states() -> None:
    net = bidirectional("b", forward=vanilla_rnn, backward=vanilla_rnn, prediction=readout_of_both)
    assert names(net)[:3] == ["h", "backward_h", "x"]
    assert [cell.direction for cell in net.cells] == [FORWARD, BACKWARD]
    assert [str(cell.state.space) for cell in net.cells] == ["R(n)", "R(backward_n)"]
    assert net.paths == (
        *(("forward", name) for name in ("W", "U", "b")),
        *(("backward", name) for name in ("W", "U", "b")),
        *(("prediction", name) for name in ("V", "U", "c")),
    )
    spaces = {p.name: str(p.space) for p in net.parameters}
    assert spaces["backward_U"] == "R(backward_n, m)"
    assert spaces["prediction_U"] == "R(prediction_k, backward_n)"


# --- levels


def test_a_level_takes_the_predictions_of_the_one_below() -> None:
    """y^ = g2(f2(h2; g1(f1(h1; x)))), called by hand."""
    net = deep("net", lower=plain, upper=plain)
    assert names(net)[:3] == ["lower_h", "upper_h", "x"]
    sizes = unequal_sizes(net)
    values = draw_all([a.variable for a in net.arguments], sizes)
    h1, h2, x, *theta = values.values()
    below = x
    for h, (W, U, b, V, c) in ((h1, theta[:5]), (h2, theta[5:])):
        below = V @ np.tanh(W @ h + U @ below + b) + c
    # two levels, each of sums of at most 12 products
    assert close(value(net.output, values, sizes), below, 64)


def test_names_of_levels() -> None:
    net = deep("net", lower=plain, upper=plain)
    spaces = {p.name: str(p.space) for p in net.parameters}
    assert spaces["lower_cell_U"] == "R(lower_n, m)"
    assert spaces["upper_cell_U"] == "R(upper_n, lower_prediction_k)"
    assert net.paths[0] == ("lower", "cell", "W") and net.paths[-1] == ("upper", "prediction", "c")
    tree = net.initial(np.random.default_rng(0), dict.fromkeys(map(str, net.sizes), 2))
    assert set(tree) == {"lower", "upper"} and set(tree["upper"]) == {"cell", "prediction"}


def test_levels_of_two_directions() -> None:
    pair = bidirectional("pair", forward=lstm, backward=lstm, prediction=readout_of_pairs)
    net = deep("net", first=pair, second=pair, loss=squared_loss)
    assert [cell.label for cell in net.cells] == [
        "first.forward",
        "first.backward",
        "second.forward",
        "second.backward",
    ]
    inputs = {str(c.function.arguments[1].variable.space) for c in net.levels[1].cells}
    assert inputs == {str(net.levels[0].prediction.function.output.space)}
    assert net.loss is not None and net.targets[0].variable.space == net.output.space


# --- what is refused


@layer
def of_both_and_more(h: H, w: given(H), *, V: Hom(H, Y)) -> Y:
    """A prediction that is given something."""
    return V @ (h * w)


@layer
def weighed(x: H, y: given(H), *, b: H) -> R():
    """A loss with a parameter."""
    return inner(x * b, y)


with_loss = recurrent("with_loss", vanilla_rnn, prediction=readout, loss=squared_loss)
learned = recurrent("learned", vanilla_rnn, prediction=readout, initial="learned")
signature = "(h, x; cell_W, cell_U, cell_b, prediction_V, prediction_c)"
REFUSED = {
    "a layer for a cell": (
        lambda: recurrent("r", readout),
        "recurrent r: cell must be a cell, declared with @cell or made by stack(..), got "
        "readout(h; V, c)",
    ),
    "no layer for a cell": (
        lambda: recurrent("r", 3),
        "recurrent r: cell must be a cell, declared with @cell or made by stack(..), got 3",
    ),
    "a layer for one of two cells": (
        lambda: bidirectional(
            "r", forward=vanilla_rnn, backward=readout, prediction=readout_of_both
        ),
        "recurrent r: backward must be a cell, declared with @cell or made by stack(..), got "
        "readout(h; V, c)",
    ),
    "a prediction of another space": (
        lambda: recurrent("r", vanilla_rnn, prediction=readout_of_pair),
        "recurrent r: the prediction takes R(n) * R(n), but the state of cell is of R(n); use a "
        "prediction of that space",
    ),
    "a prediction of too few states": (
        lambda: bidirectional("r", forward=vanilla_rnn, backward=vanilla_rnn, prediction=readout),
        "recurrent r: the prediction readout(h; V, c) must take the state of every cell, R(n), "
        "R(backward_n), and nothing else left of the *",
    ),
    "a prediction of something given": (
        lambda: recurrent("r", vanilla_rnn, prediction=of_both_and_more),
        "recurrent r: the prediction of_both_and_more(h, w; V) must take the state of every cell, "
        "R(n), and nothing else left of the *",
    ),
    "a prediction that is no layer": (
        lambda: recurrent("r", vanilla_rnn, prediction=3),
        "recurrent r: the prediction must be a layer, got 3",
    ),
    "a loss that is no number": (
        lambda: recurrent("r", vanilla_rnn, loss=readout),
        "recurrent r: a loss is a layer without parameters and with an output of R(), got "
        "readout(h; V, c); declare one of this kind",
    ),
    "a loss with parameters": (
        lambda: recurrent("r", vanilla_rnn, loss=weighed),
        "recurrent r: a loss is a layer without parameters and with an output of R(), got "
        "weighed(x, y; b); declare one of this kind",
    ),
    "a loss that is no layer": (
        lambda: recurrent("r", vanilla_rnn, loss=3),
        "recurrent r: a loss is a layer without parameters and with an output of R(), got 3; "
        "declare one of this kind",
    ),
    "a loss of another space": (
        lambda: recurrent("r", lstm, loss=squared_loss),
        "recurrent r: the loss takes R(n), but the prediction is of R(n) * R(n); use a loss of "
        "that space",
    ),
    "cells of different inputs": (
        lambda: bidirectional(
            "r", forward=vanilla_rnn, backward=of_two, prediction=readout_of_both
        ),
        "recurrent r: the cells must have the same inputs, got x and x, z; use cells of the same "
        "inputs",
    ),
    "cells of inputs of different spaces": (
        lambda: bidirectional(
            "r", forward=vanilla_rnn, backward=of_square, prediction=readout_of_both
        ),
        "recurrent r: the cells of a level have one input, but x is of R(m, backward_n) in one and "
        "of R(m) in the other; use cells that take one space",
    ),
    "no networks": (
        lambda: deep("d"),
        "deep d: expected at least one network, as in lower=a, upper=b",
    ),
    "a cell for a network": (
        lambda: deep("d", a=vanilla_rnn),
        "deep d: a must be a recurrent network without a loss, got vanilla_rnn(h, x; W, U, b); "
        "give the loss to the whole, deep(.., loss=l)",
    ),
    "a network with a loss": (
        lambda: deep("d", a=with_loss, b=plain),
        f"deep d: a must be a recurrent network without a loss, got with_loss{signature}; give "
        "the loss to the whole, deep(.., loss=l)",
    ),
    "a network with a learned initial state": (
        lambda: deep("d", a=learned, b=plain),
        "deep d: a has a learned initial state, which a network of several levels cannot have; "
        "declare it with initial='fixed' and give the states to each call",
    ),
    "a level of two inputs": (
        lambda: deep("d", a=plain, b=recurrent("b", of_two)),
        "deep d: b must have one input, the predictions below, got x, z; use cells of one input",
    ),
    "a level of no input": (
        lambda: deep("d", a=plain, b=recurrent("b", of_none)),
        "recurrent b: cell, of_none(h; W), has no input; declare one behind the state, x: R() "
        "where there is none",
    ),
    "a level of another space": (
        lambda: deep("d", a=plain, b=recurrent("b", of_square)),
        "deep d: b takes R(a_prediction_k, b_n), but the network below predicts "
        "R(a_prediction_k); use networks that fit",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(case: str) -> None:
    made, sentence = REFUSED[case]
    with pytest.raises(SpaceError) as refused:
        made()
    assert str(refused.value) == sentence


def test_the_initial_state_is_fixed_or_learned() -> None:
    with pytest.raises(ValueError) as refused:
        recurrent("r", vanilla_rnn, initial="free")
    assert str(refused.value) == "recurrent r: expected initial='fixed' or 'learned', got 'free'"


def test_a_gram_matrix_is_refused_with_the_reason() -> None:
    E = R(n, gram=Gram("G"))

    @cell
    def tilted(h: E, x: E, *, W: Hom(E, E)) -> E:
        return W @ h + x

    with pytest.raises(SpaceError, match=r"standard inner product alone, .* the Gram matrix G"):
        recurrent("tilted_net", tilted)


@pytest.mark.parametrize("name", ["every", "down", "block", "times"])
def test_a_size_of_the_kernels_own_is_refused(name) -> None:
    size = dims(name)

    @cell
    def sized(h: R(size), x: R(size)) -> R(size):
        return h + x

    with pytest.raises(SpaceError, match=f"'{name}' is a size that kernels over sequences have"):
        recurrent("sized_net", sized)


def test_a_cell_without_an_input_is_refused() -> None:
    @cell
    def alone(h: R(n), *, W: Hom(R(n), R(n))) -> R(n):
        return W @ h

    with pytest.raises(SpaceError, match="has no input; declare one behind the state"):
        recurrent("alone_net", alone)


def test_the_learned_initial_state_hangs_in_the_tree() -> None:
    network = recurrent("rnn", vanilla_rnn, prediction=readout, initial="learned")
    tree = network.initial(np.random.default_rng(0), {"n": 3, "m": 2, "prediction_k": 4})
    assert tree["h_0"].shape == (3,) and not tree["h_0"].any()
    flat = network.flat(tree)
    assert set(flat) == {p.name for p in network.parameters} | {"h_0"}
    assert network.tree(flat).keys() == tree.keys()
    with pytest.raises(ValueError, match="the initial state is learned; give it as h_0"):
        network.flat({key: value for key, value in tree.items() if key != "h_0"})
