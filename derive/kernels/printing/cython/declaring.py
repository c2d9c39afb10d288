"""How a Cython module tells the edge what a kernel takes: the text of its declaration."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import sympy

from ....language.roles import MASK, Argument
from ....language.spaces import Indices, leaves
from ...lowering.cost import cost
from ...lowering.kernel import Kernel
from ...statements.scalars import Buffer
from ..comments import argument_lines
from ..places import integer
from ..signatures import buffers, lines, parameters, within
from .target import CYTHON, TYPES


def declaration(kernel: Kernel) -> dict[str, Any]:
    """What the edge knows of a kernel, and how it calls its function."""
    program = kernel.program
    arguments = zip(program.arguments, kernel.arguments, strict=True)
    results = zip(program.results, kernel.results, strict=True)
    return {
        "sizes": ", ".join(f"size[{k}]" for k in range(len(kernel.sizes))),
        "casts": lines(list(_casts(kernel)), 3),
        "doc": _doc(kernel),
        "size_names": tuple_of(f'"{size}"' for size in kernel.sizes),
        "declared_arguments": [
            _declared(a.name, _role(a), a, group, kernel) for a, group in arguments
        ],
        "declared_results": [
            _declared(r.name, "result", None, group, kernel) for r, group in results
        ],
        "mode": program.mode,
        "saved": _derived(kernel, kernel.saved_count) if kernel.saved else "",
        "saved_role": "read" if program.reads_saved else "written",
        "workspace": _derived(kernel, kernel.workspace_count) if kernel.workspace else "",
        "within": [_derived(kernel, extent) for extent in within(kernel)],
    }


def _casts(kernel: Kernel) -> Iterator[str]:
    for k, p in enumerate(parameters(kernel)):
        yield f"<{'const ' if p.constant else ''}{TYPES[p.kind]}*>array[{k}]"


def _doc(kernel: Kernel) -> str:
    arguments = [f"    {line}" for line in argument_lines(kernel)]
    return "\n".join([*kernel.program.law, "", *arguments, "", *cost(kernel)])


def _role(argument: Argument) -> str:
    return "given" if argument.role == MASK else argument.role


def _declared(
    name: str, role: str, argument: Argument | None, group: Iterable[Buffer], kernel: Kernel
) -> str:
    spaces = list(leaves(argument.variable.space)) if argument else [None] * len(list(group))
    made = [
        _leaf(buffer, space, argument, kernel) for buffer, space in zip(group, spaces, strict=True)
    ]
    return f'Argument("{name}", "{role}", {tuple_of(made)})'


def _leaf(buffer: Buffer, space: object, argument: Argument | None, kernel: Kernel) -> str:
    extents = tuple_of(_extent(kernel, extent) for extent in buffer.shape)
    if isinstance(space, Indices):
        return f'Leaf("{buffer.name}", {extents}, "index", {_extent(kernel, space.bound)})'
    if argument is not None and argument.role == MASK:
        return f'Leaf("{buffer.name}", {extents}, "mask")'
    return f'Leaf("{buffer.name}", {extents})'


def derives(kernel: Kernel) -> bool:
    """The kernel has saved values, workspace, or an extent that is a formula in the sizes."""
    plain = {*kernel.sizes}
    extents = [extent for buffer in buffers(kernel) for extent in buffer.shape]
    formulas = [e for e in extents if e not in plain and not e.is_Integer]
    return bool(kernel.saved or kernel.workspace or formulas or within(kernel))


def _extent(kernel: Kernel, extent: sympy.Expr) -> str:
    if extent in kernel.sizes:
        return f'"{extent}"'
    if extent.is_Integer:
        return str(extent)
    return _derived(kernel, extent)


def _derived(kernel: Kernel, expression: sympy.Expr) -> str:
    """A count in the sizes: its formula, for sentences, and the function that computes it."""
    formula = integer(sympy.expand(expression), CYTHON)
    return f'Derived("{formula}", lambda {", ".join(map(str, kernel.sizes))}: {formula})'


def literal_of(value: object) -> str:
    """A name, names or a truth value as Python text."""
    if isinstance(value, tuple):
        return tuple_of(f'"{name}"' for name in value)
    return f'"{value}"' if isinstance(value, str) else str(value)


def tuple_of(texts: Iterable[str]) -> str:
    """Texts as a tuple of Python."""
    texts = list(texts)
    return f"({texts[0]},)" if len(texts) == 1 else f"({', '.join(texts)})"
