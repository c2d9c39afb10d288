r"""The document of a recurrent network: its layers, then BPTT, RTRL and the hybrid of its cell.

    h_i = f(h_{i-1}; x_i; theta),   y^_i = g(h_i; zeta),   J = sum over i of w_i loss(y^_i, y_i)

Source: thesis chapter 5.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ...evidence.checks.drawing import Point
from ...language.expressions import Variable
from ...language.roles import Argument
from ...language.text import Writer
from ...models.cells import inputs_of
from ...models.levels import BACKWARD, Recurrent
from ...models.programs import BATCH
from ..layers import entrywise
from ..layers.blocks import Asserted, Block, Display, Heading, Prose
from ..layers.claims import Equation, Side, check
from ..typesetting.domains import space_latex
from ..typesetting.escapes import plain
from ..typesetting.letters import below
from ..typesetting.writer import latex_writer
from .backward_section import TOTAL, BackwardSection
from .hybrid_section import HybridSection
from .network_problem import NetworkProblem
from .online_section import OnlineSection
from .parts import Part
from .unrolled import Floor

FUTURE = (
    "Real-time recurrent learning and the hybrid do not apply: a cell runs backward in time, so "
    "its state depends on the whole future of the sequence, which an influence that is carried "
    "forward cannot know."
)
LEVELS = (
    "Real-time recurrent learning is derived for a single cell. Cells on several levels can be "
    "stacked into one, whose state consists of all their states."
)
NOTHING = "No parameter influences the state, so there is nothing to carry forward."
LEVELS_BELOW = "Levels are numbered from the bottom."
ARROWS = (
    r"The subscript $\rightarrow$ marks what belongs to a cell that runs forward in time, "
    r"$\leftarrow$ what belongs to one that runs backward."
)
NOT_DERIVED = "there is no derivative with respect to these"
UNOBSERVED = "There is no loss, and thus no gradient."
ASSERTED = (
    "Numbers in parentheses refer to A. L. Caterini, A Novel Mathematical Framework for the "
    "Analysis of Neural Networks, 2017. Each equation has been checked in double precision at one "
    "point with unequal sizes: equations of a single step against the calculus on the whole "
    "formula, sums over time against the calculus on a short sequence written as one expression, "
    "and tangents of single functions against central differences. The second order of a cell is "
    "in the document of that cell."
)


def recursions(network: Recurrent) -> tuple[tuple[Block, ...], Writer]:
    """The blocks of a network's document, and the writer of its formulas.

    Every equation is checked while it is made; raises FalseEquation if one does not hold.
    """
    problem = NetworkProblem(network)
    blocks = tuple(Recursions(problem).blocks())
    symbols = problem.letters.looks | problem.times.symbols
    times = problem.times.times
    names = network.form_names
    writer = latex_writer({}, symbols=symbols, family=BATCH, form_names=names, times=times)
    return blocks, writer


class Recursions:
    """The blocks of a network, each section checked at its point while it is made."""

    def __init__(self, problem: NetworkProblem) -> None:
        self.p, self.i, self.letters = problem, problem.i, problem.letters
        self.backward = BackwardSection(problem)

    def blocks(self) -> Iterator[Block]:
        """The sequence, the layers, the recursions."""
        yield from self._checked(self._sequence())
        for part in self.p.parts:
            yield from self._part(part)
        if self.p.loss is None:
            yield Prose(UNOBSERVED)
            return
        yield from self._checked(self.backward.errors())
        yield from self._checked(self.backward.blocks())
        online = OnlineSection(self.backward) if self.p.network.is_online else None
        if online is not None and online.J:
            yield from self._checked(online.blocks())
            yield from self._checked(HybridSection(online).blocks())
        else:
            yield Heading("Real-time recurrent learning")
            yield Prose(self._why_not())

    def _why_not(self) -> str:
        """Why RTRL does not apply."""
        if self.p.network.is_online:
            return NOTHING
        backward = any(cell.place.direction == BACKWARD for _, _, cell in self.p.cells)
        return FUTURE if backward else LEVELS

    def _checked(self, blocks: Iterator[Block]) -> Sequence[Block]:
        made = list(blocks)
        found = equations_of(made)
        check(self.p.network.name, found, self.p.point(found))
        return made

    # --- the sequence

    def _sequence(self) -> Iterator[Block]:
        yield Heading("The sequence")
        i, length = self.i, self.p.length
        yield Prose(rf"At each time ${i} = 1, \dots, {length}$:")
        rows = [self._transition(cell) for _, _, cell in self.p.cells]
        rows += [self._prediction(floor) for floor in self.p.floors]
        yield Display((*rows, *self._loss()))
        said = [LEVELS_BELOW] if len(self.p.levels) > 1 else []
        said += [ARROWS] if any(len(level.cells) > 1 for level in self.p.levels) else []
        yield Prose(" ".join([*said, self._spaces()]))
        yield Prose(ASSERTED)

    def _at(self, x: Variable, time: str) -> str:
        return below(self.letters(x.name), time)

    def _row(self, left: str, right: str, reason: str) -> Equation:
        """A definition, which needs no check."""
        return Equation(Side(left, self.p.weight), Side(right, self.p.weight), reason)

    def _transition(self, cell: Part) -> Equation:
        """h_i = f(h_{i-1}, x_i; theta) (5.1)."""
        f, state = cell.place.function, cell.place.state
        inputs = [a.variable for a in inputs_of(f)]
        first = [self._at(state, self.p.before(cell)), *(self._at(x, self.i) for x in inputs)]
        theta = ", ".join(self.letters(x.name) for x in f.theta)
        arguments = f"({', '.join(first)}; {theta})" if theta else f"({', '.join(first)})"
        return self._row(self._at(state, self.i), f"{cell.f}{arguments}", "(5.1)")

    def _prediction(self, floor: Floor) -> Equation:
        """y^_i = g(h_i; zeta) (5.3)."""
        g = floor.prediction
        states = ", ".join(self._at(cell.place.state, self.i) for cell in floor.cells)
        zeta = ", ".join(self.letters(x.name) for x in g.place.theta)
        arguments = f"({states}; {zeta})" if zeta else f"({states})"
        return self._row(self.predicted(floor), f"{g.f}{arguments}", "(5.3)")

    def predicted(self, floor: Floor) -> str:
        """y^_i, or the input of the level above."""
        k = self.p.floors.index(floor)
        if floor is self.p.floors[-1]:
            return below(r"\hat{y}", self.i)
        above = self.p.levels[k + 1].cells[0].function
        return self._at(above.arguments[1].variable, self.i)

    def _loss(self) -> Iterator[Equation]:
        """J (5.4)."""
        if self.p.loss is not None:
            targets = ", ".join(self._at(a.variable, self.i) for a in self.p.network.targets)
            weight = self._at(self.p.weight, self.i)
            top = self.predicted(self.p.floors[-1])
            one = rf"{weight}\,\ell({', '.join(x for x in (top, targets) if x)})"
            yield self._row(TOTAL, f"{self.backward.over} {one}", "(5.4), weighted")

    def _spaces(self) -> str:
        """The spaces of what is given and of what is learned."""
        said = []
        for _, _, cell in self.p.cells:
            x, first = cell.place.state, self.p.first(cell)
            how = "learned" if self.p.network.learned else "given"
            said.append(
                f"State: ${self._in(x)}$; its initial value ${self._at(x, first)}$ is {how}."
            )
        first_cell = self.p.floors[0].cells[0]
        inputs = [a.variable for a in inputs_of(first_cell.place.function)]
        said.append(f"Input: {self._list(inputs)}.")
        parameters = [*dict.fromkeys(x for part in self.p.parts for x in part.place.parameters)]
        said.append(f"Parameters: {self._list(parameters)}." if parameters else "")
        fixed = [*dict.fromkeys(x for part in self.p.parts for x in part.place.function.fixed)]
        said += [f"Fixed: {self._list(fixed)}; {NOT_DERIVED}."] if fixed else []
        targets = [a.variable for a in self._targets()]
        said.append(
            f"Target: {self._list(targets)}; the weight is zero where it is missing."
            if targets
            else ""
        )
        return " ".join(said)

    def _targets(self) -> list[Argument]:
        loss = self.p.loss
        return [] if loss is None else list(loss.place.function.arguments[1:])

    def _list(self, variables: Sequence[Variable]) -> str:
        return ", ".join(f"${self._in(x)}$" for x in variables)

    def _in(self, x: Variable) -> str:
        return rf"{self.letters(x.name)} \in {space_latex(x.space, self.letters)}"

    # --- single places

    def _part(self, part: Part) -> Iterator[Block]:
        """The formula of a layer, and its derivatives in four steps."""
        f, steps, made = part.place.function, self.p.steps(part), list[Block]()
        made.append(Heading(self._title(part)))
        if f.doc and part is not self.p.loss:
            made.append(Prose(plain(f.doc.splitlines()[0])))
        made += steps.formula()
        scalars = tuple(entrywise.equations(f))
        if scalars:
            made += [Prose("Scalar functions are applied entry by entry, with"), Display(scalars)]
        if part is not self.p.loss:
            made += steps.first_order()
        values = {**part.problem.point.values, **entrywise.points(part.problem)}
        check(self.p.network.name, equations_of(made), Point(part.problem.point.sizes, values))
        yield from made

    def _title(self, part: Part) -> str:
        kind = "cell" if part.is_cell else "loss" if part is self.p.loss else "prediction"
        return f"The {kind} ${part.f}$"


def equations_of(blocks: Sequence[Block]) -> list[Equation]:
    """The equations that are displayed or stated in sentences."""
    return [e for b in blocks if isinstance(b, (Display, Asserted)) for e in b.equations]
