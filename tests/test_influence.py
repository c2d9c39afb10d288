"""The influence of the parameters on the state against derivatives of the unrolled state.

J is taken out of its arrays into the full matrix  d h[o] / d theta[i]  of each sample, and compared
with the state after a few steps of the cell, moved in one coordinate of theta at a time: by a
complex step, and by a central difference.
"""

from collections.abc import Sequence

import numpy as np
import pytest
import sympy
from points import draw
from recurrent_cells import CELLS, ROWS, flat_of, influence_of, run
from unrolled import Unrolled, central, complex_step, relative

from derive import dims
from derive.calculus.terms import shape_of
from derive.kernels.lowering.lower import lower
from derive.kernels.statements.loops import Gemm, Statement
from derive.language.walk import storage
from derive.models.programs import BATCH, Program
from derive.recurrence.influence import bar_name
from derive.recurrence.ties import composed

EXACT, BY_DIFFERENCES = 1e-13, 1e-8  # of the largest entry of the group
n, m = dims("n m")
cells = pytest.mark.parametrize("name", CELLS)


# --- J is the derivative of the state


@cells
def test_J_is_the_derivative_of_the_state(name: str) -> None:
    at = Unrolled(name)
    J = at.carried(at.start(), at.given)
    for x in at.t.parameters:
        found = at.full(J, x)
        assert relative(found, at.derivative(x, complex_step)) < EXACT, x.name
        assert relative(found, at.derivative(x, central)) < BY_DIFFERENCES, x.name


@cells
def test_J_by_the_initial_state_begins_with_the_identity(name: str) -> None:
    at = Unrolled(name, "learned")
    width = flat_of(at.values[at.t.h.name], ROWS).shape[1]
    assert np.array_equal(at.full(at.start(), at.t.initial), np.stack([np.eye(width)] * ROWS))
    found = at.full(at.carried(at.start(), at.given), at.t.initial)
    assert relative(found, at.derivative(at.t.initial, complex_step)) < EXACT
    assert relative(found, at.derivative(at.t.initial, central)) < BY_DIFFERENCES


def test_without_a_learned_initial_state_it_has_no_columns() -> None:
    for name in CELLS:
        assert influence_of(name).step.initial == ()


@cells
def test_readout_and_parting_are_J_transposed(name: str) -> None:
    """theta_bar = sum over samples and state of J . eps, for every parameter (5.12)."""
    at = Unrolled(name, "learned")
    J, t, after = at.influence, at.t, at.carried(at.start(), at.given)
    eps = draw(t.eps.space, at.sizes, np.random.default_rng(8))
    found = run(J.readout(), {**after, t.eps.name: eps}, at.sizes)
    parted = J.parted()
    found |= {} if parted is None else run(parted, found, at.sizes)
    for x in t.parameters:
        bars = [found[bar_name(leaf)].ravel() for leaf in storage(x)]
        expected = np.einsum("soi,so->i", at.full(after, x), flat_of(eps, ROWS))
        # sums of at most 100 products that cancel by less than a factor 100
        assert relative(np.concatenate(bars), expected) < EXACT
    bars = [found[bar_name(leaf)].reshape(ROWS, -1) for leaf in storage(t.initial)]
    expected = np.einsum("soi,so->si", at.full(after, t.initial), flat_of(eps, ROWS))
    assert relative(np.concatenate(bars, axis=1), expected) < EXACT


# --- what is stored


def stored(name: str, initial: str = "fixed") -> dict[str, tuple[str, ...]]:
    """The shape of every array of J, by its name."""
    stores = influence_of(name, initial).stores
    return {s.variable.name: tuple(map(str, shape_of(s.variable)[1:])) for s in stores}


def side_by_side(name: str) -> list[set[str]]:
    """The parameters that share an array, component by component."""
    stores = influence_of(name).stores
    return [{bar_name(x).removeprefix("cell_").removesuffix("_bar") for x in s.by} for s in stores]


FULL = {
    "vanilla_rnn": [{"W", "U", "b"}],
    "leaky_rnn": [{"W", "U", "b", "alpha"}],
    "lstm": [{"W", "U", "b"}] * 2,
    "peephole_lstm": [{"W", "U", "b", "p"}] * 2,
    "gru": [{"W", "U", "b", "c"}],
    "gru_reset_before": [{"W", "U", "b", "V"}],
    "reversed_rnn": [{"W", "U", "b"}],
    "skew_rnn": [{"W", "U"}],
    "lookup_rnn": [{"W", "E"}],
    "tied_rnn": [{"W", "U"}],
}


@pytest.mark.parametrize("name", FULL)
def test_parameters_whose_influence_is_full_share_one_array(name: str) -> None:
    assert side_by_side(name) == FULL[name]
    for s in influence_of(name).stores:
        (n,) = shape_of(influence_of(name).step.h[s.component])[1:]
        whole = sum(sympy.Mul(*shape_of(x)) for x in s.by)
        assert sympy.expand(shape_of(s.variable)[-1] - whole) == 0
        assert shape_of(s.variable)[:-1] == (BATCH, n) and not s.tied


def test_a_diagonal_cell_stores_as_many_numbers_as_it_has_parameters() -> None:
    expected = {"influence_w": ("n",), "influence_U": ("n", "m"), "influence_b": ("n",)}
    assert stored("independent_rnn") == expected


def test_cells_in_pairs_store_two_numbers_for_each_parameter() -> None:
    found = stored("rotation_rnn")
    for a in (0, 1):
        assert found[f"influence_{a}_a"] == found[f"influence_{a}_b"] == ("n",)
        assert found[f"influence_{a}_U_0"] == found[f"influence_{a}_U_1"] == ("n", "m")
    assert len(found) == 8


def test_columns_that_do_not_mix_are_stored_once() -> None:
    """D f is W beside the identity of the columns: their axis is tied, that of the rows is not."""
    assert stored("columns_rnn")["influence_U"] == ("n", "p", "n", "m")
    assert stored("columns_rnn")["influence_W"] == ("n", "p", "n**2")
    tied = {bar_name(s.by[0]): set(s.tied) for s in influence_of("columns_rnn").stores}
    assert tied == {"cell_W_bar": set(), "cell_U_bar": {(2, 1)}}


def test_a_learned_initial_state_of_a_full_cell_has_one_full_block() -> None:
    assert stored("vanilla_rnn", "learned")["influence_h_reset"] == ("n", "n")
    assert stored("independent_rnn", "learned")["influence_h_reset"] == ("n",)


def test_what_lies_above_has_no_influence_on_what_lies_below() -> None:
    """A stacked cell: the block is always zero, and there is no array for it."""
    J = influence_of("deep_rnn")
    lower_state, upper_state = 0, 1
    for x in J.step.parameters:
        assert J.store(upper_state, x) is not None
        assert (J.store(lower_state, x) is None) == x.name.startswith("cell_upper_")
    with_lstm = influence_of("lstm_under_rnn")
    for x in with_lstm.step.parameters:
        below = [with_lstm.store(a, x) is None for a in (0, 1)]
        assert below == [x.name.startswith("cell_upper_")] * 2


def test_no_cell_is_known_by_its_name() -> None:
    """Declared anew under other names, a diagonal cell is as compressed, a full one as full."""
    assert set(stored("another_diagonal").values()) == {("k",), ("k", "m")}
    assert [s.tied for s in influence_of("another_full").stores] == [frozenset()]


# --- ties


def test_ties_of_a_product() -> None:
    """(q, r) and (r, p) make (q, p): every pair that one axis in the middle links."""
    left, right = frozenset({(0, 0), (1, 2)}), frozenset({(0, 0), (2, 1), (1, 3)})
    assert composed(left, right) == {(0, 0), (1, 1)}
    assert composed(left, frozenset()) == composed(frozenset(), right) == frozenset()


# --- flops of the product with J


def wide_products(program: Program, columns: sympy.Expr) -> sympy.Expr:
    """The flops per sample of a program's matrix products with so many columns."""
    return sympy.expand(matrix_products(lower(program).steps, columns) / BATCH)


def matrix_products(statements: Sequence[Statement], columns: sympy.Expr) -> sympy.Expr:
    """2 M N K of every matrix product of that width, times what it is repeated."""
    total = sympy.S.Zero
    for statement in statements:
        if isinstance(statement, Gemm) and sympy.expand(statement.N - columns) == 0:
            total += 2 * statement.M * statement.N * statement.K
        repeated = getattr(statement, "extent", sympy.S.One)
        total += repeated * matrix_products(getattr(statement, "body", ()), columns)
    return total


RTRL = {  # flops of the product D f . J, p = n + m + 1 numbers in a row of [W U b]
    "vanilla_rnn": 2 * n**3 * (n + m + 1),
    "leaky_rnn": 2 * n**3 * (n + m + 1) + 2 * n**2,  # the rate alpha is one more column
    "lstm": 16 * n**3 * (n + m + 1),
    "gru": 6 * n**3 * (n + m + 1) + 2 * n**3,  # a bias c inside the reset
    "gru_reset_before": 6 * n**3 * (n + m + 1),
}


@pytest.mark.parametrize("name", RTRL)
def test_flops_of_the_product_with_J(name: str) -> None:
    J = influence_of(name)
    columns = shape_of(J.stores[0].variable)[-1]
    found = wide_products(J.forward(), columns)
    assert sympy.expand(found - RTRL[name]) == 0
