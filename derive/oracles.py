"""The laws of a layer's derived maps, on the reference: numbers that the calculus has no part in.

adjoint                      <u, D v> = <D* u, v>, of the second-order maps as well
remainder                    f(x + h v) - f(x) - h D v has slope 2, with the second order slope 3
difference                   (f(x + h v) - f(x - h v)) / 2h = D v
difference of the adjoint    the same of x -> D* u: the second-order adjoints
symmetry                     D^2 f (e1, e2) = D^2 f (e2, e1), D nabla f = nabla D f
complex step                 Im f(x + i h v) / h = D v, where every psi is analytic

v and u are random, so that a wrong entry anywhere shows with probability one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product

import numpy as np
import sympy

from .expressions import Elementwise, Node, Variable
from .findings import EPS, Finding, compared, largest, vector
from .functions import gram_variable
from .layers import Layer
from .maps import LinearMap
from .reference import Array, Value, values_of
from .rounding import values_and_bounds
from .sampling import Point, draw, same_side
from .spaces import Product, Real, Space
from .walk import topological

STEP = 6e-6  # eps**(1/3): rounding and truncation of a central difference are alike, 1.6e-11 on tanh
TRUNCATION = 100 * STEP**2  # h^2/6 |f'''|, for f''' up to 600 times as large as the difference
COMPLEX_STEP = 1e-20  # squared it vanishes beside 1: no truncation, and no cancellation
STEPS = tuple(10.0 ** (-k / 2) for k in range(3, 10))  # half decades, 3e-2 to 3e-5
ABOVE_ROUNDING = 100.0  # a remainder this far above round-off has its slope to 1 %
SLOPE = 0.25  # the next term of the series bends a slope by h times a ratio; a wrong term takes 1
CONTINUED = {sympy.exp, sympy.log, sympy.tanh, sympy.sin, sympy.cos, sympy.sinh, sympy.cosh, sympy.atan}


def moved(x: Value, h: complex, v: Value) -> Value:
    """x + h v."""
    if isinstance(x, tuple):
        return tuple(moved(a, h, b) for a, b in zip(x, v, strict=True))
    return x + h * v


class Laws:
    """A layer at a point: each method is one law and yields its findings."""

    def __init__(self, layer: Layer, point: Point, random: np.random.Generator) -> None:
        self.layer, self.point, self.random = layer, point, random
        self.x = layer.differentiable
        self.v = {x: self._draw(x.space) for x in self.x}
        self.u = self._draw(layer.output.space)
        ((self.f, self.f_bound),) = self._bounded([layer.output])

    def findings(self) -> Iterator[Finding]:
        """All laws."""
        yield from self.adjoint()
        yield from self.second_adjoint()
        yield from self.symmetry()
        yield from self.remainder()
        yield from self.second_remainder()
        yield from self.difference()
        yield from self.difference_of_the_adjoint()
        if is_continued(self.layer.output):
            yield from self.complex_step()

    # --- values

    def _draw(self, space: Space) -> Value:
        return draw(self.random, space, self.point.sizes)

    def _values(
        self, roots: Sequence[Node], more: Mapping[Variable, Value], moves: Mapping[Variable, Value] = {}
    ) -> list[Value]:
        return values_of(roots, {**self.point.values, **more, **moves}, self.point.sizes)

    def _bounded(
        self, roots: Sequence[Node], more: Mapping[Variable, Value] = {}
    ) -> list[tuple[Value, Value]]:
        return values_and_bounds(roots, {**self.point.values, **more}, self.point.sizes)

    def _at(self, h: complex, along: Sequence[Variable]) -> dict[Variable, Value]:
        return {x: moved(self.point.values[x], h, self.v[x]) for x in along}

    def _finding(self, law: str, group: str, found: Value, expected: Value, bound: float) -> Finding:
        return compared(self.layer.name, law, group, found, expected, bound)

    def _applied(self, linear: LinearMap, value: Value, more: Mapping[Variable, Value] = {}) -> tuple:
        """L v and its bound."""
        return self._bounded([linear.body], {**more, linear.variable: value})[0]

    # --- inner products, by NumPy

    def flat(self, space: Space, value: Value) -> Value:
        """G x, with the Gram matrix of each axis."""
        if isinstance(space, Product):
            return tuple(self.flat(s, v) for s, v in zip(space.factors, value, strict=True))
        assert isinstance(space, Real)
        for axis, (gram, extent) in enumerate(zip(space.grams, space.shape, strict=True)):
            if gram is not None:
                matrix = self.point.values[gram_variable(gram, extent)]  # type: ignore[index]
                value = np.moveaxis(np.tensordot(matrix, value, (1, axis)), 0, axis)
        return value

    def _paired(self, space: Space, u: Value, found: tuple[Value, Value]) -> tuple[float, float, float]:
        """<u, y>, how far rounding may put it off, and the sum of its terms' absolute values."""
        weights, y, bound = vector(self.flat(space, u)), vector(found[0]), vector(found[1])
        terms = abs(weights) @ abs(y)
        return float(weights @ y), float(abs(weights) @ bound + (y.size + 4) * terms), float(terms)

    def _adjoint_pair(self, group: str, left: tuple, right: tuple) -> Finding:
        (a, a_bound, scale), (b, b_bound, _) = left, right
        scale = scale or 1.0
        bound = EPS * (a_bound + b_bound) / scale
        return Finding(self.layer.name, "adjoint", group, abs(a - b) / scale, bound)

    # --- the laws

    def adjoint(self) -> Iterator[Finding]:
        """<u, D v> = <D* u, v> for every argument, in the spaces' own inner products."""
        for x in self.x:
            linear = self.layer.derivative(x.name)
            left = self._paired(linear.codomain, self.u, self._applied(linear, self.v[x]))
            right = self._paired(x.space, self.v[x], self._applied(linear.adjoint, self.u))
            yield self._adjoint_pair(x.name, left, right)

    def second_adjoint(self) -> Iterator[Finding]:
        """<u, B (e1, e2)> = <(e1 _| B)* u, e2> = <(B |_ e2)* u, e1>."""
        for x, y in product(self.x, repeat=2):
            bilinear = self.layer.second(x.name, y.name)
            e1, e2 = self.v[x], self._draw(y.space)
            fixed = {bilinear.left: e1, bilinear.right: e2}
            (value,) = self._bounded([bilinear.body], fixed)
            left = self._paired(bilinear.body.space, self.u, value)
            for hook, space, e in ((bilinear.hook(), y.space, e2), (bilinear.right_hook(), x.space, e1)):
                right = self._paired(space, e, self._applied(hook.adjoint, self.u, fixed))
                yield self._adjoint_pair(f"{x.name}, {y.name}", left, right)

    def symmetry(self) -> Iterator[Finding]:
        """D^2 f (e1, e2) = D^2 f (e2, e1), and D nabla f (e, u) = nabla D f (u, e)."""
        for i, x in enumerate(self.x):
            for y in self.x[i:]:
                one, other = self.layer.second(x.name, y.name), self.layer.second(y.name, x.name)
                e1, e2 = self.v[x], self._draw(y.space)
                ((a, e),) = self._bounded([one.body], {one.left: e1, one.right: e2})
                ((b, d),) = self._bounded([other.body], {other.left: e2, other.right: e1})
                bound = EPS * (largest(e) + largest(d))
                yield self._finding("symmetry", f"{x.name}, {y.name}", a, b, bound)

    def remainder(self) -> Iterator[Finding]:
        """|f(x + h v) - f(x) - h D v| = O(h^2), by each argument."""
        for x in self.x:
            slope = self._slope([x], [self._first(x)])
            yield Finding(self.layer.name, "remainder 2", x.name, max(0.0, 2 - slope), SLOPE)

    def second_remainder(self) -> Iterator[Finding]:
        """|f(x + h v) - f(x) - h D v - h^2/2 D^2 (v, v)| = O(h^3), v in all arguments at once."""
        if not self.x:
            return
        first = sum(self._first(x) for x in self.x)
        second = sum(self._second(x, y) for x, y in product(self.x, repeat=2))
        slope = self._slope(self.x, [first, second / 2])
        yield Finding(self.layer.name, "remainder 3", "all", max(0.0, 3 - slope), SLOPE)

    def _first(self, x: Variable) -> Array:
        return vector(self._applied(self.layer.derivative(x.name), self.v[x])[0])

    def _second(self, x: Variable, y: Variable) -> Array:
        bilinear = self.layer.second(x.name, y.name)
        e = {bilinear.left: self.v[x], bilinear.right: self.v[y]}
        return vector(self._values([bilinear.body], e)[0])

    def _slope(self, along: Sequence[Variable], terms: Sequence[Array]) -> float:
        """The slope of the remainder's logarithm; infinite where it is below round-off.

        The larger one of both signs of h is taken: two terms of the series can't cancel in both.
        """
        floor = ABOVE_ROUNDING * EPS * largest(self.f_bound)
        kept = []
        for h in STEPS:
            both = [self._remainder(s * h, along, terms) for s in (1, -1)]
            if None not in both and max(both) > floor:  # type: ignore[type-var]
                kept.append((np.log(h), np.log(max(both))))  # type: ignore[type-var]
        if len(kept) < 2:
            return np.inf
        return float(np.polyfit(*zip(*kept[-4:], strict=True), 1)[0])

    def _remainder(self, h: float, along: Sequence[Variable], terms: Sequence[Array]) -> float | None:
        """None where a kink lies between."""
        there = Point(self.point.sizes, {**self.point.values, **self._at(h, along)})
        if not same_side(self.layer.output, self.point, there):
            return None
        (f,) = values_of([self.layer.output], there.values, there.sizes)
        series = sum(h ** (k + 1) * term for k, term in enumerate(terms))
        return float(np.max(abs(vector(f) - vector(self.f) - series), initial=0.0))

    def difference(self) -> Iterator[Finding]:
        """(f(x + h v) - f(x - h v)) / 2h = D v by every argument."""
        for x in self.x:
            ((quotient, bound),) = self._quotients([self.layer.output], x)
            yield self._finding("difference", x.name, quotient, self._first(x), bound)

    def difference_of_the_adjoint(self) -> Iterator[Finding]:
        """The difference of x -> D*_a f(x) u along each argument x is (v _| D_x D_a f)* u."""
        adjoints = {a: self.layer.derivative(a.name).adjoint for a in self.x}
        given = {linear.variable: self.u for linear in adjoints.values()}
        for x in self.x:
            roots = [linear.body for linear in adjoints.values()]
            quotients = self._quotients(roots, x, given)
            for a, (quotient, bound) in zip(adjoints, quotients, strict=True):
                bilinear = self.layer.second(x.name, a.name)
                second = bilinear.hook().adjoint
                (expected,) = self._values(
                    [second.body], {bilinear.left: self.v[x], second.variable: self.u}
                )
                group = f"{a.name} along {x.name}"
                yield self._finding("difference of the adjoint", group, quotient, expected, bound)

    def _quotients(
        self, roots: Sequence[Node], x: Variable, more: Mapping[Variable, Value] = {}
    ) -> list[tuple[Array, float]]:
        """Central differences of expressions along v, and how far they may be off."""
        above, below = (self._values(roots, more, self._at(s * STEP, [x])) for s in (1, -1))
        found = []
        for (_, rounding), a, b in zip(self._bounded(roots, more), above, below, strict=True):
            quotient = (vector(a) - vector(b)) / (2 * STEP)
            truncation = TRUNCATION * max(largest(quotient), largest(a))
            found.append((quotient, EPS * largest(rounding) / STEP + truncation))
        return found

    def complex_step(self) -> Iterator[Finding]:
        """Im f(x + i h v) / h = D v, to rounding: complex arithmetic takes up to 4 times as much."""
        for x in self.x:
            (f,) = self._values([self.layer.output], {}, self._at(1j * COMPLEX_STEP, [x]))
            expected, bound = self._applied(self.layer.derivative(x.name), self.v[x])
            found = vector(f).imag / COMPLEX_STEP
            rounding = largest(bound) + largest(expected)  # h v and Im f / h are rounded, too
            yield self._finding("complex step", x.name, found, expected, 4 * EPS * rounding)


def is_continued(output: Node) -> bool:
    """Every psi is analytic, in functions that NumPy evaluates at complex arguments."""
    operations = [node.operation for node in topological(output) if isinstance(node, Elementwise)]
    used = {f.func for psi in operations for f in psi.body.atoms(sympy.Function)}
    return all(psi.analytic for psi in operations) and used <= CONTINUED
