"""What a kernel says of itself, declarations that are refused, and which modules are admitted."""

from __future__ import annotations

import inspect
import platform
import shutil
from pathlib import Path
from typing import Any

import pytest
from edge_kernels import dense_arrays, load

from derive.runtime import edge
from derive.runtime.declare import Declaration

# ---- what a kernel says of itself ----


def test_a_kernel_describes_itself(hand: Any) -> None:
    kernel = hand.forward
    assert kernel.name == "dense.forward" and kernel.sizes == ("batch", "n", "m")
    assert [a.name for a in kernel.arguments] == ["x", "W", "b"]
    assert [r.name for r in kernel.results] == ["y"]
    assert kernel.__doc__ == "y = tanh(W x + b)" and kernel.mode == "overwrite"
    assert kernel.saved_role == "written"
    assert str(inspect.signature(kernel)) == (
        "(x, W, b, *, out=None, saved=None, workspace=None, **sizes)"
    )
    assert str(inspect.signature(hand.windows)).endswith("workspace=None, k, **sizes)")
    assert repr(kernel).startswith("<Kernel dense.forward(x, W, b")
    assert repr(kernel.bind(*dense_arrays())) == "<Bound dense.forward float64 batch=5, n=4, m=3>"


def leaf(name: str, *extents: Any, **more: Any) -> Any:
    return edge.Argument(name, "given", (edge.Leaf(name, extents, **more),))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"mode": "add"}, "mode is 'add'"),
        ({"saved_role": "both"}, "saved_role is 'both'"),
        ({"arguments": (leaf("x", "q"),)}, "x has extent 'q', not among the sizes"),
        ({"arguments": (leaf("x", 0),)}, "x has extent 0"),
        ({"arguments": (leaf("x", "n"), leaf("x", "n"))}, "names used twice or reserved: x"),
        ({"arguments": (leaf("out", "n"),)}, "reserved: out"),
        ({"arguments": (leaf("n", "n"),)}, "reserved: n"),
        ({"arguments": (leaf("x", "n", kind="real", bound=3),)}, "a bound belongs to"),
        ({"arguments": (leaf("x", "n", kind="index"),)}, "a bound belongs to"),
        ({"arguments": (leaf("x", "n", kind="other"),)}, "kind is 'other'"),
        ({"results": (leaf("y", "n", kind="mask"),)}, "kind of a result is 'mask'"),
        (
            {"arguments": (edge.Argument("W", "parameter", (edge.Leaf("W", ("batch",)),)),)},
            "W has a b",
        ),
        (
            {"arguments": (edge.Argument("mu", "fixed", (edge.Leaf("mu", ("batch",)),)),)},
            "fixed mu has a batch axis",
        ),
        ({"arguments": (edge.Argument("W", "input", (edge.Leaf("W", ("n",)),)),)}, "role is 'in"),
    ],
)
def test_errors_of_declarations(change: dict[str, Any], sentence: str) -> None:
    good: dict[str, Any] = {
        **{"name": "f", "sizes": ("batch", "n"), "arguments": (leaf("x", "batch", "n"),)},
        **{"results": (leaf("y", "batch"),), "mode": "overwrite", "saved_role": None},
    }
    Declaration(**good)
    with pytest.raises(ValueError, match=f"f: .*{sentence}"):
        Declaration(**(good | change))


# ---- admission of modules ----


def copied(compiled: Path, folder: Path) -> Path:
    """Another file each time: one that is loaded is not executed again."""
    folder.mkdir()
    shutil.copy(compiled, folder)
    shutil.copy(compiled.with_name("hand_written.pyx"), folder)
    return folder / compiled.name


def test_a_module_whose_text_changed_is_refused(hand_written: Path, tmp_path: Path) -> None:
    assert load(copied(hand_written, tmp_path / "same")).forward.name == "dense.forward"
    path = copied(hand_written, tmp_path / "changed")
    with path.with_name("hand_written.pyx").open("a") as text:
        text.write("\n")
    with pytest.raises(ImportError, match=r"another text than .*hand_written.pyx; run: derive bu"):
        load(path)
    path = copied(hand_written, tmp_path / "without")
    path.with_name("hand_written.pyx").unlink()
    assert load(path).forward.name == "dense.forward"


def test_another_convention_or_cpu_is_refused() -> None:
    edge.admit("f", edge.CONVENTION, "", "/nowhere/f.so", "")
    with pytest.raises(ImportError, match=r"convention 0, this is \d+; run: derive build"):
        edge.admit("f", 0, "", "/nowhere/f.so", "")
    with pytest.raises(ImportError, match="compiled for a CPU with quantum, which this one lacks"):
        edge.admit("f", edge.CONVENTION, "", "/nowhere/f.so", " quantum")


@pytest.mark.skipif(platform.machine() != "x86_64", reason="features are those of x86")
def test_features_of_this_cpu_are_admitted() -> None:
    flags = Path("/proc/cpuinfo").read_text().split()
    for feature in ("sse3", "avx2", "fma", "avx512f", "avx512vl"):
        name = "pni" if feature == "sse3" else feature
        if name in flags:
            edge.admit("f", edge.CONVENTION, "", "/nowhere/f.so", feature)
        else:
            with pytest.raises(ImportError, match=feature):
                edge.admit("f", edge.CONVENTION, "", "/nowhere/f.so", feature)
