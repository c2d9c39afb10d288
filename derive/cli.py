"""The command line: derive list | show | build | check.  Reports on stdout, progress on stderr."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from . import library
from .build import BuildError, build_layers, build_library, check_generated, target
from .compile import CompileError, CompilerMissing
from .describe import description
from .emit import emit


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; 0 for success, 1 where something is wrong, 2 for a wrong command line."""
    options = parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except (BuildError, CompileError, CompilerMissing, TypeError, ValueError) as error:
        print(f"derive {options.verb}: {error}", file=sys.stderr)
        return 1


def parser() -> argparse.ArgumentParser:
    """The verbs and their options."""
    made = argparse.ArgumentParser(prog="derive", description=__doc__)
    verbs = made.add_subparsers(dest="verb", required=True, metavar="VERB")
    verb = verbs.add_parser("list", help="the library's layers")
    verb.set_defaults(run=_list)
    verb = verbs.add_parser("show", help="a layer's formulas, spaces, derived maps and cost")
    verb.add_argument("layers", help="a library layer's name, FILE.py or FILE.py:name")
    verb.add_argument("--pyx", action="store_true", help="the Cython module instead")
    verb.set_defaults(run=_show)
    verb = verbs.add_parser("build", help="derive, emit and compile: the library, or FILE.py")
    verb.add_argument("layers", nargs="?", help="a library layer's name, FILE.py or FILE.py:name")
    verb.add_argument("--out", type=Path, help="folder for the kernels (default: kernels/ by FILE.py)")
    verb.add_argument("--check", action="store_true", help="only tell whether generated/ is current")
    verb.set_defaults(run=_build)
    return made


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _list(options: argparse.Namespace) -> int:
    for name, layer in library.layers().items():
        print(f"{name:24} {layer.signature:36} {layer.doc.splitlines()[0]}")
    return 0


def _show(options: argparse.Namespace) -> int:
    for layer in target(options.layers).layers.values():
        print(emit(layer).pyx if options.pyx else "\n".join(description(layer)), end="\n")
    return 0


def _build(options: argparse.Namespace) -> int:
    if options.check:
        stale = check_generated()
        if stale:
            print(f"generated/ is not current: {', '.join(stale)}; update it with: python build.py")
        return 1 if stale else 0
    if options.layers is None and options.out is None:
        build_library(_say)
        return 0
    chosen = target(options.layers) if options.layers else None
    layers = chosen.layers if chosen else library.layers()
    beside = (chosen.file.parent if chosen and chosen.file else Path()) / "kernels"
    out = options.out or beside
    for path in build_layers(layers, out, _say):
        print(path)
    return 0
