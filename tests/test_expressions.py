"""Expressions: equal ones are one object, constructors simplify, and numbers are exact."""

import gc
from fractions import Fraction

import numpy as np
import pytest
import sympy

from derive import (
    Hom,
    Index,
    R,
    SpaceError,
    broadcast,
    dims,
    entry,
    form,
    indices,
    inner,
    largest,
    mean,
    norm,
    outer,
    scale,
    tanh,
    total_sum,
    uninterpreted,
    variable,
)
from derive.evidence.proofs.equality import ONE_FORM, equal
from derive.language import expressions as e
from derive.language import nodes
from derive.language.walk import jet, rewrite, storage, topological

n, m, k = dims("n m k")
X, H, Y = R(m), R(n), R(k)
x, y, h, g = variable("x", X), variable("y", X), variable("h", H), variable("g", H)
W, U = variable("W", Hom(X, H)), variable("U", Hom(X, H))
p = variable("p", H * X)
half = sympy.Rational(1, 2)

SAME = {
    "variable": lambda: variable("x", X),
    "constant": lambda: e.constant(half, X),
    "sum": lambda: W @ x + h,
    "elementwise": lambda: tanh(h),
    "contraction": lambda: W @ x,
    "tuple": lambda: e.tuple_of((h, x)),
    "projection": lambda: p[1],
    "argmax": lambda: largest(x).operands[1],
    "held": lambda: e.held(tanh(x)),
    "jet": lambda: uninterpreted("f", X, H)(x),
    "power": lambda: x ** Fraction(3, 2),
    "quotient": lambda: x / y,
}


@pytest.mark.parametrize("make", SAME.values(), ids=SAME)
def test_equal_expressions_are_one_object(make) -> None:
    assert make() is make()


def test_other_names_and_spaces_are_other_expressions() -> None:
    assert variable("x", X) is not variable("x", H)
    assert W @ x is not U @ x and tanh(h) is not tanh(g)


def test_expressions_that_nobody_holds_are_forgotten() -> None:
    gc.collect()  # what earlier tests left
    before = len(nodes._interned)
    made = [variable(f"t{number}", X) * 2 for number in range(100)]
    assert len(nodes._interned) >= before + 200
    del made
    gc.collect()
    assert len(nodes._interned) <= before + 2


# --- sums


def test_like_terms_are_added_in_the_users_order() -> None:
    assert 2 * x + 3 * x is 5 * x
    assert x - x is e.zero(X)
    three = e.linear_combination([(1, y), (half, x), (2, y), (half, x)])
    assert three.terms == ((3, y), (1, x))
    z = W @ x + h
    assert (z + g).terms == ((1, z), (1, g))  # a sum that a local may name is not taken apart
    assert x + y is not y + x and equal(x + y, y + x) == ONE_FORM


def test_constants_are_like_terms() -> None:
    one = e.constant(sympy.S.One, X)
    assert e.linear_combination([(2, x), (half, one), (-half, one), (-1, x)]) is x
    assert e.constant(sympy.Integer(2), X) * half is one and -one is e.constant(-sympy.S.One, X)
    assert is_zero_of(X, x * 0) and is_zero_of(X, e.constant(sympy.S.Zero, X))


def is_zero_of(space, node) -> bool:
    return e.is_zero(node) and node.space == space


def test_sums_of_tuples_are_tuples_of_sums() -> None:
    pair = e.tuple_of((h, x))
    assert pair + pair is e.tuple_of((2 * h, 2 * x))
    assert pair - (h, x) is e.zero(H * X)
    assert is_zero_of(H * X, 0 * pair)
    assert 2 + pair is e.tuple_of((2 + h, 2 + x))


# --- numbers


@pytest.mark.parametrize(
    ("number", "exact"),
    [
        (0.1, sympy.Rational(1, 10)),
        (1e-5, sympy.Rational(1, 100000)),
        (3, 3),
        (np.float64(0.1), sympy.Rational(1, 10)),
        (np.float32(0.1), sympy.Rational(1, 10)),
        (np.int64(7), 7),
        (Fraction(1, 3), sympy.Rational(1, 3)),
        (sympy.Float(0.25), sympy.Rational(1, 4)),
        (sympy.sqrt(2), sympy.sqrt(2)),
        (1 / n, 1 / n),
        (sympy.sqrt(n), sympy.sqrt(n)),
    ],
)
def test_numbers_are_exact(number, exact) -> None:
    for product in (number * x, x * number):
        assert product.terms == ((exact, x),)
    assert (x + number).terms[1] == (exact, e.constant(sympy.S.One, X))
    assert (x / number).terms == ((1 / sympy.sympify(exact), x),)


@pytest.mark.parametrize(
    "wrong",
    [
        *(float("nan"), float("inf"), sympy.oo, sympy.nan, sympy.I, sympy.Symbol("a", real=True)),
        *(True, "2", None, [1.0], np.ones(3), 1j),
    ],
    ids=str,
)
def test_other_things_are_no_numbers(wrong) -> None:
    with pytest.raises(SpaceError, match=r"expected a (finite real )?number or an expression"):
        _ = x * wrong
    with pytest.raises((SpaceError, TypeError)):
        _ = wrong * x


# --- products


def test_matrix_products_have_the_spaces_of_maps() -> None:
    assert (W @ x).space == H and inner(x, y).space == R() and outer(h, x).space == Hom(X, H)
    assert (variable("B", Hom(X, Hom(H, Y))) @ x @ h).space == Y


def test_products_with_zero_and_one_are_taken() -> None:
    one = e.constant(sympy.S.One, X)
    assert is_zero_of(H, W @ e.zero(X)) and is_zero_of(X, x * e.zero(X))
    assert x * one is x and one * x is x
    assert total_sum(one) is e.constant(m, R())
    assert inner(one, one) is e.constant(m, R()) and inner(x, one) is total_sum(x)
    assert broadcast(e.constant(half, R()), X) is e.constant(half, X)


def test_numbers_come_out_in_front() -> None:
    assert (2 * W) @ (3 * x) is 6 * (W @ x)
    assert (x * half) * (y * 4) is 2 * (x * y)
    assert mean(x) is total_sum(x) / m
    assert scale(e.constant(half, R()), x) is half * x


def test_powers_are_elementwise() -> None:
    assert x**1 is x and x**0 is e.constant(sympy.S.One, X)
    assert (x**2).operation.body == (x**2).operation.arguments[0] ** 2
    assert norm(x).operands == (inner(x, x),)


# --- direct products


def test_a_pair_is_taken_apart_and_put_together() -> None:
    a, b = p
    assert (a.space, b.space) == (H, X) and e.tuple_of((a, b)) is p
    assert tuple(e.tuple_of((h, x))) == (h, x)
    assert e.tuple_of((b, a)) is not p


def test_a_power_is_taken_apart_by_its_first_axis() -> None:
    gates = variable("z", H**4)
    i, f, o, c = gates
    assert {part.space for part in (i, f, o, c)} == {H} and len({i, f, o, c}) == 4
    assert gates[2] is o
    assert storage(e.tuple_of((gates, e.tuple_of((h, x))))) == (gates, h, x)


@pytest.mark.parametrize("codomain", [H, H * X, Y * (X * H)], ids=str)
@pytest.mark.parametrize("domain", [X, X * H, H * H], ids=str)
def test_a_map_on_products_is_applied_block_by_block(domain, codomain) -> None:
    """Row by row, each the sum over the blocks of the domain; no block is transposed."""
    operator, argument = variable("A", Hom(domain, codomain)), variable("s", domain)
    result = operator @ argument
    assert result.space == codomain
    if domain == H * H and codomain == H * X:
        (a, b), (c, d) = operator
        s, t = argument
        assert result is e.tuple_of((a @ s + b @ t, c @ s + d @ t))


# --- walking


def test_every_node_comes_once_and_after_its_operands() -> None:
    z = tanh(W @ x) * (W @ x) + h
    order = topological(z, z)
    assert len(order) == len(set(order)) and order[-1] is z
    for node in order:
        assert all(order.index(operand) < order.index(node) for operand in node.operands)
    assert [node.name for node in order if isinstance(node, e.Variable)] == ["W", "x", "h"]


@pytest.mark.parametrize("make", SAME.values(), ids=SAME)
def test_rebuilding_on_the_same_operands_changes_nothing(make) -> None:
    assert rewrite([make()], lambda node: None)[make()] is make()


def test_replacing_variables_is_simultaneous() -> None:
    z = tanh(x) + 2 * y
    assert rewrite([z], {x: y, y: x}.get)[z] is tanh(y) + 2 * x


def test_a_jet_is_symmetric_in_its_directions() -> None:
    v = [tanh(x), x**2, W @ x, U @ x, uninterpreted("f", X, X)(x), uninterpreted("g", X, X)(x)]
    for a in v:
        for b in v:
            left, right = jet("q", H, [x], [(0, a), (0, b)]), jet("q", H, [x], [(0, b), (0, a)])
            assert left is right
    assert jet("q", H, [x, y], [(0, x), (1, y)]) is not jet("q", H, [x, y], [(0, y), (1, x)])
    assert is_zero_of(H, jet("q", H, [x], [(0, e.zero(X))]))


# --- errors

i, j = indices("i j")
RAISES = {
    "sum": (lambda: h + x, r"R\(n\) \+ R\(m\): the two sides must be of one space.*broadcast"),
    "difference": (lambda: h - x, r"R\(n\) - R\(m\): the two sides"),
    "product": (lambda: h * x, r"R\(n\) \* R\(m\): the Hadamard product.*scale.*broadcast.*@"),
    "quotient": (
        lambda: h / x,
        r"quotient: all arguments must be of one space, got R\(n\) and R\(m",
    ),
    "map": (lambda: W @ h, r"R\(n, m\) @ R\(n\): .* declare a map on R\(n\) as Hom\(R\(n\), codom"),
    "map of a pair": (lambda: W @ (h, x), r"R\(n, m\) @ R\(n\) \* R\(m\): the last axes"),
    "map of a number": (lambda: W @ 3, "@: expected a linear map and an expression, got"),
    "elementwise of a pair": (
        lambda: tanh(p),
        r"tanh: expected an array space, got R\(n\) \* R\(m\)",
    ),
    "inner": (
        lambda: inner(x, h),
        r"inner: both arguments must be of one space, got R\(m\) and R\(n",
    ),
    "unpacking": (lambda: list(x), r"an element of R\(m\) can't be taken apart.*as in H\*\*4"),
    "broadcast": (lambda: broadcast(x, H), r"broadcast: expected a scalar, got R\(m\)"),
    "scale": (lambda: scale(x, h), r"scale: the first argument must be a scalar, got R\(m\)"),
    "largest": (
        lambda: largest(inner(x, x)),
        r"largest: expected a space of one axis at least, got R",
    ),
    "entry": (
        lambda: entry(x, variable("c", Index(n))),
        r"got R\(m\) and Index\(n\); declare the index as Index\(m\)",
    ),
    "irrational power": (lambda: x ** sympy.sqrt(2), "the exponent must be a rational number"),
    "number plus indices": (lambda: variable("c", Index(n)) + 1, r"Index\(n\) has no arithmetic"),
    "empty tuple": (lambda: e.tuple_of(()), "a tuple of a direct product holds expressions"),
    "tuple of numbers": (
        lambda: e.tuple_of((h, 3)),
        "a tuple of a direct product holds expressions",
    ),
    "domain": (
        lambda: uninterpreted("f", X, H)(h),
        r"f: a function of R\(m\), got R\(n\)",
    ),
    "form": (lambda: form("f", A=(i, j), to=(i,))(x), "f: A has shape"),
}


@pytest.mark.parametrize(("make", "sentence"), RAISES.values(), ids=RAISES)
def test_errors_name_the_operation_the_spaces_and_the_fix(make, sentence) -> None:
    with pytest.raises(SpaceError, match=sentence):
        make()
