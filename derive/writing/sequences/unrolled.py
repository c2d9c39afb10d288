"""A recurrent network over a few steps as one expression, and the recursion of BPTT over them.

Sums over time are checked on a sequence of these steps: the derivative of the whole expression by
the calculus, against the expressions of the recursion, substituted step by step.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from ...calculus.calculus import tangents, transpose
from ...language.expressions import Node, Variable, constant, linear_combination, variable, zero
from ...language.riesz import riesz
from ...language.spaces import R
from ...models.levels import FORWARD
from ...vocabulary.linear import dot, scale
from .parts import Part, Values

STEPS = 3
ONE = constant(1, R())

Arrays = tuple[Node, ...]


@dataclass(frozen=True, eq=False)
class Floor:
    """The parts of a level."""

    cells: tuple[Part, ...]
    prediction: Part


@dataclass(eq=False)
class Unrolled:
    """A network over some steps: states, predictions and the loss of each, as expressions.

    `copies` maps the variables of the network to those of each step; others are shared by all.
    """

    floors: Sequence[Floor]
    loss: Part | None
    weight: Variable
    steps: int = STEPS
    copies: dict[tuple[Variable, int], Variable] = field(default_factory=dict)
    states: dict[tuple[Part, int], Arrays] = field(default_factory=dict)
    predictions: dict[tuple[Part, int], Arrays] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for floor, under in zip(self.floors, (None, *self.floors), strict=False):
            for cell in floor.cells:
                self._run(cell, under)
            for t in self.times:
                at = self.at_prediction(floor, t)
                self.predictions[floor.prediction, t] = floor.prediction.value(at)

    @property
    def times(self) -> range:
        """1, 2, .., L."""
        return range(1, self.steps + 1)

    def copy(self, x: Variable, t: int) -> Variable:
        """The variable of one step."""
        made = variable(f"{x.name}_step{t}", x.space)
        return self.copies.setdefault((x, t), made)

    # --- the forward pass

    def _run(self, cell: Part, under: Floor | None) -> None:
        first, order = self.first(cell), list(self.times)
        self.states[cell, first] = tuple(self.copy(x, first) for x in cell.states)
        for t in order if cell.place.direction == FORWARD else order[::-1]:
            self.states[cell, t] = cell.value(self.at_cell(cell, t, under))

    def first(self, cell: Part) -> int:
        """The time of the initial state."""
        return 0 if cell.place.direction == FORWARD else self.steps + 1

    def before(self, cell: Part, t: int) -> int:
        """The time from which the step to time t starts."""
        return t - 1 if cell.place.direction == FORWARD else t + 1

    def at_cell(self, cell: Part, t: int, under: Floor | None) -> dict[Node, Node]:
        """The leaves of a cell at its step to time t."""
        states = self.states[cell, self.before(cell, t)]
        at: dict[Node, Node] = dict(zip(cell.states, states, strict=True))
        given: Arrays = tuple(self.copy(x, t) for x in cell.inputs)
        if under is not None:
            given = self.predictions[under.prediction, t]
        return at | dict(zip(cell.inputs, given, strict=True))

    def at_prediction(self, floor: Floor, t: int) -> dict[Node, Node]:
        """The leaves of a prediction at time t."""
        states = (x for cell in floor.cells for x in self.states[cell, t])
        return dict(zip(floor.prediction.states, states, strict=True))

    # --- the loss

    def at_loss(self, t: int) -> dict[Node, Node]:
        """The leaves of the loss at time t."""
        assert self.loss is not None
        own = self.loss.place.function.arguments
        at: dict[Node, Node] = {}
        for a in own[1:]:
            at |= {x: self.copy(x, t) for x in self.loss.leaves(a.name)}
        predicted = self.predictions[self.floors[-1].prediction, t]
        return at | dict(zip(self.loss.leaves(own[0].name), predicted, strict=True))

    def loss_at(self, t: int) -> Node:
        """w_t loss(y^_t, y_t)."""
        assert self.loss is not None
        return self.copy(self.weight, t) * self.loss.value(self.at_loss(t))[0]

    def whole(self) -> Node:
        """J = sum over t of w_t loss(y^_t, y_t) (thesis (5.4))."""
        return linear_combination([(1, self.loss_at(t)) for t in self.times])

    def gradients(self, xs: Sequence[Variable]) -> dict[Variable, Node]:
        """The gradient of J by some variables, taken by the calculus on the whole expression."""
        return gradients(self.whole(), xs)


def gradients(number: Node, xs: Sequence[Variable]) -> dict[Variable, Node]:
    """The gradient of a number by some variables, in the inner products of their spaces."""
    dots = {x: variable(f"{x.name}_moved", x.space) for x in xs}
    moved = tangents([number], dots)[number]
    found = transpose(moved, ONE, tuple(dots.values()))
    return {x: riesz(found[dot_], inverse=True) for x, dot_ in dots.items()}


def paired(us: Sequence[Node], xs: Sequence[Node]) -> Node:
    """The sum of <u, x> in the inner products of the spaces."""
    return linear_combination([(1, dot(riesz(u), x)) for u, x in zip(us, xs, strict=True)])


# --- BPTT over the steps


@dataclass(eq=False)
class Backward:
    """The recursion (5.14) over the steps of a sequence, with the parts' expressions substituted.

    errors  the cotangent of each prediction, eps that of each state
    """

    sequence: Unrolled
    errors: dict[tuple[Part, int], Arrays] = field(default_factory=dict)
    eps: dict[tuple[Part, int], Arrays] = field(default_factory=dict)

    def __post_init__(self) -> None:
        s = self.sequence
        above: Floor | None = None
        for k in reversed(range(len(s.floors))):
            floor, under = s.floors[k], s.floors[k - 1] if k else None
            for t in s.times:
                self.errors[floor.prediction, t] = self._error(floor, above, t)
            for cell in floor.cells:
                self._run(floor, cell, under)
            above = floor

    def _error(self, floor: Floor, above: Floor | None, t: int) -> Arrays:
        """e_t = w_t D* loss . 1 (5.9), or the sum of D*_x f . eps_t of the cells above."""
        s = self.sequence
        if above is None:
            assert s.loss is not None
            e = s.loss.template(self.predicted(s.loss)[0], s.at_loss(t))
            space = s.predictions[floor.prediction, t][0].space
            return (zero(space) if e is None else scale(s.copy(s.weight, t), e),)
        spaces = [x.space for x in s.predictions[floor.prediction, t]]
        found = []
        for k, space in enumerate(spaces):
            shares = [self._share(cell, cell.inputs[k], t, floor) for cell in above.cells]
            found.append(added(space, shares))
        return tuple(found)

    def predicted(self, loss: Part) -> tuple[Variable, ...]:
        """The arrays of the prediction that a loss takes."""
        return loss.leaves(loss.place.function.arguments[0].name)

    def _share(self, cell: Part, leaf: Variable, t: int, under: Floor | None) -> Node | None:
        """The cotangent that one array of a cell receives at time t."""
        at = self.sequence.at_cell(cell, t, under)
        return cell.template(leaf, {**at, **dict(zip(cell.w, self.eps[cell, t], strict=True))})

    def _run(self, floor: Floor, cell: Part, under: Floor | None) -> None:
        s = self.sequence
        order = list(s.times)[::-1] if cell.place.direction == FORWARD else list(s.times)
        last = order[0] + (1 if cell.place.direction == FORWARD else -1)
        for t in [*order, s.first(cell)]:
            after = t + 1 if cell.place.direction == FORWARD else t - 1
            found = []
            for leaf, own in zip(cell.states, self._own(floor, cell, t), strict=True):
                sent = None if after == last else self._share(cell, leaf, after, under)
                found.append(added(leaf.space, [sent, own]))
            self.eps[cell, t] = tuple(found)

    def _own(self, floor: Floor, cell: Part, t: int) -> list[Node | None]:
        """D*g . e_t by the arrays of one cell's state; none at the initial state."""
        g, s = floor.prediction, self.sequence
        if t not in s.times:
            return [None] * len(cell.states)
        at: Values = {
            **s.at_prediction(floor, t),
            **dict(zip(g.w, self.errors[g, t], strict=True)),
        }
        every = dict(zip((x for c in floor.cells for x in c.states), g.states, strict=True))
        return [g.template(every[leaf], at) for leaf in cell.states]

    # --- the sums

    def of_cell(self, cell: Part, under: Floor | None, theta: Variable) -> Node:
        """The sum over t of nabla* f_t . eps_t (5.22)."""
        shares = [self._share(cell, theta, t, under) for t in self.sequence.times]
        return added(theta.space, shares)

    def of_prediction(self, floor: Floor, zeta: Variable) -> Node:
        """The sum over t of nabla* g . e_t (5.8)."""
        g, s, shares = floor.prediction, self.sequence, []
        for t in s.times:
            w: dict[Node, Node] = dict(zip(g.w, self.errors[g, t], strict=True))
            shares.append(g.template(zeta, {**s.at_prediction(floor, t), **w}))
        return added(zeta.space, shares)


def added(space: object, shares: Sequence[Node | None]) -> Node:
    """The sum of the shares that are not zero."""
    terms = [(1, share) for share in shares if share is not None]
    return linear_combination([(1, zero(space)), *terms])  # type: ignore[arg-type]


def every_cell(floors: Sequence[Floor]) -> Iterator[tuple[Floor | None, Floor, Part]]:
    """Each cell, with its floor and the one below."""
    for under, floor in zip((None, *floors), floors, strict=False):
        for cell in floor.cells:
            yield under, floor, cell
