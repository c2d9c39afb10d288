"""Spaces, maps, layers and scalar functions as a notebook shows them, written by hand."""

import re

import pytest
import sympy
from declared import LAYERS
from shipped import SINGLE
from test_notation_read import expressions
from test_text import dense

from derive import Gram, Hom, Index, R, dims, elementwise_function, library, tanh, variable
from derive.calculus.maps import LinearMap
from derive.language.hooks import typeset
from derive.language.scalars import shipped
from derive.language.spaces import Product
from derive.writing.typesetting.domains import space_latex
from derive.writing.typesetting.scalar_functions import defined, definition
from derive.writing.typesetting.writer import latex_writer

n, m, k, batch, hidden_n = dims("n m k batch hidden_n")
EVERY = SINGLE | LAYERS

SPACES = {
    "vectors": (R(n), r"\mathbb{R}^{n}"),
    "scalars": (R(), r"\mathbb{R}"),
    "matrices": (Hom(R(m), R(n)), r"\mathbb{R}^{n \times m}"),
    "a sum in a size": (R(2 * n, m - 1), r"\mathbb{R}^{2 n \times (m - 1)}"),
    "one sum": (R(m - 1), r"\mathbb{R}^{m - 1}"),
    "long names": (R(batch, hidden_n), r"\mathbb{R}^{\mathrm{batch} \times n_{\mathrm{hidden}}}"),
    "products": (R(n) * R(m), r"\mathbb{R}^{n} \times \mathbb{R}^{m}"),
    "within a product": (
        Product((R(n) * R(m), R(k))),
        r"(\mathbb{R}^{n} \times \mathbb{R}^{m}) \times \mathbb{R}^{k}",
    ),
    "a power": (R(n) ** 4, r"\mathbb{R}^{4 \times n}"),
    "class indices": (Index(k), r"\{0, \dots, k - 1\}"),
    "an array of them": (Index(10, n), r"\{0, \dots, 9\}^{n}"),
    "an inner product": (R(n, gram=Gram("G")), r"(\mathbb{R}^{n}, G)"),
    "maps between such": (
        Hom(R(m, gram=Gram("G1")), R(n)),
        r"(\mathbb{R}^{n \times m}, I \otimes G_{1}^{-1})",
    ),
}


@pytest.mark.parametrize(("space", "latex"), SPACES.values(), ids=SPACES)
def test_spaces(space, latex) -> None:
    assert space_latex(space) == latex == typeset(space)


E, F, EF = r"\mathbb{R}^{m}", r"\mathbb{R}^{n}", r"\mathbb{R}^{n \times m}"
AT = r"\operatorname{dense}(x; W, b)"
MAPS = {
    "D": (
        dense.D(),
        rf"D {AT} : {E} \to {F}, \quad v \mapsto \tanh'(W x + b) \odot (W v)",
    ),
    "D*": (
        dense.D().adjoint,
        rf"D^{{*}} {AT} : {F} \to {E}, \quad w \mapsto W^{{\mathsf T}} (\tanh'(W x + b) \odot w)",
    ),
    "nabla*": (
        dense.nabla("b").adjoint,
        rf"\nabla^{{*}}_{{b}} {AT} : {F} \to {F}, \quad w \mapsto \tanh'(W x + b) \odot w",
    ),
    "D^2": (
        dense.D2(),
        rf"D^{{2}} {AT} : {E} \times {E} \to {F}, \quad (v_{{1}}, v_{{2}}) \mapsto "
        r"\tanh''(W x + b) \odot (W v_{1}) \odot (W v_{2})",
    ),
    "hook": (
        dense.D2().hook(),
        rf"(v_{{1}} \mathbin{{\lrcorner}} D^{{2}} {AT}) : {E} \to {F}, \quad v_{{2}} \mapsto "
        r"\tanh''(W x + b) \odot (W v_{1}) \odot (W v_{2})",
    ),
    "broken": (
        dense.D_nabla("W").hook().adjoint,
        "\\begin{aligned}\n"
        rf"(v \mathbin{{\lrcorner}} D \nabla_{{W}} {AT})^{{*}} &: {F} \to {EF} \\"
        "\n"
        r"w &\mapsto (\tanh'(W x + b) \odot w)\,v^{\mathsf T} + "
        r"(\tanh''(W x + b) \odot (W v) \odot w)\,x^{\mathsf T}"
        "\n\\end{aligned}",
    ),
    "composed": (
        dense.D().adjoint @ dense.nabla("b"),
        rf"D^{{*}} {AT} \cdot \nabla_{{b}} {AT} : {F} \to {E}, \quad u \mapsto "
        r"W^{\mathsf T} (\tanh'(W x + b) \odot \tanh'(W x + b) \odot u)",
    ),
    "a name of one's own": (
        LinearMap("A_hidden", v := variable("v", R(n)), 2 * v),
        rf"A_{{\mathrm{{hidden}}}} : {F} \to {F}, \quad v \mapsto 2 v",
    ),
}


@pytest.mark.parametrize(("linear", "latex"), MAPS.values(), ids=MAPS)
def test_maps(linear, latex) -> None:
    assert typeset(linear) == latex


def test_a_layer_shows_its_lines_in_the_users_order() -> None:
    assert typeset(dense) == (
        "\\begin{aligned}\nz &= W x + b \\\\\n"
        "\\operatorname{dense}(x; W, b) &= \\tanh(z)\n\\end{aligned}"
    )
    cell = typeset(LAYERS["lstm_step"])
    assert re.findall(r"^(\S+) &=", cell, re.MULTILINE) == [*"hcifog", r"c_{\mathrm{next}}"]
    assert typeset(library.layers()["affine"]) == r"\operatorname{affine}(x; W, b) = W x + b"


def test_a_notebook_is_given_mathematics() -> None:
    x = variable("x", R(n))
    for value in (x.space, tanh(x), dense, dense.D(), dense.D2()):
        assert value._repr_latex_() == rf"$\displaystyle {typeset(value)}$"
    with pytest.raises(TypeError, match="float has no notation"):
        typeset(2.0)


wiggle = elementwise_function("wiggle", lambda t, e: sympy.sin(t) * sympy.exp(-(e**2)))
psi = wiggle(variable("x", R(n)), variable("y", R(n))).operation
SCALAR = {
    "tanh": (shipped.tanh, [r"\tanh'(t) = 1 - \tanh^{2}(t)"]),
    "sigmoid": (
        shipped.sigmoid,
        [
            r"\operatorname{sigmoid}(t) = \frac{1}{1 + e^{-t}}",
            r"\operatorname{sigmoid}'(t) = \frac{e^{-t}}{\left(1 + e^{-t}\right)^{2}}",
        ],
    ),
    "relu": (
        shipped.relu,
        [
            r"\operatorname{relu}(t) = "
            r"\begin{cases} 0 & \text{for}\: t \leq 0 \\t & \text{otherwise} \end{cases}",
            r"\operatorname{relu}'(t) = "
            r"\begin{cases} 0 & \text{for}\: t \leq 0 \\1 & \text{otherwise} \end{cases}",
        ],
    ),
    "exp": (shipped.exp, []),
    "sqrt": (shipped.sqrt, []),
    "quotient": (shipped.quotient, []),
    "an argument called e": (
        psi,
        [
            r"\operatorname{wiggle}(t, e) = \exp(-e^{2}) \sin(t)",
            r"\partial_{1}\operatorname{wiggle}(t, e) = \exp(-e^{2}) \cos(t)",
            r"\partial_{2}\operatorname{wiggle}(t, e) = -2 e \exp(-e^{2}) \sin(t)",
        ],
    ),
}


@pytest.mark.parametrize(("operation", "lines"), SCALAR.values(), ids=SCALAR)
def test_scalar_functions(operation, lines) -> None:
    assert [definition(each) for each in defined(operation, order=1)] == lines


@pytest.mark.parametrize("name", EVERY)
def test_no_component_index_is_printed(name) -> None:
    """A letter is one of an argument, a local, a size, a direction, or of the notation."""
    layer = EVERY[name]
    writer = latex_writer(layer.names, form_names=layer.form_names)
    names = {*layer.names.values(), *(a.name for a in layer.arguments), *map(str, layer.sizes)}
    known = {letter for word in names for letter in word} | set("vuw") | set("eTBC")
    for root in expressions(layer):
        latex = writer.formula(root)
        assert not re.search(r"\\sum|\[|->", latex)
        words = re.sub(r"\\(?:mathrm|operatorname)\{(?:[^{}]|\\_)*\}|\\[a-zA-Z]+", " ", latex)
        assert set(re.findall("[a-zA-Z]", words)) <= known, latex
