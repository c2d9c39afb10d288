"""One random layer tried: derived maps and programs by the reference against the oracle.

A layer is compared where its oracle has finite values and is well conditioned there: NOISE in the
result of every statement moves no group of results by more than WORST * NOISE of its largest entry.
The tolerance is what it was moved, for the roundings of this arithmetic.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import random_differences
import random_maps
from points import draw
from random_drafts import SIZES
from random_oracles import Oracle
from random_points import NOISE, ROUNDINGS, TINY, WORST, Finding, Groups, distance, rounded, scales

from derive import Layer
from derive.language.reference import flat_arrays, values_of
from derive.language.roles import MASK
from derive.models.programs import BATCH, Program, programs

BATCH_SIZE = 2


@dataclass
class Trial:
    """A layer at a point: its programs, their reference, their oracle, and how far it is known."""

    layer: Layer
    function: Any
    seed: int = 0
    torch: Any = None
    findings: list[Finding] = field(default_factory=list)
    rejected: str = ""
    programs: dict[str, Program] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)
    expected: Groups = field(default_factory=dict)
    moved: dict[str, float] = field(default_factory=dict)  # by a kernel's name: amplification

    @property
    def sizes(self) -> dict[Any, int]:
        return {BATCH: BATCH_SIZE, **SIZES}

    def run(self) -> Trial:
        """Everything but the compiled kernels."""
        try:
            self.programs = {p.name: p for p in programs(self.layer)}
            self.values = self.drawn()
            reference = self.reference()
        except Exception as error:
            self.findings.append(failure("derived", error))
            return self
        self.expected = reference
        self.moved = dict.fromkeys(reference, 1.0)
        try:
            self.judge(reference)
        except Exception as error:
            self.findings.append(failure("judged", error))
        return self

    def judge(self, reference: Groups) -> None:
        """The findings about the reference and the maps."""
        if self.torch is None:
            self.findings += random_differences.findings(self, reference)
            return
        self.expected = self.oracle()
        if not all(np.isfinite(part).all() for group in self.expected.values() for part in group):
            self.rejected = "the oracle is not finite"
        elif self.judged(lambda seed: self.oracle(noise=NOISE, seed=seed)):
            self.findings += self.compared("reference", reference, np.float64)
            self.findings += random_maps.findings(self)

    def drawn(self) -> dict[str, Any]:
        """A value for every argument of every program, by name, exact in float32."""
        rng = np.random.default_rng(self.seed)
        found: dict[str, Any] = {}
        for program in self.programs.values():
            for a in program.arguments:
                if a.name not in found:
                    found[a.name] = rounded(draw(a.variable.space, self.sizes, rng), a.role == MASK)
        return found

    def reference(self) -> Groups:
        """The programs evaluated with NumPy."""
        found = {}
        with np.errstate(all="ignore"):
            for name, program in self.programs.items():
                given = {a.variable: self.values[a.name] for a in program.arguments}
                results = values_of([r.node for r in program.results], given, self.sizes)
                found[name] = [part for result in results for part in flat_arrays(result)]
        return found

    def oracle(
        self,
        values: Any = None,
        batch: int = BATCH_SIZE,
        noise: float = 0.0,
        seed: int = 0,
        dtype="float64",
    ) -> Groups:
        made = Oracle(self.layer, self.function, self.torch, dtype, noise, seed)
        return made.results(self.programs, values or self.values, batch)

    def judged(self, noisy: Callable[[int], Groups]) -> bool:
        """Whether the point is well conditioned, by evaluations with noise; sets `moved`."""
        scale = scales(self.expected)
        for found in (noisy(seed) for seed in range(2)):
            for name, group in self.expected.items():
                moved = distance(found[name], group, scale[name], TINY[np.float64]) / NOISE
                self.moved[name] = max(self.moved[name], moved)
        if not max(self.moved.values()) <= WORST:
            self.rejected = "badly conditioned"
        return not self.rejected

    def compared(self, stage: str, found: Groups, dtype: Any) -> Iterator[Finding]:
        """Every kernel's results against the expected ones."""
        unit, scale = ROUNDINGS * float(np.finfo(dtype).eps), scales(self.expected)
        for name, group in self.expected.items():
            shapes = [p.shape for p in found[name]], [p.shape for p in group]
            if shapes[0] != shapes[1]:
                yield Finding(stage, f"{name}: shapes {shapes[0]}, expected {shapes[1]}")
                continue
            off, allowed = (
                distance(found[name], group, scale[name], TINY[dtype]),
                unit * self.moved[name],
            )
            if not off <= allowed:
                yield Finding(stage, f"{name}: off by {off:.2g}, allowed {allowed:.2g}")


def failure(stage: str, error: Exception) -> Finding:
    """An exception as a finding, with the place where it was raised."""
    last = traceback.extract_tb(sys.exc_info()[2])[-1]
    place = f"{last.filename.rpartition('/')[2]}:{last.lineno}"
    text = str(error)
    said = text if len(text) < 500 else f"{text[:200]} .. {text[-300:]}"
    return Finding(stage, f"{type(error).__name__} at {place}: {said}")
