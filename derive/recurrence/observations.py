"""The programs of a prediction g and of the loss behind it, at all times of a sequence at once.

Where the weight of a loss is zero its target is missing: target, prediction and loss of that step
are not read into anything.
"""

from __future__ import annotations

from collections.abc import Sequence

import sympy

from ..calculus.calculus import cotangents, tangents
from ..calculus.maps import substituted
from ..language.expressions import Node, Variable, constant, variable
from ..language.riesz import riesz
from ..language.spaces import R
from ..models.levels import Level, Recurrent
from ..models.programs import BATCH, Program, Result
from ..vocabulary.linear import total_sum
from ..vocabulary.rewriting.rewrites import rewritten
from ..vocabulary.selecting import gate, only, select
from .selections import Names, over_batch, plain_values, selected_sums
from .transitions import Transition, step


class Observation:
    """The programs of a level's prediction, and of the loss behind it."""

    def __init__(
        self,
        network: Recurrent,
        level: Level,
        names: Names,
        losses: str,
        weight: Variable,
    ) -> None:
        self.network, self.losses = network, losses
        self.weight = over_batch(weight)
        prediction, states = level.prediction, [cell.state for cell in level.cells]
        self.label = prediction.label.replace(".", "_")
        self.heard = names.mask(f"{self.label}_heard")
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
        bar, name = self.bar, f"{self.label}_backward"
        results, law = self._pulled(self._read(self.heard), riesz(bar), self.heard, f". {bar.name}")
        return step(self.g, name, law, results, self.g.names)

    def hearing(self, above: Sequence[Transition]) -> Program:
        """Which predictions are heard of: those that a cell above reads where it is reached."""
        first, *others = (t.reached for t in above)
        heard: Node = first
        for reached in others:
            heard = select(heard, heard, reached)
        law = f"{self.heard.name}: where a cell above reads the prediction and is reached"
        return step(self.g, f"{self.label}_hearing", law, [Result(self.heard.name, heard)])

    def _read(self, mask: Variable) -> Node:
        """The prediction, its derivative being read where the mask is not zero."""
        at: dict[Node, Node] = {h: gate(mask, h) for h in self.states}
        return gate(mask, substituted(self.prediction, at))

    def observed(self) -> Node:
        """weight loss(g(h), y), whose sum is J."""
        loss = self.network.loss
        assert loss is not None
        layer = loss.function.batched(BATCH)
        each = substituted(layer.output, {layer.arguments[0].variable: self._read(self.weight)})
        return only(self.weight, self.weight * rewritten(each)[0][each])

    def loss(self) -> Program:
        """The weighted losses."""
        result = Result(self.losses, self.observed(), adds=True)
        return step(self.g, "observed_loss", self._law(), [result], self.g.names)

    def observe(self) -> Program:
        """The weighted losses, D*g . e and nabla*g . e of their sum (thesis (5.8))."""
        value = self.observed()
        result = Result(self.losses, value, adds=True)
        results, laws = self._pulled(total_sum(value), None, self.weight, "J")
        return step(self.g, "observe", [self._law(), *laws], [result, *results], self.g.names)

    def _law(self) -> str:
        return f"{self.losses} += the weighted losses of {self.g.signature}; J is their sum"

    def _pulled(
        self, root: Node, cotangent: Node | None, mask: Variable, of: str
    ) -> tuple[list[Result], list[str]]:
        x = (*self.states, *self.parameters)
        dots = {v: variable(f"{v.name}_dot", v.space) for v in x}
        moved = tangents([root], dots)[root]
        start = constant(sympy.S.One, R()) if cotangent is None else cotangent
        pulled, _ = cotangents(moved, start, tuple(dots.values()))
        every = [riesz(pulled[dots[v]], inverse=True) for v in x]
        plain = plain_values(every)
        sums = selected_sums([plain[bar] for bar in every], mask)
        bars = {v: sums[plain[bar]] for v, bar in zip(x, every, strict=True)}
        results = [Result(f"{v.name}_error", bars[v]) for v in self.states]
        results += [Result(f"{v.name}_bar", bars[v], False, adds=True) for v in self.parameters]
        law = [f"{v.name}_error = D_{v.name} {of}" for v in self.states]
        law += [f"{v.name}_bar += nabla_{v.name} {of}" for v in self.parameters]
        return results, law
