"""Functions as the templates see them: an elementwise operation, and a kernel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sympy

from ...language.scalars.operations import Operation
from ..lowering.cost import cost
from ..lowering.kernel import Kernel
from .comments import argument_lines, comment_lines
from .scalars import function_body
from .signatures import declared, pointers, signature_lines
from .target import Target
from .views import views


@dataclass(frozen=True)
class Function:
    """An elementwise operation as an inline function: its lets and its result."""

    name: str
    formula: str
    arguments: tuple[str, ...]
    lets: tuple[tuple[str, str], ...]
    result: str


def function(psi: Operation, to: Target) -> Function | None:
    """The inline function of an operation; None where the runtime has it under the same name."""
    names = tuple(argument.name for argument in psi.arguments)
    if psi.keeps_common:
        return Function(psi.name, str(psi.body), names, (), _choice(psi.body, to))
    lets, result = function_body(psi.stable, psi.arguments, to)
    if not lets and result == to.call(psi.name, names):
        return None
    return Function(psi.name, str(psi.body), names, tuple(lets), result)


def _choice(selection: sympy.Piecewise, to: Target) -> str:
    """A selection as one conditional.  It keeps no NaN of its mask: masks are numbers."""
    *first, (value, _) = selection.args
    text = str(value)
    for chosen, condition in reversed(first):
        asked = f"{condition.lhs} {condition.rel_op} {condition.rhs}"
        text = to.choice(str(chosen), asked, text)
    return text


def kernel_function(kernel: Kernel, to: Target) -> dict[str, Any]:
    """A kernel as a function: its comments, its signature, what it declares and what it does."""
    return {
        "name": kernel.program.name,
        "law": comment_lines(kernel.program.law),
        "signature": ",\n    ".join(signature_lines(kernel, to)),
        "arguments": comment_lines(argument_lines(kernel)),
        "cost": comment_lines(cost(kernel)),
        "pointers": list(pointers(kernel, to)),
        "declared": declared(kernel, to),
        "steps": views(kernel.steps, to),
    }
