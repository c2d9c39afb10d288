r"""BPTT of a network as blocks: \varepsilon_{i-1} = D^* f_i \varepsilon_i + D^* g\, e_{i-1}.

Source: thesis theorems 5.1.1, 5.1.5 and 5.1.7.  A single step is checked by itself, a sum over
time on a sequence of a few steps that the calculus derives as one expression.
"""

from __future__ import annotations

from collections.abc import Iterator

from ...calculus.maps import substituted
from ...language.expressions import LinearCombination, Node, Variable, variable
from ...vocabulary.linear import scale
from ..layers.blocks import Block, Display, Heading, Prose
from ..layers.claims import Equation, Side, Sums
from ..layers.definitions import Closing
from ..typesetting.letters import below, symbol
from .looks import short_name
from .network_problem import NetworkProblem
from .parts import Part
from .unrolled import Floor, added, gradients, paired

TOTAL = r"\mathcal{J}"


class BackwardSection:
    """The blocks of BPTT."""

    def __init__(self, problem: NetworkProblem) -> None:
        self.p, self.i = problem, problem.i
        self.times, self.letters = problem.times, problem.letters
        self._eps: dict[tuple[Variable, str], Variable] = {}
        self._errors: dict[tuple[Part, str], tuple[Variable, ...]] = {}

    # --- letters

    def _eps_look(self, leaf: Variable) -> str:
        """eps, with the component of the state and the mark of the cell."""
        cell = next(cell for _, _, cell in self.p.cells if leaf in cell.states)
        component = symbol(short_name(cell.place, leaf.name)) if len(cell.states) > 1 else ""
        look = r"\varepsilon"
        for script in (component, self.p.script(cell.place)):
            look = below(look, script) if script else look
        return look

    def eps(self, leaf: Variable, time: str) -> Variable:
        """eps of one array of a state at a time, as printed."""
        if (leaf, time) not in self._eps:
            look = self._eps_look(leaf)
            made = variable(f"epsilon_{leaf.name}", leaf.space)
            self._eps[leaf, time] = self.times.named(made, below(look, time))
        return self._eps[leaf, time]

    def error(self, g: Part, time: str) -> tuple[Variable, ...]:
        """e of a prediction at a time."""
        if (g, time) not in self._errors:
            script = "" if g is self.p.floors[-1].prediction else self.p.script(g.place)
            look = below("e", script) if script else "e"
            many = len(g.w) > 1
            self._errors[g, time] = tuple(
                self.times.named(w, below(below(look, str(k)) if many else look, time))
                for k, w in enumerate(g.w)
            )
        return self._errors[g, time]

    def shown_cell(self, cell: Part, node: Node) -> Node:
        """An expression of a cell at its step to time i, its cotangent eps_i."""
        w = self._eps_of(cell)
        return cell.shown(node, self.times, self.i, self.p.before(cell), w)

    def shown_prediction(self, floor: Floor, node: Node, time: str) -> Node:
        """An expression of a prediction at a time, its cotangent e."""
        g = floor.prediction
        new: dict[Node, Node] = dict(zip(g.w, self.error(g, time), strict=True))
        pairs = ((x, cell.label) for cell in floor.cells for x in cell.states)
        for own, (x, label) in zip(g.states, pairs, strict=True):
            new[own] = self.times(x, time, label)
        return g.shown(node, self.times, time, time, new)

    # --- the errors

    def errors(self) -> Iterator[Block]:
        """e_i: the gradient of the weighted loss of a step by its prediction (5.9)."""
        loss = self.p.loss
        assert loss is not None
        leaf = self.predicted(loss)
        found = loss.pulled(leaf)
        value = added(leaf.space, [None if found is None else scale(self.p.weight, found)])
        number = self.p.weight * loss.outputs[0]
        short = Closing().add(x for x in loss.lines_in_order if _is_affine(x.expression))
        right = Side(self._shown_loss(short(loss.expanded(value))), loss.closed(value))
        left = Side(self.error(self._top.prediction, self.i)[0], gradients(number, [leaf])[leaf])
        yield Display((Equation(left, right, "(5.9)"),))

    @property
    def _top(self) -> Floor:
        return self.p.floors[-1]

    def predicted(self, loss: Part) -> Variable:
        """The part of the prediction that the loss takes."""
        return loss.leaves(loss.place.function.arguments[0].name)[0]

    def _shown_loss(self, node: Node) -> Node:
        loss = self.p.loss
        assert loss is not None
        i, last = self.i, self.predicted(loss)
        new: dict[Node, Node] = {self.p.weight: self.times(self.p.weight, i)}
        new[last] = self.times.named(last, below(r"\hat{y}", i))
        for a in loss.place.function.arguments[1:]:
            new |= {x: self.times(x, i) for x in loss.leaves(a.name)}
        return substituted(node, new | {x: self.times(x, i, "loss") for x in loss.named()})

    # --- blocks

    def blocks(self) -> Iterator[Block]:
        """All cells and predictions, the highest level first."""
        yield Heading("Backpropagation through time")
        yield Prose(
            rf"$\varepsilon_{{{self.i}}}$ is the gradient of ${TOTAL}$ with respect to the state "
            rf"at time ${self.i}$ (theorem 5.1.5): the next step contributes "
            r"$D^{*}f\cdot\varepsilon$, and the prediction at the same time $D^{*}g\cdot e$. "
            rf"After the last step it is zero. {self._said_lines()}"
        )
        above: Floor | None = None
        for floor in reversed(self.p.floors):
            if above is not None:
                yield from self._between(floor, above)
            for cell in floor.cells:
                yield from self._cell(floor, cell)
            yield from self._prediction(floor)
            above = floor
        yield from self._shared()

    def _shared(self) -> Iterator[Block]:
        """A parameter with several uses: its gradients are added."""
        for use, name in self.p.uses.items():
            one, other = self.letters(name), self.letters(use)
            yield Prose(
                f"${other}$ is ${one}$, one array that is used twice: its gradient is the sum "
                rf"$\nabla_{{{one}}} {TOTAL} + \nabla_{{{other}}} {TOTAL}$ over both uses "
                "(theorem 4.3.5)."
            )

    def _said_lines(self) -> str:
        return (
            f"The lines of a cell are those of the step to time ${self.i}$, the lines of a "
            "prediction those at the time of its state."
        )

    def _between(self, floor: Floor, above: Floor) -> Iterator[Block]:
        """The cotangent of a prediction that the cells above take as input."""
        yield Prose(
            f"The prediction ${floor.prediction.f}$ is the input of the cells above, so its error "
            "is the gradient with respect to that input at the same time:"
        )
        names = self.error(floor.prediction, self.i)
        yield Display(tuple(self._sent_down(above, k, x) for k, x in enumerate(names)))

    def _sent_down(self, above: Floor, k: int, name: Variable) -> Equation:
        shown, closed, whole = [], [], []
        stand_in = variable(f"{name.name}_input", name.space)
        for cell in above.cells:
            found = cell.pulled(cell.inputs[k])
            shown.append(None if found is None else self.shown_cell(cell, found))
            at = {**self._eps_of(cell), cell.inputs[k]: stand_in}
            closed.append(cell.template(cell.inputs[k], at))
            whole.append(substituted(paired(cell.w, cell.outputs), at))
        left = gradients(added(whole[0].space, whole), [stand_in])[stand_in]
        right = Side(added(name.space, shown), added(name.space, closed))
        return Equation(Side(name, left), right, "the input's adjoint")

    def _eps_of(self, cell: Part) -> dict[Node, Node]:
        """eps in place of the cotangent."""
        return {w: self.eps(x, self.i) for w, x in zip(cell.w, cell.states, strict=True)}

    def _cell(self, floor: Floor, cell: Part) -> Iterator[Block]:
        """The recursion of one cell, and its gradients."""
        if len(self.p.levels) > 1 or len(floor.cells) > 1:
            yield Prose(f"The cell ${cell.f}$, {cell.place.direction}:")
        bars = tuple(self._bar(cell, line.variable) for line in cell.problem.back.bars)
        steps = [e for k, _ in enumerate(cell.states) for e in self.recursion(floor, cell, k)]
        yield Display((*bars, *steps))
        sums = [self._sum(cell, x) for x in cell.parameters]
        sums += self._initial(cell) if self.p.network.learned else []
        yield Display(tuple(sums))

    def _bar(self, cell: Part, bar: Variable) -> Equation:
        """The cotangent of a line."""
        expression = next(x.expression for x in cell.problem.back.bars if x.variable is bar)
        meaning = cell.closed(expression)
        left = Side(self.times(bar, self.i, cell.label), meaning)
        return Equation(left, Side(self.shown_cell(cell, expression), meaning))

    def recursion(self, floor: Floor, cell: Part, k: int) -> Iterator[Equation]:
        """(5.14) for one array of the state, with the lines' cotangents and with these expanded."""
        leaf, before = cell.states[k], self.p.before(cell)
        meaning = gradients(self._sent(floor, cell), [leaf])[leaf]
        left = Side(self.eps(leaf, before), meaning)
        sent, own = cell.pulled(leaf), self.own(floor, cell, leaf, before)
        closed = None if sent is None else cell.template(leaf, self._eps_of(cell))
        right = added(leaf.space, [closed, own[1]])
        shown = [None if sent is None else self.shown_cell(cell, sent), own[0]]
        yield Equation(left, Side(added(leaf.space, shown), right), "(5.14)")
        if sent is not None and cell.expanded(sent) is not sent:
            expanded = self.shown_cell(cell, cell.expanded(sent))
            shown_side = Side(added(leaf.space, [expanded, own[0]]), right)
            yield Equation(left, shown_side, optional=True)

    def own(
        self, floor: Floor, cell: Part, leaf: Variable, time: str
    ) -> tuple[Node | None, Node | None]:
        """D*g . e by one array of a state: as printed, and in the cell's leaves."""
        g = floor.prediction
        found = g.pulled(self.read_by(floor)[leaf])
        if found is None:
            return None, None
        closed = substituted(g.closed(found), self.at_prediction(floor, time))
        return self.shown_prediction(floor, g.expanded(found), time), closed

    def read_by(self, floor: Floor) -> dict[Variable, Variable]:
        """The array of the prediction that reads each array of the cells' states."""
        every = (x for cell in floor.cells for x in cell.states)
        return dict(zip(every, floor.prediction.states, strict=True))

    def at_prediction(self, floor: Floor, time: str) -> dict[Node, Node]:
        """The leaves of a prediction at the cells' states and at e."""
        at: dict[Node, Node] = {own: x for x, own in self.read_by(floor).items()}
        return at | dict(zip(floor.prediction.w, self.error(floor.prediction, time), strict=True))

    def _sent(self, floor: Floor, cell: Part) -> Node:
        """<eps_i, f_i(h)> + <e, g(h)> as a function of the state h before."""
        g, before = floor.prediction, self.p.before(cell)
        eps = [self.eps(x, self.i) for x in cell.states]
        forward = paired(eps, cell.outputs)
        at = self.at_prediction(floor, before)
        predicted = paired(self.error(g, before), g.value(at))
        return added(forward.space, [forward, predicted])

    # --- sums over time

    @property
    def over(self) -> str:
        """The sum over all times."""
        return rf"\sum_{{{self.i}=1}}^{{{self.p.length}}}"

    def _sum(self, cell: Part, x: Variable) -> Equation:
        """nabla J = sum of nabla* f_i . eps_i (5.22)."""
        under = next(under for under, _, own in self.p.cells if own is cell)
        found = cell.pulled(x)
        right = self.p.backward.of_cell(cell, under, x)
        shown = right if found is None else Sums(((self.over, self.shown_cell(cell, found)),))
        return Equation(self._gradient(x), Side(shown, right), "(5.22)")

    def _gradient(self, x: Variable) -> Side:
        return Side(rf"\nabla_{{{self.letters(x.name)}}} {TOTAL}", self.p.gradients[x])

    def _initial(self, cell: Part) -> list[Equation]:
        """The gradient by the initial state: eps before the first step."""
        first, sequence = self.p.first(cell), self.p.sequence
        found, at = [], sequence.first(cell)
        for x, eps in zip(cell.states, self.p.backward.eps[cell, at], strict=True):
            look = below(self.letters(x.name), first)
            left = Side(rf"\nabla_{{{look}}} {TOTAL}", self.p.gradients[sequence.copy(x, at)])
            found.append(Equation(left, Side(self.eps(x, first), eps), "no prediction there"))
        return found

    def _prediction(self, floor: Floor) -> Iterator[Block]:
        """nabla J = sum of nabla* g . e_i (5.8)."""
        g = floor.prediction
        if not g.parameters:
            return
        yield Prose(f"The parameters of the prediction ${g.f}$ (theorem 5.1.1):")
        yield Display(tuple(self._prediction_sum(floor, x) for x in g.parameters))

    def _prediction_sum(self, floor: Floor, x: Variable) -> Equation:
        g, right = floor.prediction, self.p.backward.of_prediction(floor, x)
        found = g.pulled(x)
        if found is None:
            return Equation(self._gradient(x), Side(right, right), "(5.7), (5.8)")
        shown = self.shown_prediction(floor, g.expanded(found), self.i)
        side = Side(Sums(((self.over, shown),)), right)
        return Equation(self._gradient(x), side, "(5.7), (5.8)")


def _is_affine(node: Node) -> bool:
    """Whether it is a sum of variables, which needs no name."""
    return isinstance(node, LinearCombination) and all(
        isinstance(x, Variable) for _, x in node.terms
    )
