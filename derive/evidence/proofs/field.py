"""An exact test whether SymPy expressions of real variables are identically zero.

Each expression is evaluated, without rounding, at random points of a tower of prime fields

    F_p0, F_p1, F_p2, ...      with  p_k | p_{k+1} - 1  and  p_k = -1 mod M,  M = 8*3*5*7*11*13.

A symbol is one random rational number; every field of the tower and the reals see that number.

* Sums, products and integer powers are those of the field.
* exp(v) = g^v maps F_{p_k} into F_{p_{k+1}}, with g of order p_k. An expression with exponentials
  nested d deep is evaluated in F_pd, the arguments of its exponentials one field lower. The
  hyperbolic functions are rational functions of exp.
* v**r for rational r is the automorphism v -> v^r of the squares of F_p, a group of odd order
  (p - 1)/2 prime to M; at a point where v is not a square, another point is drawn. As p = -1 mod M,
  the integers up to 16 are squares in every field of every tower.
* Piecewise, Abs, Max, Min, sign, Heaviside and DiracDelta take the branch that the real numbers
  take at the same point (30 digits). A point with the sides of a condition nearer than 1e-15, with
  an argument of a root or logarithm that is not positive, or with a zero denominator is redrawn.
* log|v|, tan(v/2), erf, the inverse functions and undefined functions are opaque: a random
  function of the value v of their argument. Logarithms of products, powers and exponentials are
  first taken apart; sin, cos and tan are rational in tan(v/2); pi is the square of a random one.

**A zero is always recognised** if it follows from the laws of a field, exp(a + b) = exp(a)exp(b),
(uv)**r = u**r v**r, u**(r + s) = u**r u**s, (u**r)**s = u**(r s) for u > 0, log(uv) = log u + log v
for factors that SymPy shows, sin**2 + cos**2 = 1, and the parity of the functions: every law is an
exact law of the evaluation, so the value is 0 at every point. Other laws, such as sin(2x) =
2 sin(x) cos(x), log of a sum that factors, or the root of a square that is written out, are not
seen: this gives a false "not zero", and never a false zero.

**A false zero.** The rationals drawn are 2^30 distinct elements of F_p. A rational function with a
numerator of degree d that is not zero modulo p is zero at one point with probability at most
d / 2^30 (Schwartz 1980, Zippel 1979), and at all of s points with at most (d / 2^30)^s. That p does
not divide every coefficient, and that g^v and opaque values behave as independent random elements
of a field of 61 bits or more, is heuristic. A difference that shows only in one region of space,
where certain branches are taken, is seen only by a point in that region; the number of points is
raised to 16 * 2^m for an expression with m = 1, 2, 3 or more selections. A root of a square that
is written out has a random sign at each point, so with roots there are 16 points at least.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator, Sequence
from functools import reduce

import sympy

from .branches import under_conditions
from .field_values import values
from .prime_fields import Point, Redraw
from .scalar_graph import Graph
from .scalar_rules import insert

DRAWS = 4096  # points tried before a function is called undefined: some 10 independent roots
DRAWS_PER_TOWER = 256  # a constant that is not a square in one tower may be one in the next


class NoPoint(ArithmeticError):
    """No random point was found at which all expressions have a value."""


def selections(graph: Graph, roots: list[int]) -> int:
    """The largest number of selections with more than one branch that a root depends on."""
    below: list[int] = []
    for i, node in enumerate(graph.nodes):
        own = 1 << i if node.op == "select" and len(node.args) > 2 else 0
        below.append(reduce(operator.or_, (below[a] for a in node.args), own))
    return max(below[r].bit_count() for r in roots)


def points_for(graph: Graph, roots: list[int], points: int) -> int:
    """More points for branches and for roots, as described in the module's docstring."""
    bases = (graph.nodes[n.args[0]].op for n in graph.nodes if n.op == "root")
    rooted = any(op not in ("num", "pi") for op in bases)
    branching = selections(graph, roots)
    return max(points, 16 << min(branching, 3)) if branching or rooted else points


def defined_values(graph: Graph, roots: list[int], seed: int, points: int) -> Iterator[list[int]]:
    """The values of the roots at each of the points where all are defined."""
    order = under_conditions(graph.nodes)
    for first in range(0, points * DRAWS, DRAWS):
        for draw in range(DRAWS):
            try:
                point = Point(seed, first + draw)
                yield values(graph, roots, order, point, draw // DRAWS_PER_TOWER)
                break
            except Redraw as reason:
                last = str(reason)
        else:
            raise NoPoint(
                f"no value at any of {DRAWS} random points, last because {last}: test fewer "
                "expressions at a time, or declare symbols positive=True"
            )


def nonzero(graph: Graph, roots: list[int], seed: int, points: int) -> Iterator[list[int]]:
    """For each point, the numbers of the roots that are not zero there."""
    if roots:
        for row in defined_values(graph, roots, seed, points_for(graph, roots, points)):
            yield [i for i, value in enumerate(row) if value]


def first_nonzero(graph: Graph, roots: list[int], seed: int, points: int) -> int | None:
    return next((found[0] for found in nonzero(graph, roots, seed, points) if found), None)


def insert_all(graph: Graph, expressions: Sequence[sympy.Expr]) -> list[int]:
    known: dict[int, int] = {}
    for i, expr in enumerate(expressions):
        if not isinstance(expr, sympy.Expr):
            raise TypeError(f"component {i}: expected a SymPy expression, got {type(expr)}")
    return [insert(graph, expr, known) for expr in expressions]


def vanishes(expressions: Sequence[sympy.Expr], *, seed: int = 0, points: int = 2) -> bool:
    """Whether every expression is zero wherever it is real and defined.

    False if a value is not zero in the field; True is wrong with the probability that the
    docstring of the module gives. Raises TypeError for anything but a scalar expression in known
    real functions, ValueError for points < 1, and ArithmeticError if no point has a value.

    >>> x = sympy.Symbol("x", real=True)
    >>> vanishes([sympy.tanh(x).diff(x) - sympy.cosh(x)**-2])
    True
    """
    if points < 1:
        raise ValueError(f"points: expected at least 1, got {points}")
    graph = Graph()
    return first_nonzero(graph, insert_all(graph, expressions), seed, points) is None


def difference(
    left: Sequence[sympy.Expr], right: Sequence[sympy.Expr], seed: int = 0, points: int = 2
) -> int | None:
    """The index of a component where left and right differ, None if they are equal.

    It is the first of those that differ at the first point where any does. Raises as vanishes
    does, and ValueError for unequal lengths.

    >>> x, y = sympy.symbols("x y", real=True)
    >>> difference([x, (x + y)**2], [x, x**2 + y**2], seed=0)
    1
    """
    if len(left) != len(right):
        raise ValueError(f"expected as many components, got {len(left)} and {len(right)}")
    if points < 1:
        raise ValueError(f"points: expected at least 1, got {points}")
    graph = Graph()
    pairs = zip(insert_all(graph, left), insert_all(graph, right), strict=True)
    return first_nonzero(graph, [graph.add(u, graph.neg(v)) for u, v in pairs], seed, points)


def differences(
    pairs: Sequence[tuple[Sequence[sympy.Expr], Sequence[sympy.Expr]]],
    seed: int = 0,
    points: int = 2,
) -> list[int | None]:
    """`difference` of every pair, at the same points, so that shared parts are evaluated once.

    >>> x, y = sympy.symbols("x y", real=True)
    >>> differences([([x], [x]), ([x, y**2], [x, y])])
    [None, 1]
    """
    if any(len(left) != len(right) for left, right in pairs) or points < 1:
        raise ValueError("expected pairs with equal numbers of components, and at least 1 point")
    graph = Graph()
    left = insert_all(graph, [entry for pair in pairs for entry in pair[0]])
    right = insert_all(graph, [entry for pair in pairs for entry in pair[1]])
    places = [(number, place) for number, pair in enumerate(pairs) for place in range(len(pair[0]))]
    roots = [graph.add(u, graph.neg(v)) for u, v in zip(left, right, strict=True)]
    first: dict[int, int] = {}
    for found in nonzero(graph, roots, seed, points):
        for root in found:
            first.setdefault(*places[root])
    return [first.get(number) for number in range(len(pairs))]
