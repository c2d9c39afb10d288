"""A document as PDF, by pdflatex where it is installed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from ..writing.documents.document import Document
from .loading import BuildError

PACKAGE = "texlive-latex-base (Debian, Ubuntu; 39 MB), texlive-latex (Fedora) or MacTeX"
SECONDS = 120  # for one document: it takes one
MARK = b"/Creator (layerwise)"  # as the template has it written, never compressed


class LatexError(ValueError):
    """pdflatex is missing, or it refused a document; the message ends with what it said."""


@dataclass(frozen=True)
class Pdf:
    """A PDF file, and the lines of its log that tell of what is wider than the page."""

    path: Path
    overfull: tuple[str, ...]


def pdf_name(document: Document) -> str:
    """The name of the file that a document is typeset into."""
    return f"{document.name}.pdf"


def check_own(paths: Iterable[Path]) -> None:
    """Raises BuildError for something at one of these paths that is not a PDF of ours."""
    for path in paths:
        if path.is_dir() or (path.exists() and MARK not in path.read_bytes()):
            raise BuildError(
                f"{path} is not made by layerwise and is not overwritten; "
                "move it away or choose another folder with --out"
            )


def write_pdf(document: Document, folder: Path) -> Pdf:
    """Writes NAME.pdf into a folder, made aside and moved into place.

    Raises LatexError where pdflatex is missing or refuses the document, and BuildError for a file
    of that name that is not ours.
    """
    check_own([folder / pdf_name(document)])
    program = shutil.which("pdflatex")
    if program is None:
        raise LatexError(f"pdflatex was not found: install {PACKAGE}, or leave out --pdf")
    with TemporaryDirectory(dir=folder, prefix=".latex-") as scratch:
        log = _run(program, document, Path(scratch))
        path = folder / pdf_name(document)
        os.replace(Path(scratch, "document.pdf"), path)
    return Pdf(path, tuple(re.findall(r"Overfull .*", log)))


def _run(program: str, document: Document, scratch: Path) -> str:
    """The log of one run; document.pdf is in the folder then."""
    Path(scratch, "document.tex").write_text(document.tex, "utf-8")
    options = ("-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape")
    command = [program, *options, "document.tex"]
    try:
        done = subprocess.run(
            command, cwd=scratch, stdin=subprocess.DEVNULL, capture_output=True, timeout=SECONDS
        )
    except subprocess.TimeoutExpired as error:
        raise LatexError(f"{document.name}: pdflatex took more than {SECONDS} s") from error
    said = done.stdout.decode(errors="replace")
    if done.returncode:
        problem = said[said.find("\n!") + 1 :] if "\n!" in said else said
        raise LatexError(f"{document.name}: pdflatex refused the document:\n{problem[:1000]}")
    return said
