"""The four steps of a derivation as blocks, for the first order and for the second."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from ...language.abbreviations import abbreviated
from ...language.expressions import Node, Tuple, Variable, is_zero, zero
from ...language.spaces import Real, leaves
from .algorithm import LONGEST
from .blocks import Asserted, Block, Display, Heading, Prose
from .claims import Difference, Equation, Side, in_names
from .definitions import Closing
from .labels import Labels
from .problem import Problem
from .pullback import PullBack, tangent_equations, totals

TANGENT = "Step 1: derive the tangent."
PAIRED = "Steps 2 and 3: pair it with a cotangent and move factors across."
READ = "Step 4: read off the adjoint."
PAIRS = (
    "Let ${w}$ be any element of the output space. The cotangent that a tangent is paired with has "
    "the same name, with a bar in place of the dot."
)
PAIRED_WITH_ONE = (
    "The cotangent that a tangent is paired with has the same name, with a bar in place of the dot."
)
MANY = 4  # directions in one line; a longer list may be broken
COORDINATES = (
    r"Here $\langle\cdot,\cdot\rangle$ is the sum of the products of coordinates. In a space with "
    r"the Gram matrix $G$ the inner product is $\langle x, y\rangle_G = \langle Gx, y\rangle$, so "
    r"a cotangent is multiplied by $G$ at the beginning and by $G^{-1}$ at the end (the Riesz map)."
)


class Steps:
    """The blocks of a problem."""

    def __init__(self, problem: Problem, labels: Labels | None = None) -> None:
        self.problem, self.labels = problem, labels or Labels(problem.layer)

    def side(self, node: Node) -> Side:
        """An expression in the names of the lines."""
        return Side(node, self.problem.closing(node))

    # --- the formula

    def rewriting(self) -> Iterator[Block]:
        """The declared formula, and the laws that rewrite it before differentiation."""
        p = self.problem
        declared, laws = p.opened(p.layer.output), p.layer.rewrites
        if laws:
            sides = [p.opened(side) for x in laws for side in (x.before, x.after)]
            parts, short = in_names((declared, *sides), self._names(declared, *sides))
            shown = [Side(a, b) for a, b in zip(short, (declared, *sides), strict=True)]
            value = Side(self.labels.value, p.closing(p.output))
            yield Display((*parts, Equation(value, shown[0], "as declared")))
            yield Prose("Before differentiation, the formula is rewritten by")
            rows = zip(shown[1::2], shown[2::2], laws, strict=True)
            yield Display(tuple(Equation(a, b, x.law) for a, b, x in rows))
            yield Prose("The result is")

    def _names(self, *roots: Node) -> Mapping[Node, str]:
        """Names for parts of formulas that are too long to be written out."""
        p = self.problem
        taken = {x.name for x in p.variables()} | {x.variable.name for x in p.definitions.lines}
        taken |= p.layer.words | set(map(str, p.layer.sizes))
        return abbreviated(roots, {}, taken, longest=LONGEST)

    def formula(self) -> Iterator[Block]:
        """The parts of direct products, every line, then the value of the layer."""
        p, lines = self.problem, self.problem.definitions.lines
        parts = [
            Equation(Side(self.labels.letters(x.name), node), self.side(node))
            for x, node in p.definitions.arguments.items()
            if isinstance(node, Tuple)
        ]
        shown = [Equation(self.side(x.variable), self.side(x.expression)) for x in lines]
        whole = Side(self.labels.value, p.opened(p.layer.output))
        if len(lines) == 1 and lines[0].variable is p.output:
            yield Display((*parts, Equation(whole, shown[0].right)))
        else:
            yield Display((*parts, *shown, Equation(whole, self.side(p.output))))

    # --- the first order

    def first_order(self) -> Iterator[Block]:
        """The four steps of D and nabla."""
        p = self.problem
        yield Heading(TANGENT, 2)
        yield self.tangents()
        yield Prose("One direction at a time:")
        yield Display(tuple(self._derivative(name) for name in p.first))
        yield from self._moved(p.back, p.seeds)
        yield Heading(READ, 2)
        yield Display(tuple(e for name in p.first for e in self._adjoint(name)))

    def tangents(self) -> Display:
        """The rows of step 1."""
        p = self.problem
        return Display(tangent_equations(p.definitions.lines, p.tangents, p.dots, p.closing))

    def _derivative(self, name: str) -> Equation:
        """D f . v = .., checked against the difference of the whole formula."""
        p, along = self.problem, self.problem.alone(name)
        meaning, shown = self._alone(along)
        y_dot = p.tangents.of(p.output)
        label = self.labels.derivative(name, p.direction(name))
        measured = Difference(p.closing(p.output), tuple(along.items()), whole=True)
        right = Side(shown(y_dot), meaning(y_dot), otherwise=y_dot)
        return Equation(Side(label, measured), right, "the other directions are 0")

    def _alone(self, along: Mapping[Variable, Variable]) -> tuple[Closing, Closing]:
        """The meaning of tangents along these directions only, and how they are then shown."""
        p = self.problem
        only: dict[Node, Node] = {d: along.get(x, zero(x.space)) for x, d in p.dots.items()}
        meaning = Closing(dict(only)).add(p.definitions.lines).add(p.tangents.lines)
        return meaning, Closing(dict(only)).add(p.tangents.lines)

    def _moved(self, back: PullBack, seeds: list[tuple[Variable, Node]]) -> Iterator[Block]:
        """Steps 2 and 3, line by line, then together."""
        if back.chains:
            yield Heading(PAIRED, 2)
            if self._has_grams():
                yield Prose(COORDINATES)
            w = self.labels.of(self.problem.w)
            yield Prose(PAIRS.format(w=w) if w != "1" else PAIRED_WITH_ONE)
            yield from _displays(back.chains)
            yield Prose("All lines combined:")
            yield Display((totals(seeds, back.arrived, self.problem.closing),))

    def _has_grams(self) -> bool:
        """Whether a space has its own inner product."""
        spaces = [x.space for x in self.problem.variables()]
        found = (leaf for space in spaces for leaf in leaves(space))
        return any(isinstance(leaf, Real) and any(leaf.grams) for leaf in found)

    def _adjoint(self, name: str) -> Iterator[Equation]:
        """D* f . w = x_bar, checked against the calculus on the whole formula."""
        p, found = self.problem, self.problem.adjoint(name)
        whole = p.opened(p.layer.derivative(name).adjoint @ p.w)
        left = Side(self.labels.adjoint(name, p.w), whole)
        expanded = Closing().add(p.back.bars)(found)
        yield Equation(left, self.side(found), "paired with the direction")
        if expanded is not found:
            yield Equation(left, Side(expanded, p.closing(found)), optional=True)

    # --- the second order

    def second_order(self) -> Iterator[Block]:
        """The four steps once more, for the tangents."""
        p = self.problem
        if not p.second_seeds:
            yield Prose("The second derivatives vanish wherever they exist.")
            yield Asserted(tuple(self._vanishing(a, b) for a in p.first for b in p.second))
            return
        yield Heading(TANGENT, 2)
        directions = [self.labels.letters(d.name) for d in p.deltas.values()]
        comma = r",\allowbreak " if len(directions) > MANY else ", "
        yield Prose(
            f"Along a second direction $({comma.join(directions)})$ the lines have tangents of the "
            "same form. The first directions are held fixed, and the tangents change by"
        )
        yield Display(self._second_tangents())
        yield from self._moved(p.second_back, p.second_seeds)
        yield Heading(READ, 2)
        yield from self._hooked_maps()

    def _second_tangents(self) -> tuple[Equation, ...]:
        """The rows that are new: tangents of tangents."""
        p = self.problem
        lines = (*p.definitions.lines, *p.tangents.lines)
        moved = p.second_tangents.moved
        again = {moved[x.variable] for x in p.definitions.lines if x.variable in moved}
        rows = tangent_equations(lines, p.second_tangents, p.deltas, p.closing)
        return tuple(row for row in rows if row.left.shown not in again)

    def _hooked_maps(self) -> Iterator[Block]:
        """The adjoints with one direction held at a time; one sentence lists those that vanish."""
        p = self.problem
        pairs = [(left, right) for left in p.first for right in p.second]
        found = {pair: list(self._hooked(*pair)) for pair in pairs}
        yield Prose("One first direction at a time, held by the hook; dots are tangents along it:")
        yield Display(tuple(e for equations in found.values() for e in equations))
        zeros = [pair for pair, equations in found.items() if not equations]
        if zeros:
            maps = [f"${self.labels.second_map(*pair)}$" for pair in zeros]
            yield Prose(f"The others vanish: {', '.join(maps)}.")
            yield Asserted(tuple(self._vanishing(*pair) for pair in zeros))

    def _hooked(self, left: str, right: str) -> Iterator[Equation]:
        """(e _| D D f)* . w = .., checked by differences (lemmas 2.2.2, 2.3.2)."""
        p = self.problem
        meaning, shown = self._alone(p.alone(left))
        meaning.add(p.back.bars).add(p.second_back.bars)
        found = p.second_adjoint(right)
        if is_zero(meaning(found)):
            return
        only = shown(found)
        if abbreviated((only,), {}):
            only = self._moving(meaning)(found)
        expanded = shown.add(p.back.bars).add(p.second_back.bars)(found)
        right_side = Side(expanded, meaning(found), otherwise=only)
        states = {x.name for x in p.layer.state}
        lemma = "lemma 2.2.2" if {left, right} <= states else "lemma 2.3.2"
        yield Equation(self._moved_adjoint(left, right), right_side, lemma)

    def _moving(self, meaning: Closing) -> Closing:
        """The names of tangents, without those that are zero."""
        dots = self.problem.tangents.moved.values()
        return Closing({dot: zero(dot.space) for dot in dots if is_zero(meaning(dot))})

    def _moved_adjoint(self, left: str, right: str) -> Side:
        """The hooked map's adjoint: the derivative of the adjoint by one argument along another."""
        p = self.problem
        label = self.labels.second(left, right, p.direction(left), p.w)
        adjoint = p.opened(p.layer.derivative(right).adjoint @ p.w)
        return Side(label, Difference(adjoint, tuple(p.alone(left).items()), whole=True))

    def _vanishing(self, left: str, right: str) -> Equation:
        """The hooked map's adjoint is zero."""
        side = self._moved_adjoint(left, right)
        nothing = zero(self.problem.layer.argument(right).space)
        return Equation(side, Side(nothing, nothing), "vanishes")


def _displays(chains: Iterable[tuple[Equation, ...]]) -> Iterator[Display]:
    """A display for each chain; one that only defines a cotangent is joined with the next."""
    waiting: tuple[Equation, ...] = ()
    for chain in chains:
        waiting = (*waiting, *chain)
        if chain and isinstance(chain[-1].left.shown, tuple):
            yield Display(waiting)
            waiting = ()
    if waiting:
        yield Display(waiting)
