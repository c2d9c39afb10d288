"""What a kernel takes, as data, and the text of a function's signature and declarations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import sympy

from ...language.accesses import is_at_least_zero
from ..lowering.kernel import Kernel
from ..statements.instances import instances
from ..statements.loops import Asked, For, Let
from ..statements.scalars import Buffer
from .places import address
from .target import Kind, Target


@dataclass(frozen=True)
class Parameter:
    """A pointer that a kernel takes: to what, and whether it is only read."""

    name: str
    kind: Kind
    constant: bool


def kind_of(buffer: Buffer) -> Kind:
    """What the entries of a buffer are."""
    return "index" if buffer.kind == "index" else "real"


def buffers(kernel: Kernel) -> list[Buffer]:
    """The arrays of a call in their order, without saved values and workspace."""
    return [buffer for group in (*kernel.arguments, *kernel.results) for buffer in group]


def within(kernel: Kernel) -> list[sympy.Expr]:
    """Extents within the layer that some sizes make less than 1, of no array of the call."""
    shown = {extent for buffer in buffers(kernel) for extent in buffer.shape}
    extents = kernel.program.layer.derived_extents
    return [e for e in extents if e not in shown and not is_at_least_zero(e - 1)]


def parameters(kernel: Kernel) -> list[Parameter]:
    """The pointers that a kernel takes behind its sizes."""
    given = {buffer.name for group in kernel.arguments for buffer in group}
    made = [Parameter(b.name, kind_of(b), b.name in given) for b in buffers(kernel)]
    if kernel.saved:
        made.append(Parameter("saved", "real", kernel.program.reads_saved))
    if kernel.workspace:
        made.append(Parameter("workspace", "real", False))
    return made


def signature_lines(kernel: Kernel, to: Target) -> Iterator[str]:
    """The parameters of the function, sizes first, some in a line."""
    yield ", ".join(f"{to.type('size')} {size}" for size in kernel.sizes)
    pointers = [to.pointer(p.kind, p.name, p.constant) for p in parameters(kernel)]
    yield from lines(pointers, 4)


def lines(texts: Sequence[str], count: int) -> list[str]:
    """Texts with commas between them, so many in a line."""
    return [", ".join(texts[k : k + count]) for k in range(0, len(texts), count)]


def pointers(kernel: Kernel, to: Target) -> Iterator[tuple[str, str]]:
    """Where saved values and workspace begin: a pointer's declaration and its address."""
    start = sympy.S.Zero
    used = set(instances(kernel.steps, Buffer))
    for buffer in kernel.saved:
        if buffer in used:
            declared = to.pointer("real", buffer.name, kernel.program.reads_saved)
            yield declared, address("saved", start, to)
        start = start + buffer.count
    for buffer, offset in kernel.workspace:
        yield to.pointer("real", buffer.name, False), address("workspace", offset, to)


def declared(kernel: Kernel, to: Target) -> list[str]:
    """The declarations of a kernel's indices and scalars."""
    indices, scalars = lines(kernel.indices, 8), lines(_scalars(kernel), 8)
    return [
        *(f"{to.type('size')} {line}" for line in indices),
        *(f"{to.type('real')} {line}" for line in scalars),
    ]


def _scalars(kernel: Kernel) -> list[str]:
    """Scalars; those that only some results ask for begin as 0: a C compiler can't see more."""
    loops = instances(kernel.steps, For, below=False)
    conditions = [asked for loop in loops for asked in instances(loop, Asked, below=False)]
    optional = {let.name for asked in conditions for let in instances(asked, Let)}
    return [f"{name} = 0" if name in optional else name for name in kernel.scalars]
