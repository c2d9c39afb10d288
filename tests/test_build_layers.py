"""Building: where layers come from, what is written, and what is never written over."""

import sys
from pathlib import Path

import numpy as np
import pytest

from derive import build as subject
from derive import dims, layer, library
from derive.build import (
    BuildError,
    build_layers,
    differing,
    layers_of,
    load_file,
    load_kernels,
    remove_surplus,
    target,
    texts,
    unique,
    write_texts,
)
from derive.compile import EXTENSION
from derive.kernels.emit import HEADER
from derive.spaces import R

FILE = """
from derive import R, dims, layer, tanh
from derive.library.dense import dense

n = dims("n")

@layer
def twice(x: R(n)) -> R(n):
    return 2 * x

@layer
def bent(x: R(n), *, b: R(n)) -> R(n):
    return tanh(x + b)
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(FILE)
    return path


def written(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


# --- where layers come from


def test_a_file_gives_its_layers_and_not_those_of_the_library(file):
    assert list(target(str(file)).layers) == ["twice", "bent"]
    assert target(str(file)).file == file


def test_one_layer_of_a_file_is_chosen_by_name(file):
    assert list(target(f"{file}:bent").layers) == ["bent"]


def test_the_library_is_chosen_by_name_or_whole():
    assert list(target("dense").layers) == ["dense"] and target("dense").file is None
    assert target("").layers == library.layers()


def test_an_unknown_name_is_answered_with_those_there_are(file):
    with pytest.raises(BuildError, match=r"mine.py has no layer 'bend'; it has twice, bent"):
        target(f"{file}:bend")
    known = ", ".join(library.layers())
    with pytest.raises(BuildError, match=f"the library has no layer 'dens'; it has {known}"):
        target("dens")


MISTAKES = {
    "no file": (None, "is no file"),
    "no layer": ("x = 1\n", "declares no layer; decorate a function with @layer"),
    "syntax": ("x = 1\ndef f(:\n", r"mine.py, line 2: invalid syntax"),
    "name": ("\n\ny = tanhh\n", r"mine.py, line 3: NameError: name 'tanhh' is not defined"),
    "import": ("import absent_module_of_mine\n", r"line 1: ModuleNotFoundError: No module"),
    "spaces": (
        "from derive import R, dims, layer\nn, m = dims('n m')\n@layer\n"
        "def f(x: R(n), y: R(m)) -> R(n):\n    return x + y\n",
        r"mine.py, line [345]: layer f: R\(n\) \+ R\(m\): the two sides must be of one space",
    ),
    "text annotations": (
        "from __future__ import annotations\nfrom derive import R, dims, layer\nn = dims('n')\n"
        "@layer\ndef f(x: R(n)) -> R(n):\n    return x\n",
        r"layer f: argument x: its space is the text 'R\(n\)'; remove 'from __future__ import",
    ),
    "one name twice": (
        FILE + "\nfirst = bent\n@layer\ndef bent(x: R(n)) -> R(n):\n    return 3 * x\n",
        "two layers are called 'bent'; rename one of them",
    ),
}


@pytest.mark.parametrize(("text", "sentence"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_in_a_file_is_a_sentence(tmp_path, text, sentence):
    path = tmp_path / "mine.py"
    if text is not None:
        path.write_text(text)
    with pytest.raises(BuildError, match=sentence):
        target(str(path))


def test_a_file_called_like_a_module_does_not_take_its_place(tmp_path):
    path = tmp_path / "json.py"
    path.write_text(FILE)
    before = sys.modules["json"]
    assert list(layers_of(load_file(path))) == ["twice", "bent"]
    assert sys.modules["json"] is before


def test_two_layers_of_one_name_are_refused_and_one_layer_twice_is_one():
    n = dims("n")

    def declared():
        @layer
        def f(x: R(n)) -> R(n):
            return 2 * x

        return f

    one, other = declared(), declared()
    assert unique([one, one]) == {"f": one}
    with pytest.raises(BuildError, match="two layers are called 'f'"):
        unique([one, other])


# --- what is written


def test_texts_are_written_once(file, tmp_path):
    made, out = texts(target(str(file)).layers), tmp_path / "out" / "deep"
    assert sorted(made) == ["bent.pxd", "bent.pyx", "twice.pxd", "twice.pyx"]
    assert sorted(write_texts(made, out)) == sorted(made)
    assert all((out / name).read_text() == text for name, text in made.items())
    times = {name: (out / name).stat().st_mtime_ns for name in made}
    assert write_texts(made, out) == []
    assert times == {name: (out / name).stat().st_mtime_ns for name in made}


def test_what_differs_is_told_without_writing(file, tmp_path):
    made = texts(target(str(file)).layers)
    assert sorted(differing(made, tmp_path)) == sorted(made)
    write_texts(made, tmp_path)
    assert differing(made, tmp_path) == []
    (tmp_path / "bent.pyx").write_text(made["bent.pyx"] + "\n")
    (tmp_path / "twice.pxd").unlink()
    (tmp_path / "old.pyx").write_text(HEADER + "\n")
    (tmp_path / "hand.pyx").write_text("# written by hand\n")
    assert sorted(differing(made, tmp_path)) == ["bent.pyx", "old.pyx", "twice.pxd"]
    assert (tmp_path / "bent.pyx").read_text().endswith("\n\n")


def test_a_file_without_the_header_is_never_written_over(file, tmp_path):
    made = texts(target(str(file)).layers)
    (tmp_path / "bent.pxd").write_text("# precious\n")
    with pytest.raises(BuildError, match=r"bent.pxd is not generated by layerwise and is not over"):
        write_texts(made, tmp_path)
    assert (tmp_path / "bent.pxd").read_text() == "# precious\n"
    assert not (tmp_path / "twice.pyx").exists()  # nothing is written before the check


def test_what_is_generated_and_no_longer_wanted_goes_with_what_was_made_of_it(file, tmp_path):
    made = texts(target(str(file)).layers)
    write_texts(made, tmp_path)
    for name in ("bent.build.json", f"bent{EXTENSION}", "hand.pyx", f"hand{EXTENSION}"):
        (tmp_path / name).write_text("made")
    one = {name: text for name, text in made.items() if name.startswith("twice")}
    assert sorted(remove_surplus(one, tmp_path)) == ["bent.pxd", "bent.pyx"]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        ["mine.py", "twice.pxd", "twice.pyx", "hand.pyx", f"hand{EXTENSION}"]
    )


def test_another_files_layers_in_one_folder_stay(file, tmp_path, monkeypatch):
    monkeypatch.setattr(
        subject, "compile_modules", lambda modules, **_: [m.source for m in modules]
    )
    layers = target(str(file)).layers
    out = tmp_path / "kernels"
    for name in layers:
        assert build_layers({name: layers[name]}, out, lambda line: None) == [out / f"{name}.pyx"]
    assert sorted(path.name for path in out.iterdir()) == sorted(texts(layers))


def test_layers_of_a_file_are_compiled_and_run(file, tmp_path):
    lines: list[str] = []
    layers = target(f"{file}:twice").layers
    (path,) = build_layers(layers, tmp_path / "kernels", lines.append)
    assert path.parent == tmp_path / "kernels" and "compiling twice" in lines
    kernels = load_kernels("twice", tmp_path / "kernels")
    assert np.array_equal(kernels.forward(np.array([1.0, 2.0])), [2.0, 4.0])
    lines.clear()
    assert build_layers(layers, tmp_path / "kernels", lines.append) == [path] and lines == []
