"""Layers in LaTeX: convolutions, cells, losses and norms as one would write them by hand."""

import pytest
import sympy
from declared import LAYERS
from shipped import SINGLE
from test_text import back, dense

from derive import R, dims, form, indices, variable
from derive.writing.typesetting.multilinear import spelled
from derive.writing.typesetting.writer import latex_writer, unnamed_forms


def maps(layer, name):
    derivative = layer.derivative(name)
    return derivative.body, derivative.adjoint.body


LAYERED = {
    ("conv2d", "K"): (
        r"\tanh'(z) \odot C(u, x)",
        r"(C \mathbin{\llcorner} x)^{*} \cdot (\tanh'(z) \odot w)",
    ),
    ("conv2d", "x"): (
        r"\tanh'(z) \odot C(K, v)",
        r"(K \mathbin{\lrcorner} C)^{*} \cdot (\tanh'(z) \odot w)",
    ),
    ("conv1d", "b"): (
        r"\tanh'(C(K, x) + b\,\mathbf{1}^{\mathsf T}) \odot (u\,\mathbf{1}^{\mathsf T})",
        r"\bigl(\tanh'(C(K, x) + b\,\mathbf{1}^{\mathsf T}) \odot w\bigr)\,\mathbf{1}",
    ),
    ("embedding", "E"): (
        r"\tanh'(B_{1}(E; k)) \odot B_{1}(u; k)",
        r"B_{1}(\cdot\,; k)^{*} \cdot \bigl(\tanh'(B_{1}(E; k)) \odot w\bigr)",
    ),
    ("squared_loss", "x"): (r"\langle v, e \rangle", "w e"),
    ("cosine", "x"): (
        r"\frac{\langle v, y \rangle}{\lVert x \rVert\,\lVert y \rVert} - \frac{\langle x, y "
        r"\rangle\,\langle v, x \rangle\,\lVert y \rVert}"
        r"{\lVert x \rVert^{3}\,\lVert y \rVert^{2}}",
        r"-\frac{\lVert y \rVert\,\langle x, y \rangle\,w}{\lVert x \rVert^{3}\,\lVert y "
        r"\rVert^{2}}\,x + \frac{w}{\lVert x \rVert\,\lVert y \rVert}\,y",
    ),
    ("normalise", "alpha"): (
        r"\frac{u}{\lVert x \rVert}\,x",
        r"\frac{\langle x, w \rangle}{\lVert x \rVert}",
    ),
    ("layer_norm", "gamma"): (
        r"u \odot \biggl(\frac{1}{\mathrm{spread}}\,\mathrm{centred}\biggr)",
        r"\biggl(\frac{1}{\mathrm{spread}}\,\mathrm{centred}\biggr) \odot w",
    ),
    ("bilinear", "W"): (r"(u x)\,y", r"(w\,y^{\mathsf T}) \otimes x"),
    ("bilinear", "x"): (r"(W v)\,y", r"W^{*} (w\,y^{\mathsf T})"),
    ("reversal", "x"): (
        r"\exp(\operatorname{flip}(x)) \odot \operatorname{flip}(v) \odot \operatorname{shift}(x)"
        r" + \exp(\operatorname{flip}(x)) \odot \operatorname{shift}(v)"
        r" + \operatorname{flip}(\tanh'(x) \odot v)",
        r"\tanh'(x) \odot (\operatorname{flip}^{*} \cdot w) + \operatorname{shift}^{*} \cdot "
        r"\bigl(\exp(\operatorname{flip}(x)) \odot w\bigr) + \operatorname{flip}^{*} \cdot "
        r"\bigl(\exp(\operatorname{flip}(x)) \odot \operatorname{shift}(x) \odot w\bigr)",
    ),
    ("mlp", "hidden_W"): (
        r"W_{\mathrm{output}} (\tanh'(z_{\mathrm{hidden}}) \odot (u x))",
        r"(\tanh'(z_{\mathrm{hidden}}) \odot (W_{\mathrm{output}}^{\mathsf T} w))\,x^{\mathsf T}",
    ),
}


@pytest.mark.parametrize(("case", "latex"), LAYERED.items(), ids=map("-".join, LAYERED))
def test_layers(case, latex) -> None:
    layer = (SINGLE | LAYERS)[case[0]]
    writer = latex_writer(layer.names, form_names=layer.form_names)
    assert tuple(writer.formula(node) for node in maps(layer, case[1])) == latex


def test_the_cell_of_two_states() -> None:
    layer = LAYERS["lstm_step"]
    writer = latex_writer(layer.names, form_names=layer.form_names)
    written = {name: writer.formula(node) for node, name in layer.names.items()}
    assert written["h"] == r"\pi_{1} s"
    assert written["o"] == r"\pi_{3} (W x + U h + b)"
    assert written["c_next"] == (
        r"\operatorname{sigmoid}(f) \odot c + \operatorname{sigmoid}(i) \odot \tanh(g)"
    )
    assert writer.formula(layer.output) == (
        r"(\operatorname{sigmoid}(o) \odot \tanh(c_{\mathrm{next}}), c_{\mathrm{next}})"
    )


def test_a_form_without_a_name_gets_a_letter_that_is_listed() -> None:
    layer = LAYERS["embedding"]
    writer = latex_writer(layer.names, taken=["B_1"], form_names=layer.form_names)
    assert writer.formula(layer.output) == r"\tanh(B_{2}(E; k))"
    ((letter, found),) = unnamed_forms(writer).items()
    assert letter == "B_{2}"
    assert spelled(found) == "a=(i, j), to=(k, j), ranges={k: p}, i selected at (k,)"


def test_a_factor_of_ones_is_written_where_the_calculus_left_it_out() -> None:
    m, (c, d) = dims("m"), indices("c d")
    x = variable("x", R(m))
    convolve = form("C", K=(c,), x=(d + c,), to=(d,), ranges={d: m - 1})
    kernel = variable("K", R(2))
    assert latex_writer({}).formula(convolve(0 * kernel + 1, x)) == r"C(\mathbf{1}, x)"
    ones = 0 * variable("y", R(m - 1)) + 1
    node = back(convolve(kernel, x), ones)
    assert latex_writer({}).formula(node) == r"(K \mathbin{\lrcorner} C)^{*} \cdot \mathbf{1}"


def test_the_family_is_not_shown_but_its_sum_is() -> None:
    batch = sympy.Symbol("batch", integer=True, nonnegative=True)
    many = dense.batched(batch)
    writer = latex_writer(many.names, family=batch, form_names=dense.form_names)
    y_bar = variable("y_bar", many.output.space)
    for name, latex in (
        ("W", r"\sum_{\mathrm{batch}} (\tanh'(z) \odot \bar{y})\,x^{\mathsf T}"),
        ("b", r"\sum_{\mathrm{batch}} (\tanh'(z) \odot \bar{y})"),
        ("x", r"W^{\mathsf T} (\tanh'(z) \odot \bar{y})"),
    ):
        assert writer.formula(back(many.output, y_bar, by=many.argument(name))) == latex


BATCH = sympy.Symbol("batch", integer=True, nonnegative=True)


# a root of what is fixed is taken once, and then one over it for each point: two powers, not one
ONCE = {"evaluated"}


@pytest.mark.parametrize("name", SINGLE | LAYERS)
def test_a_family_of_points_is_written_as_one_point(name) -> None:
    """The output and the tangents, which sum over no points, look the same for a batch."""
    layer = (SINGLE | LAYERS)[name]
    many = layer.batched(BATCH)
    one = latex_writer(layer.names, form_names=layer.form_names)
    family = latex_writer(many.names, family=BATCH, form_names=layer.form_names)
    assert family.formula(many.output) == one.formula(layer.output)
    for x in () if name in ONCE else layer.differentiable:
        pair = layer.derivative(x.name).body, many.derivative(x.name).body
        assert one.formula(pair[0]) == family.formula(pair[1])
