"""The kernels of many random layers in one compiled module: compiling is what costs.

All programs of a bundle are emitted into one text, each under its layer's name; a bundle that is
not emitted or does not compile is halved until the layer that is to blame is alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from kernels import DTYPES, Runner
from random_drafts import SIZES
from random_points import ROUNDINGS, TINY, Groups, distance, scales
from random_trials import BATCH_SIZE, Trial, failure

from derive.kernels.compiling.compile import CompileError, compile_modules
from derive.kernels.compiling.modules import Module
from derive.kernels.printing.cython.emit import emit
from derive.language.reference import flat_arrays, values_of
from derive.language.walk import topological
from derive.tools.build import build_runtime, load_kernels

QUICK = ("-O0",)


def measure(trials: Sequence[Trial], name: str, folder: Path, flags: tuple[str, ...]) -> None:
    """The kernels of the trials compiled, run in both dtypes, and their findings noted."""
    folder.mkdir(parents=True, exist_ok=True)
    build_runtime(lambda line: None)
    measured(trials, name, folder, flags)


def measured(trials: Sequence[Trial], name: str, folder: Path, flags: tuple[str, ...]) -> None:
    if not trials:
        return
    try:
        kernels = compiled(trials, name, folder, flags)
    except Exception as error:
        if len(trials) == 1:
            stage = "compiled" if isinstance(error, CompileError) else "emitted"
            trials[0].findings.append(failure(stage, error))
            return
        half = len(trials) // 2
        measured(trials[:half], f"{name}_a", folder, flags)
        measured(trials[half:], f"{name}_b", folder, flags)
        return
    for trial in trials:
        for dtype in DTYPES:
            if dtype == np.float64 or known_in_float32(trial):
                trial.findings += run(trial, kernels[trial.layer.name], dtype)


def compiled(
    trials: Sequence[Any], name: str, folder: Path, flags: tuple[str, ...]
) -> dict[str, Any]:
    """By a layer's name, the kernels of its programs, all from one module."""
    made = [
        replace(program, name=f"{trial.layer.name}_{program.name}")
        for trial in trials
        for program in trial.programs.values()
    ]
    emitted = emit(replace(trials[0].layer, name=name), made)
    (folder / f"{name}.pyx").write_text(emitted.pyx, "utf-8")
    (folder / f"{name}.pxd").write_text(emitted.pxd, "utf-8")
    compile_modules([Module(name, folder / f"{name}.pyx")], flags=flags)
    module = load_kernels(name, folder)
    return {
        trial.layer.name: SimpleNamespace(
            **{p: getattr(module, f"{trial.layer.name}_{p}") for p in trial.programs}
        )
        for trial in trials
    }


def run(trial: Trial, module: Any, dtype: Any) -> list[Any]:
    """The findings about one layer's kernels in a dtype."""
    sizes = {size: SIZES[size] for size in trial.layer.sizes}
    runner = Runner(module, trial.layer, sizes, BATCH_SIZE, dtype, trial.programs.values())
    found: Groups = {}
    try:
        for name, program in trial.programs.items():
            values = {a.variable: trial.values[a.name] for a in program.arguments}
            results = runner.results(name, values)
            found[name] = [part for result in results for part in flat_arrays(result)]
    except Exception as error:
        return [failure("called", error)]
    return list(trial.compared(np.dtype(dtype).name, found, dtype))


def known_in_float32(trial: Trial) -> bool:
    """Whether float32 has room for the programs' numbers, and PyTorch the values in it.

    PyTorch's are within half of what is allowed.
    """
    if not in_range(trial, np.finfo(np.float32)):
        return False
    if trial.torch is None:
        most = max(scales(trial.expected).values())
        return most < 1e30 and max(trial.moved.values()) < 1e2
    try:
        found = trial.oracle(dtype="float32")
    except RuntimeError:  # it mixes dtypes in the second derivative of a largest entry
        return False
    scale = scales(trial.expected)
    unit = ROUNDINGS * float(np.finfo(np.float32).eps) / 2
    return all(
        distance(found[name], group, scale[name], TINY[np.float32]) <= unit * trial.moved[name]
        for name, group in trial.expected.items()
    )


def in_range(trial: Trial, dtype: np.finfo) -> bool:
    """No number on the way to a result is beyond a dtype's, or has lost its digits by smallness.

    Second derivatives are such: -1/u^2 of log u, where u is 10^20, is no number of float32.
    """
    return not any(((s > dtype.max) | ((s > 0) & (s < dtype.tiny))).any() for s in numbers(trial))


def numbers(trial: Trial) -> Iterator[np.ndarray]:
    """The absolute values of all numbers that the programs come by."""
    for program in trial.programs.values():
        given = {a.variable: trial.values[a.name] for a in program.arguments}
        nodes = topological(*(r.node for r in program.results))
        with np.errstate(all="ignore"):
            values = values_of(nodes, given, trial.sizes)
        yield from (np.abs(part) for value in values for part in flat_arrays(value))
