"""Kernels over sequences: BPTT, RTRL and the hybrid are one gradient, in pieces and batches.

Tolerances are relative to the largest entry of a group.  METHODS: both methods sum the same terms
in another order, T = 50 steps of at most 60 roundings with a transition of norm up to 1.2, whose
powers stay below 1.2^50 = 9e3: 50 * 60 * eps/2 = 3e-13 of the terms, which cancel by less than 3.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from recurrent_networks import (
    NETWORKS,
    OFFLINE,
    ONLINE,
    data,
    distance,
    flat,
    parameters,
)

EPS = np.finfo(float).eps
METHODS = 1e-12
LOSSES = {**ONLINE, **OFFLINE}
SAME = 8 * EPS  # the same sums, in blocks of another length
EXACT = [
    ("rtrl", {}),
    *(("hybrid", {"block": block}) for block in (1, 2, 7, 49, 50, 55)),
    ("truncated_bptt", {"every": 50, "down": 50}),
    ("truncated_bptt", {"every": 60, "down": 70}),
]


class Case:
    """A network's kernels with parameters and data of T times and B samples."""

    def __init__(self, kernels: Any, name: str, times: int = 50, batch: int = 3) -> None:
        self.network, rng = NETWORKS[name], np.random.default_rng(5)
        self.call = kernels[name].recurrence
        self.theta = parameters(self.network, rng)
        self.data = data(self.network, times, batch, rng)
        self.times, self.batch, self.rng = times, batch, rng

    def gradient(self, *pieces: Any, **options: Any) -> Any:
        return self.call.gradient(self.theta, *(pieces or self.data), **options)

    def ragged(self) -> dict[str, Any]:
        """Lengths 0, 1 and T, targets missing at some steps, resets where there are any."""
        shape = (self.times, self.batch)
        options: dict[str, Any] = {"lengths": np.array([self.times, 0, 1] + [4] * (self.batch - 3))}
        options["weight"] = self.rng.random(shape) * (self.rng.random(shape) < 0.6)
        if self.call.reset:
            options["reset"] = (self.rng.random(shape) < 0.15).astype(float)
        return options


@pytest.mark.parametrize("name", ONLINE)
@pytest.mark.parametrize(("method", "sizes"), EXACT, ids=lambda v: str(v))
def test_every_method_gives_one_gradient(recurrent_kernels, name, method, sizes) -> None:
    """Theorems 5.1.3 and 5.1.7, and lemma 5.1.6 split, for every parameter, h_0 included."""
    case = Case(recurrent_kernels, name)
    expected = case.gradient(method="bptt")
    found = case.gradient(method=method, **sizes)
    assert distance(found.by, expected.by) <= METHODS
    assert abs(found.loss - expected.loss) <= SAME * abs(expected.loss)
    for a, b in zip(flat(found.last), flat(expected.last), strict=True):
        assert np.array_equal(a, b)


@pytest.mark.parametrize("name", ONLINE)
@pytest.mark.parametrize(("method", "sizes"), EXACT[:3], ids=lambda v: str(v))
def test_every_method_with_lengths_missing_targets_and_resets(
    recurrent_kernels, name, method, sizes
) -> None:
    case = Case(recurrent_kernels, name, times=9)
    options = case.ragged()
    expected = case.gradient(method="bptt", **options)
    found = case.gradient(method=method, **sizes, **options)
    assert distance(found.by, expected.by) <= METHODS


@pytest.mark.parametrize("name", LOSSES)
def test_bptt_is_the_difference_of_the_loss(recurrent_kernels, name) -> None:
    """Along random directions of every parameter; central differences are off by h^2 J''' / 6 and
    eps J / h: with h = 6e-6 both are below 1e-9 of |J| and the derivative's scale."""
    case = Case(recurrent_kernels, name, times=6)
    options = case.ragged()
    found, h = case.gradient(**options), 6e-6
    assert found.by.keys() == case.theta.keys() - set(case.call.fixed)
    for key in found.by:
        arrays, bars = flat(case.theta[key]), flat(found.by[key])
        for number, (array, bar) in enumerate(zip(arrays, bars, strict=True)):
            v = case.rng.normal(size=array.shape)
            pair = []
            for sign in (1, -1):
                moved = [a + sign * h * v if j == number else a for j, a in enumerate(arrays)]
                theta = {**case.theta, key: moved[0] if len(moved) == 1 else tuple(moved)}
                pair.append(case.call.loss(theta, *case.data, **options)[0])
            scale = max(abs(found.loss), float(np.abs(bar * v).sum()))
            difference = (pair[0] - pair[1]) / (2 * h)
            assert abs(difference - np.sum(bar * v)) <= 1e-8 * scale, (key, number)


def differences(case: Case, names: list[str], h: float = 6e-6) -> list[np.ndarray]:
    """d h_T / d theta of one sample, a matrix for each component of the state; columns are the
    entries of these parameters, one after the other."""
    columns = []
    for key in names:
        array = np.array(case.theta[key])
        for entry in np.ndindex(array.shape):
            pair = []
            for sign in (1, -1):
                moved = array.copy()
                moved[entry] += sign * h
                theta = {**case.theta, key: moved}
                pair.append(case.call.forward(theta, *case.data[: len(case.call.inputs)])[-1])
            arrays = zip(flat(pair[0]), flat(pair[1]), strict=True)
            columns.append([(up[0] - down[0]).ravel() / (2 * h) for up, down in arrays])
    return [np.array(rows).T for rows in zip(*columns, strict=True)]


@pytest.mark.parametrize(
    "name", ["vanilla_rnn", "lstm", "gru", "gru_reset_before", "peephole_lstm", "tied", "reversing"]
)
@pytest.mark.parametrize("method", ["rtrl", "hybrid"])
def test_a_full_influence_is_the_difference_of_the_state(recurrent_kernels, name, method) -> None:
    """Full influences lie side by side, in the order of the parameters, row-major: J[s, i, column].

    Central differences with h = 6e-6: h^2 / 6 and eps / h are below 1e-10 of the largest entry.
    """
    case = Case(recurrent_kernels, name, times=5, batch=1)
    block = {"block": 2} if method == "hybrid" else {}
    influence = case.gradient(method=method, **block).influence
    expected = differences(case, [p for p in case.call.parameters if p.startswith("cell_")])
    for number, matrix in enumerate(expected):
        assert np.abs(influence[number][0] - matrix).max() <= 1e-8 * np.abs(matrix).max()


def test_a_compressed_influence_is_the_diagonal_of_the_difference(recurrent_kernels) -> None:
    """Where D f is diagonal, J has n (m + 2) numbers; all other differences are zero."""
    case = Case(recurrent_kernels, "independent_rnn", times=5, batch=1)
    w, U, b, _ = case.gradient(method="rtrl").influence
    n, m = case.theta["cell_U"].shape
    (matrix,) = differences(case, ["cell_w", "cell_U", "cell_b"])
    parts = matrix[:, :n], matrix[:, n : n + n * m].reshape(n, n, m), matrix[:, n + n * m :]
    for stored, part in zip((w[0], U[0], b[0]), parts, strict=True):
        diagonal = np.array([part[i, i] for i in range(n)])
        assert stored.shape == diagonal.shape
        assert np.abs(stored - diagonal).max() <= 1e-8 * np.abs(diagonal).max()
        off = part.copy()
        off[range(n), range(n)] = 0
        assert np.abs(off).max() == 0


@pytest.mark.parametrize("name", LOSSES)
def test_a_batch_is_its_samples(recurrent_kernels, name) -> None:
    case = Case(recurrent_kernels, name, times=7)
    weight = case.rng.random((7, 3))
    whole = case.gradient(weight=weight)
    total: dict[str, Any] = {}
    for s in range(3):
        alone = case.gradient(*(a[:, s] for a in case.data), weight=weight[:, s])
        for key, value in alone.by.items():
            parts = flat(value)
            before = flat(total[key]) if key in total else [0.0] * len(parts)
            total[key] = tuple(x + y for x, y in zip(before, parts, strict=True))
        for a, b in zip(flat(alone.last), flat(whole.last), strict=True):
            assert np.array_equal(a, b[s])
    total = {key: v[0] if len(v) == 1 else v for key, v in total.items()}
    assert distance(total, whole.by) <= SAME


@pytest.mark.parametrize("name", ONLINE)
@pytest.mark.parametrize(("method", "sizes"), [("rtrl", {}), ("hybrid", {"block": 3})])
def test_pieces_are_the_whole(recurrent_kernels, name, method, sizes) -> None:
    """State and influence are what a piece leaves to the next; one of the pieces is empty."""
    case = Case(recurrent_kernels, name, times=9)
    options = case.ragged()
    lengths = options.pop("lengths")
    options["active"] = (np.arange(9)[:, None] < lengths).astype(float)
    whole = case.gradient(method=method, **sizes, **options)
    total: dict[str, list[Any]] = {}
    state = influence = None
    for begin, end in ((0, 4), (4, 4), (4, 5), (5, 9)):
        part = slice(begin, end)
        piece = case.gradient(
            *(a[part] for a in case.data),
            method=method,
            **sizes,
            **{key: value[part] for key, value in options.items()},
            state=state,
            influence=influence,
        )
        state, influence = piece.last, piece.influence
        for key, value in piece.by.items():
            parts = flat(value)
            before = total.get(key, [0.0] * len(parts))
            total[key] = [x + y for x, y in zip(before, parts, strict=True)]
    found = {key: v[0] if len(v) == 1 else tuple(v) for key, v in total.items()}
    assert distance(found, whole.by) <= METHODS
    for a, b in zip(flat(state), flat(whole.last), strict=True):
        assert np.array_equal(a, b)


@pytest.mark.parametrize("name", LOSSES)
def test_a_length_cuts_the_sequence_off(recurrent_kernels, name) -> None:
    """What lies beyond a length is not read, whatever it is; neither are targets of weight 0."""
    case = Case(recurrent_kernels, name, times=6)
    lengths, weight = np.array([6, 2, 0]), case.rng.random((6, 3))
    weight[1] = 0
    dirty = [np.array(a) for a in case.data]
    for a in dirty:
        if a.dtype.kind == "f":
            a[2:, 1] = a[:, 2] = np.nan
    count = len(case.call.inputs)
    for a in dirty[count:]:
        if a.dtype.kind == "f":
            a[1] = np.nan
    whole = case.gradient(*dirty, lengths=lengths, weight=weight)
    long = case.gradient(*(a[:, 0] for a in case.data), weight=weight[:, 0])
    short = case.gradient(*(a[:2, 1] for a in case.data), weight=weight[:2, 1])
    for key in whole.by.keys() - set(case.call.initial):
        pairs = zip(*(flat(g.by[key]) for g in (whole, long, short)), strict=True)
        for found, one, other in pairs:
            scale = np.abs(one).max() + np.abs(other).max()
            assert np.abs(found - (one + other)).max() <= SAME * scale, key
    for a, b in zip(flat(whole.last), flat(short.last), strict=True):
        assert np.array_equal(a[1], b)


@pytest.mark.parametrize("name", ONLINE)
def test_sequences_of_length_zero_and_one(recurrent_kernels, name) -> None:
    case = Case(recurrent_kernels, name, times=1, batch=2)
    for method, sizes in (("rtrl", {}), ("hybrid", {"block": 4}), ("bptt", {})):
        none = case.gradient(*(a[:0] for a in case.data), method=method, **sizes)
        assert none.loss == 0
        assert all(not a.any() for value in none.by.values() for a in flat(value))
        one = case.gradient(method=method, **sizes)
        assert distance(one.by, case.gradient().by) <= METHODS


@pytest.mark.parametrize("name", ["vanilla_rnn", "lstm", "unequal_product", "reading"])
@pytest.mark.parametrize(("every", "down"), [(1, 1), (1, 3), (2, 3), (3, 3), (4, 9), (5, 20)])
def test_truncation_sends_each_loss_back_once(recurrent_kernels, name, every, down) -> None:
    """The losses of each `every` steps go `down` applications of f down from their end.

    Expected: BPTT of pieces that begin `down` steps before the end of each window, from the states
    of the whole run, with the weights of the window alone.
    """
    case = Case(recurrent_kernels, name, times=9, batch=2)
    weight = case.rng.random((9, 2))
    found = case.gradient(method="truncated_bptt", every=every, down=down, weight=weight)
    states = case.call.forward(case.theta, *case.data[: len(case.call.inputs)])[1]
    total: dict[str, list[Any]] = {}
    for begin in range(0, 9, every):
        end = min(begin + every, 9)
        first = max(0, end - down)
        own = weight * ((np.arange(9) >= begin) & (np.arange(9) < end))[:, None]
        before = None if first == 0 else tuple(a[first - 1] for a in flat(states))
        state = before if before is None or len(before) > 1 else before[0]
        piece = case.gradient(
            *(a[first:end] for a in case.data), weight=own[first:end], state=state
        )
        for key, value in piece.by.items():
            parts = flat(value)
            known = total.get(key, [0.0] * len(parts))
            total[key] = [x + y for x, y in zip(known, parts, strict=True)]
    expected = {key: v[0] if len(v) == 1 else tuple(v) for key, v in total.items()}
    for key in case.call.initial:  # a piece's own start is no initial state, the first one's is
        found.by.pop(key)
        expected.pop(key)
    assert distance(found.by, expected) <= METHODS


@pytest.mark.parametrize("name", OFFLINE)
def test_no_online_method_where_the_future_is_needed(recurrent_kernels, name) -> None:
    case = Case(recurrent_kernels, name, times=3)
    with pytest.raises(ValueError, match=r"rtrl does not apply: .*(backward in time|stack)"):
        case.gradient(method="rtrl")
    with pytest.raises(ValueError, match="does not apply"):
        case.call.stepper(case.theta)


def test_a_layer_local_trace_is_exact_for_the_top_layer_alone(recurrent_kernels) -> None:
    """The influence of the lower cell on the upper one is what a local trace leaves out."""
    case = Case(recurrent_kernels, "deep_rnn", times=6, batch=1)
    exact = case.gradient(method="rtrl")
    names = case.call.influence
    lower_on_upper = [k for k, x in enumerate(names) if "influence_1" in x and "lower" in x]
    start = case.call.start(case.theta, 1)
    state, influence, local = None, start, None
    for t in range(6):
        piece = case.gradient(
            *(a[t : t + 1] for a in case.data), method="rtrl", state=state, influence=influence
        )
        state = piece.last
        influence = tuple(
            0 * a if k in lower_on_upper else a for k, a in enumerate(piece.influence)
        )
        parts = {key: np.asarray(piece.by[key]) for key in piece.by if key.startswith("cell_")}
        local = parts if local is None else {key: local[key] + parts[key] for key in parts}
    for key, value in local.items():
        group = exact.by[key]
        off = np.abs(value - group).max() / np.abs(group).max()
        assert off <= METHODS if "upper" in key else off > 1e-3, key


@pytest.mark.parametrize("name", ["vanilla_rnn", "lstm", "two_ways"])
def test_single_precision(recurrent_kernels, name) -> None:
    """float32 from the same text: 50 steps of about 60 roundings of 2^-24 on a contracting path."""
    case = Case(recurrent_kernels, name)
    double = case.gradient()
    single = {
        key: tuple(np.float32(a) for a in v) if isinstance(v, tuple) else np.float32(v)
        for key, v in case.theta.items()
    }
    found = case.call.gradient(single, *(np.float32(a) for a in case.data))
    assert all(a.dtype == np.float32 for v in found.by.values() for a in flat(v))
    assert distance(found.by, double.by) <= 3000 * np.finfo(np.float32).eps
