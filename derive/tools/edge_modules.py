"""The compiled edge of the package: what every kernel's module imports."""

from __future__ import annotations

from ..kernels.compiling.modules import RUNTIME, Module

EDGE = ("interrupt", "layout", "call", "steps", "edge")


def runtime_modules() -> list[Module]:
    """The modules of the edge, in the order in which they import each other."""
    return [Module(f"derive.runtime.{name}", RUNTIME / f"{name}.pyx") for name in EDGE]
