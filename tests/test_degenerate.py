"""Zeros, ones and numbers within a formula, forms that read nothing or a part, parameters alone.

What stands here is by hand; that kernels of such layers equal the reference, that derivatives are
differences and that derivations hold, is asserted of `declared` and so of these layers, too.
"""

import numpy as np
import pytest
import sympy
from declared import LAYERS, H, beyond, eye, first, head, n

from derive import (
    Index,
    R,
    SpaceError,
    broadcast,
    crop,
    derivation,
    elementwise_function,
    embed,
    entry,
    exp,
    form,
    indices,
    inner,
    largest,
    layer,
    log,
    log_softmax,
    log_sum_exp,
    max_pool,
    norm,
    prove,
    softmax,
    to_sympy,
    variable,
)
from derive.calculus.lift import lift
from derive.calculus.maps import substituted, variables_of
from derive.kernels.printing.cython.emit import emit
from derive.language.expressions import Node, constant, elementwise, held, is_zero, zero
from derive.language.reference import values_of
from derive.language.scalars.shipped import shipped
from derive.models.programs import BATCH

i, j = indices("i j")
x, y, A = variable("x", H), variable("y", H), variable("A", R(n, n))
P = variable("P", R(2, 6, 6))
ones = constant(sympy.S.One, H)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (x * exp(0 * x), x),
        (softmax(x - x), constant(1 / n, H)),
        (log_sum_exp(0 * x), constant(sympy.log(n), R())),
        (log_softmax(0 * x), constant(-sympy.log(n), H)),
        (held(x - x), zero(H)),
        (largest(x - x), zero(R())),
        (largest(0 * x + 3), constant(sympy.Integer(3), R())),
        (softmax(0 * x + 3), constant(1 / n, H)),
        (max_pool(P - P + 2, 3), constant(sympy.Integer(2), R(2, 2, 2))),
        (elementwise(shipped["tanh"], constant(sympy.Integer(2), H)), constant(sympy.tanh(2), H)),
        ((0 * x) / y, zero(H)),
        (x / exp(y - y), x),
        (norm(x - x), zero(R())),
        (entry(A - A, variable("k", Index(n))), zero(H)),
        (broadcast(inner(x, 0 * x), H), zero(H)),
        (form("ones", to=(i,), ranges={i: n})(), ones),
    ],
    ids=str,
)  # fmt: skip
def test_what_numbers_make_is_a_number(found: Node, expected: Node) -> None:
    assert found is expected


@pytest.mark.parametrize("name", [*shipped])
@pytest.mark.parametrize("number", [0, 1, -1, sympy.Rational(5, 2)])
def test_a_folded_number_is_the_value_of_the_function(name: str, number: sympy.Expr) -> None:
    """And of its derivatives, with their conventions at kinks: 4 eps for an ulp of each side."""
    for psi in (shipped[name], shipped[name].derivative()):
        node = elementwise(psi, *[constant(sympy.sympify(number), H)] * len(psi.arguments))
        with np.errstate(all="ignore"):
            expected = psi(*[np.array([float(number)])] * len(psi.arguments))
        (found,) = values_of([node], {}, {n: 1})
        if not np.isnan(expected).any():
            np.testing.assert_allclose(found, expected, rtol=4 * np.finfo(float).eps)


def test_what_has_no_finite_value_is_left_to_the_arithmetic_of_kernels() -> None:
    for node, value in (
        (log(0 * x), -np.inf),
        (1 / (x - x), np.inf),
        (exp(0 * x) / (0 * x), np.inf),
    ):
        with np.errstate(all="ignore"):
            (found,) = values_of([node], {x: np.ones(3)}, {n: 3})
        np.testing.assert_array_equal(found, np.full(3, value))


def test_a_chain_of_functions_of_numbers_grows_no_formula() -> None:
    cosine = elementwise_function("cosine", sympy.cos)
    square = elementwise_function("square", lambda t: t**2)
    for psi in (cosine, square):
        node = constant(sympy.Rational(1, 3), H)
        for _ in range(3000):
            node = psi(node)
        assert not is_zero(node)


def test_numbers_are_folded_where_a_variable_becomes_zero_and_where_a_batch_is_lifted() -> None:
    f = softmax(x) * y + exp(x)
    assert substituted(f, {x: zero(H)}) is y * (1 / n) + 1
    (lifted,), _ = lift([f], [x, y], BATCH)
    at_zero = substituted(lifted, {v: zero(v.space) for v in variables_of(lifted)})
    assert at_zero is constant(sympy.S.One, lifted.space)


def test_no_degenerate_expression_is_emitted() -> None:
    @layer
    def odd(x: H, *, b: H) -> H:
        return exp(x) / (0 * b) + log(b - b) * x

    text = emit(odd).pyx
    assert "(-)" not in text and "exp()" not in text


def test_a_form_that_reads_nothing() -> None:
    sizes, k = {n: 3}, variable("k", Index(n))
    a = np.arange(9.0).reshape(3, 3)
    plus, one_hot = values_of([A + eye(), entry(eye(), k)], {A: a, k: np.array(1)}, sizes)
    np.testing.assert_array_equal(plus, a + np.eye(3))
    np.testing.assert_array_equal(one_hot, [0, 1, 0])
    assert eye() is eye() and (eye() - eye()) is zero(R(n, n))


def test_a_given_range_reads_a_part_or_beyond() -> None:
    s, t = variable("s", R(7)), variable("t", R(7))
    values = {s: np.arange(7.0), t: np.ones(7)}
    three, dot, more, before = values_of(
        [head(s), first(s, t), beyond(x), crop(variable("w", R(2 * n)), 0, n)],
        {**values, x: np.array([1.0, 2.0]), variable("w", R(2 * n)): np.arange(4.0)},
        {n: 2},
    )
    np.testing.assert_array_equal(three, [0, 1, 2])
    assert dot == 3
    np.testing.assert_array_equal(more, [1, 2, 0, 0])
    np.testing.assert_array_equal(before, [0, 1])
    assert embed(x, 1, n + 2).space == R(n + 2)


def test_an_index_without_a_given_range_still_has_one_extent() -> None:
    with pytest.raises(SpaceError, match="index i runs over 3 elsewhere"):
        form("f", a=(i,), b=(i,), to=())(variable("a", R(3)), variable("b", R(4)))


def test_a_layer_of_parameters_alone_is_a_number(compiled) -> None:
    """||W||^2 / 2 and its gradient W; with a batch, as many of them."""
    W = np.arange(6.0).reshape(2, 3)
    kernels = compiled["decay"]
    np.testing.assert_array_equal(kernels.forward(W), 27.5)
    np.testing.assert_array_equal(kernels.forward(W, batch=2), [27.5, 27.5])
    np.testing.assert_array_equal(kernels.backward(W, np.array(2.0)), 2 * W)
    value, gradient = kernels.gradient(W)
    np.testing.assert_array_equal(value, 27.5)
    np.testing.assert_array_equal(gradient, W)
    np.testing.assert_array_equal(compiled["bias"].forward(np.zeros(3)), np.ones(3))


def test_the_mean_of_a_parameter_has_the_gradient_one_over_its_entries(compiled) -> None:
    W, points = np.arange(6.0).reshape(2, 3), np.zeros((4, 3))
    value, _, gradient = compiled["mean_weight"].gradient(points, W)
    np.testing.assert_allclose(value, 2.5, rtol=1e-15)
    np.testing.assert_allclose(gradient, np.full((2, 3), 1 / 6), rtol=1e-15)


@pytest.mark.parametrize("name", ["zeros_within", "parts_of_axes", "decay", "mean_weight"])
def test_their_maps_are_proved_and_their_derivations_hold(name: str) -> None:
    assert all(verdict.proved for verdict in prove(LAYERS[name]))
    assert derivation(LAYERS[name]).tex


def test_a_derivation_declares_the_ranges_of_parts() -> None:
    """As they were declared: what stands there without a range runs over the whole axis."""
    tex = derivation(LAYERS["parts_of_axes"]).tex
    assert "head: form(a=(i,), to=(i,), ranges={i: 3})" in tex
    assert "first: form(a=(i,), b=(i,), to=(), ranges={i: 3})" in tex
    assert "eye: form(a=(), to=(i, i), ranges={i: n})" in tex


def test_the_components_of_the_identity() -> None:
    assert to_sympy(eye(), {n: 2}) == sympy.ImmutableDenseNDimArray([[1, 0], [0, 1]])
