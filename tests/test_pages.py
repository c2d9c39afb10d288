"""The pages of docs/ that are programs: what their Python blocks print stands below them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parent.parent / "docs"


@pytest.mark.parametrize("name", ["architecture", "images", "recurrent"])
def test_a_page_prints_what_it_says(name: str, tmp_path: Path) -> None:
    """Its Python blocks, run as one program; figures are compared to the digits that differ."""
    page = (DOCS / f"{name}.md").read_text("utf-8")
    program = tmp_path / f"{name}_page.py"
    program.write_text("\n".join(re.findall(r"^```python\n(.*?)^```", page, re.M | re.S)), "utf-8")
    said = "".join(re.findall(r"^```text\n(.*?)^```", page, re.M | re.S)).split()
    done = subprocess.run(
        [sys.executable, str(program)], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    printed = done.stdout.split()
    assert len(printed) == len(said) > 40
    for word, expected in zip(printed, said, strict=True):
        if re.fullmatch(r"-?\d+\.\d+(e[+-]\d+)?", expected):
            # two shown digits, and rounding that 100 updates have carried on
            assert abs(float(word) - float(expected)) <= 0.05 * abs(float(expected)), (word, said)
        else:
            assert word == expected
