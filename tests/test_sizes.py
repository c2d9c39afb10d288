"""Files and functions stay small: what is larger than it should be may shrink, and nothing grows.

A file has at most 300 lines, a function 40; the tables hold those that were longer when they were
made.  Whoever makes one of them shorter lowers its number, or takes it out.
"""

import ast
from pathlib import Path

import derive

ROOT = Path(derive.__file__).parent
LINES, FUNCTION = 300, 40
FILES = {
    "evidence/checks/sampling.py": 378,
    "evidence/proofs/components.py": 352,
    "evidence/proofs/equality.py": 303,
    "kernels/compiling/compile.py": 326,
    "kernels/interpreting/execution.py": 436,
    "kernels/lowering/lower.py": 422,
    "kernels/lowering/nests.py": 489,
    "kernels/lowering/schedule.py": 441,
    "kernels/printing/emit.py": 314,
    "kernels/sequences/sequence_kernel.py": 313,
    "runtime/declare.py": 329,
    "tools/cache.py": 311,
    "training/algorithms.py": 344,
    "writing/theorems/generic_recurrent.py": 303,
    "writing/typesetting/linear_algebra.py": 304,
}
FUNCTIONS: dict[str, int] = {
    "kernels/lowering/lower.py:__init__": 41,
    "kernels/sequences/forward_gradients.py:rtrl": 43,
    "kernels/sequences/through_time.py:truncated_bptt": 42,
    "training/algorithms.py:fit": 51,
    "training/parameters.py:flatten": 42,
}


def sources() -> dict[str, str]:
    """The texts of the package, by their paths inside of it."""
    return {
        str(path.relative_to(ROOT)): path.read_text("utf-8") for path in sorted(ROOT.rglob("*.py"))
    }


def long_files() -> dict[str, int]:
    counts = {name: len(text.splitlines()) for name, text in sources().items()}
    return {name: count for name, count in counts.items() if count > LINES}


def long_functions() -> dict[str, int]:
    found: dict[str, int] = {}
    for name, text in sources().items():
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef) and _lines(node) > FUNCTION:
                found[f"{name}:{node.name}"] = _lines(node)
    return found


def _lines(node: ast.FunctionDef) -> int:
    assert node.end_lineno is not None
    return node.end_lineno - node.lineno + 1


def test_no_file_grows_beyond_its_size() -> None:
    grown = {name: n for name, n in long_files().items() if n > FILES.get(name, LINES)}
    assert not grown
    assert set(long_files()) == set(FILES), "shorter now: take it out"


def test_no_function_grows_beyond_its_size() -> None:
    grown = {name: n for name, n in long_functions().items() if n > FUNCTIONS.get(name, FUNCTION)}
    assert not grown
    assert set(long_functions()) == set(FUNCTIONS), "shorter now: take it out"
