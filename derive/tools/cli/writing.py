"""derive latex: the written derivation of layers, or of the generic results."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from ...writing.documents.chapter import generic_results
from ...writing.documents.document import Document, derivation
from ..build import write_texts
from ..loading import target
from ..pdf import check_own, pdf_name, write_pdf
from .options import LAYERS, Verbs, add_json, add_verb
from .reports import report, say


def add(verbs: Verbs) -> None:
    """The verb latex."""
    latex = add_verb(verbs, "latex", "the written derivation, every equation asserted", _latex)
    which = f"{LAYERS} (default: the library)"
    latex.add_argument("layers", nargs="?", metavar="LAYERS", help=which)
    latex.add_argument(
        "--generic",
        action="store_true",
        help="the results that hold for every layered network (thesis chapter 3) instead",
    )
    latex.add_argument(
        "--out", metavar="DIR", type=Path, default=Path(), help="for NAME.tex (default: here)"
    )
    latex.add_argument("--pdf", action="store_true", help="also NAME.pdf; needs pdflatex")
    add_json(latex)


def _latex(options: argparse.Namespace) -> int:
    if options.generic and options.layers is not None:
        options.wrong("give LAYERS or --generic, not both")
    made = list(_documents(options))
    if options.pdf:
        check_own(options.out / pdf_name(document) for document in made)
    write_texts({f"{document.name}.tex": document.tex for document in made}, options.out)
    rows = [_row(document, options) for document in made]
    paths = [row[kind] for row in rows for kind in ("tex", "pdf") if row[kind] is not None]
    report(options, {"documents": rows}, map(str, paths))
    return 0


def _documents(options: argparse.Namespace) -> Iterator[Document]:
    if options.generic:
        yield generic_results()
        return
    for name, layer in target(options.layers).layers.items():
        say(f"deriving {name}")
        yield derivation(layer)


def _row(made: Document, options: argparse.Namespace) -> dict[str, object]:
    """The paths of a document's files; the PDF is made here if it is wanted."""
    pdf = _typeset(made, options) if options.pdf else None
    return {"name": made.name, "tex": options.out / f"{made.name}.tex", "pdf": pdf}


def _typeset(made: Document, options: argparse.Namespace) -> Path:
    pdf = write_pdf(made, options.out)
    if pdf.overfull:
        say(f"{pdf.path} has lines wider than the page:")
    for line in pdf.overfull:
        say(f"    {line}")
    return pdf.path
