"""Files and functions stay small enough to be read: at most 300 lines a file, 40 a function.

A table of one kind of line may be longer: `steps.pyx` has a step for each row of `checks.py`.
"""

import ast
from pathlib import Path

import pytest

import derive

ROOT = Path(derive.__file__).parent
SOURCES = {str(p.relative_to(ROOT)): p.read_text("utf-8") for p in sorted(ROOT.rglob("*.py"))}
LINES, FUNCTION = 300, 40
TABLES = {"steps.pyx"}


@pytest.mark.parametrize("suffix", [".py", ".pyx", ".h", ".pxd"])
def test_no_file_is_longer(suffix: str) -> None:
    files = {path: len(path.read_text("utf-8").splitlines()) for path in ROOT.rglob(f"*{suffix}")}
    assert not {
        path.name: count
        for path, count in files.items()
        if count > LINES and path.name not in TABLES
    }


def test_no_function_is_longer() -> None:
    found = [
        f"{name}:{node.name} has {node.end_lineno - node.lineno + 1} lines"
        for name, text in SOURCES.items()
        for node in ast.walk(ast.parse(text))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        and node.end_lineno is not None
        and node.end_lineno - node.lineno + 1 > FUNCTION
    ]
    assert not found
