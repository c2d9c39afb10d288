"""The C module of a layer, its functions alone: decided here, printed by templates/c/."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sympy

from ....language.rendering import render
from ....models.layers import Layer
from ....models.programs import Program
from ...lowering.kernel import Kernel
from ..functions import kernel_function
from ..modules import ORIGIN, functions, heading, lowered
from ..places import integer
from .target import REALS, C

DTYPES = tuple(C(dtype) for dtype in REALS)


@dataclass(frozen=True)
class EmittedC:
    """The texts of a C module: the functions, and the header that declares them."""

    name: str
    c: str
    h: str


def emit_c(layer: Layer, made: Sequence[Program] | None = None) -> EmittedC:
    """The kernels of a layer as C functions NAME_KERNEL_float64 and _float32, sizes first.

    Nothing is checked there: the caller's arrays are C-contiguous and of the shapes that the
    comment of each function says, and `saved` and `workspace` have as many entries as the
    functions NAME_KERNEL_saved and _workspace count.
    """
    found = lowered(layer, made)
    context = heading(layer) | {"header": ORIGIN}
    texts = [_functions(found.steps, found.kernels, context, to) for to in DTYPES]
    counts = [_counts(kernel, DTYPES[0]) for kernel in found.kernels]
    h = render("c/module.h.j2", **context, kernels=counts, texts=[t for _, t in texts])
    c = render("c/module.c.j2", **context, kernels=counts, texts=[t for t, _ in texts])
    return EmittedC(layer.name, c, h)


def _functions(
    steps: Sequence[Kernel], kernels: Sequence[Kernel], context: dict[str, Any], to: C
) -> tuple[str, str]:
    """The functions of one dtype, and their declarations."""
    inline, _ = functions([*steps, *kernels], to)
    values = context | {
        "dtype": to.dtype,
        "real": to.type("real"),
        "functions": inline,
        "steps": [kernel_function(kernel, to) for kernel in steps],
        "kernels": [kernel_function(kernel, to) for kernel in kernels],
    }
    return render("c/functions.c.j2", **values), render("c/functions.h.j2", **values)


def _counts(kernel: Kernel, to: C) -> dict[str, str]:
    """How many entries saved values and workspace have, by the sizes."""
    return {
        "name": kernel.program.name,
        "sizes": ", ".join(f"{to.type('size')} {size}" for size in kernel.sizes),
        "used": " ".join(f"(void){size};" for size in kernel.sizes),
        "saved": integer(sympy.expand(kernel.saved_count), to),
        "workspace": integer(sympy.expand(kernel.workspace_count), to),
    }
