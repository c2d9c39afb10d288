"""The laws of programs, on the reference: what kernels compute, against the layer it is made from.

lift        a row of the batched layer equals the layer at that row
program     tangent equals the difference of the layer, tangent_backward that of backward,
            <y_bar, y_dot> = <x_bar, x_dot> + <theta_bar, theta_dot> for tangent and backward,
            and gradient is the mean of the layer and its derivative
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import reduce

import numpy as np

from ...calculus.maps import variables_of
from ...language.expressions import Node, Variable
from ...language.reference import Value, values_of
from ...language.spaces import Space
from ...models.layers import Layer
from ...models.programs import BATCH, COTANGENT, TANGENT, Program
from .cases import row_of
from .drawing import draw, unequal_sizes
from .findings import EPS, Finding, compared, largest
from .oracles import Pairing, Values, pairing, quotients
from .rounding import values_and_bounds
from .sampling import point_of

ROWS = 3


class ProgramLaws:
    """The programs of one layer at a batch of points."""

    def __init__(self, layer: Layer, made: Sequence[Program], random: np.random.Generator) -> None:
        self.layer, self.batched = layer, layer.batched(BATCH)
        self.program = {program.name: program for program in made}
        point = point_of(self.batched, {BATCH: ROWS, **unequal_sizes(layer)}, random)
        more = {a.variable: None for program in made for a in program.arguments}
        for x in more:
            if x not in point.values:
                point.values[x] = draw(random, x.space, point.sizes)
        self.point = point
        self.along = {x: draw(random, x.space, point.sizes) for x in self.batched.differentiable}

    def findings(self) -> Iterator[Finding]:
        """The laws of all programs of the layer."""
        for program in self.program.values():
            if [r.node for r in program.results] == [self.batched.output]:
                yield from self.lift(program)
        if "tangent" in self.program:
            yield self.tangent(self.program["tangent"])
        if {"tangent", "backward"} <= self.program.keys():
            yield self.backward(self.program["tangent"], self.program["backward"])
        if {"tangent_backward", "backward"} <= self.program.keys():
            yield from self.second(self.program["backward"], self.program["tangent_backward"])
        if "gradient" in self.program:
            yield from self.gradient(self.program["gradient"])

    def _same(self, law: str, group: str, found: Value, expected: Value, bound: float) -> Finding:
        return compared(self.layer.name, law, group, found, expected, bound)

    def _results(self, program: Program) -> list[tuple[Value, Value]]:
        nodes = [r.node for r in program.results]
        return values_and_bounds(nodes, self.point.values, self.point.sizes)

    def _directions(self, program: Program) -> dict[Variable, Value]:
        """The variables that the tangents of a program move, and the tangents' values."""
        tangents = [a.variable for a in program.arguments if a.role == TANGENT]
        pairs = zip(self.batched.differentiable, tangents, strict=True)
        return {x: self.point.values[x_dot] for x, x_dot in pairs}

    def _pairings(self, along: Values, found: Sequence[tuple[Value, Value]]) -> Pairing:
        """The sum of <x_bar, x_dot> over the arguments."""
        pairs = zip(along.items(), found, strict=True)
        each = (pairing(x.space, v, bar, self.point.values) for (x, v), bar in pairs)
        return reduce(Pairing.__add__, each, Pairing(0.0, 0.0, 0.0))

    # --- the laws

    def lift(self, program: Program) -> Iterator[Finding]:
        """Each row of the batch, by the layer as it was declared."""
        ((batched, bound),) = self._results(program)
        for s in range(ROWS):
            (alone,) = values_of([self.layer.output], self._row(s), self.point.sizes)
            found, group = row_of(self.batched.output.space, batched, s), f"row {s}"
            yield self._same("lift", group, found, alone, EPS * largest(bound))

    def _row(self, s: int) -> dict[Variable, Value]:
        """The arguments of the layer at one sample; all else that it reads has no batch axis."""
        values = dict(self.point.values)
        for own, lifted in zip(self.layer.arguments, self.batched.arguments, strict=True):
            x = lifted.variable
            values[own.variable] = row_of(x.space, self.point.values[x], s)
        read = variables_of(self.layer.output)
        return {x: values[x] for x in read}

    def tangent(self, program: Program) -> Finding:
        """The difference of the layer along all tangents."""
        roots: list[Node] = [self.batched.output]
        ((found, bound),) = quotients(roots, self.point, self._directions(program))
        ((expected, _),) = self._results(program)
        return self._same("program", program.name, found, expected, bound)

    def backward(self, tangent: Program, backward: Program) -> Finding:
        """The transpose as a whole: inner products summed over the batch and over all arguments."""
        (y_dot,) = self._results(tangent)
        (y_bar,) = (a.variable for a in backward.arguments if a.role == COTANGENT)
        space: Space = self.batched.output.space
        left = pairing(space, self.point.values[y_bar], y_dot, self.point.values)
        right = self._pairings(self._directions(tangent), self._results(backward))
        return left.against(right, self.layer.name, "program", backward.name)

    def second(self, backward: Program, program: Program) -> Iterator[Finding]:
        """The difference of backward along the tangents and along the tangent of the cotangent."""
        y_bar, y_bar_dot = (a.variable for a in program.arguments if a.role == COTANGENT)
        along = {**self._directions(program), y_bar: self.point.values[y_bar_dot]}
        found = quotients([r.node for r in backward.results], self.point, along)
        for result, (quotient, bound), (expected, _) in zip(
            program.results, found, self._results(program), strict=True
        ):
            group = f"{result.name} of {program.name}"
            yield self._same("program", group, quotient, expected, bound)

    def gradient(self, program: Program) -> Iterator[Finding]:
        """The mean of the samples, and its derivative along random directions."""
        (mean, bound), *bars = self._results(program)
        (each,) = values_of([self.batched.output], self.point.values, self.point.sizes)
        rounding = EPS * (largest(bound) + ROWS * largest(each))
        yield self._same("program", f"mean of {program.name}", mean, np.mean(each), rounding)
        ((quotient, off),) = quotients([program.results[0].node], self.point, self.along)
        derivative = self._pairings(self.along, bars)
        rounding = off + EPS * derivative.bound
        yield self._same("program", program.name, quotient, derivative.value, rounding)
