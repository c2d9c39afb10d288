"""The sections of a layer's document: declaration, derivation, algorithm and its cost."""

from __future__ import annotations

import inspect
import linecache
from collections.abc import Iterator

import sympy

from ..checks.cases import Cases
from ..kernels.cost import count
from ..kernels.lower import Kernel, lower
from ..layers import Layer
from ..programs import BATCH, programs
from ..roles import GIVEN, MASK, PARAMETER, STATE
from .algorithm import assignments
from .algorithm import check as check_algorithm
from .blocks import Algorithm, Block, Display, Heading, Prose, Verbatim
from .domains import space_latex
from .entrywise import equations as scalar_equations
from .escapes import plain, typed
from .letters import symbol
from .problem import SEED, Problem
from .steps import Steps
from .typography import value

FIRST_ORDER = Heading("First order")
ASSERTED = (
    "All derivatives are taken at the point of ${value}$. Numbers in parentheses are those of "
    "A. L. Caterini, A Novel Mathematical Framework for the Analysis of Neural Networks, 2017. "
    "Each equation has been asserted in double precision at one point{sizes}: both sides agree up "
    "to rounding, and tangents with central differences."
)


def declaration(layer: Layer) -> Iterator[Block]:
    """The user's own text, and the spaces."""
    source = source_of(layer)
    if source:
        yield Heading("Declaration")
        yield Verbatim(typed(source))
    yield Heading("Spaces and formula")
    roles = {
        role: [a.variable for a in layer.arguments if a.role == role]
        for role in dict.fromkeys(a.role for a in layer.arguments)
    }
    for role, variables in roles.items():
        elements = ", ".join(rf"${symbol(x.name)} \in {space_latex(x.space)}$" for x in variables)
        yield Prose(f"{PLURALS[role] if len(variables) > 1 else role.capitalize()}: {elements}.")


PLURALS = {STATE: "States", PARAMETER: "Parameters", GIVEN: "Given", MASK: "Masks"}


def source_of(layer: Layer) -> str:
    """The text of the declaration, where it can be read."""
    if layer.place is None:
        return ""
    lines = linecache.getlines(str(layer.place.file))[layer.place.line - 1 :]
    return "".join(inspect.getblock(lines)).rstrip() if lines else ""


def steps_of(problem: Problem) -> Iterator[Block]:
    """Formula, first order, second order."""
    steps = Steps(problem)
    yield from steps.formula()
    scalars = tuple(scalar_equations(problem.layer))
    if scalars:
        yield Prose("The functions are applied entry by entry, with")
        yield Display(scalars)
    sizes = ", ".join(f"${symbol(str(n))} = {count}$" for n, count in problem.point.sizes.items())
    yield Prose(ASSERTED.format(value=steps.labels.value, sizes=f" with {sizes}" if sizes else ""))
    yield FIRST_ORDER
    yield from steps.first_order()
    yield Heading("Second order")
    yield from steps.second_order()


def algorithms(layer: Layer) -> Iterator[Block]:
    """The kernels' lines, run as they are printed, and what they cost."""
    made = programs(layer)
    case = Cases(layer, made, SEED).four
    yield Heading("The algorithm that is compiled")
    yield Prose(
        rf"For each of ${batch_letter(layer)}$ points of a batch. A line with "
        r"$\mathrel{+}=$ adds to what the array holds; what is kept by forward is read by backward."
    )
    for program in made:
        kernel = lower(program)
        check_algorithm(kernel, case)
        yield Algorithm(plain(program.name), tuple(assignments(kernel)), cost(kernel))


def cost(kernel: Kernel) -> str:
    """Flops and calls, in closed form."""
    batch = batch_letter(kernel.program.layer)
    flops, calls = (_closed(expression, batch) for expression in count(kernel))
    called = f" and ${calls}$ calls of elementwise functions" if calls != "0" else ""
    return f"${flops}$ floating-point operations{called}."


def _closed(expression: sympy.Expr, batch: str) -> str:
    """A number of operations in closed form."""
    closed = sympy.factor_terms(sympy.expand(expression))
    return value(closed, lambda name: batch if name == BATCH.name else symbol(name))


def batch_letter(layer: Layer) -> str:
    """B, or a letter that nothing else has: the number of points of a batch."""
    taken = {a.name for a in layer.arguments} | set(map(str, layer.sizes))
    return next(letter for letter in ("B", "N", r"\beta") if letter not in taken)
