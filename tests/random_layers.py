"""Random layers against PyTorch: derived maps, programs by the reference, compiled kernels.

    python tests/random_layers.py --count 3000 --seed 7

prints the seed, how many layers were right, rejected (by reason) or wrong, and for each way of
being wrong the first layer, shrunk to a small one, as the source of a declaration with its oracle.
What is found goes into `found_layers`, which is always run.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import random_bundles
from random_drafts import Draft, source
from random_drawing import drawn
from random_points import Finding
from random_shrinking import alike, shrunk
from random_trials import Trial, failure

from derive.kernels.compiling.compile import NATIVE
from derive.tools.loading import load_file

PER_BUNDLE = 25


@dataclass
class Report:
    """What came of some layers."""

    right: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    wrong: list[tuple[Draft, Finding]] = field(default_factory=list)

    def add(self, other: Report) -> None:
        self.right += other.right
        self.rejected.update(other.rejected)
        self.wrong += other.wrong

    def __str__(self) -> str:
        reasons = [f"{count} {why}" for why, count in self.rejected.most_common()]
        return (
            f"{self.right} right, {self.rejected.total()} rejected "
            f"({', '.join(reasons) or 'none'}), {len(self.wrong)} wrong"
        )


def torch_module() -> Any:
    """PyTorch, or None where it is not installed."""
    return import_module("torch") if find_spec("torch") else None


REFUSED = {  # what is refused as it should be: such a draft is rejected
    "below 1.8e308": "a product of its numbers is beyond the floats",
    "there is a branch of its own": "a branch at one point that is not continued",
    "entry by entry, not an inverse": "a negative power of a square matrix",
}

SQUARED = 1e154  # its square is beyond the floats: scalar formulas are meant for less
NOT_FINITE = ("off by inf", "off by nan", "= nan", "= inf", "= -inf", "= +inf")


def tried(draft: Draft, folder: Path, torch: Any) -> Trial | Finding | str:
    """A draft declared in a file of its own and tried, or why it can't be declared."""
    file = folder / f"{draft.name}.py"
    file.write_text(source([draft]), "utf-8")
    try:
        module = load_file(file)
    except Exception as error:
        return refused(str(error)) or failure("declared", error)
    layer, function = (getattr(module, f"{draft.name}{end}") for end in ("", "_torch"))
    trial = Trial(layer, function, torch=torch).run()
    first = trial.findings[0].message if trial.findings else ""
    not_finite = any(word in first for word in NOT_FINITE)
    if not_finite and any((part > SQUARED).any() for part in random_bundles.numbers(trial)):
        return "a square of its numbers is beyond the floats"
    return refused(first) or trial


def refused(message: str) -> str:
    """Why a layer is refused as it should be; nothing where it should not."""
    return next((why for said, why in REFUSED.items() if said in message), "")


def run(
    drafts: Sequence[Draft], name: str, folder: Path, flags: tuple[str, ...] = random_bundles.QUICK
) -> Report:
    """Drafts tried, and their kernels compiled in one module of that name."""
    torch = torch_module()
    if torch is not None:
        torch.set_num_threads(1)
    folder.mkdir(parents=True, exist_ok=True)
    trials = {draft: tried(draft, folder, torch) for draft in drafts}
    whole = [t for t in trials.values() if isinstance(t, Trial) and not (t.findings or t.rejected)]
    random_bundles.measure(whole, name, folder, flags)
    report = Report()
    for draft, trial in trials.items():
        note(report, draft, trial)
    return report


def note(report: Report, draft: Draft, trial: Trial | Finding | str) -> None:
    """Count a trial where it belongs."""
    if isinstance(trial, str):
        report.rejected[trial] += 1
        return
    findings = [trial] if isinstance(trial, Finding) else trial.findings
    if findings:
        report.wrong.append((draft, findings[0]))
    elif trial.rejected:
        report.rejected[trial.rejected] += 1
    else:
        report.right += 1


# --- the command


def main(words: Sequence[str]) -> int:
    options = parsed(words)
    # Differences see through what is held, and lose what a huge summand swallows.
    without = frozenset() if torch_module() else frozenset({"held", "large numbers"})
    print(f"seed {options.seed}, layers {options.first} to {options.first + options.count - 1}")
    start, total = time.monotonic(), Report()
    shown: list[Finding] = []
    numbers = range(options.first, options.first + options.count)
    with tempfile.TemporaryDirectory() as folder:
        jobs = [
            (options.seed, numbers[k : k + PER_BUNDLE], without, Path(folder), options.optimised)
            for k in range(0, len(numbers), PER_BUNDLE)
        ]
        for report in reports(jobs, options.processes):
            total.add(report)
            for draft, finding in report.wrong:
                if not any(alike(finding, other) for other in shown):
                    show(draft, finding, Path(folder))
                shown.append(finding)
            print(f"  {time.monotonic() - start:.0f} s: {total}", flush=True)
    print(total)
    return 1 if total.wrong else 0


def parsed(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "random_layers.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="the number of the first layer")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--optimised", action="store_true", help="compile as a user's build does")
    return parser.parse_args(words)


def reports(jobs: Iterable[Any], processes: int) -> Iterable[Report]:
    if processes == 1:
        yield from map(bundle, jobs)
        return
    with get_context("spawn").Pool(processes, maxtasksperchild=8) as pool:
        yield from pool.imap(bundle, jobs)


def bundle(job: tuple[int, range, frozenset[str], Path, bool]) -> Report:
    """The layers of these numbers."""
    seed, numbers, without, folder, optimised = job
    drafts = [drawn(seed, number, without) for number in numbers]
    name = f"bundle_{seed}_{numbers[0]}"
    return run(drafts, name, folder / name, NATIVE if optimised else random_bundles.QUICK)


def show(draft: Draft, finding: Finding, folder: Path) -> None:
    """A layer that is wrong, shrunk, to be pasted into `found_layers`."""

    def fails(candidate: Draft) -> Finding | None:
        numbers[0] += 1
        name = f"{draft.name}_{numbers[0]}"
        found = run([candidate], name, folder / name)
        return next((finding for _, finding in found.wrong), None)

    numbers = [0]
    small, found = shrunk(draft, finding, fails)
    print(f"\n# {draft.name}: {found.stage}: {found.message}\n\n{source([small])}", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
