"""Kernels that several files test, compiled once, in one batch."""

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from declared import LAYERS
from edge_kernels import HAND_WRITTEN, load
from recurrent_networks import NETWORKS

from derive.build import load_kernels, runtime_modules, texts, write_texts
from derive.compile import Module, compile_modules

# The library's kernels are compiled with all the project's flags; here the warnings are enough.
QUICK = ("-O0", "-Wall", "-Wextra", "-Werror")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest comes last; all else stays in order."""
    items.sort(key=lambda item: item.path.stem == "test_install")


@pytest.fixture(scope="session")
def compiled(tmp_path_factory) -> dict[str, ModuleType]:
    """The kernels of every layer in `declared`, by the layer's name."""
    folder = tmp_path_factory.mktemp("kernels")
    write_texts(texts(LAYERS), folder)
    compile_modules(runtime_modules())
    compile_modules([Module(name, folder / f"{name}.pyx") for name in LAYERS], flags=QUICK)
    return {name: load_kernels(name, folder) for name in LAYERS}


@pytest.fixture(scope="session")
def recurrent_kernels(request: pytest.FixtureRequest) -> dict[str, ModuleType]:
    """The kernels of every network in `recurrent_networks`, by its name there.

    They stay in pytest's cache, and are compiled again only where their text has changed.
    """
    folder = Path(request.config.cache.mkdir("recurrent"))
    by_module = {network.name: network for network in NETWORKS.values()}
    write_texts(texts(by_module), folder)
    compile_modules(runtime_modules())
    modules = [Module(name, folder / f"{name}.pyx") for name in by_module]
    compile_modules(modules, flags=QUICK)
    return {name: load_kernels(network.name, folder) for name, network in NETWORKS.items()}


@pytest.fixture(scope="session")
def hand_written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library of the kernels in `edge_kernels`."""
    source = tmp_path_factory.mktemp("hand_written") / "hand_written.pyx"
    source.write_text(HAND_WRITTEN)
    return compile_modules([Module("hand_written", source)])[0]


@pytest.fixture(scope="session")
def hand(hand_written: Path) -> Any:
    """Those kernels, loaded."""
    return load(hand_written)
