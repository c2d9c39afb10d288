"""Random bad calls of the library's kernels, in a process of their own."""

import ast
import subprocess
import sys
from pathlib import Path

FUZZED = Path(__file__).parent / "fuzzed_calls.py"


def test_no_random_call_ends_the_process_or_changes_an_input() -> None:
    command = [sys.executable, str(FUZZED), "0", "1500"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    found = ast.literal_eval(done.stdout)
    assert sum(found.values()) == 3000
    assert min(found.get(what, 0) for what in ("taken", "TypeError", "ValueError")) > 100
