"""Components as SymPy objects are those that one writes by hand, and a user can go on with them."""

import numpy as np
import pytest
import sympy as sp
from formulas import FORMULAS, SIZES, A, H, W, X, b, h, i, j, m, n, x, x2
from points import close, draw_all

from derive import (
    Gram,
    Hom,
    Index,
    R,
    SpaceError,
    entry,
    form,
    inner,
    largest,
    layer,
    log_sum_exp,
    relu,
    sigmoid,
    tanh,
    to_sympy,
    uninterpreted,
    variable,
)
from derive.evidence.proofs.symbols import gram_matrix
from derive.language.expressions import constant, held, tuple_of
from derive.language.reference import value
from derive.language.spaces import Indices, leaves
from derive.language.walk import storage

TWO = {n: 2, m: 3}


def array(name, *shape):
    """The symbols name_0_1, .. in an array."""
    places = np.ndindex(*shape)
    symbols = [sp.Symbol("_".join([name, *map(str, place)]), real=True) for place in places]
    return sp.Array(symbols, shape)


xs, ys, bs, hs = array("x", 3), array("x2", 3), array("b", 2), array("h", 2)
Ws = sp.Matrix(2, 3, list(sp.flatten(array("W", 2, 3))))
x0, x1, x2_ = xs

BY_HAND = {
    "affine": (W @ x + b / 2 - 1, list(Ws * sp.Matrix(xs) + sp.Matrix(bs) / 2 - sp.ones(2, 1))),
    "hadamard": (x * x2, [p * q for p, q in zip(xs, ys, strict=True)]),
    "elementwise": (tanh(x), [sp.tanh(p) for p in xs]),
    "stable bodies stay outside": (sigmoid(h), [1 / (1 + sp.exp(-p)) for p in hs]),
    "inner": (inner(x, x2), sum(p * q for p, q in zip(xs, ys, strict=True))),
    "transposed": (form("t", A=(i, j), to=(j, i))(W), sp.Array(Ws.T)),
    "beyond the border": (form("s", x=(i + 1,), to=(i,), ranges={i: m})(x), [x1, x2_, 0]),
    "sizes as numbers": (constant(m / n, R(2)), [sp.Rational(3, 2)] * 2),
    "entry": (entry(x, variable("c", Index(m))), x2_),
    "held": (held(tanh(x)), [sp.tanh(p) for p in xs]),
    "relu": (relu(h), [sp.Piecewise((0, p <= 0), (p, True)) for p in hs]),
    "largest": (
        largest(x),
        sp.Piecewise((x0, (x0 >= x1) & (x0 >= x2_)), (x1, x1 >= x2_), (x2_, True)),
    ),
}


@pytest.mark.parametrize(("node", "expected"), BY_HAND.values(), ids=BY_HAND)
def test_components_as_written_by_hand(node, expected) -> None:
    found = to_sympy(node, TWO, {"c": 2})
    assert sp.flatten(found) == sp.flatten([expected])
    assert found.shape == (sp.Array(expected).shape if isinstance(expected, list) else found.shape)


def test_a_product_is_a_tuple() -> None:
    pair = variable("s", H * X)
    found = to_sympy(tuple_of((pair[1] * 2, pair[0])), TWO)
    assert found == (2 * array("s_1_", 3), array("s_0_", 2))


def test_maps_and_layers_have_components() -> None:
    @layer
    def dense(x: X, *, W: Hom(X, H), b: H) -> H:
        return tanh(W @ x + b)

    output = to_sympy(dense, TWO)
    v, w = array("v", 3), array("w", 2)
    along = [sum(f.diff(s) * d for s, d in zip(xs, v, strict=True)) for f in output]
    back = [sum(f.diff(s) * d for f, d in zip(output, w, strict=True)) for s in xs]
    for found, expected in ((dense.D(), along), (dense.D().adjoint, back)):
        difference = [p - q for p, q in zip(to_sympy(found, TWO), expected, strict=True)]
        assert [sp.simplify(d.rewrite(sp.exp)) for d in difference] == [0] * len(expected)
    assert to_sympy(dense.D2(), TWO).shape == (2,)


@pytest.mark.parametrize("node", FORMULAS.values(), ids=FORMULAS)
def test_components_have_the_values_of_the_reference(node) -> None:
    """Two readings of every node, in SymPy's numbers and in NumPy's."""
    point = draw_all([node], SIZES)
    indices = {v.name: array.tolist() for v, array in point.items() if is_index(v)}
    at = {}
    for v, given in point.items():
        if not is_index(v) and not v.name.startswith("G"):
            at |= dict(zip(flat(to_sympy(v, SIZES)), flat(given), strict=True))
    data = gram_data()
    for gram, matrix in data.items():
        at |= {sp.Symbol(f"{gram}_{p}_{q}", real=True): matrix[p, q] for p, q in np.ndindex(4, 4)}
    point |= {
        v: data[v.name[:2]][: SIZES[v.space.shape[0]], : SIZES[v.space.shape[0]]]
        for v in point
        if v.name in ("G1", "G2")
    }
    found = [float(f.xreplace(at)) for f in flat(to_sympy(node, SIZES, indices))]
    expected = np.array(flat(value(node, point, SIZES)))
    assert close(np.array(found), expected, 1000)  # as in test_calculus: some hundred roundings


def gram_data():
    root = np.random.default_rng(5).normal(size=(2, 4, 4))
    return {f"G{k + 1}": root[k] + root[k].T for k in range(2)}


def is_index(v) -> bool:
    return isinstance(v.space, Indices)


def flat(value_):
    if isinstance(value_, tuple):
        return [entry_ for part in value_ for entry_ in flat(part)]
    return sp.flatten(value_) if isinstance(value_, sp.NDimArray) else np.ravel(value_).tolist()


def test_gram_matrices_are_symmetric_and_inverted() -> None:
    G, inverse = gram_matrix(Gram("G"), 2), gram_matrix(Gram("G").inverse, 2)
    assert G == G.T and len(G.free_symbols) == 3
    assert sp.simplify(G * inverse) == sp.eye(2)
    E = R(m, gram=Gram("G"))
    p, q = variable("p", E), variable("q", E)
    found = to_sympy(inner(p, q), TWO)
    by_hand = sp.Matrix(array("p", 3)).T * gram_matrix(Gram("G"), 3) * sp.Matrix(array("q", 3))
    assert sp.expand(found[()] - by_hand[0]) == 0


def test_every_array_of_a_product_has_its_own_symbols() -> None:
    space = Hom(X * H, H * X)
    names = [str(s) for s in flat(to_sympy(variable("Q", space), TWO))]
    assert (
        len(names)
        == len(set(names))
        == 25
        == sum(int(leaf.dimension.subs(TWO)) for leaf in leaves(space))
    )
    assert len(storage(variable("Q", space))) == 4


@pytest.mark.parametrize(
    ("node", "sizes", "sentence"),
    [
        (W @ x, {n: 2}, "the size m is not known"),
        (
            entry(x, variable("c", Index(m))),
            TWO,
            r"c of Index\(m\) has no symbol; give it in indices",
        ),
        (
            tuple_of((A, variable("A_0", X))),
            TWO,
            "A_0 and A both have a component called A_0_0; rename one of them",
        ),
    ],
)
def test_what_is_missing_or_ambiguous_is_named(node, sizes, sentence) -> None:
    with pytest.raises(SpaceError, match=sentence):
        to_sympy(node, sizes)


def test_what_is_uninterpreted_has_no_components() -> None:
    with pytest.raises(TypeError, match="uninterpreted and has no components"):
        to_sympy(uninterpreted("f", X, H)(x), TWO)


def test_one_largest_entry_is_one_case_distinction() -> None:
    """The shift of log-sum-exp is one Piecewise, not a sum of n: the proof counts on it."""
    found = to_sympy(log_sum_exp(x), TWO)[()]
    assert len(found.atoms(sp.Piecewise)) == 1
