"""Blocks: products, sums and adjoints of linear maps, and what is stored is what is read back."""

from dataclasses import replace

import numpy as np
import pytest
import sympy
from points import draw_all, pairing
from recurrent_cells import CELLS, hybrid_of, influence_of, sizes_of
from structured import ROUNDING, dense, distance

from derive.calculus.terms import Term, ties
from derive.language.expressions import constant, variable
from derive.language.reference import values_of
from derive.language.spaces import R
from derive.models.programs import BATCH
from derive.recurrence.blocks import Blocks, StoredJacobian, identity, product
from derive.recurrence.ties import closure, composed, met_in_both, tied_products

n, m, k = sympy.symbols("n m k", integer=True, positive=True)
i, j, l = sympy.symbols("i j l", integer=True, nonnegative=True)  # noqa: E741
SIZES = {n: 4, m: 3, k: 5, BATCH: 2}
cells = pytest.mark.parametrize("name", CELLS)


def maps(name: str) -> tuple[Blocks, Blocks, Blocks, Blocks]:
    """D f, nabla f by the families of J, J and Lambda of a cell, its initial state learned."""
    J = influence_of(name, "learned")
    return J.step.D, J.nabla, J.J, hybrid_of(name, "learned").Lambda


def vectors(letter: str, spaces) -> dict:
    """An array in every space, by its number."""
    return {a: variable(f"{letter}_{a}", space) for a, space in enumerate(spaces)}


def off(name: str, found, expected) -> float:
    """How far expressions of a cell are from others, at a point drawn for all their arrays."""
    nodes = [*found, *expected]
    sizes = sizes_of(influence_of(name, "learned").transition)
    return distance(values_of(nodes, draw_all(nodes, sizes), sizes))


# --- maps


@cells
def test_a_product_is_one_map_after_another(name: str) -> None:
    D, _, J, Lambda = maps(name)
    for left, right in ((D, J), (Lambda, D), (Lambda, J), (Lambda, Lambda)):
        u = vectors("u", right.columns)
        found = left.times(right).apply(u)
        assert off(name, found, left.apply(dict(enumerate(right.apply(u))))) < ROUNDING


@cells
def test_a_product_is_associative(name: str) -> None:
    D, _, J, Lambda = maps(name)
    u = vectors("u", J.columns)
    left, right = Lambda.times(D).times(J).apply(u), Lambda.times(D.times(J)).apply(u)
    assert off(name, left, right) < ROUNDING


@cells
def test_a_sum_adds_the_maps(name: str) -> None:
    D, nabla, J, _ = maps(name)
    moved, u = D.times(J), vectors("u", J.columns)
    found = (moved + nabla).apply(u)
    expected = [x + y for x, y in zip(moved.apply(u), nabla.apply(u), strict=True)]
    assert off(name, found, expected) < ROUNDING


@cells
def test_pull_is_the_adjoint(name: str) -> None:
    """<L u, w> = <u, L* w>, and (K L)* = L* K*."""
    D, nabla, J, Lambda = maps(name)
    sizes = sizes_of(influence_of(name, "learned").transition)
    for L in (D, nabla, J, Lambda, D.times(J)):
        u, w = vectors("u", L.columns), vectors("w", L.rows)
        sides = [*L.apply(u), *w.values(), *u.values(), *L.pull(w)]
        found = iter(values_of(sides, draw_all(sides, sizes), sizes))
        Lu, w_, u_, Lw = ([next(found) for _ in g] for g in (L.rows, w, u, L.columns))
        size = sum(np.abs(x).sum() * np.abs(y).max() for x, y in zip(Lu, w_, strict=True))
        assert abs(pairing(tuple(Lu), tuple(w_)) - pairing(tuple(u_), tuple(Lw))) <= (
            16 * ROUNDING * max(size, 1.0)
        )
    w = vectors("w", D.rows)
    found = D.times(J).pull(w)
    assert off(name, found, J.pull(dict(enumerate(D.pull(w))))) < ROUNDING


@cells
def test_a_formed_block_is_the_same_map(name: str) -> None:
    D, nabla, _, _ = maps(name)
    for L in (D, nabla):
        u, formed = vectors("u", L.columns), L.formed(L.terms)
        assert all(len(terms) == len(terms[0].factors) == 1 for terms in formed.terms.values())
        assert off(name, formed.apply(u), L.apply(u)) < ROUNDING


@cells
def test_the_identity_changes_nothing(name: str) -> None:
    D, _, J, _ = maps(name)
    for left, right, whole in ((identity(D.rows), D, D), (D, identity(D.columns), D)):
        u = vectors("u", whole.columns)
        assert off(name, left.times(right).apply(u), whole.apply(u)) < ROUNDING
    u = vectors("u", J.rows)
    assert identity(J.rows).apply(u) == tuple(u.values())


# --- products of terms, entry by entry


def array(name: str, *shape):
    return variable(name, R(*shape))


d, A, B, e = array("d", n), array("A", n, m), array("B", m, k), array("e", m)
ONE = sympy.Integer(1)
LEFT = {  # an R(m) read, an R(n) made
    "full": Term((i,), (j,), (((i, j), A),), ((i, n), (j, m))),
    "diagonal": Term((i,), (i,), (((i,), d),), ((i, m),)),
    "shifted": Term((i,), (i + 1,), (((i,), d),), ((i, n),)),
    "one column": Term((i,), (ONE,), (((i,), d),), ((i, n),)),
    "all alike": Term((i,), (j,), (), ((i, n), (j, m))),
}
RIGHT = {  # an R(k) read, an R(m) made
    "full": Term((j,), (l,), (((j, l), B),), ((j, m), (l, k))),
    "diagonal": Term((j,), (j,), (((j,), e),), ((j, m),)),
    "shifted": Term((j + 1,), (j,), (((j,), e),), ((j, m),)),
    "one row": Term((ONE,), (l,), (), ((l, k),)),
    "all alike": Term((j,), (l,), (), ((j, m), (l, k))),
}
REFUSED = {("shifted", "shifted"), ("shifted", "one row"), ("one column", "shifted")}
REFUSED |= {("one column", "one row")}
PAIRS = [(a, b) for a in LEFT for b in RIGHT]


@pytest.mark.parametrize("pair", PAIRS, ids=" after ".join)
def test_a_product_of_terms_by_its_definition(pair) -> None:
    """sum_j (d out / d j) (d j / d into), zero outside of every array."""
    left, right = LEFT[pair[0]], RIGHT[pair[1]]
    if pair in REFUSED:
        with pytest.raises(ValueError, match="one of the two must be running indices"):
            product(left, right)
        return
    values = draw_all([d, A, B, e], SIZES)
    found = dense(product(left, right), values, SIZES, ((4,), (5,)))
    first, second = (
        dense(left, values, SIZES, ((4,), (3,))),
        dense(right, values, SIZES, ((3,), (5,))),
    )
    assert np.allclose(found, first @ second, rtol=ROUNDING, atol=0)


def test_two_uses_of_one_term_share_no_index() -> None:
    square = Term((i,), (j,), (((i, j), array("S", n, n)),), ((i, n), (j, n)))
    values = draw_all([square.factors[0][1]], SIZES)
    shapes = ((4,), (4,))
    once, twice = (dense(t, values, SIZES, shapes) for t in (square, product(square, square)))
    assert np.allclose(twice, once @ once, rtol=ROUNDING, atol=ROUNDING)


# --- what is stored


def read_back(L: Blocks, stores) -> Blocks:
    return L.holding(stores, {key: s.holding(L.of(key)) for key, s in stores.items()})


@cells
def test_what_is_stored_is_read_back(name: str) -> None:
    """In arrays with tied axes once, and side by side."""
    J = influence_of(name, "learned")
    stores = {J.key[s]: s for s in J.stores}
    u = vectors("u", J.J.columns)
    for L in (J.nabla, J.step.D.times(J.J), J.step.D.times(J.J) + J.nabla):
        assert off(name, read_back(L, stores).apply(u), L.apply(u)) < ROUNDING


@cells
def test_a_product_with_lambda_is_stored_as_lambda_is(name: str) -> None:
    lemma, D = hybrid_of(name, "learned"), influence_of(name, "learned").step.D
    L, v = lemma.Lambda.times(D), vectors("v", D.columns)
    assert off(name, read_back(L, lemma.stores).apply(v), L.apply(v)) < ROUNDING


def test_a_tie_that_is_none_is_found_out() -> None:
    """With an axis of Lambda stored once though D f is full, what is read back is another map."""
    lemma, D = hybrid_of("vanilla_rnn", "learned"), influence_of("vanilla_rnn", "learned").step.D
    tied = identity(D.rows).ties
    stores = identity(D.rows).stored(tied, lemma.step.h, lambda key, space: variable("T", space))
    v = vectors("v", D.columns)
    assert off("vanilla_rnn", read_back(D, stores).apply(v), D.apply(v)) > 0.1


def test_entries_of_arrays_side_by_side() -> None:
    """The columns of W, then those of b: row by row from where the array begins."""
    W, b = array("W", n, m), array("b", n)
    made = array("J_W_b", n, n * m + n)
    s = StoredJacobian(made, 0, (W, b), frozenset(), (sympy.S.Zero, n * m))
    assert s.entry(W, (i, j)) == (sympy.expand(i * m + j),) and s.entry(b, (i,)) == (n * m + i,)
    assert s.axes == (n * m + n,) and s.place((l,), s.entry(b, (i,))) == (l, n * m + i)


def test_a_tied_axis_is_not_stored() -> None:
    s = StoredJacobian(array("J_U", BATCH, n, m), 0, (array("U", n, m),), frozenset({(1, 0)}))
    term = s.term()
    assert ties(term) == {(1, 0)} and term.factors[0][0] == (*term.out, term.into[1])
    assert s.place((l, i), (i, j)) == (l, i, j)


# --- ties

FULL, SAME, NONE = frozenset({(0, 0)}), frozenset({(0, 0), (1, 1)}), frozenset()
COUPLED = {(0, 0): SAME, (0, 1): SAME, (1, 0): SAME, (1, 1): FULL}  # the last is full but for 0


def test_ties_that_a_recursion_keeps() -> None:
    """By hand: a full block undoes the ties of all that reach it, none of those that don't."""
    alone = {(0, 0): SAME, (1, 1): FULL}
    start = {(0, 0): frozenset({(1, 1)}), (1, 0): NONE, (0, 1): SAME, (1, 1): SAME}
    kept = closure(start, lambda J: tied_products(alone, J))
    assert kept == {(0, 0): frozenset({(1, 1)}), (1, 0): NONE, (0, 1): SAME, (1, 1): FULL}
    assert closure(start, lambda J: tied_products(COUPLED, J)) == {
        (0, 0): NONE, (1, 0): NONE, (0, 1): FULL, (1, 1): FULL,
    }  # fmt: skip


def test_a_block_that_nothing_reaches_is_not_there() -> None:
    below = {(0, 0): FULL, (1, 0): FULL, (1, 1): FULL}  # no state sees one above
    found = closure(identity([R(BATCH, n)] * 2).ties, lambda L: tied_products(L, below))
    assert set(found) == {(0, 0), (1, 0), (1, 1)}


@cells
def test_the_ties_are_kept_and_no_more_would_be(name: str) -> None:
    """J = D f . J + nabla f has them again; with any one of the start's more, it has not."""
    step = influence_of(name, "learned").step
    start, kept = met_in_both(step.nabla.ties, step.first().ties), step.influence_ties()

    def again(tied):
        return met_in_both(met_in_both(start, tied_products(step.D.ties, tied)), tied)

    assert again(kept) == kept
    for key, own in kept.items():
        for pair in start.get(key, frozenset()) - own:
            assert again({**kept, key: own | {pair}}) != {**kept, key: own | {pair}}


def test_ties_of_products_are_those_of_the_terms() -> None:
    left, right = LEFT["diagonal"], RIGHT["diagonal"]
    assert ties(product(left, right)) == composed(ties(left), ties(right)) == FULL
    full = product(LEFT["full"], right)
    assert ties(full) == composed(ties(LEFT["full"]), ties(right)) == NONE


def test_ones_of_the_identity_are_read() -> None:
    """The identity has a factor, so that a product with it reads nothing outside."""
    (term,) = identity([R(n)]).of((0, 0))
    assert term.factors == ((term.out, constant(ONE, R(n))),) and term.out == term.into
    shifted = replace(LEFT["shifted"], extents=((i, n),))
    values = draw_all([d], SIZES)
    found = dense(product(shifted, term), values, SIZES, ((4,), (4,)))
    assert np.array_equal(found, dense(shifted, values, SIZES, ((4,), (4,))))
