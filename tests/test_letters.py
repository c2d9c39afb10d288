"""Names are set as a mathematician sets them, no two alike, and none brings TeX with it."""

import re

import pytest

from derive.writing.typesetting.letters import Letters, escaped, symbol, word

SYMBOLS = {
    "x": "x",
    "W": "W",
    "alpha": r"\alpha",
    "Omega": r"\Omega",
    "theta1": r"\theta_{1}",
    "x2": "x_{2}",
    "x_1": "x_{1}",
    "θ": r"\theta",
    "λ_next": r"\lambda_{\mathrm{next}}",
    "lambda_": r"\lambda",
    "c_next": r"c_{\mathrm{next}}",
    "W_x": "W_{x}",
    "W_hidden": r"W_{\mathrm{hidden}}",
    "hidden_W": r"W_{\mathrm{hidden}}",
    "hidden_W1": r"W_{\mathrm{hidden},1}",
    "hidden_alpha": r"\alpha_{\mathrm{hidden}}",
    "hidden1_b": r"b_{\mathrm{hidden},1}",
    "centred": r"\mathrm{centred}",
    "gate2": r"\mathrm{gate}_{2}",
    "log_likelihood": r"\mathrm{log\_likelihood}",
    "z_dot": r"\dot{z}",
    "z_bar": r"\bar{z}",
    "z_bar_dot": r"\dot{\bar{z}}",
    "z_delta": r"\delta z",
    "x_dot_y": r"\dot{x}_{y}",
    "z_dot_delta": r"\delta\dot{z}",
    "theta_delta": r"\delta\theta",
    "i_dot": r"\dot{\imath}",
    "hidden_W_dot": r"\dot{W}_{\mathrm{hidden}}",
    "W_hidden_bar": r"\bar{W}_{\mathrm{hidden}}",
    "hidden_W_bar_dot": r"\dot{\bar{W}}_{\mathrm{hidden}}",
    "hidden_W_delta": r"\delta W_{\mathrm{hidden}}",
    "y_bar2": r"\bar{y}_{2}",
    "centred_bar": r"\overline{\mathrm{centred}}",
    "x_inverse": r"x_{\mathrm{inverse}}",
    "lambda__dot": r"\dot{\lambda}",
    "lambda__bar_dot": r"\dot{\bar{\lambda}}",
    "x_delta_": r"\delta x",
    "dot": r"\mathrm{dot}",
    "x__1": r"\mathit{x\_\_1}",
    "_": r"\mathit{\_}",
}


@pytest.mark.parametrize(("name", "look"), SYMBOLS.items(), ids=SYMBOLS)
def test_symbols(name, look) -> None:
    assert symbol(name) == look


@pytest.mark.parametrize(
    ("name", "look"),
    {
        "tanh": r"\tanh",
        "relu": r"\operatorname{relu}",
        "leaky_relu": r"\operatorname{leaky\_relu}",
        "C": "C",
        "psi": r"\psi",
        "f2": "f_{2}",
    }.items(),
)
def test_functions(name, look) -> None:
    assert word(name) == look


ALIKE = ["x1", "x_1", "theta", "θ", "hidden_W", "W_hidden", "e", "é", "lambda", "lambda_", "λ"]


@pytest.mark.parametrize("names", [ALIKE, ALIKE[::-1]], ids=["forth", "back"])
def test_no_two_names_of_a_writer_look_the_same(names) -> None:
    """The first has the symbol, the others are set as they are typed."""
    letters = Letters(names=names)
    looks = [letters(name) for name in names]
    assert len(set(looks)) == len(names)
    assert letters(names[0]) == symbol(names[0])
    assert looks == [letters(name) for name in names]


def test_what_the_notation_prints_itself_is_no_name() -> None:
    r"""e_{k} is a unit vector, \pi_{1} a projection, \pi a number."""
    letters = Letters()
    assert letters("e_k") == r"\mathit{e\_k}"
    assert letters("pi_1") == r"\mathit{pi\_1}"
    assert letters("pi") == r"\mathit{pi}"
    assert letters("e") == "e"


def test_what_is_given_is_kept_and_taken() -> None:
    letters = Letters({"omega_next": r"\omega_{i+1}", "y": "x"})
    assert letters("omega_next") == r"\omega_{i+1}"
    assert letters("x") == r"\mathit{x}"


@pytest.mark.parametrize(
    "name",
    [r"x}\input{secret", "a b", "$x$", "x%", "漢字", "a#1", r"\alpha", "x^2", "a&b", "~", ""],
)
@pytest.mark.parametrize("setting", [symbol, word, escaped], ids=lambda f: f.__name__)
def test_a_name_brings_no_tex_with_it(name, setting) -> None:
    known = r"\\(?:mathrm|mathit|operatorname|alpha|_)|[A-Za-z0-9{}_,]"
    assert re.fullmatch(f"(?:{known})*", setting(name))
    assert setting(name).count("{") == setting(name).count("}")
    assert "input{" not in setting(name)
