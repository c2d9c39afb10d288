"""What lowering makes of a program: a kernel, its arrays and its steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import sympy

from ...language.expressions import Node
from ...models.programs import Program
from ..statements.loops import Statement
from ..statements.scalars import Buffer


@dataclass(frozen=True)
class Line:
    """What a formula of a step is made of: target = weight right, or += weight right."""

    target: str
    sign: str
    right: Node
    weight: sympy.Expr


@dataclass(frozen=True)
class Kernel:
    """A lowered program: its buffers, its steps, and the names of its indices and scalars."""

    program: Program
    sizes: tuple[sympy.Symbol, ...]
    arguments: tuple[tuple[Buffer, ...], ...]
    results: tuple[tuple[Buffer, ...], ...]
    saved: tuple[Buffer, ...]
    workspace: tuple[tuple[Buffer, sympy.Expr], ...]
    workspace_count: sympy.Expr
    steps: tuple[Statement, ...]
    indices: tuple[str, ...]
    scalars: tuple[str, ...]
    names: Mapping[Node, str]
    lines: Mapping[str, Line]
    saved_nodes: tuple[Node, ...]
    result_nodes: tuple[tuple[Node, ...], ...]
    costs: tuple[str, ...] | None = None  # lines about the cost, where they are not counted
    callees: Mapping[str, Kernel] = field(default_factory=dict)  # the kernels that it calls

    @property
    def saved_count(self) -> sympy.Expr:
        """The number of entries that forward saves for backward."""
        return sum((buffer.count for buffer in self.saved), sympy.S.Zero)
