"""Compiled kernels: `from derive.generated import dense` loads neither SymPy nor Jinja.

The .pyx and .pxd files here are generated from `derive/library` by `derive build`; the .tex files,
the written derivations, by `derive latex --out generated` and, for `generic_results.tex`,
`derive latex --generic --out generated`.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from types import ModuleType


def __getattr__(name: str) -> ModuleType:
    """The kernels of a layer.  Raises ImportError, which `from ... import` hands on as it is."""
    try:
        return import_module(f"{__name__}.{name}")
    except ModuleNotFoundError as missing:
        if missing.name != f"{__name__}.{name}":
            raise
        if Path(__file__).with_name(f"{name}.pyx").exists():
            raise ImportError(
                f"the kernels of {name} are not compiled for this Python; run: derive build",
                name=missing.name,
            ) from None
        raise AttributeError(f"derive.generated has no kernels of a layer {name!r}") from None
