"""What is written in LaTeX compiles, and prints as wide as was estimated."""

import re
import shutil
import subprocess
from functools import cache
from itertools import pairwise

import pytest
from declared import LAYERS
from formulas import FORMULAS
from shipped import SINGLE

from derive import Gram, Index, R, dims
from derive.language.hooks import typeset
from derive.language.scalars.shipped import shipped
from derive.writing.typesetting.domains import space_latex
from derive.writing.typesetting.letters import escaped, symbol, word
from derive.writing.typesetting.lines import broken, width
from derive.writing.typesetting.scalar_functions import defined, definition
from derive.writing.typesetting.titles import title
from derive.writing.typesetting.typography import PREAMBLE
from derive.writing.typesetting.writer import latex_writer

NAMES = """x alpha theta1 hidden_W W_hidden_bar z_bar_dot z_dot_delta centred log_likelihood i_dot
G_inverse leaky_relu x__1 centred_bar"""


LARGEST = 16000  # points: TeX has no wider box; a cell's second order in one line would be


def formulas_of(layer):
    writer = latex_writer(layer.names)
    yield writer.formula(layer.output)
    for x in layer.differentiable:
        first = layer.derivative(x.name)
        second = layer.second(x.name, x.name).hook().adjoint
        yield from (title(second.name), space_latex(x.space))
        yield from (writer.formula(linear.body) for linear in (first, first.adjoint, second))


@cache
def sample() -> list[str]:
    """Formulas of every kind, the names, spaces and scalar functions."""
    n = dims("n")
    found = [latex_writer({}).formula(node) for node in FORMULAS.values()]
    for layer in (SINGLE | LAYERS).values():
        found += formulas_of(layer)
    for name in NAMES.split():
        found += [symbol(name), escaped(name), word(name)]
    every = [each for psi in shipped.values() for each in (psi, *defined(psi))]
    found += map(definition, every)
    found += map(space_latex, (R(n, gram=Gram("G")), Index(n, 3), R(), R(n + 1, 2 * n)))
    return [latex for latex in dict.fromkeys(found) if width(latex) < LARGEST]


@pytest.fixture(scope="module")
def printed(tmp_path_factory):
    r"""What pdflatex says about a list of formulas, each in a box, and the widths of the boxes."""
    if shutil.which("pdflatex") is None:
        pytest.skip("needs pdflatex with amsmath and amssymb (texlive-latex-base)")

    def run(formulas):
        lines = [
            rf"\setbox0\hbox{{$\displaystyle {latex}$}}\typeout{{box {number} \the\wd0}}"
            for number, latex in enumerate(formulas)
        ]
        head = [r"\documentclass[10pt]{article}", PREAMBLE, r"\begin{document}"]
        folder = tmp_path_factory.mktemp("tex")
        (folder / "all.tex").write_text("\n".join([*head, *lines, r"\end{document}", ""]))
        command = ["pdflatex", "-interaction=nonstopmode", "-no-shell-escape", "all.tex"]
        said = subprocess.run(command, cwd=folder, capture_output=True, check=False).stdout
        text = said.decode("latin-1")
        found = re.findall(r"^box \d+ ([\d.]+)pt", text, re.MULTILINE)
        return re.findall(r"^! .*", text, re.MULTILINE), [float(points) for points in found]

    return run


def test_every_formula_compiles(printed) -> None:
    errors, widths = printed(sample())
    assert not errors and len(widths) == len(sample())


def test_an_undefined_command_is_an_error(printed) -> None:
    """The judge can say no."""
    assert printed([r"\undefined x"])[0] and printed([r"x^{2}^{\mathsf T}"])[0]


def test_the_width_is_estimated_to_within_a_few_percent(printed) -> None:
    """Never below by more than 3 %, so that a line that fits on paper is found to; nor 12 % above.

    Glyphs are known to 0.01 pt; what is not modelled is a script's size, some 2 % of its width, and
    the kerns between letters of a word.
    """
    _, widths = printed(sample())
    for latex, real in zip(sample(), widths, strict=True):
        assert 0.97 * real <= width(latex) <= 1.12 * real, latex


def test_wider_formulas_are_found_wider() -> None:
    """In a place without pdflatex at least this much is known."""
    assert width("W x") < width("W x + b") < width(r"W_{\mathrm{hidden}} x + b")
    assert width(r"\frac{a}{b + c}") < width("a + b + c") < width(r"\tanh(a + b + c)")


def test_lines_hold_what_fits_and_every_term_once() -> None:
    terms = ["a", *(f"+ W_{{{k}}} x" for k in range(20)), "- b"]
    lines = broken(terms, 150.0, first=80.0)
    assert " ".join(lines) == " ".join(terms)
    assert width(lines[0]) <= 80 and all(width(line) <= 150 for line in lines)
    for line, after in pairwise(lines[1:]):
        following = " ".join(after.split(" ")[:3])
        assert width(f"{line} {following}") > 150
    assert broken(["x"], 1.0) == ["x"]


SHOWN = [*(SINGLE | LAYERS).values(), R(dims("n")), FORMULAS["softmax"]]


def test_what_a_notebook_shows_compiles_and_fits(printed) -> None:
    maps = [layer.derivative(x.name) for layer in SHOWN[:-2] for x in layer.differentiable]
    shown = [typeset(value) for value in (*SHOWN, *maps, *(linear.adjoint for linear in maps))]
    errors, widths = printed(shown)
    assert not errors and len(widths) == len(shown)
