"""What a notebook is given of a document."""

import re

import pytest
from derived import derived

from derive import Hom, R, derivation, dims, layer, library, sigmoid, softplus
from derive.language.hooks import typeset
from derive.library.dense import dense
from derive.writing.documents.chapter import generic_results
from derive.writing.typesetting.lines import width
from derive.writing.typesetting.show import LINE

FORMULA = re.compile(r"\$\$\n\\begin\{aligned\}\n(.*?)\n\\end\{aligned\}\n\$\$", re.DOTALL)
MATHJAX = 5 * 1024  # the characters of a formula that it takes, its maxBuffer


n, m = dims("n m")


@layer
def gate(x: R(m), *, A: Hom(R(m), R(n)), B: Hom(R(m), R(n)), c: R(n)) -> R(n):
    z = B @ x + c
    return softplus(A @ x) * sigmoid(z)


@pytest.mark.parametrize("name", library.layers())
def test_no_formula_is_more_than_mathjax_takes(name: str) -> None:
    made = derived(library.layers()[name])
    for shown in (made._repr_markdown_(), made._repr_latex_()):
        found = FORMULA.findall(shown)
        assert len(found) >= 5 and max(map(len, found)) < MATHJAX


def test_nor_of_the_generic_results() -> None:
    assert max(map(len, FORMULA.findall(generic_results()._repr_markdown_()))) < MATHJAX


def test_headings_prose_equations_and_code_come_as_in_the_document() -> None:
    shown = derivation(dense)._repr_markdown_()
    parts = (
        "### Declaration\n\n```\n@layer\ndef dense(x: X,",
        "### First order\n\n#### Step 1: derive the tangent.\n\n$$\n\\begin{aligned}\n",
        "\\dot{z} &= \\dot{W} x + W \\dot{x} + \\dot{b} && \\text{product rule} \\\\\n",
        "#### Step 4: read off the adjoint.",
        "#### backward\n\n$$",
    )
    places = [shown.index(part) for part in parts]
    assert places == sorted(places)


def test_every_equation_of_the_document_is_shown() -> None:
    made = derivation(dense)
    rows = [row for view in made.views if view["kind"] == "Display" for row in view["rows"]]
    for shown in (made._repr_markdown_(), made._repr_latex_()):
        assert sum(len(f.split("\\\\\n")) for f in FORMULA.findall(shown)) >= len(rows) > 20
        assert all(row.right in shown and row.reason in shown for row in rows)


def test_plain_text_is_one_line() -> None:
    assert repr(derivation(dense)) == "Document('dense')"


def test_the_lines_of_a_map_begin_behind_its_name_and_fit_beside_it() -> None:
    """In one column of an aligned display, the name is wider than the variable below it."""
    hook = gate.D_nabla("c").hook().adjoint
    rows = typeset(hook).removeprefix("\\begin{aligned}").removesuffix("\\end{aligned}")
    left, right = zip(*(row.split("&", 1) for row in rows.split("\\\\")), strict=True)
    column = max(map(width, left))
    assert len(right) == 3 and column > width("w")
    assert column + max(map(width, right)) <= LINE
