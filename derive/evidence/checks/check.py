"""Checks of a layer: its maps, programs, kernels, elementwise values and, if wanted, its proof.

No check knows a particular layer: points are drawn by spaces and operations, and the expected
values come from the reference and from numerical oracles.  The laws are described in their modules:
`map_laws`, `program_laws`, `kernel_laws`, `edge_laws`, `accuracy`, and for a recurrent network over
a sequence `sequence_laws`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from ...kernels.interpreting import plain_edge
from ...kernels.interpreting.evaluated import evaluated_module
from ...models.layers import Layer
from ...models.levels import Recurrent
from ...models.programs import Program, programs
from ..proofs.proof import Undecided, prove
from . import accuracy
from .drawing import unequal_sizes
from .edge_laws import EdgeLaws
from .findings import Finding, worst
from .kernel_laws import DTYPES, KernelLaws
from .map_laws import MapLaws
from .program_laws import ProgramLaws
from .sampling import point_of
from .sequence_laws import SequenceLaws

COLUMNS = ("layer", "check", "worst error", "tolerance", "", "where")


def check(layer: Layer, kernels: Any = None, seed: int = 0) -> list[Finding]:
    """The findings of all laws; those of the kernels if `kernels` is given.

    `kernels` holds each program's kernel under its name, as an emitted module does, or is None.
    Of a recurrent network these are the laws over sequences; its cells are layers of their own.
    Raises NoPoint if no point is found at which the layer is finite and away from its kinks.

    >>> from derive.library.dense import dense
    >>> all(finding.ok for finding in check(dense))
    True
    """
    if isinstance(layer, Recurrent):
        found = list(sequence_findings(layer, kernels, seed))
        return [*found, *accuracy.findings(layer.name, [layer.output])]
    made = programs(layer)
    found = [*map_findings(layer, seed), *program_findings(layer, made, seed)]
    if kernels is not None:
        found += kernel_findings(layer, made, kernels, seed)
    found += edge_findings(layer, made, kernels, seed)
    return [*found, *accuracy.findings(layer.name, [layer.output])]


def edge_findings(
    layer: Layer, made: Iterable[Program], kernels: Any = None, seed: int = 0
) -> Iterator[Finding]:
    """The laws of a layer at its edges, by its kernels if there are any, else by the reference."""
    for own, group in by_layer(made).items():
        yield from _named(layer, EdgeLaws(own, group, kernels, seed).findings())


def sequence_findings(network: Recurrent, kernels: Any = None, seed: int = 0) -> Iterator[Finding]:
    """The laws over sequences, on the NumPy reference if no kernels are given."""
    dtypes = (np.float64,) if kernels is None else DTYPES
    module = evaluated_module(network, plain_edge) if kernels is None else kernels
    return SequenceLaws(network, module.recurrence, seed, dtypes).findings()


def map_findings(layer: Layer, seed: int = 0) -> Iterator[Finding]:
    """The laws of the derived maps at one point of unequal sizes."""
    random = np.random.default_rng(seed)
    point = point_of(layer, unequal_sizes(layer), random)
    return MapLaws(layer, point, random).findings()


def program_findings(layer: Layer, made: Iterable[Program], seed: int = 0) -> Iterator[Finding]:
    """The laws of the programs, grouped by layer: those of a network, and those of its loss."""
    for own, group in by_layer(made).items():
        random = np.random.default_rng(seed)
        yield from _named(layer, ProgramLaws(own, group, random).findings())


def kernel_findings(
    layer: Layer, made: Iterable[Program], kernels: Any, seed: int = 0
) -> Iterator[Finding]:
    """The laws of the kernels, grouped by the layer of each program."""
    for own, group in by_layer(made).items():
        yield from _named(layer, KernelLaws(own, kernels, group, seed).findings())


def by_layer(made: Iterable[Program]) -> dict[Layer, list[Program]]:
    """Programs grouped by their layer, in order."""
    groups: dict[Layer, list[Program]] = {}
    for program in made:
        groups.setdefault(program.layer, []).append(program)
    return groups


def _named(layer: Layer, findings: Iterable[Finding]) -> Iterator[Finding]:
    return (Finding(layer.name, f.law, f.group, f.error, f.tolerance) for f in findings)


def proof_findings(layer: Layer, seed: int = 0) -> list[Finding]:
    """The number of maps that are not proved to be the derivative: it must be 0.

    If a layer is too deep for the proof, none of its maps is proved.
    """
    try:
        verdicts = prove(layer, seed)
    except Undecided as why:
        return [Finding(layer.name, "proof", str(why), math.inf, 0)]
    open_ = [verdict.map_name for verdict in verdicts if not verdict.proved]
    group = f"{len(verdicts) - len(open_)} of {len(verdicts)} maps proved"
    return [Finding(layer.name, "proof", ", ".join([group, *open_[:1]]), len(open_), 0)]


# --- the table


def table(findings: Iterable[Finding]) -> Iterator[str]:
    """One line for each law of each layer: its worst finding, and whether it passes."""
    rows = [COLUMNS, *(_row(finding) for finding in worst(findings))]
    widths = [max(len(row[k]) for row in rows) for k in range(len(COLUMNS) - 1)]
    for row in rows:
        padded = (cell.ljust(width) for cell, width in zip(row, widths, strict=False))
        yield "  ".join([*padded, row[-1]]).rstrip()


def _row(finding: Finding) -> tuple[str, ...]:
    verdict = "ok" if finding.ok else "FAIL"
    error, tolerance = f"{finding.error:.1e}", f"{finding.tolerance:.1e}"
    return (finding.layer, finding.law, error, tolerance, verdict, finding.group)
