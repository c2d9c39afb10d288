"""derive build: the library, a layer of it, or the layers of a file, compiled."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

from ... import library
from ...writing.documents.chapter import generic_results
from ...writing.documents.document import Document, derivation
from ..build import GENERATED, build_layers, build_library, check_generated
from ..loading import target
from .options import LAYERS, Verbs, add_json, add_verb
from .reports import report, say

EMITTED_BY = "update it with: derive build"
DERIVED_BY = (
    "update it with: derive latex --out generated && derive latex --generic --out generated"
)
OF_NO_LAYER = "remove those: no layer has them"


def add(verbs: Verbs) -> None:
    """The verb build."""
    build = add_verb(verbs, "build", "derive, emit and compile: the library, or FILE.py", _build)
    build.add_argument("layers", nargs="?", metavar="LAYERS", help=LAYERS)
    build.add_argument(
        "--out",
        metavar="DIR",
        type=Path,
        help="for the kernels (default: kernels/ beside FILE.py)",
    )
    build.add_argument(
        "--check", action="store_true", help="only report whether generated/ is current"
    )
    add_json(build)


def _build(options: argparse.Namespace) -> int:
    if options.check:
        return _check_generated(options)
    if options.layers is None and options.out is None:
        made = build_library(say)
        _report(options, GENERATED, made, [])
        return 0
    chosen = target(options.layers)
    if chosen.file is None and options.out and options.out.resolve() == GENERATED.resolve():
        made = build_library(say, chosen.layers)
        _report(options, GENERATED, made, [])
        return 0
    beside = chosen.file.parent if chosen.file else Path()
    out = options.out or beside / "kernels"
    made = build_layers(chosen.layers, out, say)
    _report(options, out, made, [str(path) for path in made])
    return 0


def _report(options: argparse.Namespace, folder: Path, made: list[Path], shown: list[str]) -> None:
    kernels = [{"layer": path.name.partition(".")[0], "path": path} for path in made]
    report(options, {"folder": folder, "kernels": kernels}, shown)


def _check_generated(options: argparse.Namespace) -> int:
    if options.layers is not None or options.out:
        options.wrong("--check is about generated/ and takes neither LAYERS nor --out")
    say("deriving the library")
    derivations = {f"{made.name}.tex": made.tex for made in _derivations()}
    emitted, derived = check_generated(derivations)
    stale = emitted + derived
    sentences = [
        *_stale(emitted, EMITTED_BY),
        *_stale([name for name in derived if name in derivations], DERIVED_BY),
        *_stale([name for name in derived if name not in derivations], OF_NO_LAYER),
    ]
    report(options, {"stale": stale, "ok": not stale}, sentences)
    return 1 if stale else 0


def _derivations() -> Iterator[Document]:
    yield from map(derivation, library.layers().values())
    yield generic_results()


def _stale(names: Sequence[str], fix: str) -> Iterator[str]:
    if names:
        yield f"generated/ is not current: {', '.join(names)}; {fix}"
