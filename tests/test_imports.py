"""The picture of the modules runs one way, and no layer is known by name outside the library."""

import ast
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

import derive
from derive import library

ROOT = Path(derive.__file__).parent
PICTURE = """spaces forms expressions walk calculus lift functions maps layers cells levels programs
transitions influence hybrid lower sequences emit build command"""
ORDER = """hooks stable normal matching laws scalars conditions fold algebras exact_arrays
cython_text relations limits equalities rewriting operations digits constants shipped
mistakes spaces refusals forms accesses positions expressions riesz terms combining walk
normal_form structure calculus lift functions windows pooling searching contractions
pointwise powers_of_powers identities rewrites maps places names abbreviations roles
validity layers rendering notation patterns plain_text text letters glyphs typography
diagonals lines powers ratios jets multilinear linear_algebra writer domains titles show
scalar_functions reference components prime_fields scalar_graph scalar_rules branches
field_values field edge_points quotients agreement proof equality initialise resize
cells declaration loading stages networks levels composing sharing looks programs
selections transitions observations influence parameters saving gradient_flow hybrid
recurrent_forms gradients optimise targets algorithms sequence_fit products schedule
loops source stopping nests sums rows lower driving cost recurrent_cost draft passes
through_time views forward_gradients sequences words emit execution interpret
plain_inputs plain_call plain_edge evaluated limited compiler compile build cache_folder
references cache describe findings rounding sequence_runs sampling sequence_cases accuracy cases
oracles map_laws program_laws kernel_laws edge_laws sequence_calls online_laws
sequence_laws check definitions pairing claims pullback labels problem parts algorithm
onestep unrolled blocks entrywise steps network_problem backward_section escapes
online_names online_words online_section sections hybrid_section recursions typesetter
notebook document interpreted theorem generic generic_recurrent chapter pdf options
reports showing building checking writing starting caching parser command __main__"""
PICTURE, ORDER = PICTURE.split(), ORDER.split()
ROOMS = ["elementwise", "proofs", "training", "kernels", "checks", "cli", "latex"]
BELOW = {
    "library",
    "declare",
    "recurrence",
    "pickling",
}  # the layers, and what the compiled kernels stand on
# what a layer of the library shares its name with: a bilinear map, the function, a schedule, a
# block that is full, the influence read out
HOMONYMS = {
    "bilinear": {"proof", "map_laws"},
    "cosine": {"scalar_rules", "optimise"},
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
PLACES = [*ROOT.glob("*.py"), *(path for room in ROOMS for path in (ROOT / room).glob("*.py"))]
FILES = {path.stem: path for path in PLACES if path.stem != "__init__"}
EVERY = [*FILES.values(), ROOT / "__init__.py", *(ROOT / "runtime").glob("*.py")]


def imported(path: Path) -> set[str]:
    """The modules of the project that a file imports anywhere, by their last names."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(a.name.split(".")[-1] for a in node.names if "derive" in a.name)
        if isinstance(node, ast.ImportFrom) and (node.level or "derive" in (node.module or "")):
            module = (node.module or "").removeprefix("derive").removeprefix(".")
            room = not module or module in ROOMS
            found.update([a.name for a in node.names] if room else [module.split(".")[-1]])
    return found


def test_the_order_holds_the_picture() -> None:
    places = [ORDER.index(name) for name in PICTURE]
    assert places == sorted(places) and len(set(ORDER)) == len(ORDER)


@pytest.mark.parametrize("name", FILES)
def test_a_module_imports_what_stands_before_it(name: str) -> None:
    assert name in ORDER, f"give {name} its place in the picture"
    before = ORDER[: ORDER.index(name)]
    assert imported(FILES[name]) - BELOW <= set(before)


@pytest.mark.parametrize(("earlier", "later"), list(pairwise(PICTURE[:5])))
def test_the_core_is_a_chain(earlier: str, later: str) -> None:
    """Each room of the core stands on the one before, not beside it."""
    reached = imported(FILES[later])
    for name in reversed(ORDER):
        reached |= imported(FILES[name]) if name in reached and name in FILES else set()
    assert earlier in reached


def test_the_library_speaks_the_users_language() -> None:
    for path in (ROOT / "library").glob("*.py"):
        if path.stem != "__init__":
            families = {family.stem for family in (ROOT / "library").glob("*.py")}
            names = imported(path) - families
            assert names <= set(derive.__all__), path


def test_module_names_are_one_each() -> None:
    assert len(FILES) == len([path for path in PLACES if path.stem != "__init__"])


def test_the_runtime_imports_nothing_of_derive() -> None:
    own = {path.stem for path in (ROOT / "runtime").glob("*.py")}
    for path in (ROOT / "runtime").glob("*.py"):
        assert not imported(path) - own - {"runtime", "edge"}, path


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


@pytest.mark.parametrize("path", EVERY, ids=lambda path: path.stem)
def test_no_layer_is_known_by_name(path: Path) -> None:
    names = {name for name in library.layers() if path.stem not in HOMONYMS.get(name, ())}
    assert not names & words(path)


def test_no_template_knows_a_layer() -> None:
    names = set(library.layers()) - set(HOMONYMS)
    for path in (ROOT.parent / "templates").glob("*.j2"):
        assert not names & set(re.findall(r"\w+", path.read_text())), path
