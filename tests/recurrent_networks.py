"""Recurrent networks that the tests of sequences run: every cell of the library, and odd ones."""

from typing import Any

import numpy as np

from derive import (
    Cell,
    Hom,
    Index,
    R,
    bidirectional,
    broadcast,
    cell,
    deep,
    dims,
    entry,
    fixed,
    form,
    given,
    indices,
    inner,
    largest,
    layer,
    library,
    max_pool,
    recurrent,
    relu,
    sigmoid,
    stack,
    tanh,
    transpose,
    with_fixed,
    with_shared,
)
from derive.language.expressions import contraction
from derive.language.forms import make_form
from derive.language.spaces import Product, leaves
from derive.library.losses import cross_entropy_index, squared_loss
from derive.library.rnn import (
    gru,
    lstm,
    readout,
    readout_of_both,
    readout_of_pair,
    readout_of_pairs,
    vanilla_rnn,
)
from derive.models.levels import Recurrent

n, m, k, p = dims("n m k p")
H, X, Y, P = R(n), R(m), R(k), R(p)
i, j, s = indices("i j s")


# --- cells that are in no library


@cell
def layered(h: H, x: X, *, W: Hom(H, P), U: Hom(X, P), b: P, A: Hom(P, H)) -> H:
    """A transition that is itself a layered network."""
    return tanh(A @ sigmoid(W @ h + U @ x + b))


@cell
def linear(h: H, x: X, *, W: Hom(H, H), U: Hom(X, H)) -> H:
    """Its transition is W itself at every time."""
    return W @ h + U @ x


@cell
def antisymmetric(h: H, x: X, *, W: Hom(H, H), U: Hom(X, H), b: H) -> H:
    """W - W^T between product and nonlinearity (Chang et al. 2019): two row patterns."""
    back = form("back", W=(i, j), h=(i,), to=(j,))
    return h + 0.1 * tanh(W @ h - back(W, h) + U @ x + b)


@cell
def reversing(h: H, x: X, *, W: Hom(H, H), U: Hom(X, H), b: H) -> H:
    """A permutation between product and nonlinearity."""
    turned = form("turned", z=(n - 1 - i,), to=(i,), ranges={i: n})
    return tanh(turned(W @ h) + U @ x + b)


@cell
def tied(h: H, x: H, *, W: Hom(H, H), b: H) -> H:
    """One matrix for state and input, and for the state twice."""
    return tanh(W @ h + W @ x + W @ sigmoid(h) + b)


@cell
def matrix_state(M: R(n, p), x: X, *, A: Hom(R(n, p), R(n, p)), q: R(n, p), U: Hom(X, P)) -> R(
    n, p
):
    """A state of two axes."""
    along = form("along", q=(i, j), u=(j,), to=(i, j))
    return tanh(A @ M + along(q, U @ x))


@cell
def unequal_product(s: H * P, x: X, *, W: Hom(H * P, H * P), U: Hom(X, H * P), a: P) -> H * P:
    """A state of two spaces, maps of direct products, one part of the state diagonal."""
    h, g = s
    z, y = W @ (h, g)
    u, v = U @ x
    return tanh(z + u), 0.5 * g * a + tanh(y + v)


@cell
def by_blocks(M: R(n, 2), x: X, *, B: R(n, 2, 2), U: Hom(X, R(n, 2))) -> R(n, 2):
    """Pairs of units, each with a full 2x2 block of its own."""
    turn = form("turn", B=(i, j, s), M=(i, s), to=(i, j))
    return tanh(turn(B, M) + U @ x)


@cell
def reading(h: H, c: Index(m), *, E: R(m, n), W: Hom(H, H)) -> H:
    """The input is a class index: a row of a table."""
    row = contraction(H, make_form([(j, i), (i,)], {j: m, i: n}, [(j, ())]), 1, (E,), (c,))
    return tanh(W @ h + row)


@cell
def normalised(h: H, x: X, *, W: Hom(H, H), U: Hom(X, H), g: R()) -> H:
    """A rank-one derivative, a scalar parameter, an activation with a kink."""
    z = W @ h + U @ x
    from_norm = form("scaled", a=(), z=(i,), to=(i,))
    return from_norm(g / (1 + inner(z, z)), z) + 0.3 * relu(z)


@cell
def counting(s: H * R(), x: X, *, W: Hom(H, H), U: Hom(X, H), a: R()) -> H * R():
    """A state of a vector and a number."""
    h, c = s
    spread = form("spread", c=(), to=(i,), ranges={i: n})
    return tanh(W @ h + U @ x + spread(c)), 0.5 * c + a * inner(h, h)


@cell
def columns(h: R(n, p), x: R(n, p), *, W: Hom(H, H)) -> R(n, p):
    """The parameters show one of the two sizes of the state."""
    product = form("product", W=(i, j), h=(j, s), to=(i, s))
    return tanh(product(W, h) + x)


@cell
def bare(h: H, x: H) -> H:
    """Nothing to learn."""
    return tanh(h + x)


@cell
def reservoir(h: H, x: X, *, W: fixed(Hom(H, H)), U: fixed(Hom(X, H))) -> H:
    """An echo-state network: nothing to learn but the readout."""
    return tanh(W @ h + U @ x)


@cell
def leaking(h: H, x: X, *, W: Hom(H, H), rate: fixed(H), U: Hom(X, H), b: fixed(H)) -> H:
    """Rates that are fixed, between what is learned."""
    return h + rate * (tanh(W @ h + U @ x + b) - h)


@cell
def shuffling(s: H * P, x: X, *, to: fixed(Index(n, n)), a: fixed(H * P), U: Hom(X, H)) -> H * P:
    """Class indices and a direct product that are fixed; no parameter reaches the second state."""
    h, g = s
    first, second = a
    read = make_form([(j,), (i,)], {j: n, i: n}, [(j, (i,))])
    moved = contraction(H, read, 1, (h,), (to,))
    return tanh(first * moved + U @ x), second * tanh(g)


@layer
def of_columns(h: R(n, p), *, V: Hom(H, Y)) -> Y:
    """A prediction from the sum of the columns."""
    read = form("read", V=(i, j), h=(j, s), to=(i,))
    return read(V, h)


@layer
def of_counted(s: H * R(), *, V: Hom(H, Y)) -> Y:
    """A prediction from a vector, scaled by a number."""
    h, c = s
    by = form("by", c=(), y=(i,), to=(i,))
    return by(c + 1, V @ h)


@layer
def two_layers(h: H, *, A: Hom(H, P), V: Hom(P, Y), c: Y) -> Y:
    """A prediction that is itself a layered network."""
    return V @ tanh(A @ h + 0.1) + c


@layer
def first_of(M: R(n, p), *, V: Hom(R(n, p), Y)) -> Y:
    """A prediction from a state of two axes."""
    return V @ M


@layer
def of_pairs(M: R(n, 2), *, V: Hom(R(n, 2), Y)) -> Y:
    """A prediction from pairs of units."""
    return V @ M


@layer
def of_product(s: H * P, *, V: Hom(H * P, Y)) -> Y:
    """A prediction from a direct product."""
    return V @ s


@layer
def paired(x: Y, y: given(Y), k_: Index(k)) -> R():
    """A loss of two targets."""
    e = x - y
    return inner(e, e) / 2 - entry(x, k_)


def _prediction(f: Cell) -> Any:
    """A prediction of the state of a library's cell."""
    space = f.output.space
    if not isinstance(space, Product):
        return readout
    return readout_of_pair if len({leaf.shape for leaf in leaves(space)}) == 1 else None


def _library() -> dict[str, Recurrent]:
    cells = [f for f in library.layers().values() if isinstance(f, Cell)]
    found = {}
    for f in cells:
        g = _prediction(f)
        if g is not None:
            found[f.name] = recurrent(
                f"{f.name}_net", f, prediction=g, loss=squared_loss, initial="learned"
            )
    return found


@cell
def peaked(h: H, x: X, *, W: Hom(H, H), U: Hom(X, H)) -> H:
    """A step that looks at the largest entry, and at that of three neighbours."""
    z = W @ h + U @ x
    return tanh(max_pool(z, 3, stride=1, padding=1) - broadcast(largest(z), H) / 2)


@layer
def readout_of_top(s: H * P, *, V: Hom(P, Y), c: Y) -> Y:
    """A prediction from the upper of two states."""
    _, top = s
    return V @ top + c


def _odd(name: str, f: Cell, g: Any, loss: Any = squared_loss) -> Recurrent:
    return recurrent(f"{name}_net", f, prediction=g, loss=loss, initial="learned")


lstm_on_gru = stack("lstm_on_gru", lower=gru, upper=lstm)


@layer
def readout_of_three(s: H * P * P, *, V: Hom(P, Y)) -> Y:
    """A prediction from the first state of the upper cell."""
    return V @ s[1]


deep_rnn = library.layers()["deep_rnn"]
ONLINE: dict[str, Recurrent] = {
    **_library(),
    "deep_rnn": _odd("deep_rnn", deep_rnn, readout_of_top),
    "lstm_on_gru": _odd("lstm_on_gru", lstm_on_gru, readout_of_three),
    "layered": _odd("layered", layered, two_layers),
    "linear": _odd("linear", linear, readout),
    "antisymmetric": _odd("antisymmetric", antisymmetric, readout),
    "reversing": _odd("reversing", reversing, readout, cross_entropy_index),
    "tied": _odd("tied", tied, two_layers),
    "matrix_state": _odd("matrix_state", matrix_state, first_of),
    "unequal_product": _odd("unequal_product", unequal_product, of_product, paired),
    "by_blocks": _odd("by_blocks", by_blocks, of_pairs),
    "reading": _odd("reading", reading, readout, cross_entropy_index),
    "normalised": _odd("normalised", normalised, readout),
    "counting": _odd("counting", counting, of_counted),
    "columns": recurrent("columns_net", columns, prediction=of_columns, loss=squared_loss),
    "leaking": _odd("leaking", leaking, with_fixed(readout, "c")),
    "shuffling": recurrent("shuffling_net", shuffling, prediction=of_product, loss=squared_loss),
    "reservoir": recurrent("reservoir_net", reservoir, prediction=readout, loss=squared_loss),
    "deep_reservoir": _odd(
        "deep_reservoir", stack("deep_reservoir", lower=reservoir, upper=leaking), readout_of_top
    ),
    "peaked": _odd("peaked", peaked, readout),
    "tied_readout": with_shared(
        _odd("tied_readout", vanilla_rnn, readout),
        prediction_V=lambda cell_U: transpose(cell_U),
    ),
    "bare": recurrent("bare_net", bare, prediction=readout, loss=squared_loss),
    "plain": recurrent("plain_net", vanilla_rnn, loss=squared_loss),
}
"""Networks of one cell that runs forward, by the cell's name; `_library` and `_odd` learn h_0."""

_both = bidirectional("both", forward=lstm, backward=lstm, prediction=readout_of_pairs)
OFFLINE: dict[str, Recurrent] = {
    "two_ways": bidirectional(
        "two_ways", forward=vanilla_rnn, backward=gru, prediction=readout_of_both, loss=squared_loss
    ),
    "deep_two_ways": deep("deep_two_ways", lower=_both, upper=_both, loss=cross_entropy_index),
    "deep_one_way": deep(
        "deep_one_way",
        lower=recurrent("first", vanilla_rnn, prediction=readout),
        upper=recurrent("second", gru, prediction=readout),
        loss=squared_loss,
    ),
    "shared_levels": with_shared(
        deep(
            "shared_levels",
            lower=recurrent("first", vanilla_rnn, prediction=readout),
            upper=recurrent("second", vanilla_rnn, prediction=readout),
            loss=squared_loss,
        ),
        upper_cell_W=lambda lower_cell_W: transpose(lower_cell_W),
    ),
    "still_two_ways": deep(
        "still_two_ways",
        lower=recurrent("still", reservoir),
        upper=bidirectional(
            "ways", forward=leaking, backward=reservoir, prediction=with_fixed(readout_of_both, "c")
        ),
        loss=squared_loss,
    ),
}
SILENT = {"silent": recurrent("silent_net", vanilla_rnn, prediction=readout, initial="learned")}
NETWORKS = {**ONLINE, **OFFLINE, **SILENT}


# --- values


def sizes_of(network: Recurrent) -> dict[str, int]:
    """Unequal sizes 3, 4, 5, .. in the order of the network."""
    return {str(size): 3 + number % 4 for number, size in enumerate(network.sizes)}


def parameters(network: Recurrent, rng: np.random.Generator, scale: float = 1.0) -> dict[str, Any]:
    """Parameters and what is fixed by name, and the initial state where it is learned."""
    sizes = sizes_of(network)
    theta = {x.name: _drawn(x.space, sizes, rng, scale) for x in network.theta}
    if network.learned:
        state = network.cells[0].state
        theta[f"{state.name}_0"] = _drawn(state.space, sizes, rng, 1.0)
    return theta


def _drawn(space: Any, sizes: dict[str, int], rng: np.random.Generator, scale: float) -> Any:
    """Normal numbers; maps with a norm of about `scale`: rows shrink with what they sum over."""
    made = []
    for leaf in leaves(space):
        shape = tuple(int(e.subs({s: sizes[str(s)] for s in e.free_symbols})) for e in leaf.shape)
        if hasattr(leaf, "bound"):
            made.append(rng.integers(sizes[str(leaf.bound)], size=shape))
            continue
        summed = shape[-1] if len(shape) > 1 else 1
        made.append(np.asarray(rng.normal(size=shape) * scale / (2 * np.sqrt(summed))))
    return made[0] if len(made) == 1 else tuple(made)


def data(network: Recurrent, times: int, batch: int, rng: np.random.Generator) -> list[Any]:
    """Inputs, then targets, of shape (times, batch, ..)."""
    sizes = sizes_of(network)
    found = []
    for a in (*network.inputs, *network.targets):
        (leaf,) = leaves(a.variable.space)
        numbers = {s: sizes[str(s)] for e in leaf.shape for s in e.free_symbols}
        shape = (times, batch, *(int(e.subs(numbers)) for e in leaf.shape))
        if hasattr(leaf, "bound"):
            bound = int(leaf.bound.subs({s: sizes[str(s)] for s in leaf.bound.free_symbols}))
            found.append(rng.integers(bound, size=shape))
        else:
            found.append(rng.normal(size=shape))
    return found


def flat(value: Any) -> list[np.ndarray]:
    """The arrays of a value."""
    if isinstance(value, tuple):
        return [array for part in value for array in flat(part)]
    return [np.asarray(value)]


def distance(found: dict[str, Any], expected: dict[str, Any]) -> float:
    """The largest difference of any group, relative to the group's largest entry."""
    worst = 0.0
    assert found.keys() == expected.keys()
    for name in expected:
        for a, b in zip(flat(found[name]), flat(expected[name]), strict=True):
            assert a.shape == b.shape
            if b.size:
                worst = max(worst, float(np.abs(a - b).max() / max(np.abs(b).max(), 1e-300)))
    return worst
