"""Installing: source distribution -> wheel -> an empty environment, used from an empty folder.

The wheel is built once, by pip as anyone calls it, from an unpacked source distribution in which
the leftovers of builds and of a crash lie about.  pip fetches what the project needs; where no
registry answers, the tests are skipped.
"""

import platform
import shlex
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest
from installing import (
    CALLER,
    COMPARE,
    EXTENSION,
    LEFT,
    PACKAGES,
    Environment,
    contents,
    leave_about,
    run,
)

from derive.kernels.compiling.compiler import find_compiler

HERE = Path(__file__).resolve().parent.parent
BUILDERS = ("cython>=3.1", "setuptools>=77")
SDIST = "from derive.tools.packaging import build_sdist; print(build_sdist({!r}))"


@pytest.fixture(scope="module")
def environment(tmp_path_factory) -> Environment:
    """An environment with the newest build requirements; no test runs where they can't be had."""
    made = Environment(tmp_path_factory.mktemp("installed"))
    done = made.pip("install", *BUILDERS, check=False)
    if done.returncode:
        pytest.skip(f"needs a package registry that has {BUILDERS}: {done.stderr.strip()[-200:]}")
    return made


@pytest.fixture(scope="module")
def sdist(environment, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("sdist")
    name = run(environment.python, "-c", SDIST.format(str(folder)), cwd=HERE).stdout.split()[-1]
    return folder / name


@pytest.fixture(scope="module")
def tree(sdist) -> Path:
    """The unpacked source distribution, no longer clean."""
    run("tar", "-xzf", sdist, cwd=sdist.parent)
    unpacked = sdist.parent / sdist.name.removesuffix(".tar.gz")
    leave_about(unpacked)
    return unpacked


@pytest.fixture(scope="module")
def wheel(environment, tree) -> Path:
    """The wheel, built where flags for this machine alone and for fast arithmetic are asked for.

    The compiler that CC names does all but optimise, which takes most of the time.
    """
    compiler = tree.parent / "cc"
    native = ["-march=native"] if platform.machine() == "x86_64" else []
    words = shlex.join([*find_compiler(()).command, *native])
    compiler.write_text(f'#!/bin/sh\nexec {words} "$@" -O0\n')
    compiler.chmod(0o755)
    flags = {"CC": str(compiler), "CFLAGS": "-march=native -ffast-math", "LDFLAGS": "-ffast-math"}
    before = contents(tree)
    environment.pip("wheel", "--no-deps", "--wheel-dir", tree.parent / "wheels", tree, **flags)
    assert contents(tree) == before, "building has written into the source tree"
    (path,) = (tree.parent / "wheels").iterdir()
    return path


@pytest.fixture(scope="module")
def installed(environment, wheel) -> Environment:
    environment.pip("install", wheel)
    return environment


# ------------------------------------------------------------------------- what is packed


def test_a_source_distribution_has_the_project_and_nothing_that_was_made(sdist):
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    for folder in ("derive", "generated", "templates", "tests"):
        sources = [
            p for p in (HERE / folder).rglob("*") if p.suffix in {".py", ".pyx", ".h", ".j2"}
        ]
        assert {str(path.relative_to(HERE)) for path in sources} <= names
    assert {"build.py", "pyproject.toml", "README.md", "LICENSE", "PKG-INFO"} <= names
    assert not [name for name in names if name.endswith((".so", ".c", ".json", ".log", ".pyc"))]


def test_a_source_distribution_of_itself_is_the_same(environment, sdist, tree, tmp_path):
    before = contents(tree)
    run(environment.python, "-c", SDIST.format(str(tmp_path)), cwd=tree)
    with tarfile.open(sdist) as one, tarfile.open(tmp_path / sdist.name) as other:
        assert sorted(one.getnames()) == sorted(other.getnames())
    assert contents(tree) == before


def test_the_wheel_has_every_kernel_compiled_and_every_source(wheel, tree):
    names = zipfile.ZipFile(wheel).namelist()
    for source, package in PACKAGES.items():
        stems = {path.stem for path in (tree / source).glob("*.pyx")}
        assert len(stems) > 2
        made = {name for name in names if name.startswith(package) and name.endswith(EXTENSION)}
        assert made == {f"{package}/{stem}{EXTENSION}" for stem in stems}
        for suffix in (".pyx", ".pxd", ".h"):
            texts = {f"{package}/{path.name}" for path in (tree / source).glob(f"*{suffix}")}
            assert texts <= set(names)
    templates = (tree / "templates").rglob("*.j2")
    frames = {f"derive/templates/{path.relative_to(tree / 'templates')}" for path in templates}
    assert frames and frames | {"derive/py.typed", "derive/runtime/edge.pyi"} <= set(names)


def test_the_wheel_has_nothing_else(wheel, tree):
    with zipfile.ZipFile(wheel) as archive:
        info = {name for name in archive.namelist() if ".dist-info/" in name}
        names = set(archive.namelist()) - info
        texts = {name: archive.read(name) for name in names}
    kinds = {".py", ".pyi", ".typed", ".pyx", ".pxd", ".h", ".j2", ".tex", Path(EXTENSION).suffix}
    assert {Path(name).suffix for name in names} <= kinds
    assert {name.split("/")[0] for name in names} == {"derive"}
    assert not [name for name in names if ".build-" in name or "packaging" in name]
    assert not [name for name, text in texts.items() if LEFT in text or bytes(tree) in text]


def test_the_wheel_is_for_this_python_and_platform(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [n for n in archive.namelist() if n.endswith(".dist-info/WHEEL")]
        lines = archive.read(name).decode().splitlines()
    (tag,) = [line.removeprefix("Tag: ") for line in lines if line.startswith("Tag: ")]
    python, abi, machine = tag.split("-")
    version = f"cp{sys.version_info.major}{sys.version_info.minor}"
    assert python == version and abi.startswith(version)
    assert machine == sysconfig.get_platform().replace("-", "_").replace(".", "_")
    assert "Root-Is-Purelib: false" in lines


def test_a_wheel_without_a_compiler_is_one_sentence(environment, tree, tmp_path):
    words = ("wheel", "--no-build-isolation", "--no-deps", "--wheel-dir", tmp_path, tree)
    done = environment.pip(*words, check=False, CC="/nonexistent/cc")
    assert done.returncode == 1
    said = done.stdout + done.stderr
    assert "error: The C compiler /nonexistent/cc that CC names was not found" in said
    assert "Traceback" not in said


# ---------------------------------------------------------------- in an empty environment

KERNELS = """
import importlib, pkgutil, sys
import numpy as np
import derive.generated, derive.runtime.edge as edge

asked, admit = [], edge.admit
edge.admit = lambda *said: (asked.append(said[-1]), admit(*said))
for module in pkgutil.iter_modules(derive.generated.__path__):
    importlib.import_module("derive.generated." + module.name)
assert len(asked) > 2
print("features", *asked)

from derive.generated import dense
rng = np.random.default_rng(3)
x, W, b = rng.normal(size=(5, 3)), rng.normal(size=(4, 3)), rng.normal(size=4)
# z has m products and m sums, each rounded once; tanh has slope 1 at most, and 2 ulp of libm
bound = np.finfo(float).eps * (6 * (abs(x) @ abs(W).T + abs(b)).max() + 2)
assert abs(dense.forward(x, W, b) - np.tanh(x @ W.T + b)).max() <= bound
assert np.float64(5e-324) * np.float64(1) > 0, "the process flushes to zero"
print("loaded", *{"sympy", "jinja2", "Cython", "setuptools"}.intersection(sys.modules))
"""


def test_kernels_run_without_sympy_and_jinja_on_the_baseline_processor(installed):
    features, loaded = installed.says(KERNELS).splitlines()
    assert loaded == "loaded"
    if platform.machine() == "x86_64":
        assert features.split() == ["features"]


def test_templates_are_found_and_print_the_module_that_was_compiled(installed):
    shown = installed.derive("show", "--pyx", "dense").stdout
    assert shown.strip() == (installed.package / "generated" / "dense.pyx").read_text().strip()
    assert "tanh(z)" in installed.derive("show", "dense").stdout
    (tex,) = installed.derive("latex", "dense", "--out", "written").stdout.splitlines()
    assert r"\tanh'(z) \odot \dot{z}" in (installed.empty / tex).read_text()
    assert "dense(x; W, b)" in installed.derive("list").stdout


def test_kernels_of_the_wheel_pass_their_checks(installed):
    lines = installed.derive("check", "dense").stdout.splitlines()
    assert any("  kernel  " in line for line in lines)


def test_the_library_is_not_built_into_the_installed_package(installed):
    before = contents(installed.package)
    done = installed.derive("build", check=False)
    assert done.returncode == 1 and done.stdout == ""
    (sentence,) = done.stderr.splitlines()
    assert sentence.endswith("build them into a folder of yours with --out DIR")
    assert contents(installed.package) == before
    assert not (installed.package.parent / "generated").exists()


CELL = """
from derive import R, dims, layer, sigmoid

n = dims("n")

@layer
def cell(x: R(n), *, a: R(n)) -> R(n):
    return a * sigmoid(x)
"""
CALL = """
import sys; sys.path.insert(0, "kernels")
import cell; print(cell.forward([[0.0, 0.0]], [2.0, 6.0]).tolist())
"""


def test_layers_of_ones_own_are_built_beside_the_package(installed):
    before = contents(installed.package)
    (installed.empty / "cells.py").write_text(CELL)
    made = installed.derive("build", "cells.py", "--out", "kernels").stdout.strip()
    assert Path(made) == installed.empty / "kernels" / f"cell{EXTENSION}"
    assert installed.says(CALL).strip() == "[[1.0, 3.0]]"  # sigmoid(0) = 1/2
    assert contents(installed.package) == before


CACHED = """
from derive import R, dims, layer

n = dims("n")

@layer
def twice(x: R(n)) -> R(n):
    return x + x

print(twice.compile(cache="cache").forward([[1.0, 2.0]]).tolist())
"""


def test_layers_compiled_from_python_are_kept_beside_the_package(installed):
    before = contents(installed.package)
    (installed.empty / "twice.py").write_text(CACHED)
    assert run(installed.python, "twice.py", cwd=installed.empty).stdout == "[[2.0, 4.0]]\n"
    assert list((installed.empty / "cache").rglob(f"twice{EXTENSION}"))
    assert contents(installed.package) == before


def test_a_cython_module_calls_the_installed_kernels(installed):
    (installed.empty / "caller.pyx").write_text(CALLER)
    run(installed.folder / "bin" / "cythonize", "-i", "caller.pyx", cwd=installed.empty)
    installed.says(COMPARE)


# --------------------------------------------------------------------- and out of it again


def test_uninstalling_leaves_nothing(wheel, tmp_path):
    other = Environment(tmp_path)
    before = contents(other.folder), sorted(map(str, other.folder.rglob("*")))
    other.pip("install", "--no-deps", wheel)
    assert (other.package / "generated" / f"dense{EXTENSION}").is_file()
    other.pip("uninstall", "--yes", "layerwise")
    assert (contents(other.folder), sorted(map(str, other.folder.rglob("*")))) == before


def test_an_editable_install_writes_nothing_and_says_how_to_compile(environment, tree, tmp_path):
    other = Environment(tmp_path)
    for leftover in (tree / "generated").glob(f"dense{EXTENSION}"):
        leftover.unlink()
    before = contents(tree)
    other.pip("install", "--no-deps", "--editable", tree)
    assert contents(tree) == before
    done = run(
        other.python, "-c", "from derive.generated import dense", cwd=other.empty, check=False
    )
    sentence = (
        "ImportError: the kernels of dense are not compiled for this Python; run: derive build"
    )
    assert done.stderr.splitlines()[-1] == sentence
    assert other.says("import derive.generated as g; print(hasattr(g, 'dance'))") == "False\n"
