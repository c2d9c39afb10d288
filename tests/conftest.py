"""How tests are shared out among processes, and the kernels that several files test.

`build.py test` starts a process for each CPU, which takes one file of tests after the other.
"""

import gc
import os

os.environ.setdefault("SYMPY_CACHE_SIZE", "20000")  # read by SymPy; a thousand is soon forgotten
# The many processes that tests start would compile all modules anew, and not keep them.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from declared import LAYERS
from edge_kernels import HAND_WRITTEN, load
from recurrent_networks import NETWORKS

from derive.kernels.compiling.compile import compile_modules
from derive.kernels.compiling.compiler import NATIVE
from derive.kernels.compiling.locking import locked
from derive.kernels.compiling.modules import EXTENSION, Module
from derive.tools import cache
from derive.tools.build import build_runtime, differing, load_kernels, texts

# What tests derive lives on: Python looks through it for garbage less often than it would.
gc.set_threshold(50_000, 20, 100)

# The library's kernels are compiled with all the project's flags; here the warnings are enough.
QUICK = ("-O0", "-Wall", "-Wextra", "-Werror")


# The files that take longest, each with what only it compiles, by measurement.
LONGEST = [
    "test_random_layers",
    "test_sequences",
    "test_install",
    "test_depth",
    "test_document",
    "test_proof",
    "test_emit",
    "test_windows",
    "test_image_examples",
    "test_sharing",
    "test_derivation",
    "test_stepper",
    "test_tutorial",
    "test_damage_kernels",
    "test_onnx",
    "test_cache",
    "test_sequence_laws",
    "test_sequence_examples",
]
# These read the same derivations, which a process makes once (`derived`).
DERIVED = {
    "test_document",
    "test_derivation_names",
    "test_golden",
    "test_notebook_view",
    "test_recursions",
}
# The files of --quick: a minute of a CPU in all, by measurement; none of them compiles anything.
QUICKEST = {
    "test_accesses",
    "test_calculus",
    "test_docstrings",
    "test_expressions",
    "test_forms",
    "test_imports",
    "test_laws",
    "test_letters",
    "test_lift",
    "test_maps",
    "test_notation",
    "test_positions",
    "test_spaces",
    "test_terms",
    "test_text",
}


def pytest_addoption(parser: pytest.Parser) -> None:
    said = "only files of tests that take seconds and compile nothing"
    parser.addoption("--quick", action="store_true", help=said)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """With --quick the other files are not even imported."""
    is_test = collection_path.match("test_*.py")
    return (
        True if config.option.quick and is_test and collection_path.stem not in QUICKEST else None
    )


def pytest_report_header(config: pytest.Config) -> list[str]:
    """What --quick leaves out."""
    stems = {path.stem for path in Path(__file__).parent.glob("test_*.py")}
    left = ", ".join(sorted(stem.removeprefix("test_") for stem in stems - QUICKEST))
    return [f"--quick leaves out: {left}"] if config.option.quick else []


@pytest.hookimpl(optionalhook=True)  # of pytest-xdist, for -n auto
def pytest_xdist_auto_num_workers() -> int:
    """As many processes as this one may use CPUs; with a single one, none beside it."""
    affinity = getattr(os, "sched_getaffinity", None)  # not on every system
    count = len(affinity(0)) if affinity else os.cpu_count() or 1
    return count if count > 1 else 0


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """For --dist=loadfile: files whole, and those of `DERIVED` as if they were one."""
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = super()._split_scope(nodeid)
            return "DERIVED" if Path(file).stem in DERIVED else file

    return Scheduling(config, log) if config.option.dist == "loadfile" else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What takes longest comes last, but first where no process shall be left alone with it."""
    sign = -1 if hasattr(config, "workerinput") else 1  # in a process of pytest-xdist
    rank = {stem: sign * number for number, stem in enumerate(reversed(LONGEST), 1)}
    items.sort(key=lambda item: rank.get(item.path.stem, 0))


@pytest.fixture(scope="session", autouse=True)
def quick_flags() -> Iterator[None]:
    """What tests compile by `Layer.compile`, too, is compiled in a third of the time."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(cache, "FLAGS", QUICK)
        yield


@pytest.fixture(scope="session")
def compiled(request: pytest.FixtureRequest) -> dict[str, ModuleType]:
    """The kernels of every layer in `declared`, by the layer's name."""
    folder = built(request, "declared", lambda: texts(LAYERS), QUICK)
    return {name: load_kernels(name, folder) for name in LAYERS}


@pytest.fixture(scope="session")
def recurrent_kernels(request: pytest.FixtureRequest) -> dict[str, ModuleType]:
    """The kernels of every network in `recurrent_networks`, by its name there."""
    by_module = {network.name: network for network in NETWORKS.values()}
    folder = built(request, "recurrent", lambda: texts(by_module), QUICK)
    return {name: load_kernels(network.name, folder) for name, network in NETWORKS.items()}


@pytest.fixture(scope="session")
def hand_written(request: pytest.FixtureRequest) -> Path:
    """The library of the kernels in `edge_kernels`."""
    folder = built(request, "hand_written", lambda: {"hand_written.pyx": HAND_WRITTEN}, NATIVE)
    return folder / f"hand_written{EXTENSION}"


def built(
    request: pytest.FixtureRequest,
    name: str,
    wanted: Callable[[], dict[str, str]],
    flags: tuple[str, ...],
) -> Path:
    """The folder of these modules in pytest's cache, where they stay from run to run.

    Of the processes of a run the first emits them, which may take long, and compiles those whose
    text has changed; the others wait for it.
    """
    place = Path(request.config.cache.mkdir(name))
    folder, last = place / "modules", place / "run"
    this_run = os.environ.get("PYTEST_XDIST_TESTRUNUID", "")
    with locked(place):
        if not this_run or not last.exists() or last.read_text() != this_run:
            compile_texts(wanted(), folder, flags)
            last.write_text(this_run)
    return folder


def compile_texts(wanted: dict[str, str], folder: Path, flags: tuple[str, ...]) -> None:
    """Modules of these texts in a folder; neither a text nor a library that is right is touched."""
    folder.mkdir(exist_ok=True)
    for name in wanted.keys() & differing(wanted, folder):
        (folder / name).write_text(wanted[name], "utf-8")
    build_runtime(lambda line: None)  # with build.py's flags: others would compile it anew
    names = [name.removesuffix(".pyx") for name in wanted if name.endswith(".pyx")]
    compile_modules([Module(name, folder / f"{name}.pyx") for name in names], flags=flags)


@pytest.fixture(scope="session")
def hand(hand_written: Path) -> Any:
    """Those kernels, loaded."""
    return load(hand_written)
