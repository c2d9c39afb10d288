"""README's path is run as it is printed: declare, derive, prove, build, call."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

RECURRENT = """
for other in (same, also):
    for name, bar in exact.by.items():
        assert abs(other.by[name] - bar).max() <= 1e-12 * abs(bar).max(), name
print(stepper.loss > 0)
"""
README = Path(__file__).resolve().parent.parent / "README.md"


def blocks() -> list[str]:
    """The Python blocks of README, in order."""
    return re.findall(r"```python\n(.*?)```", README.read_text("utf-8"), re.DOTALL)


def run(folder: Path, *words: str) -> str:
    """What a Python command prints; it must succeed."""
    done = subprocess.run(
        [sys.executable, *words], cwd=folder, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("readme")
    declare, call, train, recur, images = blocks()
    (place / "images.py").write_text(images, "utf-8")
    (place / "cells.py").write_text(declare, "utf-8")
    (place / "train.py").write_text(
        train + "print(losses[-1] < losses[0], logits.shape)\n", "utf-8"
    )
    (place / "recur.py").write_text(recur + RECURRENT, "utf-8")
    (place / "call.py").write_text(call + "print(x_bar.shape, A_bar.shape, c_bar.shape)\n", "utf-8")
    return place


def test_the_first_block_is_ten_lines_and_prints_the_adjoint(folder: Path) -> None:
    lines = [line for line in blocks()[0].splitlines() if line.strip()]
    assert len(lines) <= 10
    assert run(folder, "cells.py").strip() == "nabla*_B gate(x; A, B, c) : R(n) -> R(n, m)"


def test_the_second_block_calls_the_kernels_that_the_first_was_built_to(folder: Path) -> None:
    run(folder, "-m", "derive", "build", "cells.py")
    assert run(folder, "call.py").strip() == "(8, 3) (4, 3) (4,)"


def test_the_third_block_trains_a_network(folder: Path) -> None:
    printed = run(folder, "train.py").splitlines()
    first, last = map(float, printed[0].split())
    assert last < 0.8 * first and printed[1:] == ["True (60, 3)"]


def test_the_fourth_block_has_one_gradient_by_three_methods(folder: Path) -> None:
    assert run(folder, "recur.py").strip() == "True"


def test_the_fifth_block_has_a_convolution_and_a_shared_parameter(folder: Path) -> None:
    adjoint, tied = run(folder, "images.py").splitlines()
    assert adjoint.endswith("R(o, floor(n/2), floor(l/2)) -> R(o, c, 3, 3)")
    assert tied == "tied(x; code_W, code_b, decode_b)"
