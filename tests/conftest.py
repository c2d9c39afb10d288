"""Kernels that several files test, compiled once, in one batch."""

from types import ModuleType

import pytest
from declared import LAYERS

from derive.build import load_kernels, runtime_modules, texts, write_texts
from derive.compile import Module, compile_modules

# The library's kernels are compiled with all the project's flags; here the warnings are enough.
QUICK = ("-O0", "-Wall", "-Wextra", "-Werror")


@pytest.fixture(scope="session")
def compiled(tmp_path_factory) -> dict[str, ModuleType]:
    """The kernels of every layer in `declared`, by the layer's name."""
    folder = tmp_path_factory.mktemp("kernels")
    write_texts(texts(LAYERS), folder)
    compile_modules(runtime_modules())
    compile_modules([Module(name, folder / f"{name}.pyx") for name in LAYERS], flags=QUICK)
    return {name: load_kernels(name, folder) for name in LAYERS}
