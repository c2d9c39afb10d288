"""Structured derivatives: their sum is the tangent, and what their terms look like."""

import pytest
import sympy
from declared import LAYERS
from recurrent_cells import ODD, flip, influence_of, transpose
from structured import LIBRARY, ROUNDING, errors

from derive import (
    Hom,
    Index,
    R,
    SpaceError,
    dims,
    entry,
    form,
    indices,
    layer,
    softmax,
    tanh,
    total_sum,
    uninterpreted,
    variable,
)
from derive.calculus.structure import Derivative, whole
from derive.calculus.terms import Term, ties
from derive.language.expressions import Elementwise, contraction
from derive.language.forms import make_form
from derive.language.spaces import Real
from derive.language.walk import storage
from derive.library.rnn import gru, gru_reset_before, lstm
from derive.models.programs import BATCH
from derive.vocabulary.linear import broadcast, scale

n, m, k = dims("n m k")
H, X = R(n), R(m)
i, j, t = indices("i j t")
ONE = sympy.S.One
W, V = variable("W", Hom(X, H)), variable("V", Hom(H, H))
x, h = variable("x", X), variable("h", H)


def terms(e, by, family=None) -> tuple[Term, ...]:
    """The terms of an expression by an array."""
    return Derivative([e], by, family).of(e)


# --- the sum of the terms


@layer
def spread(q: R(), x: X) -> R():
    """An index that nothing is read at is summed over: a number of equal summands."""
    return total_sum(scale(q, x)) + total_sum(broadcast(q, X))


@layer
def places(x: H, *, d: H) -> H:
    """What is written at places that are no plain indices, and read on."""
    diagonal = form("diagonal", x=(i,), to=(i, i))
    z = contraction(H, make_form([(i,), (i + 1,)], {i: n}), 1, (tanh(x * d),))
    return tanh(diagonal(tanh(d)) @ x) * flip(z) + diagonal(x) @ d


@layer
def numbers(x: H, which: Index(3), *, d: H) -> H:
    """Rows that are written at a number, and read at a reversed index and at a class."""
    z = contraction(R(3, n), make_form([(i,), (ONE, i)], {i: n}), 1, (tanh(x),))
    z = z + contraction(R(3, n), make_form([(i,), (2 * ONE, i)], {i: n}), 1, (d * x,))
    turned = contraction(R(3, n), make_form([(2 - j, i), (j, i)], {j: 3, i: n}), 1, (z,))
    row = make_form([(j, i), (i,)], {j: 3, i: n}, [(j, ())])
    chosen = [contraction(H, row, 1, (of,), (which,)) for of in (turned, z)]
    return tanh(chosen[0]) * chosen[1]


@layer
def scattered(x: H, which: Index(m, n), *, B: Hom(X, X)) -> X:
    """Entries that are added at places that are given."""
    add = make_form([(i,), (j,)], {i: n, j: m}, [(j, (i,))])
    return tanh(B @ contraction(X, add, 1, (tanh(x),), (which,)))


@layer
def shifts(x: H, *, A: R(n, n)) -> H:
    """Read one further, then one before: A has a row for the first entry, which is not there."""
    further = make_form([(i + 1, j), (j,), (i,)], {i: n, j: n})
    before = make_form([(i - 1,), (i,)], {i: n})
    return tanh(contraction(H, before, 1, (contraction(H, further, 2, (A, x)),)))


@layer
def shortened(q: R(), *, d: R(5)) -> R(3):
    """q d[:3] read one further: d has a fourth entry, what is read has not."""
    first = make_form([(i,), (), (i,)], {i: 3})
    further = make_form([(i + 1,), (i,)], {i: 3})
    return tanh(contraction(R(3), further, 1, (contraction(R(3), first, 2, (d, q)),)))


@layer
def bags(x: H, first: Index(m, k), second: Index(m, k), *, E: R(m, n), F: R(m, n)) -> R():
    """Sums of looked-up rows in the form itself: what is summed is read by a selector alone."""
    form_ = make_form([(j, i), (i,), ()], {j: m, i: n, t: k}, [(j, (t,))])
    of = [
        contraction(R(), form_, 2, (E, x), (first,)),
        contraction(R(), form_, 2, (F, x), (second,)),
    ]
    return tanh(of[0]) + of[0] * of[1] + 2 * of[1]


MORE = {
    one.name: one for one in (*ODD, spread, bags, places, numbers, scattered, shifts, shortened)
}


@pytest.mark.parametrize("layer_", [*LAYERS.values(), *LIBRARY.values(), *MORE.values()], ids=str)
def test_the_terms_are_the_derivative(layer_) -> None:
    """The sum of the terms applied to v is D e . v, by every array of every argument."""
    for name, error in errors(layer_):
        assert error <= ROUNDING, name


def test_what_does_not_depend_on_it_has_no_terms() -> None:
    e = tanh(W @ x)
    d = Derivative([e], h)
    assert d.of(e) == d.of(x) == ()
    assert terms(e, W) and Derivative([e], W).of(x) == ()


def test_what_is_unknown_has_no_structure() -> None:
    f = uninterpreted("f", X, H)
    with pytest.raises(SpaceError, match="uninterpreted"):
        Derivative([tanh(f(x))], x)


# --- what terms look like


def test_a_product_by_its_matrix_is_tied_in_the_row() -> None:
    """(W x)_k by W_{kl} is x_l: one term, the axis k of both is one."""
    (term,) = terms(W @ x, W)
    assert ties(term) == {(0, 0)}
    (row,), (of, column) = term.out, term.into
    assert of == row and term.factors == (((column,), x),)


def test_a_product_by_its_vector_is_full() -> None:
    (term,) = terms(W @ x, x)
    assert ties(term) == frozenset()
    assert term.factors == (((*term.out, *term.into), W),)


def test_elementwise_is_diagonal() -> None:
    (term,) = terms(tanh(x), x)
    assert term.out == term.into and ties(term) == {(0, 0)}
    ((access, slope),) = term.factors
    assert access == term.out and isinstance(slope, Elementwise)


def test_two_diagonals_are_one() -> None:
    (term,) = terms(tanh(x) * x + 3 * x, x)
    assert term.out == term.into and len(term.factors) == 1


def test_a_permutation_keeps_one_term_with_an_affine_access() -> None:
    (term,) = terms(flip(h), h)
    ((row,), (read,)) = term.out, term.into
    assert read == n - 1 - row and term.factors == ()
    (by_V,) = terms(flip(V @ h), V)
    assert by_V.into[0] == n - 1 - by_V.out[0] and by_V.factors == (((by_V.into[1],), h),)


def test_a_matrix_less_its_transpose_has_two_patterns_of_rows() -> None:
    found = terms(V @ h - transpose(V) @ h, V)
    assert [ties(term) for term in found] == [{(0, 0)}, {(0, 1)}]
    assert len(terms(V @ h - transpose(V) @ h, h)) == 1


def factor_shapes(term: Term) -> list[tuple]:
    """The shapes of a term's arrays, without the batch's axis."""
    spaces = [node.space for _, node in term.factors]
    return [tuple(e for e in s.shape if e != BATCH) for s in spaces if isinstance(s, Real)]


def test_reset_weights_have_factors_that_share_no_index() -> None:
    """Q (x) h: an array of n^2 and one of n numbers, of three indices in all."""
    batched = gru_reset_before.batched(BATCH)
    of = {a.name: a.variable for a in batched.arguments}
    found = terms(batched.output, of["W"], BATCH)
    shapes = {term.into[0]: factor_shapes(term) for term in found}
    (s,) = (extent for extent in gru_reset_before.sizes if str(extent) == "n")
    assert shapes == {0: [(s, s), (s,)], 1: [(s,), (s,)]}
    reset = next(term for term in found if term.into[0] == 0)
    (left, _), (right, _) = reset.factors
    assert set(left) & set(right) == {reset.out[0]}  # the sample
    assert set(left) == {*reset.out, reset.into[1]} and right[-1] == reset.into[2]


@pytest.mark.parametrize("name", ["lstm", "peephole_lstm", "gru", "gru_reset_before", "deep_rnn"])
def test_gates_are_contracted_before_anything_is_multiplied(name: str) -> None:
    """Every block of D f is one term with one array, full but for the sample."""
    for (a, b), found in influence_of(name).step.D.terms.items():
        assert len(found) == 1, (a, b)
        assert all(len(term.factors) == 1 for term in found)
    blocks = influence_of("deep_rnn").step.D.terms
    assert [ties(blocks[key][0]) for key in ((0, 0), (1, 0), (1, 1))] == [{(0, 0)}] * 3


def test_the_states_of_an_lstm_that_see_only_themselves_stay_diagonal() -> None:
    blocks = influence_of("lstm").step.D.terms
    assert ties(blocks[0, 1][0]) == ties(blocks[1, 1][0]) == {(0, 0), (1, 1)}
    assert ties(blocks[0, 0][0]) == ties(blocks[1, 0][0]) == {(0, 0)}


def test_by_the_weights_of_all_gates_the_gate_is_a_number() -> None:
    """c' has no term by the weights of the output gate, h has one by those of each."""
    batched = lstm.batched(BATCH)
    (by,) = (a.variable for a in batched.arguments if a.name == "W")
    d = Derivative(storage(batched.output), by, BATCH)
    gates = [[term.into[0] for term in d.of(e)] for e in storage(batched.output)]
    assert list(map(sorted, gates)) == [[0, 1, 2, 3], [0, 1, 2]]
    for e in storage(batched.output):
        assert all(ties(term) == {(1, 1)} for term in d.of(e))


def test_a_look_up_has_a_bound_index() -> None:
    """The row that a class selects: the index of the table's axis has the class's value."""
    table, word = variable("E", R(m, n)), variable("word", Index(m))
    read = make_form([(j, i), (i,)], {j: m, i: n}, [(j, ())])
    row = contraction(H, read, 1, (table,), (word,))
    (term,) = terms(tanh(row), table)
    ((index, selector, access),) = term.bound
    assert (index, selector, access) == (term.into[0], word, ()) and ties(term) == {(0, 1)}
    (one,) = terms(entry(x, variable("word", Index(m))), x)
    assert one.out == () and one.into == (one.bound[0][0],) and ties(one) == frozenset()


def test_softmax_is_a_diagonal_and_a_product_of_vectors() -> None:
    """diag(p) - p p*: of n and not of n^2 numbers."""
    found = terms(softmax(x), x)
    assert sorted(len(term.factors) for term in found) == [1, 2]
    assert all(len(shape) == 1 for term in found for shape in factor_shapes(term))


def test_terms_do_not_grow_with_the_depth_of_a_composition() -> None:
    """Like terms are added at every node: one term, where there are 2^8 paths."""
    e = h
    for _ in range(8):
        e = tanh(e) + h * e
    assert len(terms(e, h)) == 1


def test_what_is_never_read_has_no_terms() -> None:
    """One row of a matrix, read at a number: the other rows have no entry."""
    gates = variable("A", R(3, n))
    first = form("first", A=(0, i), to=(i,))(gates)
    (term,) = terms(tanh(first), gates)
    assert term.into[0] == 0
    second = Derivative([gates[1]], gates).of(gates[1])
    assert [t.into[0] for t in second] == [1]


def test_a_diagonal_matrix_applied_is_diagonal() -> None:
    """diag(d) h: the diagonal stays one, though its matrix is written at (i, i)."""
    d = variable("d", H)
    e = tanh(form("diagonal", x=(i,), to=(i, i))(d) @ h)
    assert [ties(term) for term in terms(e, h)] == [frozenset()]  # as a matrix times h
    assert [ties(term) for term in terms(e, d)] == [{(0, 0)}]


# --- dense blocks


def test_whole_makes_one_matrix_of_a_full_term_and_a_diagonal() -> None:
    """W + diag(d): two terms of a gated cell's D f are one array of n x n for each sample."""
    batched = gru.batched(BATCH)
    by = batched.arguments[0].variable
    found = terms(batched.output, by, BATCH)
    assert len(found) == 2
    (one,) = whole(found, by.space.shape, by.space.shape)
    assert len(one.factors) == 1 and one.out[0] == one.into[0]
    assert set(one.factors[0][0]) == {*one.out, *one.into}


def test_whole_leaves_a_diagonal_alone() -> None:
    d = influence_of("independent_rnn").step.D.of((0, 0))
    assert [ties(term) for term in d] == [{(0, 0), (1, 1)}]
