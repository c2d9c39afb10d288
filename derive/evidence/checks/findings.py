"""The report of a check: the error of a law on one group of numbers, and the error allowed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from ...language.reference import Array, Value, flat_arrays

EPS = float(np.finfo(np.float64).eps)
MEANINGS = {
    "adjoint": "<u, D v> = <D* u, v>, and so for the second-order maps",
    "symmetry": "D^2 f (e1, e2) = D^2 f (e2, e1), D nabla f = nabla D f",
    "remainder 2": "f(x + h v) - f(x) - h D v = O(h^2): by how much the slope falls short of 2",
    "remainder 3": "the same with the second-order term: by how much the slope falls short of 3",
    "difference": "(f(x + h v) - f(x - h v)) / 2h = D v",
    "difference of the adjoint": "the same of x -> D* u: the second-order adjoints",
    "complex step": "Im f(x + i h v) / h = D v, where every elementwise function is analytic",
    "lift": "a row of the batched layer is the layer at that row",
    "program": "tangent, backward, tangent_backward, gradient are derivatives of each other",
    "kernel": "each result is that of the NumPy reference: both precisions, batches of 0, 1, 4",
    "memory": "bytes that a kernel changed but must not change",
    "asked": "a result that is requested alone is the same",
    "batch": "each row of a batch equals a call with that row, without the batch axis",
    "nan": "entries that are NaN only in the kernel or only in the reference",
    "edges": "at zeros, at equalities and far out: the formula evaluated to 400 digits",
    "sequence kernel": "each result over a sequence is that of the reference: both precisions",
    "unrolled": "states, predictions and J are those of the layers, step by step",
    "sequence difference": "(J(x + h v) - J(x - h v)) / 2h = <gradient of BPTT, v>",
    "samples": "a batch of sequences equals its samples, one by one",
    "lengths": "samples of lengths 0, 1 and T equal sequences of these lengths",
    "missing targets": "targets of weight 0 and entries beyond a length are not read",
    "methods": "RTRL and the hybrid, for blocks of 1, 2, 3, T, T + 2, give the gradient of BPTT",
    "truncation": "truncated BPTT over the whole sequence is BPTT",
    "influence": "J v of RTRL is the difference of the last state along v",
    "pieces": "a sequence in pieces equals the whole sequence, by RTRL and by the hybrid",
    "resets": "a sequence with a reset equals two sequences",
    "values": "elementwise functions against 400 digits, in units in the last place",
    "proof": "derived maps that are not proved to be the derivative; with --all",
}
"""The meaning of each law by its name in the table, in the order of the checks."""


@dataclass(frozen=True)
class Finding:
    """The error of one law of a layer on one group of numbers.

    error       the worst error, relative to the largest entry of the group
    tolerance   the error that the analysis of the law allows, relative to the same entry
    """

    layer: str
    law: str
    group: str
    error: float
    tolerance: float

    @property
    def ok(self) -> bool:
        """Whether the law holds: never with an error that is NaN, always with the error 0."""
        return self.error == 0 or self.error <= self.tolerance

    @property
    def excess(self) -> float:
        """The error in units of the tolerance, by which the findings of a law are ranked."""
        ratio = self.error / self.tolerance if self.tolerance > 0 else np.nan
        return (0.0 if self.ok else np.inf) if np.isnan(ratio) else ratio


def worst(findings: Iterable[Finding]) -> list[Finding]:
    """For each law of each layer, the finding with the largest error relative to its tolerance."""
    found: dict[tuple[str, str], Finding] = {}
    for finding in findings:
        key = finding.layer, finding.law
        if key not in found or finding.excess > found[key].excess:
            found[key] = finding
    return list(found.values())


def vector(value: Value) -> Array:
    """All entries of a value, in order."""
    return np.concatenate([np.ravel(array) for array in flat_arrays(value)] or [np.zeros(0)])


def largest(value: Value) -> float:
    """The largest absolute value of an entry, 0 if there is none."""
    return float(np.max(abs(vector(value)), initial=0.0))


def compared(
    layer: str, law: str, group: str, found: Value, expected: Value, bound: float
) -> Finding:
    """A finding from two values and the absolute error that is allowed between them."""
    scale = largest(expected) or 1.0
    error = largest(vector(found) - vector(expected))
    return Finding(layer, law, group, error / scale, bound / scale)
