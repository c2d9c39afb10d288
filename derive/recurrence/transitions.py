"""The steps of a recurrent network as programs: what a sequence's kernels call at each time.

A transition is masked once, as a formula F that selects (`selections`); everything else is derived
from it.  Its backward step is (5.14) of the thesis, eps_{i-1} = D*F . eps_i + D*g . e_{i-1}; the
parameters' adjoints (5.22) are cut off it where they read what belongs to one time, so that they
become one product over all times.

A loss *hears* of a state where its weight is not zero and nothing between is reset.  Backward, a
step is reached where it is active and some loss hears of its state; where none does, eps is zero
and nothing is read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import sympy

from ..calculus.calculus import cotangents, tangents
from ..calculus.maps import variables_of
from ..language.expressions import Node, Variable, constant, linear_combination, variable, zero
from ..language.names import unused
from ..language.riesz import riesz
from ..language.roles import GIVEN, Argument
from ..language.text import identifier_of
from ..language.walk import depends_on, rewrite, topological
from ..models.cells import inputs_of
from ..models.layers import Layer
from ..models.levels import CellInstance, Recurrent
from ..models.programs import BATCH, Program, Result
from ..models.saved import saved_border, stored_parts
from ..vocabulary.selecting import only, select
from .selections import (
    Masks,
    Names,
    is_family,
    masked,
    plain_values,
    renamed,
    selected_parts,
    selected_sums,
)


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
    masks = [r.where for r in results if r.where is not None]
    found = variables_of(*(r.node for r in results), *masks)
    arguments = tuple(Argument(x, roles.get(x, GIVEN)) for x in found)
    lines = (law,) if isinstance(law, str) else tuple(law)
    return Program(
        layer, name, lines, arguments, tuple(results), False, (), False, names or {}, extra
    )


class Transition:
    """One cell's programs: forward, backward, the parameters' adjoints."""

    def __init__(self, network: Recurrent, cell: CellInstance, names: Names, masks: Masks) -> None:
        self.network, self.cell, self.names = network, cell, names
        self.label = cell.label.replace(".", "_")
        state = cell.state.name
        self.first = names.variable(f"{state}_0", cell.state.space)
        initial = names.variable(f"{state}_reset", cell.state.space)
        formula = masked(cell, initial, masks)
        self.layer = formula.layer.batched(BATCH)
        self.begun, self.inner = formula.lifted()
        self.by_name = {a.name: a.variable for a in self.layer.arguments}
        self.h = self.by_name[state]
        self.initial = variable(initial.name, self.h.space)
        self.reset = None if masks.reset is None else self.by_name[masks.reset.name]
        self.active = self.by_name[masks.active.name]
        self.heard, self.source = names.mask(f"{state}_heard"), names.mask(f"{state}_source")
        self.reached = names.mask(f"{self.label}_reached")
        self.inputs = [self.by_name[a.name] for a in inputs_of(cell.function)]
        self.parameters = self.layer.parameters
        self.next = names.variable(f"{state}_next", self.h.space)
        self._derive()

    def _derive(self) -> None:
        """D*F . eps, cut where it reads the forward pass and where a parameter's sum begins."""
        x, state = self.layer.differentiable, self.cell.state
        dots = {v: self.names.variable(f"{v.name}_dot", v.space) for v in x}
        self.eps = self.names.variable(f"{state.name}_bar", self.h.space)
        self.error = self.names.variable(f"{state.name}_error", self.h.space)
        self.eps_before, self.heard_before = f"{self.eps.name}_before", f"{self.heard.name}_before"
        moved = tangents([self.layer.output], dots)
        pulled, summed = cotangents(moved[self.layer.output], riesz(self.eps), tuple(dots.values()))
        every = [riesz(pulled[dots[v]], inverse=True) for v in x]
        new = plain_values([self.layer.output, *every])
        self.output = new[self.layer.output]
        self.named = renamed(self._names(moved, summed), new)
        bars = dict(zip(x, (new[bar] for bar in every), strict=True))
        self.inputs_wanted = [v for v in self.inputs if v in bars]
        self._cut(bars, [*self.parameters, *self.inputs_wanted])

    def _cut(self, bars: Mapping[Variable, Node], by: Sequence[Variable]) -> None:
        late = [bars[v] for v in by]
        self.saved = self._as_variables(
            saved_border(list(bars.values()), self.eps, places=False), "saved"
        )
        self.deltas = self._as_variables(self._border(late), "delta")
        roots = [bars[self.h]] + ([] if self.reset is None else [bars[self.initial]])
        early = self._replaced([*roots, *self.deltas], self.saved)
        cut = self._replaced(list(self.deltas), self.saved)
        selected = selected_parts(early, self.active, cut)
        self.named |= renamed(self.named, selected)
        self.h_bar = selected[early[0]]
        self.initial_bar = None if self.reset is None else selected[early[1]]
        self.delta_nodes = [selected[node] for node in cut]
        sums = self._replaced(late, {**self.saved, **self.deltas})
        summed = selected_sums(sums, self.active, self.deltas.values())
        self.late = dict(zip(by, (summed[node] for node in sums), strict=True))

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
            name = f"{kind}_{identifier_of(node, self.named, 'value')}"
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
        return step(self.layer, name, law, results, self.named)

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
        return step(self.layer, f"{self.label}_backward", law, *self._reached(results))

    def reaching(self) -> Program:
        """Which samples this step is reached in, and of which states before it a loss hears."""
        reached = only(self.heard, self.active)
        law = [
            f"{self.reached.name}: where the step is active and a loss hears of {self.next.name}",
            f"{self.heard_before}: where a loss hears of the state before",
        ]
        results = [
            Result(self.reached.name, reached),
            Result(self.heard_before, self.hearing(self.source, self.heard, reached)),
        ]
        return step(self.layer, f"{self.label}_reaching", law, results)

    def hearing(self, source: Node, after: Variable, reached: Node) -> Node:
        """What is heard of the state before: through this step, or by a source of its own."""
        one, nothing = constant(sympy.S.One, after.space), zero(after.space)
        through = one if self.reset is None else select(self.reset, nothing, one)
        return select(source, one, select(reached, through, after))

    def _reached(self, results: Sequence[Result]) -> tuple[list[Result], dict[Node, str]]:
        """Backward, a step is active where it is reached."""
        at: dict[Node, Node] = {self.active: self.reached}
        new = rewrite([r.node for r in results], at.get)
        return [replace(r, node=new[r.node]) for r in results], renamed(self.named, new)

    def adjoints(self) -> Program:
        """theta_bar += nabla*f . eps (thesis (5.22)), a batch being all times of all samples."""
        h = self.cell.state.name
        law = [f"{v.name}_bar += nabla*_{v.name} f . {h}_bar" for v in self.parameters]
        law += [f"{v.name}_bar += D*_{v.name} f . {h}_bar" for v in self.inputs_wanted]
        results = [
            Result(f"{v.name}_bar", node, is_family(v), adds=True) for v, node in self.late.items()
        ]
        return step(self.layer, f"{self.label}_adjoints", law, *self._reached(results))
