"""A formula is rewritten before it is derived: by laws that hold, to what keeps its digits."""

import re
from pathlib import Path

import numpy as np
import pytest
import sympy
from points import EPS, close, draw_all

from derive import (
    Hom,
    Layer,
    R,
    broadcast,
    dims,
    elementwise_function,
    equal,
    exp,
    form,
    given,
    indices,
    inner,
    layer,
    log,
    log_softmax,
    log_sum_exp,
    mean,
    norm,
    prove,
    scale,
    sigmoid,
    softmax,
    softplus,
    sqrt,
    tanh,
    total_sum,
    transpose,
    variable,
)
from derive.language.expressions import Node
from derive.language.reference import values_of
from derive.vocabulary.rewriting import searching
from derive.vocabulary.rewriting.identities import LAWS
from derive.vocabulary.rewriting.rewrites import rewritten

n, m = dims("n m")
i, j, k = indices("i j k")
SIZES = {n: 3, m: 4}
X, M = R(n), R(n, m)
x, A, y = variable("x", X), variable("A", M), variable("y", X)
number = variable("s", R())

columns = form("columns", A=(i, j), to=(j,))
rows = form("rows", A=(i, j), to=(i,))
along = form("along", y=(i,), to=(i, j), ranges={j: m})
trace = form("tr", A=(i, i))
product = form("product", A=(i, j), B=(j, k), to=(i, k))


def root(t: Node) -> Node:
    """The root of what is above zero at every point."""
    return sqrt(exp(t))


# each law: formulas it applies to, each with what is computed instead
EXAMPLES: dict[str, list[tuple[Node, Node | None]]] = {
    "log of softmax": [
        (log(softmax(x)), log_softmax(x)),
        (log(softmax(A)), log_softmax(A)),
        (log(form("first", x=(0,), to=())(softmax(x))), None),
        (log(transpose(softmax(A))), transpose(log_softmax(A))),
    ],
    "log of a sum of exponentials": [
        (log(total_sum(exp(x))), None),
        (log(total_sum(exp(A))), None),
        (log(columns(exp(A))), None),
        (log(mean(exp(x))), None),
        (log(3 * total_sum(exp(x))), log_sum_exp(x) + sympy.log(3)),
    ],
    "softmax": [
        (exp(x) / broadcast(total_sum(exp(x)), X), softmax(x)),
        (scale(1 / total_sum(exp(x)), exp(x)), softmax(x)),
        (exp(A) / along(rows(exp(A))), softmax(A)),
    ],
    "norm": [(sqrt(inner(x, x)), norm(x)), (sqrt(inner(A, A)), norm(A))],
    "square of a norm": [(norm(x) ** 2, inner(x, x)), (norm(A) ** 2, inner(A, A))],
    "power of a power": [
        (sqrt(exp(x)) ** 2, exp(x)),
        (1 / (1 / x), x),
        ((x**2) ** 0.5, None),
        (sqrt(x * x), None),
        ((exp(x) ** 0.5) ** 4, exp(x) ** 2),
    ],
    "product of roots": [
        (root(x) * root(x), exp(x)),
        (inner(root(x), root(x)), total_sum(exp(x))),
        (root(x) * y * root(x), None),
        (form("f", b=(i + 1,), u=(i,), v=(i,))(broadcast(number, X), sqrt(x), sqrt(x)), None),
    ],
    "exp of log": [(exp(log(x)), x)],
    "log of exp": [(log(exp(x)), x)],
    "sum of a diagonal": [
        (trace(product(transpose(A), A)), inner(A, A)),
        (form("diagonal", A=(i, i), to=(i,))(product(A, transpose(A))), None),
    ],
}
CASES = [(law, before, after) for law, pairs in EXAMPLES.items() for before, after in pairs]


def test_every_law_has_an_example() -> None:
    assert {law.name for law in LAWS} == EXAMPLES.keys()


def test_the_page_lists_the_laws() -> None:
    page = (Path(__file__).parent.parent / "docs" / "rewriting.md").read_text("utf-8")
    listed = re.findall(r"^\| ([^|]*) \|", page, re.M)[1:]
    assert listed == list(dict.fromkeys(law.name for law in LAWS))


@pytest.mark.parametrize(("law", "before", "after"), CASES)
def test_a_law_keeps_the_function(law: str, before: Node, after: Node | None) -> None:
    """Exactly, by the proof of the derivatives; and the values, which it does not see, at a point.

    Each side is a few operations on entries of size 1: 64 roundings at most.
    """
    new, applied = rewritten(before)
    assert law in [found.law for found in applied]
    assert after is None or new[before] is after
    point = {v: np.abs(value) for v, value in draw_all([before], SIZES).items()}
    declared, computed = values_of([before, new[before]], point, SIZES)
    assert close(computed, declared, 64)
    f = Layer.of("f", state={"x": X, "A": M, "y": X, "s": R()}, output=before)
    assert all(verdict.proved for verdict in prove(f))


@pytest.mark.parametrize("before", [before for _, before, _ in CASES])
def test_what_is_rewritten_is_left_alone(before: Node) -> None:
    new, _ = rewritten(before)
    again, applied = rewritten(new[before])
    assert not applied and again[new[before]] is new[before]


@pytest.mark.parametrize(
    "silent",
    [
        log(softmax(x) + y),
        log(total_sum(exp(x) * y)),
        log(total_sum(tanh(x))),
        sqrt(x**3),
        1 / sqrt(x),
        (x**3) ** 0.5,
        norm(x) ** 3,
        exp(x) / broadcast(total_sum(exp(y)), X),
        exp(A) / broadcast(total_sum(exp(A)), M),
        scale(1 / total_sum(exp(A)), exp(A)),
        log(-exp(x)),
        log(sqrt(x) * sqrt(y)),
        trace(variable("S", R(n, n))),
        product(A, transpose(A)),
    ],
)
def test_no_law_says_what_is_not_so(silent: Node) -> None:
    new, applied = rewritten(silent)
    assert not applied and new[silent] is silent


GATE = sigmoid(x)
SCALAR: list[tuple[Node, Node]] = [  # what is written, and what is computed by the scalar laws
    (log(sigmoid(x)), -softplus(-x)),
    (log(1 - GATE), -softplus(x)),
    (log(1 / (1 + exp(-x))), -softplus(-x)),
    (x / (1 + exp(-x)), x * sigmoid(x)),
    ((exp(x) - exp(-x)) / (exp(x) + exp(-x)), tanh(x)),
    (-y * log(GATE) - (1 - y) * log(1 - GATE), y * softplus(-x) + (1 - y) * softplus(x)),
]


@pytest.mark.parametrize(("before", "after"), SCALAR)
def test_scalar_laws_see_through_sums_and_products(before: Node, after: Node) -> None:
    new, applied = rewritten(before)
    assert applied and new[before] is after
    f = Layer.of("f", state={"x": X, "y": X}, output=before)
    assert all(verdict.proved for verdict in prove(f))


def test_what_is_said_by_hand_is_left() -> None:
    own = elementwise_function("own", lambda t: sympy.exp(t), derivatives={1: sympy.exp})
    new, applied = rewritten(log(own(x)))
    assert not applied and new[log(own(x))] is log(own(x))


def test_what_is_used_again_is_not_computed_twice() -> None:
    """(1 - z) (.) x + z (.) y, as a GRU has it, keeps its one sigmoid, also one that was found."""
    gated = (1 - GATE) * x + GATE * y
    new, applied = rewritten(gated)
    assert not applied and new[gated] is gated
    written = 1 / (1 + exp(-x))
    by_hand = (1 - written) * x + written * y
    assert equal(rewritten(by_hand)[0][by_hand], gated).reason == "one normal form"


def test_a_quotient_is_not_brought_over_one_denominator() -> None:
    """exp(-x) y sigmoid(z) far out: over a common denominator it would be inf/inf."""
    f = log(y * (1 + exp(-x)) * sigmoid(x))
    new, _ = rewritten(f)
    point = {x: np.array([800.0]), y: np.array([2.0])}
    (value,) = values_of([new[f]], point, {n: 1})
    assert abs(value - np.log(2)) <= 4 * EPS


def test_a_chain_of_laws_takes_time_in_proportion(monkeypatch) -> None:
    """Counted in nodes that are rebuilt, for 10 and for 40 logarithms of softmax."""
    count = [0]
    own = searching.rebuild
    monkeypatch.setattr(searching, "rebuild", lambda *a: (count.append(1), own(*a))[1])
    totals = []
    for length in (10, 40):
        h, before = x, len(count)
        for _ in range(length):
            h = log(softmax(h))
        assert len(rewritten(h)[1]) == length
        totals.append(len(count) - before)
    assert totals[1] <= 5 * totals[0]


# --- layers


@layer
def likelihood(x: R(m), y: given(R(n)), *, W: Hom(R(m), R(n))) -> R():
    s = softmax(W @ x)
    return -inner(y, log(s))


@layer
def bump(x: R(n)) -> R():
    r = norm(x)
    return exp(-(r**2))


def test_the_printed_formula_is_the_users_and_names_stay() -> None:
    assert likelihood.names[likelihood.output.operands[0].operands[1].operands[0]] == "s"
    assert bump.rewritten.output is exp(-inner(*[bump.state[0]] * 2))
    assert bump.output is not bump.rewritten.output
    assert bump.rewritten.rewritten is bump.rewritten


def test_log_of_softmax_keeps_its_digits_far_out() -> None:
    """At logits of +-800 the softmax underflows to 0 and its logarithm is -inf."""
    W = np.eye(2)
    logits, target = np.array([800.0, -800.0]), np.array([0.0, 1.0])
    variables = [a.variable for a in likelihood.arguments]
    arguments = dict(zip(variables, (logits, target, W), strict=True))
    sizes = {n: 2, m: 2}
    (J,) = values_of([likelihood.rewritten.output], arguments, sizes)
    gradient = likelihood.derivative("x").adjoint
    (x_bar,) = values_of([gradient.body], {**arguments, gradient.variable: np.asarray(1.0)}, sizes)
    assert J == 1600 and np.array_equal(x_bar, [1.0, -1.0])


@pytest.mark.parametrize(("f", "expected"), [(bump, -2.0)], ids=str)
def test_the_square_of_a_norm_has_its_derivatives_at_zero(f: Layer, expected: float) -> None:
    """D exp(-|x|^2) = 0 and D^2 = -2 there, where the norm has no derivative."""
    D, D2 = f.D(), f.D2()
    zero = {f.state[0]: np.zeros(3)}
    v, w = np.array([1.0, 2.0, 3.0]), np.array([3.0, -1.0, 2.0])
    (first,) = values_of([D.body], {**zero, D.variable: v}, SIZES)
    (second,) = values_of([D2.body], {**zero, D2.left: v, D2.right: w}, SIZES)
    assert first == 0 and abs(second - expected * (v @ w)) <= 8 * EPS * abs(expected * (v @ w))
