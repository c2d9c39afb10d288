"""The sections of a layer's document: declaration, derivation, algorithm and its cost."""

from __future__ import annotations

import inspect
import linecache
from collections.abc import Callable, Iterator

import sympy

from ...evidence.checks.cases import Cases
from ...kernels.lowering.cost import count, shortest
from ...kernels.lowering.kernel import Kernel
from ...kernels.lowering.lower import lower
from ...language.expressions import Node, RunningSum, Variable
from ...language.reading import Reading
from ...language.roles import FIXED, GIVEN, MASK, PARAMETER, STATE
from ...language.walk import topological
from ...models.layers import Layer
from ...models.networks import Network
from ...models.programs import BATCH, programs, result_letter
from ..typesetting.domains import space_latex
from ..typesetting.escapes import plain, typed
from ..typesetting.letters import word
from ..typesetting.linear_algebra import CUMSUM
from ..typesetting.typography import TRANSPOSED, raised, value
from .algorithm import assignments, read_by_name
from .algorithm import check as check_algorithm
from .blocks import Algorithm, Block, Display, Heading, Prose, Verbatim
from .entrywise import equations as scalar_equations
from .labels import Labels
from .problem import SEED, Problem
from .steps import Steps

FIRST_ORDER = Heading("First order")
ASSERTED = (
    "All derivatives are taken at the arguments of ${value}$. Numbers in parentheses refer to "
    "A. L. Caterini, A Novel Mathematical Framework for the Analysis of Neural Networks, 2017. "
    "Each equation has been checked in double precision at one point{sizes}: both sides agree up "
    "to rounding, and tangents agree with central differences."
)

RUNNING_SUMS = (
    rf"The function ${CUMSUM}$ gives the running sums along the last axis, from the first entry "
    rf"on; its transpose ${raised(CUMSUM, TRANSPOSED)}$ gives those from the last entry back."
)

PLURALS = {
    STATE: "States",
    PARAMETER: "Parameters",
    GIVEN: "Given",
    MASK: "Masks",
    FIXED: "Fixed",
}
SAID = {
    FIXED: " Fixed arguments are constant: the same for all points of a batch, with no derivative."
}


class _Explained(Reading[str]):
    """The sentence that explains the notation of a node, "" where it needs none."""

    def running_sum(self, node: RunningSum) -> str:
        return RUNNING_SUMS

    def _none(self, node: Node) -> str:
        return ""

    variable = constant = linear_combination = elementwise = contraction = argmax = _none
    tuple_ = projection = held = potential = jet = _none


class Sections:
    """The blocks of a document, with its letters."""

    def __init__(self, problem: Problem, letters: Callable[[str], str]) -> None:
        self.problem, self.layer, self.letters = problem, problem.layer, letters
        self.steps = Steps(problem, Labels(problem.layer, letters=letters))

    def blocks(self) -> Iterator[Block]:
        """Declaration, spaces and formula, first and second order, algorithm."""
        yield from self._declaration()
        yield from self._formula()
        yield FIRST_ORDER
        if self.layer.differentiable:
            yield from self.steps.first_order()
            yield Heading("Second order")
            yield from self.steps.second_order()
        else:
            yield Prose("There are no derivatives to take: all arguments are given or fixed.")
        yield from self.algorithms()

    def _declaration(self) -> Iterator[Block]:
        """The source of the declaration, and the spaces."""
        source = source_of(self.layer)
        if source:
            yield Heading("Declaration")
            yield Verbatim(typed(source))
        yield Heading("Spaces and formula")
        for role in dict.fromkeys(a.role for a in self.layer.arguments):
            names = [a.variable for a in self.layer.arguments if a.role == role]
            what = PLURALS[role] if len(names) > 1 else role.capitalize()
            yield Prose(f"{what}: {self._in(names)}.{SAID.get(role, '')}")

    def _in(self, variables: list[Variable]) -> str:
        """x in E, W in H."""
        pairs = ((self.letters(x.name), space_latex(x.space, self.letters)) for x in variables)
        return ", ".join(rf"${x} \in {space}$" for x, space in pairs)

    def _formula(self) -> Iterator[Block]:
        """The lines, the scalar functions, a network's loss, and how equations were checked."""
        yield from self.steps.rewriting()
        yield from self.steps.formula()
        scalars = tuple(scalar_equations(self.layer))
        if scalars:
            yield Prose("Scalar functions are applied entry by entry, with")
            yield Display(scalars)
        order = topological(self.layer.rewritten.output)
        yield from (Prose(said) for said in dict.fromkeys(map(_Explained(), order)) if said)
        yield from self._loss()
        point = self.problem.point
        sizes = ", ".join(f"${self.letters(str(n))} = {count}$" for n, count in point.sizes.items())
        said = f" with {sizes}" if sizes else ""
        yield Prose(ASSERTED.format(value=self.steps.labels.value, sizes=said))

    def _loss(self) -> Iterator[Block]:
        """A network's loss, and what it compares the output with."""
        if isinstance(self.layer, Network) and self.layer.loss is not None:
            loss = self.layer.loss
            output = self.letters(result_letter(self.layer))
            others = [a.variable for a in loss.function.arguments if a.variable is not loss.input]
            of_input = [x for x in others if x in self.layer.state]
            data = self._in([x for x in others if x not in of_input])
            target = f", compared with the input {self._in(of_input)} itself" if of_input else ""
            yield Prose(
                f"The loss $J$ of one point is ${word(loss.name)}$ of the output ${output}$"
                f"{target}{f', given {data}' if data else ''}."
            )

    def algorithms(self) -> Iterator[Block]:
        """The kernels' lines, run as they are printed, and their cost."""
        made = programs(self.layer)
        case = Cases(self.layer, made, SEED).four
        yield Heading("The compiled algorithm")
        yield Prose(
            rf"For each of the ${batch_letter(self.layer)}$ points of a batch. A line with "
            r"$\mathrel{+}=$ adds to the contents of its array; values saved by forward are read "
            "by backward."
        )
        kernels = [lower(program) for program in made]
        read = set().union(*map(read_by_name, kernels))
        for kernel in kernels:
            check_algorithm(kernel, case)
            lines = tuple(assignments(kernel, read))
            yield Algorithm(plain(kernel.program.name), lines, self._cost(kernel))

    def _cost(self, kernel: Kernel) -> str:
        """Flops and calls, in closed form."""
        flops, calls = (self._closed(expression) for expression in count(kernel))
        called = f" and ${calls}$ calls of elementwise functions" if calls != "0" else ""
        return f"${flops}$ floating-point operations{called}."

    def _closed(self, expression: sympy.Expr) -> str:
        """A number of operations in closed form, in plain brackets, so that TeX can break it."""
        batch = batch_letter(self.layer)
        text = value(
            shortest(expression), lambda name: batch if name == BATCH.name else self.letters(name)
        )
        return text.replace(r"\left(", "(").replace(r"\right)", ")")


def source_of(layer: Layer) -> str:
    """The source of the declaration, if it can be read."""
    if layer.place is None:
        return ""
    lines = linecache.getlines(str(layer.place.file))[layer.place.line - 1 :]
    return "".join(inspect.getblock(lines)).rstrip() if lines else ""


def batch_letter(layer: Layer) -> str:
    """The letter for the number of points of a batch: B, or one that is free."""
    return next(letter for letter in ("B", "N", r"\beta") if letter not in layer.words)
