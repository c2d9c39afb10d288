"""The programs of one step of a cell against the cell itself, by the reference.

The derivative along a direction is a complex step, x + 1e-30 i v: it has no truncation error and
the calculus has no part in it.
"""

import numpy as np
import pytest
from points import EPS, close, draw, moved, pairing
from recurrent_cells import (
    CELLS,
    ROWS,
    arguments_of,
    by_variable,
    flat_of,
    reached,
    run,
    sizes_of,
    transition_of,
)

from derive import bidirectional
from derive.language.reference import value, values_of
from derive.library.rnn import readout_of_both, vanilla_rnn
from derive.recurrence.selections import Names, masks_of
from derive.recurrence.transitions import Transition

STEP = 1e-30
# Between two evaluations of one cell lie at most 30 roundings and 4 ulp of ten nonlinear functions;
# no sum cancels by more than a factor 10: 1000 eps, relative to the largest entry of the group.
ROUNDING = 1000
cells = pytest.mark.parametrize("name", CELLS)


def point(name: str):
    """The transition of a cell, values for it and the cell's function at single samples."""
    t = transition_of(name)
    return t, arguments_of(t, np.random.default_rng(5)), sizes_of(t)


def single(t: Transition, values, s: int, state):
    """f(state; x_s; theta) of one sample, by the cell as it was declared."""
    f = t.cell.function
    given = {}
    for a in f.arguments:
        batched = t.by_name[a.name] not in t.parameters
        given[a.variable] = row(values[a.name], s) if batched else values[a.name]
    given[t.cell.state] = state
    return value(f.output, given, sizes_of(t))


def row(found, s: int):
    """One sample of a batch."""
    return tuple(row(part, s) for part in found) if isinstance(found, tuple) else found[s]


# --- the masked step


@cells
def test_a_step_is_the_cell_where_it_is_active_and_not_reset(name: str) -> None:
    t, values, sizes = point(name)
    found = run(t.forward(saving=False), values, sizes)[t.next.name]
    for s in range(ROWS):
        expected = single(t, values, s, row(values[t.h.name], s))
        assert close(row(found, s), expected, ROUNDING)


@cells
def test_beyond_its_length_a_sample_holds_its_state(name: str) -> None:
    t, values, sizes = point(name)
    values[t.active.name] = np.array([0.0, 1.0])
    found = run(t.forward(saving=False), values, sizes)[t.next.name]
    held, expected = row(values[t.h.name], 0), single(t, values, 1, row(values[t.h.name], 1))
    assert close(row(found, 0), held, 0) and close(row(found, 1), expected, ROUNDING)


@cells
def test_a_reset_begins_anew(name: str) -> None:
    t, values, sizes = point(name)
    values[t.reset.name] = np.array([1.0, 0.0])
    found = run(t.forward(saving=False), values, sizes)[t.next.name]
    for s, state in enumerate((t.initial.name, t.h.name)):
        expected = single(t, values, s, row(values[state], s))
        assert close(row(found, s), expected, ROUNDING)


def test_the_forward_program_that_saves_gives_the_same_state() -> None:
    for name in CELLS:
        t, values, sizes = point(name)
        plain, saving = (run(t.forward(saving), values, sizes) for saving in (False, True))
        assert close(plain[t.next.name], saving[t.next.name], 0)
        assert list(plain) == [t.next.name]
        assert set(saving) == {t.next.name, *(x.name for x in t.saved.values())}


# --- the backward step


def backward(t: Transition, values, sizes):
    """All cotangents that the two programs give, at a random eps and no error of this time."""
    rng = np.random.default_rng(7)
    eps = {t.eps.name: draw(t.eps.space, sizes, rng), t.error.name: draw(t.error.space, sizes, rng)}
    saved = run(t.forward(saving=True), values, sizes)
    given = {**values, **saved, **eps, **reached(t, values, sizes)}
    back = run(t.backward(), given, sizes)
    late = run(t.adjoints(), {**given, **back}, sizes)
    return eps, back, late


@cells
def test_the_backward_step_is_the_transposed_tangent(name: str) -> None:
    """<eps, D F . v> = <h_bar, h_dot> + <initial_bar, initial_dot> + <x_bar, x_dot> + ..

    The sum goes over all parameters too; one sample is reset.
    """
    t, values, sizes = point(name)
    values[t.reset.name] = np.array([1.0, 0.0])
    rng = np.random.default_rng(9)
    dots = {x: draw(x.space, sizes, rng) for x in t.layer.differentiable}
    given = by_variable([a.variable for a in t.layer.arguments], values)
    there = {x: moved(v, dots[x], 1j * STEP) if x in dots else v for x, v in given.items()}
    (F_dot,) = values_of([t.output], there, sizes)
    eps, back, late = backward(t, values, sizes)
    left = pairing(eps[t.eps.name], parts(F_dot, lambda a: a.imag / STEP))
    h_bar = minus(back[t.eps_before], eps[t.error.name])
    bars = {t.h: h_bar, t.initial: back[f"{t.initial.name}_bar"]}
    bars |= {x: late[f"{x.name}_bar"] for x in (*t.parameters, *t.inputs_wanted)}
    assert bars.keys() == dots.keys()
    each = [pairing(bars[x], dots[x]) for x in dots]
    scale = sum(abs(a) for a in each)  # of the sum's largest terms, which may cancel
    assert abs(left - sum(each)) <= ROUNDING * EPS * scale


def parts(found, change):
    if isinstance(found, tuple):
        return tuple(parts(part, change) for part in found)
    return change(np.asarray(found))


def minus(left, right):
    if isinstance(left, tuple):
        return tuple(map(minus, left, right))
    return left - right


@cells
def test_the_adjoints_behind_the_cut_are_those_of_the_whole_step(name: str) -> None:
    """deltas, then one product: nabla* F . eps and D*_x F . eps as the calculus has them uncut."""
    t, values, sizes = point(name)
    values[t.reset.name] = np.array([1.0, 0.0])
    eps, _, late = backward(t, values, sizes)
    given = by_variable([a.variable for a in t.layer.arguments], values) | {t.eps: eps[t.eps.name]}
    for x in (*t.parameters, *t.inputs_wanted):
        whole = t.layer.derivative(x.name).adjoint @ t.eps
        assert close(late[f"{x.name}_bar"], value(whole, given, sizes), ROUNDING)


@cells
def test_a_sample_beyond_its_length_sends_its_cotangent_through(name: str) -> None:
    """eps_before = error + eps, and nothing is added to the parameters."""
    t, values, sizes = point(name)
    values[t.active.name] = np.zeros(ROWS)
    eps, back, late = backward(t, values, sizes)
    through = minus(back[t.eps_before], eps[t.error.name])
    # one addition and one subtraction of numbers of the size of eps and the error
    largest = np.abs(flat_of(back[t.eps_before], ROWS)).max()
    assert np.abs(flat_of(minus(through, eps[t.eps.name]), ROWS)).max() <= 4 * EPS * largest
    assert all(not np.any(flat_of(late[f"{x.name}_bar"], 1)) for x in t.parameters)


@cells
def test_a_reset_cuts_what_comes_from_before(name: str) -> None:
    """No cotangent goes to h where a sample is reset: it goes to the state that it begins from."""
    t, values, sizes = point(name)
    values[t.reset.name] = np.array([1.0, 0.0])
    eps, back, _ = backward(t, values, sizes)
    h_bar = flat_of(minus(back[t.eps_before], eps[t.error.name]), ROWS)
    initial_bar = flat_of(back[f"{t.initial.name}_bar"], ROWS)
    assert not np.any(h_bar[0]) and np.any(h_bar[1])
    assert np.any(initial_bar[0]) and not np.any(initial_bar[1])


# --- names and arguments


@cells
def test_the_adjoints_read_no_cotangent_of_the_state(name: str) -> None:
    """What is summed over the times reads what is kept for each time: eps itself is not needed."""
    t = transition_of(name)
    read = {a.variable for a in t.adjoints().arguments}
    assert set(t.deltas.values()) <= read or not t.deltas
    assert t.error not in read


def test_what_is_class_index_has_no_cotangent() -> None:
    t = transition_of("lookup_rnn")
    assert [x.name for x in t.inputs] == ["word"] and t.inputs_wanted == []


def test_names_are_new() -> None:
    """No variable that a step makes is called like an argument, a size or another one."""
    for name in CELLS:
        t = transition_of(name)
        made = [t.first, t.next, t.eps, t.error, *t.saved.values(), *t.deltas.values()]
        words = [x.name for x in made]
        assert len(set(words)) == len(words)
        assert not set(words) & {a.name for a in t.layer.arguments}
        assert not set(words) & {str(size) for size in t.layer.sizes}


def test_where_a_cell_runs_backward_there_is_no_reset() -> None:
    network = bidirectional(
        "both", forward=vanilla_rnn, backward=vanilla_rnn, prediction=readout_of_both
    )
    names = Names.of(network)
    masks_ = masks_of(network, names)
    assert masks_.reset is None
    for cell in network.cells:
        t = Transition(network, cell, names, masks_)
        assert t.reset is None and t.initial_bar is None
        assert t.initial not in [a.variable for a in t.layer.arguments]
