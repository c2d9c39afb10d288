"""The document: what it says, that it compiles, that no line is wider than the page."""

import re
import shutil

import declared
import pytest
from derived import derived

from derive import Layer, R, derivation, dims, layer, library, tanh
from derive.tools.cli import main
from derive.tools.pdf import LatexError, write_pdf
from derive.writing.documents.chapter import generic_results
from derive.writing.documents.document import Document
from derive.writing.typesetting.escapes import plain, typed
from derive.writing.typesetting.writer import latex_writer

n = dims("n")
ODD = {name: value for name, value in vars(declared).items() if isinstance(value, Layer)}
LAYERS = {**library.layers(), **ODD}
layers = pytest.mark.parametrize("name", LAYERS)
pdflatex = pytest.mark.skipif(
    shutil.which("pdflatex") is None, reason="needs pdflatex: texlive-latex-base"
)

# no component index: a sum over one, an entry, a running index behind a letter in brackets; sums
# over the batch, over all times and over the times of a block are no sums over components
TIMES = r"\\mathrm\{batch\}|[a-z]=1\}\^|[a-z]=\\tau\+1\}\^"
INDEXED = re.compile(
    rf"\\sum_\{{(?!{TIMES})|\[[a-z](?:, ?[a-z])*\]|_\{{[ij](?:,[ij])+\}}|\bi_\{{\d\}}"
)


@layers
def test_no_component_index_is_printed(name) -> None:
    tex = derived(LAYERS[name]).tex
    body = re.sub(r"\\begin\{verbatim\}.*?\\end\{verbatim\}", "", tex, flags=re.DOTALL)
    assert not INDEXED.search(body.partition(r"\end{center}")[2])  # behind the user's own sentence


@pdflatex
@layers
def test_it_compiles_and_no_line_is_wider_than_the_page(name, tmp_path) -> None:
    pdf = write_pdf(derived(LAYERS[name]), tmp_path)
    assert pdf.path.read_bytes().startswith(b"%PDF") and not pdf.overfull
    assert [path.name for path in tmp_path.iterdir()] == [f"{name}.pdf"]


@pdflatex
def test_the_generic_results_compile(tmp_path) -> None:
    made = generic_results()
    assert not write_pdf(made, tmp_path).overfull
    chapter_3 = ("3.5", "3.7", "3.10", "3.11", "3.15", "3.16", "3.21")
    chapter_5 = ("5.8", "5.10", "5.12", "5.13", "5.14", "5.21", "5.22")
    for number in (*chapter_3, *chapter_5):
        assert f"This is ({number}):" in made.tex


def test_what_is_said_of_the_dense_layer() -> None:
    """The lines of the thesis's section 4.1, and what stands around them."""
    tex = derivation(library.layers()["dense"]).tex
    for line in (
        r"z = W @ x + b",
        r"State: $x \in \mathbb{R}^{m}$.",
        r"\dot{y} &= \tanh'(z) \odot \dot{z}",
        r"D f\cdot v &= \tanh'(z) \odot (W v)",
        r"D^{*} f\cdot w &= W^{\mathsf T} \bar{z} = W^{\mathsf T} (\tanh'(z) \odot w)",
        r"\nabla^{*}_{W} f\cdot w &= \bar{z}\,x^{\mathsf T} = (\tanh'(z) \odot w)\,x^{\mathsf T}",
        r"(v \mathbin{\lrcorner} D^{2} f)^{*}\cdot w &= "
        r"W^{\mathsf T} (\tanh''(z) \odot (W v) \odot w)",
        r"\bar{x} &\mathrel{+}= W^{\mathsf T} \bar{z}",
        r"$2 B n (2 m + 1)$ floating-point operations.",
    ):
        assert line in tex, line


def test_an_affine_layer_has_no_second_order_to_speak_of() -> None:
    @layer
    def shift(x: R(n), *, b: R(n)) -> R(n):
        return x + b

    assert "The second derivatives vanish wherever they exist." in derivation(shift).tex


def test_a_layer_that_is_called_f_like_a_local() -> None:
    @layer
    def gate(x: R(n)) -> R(n):
        f = tanh(x)
        return f * x

    assert r"\operatorname{gate}(x) &=" in derivation(gate).tex


def test_two_documents_of_one_layer_are_the_same() -> None:
    dense = library.layers()["dense"]
    assert derivation(dense).tex == derivation(dense).tex


# --- the user's text


def test_text_means_nothing_to_tex() -> None:
    assert plain(r"50% of {a_b} & \input|~^#$<θ>") == (
        r"50\% of \{a\_b\} \& \textbackslash{}input\textbar{}\textasciitilde{}"
        r"\textasciicircum{}\#\$\textless{}(theta)\textgreater{}"
    )


def test_a_listing_can_not_be_ended_from_within() -> None:
    hostile = "\\end{verbatim}\\input{secret}" + "x" * 200
    assert r"\end{verbatim}" not in typed(hostile)
    assert all(len(line) <= 111 for line in typed(hostile).splitlines())


@pdflatex
def test_a_hostile_docstring_is_only_text(tmp_path) -> None:
    @layer
    def odd(x: R(n)) -> R(n):
        r"""\input{/etc/passwd} $ \end{document} 100% θ _ \end{verbatim}"""
        return tanh(x)

    made = derivation(odd)
    assert r"\textbackslash{}input" in made.tex
    assert not write_pdf(made, tmp_path).overfull


# --- errors


def test_without_pdflatex_a_sentence_says_what_to_install(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LatexError, match="pdflatex was not found: install texlive-latex-base"):
        write_pdf(Document("d", "d", "", (), latex_writer({})), tmp_path)


@pdflatex
def test_a_document_that_latex_refuses_leaves_the_former_pdf(tmp_path) -> None:
    (tmp_path / "d.pdf").write_text("former /Creator (layerwise)")
    with pytest.raises(LatexError, match=r"d: pdflatex refused the document:\n! Undefined control"):
        write_pdf(Document("d", r"\nonsense", "", (), latex_writer({})), tmp_path)
    assert (tmp_path / "d.pdf").read_text() == "former /Creator (layerwise)"
    assert [path.name for path in tmp_path.iterdir()] == ["d.pdf"]


# --- the command


@pdflatex
def test_the_command_writes_both_files(tmp_path, capsys) -> None:
    assert main(["latex", "affine", "--out", str(tmp_path / "made"), "--pdf"]) == 0
    assert sorted(path.name for path in (tmp_path / "made").iterdir()) == [
        "affine.pdf",
        "affine.tex",
    ]
    assert capsys.readouterr().out.splitlines() == [
        str(tmp_path / "made" / name) for name in ("affine.tex", "affine.pdf")
    ]


def test_the_command_refuses_to_overwrite_a_file_of_the_users(tmp_path, capsys) -> None:
    (tmp_path / "affine.tex").write_text("my paper")
    assert main(["latex", "affine", "--out", str(tmp_path)]) == 1
    assert "is not generated by layerwise and is not overwritten" in capsys.readouterr().err
    assert (tmp_path / "affine.tex").read_text() == "my paper"


def test_the_command_says_which_equation_does_not_hold(monkeypatch, capsys, tmp_path) -> None:
    monkeypatch.setattr("derive.writing.layers.claims.EPS", 0.0)
    monkeypatch.setattr("derive.evidence.checks.oracles.TRUNCATION", 0.0)
    monkeypatch.setattr("derive.evidence.checks.oracles.EPS", 0.0)
    assert main(["latex", "dense", "--out", str(tmp_path)]) == 1
    assert re.search(r"derive latex: dense: equation \d+ .* is off by", capsys.readouterr().err)
    assert not list(tmp_path.iterdir())
