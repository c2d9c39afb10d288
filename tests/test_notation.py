"""Formulas in LaTeX are those of the thesis: the expected ones are written by hand."""

import re

import pytest
import sympy
from formulas import FORMULAS, A, B, H, W, X, b, h, i, m, x, x2
from test_text import back, dense

from derive import (
    Gram,
    Hom,
    Index,
    R,
    dims,
    elementwise_function,
    entry,
    form,
    indices,
    inner,
    norm,
    relu,
    scale,
    softmax,
    sqrt,
    tanh,
    uninterpreted,
    variable,
)
from derive.calculus.calculus import tangent
from derive.writing.typesetting.writer import latex_writer

named = latex_writer(dense.names)
bare = latex_writer({})

DENSE = {
    "f": (dense.output, r"\tanh(z)"),
    "z": (W @ x + b, "W x + b"),
    "D": (dense.D().body, r"\tanh'(z) \odot (W v)"),
    "D*": (dense.D().adjoint.body, r"W^{\mathsf T} (\tanh'(z) \odot w)"),
    "nabla_W": (dense.nabla("W").body, r"\tanh'(z) \odot (u x)"),
    "nabla*_W": (dense.nabla("W").adjoint.body, r"(\tanh'(z) \odot w)\,x^{\mathsf T}"),
    "nabla_b": (dense.nabla("b").body, r"\tanh'(z) \odot u"),
    "nabla*_b": (dense.nabla("b").adjoint.body, r"\tanh'(z) \odot w"),
    "D^2": (dense.D2().body, r"\tanh''(z) \odot (W v_{1}) \odot (W v_{2})"),
    "(v _| D^2)*": (
        dense.D2().hook().adjoint.body,
        r"W^{\mathsf T} (\tanh''(z) \odot (W v_{1}) \odot w)",
    ),
    "D nabla_W": (
        dense.D_nabla("W").body,
        r"\tanh''(z) \odot (W v) \odot (u x) + \tanh'(z) \odot (u v)",
    ),
    "(v _| D nabla_W)*": (
        dense.D_nabla("W").hook().adjoint.body,
        r"(\tanh'(z) \odot w)\,v^{\mathsf T} + (\tanh''(z) \odot (W v) \odot w)\,x^{\mathsf T}",
    ),
    "(u _| nabla_W D)*": (
        dense.nabla_D("W").hook().adjoint.body,
        r"u^{\mathsf T} (\tanh'(z) \odot w) + W^{\mathsf T} (\tanh''(z) \odot (u x) \odot w)",
    ),
    "(u _| nabla_W^2)*": (
        dense.nabla2("W").hook().adjoint.body,
        r"(\tanh''(z) \odot (u_{1} x) \odot w)\,x^{\mathsf T}",
    ),
}


@pytest.mark.parametrize(("node", "latex"), DENSE.values(), ids=DENSE)
def test_the_dense_layer(node, latex) -> None:
    assert named.formula(node) == latex


v, u, w = variable("v", X), variable("u", Hom(X, H)), variable("w", H)
k, s, alpha = variable("k", Index(m)), variable("s", R()), variable("alpha", R())
S, M, N = variable("S", R(m, m)), variable("M", Hom(X, H)), variable("N", Hom(H, X))
f, g = uninterpreted("f", X, H), uninterpreted("g", X, Hom(X, H), H)
c, d, e = indices("c d e")
product = form("product", a=(c, d), b=(d, e), to=(c, e))
crossed = form("crossed", a=(c, d), b=(e, d), to=(c, e))
triple = form("T", a=(c, d), b=(d,), p=(c + 1,), to=(c,))
wiggle = elementwise_function("wiggle", lambda t, e: sympy.sin(t) * sympy.exp(-(e**2)))
n = dims("n")

WRITTEN = {
    "sums": (W @ x + A @ x + b, "W x + A x + b"),
    "differences": (h - (w + b), "h - (w + b)"),
    "signs": (-h + 2 * w - b / 3, r"-h + 2 w - \frac{1}{3} b"),
    "ones": (x + 0.25 - x2, r"x + \frac{1}{4}\,\mathbf{1} - x_{2}"),
    "a power of a half": (x / 2**60, r"\frac{1}{1152921504606846976} x"),
    "a small decimal": (x / 2**20, r"9.5367431640625 \cdot 10^{-7} x"),
    "a decimal": (inner(x, x) + 1e-5, r"\langle x, x \rangle + 10^{-5}"),
    "sizes": (x / m - n * x2, r"\frac{1}{m} x - n x_{2}"),
    "a root of a size": (x / sympy.sqrt(m), r"\frac{1}{\sqrt{m}} x"),
    "zero": (h - h, "0"),
    "products": (x * x2 * tanh(x), r"x \odot x_{2} \odot \tanh(x)"),
    "product of sums": ((x + x2) * x, r"(x + x_{2}) \odot x"),
    "a map of a sum": (W @ (x + x2), "W (x + x_{2})"),
    "maps": (N @ (W @ x), "N W x"),
    "matrices": (product(M, N), "M N"),
    "a matrix and a transpose": (crossed(M, W), r"M W^{\mathsf T}"),
    "quotients": (x / (1 + x2 * x2), r"x \oslash (\mathbf{1} + x_{2} \odot x_{2})"),
    "a product in a quotient": (x / (x2 * x), r"x \oslash (x_{2} \odot x)"),
    "a quotient in a product": ((x / x2) * x, r"(x \oslash x_{2}) \odot x"),
    "reciprocals": (1 / x - 2 / x2, r"x^{\odot(-1)} - 2 x_{2}^{\odot(-1)}"),
    "powers": (x**3 + x**-2, r"x^{\odot 3} + x^{\odot(-2)}"),
    "powers of numbers": (s**2 + s**-3, r"s^{2} + \frac{1}{s^{3}}"),
    "fractions": ((alpha / s) * s, r"\frac{\alpha s}{s}"),
    "a fraction's sign": (tangent(1 / s, {s: alpha}), r"-\frac{\alpha}{s^{2}}"),
    "a root's derivative": (tangent(s**0.5, {s: alpha}), r"\frac{\alpha}{2\,\sqrt{s}}"),
    "a sum times a vector": (scale(s + alpha, x), r"(s + \alpha)\,x"),
    "a sum times a number": (2 * ((s + 1) * alpha), r"2 (s + 1)\,\alpha"),
    "inner products": (inner(x, x2), r"\langle x, x_{2} \rangle"),
    "norms": (norm(x), r"\lVert x \rVert"),
    "a root of an inner product": (sqrt(inner(x, x)), r"\sqrt{\langle x, x \rangle}"),
    "a norm's derivative": (
        tangent(norm(x), {x: v}),
        r"\frac{\langle v, x \rangle}{\lVert x \rVert}",
    ),
    "scalars": (inner(x, x) * inner(h, h), r"\langle x, x \rangle\,\langle h, h \rangle"),
    "trilinear": ((B @ x) @ h, r"(B x)\,h"),
    "entry": (entry(x, k), r"\langle e_{k}, x \rangle"),
    "unit vector": (back(entry(x, k), inner(h, h)), r"\langle h, h \rangle\,e_{k}"),
    "relu": (tangent(relu(x), {x: v}), r"\operatorname{relu}'(x) \odot v"),
    "two arguments": (
        tangent(wiggle(x, x2), {x2: v}),
        r"\partial_{2}\operatorname{wiggle}(x, x_{2}) \odot v",
    ),
    "softmax": (
        softmax(x),
        r"\frac{1}{\bigl\langle \mathbf{1}, \exp(x - \max(x)\,\mathbf{1}) \bigr\rangle}"
        r" \exp(x - \max(x)\,\mathbf{1})",
    ),
    "crop": (form("crop", x=(i + 1,), to=(i,), ranges={i: m - 2})(x), r"\operatorname{crop}(x)"),
    "tuple": (variable("s", H * X)[1] * 2, r"2 \pi_{2} s"),
    "slice": (variable("z", H**4)[0] * w, r"(\pi_{1} z) \odot w"),
    "embedding": (back(variable("z", H**4)[3], w, variable("z", H**4)), r"\pi_{4}^{*} w"),
    "three slots": (triple(M, x, w), "T(M, x, w)"),
    "three slots' adjoint": (back(triple(M, x, w), w, x), r"T(M, \cdot\,, w)^{*} \cdot w"),
    "gram": (
        inner(*(variable(name, R(m, gram=Gram("G"))) for name in "xy")),
        r"\langle x, G y \rangle",
    ),
    "jet": (f(x), "f(x)"),
    "D f": (tangent(f(x), {x: v}), r"D f(x) \cdot v"),
    "D f . W": (tangent(f(N @ h), {h: w}), r"D f(N h) \cdot N w"),
    "D* f": (back(f(x), w), r"D^{*} f(x) \cdot w"),
    "D^2 f": (
        tangent(tangent(f(x), {x: v}), {x: x2}),
        r"D^{2} f(x) \cdot (v, x_{2})",
    ),
    "(v _| D^2 f)*": (
        back(tangent(f(x), {x: v}), w),
        r"(v \mathbin{\lrcorner} D^{2} f(x))^{*} \cdot w",
    ),
    "nabla": (tangent(g(x, W), {W: u}), r"\nabla g(x; W) \cdot u"),
    "nabla*": (back(g(x, W), w, W), r"\nabla^{*} g(x; W) \cdot w"),
    "D nabla": (
        tangent(tangent(g(x, W), {W: u}), {x: v}),
        r"D \nabla g(x; W) \cdot (v, u)",
    ),
    "(v _| D nabla)*": (
        back(tangent(g(x, W), {x: v}), w, W),
        r"(v \mathbin{\lrcorner} D \nabla g(x; W))^{*} \cdot w",
    ),
}


@pytest.mark.parametrize(("node", "latex"), WRITTEN.values(), ids=WRITTEN)
def test_formulas(node, latex) -> None:
    assert bare.formula(node) == latex


def test_a_form_has_the_name_that_it_was_given_last() -> None:
    for name in ("tr", "trace"):
        trace = form(name, S=(i, i), to=())
        assert bare.formula(trace(S)) == rf"\operatorname{{{name}}}(S)"


def test_names_of_arguments_of_functions_and_which_are_parameters() -> None:
    three = uninterpreted("omega_next", X, H, H, X)
    writer = latex_writer({}, symbols={"omega_next": r"\omega_{i+1}"})
    node = tangent(three(x, h, b), {h: w})
    assert writer.formula(node) == r"\nabla_{h} \omega_{i+1}(x; h, b) \cdot w"
    writer = latex_writer({}, is_parameter=lambda function, slot: slot == 2)
    assert writer.formula(node) == r"D_{h} \omega_{\mathrm{next}}(x, h; b) \cdot w"
    assert writer.formula(tangent(three(x, tanh(h), b), {h: w})) == (
        r"D_{2} \omega_{\mathrm{next}}(x, \tanh(h); b) \cdot (\tanh'(h) \odot w)"
    )


def test_terms_are_what_a_line_is_broken_between() -> None:
    assert bare.terms(h - 2 * w + b / 3) == ["h", "- 2 w", r"+ \frac{1}{3} b"]
    assert bare.terms(-h + w) == ["-h", "+ w"]
    assert bare.terms(tanh(h + w)) == [r"\tanh(h + w)"]
    assert bare.terms(h - h) == ["0"]


@pytest.mark.parametrize("node", FORMULAS.values(), ids=FORMULAS)
def test_every_formula_is_written_without_component_indices(node) -> None:
    """Each letter is a variable's, a size's, a form's or one of the notation: e, T, B, C."""
    latex = latex_writer({}).formula(node)
    assert not re.search(r"\\sum|\[|->|\bi\d", latex)
    words = re.sub(r"\\(?:mathrm|operatorname)\{[^{}]*\}|\\[a-zA-Z]+", " ", latex)
    letters = set(re.findall("[a-zA-Z]", words))
    assert letters <= set("xhbWABUKScEGs" + "nmkr" + "eTBC")
