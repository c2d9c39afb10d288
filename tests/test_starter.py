"""derive new: the file it writes builds, checks and shows as it is, and overwrites nothing."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from derive import Hom, R
from derive.tools.cli import main
from derive.tools.cli.starting import starter
from derive.tools.loading import target


@pytest.fixture
def here(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_it_is_written_and_says_what_to_try(capsys, here):
    assert main(["new", "cells"]) == 0
    assert (here / "cells.py").read_text() == starter("cells")
    assert capsys.readouterr().out.splitlines() == [
        "cells.py is written; try",
        "    derive show cells.py",
        "    derive check cells.py",
        "    derive latex cells.py",
        "    derive build cells.py",
    ]


def test_it_declares_a_layer_of_that_name_with_roles_a_local_and_a_gate(here):
    main(["new", "cells"])
    layers = target("cells.py").layers
    layer = layers["cells"]
    n, m = sorted(layer.sizes, key=str)[::-1]
    assert list(layers) == ["cells"] and layer.signature == "cells(x; A, B, c)"
    assert next((a.name, a.role) for a in layer.arguments) == ("x", "state")
    assert {p.space for p in layer.parameters} == {Hom(R(m), R(n)), R(n)}
    assert sorted(layer.names.values()) == ["gate", "z"]


def test_what_it_says_to_try_works(capsys, here):
    """Each command as it is printed, and the commands in the file's own comments."""
    main(["new", "cells", "--out", "a folder"])
    printed = re.findall(r"^    derive (\w+) '(.*)'$", capsys.readouterr().out, re.MULTILINE)
    assert [verb for verb, _ in printed] == ["show", "check", "latex", "build"]
    for verb, path in printed:
        assert main([verb, path]) == 0
        said = capsys.readouterr().out
        assert "FAIL" not in said and ("cells" in said)
    assert len(list((here / "a folder" / "kernels").glob("cells.*so"))) == 1
    text = (here / "a folder" / "cells.py").read_text()
    assert re.findall(r"^#     derive (\w+) cells.py", text, re.MULTILINE) == [
        "show",
        "check",
        "latex",
        "build",
    ]


def test_the_python_at_its_end_runs(here):
    main(["new", "cells"])
    lines = (here / "cells.py").read_text().partition("# In Python, beside this file:\n")[2]
    code = "\n".join(line.removeprefix("#").removeprefix("     ") for line in lines.splitlines())
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nprint(y.shape, A_bar.shape)"],
        env={**os.environ, "LAYERWISE_CACHE": str(here / "cache")},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert (done.returncode, done.stdout) == (0, "(8, 4) (4, 3)\n"), done.stderr


def test_nothing_runs_when_it_is_imported(here, capsys):
    main(["new", "cells"])
    capsys.readouterr()
    target("cells.py")
    assert capsys.readouterr() == ("", "")
    assert "__main__" not in (here / "cells.py").read_text()


def test_a_file_that_is_there_is_never_overwritten(capsys, here):
    (here / "cells.py").write_text("# precious\n")
    assert main(["new", "cells"]) == 1
    assert capsys.readouterr() == (
        "",
        "derive new: cells.py already exists and is not overwritten\n",
    )
    assert (here / "cells.py").read_text() == "# precious\n"


def test_neither_is_what_a_link_points_to(capsys, here):
    (here / "cells.py").symlink_to(here / "elsewhere.py")
    assert main(["new", "cells"]) == 1
    assert not (here / "elsewhere.py").exists()


NAMES = {
    "a path": ("../x", "letters, digits and _"),
    "a folder": ("a/b", "letters, digits and _"),
    "absolute": ("/tmp/x", "letters, digits and _"),
    "a file": ("dense.py", "give the name without .py: derive new dense"),
    "empty": ("", "letters, digits and _"),
    "a blank": ("a b", "letters, digits and _"),
    "a digit first": ("1st", "letters, digits and _, beginning with a letter"),
    "not ASCII": ("größe", "letters, digits and _"),
    "long": ("a" * 61, "longer than 60 characters"),
    "of Python": ("class", "is a word of Python, Cython or C"),
    "of Python, soft": ("match", "is a word of Python, Cython or C"),
    "of C": ("double", "is a word of Python, Cython or C"),
    "of Cython": ("nogil", "is a word of Python, Cython or C"),
    "a module": ("random", "is a module of Python or one that kernels are made with"),
    "NumPy": ("numpy", "is a module of Python or one that kernels are made with"),
    "this package": ("derive", "is a module of Python or one that kernels are made with"),
    "an import": ("sigmoid", "is used inside the file that would be written"),
    "a size": ("n", "is used inside the file that would be written"),
    "an argument": ("A", "is used inside the file that would be written"),
    "a local": ("gate", "is used inside the file that would be written"),
}


@pytest.mark.parametrize(("name", "sentence"), NAMES.values(), ids=NAMES)
def test_a_name_that_can_be_no_layers_or_modules_is_a_sentence(capsys, here, name, sentence):
    assert main(["new", name, "--out", "made"]) == 1
    said = capsys.readouterr()
    assert said.out == "" and sentence in said.err and len(said.err.splitlines()) == 1
    assert list(here.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_said(capsys, here):
    (here / "taken").write_text("")
    assert main(["new", "cells", "--out", "taken"]) == 1
    assert "taken can't be written: a file is in the way of a folder" in capsys.readouterr().err
    assert main(["new", "cells", "--out", "/proc/made"]) == 1
    assert "/proc/made can't be written: " in capsys.readouterr().err


@pytest.mark.parametrize("name", ["forward", "kernel", "edge", "x_dot", "Kernel", "saved", "y"])
def test_names_of_kernels_and_of_their_modules_are_free(here, name):
    """A layer may be called what its module's parts are called: emitted, they are not confused."""
    assert main(["new", name]) == 0
    assert list(target(f"{name}.py").layers) == [name]
