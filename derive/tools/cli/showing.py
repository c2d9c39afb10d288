"""derive list, derive show: the layers there are, and the description of one.

For a cell or a recurrent network, `show` also lists the gradients over a sequence.
"""

from __future__ import annotations

import argparse

from ... import library
from ...kernels.printing.cython.emit import emit
from ...models.layers import Layer
from ...writing.describe import describe, lines, rewrite_lines
from ..loading import target
from .options import LAYERS, Verbs, add_json, add_verb
from .reports import report


def add(verbs: Verbs) -> None:
    """The verbs list and show."""
    add_json(add_verb(verbs, "list", "the library's layers", _list))
    show = add_verb(verbs, "show", "a layer's formulas, spaces, derived maps and cost", _show)
    show.add_argument("layers", metavar="LAYERS", help=LAYERS)
    show.add_argument("--pyx", action="store_true", help="print the Cython module instead")
    show.add_argument(
        "--rewrites", action="store_true", help="print only the laws that rewrite the formula"
    )
    add_json(show)


def _list(options: argparse.Namespace) -> int:
    found = library.layers().values()
    rows = [{"name": f.name, "signature": f.signature, "doc": _first_line(f)} for f in found]
    report(
        options,
        {"layers": rows},
        (f"{row['name']:24} {row['signature']:36} {row['doc']}" for row in rows),
    )
    return 0


def _first_line(layer: Layer) -> str:
    return layer.doc.partition("\n")[0]


def _show(options: argparse.Namespace) -> int:
    chosen = target(options.layers).layers.values()
    if options.pyx:
        modules = [emit(layer) for layer in chosen]
        report(options, {"modules": modules}, (module.pyx for module in modules))
        return 0
    found = [describe(layer) for layer in chosen]
    shown = rewrite_lines if options.rewrites else lines
    texts = ("\n".join(shown(description)) for description in found)
    report(options, {"layers": found}, ["\n\n".join(texts)])
    return 0
