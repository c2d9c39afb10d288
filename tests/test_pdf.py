"""PDFs: what is overwritten, what is said of lines that are too wide, what pdflatex never sees."""

import shutil
from pathlib import Path

import pytest

from derive import derivation, library
from derive.tools.cli import main, writing
from derive.tools.loading import BuildError
from derive.tools.pdf import MARK, Pdf, check_own, write_pdf
from derive.writing.documents.document import Document
from derive.writing.typesetting.escapes import plain, spelled, typed

pdflatex = pytest.mark.skipif(
    shutil.which("pdflatex") is None, reason="needs pdflatex: texlive-latex-base"
)
REFUSED = r"affine\.pdf was not made by layerwise and is not overwritten; move it away or choose"


@pytest.mark.parametrize("foreign", [b"%PDF-1.5\nmy paper", b"", b"layerwise"])
def test_a_pdf_of_the_users_is_refused_before_anything_is_written(tmp_path, capsys, foreign):
    (tmp_path / "affine.pdf").write_bytes(foreign)
    assert main(["latex", "affine", "--pdf", "--out", str(tmp_path)]) == 1
    said = capsys.readouterr()
    assert said.out == "" and f"derive latex: {tmp_path / 'affine.pdf'} was not made by" in said.err
    assert [path.name for path in tmp_path.iterdir()] == ["affine.pdf"]
    assert (tmp_path / "affine.pdf").read_bytes() == foreign
    assert main(["latex", "affine", "--out", str(tmp_path)]) == 0  # without --pdf it is left


def test_of_several_documents_none_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bent.pdf").write_bytes(b"mine")
    (tmp_path / "two.py").write_text(
        "from derive import R, dims, layer\nn = dims('n')\n"
        "@layer\ndef even(x: R(n)) -> R(n):\n    return 2 * x\n"
        "@layer\ndef bent(x: R(n)) -> R(n):\n    return x * x\n"
    )
    assert main(["latex", "two.py", "--pdf"]) == 1
    there = {path.name for path in tmp_path.iterdir()} - {"__pycache__"}
    assert there == {"bent.pdf", "two.py"}


def test_a_folder_in_the_way_is_refused(tmp_path):
    (tmp_path / "affine.pdf").mkdir()
    with pytest.raises(BuildError, match=REFUSED):
        check_own([tmp_path / "affine.pdf"])


@pdflatex
def test_a_pdf_of_ours_is_marked_and_written_again(tmp_path):
    made = derivation(library.layers()["affine"])
    path = write_pdf(made, tmp_path).path
    assert MARK in path.read_bytes()
    path.write_bytes(path.read_bytes() + b"%")
    size = path.stat().st_size
    assert write_pdf(made, tmp_path).path.stat().st_size < size
    path.write_bytes(b"mine")
    with pytest.raises(BuildError, match=REFUSED):
        write_pdf(made, tmp_path)
    assert path.read_bytes() == b"mine"


def test_lines_that_are_too_wide_are_said(tmp_path, capsys, monkeypatch):
    wide = r"Overfull \hbox (12.3pt too wide) in paragraph at lines 5--7"

    def narrow_page(document: Document, folder: Path) -> Pdf:
        return Pdf(folder / f"{document.name}.pdf", (wide,))

    monkeypatch.setattr(writing, "write_pdf", narrow_page)
    assert main(["latex", "affine", "--pdf", "--out", str(tmp_path)]) == 0
    said = capsys.readouterr()
    path = tmp_path / "affine.pdf"
    assert said.err.splitlines()[-2:] == [f"{path} has lines wider than the page:", f"    {wide}"]
    assert said.out.splitlines() == [str(tmp_path / "affine.tex"), str(path)]


@pytest.mark.parametrize("code", [*range(0x20), 0x7F, 0x80, 0x9F])
def test_control_characters_are_spelled(code):
    kept = chr(code) in "\n\t"
    assert spelled(chr(code)) == (chr(code) if kept else f"(U+{code:04X})")
    assert plain(f"a{chr(code)}b") == (f"a{chr(code)}b" if kept else f"a(U+{code:04X})b")


def test_letters_are_spelled_by_the_last_words_of_their_names():
    assert spelled("aθ~\x07→") == "a(theta)~(U+0007)(arrow)"


@pdflatex
def test_control_characters_in_a_document_compile(tmp_path):
    path = tmp_path / "odd.py"
    path.write_text(
        "from derive import R, dims, layer\nn = dims('n')\n@layer\n"
        'def odd(x: R(n)) -> R(n):\n    """Rings \\x07 and \\x7f."""\n'
        "    return 2 * x  # a bell: \x07, a form feed: \x01\n"
    )
    assert main(["latex", str(path), "--pdf", "--out", str(tmp_path)]) == 0
    tex = (tmp_path / "odd.tex").read_bytes()
    assert b"\x07" not in tex and b"\x7f" not in tex and b"Rings (U+0007) and (U+007F)." in tex
    assert typed("a\x0cb") == "a(U+000C)b"
