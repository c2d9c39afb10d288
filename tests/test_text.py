"""Formulas are printed as a person writes them."""

import pytest
import sympy
from formulas import FORMULAS, A, B, H, W, X, b, h, i, m, x, x2

from derive import (
    Hom,
    Index,
    R,
    entry,
    form,
    inner,
    layer,
    norm,
    relu,
    tanh,
    uninterpreted,
    variable,
)
from derive.calculus.calculus import tangent, transpose
from derive.language.text import Writer


@layer
def dense(x: X, *, W: Hom(X, H), b: H) -> H:
    z = W @ x + b
    return tanh(z)


named = Writer(dense.names)
bare = Writer({})

DENSE = {
    "f": (dense.output, "tanh(z)"),
    "z": (W @ x + b, "W x + b"),
    "D": (dense.D().body, "tanh'(z) (.) W v"),
    "D*": (dense.D().adjoint.body, "W^T (tanh'(z) (.) w)"),
    "nabla_W": (dense.nabla("W").body, "tanh'(z) (.) u x"),
    "nabla*_W": (dense.nabla("W").adjoint.body, "(tanh'(z) (.) w) x^T"),
    "nabla_b": (dense.nabla("b").body, "tanh'(z) (.) u"),
    "nabla*_b": (dense.nabla("b").adjoint.body, "tanh'(z) (.) w"),
    "D^2": (dense.D2().body, "tanh''(z) (.) W v1 (.) W v2"),
    "(v _| D^2)*": (dense.D2().hook().adjoint.body, "W^T (tanh''(z) (.) W v1 (.) w)"),
    "D nabla_W": (
        dense.D_nabla("W").body,
        "tanh''(z) (.) W v (.) u x + tanh'(z) (.) u v",
    ),
    "(v _| D nabla_W)*": (
        dense.D_nabla("W").hook().adjoint.body,
        "(tanh'(z) (.) w) v^T + (tanh''(z) (.) W v (.) w) x^T",
    ),
    "(u _| nabla_W D)*": (
        dense.nabla_D("W").hook().adjoint.body,
        "u^T (tanh'(z) (.) w) + W^T (tanh''(z) (.) u x (.) w)",
    ),
    "(u _| nabla_W^2)*": (
        dense.nabla2("W").hook().adjoint.body,
        "(tanh''(z) (.) u1 x (.) w) x^T",
    ),
}


@pytest.mark.parametrize(("node", "text"), DENSE.values(), ids=DENSE)
def test_the_dense_layer(node, text) -> None:
    assert named.formula(node) == text


v, u, w = variable("v", X), variable("u", Hom(X, H)), variable("w", H)
f, g = uninterpreted("f", X, H), uninterpreted("g", X, Hom(X, H), H)


def back(node, cotangent, by=x):
    """D* node . cotangent."""
    dot = variable("dot", by.space)
    return transpose(tangent(node, {by: dot}), cotangent, [dot])[dot]


WRITTEN = {
    "names of locals": (tanh(W @ x + b), "tanh(W x + b)"),
    "sums": (W @ x + A @ x + b, "W x + A x + b"),
    "differences": (h - (w + b), "h - (w + b)"),
    "signs": (-h + 2 * w - b / 3, "-h + 2 w - 1/3 b"),
    "numbers": (x + 0.25 - x2, "x + 1/4 - x2"),
    "sizes": (x / m, "1/m x"),
    "zero": (h - h, "0"),
    "products": (x * x2 * tanh(x), "x (.) x2 (.) tanh(x)"),
    "product of sums": ((x + x2) * x, "(x + x2) (.) x"),
    "a map of a sum": (W @ (x + x2), "W (x + x2)"),
    "quotients": (x / (1 + x2 * x2), "x / (1 + x2 (.) x2)"),
    "a quotient in a product": ((x / x2) * x, "(x / x2) (.) x"),
    "reciprocals": (1 / x - 2 / x2, "1 / x - 2 (1 / x2)"),
    "powers": (x**3 + x**-2, "x^3 + x^(-2)"),
    "inner products": (inner(x, x2), "<x, x2>"),
    "norms": (norm(x), "sqrt(<x, x>)"),
    "scalars": (inner(x, x) * inner(h, h), "<x, x> <h, h>"),
    "trilinear": ((B @ x) @ h, "(B x) h"),
    "entry": (entry(x, variable("k", Index(m))), "x[k]"),
    "unit vector": (back(entry(x, variable("k", Index(m))), inner(h, h)), "<h, h> e_k"),
    "relu": (tangent(relu(x), {x: v}), "relu'(x) (.) v"),
    "softmax": (
        FORMULAS["softmax"],
        "exp(W x + b - max(W x + b) 1) (.) (1 / <1, exp(W x + b - max(W x + b) 1)>) 1",
    ),
    "crop": (form("crop", x=(i + 1,), to=(i,), ranges={i: m - 2})(x), "x[i + 1] -> [i]"),
    "trace": (form("tr", S=(i, i), to=())(variable("S", R(m, m))), "sum_{i} S[i, i]"),
    "tuple": (variable("s", H * X)[1] * 2, "2 s[1]"),
    "pair": (FORMULAS["pair"], "(h (.) h, <1, h> x)"),
    "jet": (f(x), "f(x)"),
    "D f": (tangent(f(x), {x: v}), "D f(x) . (v)"),
    "D* f": (back(f(x), w), "D f(x)* . w"),
    "(v _| D^2 f)*": (back(tangent(f(x), {x: v}), w), "((v) _| D^2 f(x))* . w"),
    "by an argument": (tangent(g(x, W), {W: u}), "D_(2) g(x, W) . (u)"),
    "mixed": (tangent(tangent(g(x, W), {W: u}), {x: v}), "D^2_(1, 2) g(x, W) . (v, u)"),
}


@pytest.mark.parametrize(("node", "text"), WRITTEN.values(), ids=WRITTEN)
def test_formulas(node, text) -> None:
    assert bare.formula(node) == text


def test_the_family_is_not_shown_but_its_sum_is() -> None:
    """Over a batch the formulas are those of one point; only the sum over it is written."""
    batch = sympy.Symbol("batch", integer=True, nonnegative=True)
    many = dense.batched(batch)
    writer = Writer(many.names, batch)
    assert writer.formula(many.output) == "tanh(z)"
    assert [writer.formula(node) for node in many.names] == ["W x + b"]
    y_bar = variable("y_bar", many.output.space)
    for name, text in (
        ("W", "sum_s (tanh'(z) (.) y_bar) x^T"),
        ("b", "sum_s (tanh'(z) (.) y_bar)"),
        ("x", "W^T (tanh'(z) (.) y_bar)"),
    ):
        gradient = back(many.output, y_bar, by=many.argument(name))
        assert writer.formula(gradient) == text


@pytest.mark.parametrize("node", FORMULAS.values(), ids=FORMULAS)
def test_every_formula_has_a_text_that_does_not_depend_on_history(node) -> None:
    text = bare.formula(node)
    assert text == Writer({}).formula(node) and text.count("(") == text.count(")")
    assert "object at" not in text
