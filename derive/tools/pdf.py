"""A document as PDF, if pdflatex is installed."""

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
SECONDS = 120  # for one document, which takes about one
MARK = b"/Creator (layerwise)"  # as the template writes it, uncompressed


class LatexError(ValueError):
    """pdflatex is missing or refused a document; the message ends with its output."""


@dataclass(frozen=True)
class Pdf:
    """A PDF file, and the lines of its log that report overfull boxes."""

    path: Path
    overfull: tuple[str, ...]


def pdf_name(document: Document) -> str:
    """The file name of a document's PDF."""
    return f"{document.name}.pdf"


def check_own(paths: Iterable[Path]) -> None:
    """Raises BuildError if one of these paths exists and is not a PDF of ours."""
    for path in paths:
        if path.is_dir() or (path.exists() and MARK not in path.read_bytes()):
            raise BuildError(
                f"{path} was not made by layerwise and is not overwritten; "
                "move it away or choose another folder with --out"
            )


def write_pdf(document: Document, folder: Path) -> Pdf:
    """Write NAME.pdf into a folder, atomically.

    Raises LatexError if pdflatex is missing or refuses the document, and BuildError if a file of
    that name exists and is not ours.
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
    """Run pdflatex, which leaves document.pdf in the folder; its log."""
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
