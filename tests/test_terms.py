"""What is done with terms changes no entry: each against the matrix that a term is by definition.

A term is written after its indices are `summed`, as every term of a derivative is.
"""

from dataclasses import replace

import numpy as np
import pytest
import sympy
from points import EPS, draw_all
from recurrent_cells import flip
from structured import dense, is_inside, place

from derive import Index, R, dims, indices, variable
from derive.calculus.combining import added, combined, summed
from derive.calculus.structure import Derivative, whole
from derive.calculus.terms import (
    Term,
    aligned_to,
    fresh_access,
    fresh_index,
    renamed,
    scaled,
    ties,
    times,
    total,
    written,
)
from derive.language.accesses import stays_inside
from derive.language.expressions import constant, contraction
from derive.language.forms import make_form
from derive.language.reference import value

n, m, p = dims("n m p")
SIZES = {n: 3, m: 4, p: 5}
# Every entry is a sum of at most 20 products of at most 5 numbers, which cancel by less than a
# factor 10: 25 roundings in either of two orders.
ROUNDING = 500 * EPS
k, l, s, t = indices("k l s t")  # noqa: E741
x, u, v, q = (
    variable(name, R(*shape)) for name, shape in (("x", (m,)), ("u", (n,)), ("v", (m,)), ("q", ()))
)
A, B, C, D = (
    variable(name, R(*shape))
    for name, shape in (("A", (n, p)), ("B", (p, m)), ("C", (n, m)), ("D", (p, n)))
)
word = variable("word", Index(m, p))
VALUES = draw_all([x, u, v, q, A, B, C, D, word], SIZES, seed=6)
KN, LM, SP = (k, n), (l, m), (s, p)


def term(out, into, *factors, extents=(KN, LM), bound=()) -> Term:
    return Term(out, into, factors, tuple(extents), bound)


# a term, the shape of its expression, the shape of what it is derived by
TERMS = {
    "a row": (term((k,), (k, l), ((l,), x)), (n,), (n, m)),
    "full": (term((k,), (l,), ((k, l), C)), (n,), (m,)),
    "diagonal": (term((k,), (k,), ((k,), u), extents=[KN]), (n,), (n,)),
    "identity": (term((k,), (k,), extents=[KN]), (n,), (n,)),
    "two vectors": (term((k,), (l,), ((k,), u), ((l,), v)), (n,), (m,)),
    "three factors": (term((k,), (l,), ((k,), u), ((l,), v), ((), q)), (n,), (m,)),
    "a product": (term((k,), (l,), ((k, s), A), ((s, l), B), extents=[KN, LM, SP]), (n,), (m,)),
    "a long product": (
        term((k,), (l,), ((k, s), A), ((s, l), B), ((k,), u), ((s, k), D), extents=[KN, LM, SP]),
        (n,),
        (m,),
    ),
    "a number of equal ones": (term((k,), (l,), ((k,), u), extents=[KN, LM, SP]), (n,), (m,)),
    "reversed": (term((k,), (n - 1 - k, l), ((l,), x)), (n,), (n, m)),
    "a gate": (term((k,), (sympy.S.One, k, l), ((l,), x)), (n,), (2, n, m)),
    "beyond the border": (term((k,), (k + 1,), ((k,), u), extents=[KN]), (n,), (n,)),
    "no number": (term((), (l,), ((l,), v), extents=[LM]), (), (m,)),
    "all of both": (term((k,), (l,)), (n,), (m,)),
    "a look-up": (
        term((s,), (l,), ((s, k), D), ((k,), u), extents=[SP, LM, KN], bound=((l, word, (s,)),)),
        (p,),
        (m,),
    ),
}
terms = pytest.mark.parametrize("name", TERMS)


def matrix(given: Term, shapes) -> np.ndarray:
    """The entries of a term by its definition."""
    out, into = (tuple(int(sympy.sympify(e).subs(SIZES)) for e in shape) for shape in shapes)
    return dense(given, VALUES, SIZES, (out, into))


def same(found: np.ndarray, expected: np.ndarray) -> bool:
    """Equal but for roundings, relative to the largest entry."""
    error = np.abs(found - expected).max(initial=0.0)
    return bool(found.shape == expected.shape and error <= ROUNDING * np.abs(expected).max())


def of(name: str) -> tuple[Term, tuple, np.ndarray]:
    """A term, its shapes, its matrix."""
    given, *shapes = TERMS[name]
    return given, tuple(shapes), matrix(given, shapes)


# --- one term


@terms
def test_written_sets_the_products_into_their_places(name: str) -> None:
    given, shapes, expected = of(name)
    node = written(R(*shapes[0], *shapes[1]), summed(given), [], (*given.out, *given.into))
    assert same(value(node, VALUES, SIZES), expected)


@terms
def test_written_with_a_vector_is_the_matrix_applied_to_it(name: str) -> None:
    given, shapes, expected = of(name)
    direction = variable("direction", R(*shapes[1]))
    along = draw_all([direction], SIZES, seed=1)
    node = written(R(*shapes[0]), summed(given), [(given.into, direction)], given.out)
    found = value(node, {**VALUES, **along}, SIZES)
    axes = len(shapes[1])
    applied = np.tensordot(expected, along[direction], axes) if axes else expected
    assert same(np.asarray(found), np.asarray(applied))


@terms
def test_renamed_and_aligned_are_the_same_term(name: str) -> None:
    given, shapes, expected = of(name)
    other = renamed(given)
    assert not {i for i, _ in other.extents} & {i for i, _ in given.extents}
    assert other.pattern == given.pattern
    assert same(matrix(other, shapes), expected)
    back = aligned_to(other, given)
    assert (back.out, back.into) == (given.out, given.into)
    assert same(matrix(back, shapes), expected)


@terms
def test_scaled_and_times_multiply(name: str) -> None:
    given, shapes, expected = of(name)
    third = sympy.Rational(1, 3)
    assert same(matrix(scaled(third, given), shapes), expected / 3)
    more = times(given, ((), q), ((), constant(sympy.S.One, R())))
    assert len(more.factors) == len(given.factors) + 1
    assert same(matrix(more, shapes), expected * VALUES[q])
    assert scaled(sympy.S.One, given) is given


@terms
def test_summed_leaves_indices_that_are_shown(name: str) -> None:
    given, shapes, expected = of(name)
    found = summed(given)
    assert same(matrix(found, shapes), expected)
    picked = {access[0] for _, _, access in given.bound}
    assert {i for i, _ in found.extents} <= {*given.shown, *picked}


@terms
def test_combined_has_factors_that_share_no_index(name: str) -> None:
    given, shapes, expected = of(name)
    found = combined(given)
    assert same(matrix(found, shapes), expected)
    read = [{e for e in access if e in dict(found.extents)} for access, _ in found.factors]
    assert all(not a & b for i, a in enumerate(read) for b in read[i + 1 :])


def test_the_index_of_a_family_links_nothing() -> None:
    """Two vectors for every sample stay apart; without a family they are one array."""
    batch = sympy.Symbol("batch", integer=True, nonnegative=True)
    left, right = (variable(name, R(batch, size)) for name, size in (("left", n), ("right", m)))
    given = term((t, k), (t, l), ((t, k), left), ((t, l), right), extents=[(t, batch), KN, LM])
    assert len(combined(given, batch).factors) == 2
    ((access, made),) = combined(given).factors
    assert access == (t, k, l) and made.space == R(batch, n, m)


def test_a_number_goes_to_the_side_of_the_result() -> None:
    ((left, scaled_u), (right, same_v)) = combined(TERMS["three factors"][0]).factors
    assert (left, right) == ((k,), (l,)) and same_v is v and scaled_u is not u


# --- sums


def pairs():
    """Two terms of one pattern, their shapes, and how many are left of them."""
    full, vectors = TERMS["full"], TERMS["two vectors"]
    other = term((k,), (l,), ((k,), u), ((l,), x))
    yield "one array each", full[0], scaled(sympy.Integer(3), full[0]), full[1:], 1
    yield "the same", vectors[0], vectors[0], vectors[1:], 1
    yield "one vector of two", vectors[0], other, vectors[1:], 1
    both = term((k,), (l,), ((k,), constant(2, R(n))), ((l,), x))
    yield "no vector of two", vectors[0], both, vectors[1:], 2
    yield "an array and two vectors", full[0], vectors[0], full[1:], 2
    diagonal, identity = TERMS["diagonal"], TERMS["identity"]
    yield "a diagonal and the identity", diagonal[0], identity[0], diagonal[1:], 1
    yield "the identity twice", identity[0], identity[0], identity[1:], 1
    flipped = term((k,), (n - 1 - k,), ((k,), u), extents=[KN])
    yield "a diagonal and a reversal", diagonal[0], flipped, diagonal[1:], 2
    gate = TERMS["a gate"]
    yield "two gates", gate[0], replace(gate[0], into=(sympy.S.Zero, k, l)), gate[1:], 2
    half = replace(vectors[0], factors=vectors[0].factors[:1])
    yield "a vector more", vectors[0], half, vectors[1:], 1
    look_up = TERMS["a look-up"]
    plain = term((s,), (l,), ((s, l), B), extents=[SP, LM])
    yield "a look-up and what is plain", look_up[0], plain, look_up[1:], 2
    yield "a look-up twice", look_up[0], renamed(look_up[0]), look_up[1:], 1


@pytest.mark.parametrize(
    ("left", "right", "shapes", "left_over"), [c[1:] for c in pairs()], ids=[c[0] for c in pairs()]
)
def test_like_terms_are_added(left, right, shapes, left_over) -> None:
    expected = matrix(left, shapes) + matrix(right, shapes)
    for given in ([left, right], [renamed(left), right], [right, left]):
        found = added(map(summed, given))
        assert len(found) == left_over
        assert same(sum(matrix(one, shapes) for one in found), expected)


def test_nothing_added_is_nothing() -> None:
    assert added([]) == ()


@pytest.mark.parametrize("names", [["full"], ["full", "two vectors"], ["two vectors", "full"]])
def test_whole_is_the_sum_as_one_array(names) -> None:
    """For a family: every term has the axis of the samples in front of both sides."""
    batch = sympy.Symbol("batch", integer=True, nonnegative=True)
    sizes = {**SIZES, batch: 2}

    def lifted(given: Term) -> Term:
        extents = ((t, batch), *given.extents)
        return replace(given, out=(t, *given.out), into=(t, *given.into), extents=extents)

    given = [lifted(TERMS[name][0]) for name in names]
    (found,) = whole(given, (batch, n), (batch, m))
    assert ties(found) == {(0, 0)}
    expected = sum(dense(one, VALUES, sizes, ((2, 3), (2, 4))) for one in given)
    assert same(dense(found, VALUES, sizes, ((2, 3), (2, 4))), expected)


# --- ties


@terms
def test_ties_say_where_entries_are_zero(name: str) -> None:
    """Every entry off a tied pair of axes is zero, and there are others off every pair."""
    given, shapes, entries = of(name)
    rank, tied = len(shapes[0]), ties(given)
    for at in np.argwhere(entries != 0):
        assert all(at[o] == at[rank + i] for o, i in tied)
    for o, i in {(o, i) for o in range(rank) for i in range(entries.ndim - rank)} - set(tied):
        assert any(at[o] != at[rank + i] for at in np.argwhere(entries != 0))


# --- accesses


def test_fresh_indices_are_new_and_in_alphabetical_order() -> None:
    made = [fresh_index() for _ in range(12)]
    assert len(set(made)) == 12 and sorted(made, key=str) == made
    access, extents = fresh_access((n, m))
    assert extents == {access[0]: n, access[1]: m}


PLACES = {
    "an index over its axis": (k, n, True),
    "an index over a longer axis": (k, n + 1, True),
    "an index over another axis": (k, m, False),
    "an index over a shorter axis": (k, n - 1, False),
    "reversed": (n - 1 - k, n, True),
    "reversed and off": (n - k, n, False),
    "one further": (k + 1, n, False),
    "a sum": (k + l, n + m - 1, True),
    "a sum that is too large": (k + l, n + m - 2, False),
    "a flat place": (m * k + l, n * m, True),
    "a number": (sympy.Integer(2), sympy.Integer(3), True),
    "a number that is too large": (sympy.Integer(3), sympy.Integer(3), False),
    "a slope of no sign": ((n - m) * k, n * n, False),
}


@pytest.mark.parametrize("name", PLACES)
def test_what_stays_on_its_axis(name: str) -> None:
    """Said to stay inside only where it does for all sizes; tried out at some."""
    at, extent, expected = PLACES[name]
    assert stays_inside(at, extent, dict([KN, LM])) is expected
    inside = [
        is_inside(place((at,), {n: a, m: b, k: i, l: j}), place((extent,), {n: a, m: b}))
        for a in (1, 2, 3)
        for b in (1, 2, 4)
        for i in range(a)
        for j in range(b)
    ]
    assert all(inside) or not expected


def test_a_sum_of_nothing_is_zero() -> None:
    assert not value(total(R(n), []), {}, SIZES).any()


def test_a_permutation_of_a_permutation_is_the_identity() -> None:
    h = variable("h", R(n))
    (given,) = Derivative([flip(flip(h))], h).of(flip(flip(h)))
    assert given.factors == () and sympy.expand(given.into[0] - given.out[0]) == 0


def test_an_index_may_run_over_a_part_of_an_axis() -> None:
    """The first n of n + m numbers, read and written: the reference reads no further."""
    long, short = variable("long", R(n + m)), variable("short", R(n))
    form = make_form([(k,), (k,)], {k: n})
    numbers = draw_all([long, short], SIZES)
    first = value(contraction(R(n), form, 1, (long,)), numbers, SIZES)
    assert np.array_equal(first, numbers[long][:3])
    padded = value(contraction(R(n + m), form, 1, (short,)), numbers, SIZES)
    assert np.array_equal(padded, np.concatenate([numbers[short], np.zeros(4)]))
