"""Compiled kernels: `from derive.generated import dense` loads neither SymPy nor Jinja.

The .pyx, .pxd files here are generated from `derive/library` by `python build.py`.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType


def __getattr__(name: str) -> ModuleType:
    try:
        return import_module(f"{__name__}.{name}")
    except ModuleNotFoundError as missing:
        if missing.name != f"{__name__}.{name}":
            raise
        raise AttributeError(
            f"derive.generated has no compiled kernel {name!r}; run: python build.py"
        ) from None
