"""What the tests of the cache share: a small layer, its values, a compiler, processes."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from derive import Layer, R, dims
from derive.tools import cache, cache_entries, cache_folder

QUICK = ("-O0", "-Wall", "-Wextra", "-Werror")
FORK = multiprocessing.get_context("fork")
n = dims("n")


@pytest.fixture
def surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Quick flags, a compiler that notes its work, and a home of the test's own."""
    monkeypatch.setattr(cache, "FLAGS", QUICK)
    monkeypatch.setenv("CC", str(compiler(tmp_path)))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("LAYERWISE_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    cache_folder._temporary.cache_clear()


def compiler(folder: Path) -> Path:
    """A C compiler that takes a while where `slow` lies by it, and fails where `broken` does."""
    script = folder / "compiler"
    script.write_text(
        "#!/bin/sh\n"
        'case "$*" in *-shared*)\n'
        f"  echo built >> '{folder}/built'\n"
        f"  test -e '{folder}/slow' && sleep 0.4\n"
        f"  test -e '{folder}/broken' && {{ echo 'cc1: out of luck' >&2; exit 1; }}\n"
        "esac\n"
        'exec cc "$@"\n'
    )
    script.chmod(0o755)
    return script


def builds(folder: Path) -> int:
    """How often that compiler has begun a library."""
    made = folder / "built"
    return len(made.read_text().split()) if made.exists() else 0


def power(factor: int) -> Layer:
    """f(x) = factor x x, a layer made anew: two of one factor are one text and two objects."""
    return Layer.of("power", state={"x": R(n)}, output=lambda x: factor * x * x)


def value(layer: Layer, folder: Path | None = None) -> float:
    """f(3) by the layer's kernel."""
    return float(layer.compile(cache=folder).forward(np.array([3.0]))[0])


def value_of_two(folder: Path | None = None) -> float:
    return value(power(2), folder)


def elsewhere(work: Any, *arguments: Any) -> Any:
    """What a function returns in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=FORK) as pool:
        return pool.submit(work, *arguments).result()


def the_entry(folder: Path) -> Path:
    """The folder of the only entry."""
    (entry,) = cache_entries.entries(folder)
    return entry.path
