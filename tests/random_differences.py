"""Where PyTorch is not installed: derivatives of a random layer against central differences.

Two steps, h and h/2, give the value by extrapolation, and their difference how far it is known.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from points import moved, pairing
from random_points import NOISE, TINY, Finding, Groups, distance, mapped, scales

from derive.language.reference import flat_arrays
from derive.models.programs import COTANGENT, TANGENT

if TYPE_CHECKING:
    from random_trials import Trial

STEP = 1e-3
KNOWN = 1e-3  # a derivative that both steps do not agree on so far is not compared
# The error of the extrapolated quotient is a fraction of h^2 of what the two steps differ by, and
# the roundings of a difference are 1e-16 / h.
ROUNDING = 1e-10


def findings(trial: Trial, reference: Groups) -> Iterator[Finding]:
    """tangent and tangent_backward by differences of forward and backward, backward by <u, v>."""
    if not all(np.isfinite(part).all() for group in reference.values() for part in group):
        trial.rejected = "the reference is not finite"
        return
    if not trial.judged(lambda seed: shaken(trial, seed)):
        return
    for program, derivative in (("forward", "tangent"), ("backward", "tangent_backward")):
        coarse, fine = (quotient(trial, program, step) for step in (STEP, STEP / 2))
        tiny, scale = TINY[np.float64], scales(reference)[derivative]
        known = distance(coarse, fine, scale, tiny)
        if not known <= KNOWN:
            trial.rejected = "differences do not settle"
            return
        expected = [(4 * f - c) / 3 for f, c in zip(fine, coarse, strict=True)]
        off = distance(reference[derivative], expected, scale, tiny)
        if off > known + ROUNDING:
            yield Finding("reference", f"{derivative}: off by {off:.2g} from differences")
    yield from pairings(trial, reference)


def shaken(trial: Trial, seed: int) -> Groups:
    """The reference where every argument is off by a relative NOISE."""
    rng, values = np.random.default_rng(seed), trial.values

    def noisy(array: Any) -> Any:
        return (
            array if array.dtype.kind == "i" else array * (1 + NOISE * rng.normal(size=array.shape))
        )

    trial.values = {name: mapped(noisy, value) for name, value in values.items()}
    try:
        return trial.reference()
    finally:
        trial.values = values


def pairings(trial: Trial, reference: Groups) -> Iterator[Finding]:
    """<y_bar, y_dot> is the sum of <x_bar, x_dot>."""
    bar = of_role(trial, "backward", COTANGENT)
    dot = of_role(trial, "tangent", TANGENT)
    left = pairing(tuple(reference["tangent"]), bar)
    right = pairing(tuple(reference["backward"]), dot)
    total = sum(float(np.abs(part).sum()) for value in dot for part in flat_arrays(value))
    if abs(left - right) > 1e-12 * scales(reference)["backward"] * total:
        yield Finding("reference", f"backward: <y_bar, y_dot> {left}, <x_bar, x_dot> {right}")


def of_role(trial: Trial, program: str, role: str) -> tuple[Any, ...]:
    arguments = trial.programs[program].arguments
    return tuple(trial.values[a.name] for a in arguments if a.role == role)


def quotient(trial: Trial, program: str, step: float) -> list[np.ndarray]:
    """The central difference quotient of a program's results along all directions at once."""
    values = trial.values
    try:
        ends = []
        for sign in (1, -1):
            trial.values = {
                name: moved(v, values[f"{name}_dot"], sign * step) if f"{name}_dot" in values else v
                for name, v in values.items()
            }
            ends.append(trial.reference()[program])
    finally:
        trial.values = values
    return [(a - b) / (2 * step) for a, b in zip(*ends, strict=True)]
