"""The steps of a recurrent network as programs: what a sequence's kernels call at each time.

A transition is wrapped once, as a formula, so that everything else is derived:

    F(h; x, h_reset, reset, active; theta) = active f((1 - reset) h + reset h_reset; x; theta)
                                             + (1 - active) h

where a reset begins anew inside a stream and a step beyond a sequence's length is not active.  Its
backward step is (5.14) of the thesis, eps_{i-1} = D*F . eps_i + D*g . e_{i-1}; the parameters'
adjoints (5.22) are cut off it where they read what belongs to one time, so that they become one
product over all times.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import sympy

from .calculus import cotangents, tangents
from .cells import inputs_of
from .expressions import Node, Variable, constant, linear_combination, tuple_of, variable
from .functions import flat, scale, total_sum
from .layers import Layer
from .levels import FORWARD, Level, Place, Recurrent
from .lift import lift_space
from .maps import substituted, variables_of
from .names import unused
from .programs import BATCH, Program, Result, saved_border, stored_parts
from .rewrites import rewritten
from .roles import GIVEN, MASK, STATE, Argument
from .spaces import Product, R, Space, leaves
from .text import spoken
from .walk import depends_on, rewrite, storage, topological


class Names:
    """Names that nothing else in a network has."""

    def __init__(self, taken: Iterable[str]) -> None:
        self._taken = set(taken)

    @classmethod
    def of(cls, network: Recurrent) -> Names:
        """The names beside those of a network's arguments, sizes and targets."""
        return cls(network.words)

    def variable(self, wanted: str, space: Space) -> Variable:
        """A new variable."""
        name = unused(wanted, self._taken)
        self._taken.add(name)
        return variable(name, space)


def step(
    layer: Layer,
    name: str,
    law: str | Sequence[str],
    results: Sequence[Result],
    names: Mapping[Node, str] | None = None,
    extra: tuple[sympy.Symbol, ...] = (),
) -> Program:
    """A program of these results, its arguments being the variables in them."""
    roles = {a.variable: a.role for a in layer.arguments}
    found = variables_of(*(r.node for r in results))
    arguments = tuple(Argument(x, roles.get(x, GIVEN)) for x in found)
    lines = (law,) if isinstance(law, str) else tuple(law)
    return Program(
        layer, name, lines, arguments, tuple(results), False, (), False, names or {}, extra
    )


def is_family(node: Node) -> bool:
    """The expression has the batch axis."""
    return any(BATCH in leaf.shape for leaf in leaves(node.space))


@dataclass(frozen=True, eq=False)
class Masks:
    """What is given at each step beside the input, for all cells of a network.

    Where a cell runs backward in time there are no resets: they are for streams.
    """

    reset: Variable | None
    active: Variable


def masks_of(network: Recurrent, names: Names) -> Masks:
    """The masks of a network."""
    streams = all(cell.direction == FORWARD for cell in network.cells)
    reset = names.variable("reset", R()) if streams else None
    return Masks(reset, names.variable("active", R()))


def wrapped(cell: Place, initial: Variable, masks: Masks) -> Layer:
    """The layer F of a cell."""
    f, h = cell.function, cell.state
    begun = h if masks.reset is None else mixed(masks.reset, initial, h)
    given = {a.name: a.variable for a in f.arguments[1:]}
    after = mixed(masks.active, f(begun, **given), h)
    more = [] if masks.reset is None else [Argument(initial, STATE), Argument(masks.reset, MASK)]
    arguments = (*f.arguments, *more, Argument(masks.active, MASK))
    new: dict[Node, Node] = {h: begun}
    moved = rewrite([f.output], new.get)
    local = {moved[node]: name for node, name in f.names.items() if node in moved}
    for node, name in _named(h, begun, masks):
        local.setdefault(node, unused(name, {*local.values(), *f.words}))
    return Layer(cell.label.replace(".", "_"), arguments, after, local)


def _named(h: Variable, begun: Node, masks: Masks) -> Iterator[tuple[Node, str]]:
    """What the masks make, by names that a reader of the kernels knows."""
    yield 1 - masks.active, "inactive"
    if masks.reset is not None:
        yield 1 - masks.reset, "going_on"
        leaves_ = storage(begun)
        ends = [""] if len(leaves_) == 1 else [f"_{k}" for k in range(len(leaves_))]
        yield from ((leaf, f"{h.name}_begun{end}") for leaf, end in zip(leaves_, ends, strict=True))


def mixed(mask: Node, left: Node, right: Node) -> Node:
    """mask left + (1 - mask) right, component by component."""
    if isinstance(left.space, Product):
        return tuple_of(mixed(mask, a, b) for a, b in zip(left, right, strict=True))
    return linear_combination([(1, scale(mask, left)), (1, scale(1 - mask, right))])


class Transition:
    """One cell's programs: forward, backward, the parameters' adjoints."""

    def __init__(self, network: Recurrent, cell: Place, names: Names, masks: Masks) -> None:
        self.network, self.cell, self.names = network, cell, names
        self.label = cell.label.replace(".", "_")
        self.first = names.variable(f"{cell.state.name}_0", cell.state.space)
        initial = names.variable(f"{cell.state.name}_reset", cell.state.space)
        self.layer = wrapped(cell, initial, masks).batched(BATCH)
        self.by_name = {a.name: a.variable for a in self.layer.arguments}
        self.h = self.by_name[cell.state.name]
        self.initial = variable(initial.name, self.h.space)
        self.reset = None if masks.reset is None else self.by_name[masks.reset.name]
        self.active = self.by_name[masks.active.name]
        self.inputs = [self.by_name[a.name] for a in inputs_of(cell.function)]
        self.parameters = self.layer.parameters
        self.output = self.layer.output
        self.next = names.variable(f"{cell.state.name}_next", self.h.space)
        self._derive()

    def _derive(self) -> None:
        """D*F . eps, cut where it reads the forward pass and where a parameter's sum begins."""
        x = self.layer.differentiable
        dots = {v: self.names.variable(f"{v.name}_dot", v.space) for v in x}
        self.eps = self.names.variable(f"{self.cell.state.name}_bar", self.h.space)
        self.error = self.names.variable(f"{self.cell.state.name}_error", self.h.space)
        self.eps_before = f"{self.eps.name}_before"
        moved = tangents([self.output], dots)
        pulled, summed = cotangents(moved[self.output], flat(self.eps), tuple(dots.values()))
        bars = {v: flat(pulled[dots[v]], inverse=True) for v in x}
        self.inputs_wanted = [v for v in self.inputs if v in bars]
        self.named = self._names(moved, summed)
        saves = saved_border(list(bars.values()), self.eps, places=False)
        late = [bars[v] for v in (*self.parameters, *self.inputs_wanted)]
        deltas = self._border(late)
        self.saved = self._as_variables(saves, "saved")
        self.deltas = self._as_variables(deltas, "delta")
        self.h_bar = self._replaced([bars[self.h]], self.saved)[0]
        self.initial_bar = (
            None if self.reset is None else self._replaced([bars[self.initial]], self.saved)[0]
        )
        self.delta_nodes = self._replaced(deltas, self.saved)
        bound = {**self.saved, **self.deltas}
        self.late = dict(
            zip((*self.parameters, *self.inputs_wanted), self._replaced(late, bound), strict=True)
        )

    def _names(self, moved: Mapping[Node, Node], summed: Mapping[Node, Node]) -> dict[Node, str]:
        """z for a local, z_bar for its cotangent."""
        names = dict(self.layer.names)
        for node, name in list(names.items()):
            bar = summed.get(moved.get(node, node))
            if bar is not None and not isinstance(bar, Variable):
                names.setdefault(bar, unused(f"{name}_bar", self.layer.words))
        return names

    def _border(self, roots: Sequence[Node]) -> list[Node]:
        """What the adjoints by parameters and inputs read of each time's cotangents."""
        moved = depends_on(roots, [self.eps])
        found: dict[Node, None] = {}
        for node in topological(*roots):
            if node in moved and not is_family(node):
                for operand in node.operands:
                    if operand in moved and is_family(operand):
                        found.update(dict.fromkeys(stored_parts(operand, places=False)))
        return list(found)

    def _as_variables(self, nodes: Iterable[Node], kind: str) -> dict[Node, Variable]:
        found = {}
        for node in nodes:
            name = f"{kind}_{spoken(node, self.named, 'value')}"
            found[node] = self.names.variable(f"{self.label}_{name}", node.space)
        return found

    def _replaced(self, roots: Sequence[Node], by: Mapping[Node, Node]) -> list[Node]:
        new = rewrite(roots, by.get)
        return [new[root] for root in roots]

    # --- programs

    def forward(self, saving: bool) -> Program:
        """h_i = F(h_{i-1}; x_i), and what the backward step needs."""
        results = [Result(self.next.name, self.output)]
        results += [Result(x.name, node) for node, x in self.saved.items() if saving]
        law = f"{self.next.name} = {self.cell.function.signature}"
        name = f"{self.label}_saving_transition" if saving else f"{self.label}_transition"
        return step(self.layer, name, law, results, self.layer.names)

    def backward(self) -> Program:
        """eps_{i-1} = D*f_i . eps_i + D*g . e_{i-1} (thesis (5.14))."""
        h = self.cell.state.name
        before = linear_combination([(1, self.error), (1, self.h_bar)])
        law = [f"{self.eps_before} = {h}_error + D*_{h} f . {h}_bar"]
        results = [Result(self.eps_before, before)]
        if self.initial_bar is not None:
            law.append(f"{self.initial.name}_bar += D*_{self.initial.name} f . {h}_bar")
            results.append(Result(f"{self.initial.name}_bar", self.initial_bar, adds=True))
        results += [
            Result(x.name, node)
            for x, node in zip(self.deltas.values(), self.delta_nodes, strict=True)
        ]
        return step(self.layer, f"{self.label}_backward", law, results, self.named)

    def adjoints(self) -> Program:
        """theta_bar += nabla*f . eps (thesis (5.22)), a batch being all times of all samples."""
        h = self.cell.state.name
        law = [f"{v.name}_bar += nabla*_{v.name} f . {h}_bar" for v in self.parameters]
        law += [f"{v.name}_bar += D*_{v.name} f . {h}_bar" for v in self.inputs_wanted]
        results = [
            Result(f"{v.name}_bar", node, is_family(v), adds=True) for v, node in self.late.items()
        ]
        return step(self.layer, f"{self.label}_adjoints", law, results, self.named)


class Observation:
    """The programs of a level's prediction, and of the loss behind it."""

    def __init__(
        self,
        network: Recurrent,
        level: Level,
        names: Names,
        total: str,
        weight: Variable,
    ) -> None:
        self.network, self.total = network, total
        self.weight = variable(weight.name, lift_space(weight.space, BATCH))
        prediction, states = level.prediction, [cell.state for cell in level.cells]
        self.label = prediction.label.replace(".", "_")
        self.g = prediction.function.batched(BATCH)
        own = {a.name: a.variable for a in self.g.arguments}
        self.states = [own[x.name] for x in states]
        self.parameters = self.g.parameters
        self.prediction = self.g.output
        self.predicted_space = prediction.function.output.space
        self.predicted = names.variable("prediction", self.prediction.space)
        self.bar = names.variable(f"{self.predicted.name}_bar", self.prediction.space)

    def predict(self) -> Program:
        """y^_i = g(h_i; zeta)."""
        name, law = self.predicted.name, f"{self.predicted.name} = {self.g.signature}"
        result = [Result(name, self.prediction)]
        return step(self.g, f"{self.label}_predict", law, result, self.g.names)

    def backward(self) -> Program:
        """D*g and nabla*g of a cotangent of the prediction, for a level below others."""
        bar = self.bar
        results, law = self._pulled([self.prediction], flat(bar), f". {bar.name}")
        return step(self.g, f"{self.label}_backward", law, results, self.g.names)

    def observed(self) -> Node:
        """J = sum over the samples of weight loss(g(h), y)."""
        loss = self.network.loss
        assert loss is not None
        layer = loss.function.batched(BATCH)
        each = substituted(layer.output, {layer.arguments[0].variable: self.prediction})
        return total_sum(self.weight * rewritten(each)[0][each])

    def loss(self) -> Program:
        """The weighed sum of the losses."""
        result = Result(self.total, self.observed(), batched=False, adds=True)
        return step(self.g, "observed_loss", self._law(), [result], self.g.names)

    def observe(self) -> Program:
        """The weighed sum of the losses, D*g . e and nabla*g . e (thesis (5.8))."""
        value = self.observed()
        result = Result(self.total, value, batched=False, adds=True)
        results, laws = self._pulled([value], None, self.total)
        return step(self.g, "observe", [self._law(), *laws], [result, *results], self.g.names)

    def _law(self) -> str:
        return f"{self.total} += the weighed sum of the losses of {self.g.signature}"

    def _pulled(
        self, roots: Sequence[Node], cotangent: Node | None, of: str
    ) -> tuple[list[Result], list[str]]:
        (root,) = roots
        x = (*self.states, *self.parameters)
        dots = {v: variable(f"{v.name}_dot", v.space) for v in x}
        moved = tangents([root], dots)[root]
        start = constant(sympy.S.One, R()) if cotangent is None else cotangent
        pulled, _ = cotangents(moved, start, tuple(dots.values()))
        results = [
            Result(f"{v.name}_error", flat(pulled[dots[v]], inverse=True)) for v in self.states
        ]
        results += [
            Result(f"{v.name}_bar", flat(pulled[dots[v]], inverse=True), False, adds=True)
            for v in self.parameters
        ]
        law = [f"{v.name}_error = D_{v.name} {of}" for v in self.states]
        law += [f"{v.name}_bar += nabla_{v.name} {of}" for v in self.parameters]
        return results, law
