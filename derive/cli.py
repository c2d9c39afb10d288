"""The command line: derive list | show | build | check.  Reports on stdout, progress on stderr."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType

from . import library
from .build import (
    BuildError,
    Target,
    build_layers,
    build_library,
    check_generated,
    load_kernels,
    target,
)
from .checks.check import check, proof_findings, table
from .compile import CompileError, CompilerMissing
from .describe import description
from .kernels.emit import emit


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; 0 for success, 1 where something is wrong, 2 for a wrong command line."""
    options = parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except BrokenPipeError:  # the reader, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
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
    verb.add_argument(
        "--out", type=Path, help="folder for the kernels (default: kernels/ by FILE.py)"
    )
    verb.add_argument(
        "--check", action="store_true", help="only tell whether generated/ is current"
    )
    verb.set_defaults(run=_build)
    verb = verbs.add_parser("check", help="laws of maps and kernels; exit status 1 on any failure")
    verb.add_argument("layers", nargs="?", default="", help="default: every layer of the library")
    verb.add_argument("--all", action="store_true", help="the proof of every derived map, too")
    verb.add_argument("--seed", type=int, default=0, help="of the points that are drawn")
    verb.add_argument("--out", type=Path, help="folder for the kernels of FILE.py (default: none)")
    verb.set_defaults(run=_check)
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
    if options.check and (options.layers or options.out):
        raise BuildError("--check is about generated/ and takes neither FILE.py nor --out")
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


def _check(options: argparse.Namespace) -> int:
    chosen, found = target(options.layers), []
    with _kernels(chosen, options.out) as kernels:
        for name, layer in chosen.layers.items():
            _say(f"checking {name}")
            found += check(layer, kernels[name], options.seed)
            found += proof_findings(layer, options.seed) if options.all else []
    print("\n".join(table(found)))
    return 0 if all(finding.ok for finding in found) else 1


@contextmanager
def _kernels(chosen: Target, out: Path | None) -> Iterator[dict[str, ModuleType]]:
    """The library's built kernels; those of a file, built into a folder or a temporary one."""
    if chosen.file is None:
        yield {name: _generated(name) for name in chosen.layers}
        return
    with TemporaryDirectory(prefix="layerwise-") as temporary:
        folder = out or Path(temporary)
        build_layers(chosen.layers, folder, _say)
        yield {name: load_kernels(name, folder) for name in chosen.layers}


def _generated(name: str) -> ModuleType:
    try:
        return import_module(f"derive.generated.{name}")
    except ImportError as error:
        raise BuildError(
            f"the kernels of {name} are not built ({error}): python build.py"
        ) from error
