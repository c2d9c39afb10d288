"""The picture of the rooms runs one way, and no layer is known by name outside the library."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import derive
from derive import library

ROOT = Path(derive.__file__).parent
README = (ROOT.parent / "README.md").read_text("utf-8")
# every room, each importing only what stands before it
ORDER = (
    *("runtime", "language.scalars", "language", "calculus"),
    *("vocabulary", "vocabulary.rewriting", "models", "library", "training", "recurrence"),
    *("kernels.compiling", "kernels.statements", "kernels.optimise"),
    *("kernels.lowering", "kernels.sequences", "kernels.printing", "kernels.printing.cython"),
    *("kernels.printing.c", "kernels.interpreting"),
    *("evidence.proofs", "evidence.checks"),
    *("writing.typesetting", "writing.layers", "writing.sequences", "writing.theorems"),
    *("writing.documents", "writing", "tools", "tools.cli"),
)
FRAMES = {"", "kernels", "evidence"}  # what holds rooms alone, and `derive` with its table of names
BUILD = {"tools.packaging"}  # run by pip in a checkout; in no wheel
# what a layer of the library shares its name with: a bilinear map, the function, a schedule, a
# block that is full, the influence read out
HOMONYMS = {
    "bilinear": {"proof", "map_laws"},
    "cosine": {"scalar_rules", "rates"},
    "dense": {"recurrent_forms"},
    "readout": {
        "influence",
        "forward_gradients",
        "recurrent_forms",
        "recurrent_cost",
        "hybrid_section",
        "online_section",
    },
}
FILES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in ROOT.rglob("*.py")
    if path.parent != ROOT
}
MODULES = [name for name, path in FILES.items() if path.name != "__init__.py"]


def room(module: str) -> str:
    """The room that a file stands in."""
    inside = FILES[module].name == "__init__.py" if module in FILES else False
    return module if inside else module.rpartition(".")[0]


@cache
def imported(path: Path) -> frozenset[str]:
    """The modules and rooms of the project that a file imports anywhere, without `derive`."""
    return frozenset(_imported(path))


def _imported(path: Path) -> Iterator[str]:
    here = ("derive", *path.relative_to(ROOT).parent.parts)
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (a.name.partition(".")[2] for a in node.names if a.name == "derive")
        if isinstance(node, ast.ImportFrom):
            base = here[: len(here) + 1 - node.level] if node.level else ()
            whole = ".".join([*base, *(node.module or "").split(".")]).strip(".")
            if whole.partition(".")[0] == "derive":
                home = whole.partition(".")[2]
                asked = (f"{home}.{a.name}".strip(".") for a in node.names)
                yield from (name if name in FILES else home for name in asked)


def test_every_room_has_its_place() -> None:
    rooms = {room(name) for name in FILES} - FRAMES - BUILD
    assert rooms == set(ORDER) and len(set(ORDER)) == len(ORDER)
    settings = tomllib.loads((ROOT.parent / "pyproject.toml").read_text("utf-8"))
    packed = set(settings["tool"]["setuptools"]["packages"])
    folders = {f"derive.{name}".strip(".") for name in {*rooms, *FRAMES}}
    assert packed == folders | {"derive.templates", "derive.generated"}


@pytest.mark.parametrize("name", MODULES)
def test_a_module_imports_what_stands_before_its_room(name: str) -> None:
    stands = {found: place for place, found in enumerate(ORDER)} | dict.fromkeys(FRAMES, -1)
    here = len(ORDER) if room(name) in BUILD else stands[room(name)]
    for other in imported(FILES[name]):
        assert stands[room(other)] <= here, f"{name} imports {other}"


@pytest.mark.parametrize("place", ORDER)
def test_no_room_has_a_circle(place: str) -> None:
    own = {name for name in MODULES if room(name) == place}
    order = TopologicalSorter({name: imported(FILES[name]) & own for name in sorted(own)})
    assert set(order.static_order()) == own


def test_the_picture_of_the_readme_is_the_code() -> None:
    """Each arrow is an import, and every import goes along the arrows."""
    (picture,) = re.findall(r"```\n(runtime .*?)```", README, re.DOTALL)
    arrows: dict[str, set[str]] = {}
    for line in picture.splitlines():
        if found := re.match(r"(\w+) +(?:<- ((?:\w+, )*\w+)  )?", line):
            arrows[found[1]] = set((found[2] or "").split(", ")) - {""}
    reached: dict[str, set[str]] = {}
    for name, below in arrows.items():
        reached[name] = below.union(*(reached[other] for other in below))
    found_arrows: dict[str, set[str]] = {name: set() for name in arrows}
    for module in FILES:
        floor = module.partition(".")[0]
        found_arrows[floor] |= {name.partition(".")[0] for name in imported(FILES[module])}
    for name, found_in_code in found_arrows.items():
        assert arrows[name] <= found_in_code, name
        assert found_in_code - {name, ""} <= reached[name], name


def test_the_library_speaks_the_users_language() -> None:
    families = {name for name in MODULES if room(name) == "library"}
    for name in families:
        allowed = families | {"", "library"}
        assert imported(FILES[name]) <= allowed, name
        exported = _names_from_derive(FILES[name])
        assert exported <= set(derive.__all__), name


def _names_from_derive(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module == "derive":
            found.update(a.name for a in node.names)
    return found


def test_the_runtime_imports_nothing_of_derive() -> None:
    for name in MODULES:
        if room(name) == "runtime":
            assert {room(other) for other in imported(FILES[name])} <= {"runtime"}, name


def test_importing_derive_loads_neither_sympy_nor_jinja() -> None:
    code = (
        "import derive, sys; sys.exit(any(m in sys.modules for m in ('sympy', 'jinja2', 'numpy')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_exported_name_has_its_home() -> None:
    for name in derive.__all__:
        assert getattr(derive, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'dance'"):
        _ = derive.dance


def words(path: Path) -> set[str]:
    """Identifiers and string literals of a file, docstrings apart."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Name):
            found.add(node.id)
        if isinstance(node, ast.Attribute):
            found.add(node.attr)
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.add(node.value)
        if isinstance(node, (ast.alias, ast.FunctionDef, ast.ClassDef)):
            found.add(node.name)
    return found


@pytest.mark.parametrize("module", [name for name in FILES if room(name) != "library"])
def test_no_layer_is_known_by_name(module: str) -> None:
    stem = module.rpartition(".")[2]
    names = {name for name in library.layers() if stem not in HOMONYMS.get(name, ())}
    assert not names & words(FILES[module])


def test_no_template_knows_a_layer() -> None:
    names = set(library.layers()) - set(HOMONYMS)
    for path in (ROOT.parent / "templates").rglob("*.j2"):
        assert not names & set(re.findall(r"\w+", path.read_text())), path
