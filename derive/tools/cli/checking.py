"""derive check: the laws of maps and kernels, a row each, and whether all of them hold."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any

from ...evidence.checks.check import check, map_findings, proof_findings, table
from ...evidence.checks.findings import MEANINGS, Finding, worst
from ...models.levels import Recurrent
from ..build import build_layers, load_kernels
from ..loading import BuildError, Target, target
from .options import LAYERS, Verbs, add_json, add_verb
from .reports import report, say

ROWS = "\n".join(
    [
        "Points are drawn at random.  A row is the worst case of one law: its error, relative to",
        "the largest entry, and the error that the rounding analysis allows.  f is the layer,",
        "D v its derivative along v, D* the adjoint, h a small step.  Of a recurrent network J is",
        "the weighted sum of the losses, T the number of steps.",
        "",
        *(f"  {law:26} {meaning}" for law, meaning in MEANINGS.items()),
    ]
)


def add(verbs: Verbs) -> None:
    """The verb check."""
    summary = "laws of maps and kernels; exit status 1 on any failure"
    verb = add_verb(verbs, "check", summary, _check, ROWS)
    verb.add_argument("layers", nargs="?", metavar="LAYERS", help=f"{LAYERS}; default: the library")
    verb.add_argument("--all", action="store_true", help="also prove every derived map")
    verb.add_argument("--seed", type=seed, default=0, help="seed of the random points: 0, 1, ..")
    verb.add_argument(
        "--out", metavar="DIR", type=Path, help="for the kernels of FILE.py (default: not kept)"
    )
    add_json(verb)


def seed(text: str) -> int:
    """A whole number from 0 on.  Raises ValueError, which argparse reports as a usage error."""
    number = int(text)
    if number < 0:
        raise ValueError(text)
    return number


def _check(options: argparse.Namespace) -> int:
    chosen = target(options.layers)
    if options.out and chosen.file is None:
        options.wrong("--out is for the kernels of FILE.py; those of the library are built already")
    found: list[Finding] = []
    with _kernels(chosen, options.out) as kernels:
        for name, layer in chosen.layers.items():
            say(f"checking {name}")
            if chosen.file and isinstance(layer, Recurrent):
                found += map_findings(
                    layer, options.seed
                )  # also as one step, which is what the user composed
            found += check(layer, kernels[name], options.seed)
            found += proof_findings(layer, options.seed) if options.all else []
    report(options, _document(list(chosen.layers), options.seed, found), table(found))
    return 0 if all(finding.ok for finding in found) else 1


def _document(layers: list[str], seed: int, found: Sequence[Finding]) -> dict[str, Any]:
    """The rows of the table; an error that is not finite is null, and never ok."""
    rows = [
        {
            "layer": finding.layer,
            "quantity": finding.law,
            "where": finding.group,
            "value": float(finding.error),
            "allowed": float(finding.tolerance),
            "ok": bool(finding.ok),
        }
        for finding in worst(found)
    ]
    return {"layers": layers, "seed": seed, "rows": rows, "ok": all(f.ok for f in found)}


@contextmanager
def _kernels(chosen: Target, out: Path | None) -> Iterator[dict[str, ModuleType]]:
    """The library's built kernels; those of a file, built into a folder or a temporary one."""
    if chosen.file is None:
        yield {name: _generated(name) for name in chosen.layers}
        return
    with TemporaryDirectory(prefix="layerwise-") as temporary:
        folder = out or Path(temporary)
        build_layers(chosen.layers, folder, say)
        yield {name: load_kernels(name, folder) for name in chosen.layers}


def _generated(name: str) -> ModuleType:
    try:
        return import_module(f"derive.generated.{name}")
    except ImportError as error:
        raise BuildError(
            f"the kernels of {name} are not built ({error}); run: derive build"
        ) from error
