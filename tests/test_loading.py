"""Where layers come from: the library or a file, and one sentence for each mistake in a file."""

import sys
from pathlib import Path

import pytest

from derive import R, dims, layer, library
from derive.tools.loading import BuildError, layers_of, load_file, target, unique

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
HEAD = "import math, numpy, sympy\nfrom derive import Hom, R, dims, layer\nn, m = dims('n m')\n"
"""Three lines: what follows begins with line 4."""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(FILE)
    return path


def test_a_file_gives_its_layers_and_not_those_of_the_library(file):
    assert list(target(str(file)).layers) == ["twice", "bent"]
    assert target(str(file)).file == file


def test_one_layer_of_a_file_is_chosen_by_name(file):
    assert list(target(f"{file}:bent").layers) == ["bent"]


def test_the_library_is_chosen_by_name_or_whole():
    assert list(target("dense").layers) == ["dense"] and target("dense").file is None
    assert target(None).layers == library.layers()


def test_a_folder_called_as_a_layer_does_not_hide_it(tmp_path, monkeypatch):
    (tmp_path / "dense").mkdir()
    monkeypatch.chdir(tmp_path)
    assert list(target("dense").layers) == ["dense"]


def test_a_path_may_have_a_colon(tmp_path):
    folder = tmp_path / "a:b"
    folder.mkdir()
    (folder / "mine.py").write_text(FILE)
    assert list(target(f"{folder}/mine.py").layers) == ["twice", "bent"]
    assert list(target(f"{folder}/mine.py:twice").layers) == ["twice"]


def test_an_unknown_name_is_answered_with_those_there_are(file):
    with pytest.raises(BuildError, match=r"mine.py has no layer 'bend'; it has twice, bent"):
        target(f"{file}:bend")
    with pytest.raises(BuildError, match=r"mine.py has no layer 'n'; it has twice, bent"):
        target(f"{file}:n")  # a name of the file, but no layer
    known = ", ".join(library.layers())
    with pytest.raises(BuildError, match=f"the library has no layer 'dens'; it has {known}"):
        target("dens")


PLACES = {
    "not there": ("absent.py", r"absent.py does not exist; give the path of a file"),
    "not there, chosen": ("absent.py:f", r"absent.py does not exist; give the path of a file"),
    "a folder": ("", r"is a folder; give a file that declares layers, as .*mine\.py$"),
    "an empty folder": ("empty", r"empty is a folder; give a file .* as .*empty/FILE\.py$"),
    "a folder called so": ("folder.py", r"folder.py is a folder; give a file"),
    "not Python": (
        "README.md",
        r"README.md is not a Python file; give a FILE.py that declares layers",
    ),
    "a link to nothing": ("link.py", r"link.py does not exist"),
}


@pytest.mark.parametrize(("name", "sentence"), PLACES.values(), ids=PLACES)
def test_what_is_no_python_file_is_said(file, tmp_path, name, sentence):
    (tmp_path / "README.md").write_text("# Layers\n")
    (tmp_path / "empty").mkdir()
    (tmp_path / "folder.py").mkdir()
    (tmp_path / "link.py").symlink_to("nothing.py")
    with pytest.raises(BuildError, match=sentence):
        target(str(tmp_path / name))


def formula(line: str) -> str:
    """A file whose formula stands in line 6."""
    return f"{HEAD}@layer\ndef f(x: R(n), y: R(m), *, W: Hom(R(m), R(n))) -> R(n):\n    {line}\n"


MISTAKES = {
    "no layer": ("x = 1\n", r"mine.py declares no layer; decorate a function with @layer"),
    "empty": ("", r"mine.py declares no layer"),
    "syntax": ("x = 1\ndef f(:\n", r"mine.py:2: invalid syntax\n    def f\(:$"),
    "indent": ("def f():\npass\n", r"mine.py:2: expected an indented block.*\n    pass$"),
    "no text": ("x = 1\0", r"mine.py:1: source code string cannot contain null bytes"),
    "name": ("\n\ny = tanhh\n", r"mine.py:3: NameError: name 'tanhh' is not .*\n    y = tanhh$"),
    "no words": ("\nassert 1 == 2\n", r"mine.py:2: AssertionError\n    assert 1 == 2$"),
    "ends Python": ("\nexit(0)\n", r"mine.py:2: this exits Python when .*\n    exit\(0\)$"),
    "import": ("import absent_of_mine\n", r"mine.py:1: ModuleNotFoundError: No module .*absent_of"),
    "spaces": (
        formula("return x + y"),
        r"mine.py:6: layer f: R\(n\) \+ R\(m\): the two sides .*\n    return x \+ y$",
    ),
    "spaces, in lines": (
        formula("z = 2 * x\n    return z + W @ x"),
        r"mine.py:7: layer f: R\(n, m\)",
    ),
    "name in the formula": (
        formula("return tanhh(x)"),
        r"mine.py:6: NameError: name 'tanhh' is not defined\n    return tanhh\(x\)$",
    ),
    "numpy": (formula("return numpy.tanh(x)"), r"mine.py:6: layer f: numpy.tanh .* use tanh from"),
    "transpose": (formula("return W.T @ x"), r"mine.py:6: layer f: a transpose \(.T\) is not def"),
    "another space": (
        formula("return y"),
        r"mine.py:4: layer f: declared to return R\(n\), but the formula is of R\(m\)",
    ),
    "a default": (
        f"{HEAD}@layer\ndef f(x: R(n) = 0) -> R(n):\n    return x\n",
        r"mine.py:4: layer f: argument x: a variable has no default value, remove = 0",
    ),
    "a keyword": (
        f"{HEAD}@layer\ndef double(x: R(n)) -> R(n):\n    return x\n",
        r"mine.py:4: layer: 'double' is a word of Python, Cython or C; choose another name",
    ),
    "called": (
        f"{HEAD}@layer('f')\ndef f(x):\n    return x\n",
        r"mine.py:4: @layer stands above a",
    ),
    "text annotations": (
        "from __future__ import annotations\nfrom derive import R, dims, layer\nn = dims('n')\n"
        "@layer\ndef f(x: R(n)) -> R(n):\n    return x\n",
        r"mine.py:4: layer f: argument x: its space is the text 'R\(n\)'; remove 'from __fut",
    ),
    "one name twice": (
        FILE + "\n@layer\ndef bent(x: R(n)) -> R(n):\n    return 3 * x\n",
        r"mine.py:15: a layer 'bent' is already declared in line 11; rename one of them",
    ),
    "one name twice, made": (
        FILE + "\nfrom derive import with_sizes\nsmall = with_sizes(bent, {'n': 3})\n",
        r"two layers are called 'bent' \(mine.py:11\); rename one of them",
    ),
}


@pytest.mark.parametrize(("text", "sentence"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_in_a_file_is_a_sentence(tmp_path, text, sentence):
    path = tmp_path / "mine.py"
    path.write_text(text)
    with pytest.raises(BuildError, match=sentence):
        target(str(path))


def test_a_file_that_fails_leaves_no_module(tmp_path):
    path = tmp_path / "fails_at_last.py"
    path.write_text("x = 1\n1 / 0\n")
    with pytest.raises(BuildError):
        target(str(path))
    assert "declared_in_fails_at_last" not in sys.modules


def test_a_mistake_in_a_function_of_the_file_is_said_where_it_is(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(f"{HEAD}def h(x):\n    return abs(x)\n\n{formula('return h(x)')}")
    with pytest.raises(BuildError, match=r"mine.py:5: layer f: abs .*\n    return abs\(x\)$"):
        target(str(path))


def test_a_mistake_in_a_module_of_the_folder_is_said_with_the_line_that_imports_it(tmp_path):
    (tmp_path / "broken_helper.py").write_text("\n\ndef f(:\n")
    path = tmp_path / "mine.py"
    path.write_text("import broken_helper\n")
    with pytest.raises(BuildError, match=r"broken_helper.py:3: invalid syntax"):
        target(str(path))
    (tmp_path / "broken_helper.py").write_text("1 / 0  # at last\n")
    with pytest.raises(BuildError, match=r"mine.py:1: ZeroDivisionError: division by zero"):
        target(str(path))


def test_a_file_may_import_its_neighbours_and_prints_to_stderr(tmp_path, capsys):
    (tmp_path / "neighbour_of_mine.py").write_text("from derive import dims\nn = dims('n')\n")
    path = tmp_path / "mine.py"
    text = FILE.replace('n = dims("n")', "from neighbour_of_mine import n\nprint('loaded')")
    path.write_text(text)
    before = list(sys.path)
    assert list(target(str(path)).layers) == ["twice", "bent"]
    assert sys.path == before and capsys.readouterr() == ("", "loaded\n")


def test_a_file_called_like_a_module_does_not_take_its_place(tmp_path):
    path = tmp_path / "json.py"
    path.write_text(FILE)
    before = sys.modules["json"]
    assert list(layers_of(load_file(path))) == ["twice", "bent"]
    assert sys.modules["json"] is before


def test_layers_of_one_name_within_functions_are_parts_and_no_mistake(tmp_path):
    """A factory's layers have one name; only those that the file keeps are its own."""
    path = tmp_path / "mine.py"
    path.write_text(
        f"{HEAD}from derive import network, tanh, sigmoid\n"
        "def cell_of(psi):\n    @layer\n    def cell(x: R(n)) -> R(n):\n        return psi(x)\n"
        "    return cell\nboth = network('both', a=cell_of(tanh), b=cell_of(sigmoid))\n"
    )
    assert list(target(str(path)).layers) == ["both"]


def test_two_layers_of_one_name_are_refused_and_one_layer_twice_is_one():
    n = dims("n")

    def declared():
        @layer
        def f(x: R(n)) -> R(n):
            return 2 * x

        return f

    one, other = declared(), declared()
    assert unique([one, one]) == {"f": one}
    with pytest.raises(
        BuildError, match=r"two layers are called 'f' \(test_loading.py:\d+ and tes"
    ):
        unique([one, other])
