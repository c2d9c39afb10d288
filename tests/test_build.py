"""build.py: what it asks of a machine, said in one sentence before any long work."""

import json
import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import DERIVED, LONGEST, QUICKEST

HERE = Path(__file__).resolve().parent.parent
DIGITS = HERE / "examples" / "digits.py"
COMPILING = ("__init__", "compiler", "limited")
NEEDED = ["build.py", "pyproject.toml", "derive/__init__.py", "derive/kernels/__init__.py"] + [
    f"derive/kernels/compiling/{name}.py" for name in COMPILING
]
TAG = sys.implementation.cache_tag
ABSENT = "import sys; sys.modules[{!r}] = None"
NO_HEADERS = "import sysconfig; sysconfig.get_path = lambda name: '/nonexistent'"
OLD_PYTHON = "import sys; sys.version_info = (3, 10, 13); sys.version = '3.10.13 (main)'"


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """What build.py needs of the project before there is an environment, elsewhere."""
    folder = tmp_path / "clone"
    (folder / "derive" / "kernels" / "compiling").mkdir(parents=True)
    for name in NEEDED:
        shutil.copy(HERE / name, folder / name)
    return folder


def start(clone: Path, *arguments: str, before: str = "", **variables: str):
    """Run build.py with a bare Python (-S: no site-packages) and an empty home, from elsewhere."""
    program = (
        f"{before}\nimport runpy, sys; sys.argv = ['build.py', *{arguments!r}]; "
        f"runpy.run_path({str(clone / 'build.py')!r}, run_name='__main__')"
    )
    return subprocess.run(
        [sys.executable, "-S", "-c", program],
        env={"PATH": os.environ["PATH"], "HOME": str(clone.parent), **variables},
        cwd="/",
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize(
    ("before", "variables", "package"),
    [
        (ABSENT.format("venv"), {}, "python3-venv"),
        (ABSENT.format("ensurepip"), {}, "python3-venv"),
        (NO_HEADERS, {}, "python3-dev"),
        ("", {"CC": "/nonexistent/cc"}, "gcc"),
        (OLD_PYTHON, {}, "Python 3.11"),
    ],
    ids=["venv", "ensurepip", "Python.h", "compiler", "Python"],
)
def test_what_is_missing_is_named_in_one_sentence(clone, before, variables, package):
    done = start(clone, "test", before=before, **variables)
    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("build.py: ") and line.endswith(".") and package in line
    assert not (clone / ".venv").exists()


def test_no_c_compiler_at_all_is_named(clone, tmp_path):
    (tmp_path / "bin").mkdir()
    before = "import sysconfig; sysconfig.get_config_var = lambda name: None"
    done = start(clone, before=before, PATH=str(tmp_path / "bin"))
    assert done.returncode == 1
    assert done.stderr.startswith("build.py: No C compiler was found")


def test_an_environment_of_someone_else_is_left_alone(clone):
    (clone / ".venv").mkdir()
    (clone / ".venv" / "precious").write_text("kept")
    done = start(clone)
    assert done.returncode == 1
    assert "was not made by me: move it away" in done.stderr
    assert [path.name for path in (clone / ".venv").iterdir()] == ["precious"]


FAKE_PYTHON = """\
#!/bin/sh
echo "$@" >>"{log}"
case "$1" in -ISc) echo {tag} ;; esac
"""
FAKE_VENV = """\
import subprocess
from pathlib import Path

real = subprocess.run

def run(command, **options):
    if command[1:3] != ["-m", "venv"]:
        return real(command, **options)
    with open({log!r}, "a") as log:
        log.write("venv\\n")
    python = Path(command[3]) / "bin" / "python"
    python.parent.mkdir()
    python.write_text({python!r})
    python.chmod(0o755)
    return subprocess.CompletedProcess(command, 0)

subprocess.run = run
"""


def acted(clone: Path, *arguments: str) -> list[str]:
    """What a run did, with a Python in its environment that only writes down what it is asked."""
    log = clone.parent / "log"
    log.write_text("")
    python = FAKE_PYTHON.format(log=log, tag=TAG)
    done = start(clone, *arguments, before=FAKE_VENV.format(log=str(log), python=python))
    assert done.returncode == 0, done.stderr
    return [line for line in log.read_text().splitlines() if not line.startswith("-ISc")]


def install(extras: str) -> str:
    options = "--disable-pip-version-check install --quiet --no-input --editable"
    return f"-m pip {options} .{extras}"


def test_a_second_run_repeats_nothing_and_a_verb_adds_its_extras(clone):
    again = f"{clone / 'build.py'}"
    assert acted(clone, "demo") == ["venv", install("[demo]"), f"{again} demo"]
    assert acted(clone, "demo") == [f"{again} demo"]
    assert acted(clone) == [again]
    assert acted(clone, "test", "-k", "x y") == [install("[demo,test]"), f"{again} test -k x y"]
    assert acted(clone, "demo") == [f"{again} demo"]


def test_a_change_of_the_project_file_installs_again(clone):
    acted(clone)
    with (clone / "pyproject.toml").open("a") as project:
        project.write("\n# changed\n")
    assert acted(clone) == [install(""), f"{clone / 'build.py'}"]


def damage_interrupted(clone: Path) -> None:
    (clone / ".venv" / "layerwise.json").write_text("{}\n")


def damage_moved(clone: Path) -> None:
    stamp = json.loads((clone / ".venv" / "layerwise.json").read_text())
    (clone / ".venv" / "layerwise.json").write_text(json.dumps({**stamp, "place": "/elsewhere"}))


def damage_python_gone(clone: Path) -> None:
    (clone / ".venv" / "bin" / "python").unlink()


def damage_other_python(clone: Path) -> None:
    python = clone / ".venv" / "bin" / "python"
    python.write_text(python.read_text().replace(TAG, "cpython-310"))


@pytest.mark.parametrize(
    "damage", [damage_interrupted, damage_moved, damage_python_gone, damage_other_python]
)
def test_a_damaged_environment_is_made_anew(clone, damage):
    acted(clone)
    (clone / ".venv" / "leftover").mkdir()
    damage(clone)
    assert acted(clone) == ["venv", install(""), f"{clone / 'build.py'}"]
    assert not (clone / ".venv" / "leftover").exists()
    assert acted(clone) == [f"{clone / 'build.py'}"]


def test_an_unknown_verb_is_refused_before_any_work(clone):
    done = start(clone, "tset")
    assert done.returncode == 2
    assert "tset is neither a Python file nor one of the verbs test, demo" in done.stderr
    assert not (clone / ".venv").exists()


def test_help_needs_no_environment(clone):
    done = start(clone, "--help")
    assert done.returncode == 0
    assert "python3 build.py test" in done.stdout
    assert not (clone / ".venv").exists()


# --- how the tests are shared out


def test_files_that_are_named_are_left_to_one_process():
    build = runpy.run_path(str(HERE / "build.py"))
    for rest in ([], ["-k", "forms"], ["tests", "-x"]):
        assert build["distribution"](rest) == build["SHARED_OUT"]
    for rest in (["tests/test_forms.py"], ["-x", "tests/test_forms.py::test_a_form"]):
        assert build["distribution"](rest) == ()


FILES = {path.stem for path in (HERE / "tests").glob("test_*.py")}


def test_the_files_that_the_order_names_are_there():
    assert {*LONGEST, *DERIVED, *QUICKEST} <= FILES
    assert not QUICKEST & {*LONGEST, *DERIVED}


def test_quick_takes_its_files_whole_and_says_what_it_leaves_out():
    words = ["-m", "pytest", "--quick", "--collect-only", "-n", "0", "-p", "no:cacheprovider"]
    done = subprocess.run([sys.executable, *words], cwd=HERE, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    (said,) = re.findall("^--quick leaves out: (.*)$", done.stdout, re.MULTILINE)
    assert {f"test_{name}" for name in said.split(", ")} == FILES - QUICKEST
    assert set(re.findall(r"<Module (\w+)\.py>", done.stdout)) == QUICKEST
    assert "deselected" not in done.stdout


# --- what is built first


def test_a_verb_builds_what_it_needs():
    """For the demo the kernels that it imports, for the tests all of them, for --quick none."""
    do, ran = runpy.run_path(str(HERE / "build.py"))["do"], []
    do.__globals__.update(run=lambda *words, **_: ran.append(words), require_compiler=lambda: None)
    (line,) = re.findall("^from derive.generated import (.*)$", DIGITS.read_text(), re.MULTILINE)
    (name,) = re.findall(r"^(\w+) as kernels$", line)
    build = ("-P", "-m", "derive", "build")
    do("demo", [])
    assert ran == [(*build, name, "--out", str(HERE / "generated")), (str(DIGITS),)]
    ran.clear()
    do("test", ["-k", "forms"])
    assert ran[0] == build and ran[1][:2] == ("-m", "pytest") and ran[1][-2:] == ("-k", "forms")
    ran.clear()
    do("test", ["--quick"])
    assert [words[:2] for words in ran] == [("-m", "pytest")] and ran[0][-1] == "--quick"
