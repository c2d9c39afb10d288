"""Comments in lines that fit on a page, and what a kernel takes and gives in words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from textwrap import TextWrapper

from ..lowering.kernel import Kernel
from ..statements.scalars import Buffer


def comment_lines(lines: Iterable[str], width: int = 84) -> list[str]:
    """Comment lines, a long one continued below and indented."""
    made = TextWrapper(
        width, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False
    )
    return [part for line in lines for part in made.wrap(line)]


def argument_lines(kernel: Kernel) -> Iterator[str]:
    """A line for each argument and result of a kernel: its shape, and what becomes of it."""
    program = kernel.program
    added = "added to, not computed where NULL" if len(program.results) > 1 else "added to"
    for argument, group in zip(program.arguments, kernel.arguments, strict=True):
        yield f"{argument.name}: {_shapes(group)}, {argument.role}"
    for result, group in zip(program.results, kernel.results, strict=True):
        how = added if program.adds(result) else "overwritten"
        yield f"{result.name}: {_shapes(group)}, {how}"
    if kernel.saved:
        how = "read" if program.reads_saved else "written unless NULL"
        yield f"saved: {', '.join(b.name for b in kernel.saved)}, {how}"


def _shapes(group: Iterable[Buffer]) -> str:
    return " * ".join(f"({', '.join(map(str, b.shape))})" for b in group)
