"""Cells: their declaration, what they refuse, and stacks of them against calls by hand."""

import numpy as np
import pytest
from points import close, draw_all

from derive import Cell, Hom, Index, R, SpaceError, cell, dims, given, layer, sigmoid, stack, tanh
from derive.evidence.checks.drawing import unequal_sizes
from derive.language.reference import value
from derive.library.rnn import gru, lstm, readout, vanilla_rnn
from derive.models.cells import inputs_of, shown_state

n, m, k = dims("n m k")
H, X, Y = R(n), R(m), R(k)
# The same sums and products in another order of calls: nothing but roundings of a few operations.
ROUNDING = 16


@cell
def of_two(h: H, x: X, z: X, *, W: Hom(H, H), U: Hom(X, H)) -> H:
    """Two inputs."""
    return tanh(W @ h + U @ (x + z))


@cell
def of_none(h: H, *, W: Hom(H, H)) -> H:
    """No input."""
    return tanh(W @ h)


@cell
def of_square(h: R(n, n), x: R(m, n), *, W: Hom(R(m, n), R(n, n))) -> R(n, n):
    """An input of two axes."""
    return tanh(W @ x + h)


# --- a cell


def test_a_cell_is_a_layer_with_a_state_that_it_returns() -> None:
    assert isinstance(vanilla_rnn, Cell) and vanilla_rnn.name == "vanilla_rnn"
    assert vanilla_rnn.signature == "vanilla_rnn(h, x; W, U, b)"
    assert vanilla_rnn.arguments[0].variable.space == vanilla_rnn.output.space == R(n)
    assert vanilla_rnn.names[vanilla_rnn.output.operands[0]] == "z"


def test_what_is_no_state_and_no_parameter_is_input() -> None:
    @cell
    def with_givens(h: H, x: X, word: Index(k), rate: given(R()), *, W: Hom(X, H)) -> H:
        return sigmoid(W @ x) * h

    assert [a.name for a in inputs_of(with_givens)] == ["x", "word", "rate"]
    assert inputs_of(of_none) == ()


def test_the_first_component_of_a_state_is_shown() -> None:
    assert shown_state(lstm) == shown_state(vanilla_rnn) == H


def test_a_cell_returns_what_its_first_argument_is_of() -> None:
    with pytest.raises(SpaceError) as refused:

        @cell
        def projected(h: H, x: X, *, W: Hom(H, X)) -> X:
            return W @ h + x

    assert str(refused.value) == (
        "cell projected: the hidden state h is of R(n), but the cell returns R(m); a cell maps a "
        "state to the next one, so give the two one space"
    )


@pytest.mark.parametrize("first", ["parameter", "given"])
def test_the_first_argument_of_a_cell_is_a_state(first: str) -> None:
    with pytest.raises(SpaceError) as refused:
        if first == "parameter":

            @cell
            def stateless(*, b: H) -> H:
                return tanh(b)

        else:

            @cell
            def stateless(x: given(H), *, b: H) -> H:
                return x * b

    assert str(refused.value) == (
        "cell stateless: the first argument is the hidden state h of f(h; x; theta); declare it "
        "left of the *, of the returned space R(n)"
    )


def test_the_typed_core_refuses_too() -> None:
    with pytest.raises(SpaceError, match="a cell maps a state to the next one"):
        Cell("as_cell", readout.arguments, readout.output)


# --- stacks


def test_names_of_a_stack() -> None:
    """The input keeps its name and its sizes, all else is under the cell's label."""
    deep = stack("deep", lower=vanilla_rnn, upper=gru)
    assert isinstance(deep, Cell)
    assert deep.signature == (
        "deep(state, x; lower_W, lower_U, lower_b, upper_W, upper_U, upper_b, upper_c)"
    )
    assert str(deep.output.space) == "R(n) * R(upper_n)"
    assert list(map(str, deep.sizes)) == ["n", "upper_n", "m"]
    upper = {a.name: str(a.variable.space) for a in deep.arguments if a.name.startswith("upper")}
    assert upper["upper_U"] == "R(3, upper_n, n)" and upper["upper_W"] == "R(3, upper_n, upper_n)"


def test_a_stack_is_the_cells_one_above_the_other() -> None:
    """h1' = f1(h1; x), h2' = f2(h2; h1'), h3' = f3(h3; h2'), called by hand."""
    deep = stack("deep", a=vanilla_rnn, b=gru, c=vanilla_rnn)
    sizes = unequal_sizes(deep)
    values = draw_all([a.variable for a in deep.arguments], sizes)
    found = value(deep.output, values, sizes)
    named = {x.name: v for x, v in values.items()}
    below = named["x"]
    for position, (label, f) in enumerate({"a": vanilla_rnn, "b": gru, "c": vanilla_rnn}.items()):
        below = called(f, label, named["state"][position], below, named)
        assert close(found[position], below, ROUNDING)


def called(f, label: str, h, x, named):
    """f(h; x; theta) with the parameters of its label."""
    state, given_ = f.arguments[0].variable, inputs_of(f)[0].variable
    theta = {p: named[f"{label}_{p.name}"] for p in f.parameters}
    return value(f.output, {state: h, given_: x, **theta})


def test_of_a_pair_the_first_component_goes_up() -> None:
    """An LSTM on an LSTM takes h below and not c."""
    deep = stack("deep", lower=lstm, upper=lstm)
    assert str(deep.output.space) == "R(n) * R(n) * R(upper_n) * R(upper_n)"
    sizes = unequal_sizes(deep)
    values = draw_all([a.variable for a in deep.arguments], sizes)
    h1, c1, h2, c2 = value(deep.output, values, sizes)
    named = {x.name: v for x, v in values.items()}
    lower = called(lstm, "lower", named["state"][:2], named["x"], named)
    upper = called(lstm, "upper", named["state"][2:], lower[0], named)
    assert close((h1, c1), lower, ROUNDING) and close((h2, c2), upper, ROUNDING)
    other = called(lstm, "upper", named["state"][2:], lower[1], named)
    assert not np.allclose(h2, other[0], rtol=1e-3)


def test_a_stack_of_stacks_is_a_stack() -> None:
    """A stack is a cell like others; what it shows is its first component."""
    two = stack("two", lower=vanilla_rnn, upper=vanilla_rnn)
    four = stack("four", first=two, second=two)
    assert len(four.output.space.factors) == 4
    assert {"first_lower_W", "first_upper_U", "second_upper_b"} <= {a.name for a in four.arguments}
    assert shown_state(two) == H


def test_the_lowest_cell_may_have_any_inputs() -> None:
    assert (
        stack("s", a=of_two, b=vanilla_rnn).signature == "s(state, x, z; a_W, a_U, b_W, b_U, b_b)"
    )
    assert stack("s", a=of_none, b=vanilla_rnn).signature == "s(state; a_W, b_W, b_U, b_b)"


@layer
def plain(h: H, x: X, *, W: Hom(X, H)) -> H:
    """No cell."""
    return W @ x + h


REFUSED = {
    "one cell": (
        {"a": vanilla_rnn},
        "stack s: expected at least two cells, as in lower=f, upper=f, got 1",
    ),
    "a layer": (
        {"a": vanilla_rnn, "b": plain},
        "stack s: b must be a cell, declared with @cell or made by stack(..), got plain(h, x; W)",
    ),
    "no layer": (
        {"a": 3, "b": vanilla_rnn},
        "stack s: a must be a cell, declared with @cell or made by stack(..), got 3",
    ),
    "two inputs": (
        {"a": vanilla_rnn, "b": of_two},
        "stack s: b must have one input, the state below, got x, z; use a cell of one input",
    ),
    "no input": (
        {"a": vanilla_rnn, "b": of_none},
        "stack s: b must have one input, the state below, got none; use a cell of one input",
    ),
    "another space": (
        {"a": vanilla_rnn, "b": of_square},
        "stack s: b takes R(n, b_n), but below it is R(n); use cells that fit",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_a_stack_refuses(case: str) -> None:
    cells, sentence = REFUSED[case]
    with pytest.raises(SpaceError) as refused:
        stack("s", **cells)
    assert str(refused.value) == sentence


def test_a_label_is_a_name() -> None:
    with pytest.raises((SpaceError, ValueError), match="stack s: cell"):
        stack("s", **{"a": vanilla_rnn, "no name": vanilla_rnn})
