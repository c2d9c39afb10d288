"""The laws of a layer's derived maps, on the reference.

adjoint                      <u, D v> = <D* u, v>, and so for the second-order maps
symmetry                     D^2 f (e1, e2) = D^2 f (e2, e1), D nabla f = nabla D f
remainder 2, remainder 3     f(x + h v) - f(x) - h D v has slope 2, with the second order slope 3
difference                   (f(x + h v) - f(x - h v)) / 2h = D v
difference of the adjoint    the same for x -> D* u: the second-order adjoints
complex step                 Im f(x + i h v) / h = D v, where every psi is analytic

v and u are random, so that any wrong entry shows with probability one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np
import sympy

from ...calculus.calculus import tangent
from ...calculus.maps import LinearMap
from ...language.expressions import Elementwise, Node, Variable
from ...language.reference import Array, Value, values_of
from ...language.spaces import Space
from ...language.walk import topological
from ...models.layers import Layer
from .drawing import Point, draw
from .findings import EPS, Finding, compared, largest, vector
from .oracles import Pairing, Values, moved_point, pairing, quotients, slope
from .rounding import values_and_bounds

COMPLEX_STEP = 1e-20  # its square vanishes beside 1: no truncation error, and no cancellation
SLOPE = 0.25  # tolerance: the next term changes a slope by O(h), a wrong term by 1
CONTINUED = {
    *(sympy.exp, sympy.log, sympy.tanh, sympy.sin, sympy.cos),
    *(sympy.sinh, sympy.cosh, sympy.atan),
}


class MapLaws:
    """The laws of a layer's maps at a point; each method is one law and yields its findings."""

    def __init__(self, layer: Layer, point: Point, random: np.random.Generator) -> None:
        self.layer, self.point, self.random = layer, point, random
        self.x = layer.differentiable
        self.v = {x: self._draw(x.space) for x in self.x}
        self.e = {x: self._draw(x.space) for x in self.x}
        self.u = self._draw(layer.output.space)

    def findings(self) -> Iterator[Finding]:
        """All laws, the fast ones first."""
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

    def _with(self, more: Values) -> Point:
        return Point(self.point.sizes, {**self.point.values, **more})

    def _bounded(self, root: Node, more: Values) -> tuple[Value, Value]:
        (found,) = values_and_bounds([root], {**self.point.values, **more}, self.point.sizes)
        return found

    def _applied(
        self, linear: LinearMap, value: Value, more: Values | None = None
    ) -> tuple[Value, Value]:
        """L v and the bound of its rounding error."""
        return self._bounded(linear.body, {**(more or {}), linear.variable: value})

    def _pairing(self, space: Space, u: Value, found: tuple[Value, Value]) -> Pairing:
        return pairing(space, u, found, self.point.values)

    def _same(self, law: str, group: str, found: Value, expected: Value, bound: float) -> Finding:
        return compared(self.layer.name, law, group, found, expected, bound)

    def _first(self, x: Variable) -> Array:
        return vector(self._applied(self.layer.derivative(x.name), self.v[x])[0])

    def _second(self, x: Variable, y: Variable) -> Array:
        bilinear = self.layer.second(x.name, y.name)
        e = {bilinear.left: self.v[x], bilinear.right: self.v[y]}
        return vector(self._bounded(bilinear.body, e)[0])

    # --- the laws

    def adjoint(self) -> Iterator[Finding]:
        """<u, D v> = <D* u, v> for every argument, in the spaces' own inner products."""
        for x in self.x:
            linear = self.layer.derivative(x.name)
            left = self._pairing(linear.codomain, self.u, self._applied(linear, self.v[x]))
            right = self._pairing(x.space, self.v[x], self._applied(linear.adjoint, self.u))
            yield left.against(right, self.layer.name, "adjoint", x.name)

    def second_adjoint(self) -> Iterator[Finding]:
        """<u, B (e1, e2)> = <(e1 _| B)* u, e2> = <(B |_ e2)* u, e1>."""
        for x, y in product(self.x, repeat=2):
            bilinear = self.layer.second(x.name, y.name)
            given = {bilinear.left: self.v[x], bilinear.right: self.e[y]}
            value = self._bounded(bilinear.body, given)
            left = self._pairing(bilinear.body.space, self.u, value)
            hooks = ((bilinear.hook(), y, self.e[y]), (bilinear.right_hook(), x, self.v[x]))
            for hook, z, e in hooks:
                right = self._pairing(z.space, e, self._applied(hook.adjoint, self.u, given))
                yield left.against(right, self.layer.name, "adjoint", f"{x.name}, {y.name}")

    def symmetry(self) -> Iterator[Finding]:
        """D^2 f (e1, e2) = D^2 f (e2, e1), and D nabla f (e, u) = nabla D f (u, e)."""
        for i, x in enumerate(self.x):
            for y in self.x[i:]:
                one, other = self.layer.second(x.name, y.name), self.layer.second(y.name, x.name)
                e1, e2 = self.v[x], self.e[y]
                a, a_bound = self._bounded(one.body, {one.left: e1, one.right: e2})
                b, b_bound = self._bounded(other.body, {other.left: e2, other.right: e1})
                bound = EPS * (largest(a_bound) + largest(b_bound))
                yield self._same("symmetry", f"{x.name}, {y.name}", a, b, bound)

    def remainder(self) -> Iterator[Finding]:
        """|f(x + h v) - f(x) - h D v| = O(h^2), for each argument."""
        for x in self.x:
            yield self._slope(2, x.name, [x], [self._first(x)])

    def second_remainder(self) -> Iterator[Finding]:
        """|f(x + h v) - f(x) - h D v - h^2/2 D^2 (v, v)| = O(h^3), v in all arguments at once."""
        if self.x:
            first = np.sum([self._first(x) for x in self.x], axis=0)
            second = np.sum([self._second(x, y) for x, y in product(self.x, repeat=2)], axis=0)
            yield self._slope(3, "all arguments", self.x, [first, second / 2])

    def _slope(
        self, order: int, group: str, along: Sequence[Variable], terms: Sequence[Array]
    ) -> Finding:
        v = {x: self.v[x] for x in along}
        missing = max(0.0, order - slope(self.layer.output, self.point, v, terms))
        return Finding(self.layer.name, f"remainder {order}", group, missing, SLOPE)

    def difference(self) -> Iterator[Finding]:
        """(f(x + h v) - f(x - h v)) / 2h = D v for every argument."""
        for x in self.x:
            ((found, bound),) = quotients([self.layer.output], self.point, {x: self.v[x]})
            yield self._same("difference", x.name, found, self._first(x), bound)

    def difference_of_the_adjoint(self) -> Iterator[Finding]:
        """The difference of x -> D*_a f(x) u along x is (v _| D_x D_a f)* u, and so is its tangent.

        The second-order adjoints are derived in both orders: transposed or differentiated last.
        """
        adjoints = [self.layer.derivative(a.name).adjoint for a in self.x]
        point = self._with({linear.variable: self.u for linear in adjoints})
        for x in self.x:
            found = quotients([linear.body for linear in adjoints], point, {x: self.v[x]})
            for a, linear, (quotient, bound) in zip(self.x, adjoints, found, strict=True):
                bilinear = self.layer.second(x.name, a.name)
                v = {bilinear.left: self.v[x]}
                second, _ = self._applied(bilinear.hook().adjoint, self.u, v)
                group = f"{a.name} along {x.name}"
                yield self._same("difference of the adjoint", group, quotient, second, bound)
                tangent_of = tangent(linear.body, {x: bilinear.left})
                other, _ = self._bounded(tangent_of, {**v, linear.variable: self.u})
                yield self._same("difference of the adjoint", group, quotient, other, bound)

    def complex_step(self) -> Iterator[Finding]:
        """Im f(x + i h v) / h = D v up to rounding, which is up to 4 times that of reals."""
        for x in self.x:
            there = moved_point(self.point, 1j * COMPLEX_STEP, {x: self.v[x]})
            (f,) = values_of([self.layer.output], there.values, there.sizes)
            found = vector(f).imag / COMPLEX_STEP
            expected, bound = self._applied(self.layer.derivative(x.name), self.v[x])
            rounding = largest(bound) + largest(expected)  # h v and Im f / h are rounded as well
            yield self._same("complex step", x.name, found, expected, 4 * EPS * rounding)


def is_continued(output: Node) -> bool:
    """Whether every psi is analytic, and NumPy evaluates its functions at complex numbers."""
    operations = [node.operation for node in topological(output) if isinstance(node, Elementwise)]
    used = {f.func for psi in operations for f in psi.body.atoms(sympy.Function)}
    return all(psi.analytic for psi in operations) and used <= CONTINUED
