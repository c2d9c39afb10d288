"""derive latex: the written derivation of layers, or of the generic results."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from ..build import write_texts
from ..latex.chapter import generic_results
from ..latex.document import Document, derivation
from ..latex.pdf import write_pdf
from ..loading import target
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
    latex.add_argument("--pdf", action="store_true", help="NAME.pdf, too; needs pdflatex")
    add_json(latex)


def _latex(options: argparse.Namespace) -> int:
    if options.generic and options.layers:
        options.wrong("give LAYERS or --generic, not both")
    rows = [_written(made, options) for made in _documents(options)]
    paths = [row[kind] for row in rows for kind in ("tex", "pdf") if row[kind] is not None]
    report(options, {"documents": rows}, map(str, paths))
    return 0


def _documents(options: argparse.Namespace) -> Iterator[Document]:
    if options.generic:
        yield generic_results()
        return
    for name, layer in target(options.layers or "").layers.items():
        say(f"deriving {name}")
        yield derivation(layer)


def _written(made: Document, options: argparse.Namespace) -> dict[str, object]:
    """The paths of a document's files."""
    path = options.out / f"{made.name}.tex"
    write_texts({path.name: made.tex}, options.out)
    pdf = write_pdf(made, options.out).path if options.pdf else None
    return {"name": made.name, "tex": path, "pdf": pdf}
