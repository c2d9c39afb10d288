"""Cells that are in no library, the step of a cell as programs, and values to run them on."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import sympy
from points import draw

from derive import (
    Cell,
    Hom,
    Index,
    R,
    cell,
    dims,
    form,
    indices,
    library,
    recurrent,
    sigmoid,
    stack,
    tanh,
)
from derive.calculus.maps import variables_of
from derive.evidence.checks.drawing import unequal_sizes
from derive.language.expressions import Variable, contraction
from derive.language.forms import make_form
from derive.language.reference import values_of
from derive.library.rnn import lstm, vanilla_rnn
from derive.models.programs import BATCH, Program, Result
from derive.recurrence.hybrid import Hybrid
from derive.recurrence.influence import Influence
from derive.recurrence.selections import Names, masks_of
from derive.recurrence.transitions import Transition

n, m, k, p = dims("n m k p")
H, X, Y = R(n), R(m), R(k)
i, j, c = indices("i j c")
flip = form("flip", x=(n - 1 - i,), to=(i,), ranges={i: n})
transpose = form("transpose", A=(i, j), to=(j, i))


@cell
def grid_rnn(h: R(n, p), x: X, *, W: Hom(H, H), V: Hom(R(p), R(p)), U: Hom(X, R(n, p))) -> R(n, p):
    """A state of two axes: W mixes the rows, V the columns."""
    by_rows = form("by_rows", A=(i, j), h=(j, c), to=(i, c))
    by_columns = form("by_columns", A=(i, j), h=(c, j), to=(c, i))
    return tanh(by_rows(W, h) + by_columns(V, h) + U @ x)


@cell
def uneven_rnn(s: H * Y, x: X, *, W: Hom(H * Y, H), U: Hom(X, H), B: Hom(H, Y)) -> H * Y:
    """A state of two components of different sizes; the second one leaks."""
    _, q = s
    h_next = tanh(W @ s + U @ x)
    return h_next, sigmoid(B @ h_next) * q


@cell
def reversed_rnn(h: H, x: X, *, W: Hom(H, H), U: Hom(X, H), b: H) -> H:
    """A permutation between the product and the nonlinearity."""
    return tanh(flip(W @ h) + U @ x + b)


@cell
def skew_rnn(h: H, x: X, *, W: Hom(H, H), U: Hom(X, H)) -> H:
    """W - W* between the state and the nonlinearity."""
    return tanh(W @ h - transpose(W) @ h + U @ x)


@cell
def shifted_rnn(h: H, x: X, *, W: Hom(H, H), U: Hom(X, H)) -> H:
    """Every unit is driven by the next one's sum; beyond the last one there is none."""
    shift = form("shift", x=(i + 1,), to=(i,), ranges={i: n})
    return tanh(shift(W @ h) + U @ x)


@cell
def diagonal_matrix_rnn(h: H, x: X, *, d: H, U: Hom(X, H)) -> H:
    """A diagonal matrix, written as one, applied to the state."""
    diagonal = form("diagonal", x=(i,), to=(i, i))
    return tanh(diagonal(d) @ h + U @ x)


@cell
def lookup_rnn(h: H, word: Index(m), *, W: Hom(H, H), E: R(m, n)) -> H:
    """The input is a class index, which looks up a row."""
    read = make_form([(j, i), (i,)], {j: m, i: n}, [(j, ())])
    return tanh(W @ h + contraction(H, read, 1, (E,), (word,)))


@cell
def tied_rnn(h: H, x: X, *, W: Hom(H, H), U: Hom(X, H)) -> H:
    """One matrix, twice."""
    return tanh(W @ sigmoid(W @ h + U @ x))


@cell
def columns_rnn(h: R(n, p), x: X, *, W: Hom(H, H), U: Hom(X, R(n, p))) -> R(n, p):
    """A state of two axes whose columns do not see one another."""
    by_rows = form("by_rows", A=(i, j), h=(j, c), to=(i, c))
    return tanh(by_rows(W, h) + U @ x)


@cell
def another_full(a: Y, z: X, *, U: Hom(Y, Y), W: Hom(X, Y)) -> Y:
    """A full cell under names that no other has."""
    return sigmoid(U @ a + W @ z)


@cell
def another_diagonal(a: Y, z: X, *, U: Y, W: Hom(X, Y)) -> Y:
    """A diagonal cell under names that another one has for full maps."""
    return sigmoid(U * a + W @ z)


lstm_under_rnn = stack("lstm_under_rnn", lower=lstm, upper=vanilla_rnn)

ODD = (grid_rnn, uneven_rnn, reversed_rnn, skew_rnn, lookup_rnn, tied_rnn)
ODD += (
    diagonal_matrix_rnn,
    shifted_rnn,
    columns_rnn,
    another_full,
    another_diagonal,
    lstm_under_rnn,
)
CELLS: dict[str, Cell] = {
    **{name: layer for name, layer in library.layers().items() if isinstance(layer, Cell)},
    **{one.name: one for one in ODD},
}

# --- the step of a cell


@cache
def transition_of(name: str, initial: str = "fixed") -> Transition:
    """The programs of one of the cells."""
    network = recurrent(f"{name}_{initial}", CELLS[name], initial=initial)
    names = Names.of(network)
    return Transition(network, network.cells[0], names, masks_of(network, names))


def influence_of(name: str, initial: str = "fixed") -> Influence:
    """Its influence and the programs that carry it on: one, however it is asked for."""
    return _influence_of(name, initial)


@cache
def _influence_of(name: str, initial: str) -> Influence:
    return Influence(transition_of(name, initial))


@cache
def hybrid_of(name: str, initial: str = "fixed") -> Hybrid:
    """Its blocks."""
    return Hybrid(influence_of(name, initial))


# --- values, and programs run on them by the reference

ROWS = 2
Sizes = Mapping[sympy.Symbol, int]
Values = dict[str, Any]


def sizes_of(t: Transition, rows: int = ROWS) -> dict[sympy.Symbol, int]:
    """The sizes 3, 4, 5, .. of a cell, and those of the batch."""
    return {BATCH: rows, **unequal_sizes(t.cell.function)}


def arguments_of(t: Transition, rng: np.random.Generator, rows: int = ROWS) -> Values:
    """Values by name of all that F is given, every sample active and none reset."""
    sizes = sizes_of(t, rows)
    values = {a.name: draw(a.variable.space, sizes, rng) for a in t.layer.arguments}
    if t.reset is not None:
        values[t.reset.name] = np.zeros(rows)
    return {**values, t.active.name: np.ones(rows)}


def by_variable(variables: Sequence[Variable], values: Values) -> dict[Variable, Any]:
    """The values of some variables, found by their names."""
    return {x: values[x.name] for x in variables}


def run(program: Program, values: Values, sizes: Sizes) -> Values:
    """The results of a program by name, from nothing but its arguments."""
    nodes = [result.node for result in program.results]
    assert set(variables_of(*nodes)) <= {a.variable for a in program.arguments}
    given = by_variable([a.variable for a in program.arguments], values)
    found = values_of(nodes, given, sizes)
    pairs = zip(program.results, found, strict=True)
    return {r.name: _set(r, value, values, given, sizes) for r, value in pairs}


def _set(result: Result, value: Any, values: Values, given: Values, sizes: Sizes) -> Any:
    """A result, or what was there for those samples that it is not set for."""
    if result.where is None:
        return value
    rows = values_of([result.where], given, sizes)[0] != 0
    return np.where(rows.reshape(-1, *[1] * (value.ndim - 1)), value, values[result.name])


def reached(t: Transition, values: Values, sizes: Sizes, rows: int = ROWS) -> Values:
    """Which samples a step is reached in, where a loss hears of the state after it."""
    heard = {t.heard.name: np.ones(rows), t.source.name: np.zeros(rows)}
    return run(t.reaching(), {**values, **heard}, sizes)


def flat_of(value: Any, rows: int) -> np.ndarray:
    """The numbers of a batch of elements, a row for each sample."""
    if isinstance(value, tuple):
        return np.concatenate([flat_of(part, rows) for part in value], axis=1)
    return np.asarray(value).reshape(rows, -1)


def nudged(value: Any, number: int, step: complex, rows: int = 1) -> Any:
    """An element moved by a step in one coordinate, or all samples of a batch in one of theirs.

    Coordinates are counted through the arrays of a direct product.
    """
    moved = []
    for array in arrays(value):
        new = np.array(array, np.result_type(array.dtype, type(step))).reshape(rows, -1)
        if 0 <= number < new.shape[-1]:
            new[..., number] += step
        number -= new.shape[-1]
        moved.append(new.reshape(array.shape))
    return nested_like(value, iter(moved))


def nested_like(value: Any, flat: Iterator[np.ndarray]) -> Any:
    """Arrays in the nesting of another element."""
    if isinstance(value, tuple):
        return tuple(nested_like(part, flat) for part in value)
    return next(flat)


def arrays(value: Any) -> list[np.ndarray]:
    """The arrays of an element of a space."""
    if isinstance(value, tuple):
        return [a for part in value for a in arrays(part)]
    return [np.asarray(value)]
