"""An empty environment beside the project, and what building leaves in a checkout."""

import hashlib
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

EXTENSION = sysconfig.get_config_var("EXT_SUFFIX")
PACKAGES = {"derive/runtime": "derive/runtime", "generated": "derive/generated"}
LEFT = b"left behind"


def run(*words: object, cwd: Path, check: bool = True, **variables: str):
    """A command with this environment's variables but those of Python, from a folder."""
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [str(word) for word in words],
        cwd=cwd,
        env={**inherited, "PYTHONDONTWRITEBYTECODE": "1", **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert not check or done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done


class Environment:
    """A virtual environment with nothing in it, and an empty folder to work in."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.empty = folder / "environment", folder / "empty"
        self.empty.mkdir(parents=True)
        venv = [sys.executable, "-m", "venv", "--without-pip", self.folder]
        run(*venv, cwd=self.empty)
        self.python = self.folder / "bin" / "python"

    @property
    def package(self) -> Path:
        (site,) = self.folder.glob("lib/python*/site-packages")
        return site / "derive"

    def pip(self, *words: object, check: bool = True, **variables: str):
        pip = [sys.executable, "-m", "pip", "--python", self.python, "--no-input"]
        return run(*pip, *words, cwd=self.empty, check=check, **variables)

    def derive(self, *words: object, check: bool = True):
        return run(self.folder / "bin" / "derive", *words, cwd=self.empty, check=check)

    def says(self, program: str) -> str:
        return run(self.python, "-c", program, cwd=self.empty).stdout


def contents(folder: Path) -> dict[str, str]:
    """A hash of every file below a folder, byte code apart."""
    files = [p for p in folder.rglob("*") if p.is_file() and "__pycache__" not in p.parts]
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def leave_about(tree: Path) -> list[Path]:
    """What builds for this machine, and one that was killed, leave in a checkout."""
    folders = [tree / folder for folder in (*PACKAGES, "generated/.build-killed")]
    names = (f"dense{EXTENSION}", "dense.c", "dense.build.json", "dense.build.log")
    files = [folder / name for folder in folders for name in names]
    for path in [*files, tree / "derive" / "runtime" / f"edge{EXTENSION}"]:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(LEFT)
    return files


CALLER = """\
# cython: language_level=3
from derive.generated.dense cimport dense_forward
from derive.runtime.elementary cimport tanh
from derive.runtime.primitives cimport gemm


def forward(const double[:, ::1] x, const double[:, ::1] W, const double[::1] b,
            double[:, ::1] y, double[::1] workspace):
    with nogil:
        dense_forward[double](x.shape[0], x.shape[1], W.shape[0], &x[0, 0], &W[0, 0], &b[0],
                              &y[0, 0], NULL, &workspace[0])


def by_hand(const double[:, ::1] x, const double[:, ::1] W, const double[::1] b,
            double[:, ::1] y):
    cdef Py_ssize_t s, i, m = x.shape[1], n = W.shape[0]
    for s in range(x.shape[0]):
        for i in range(n):
            y[s, i] = b[i]
    gemm[double](x.shape[0], n, m, 1, &x[0, 0], m, 1, &W[0, 0], 1, m, &y[0, 0], n, 1)
    for s in range(x.shape[0]):
        for i in range(n):
            y[s, i] = tanh[double](y[s, i])
"""
COMPARE = """
import caller, numpy as np
from derive.generated import dense

rng = np.random.default_rng(4)
x, W, b = rng.normal(size=(5, 3)), rng.normal(size=(4, 3)), rng.normal(size=4)
y, z = np.full((2, 5, 4), np.nan)
caller.forward(x, W, b, y, np.empty(dense.forward.workspace_size(batch=5, n=4, m=3)))
assert (y == dense.forward(x, W, b)).all()  # the same machine code
caller.by_hand(x, W, b, z)
bound = np.finfo(float).eps * (6 * (abs(x) @ abs(W).T + abs(b)).max() + 2)  # another order of sums
assert abs(y - z).max() <= bound
"""
