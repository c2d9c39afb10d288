"""The Cython module of a layer: decided here, printed by templates/cython/."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ....language.rendering import render
from ....language.scalars.scalars import CALLED
from ....models.layers import Layer
from ....models.programs import Program
from ..functions import Function, kernel_function
from ..modules import (
    ORIGIN,
    Lowered,
    asks,
    coefficients,
    functions,
    heading,
    is_indexed,
    lowered,
    primitives,
)
from ..source import real_number
from .declaring import declaration, derives, literal_of
from .target import CYTHON

HEADER = f"# {ORIGIN}"


@dataclass(frozen=True)
class Emitted:
    """The texts of a module."""

    name: str
    pyx: str
    pxd: str


def emit(layer: Layer, made: Sequence[Program] | None = None) -> Emitted:
    """The Cython module of a layer: its kernels, or those of the given programs.

    A recurrent network's are those over sequences; its steps are functions that these call.
    """
    context = _context(lowered(layer, made))
    pyx, pxd = (render(f"{CYTHON.folder}/module.{kind}.j2", **context) for kind in ("pyx", "pxd"))
    return Emitted(layer.name, pyx, pxd)


def _context(made: Lowered) -> dict[str, Any]:
    inline, direct = functions(made.all, CYTHON)
    numbers = [real_number(value, CYTHON) for value in coefficients(made.all)]
    texts = [*numbers, *(text for f in inline for text in _texts(f))]
    called = {name for name in CALLED if any(f"{name}(" in text for text in texts)}
    steps = [kernel_function(kernel, CYTHON) for kernel in made.steps]
    kernels = [kernel_function(k, CYTHON) | declaration(k) for k in made.kernels]
    divided = ["floordiv"] if "floordiv(" in str([*steps, *kernels]) else []
    interrupted = ["interrupted"] if asks(made.all) else []
    return heading(made.layer) | {
        "header": HEADER,
        "indexed": is_indexed(made.all),
        "derived": any(derives(kernel) for kernel in made.all),
        "constants": [c for c in ("INFINITY", "NAN") if any(c in text for text in texts)],
        "elementary": ["real", *sorted(called | set(direct))],
        "primitives": [*primitives(made.all), *divided, *interrupted],
        "functions": inline,
        "steps": steps,
        "kernels": kernels,
        "roles": [f"{name}={literal_of(value)}" for name, value in made.roles.items()],
    }


def _texts(function: Function) -> list[str]:
    return [function.result, *(text for _, text in function.lets)]
