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
import random
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, reduce, singledispatch
from hashlib import blake2b
from itertools import count, islice
from math import prod
from typing import Any, NamedTuple

import mpmath
import sympy
from sympy.codegen.cfunctions import expm1, log1p
from sympy.core.function import AppliedUndef

SMALL = 8 * 3 * 5 * 7 * 11 * 13  # the M above
DRAWS = 4096  # points tried before a function is called undefined: some 10 independent roots
DRAWS_PER_TOWER = 256  # a constant that is no square in one tower may be one in the next
REAL = mpmath.mp.clone()
REAL.dps = 30


class Redraw(Exception):
    """The expression has no value at this point."""


# ---- points and fields ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Point:
    """Random values for symbols, fixed by a seed and the number of the draw.

    >>> Point(0, 0).rational(sympy.Symbol("x")) == Point(0, 0).rational(sympy.Symbol("x"))
    True
    """

    seed: int
    draw: int

    def rational(self, symbol: sympy.Symbol) -> Fraction:
        """One of 2^30 odd multiples of 2^-29 in (-2, 2), with the sign the symbol assumes."""
        value = Fraction(2 * self.element(2**30, sympy.srepr(symbol)) + 1 - 2**30, 2**29)
        if symbol.is_nonnegative or symbol.is_nonpositive:
            return abs(value) if symbol.is_nonnegative else -abs(value)
        return value

    def element(self, modulus: int, *key: Hashable) -> int:
        """A pseudo-random integer in [0, modulus), the same for the same key."""
        digest = blake2b(repr((self.seed, self.draw, modulus, key)).encode())
        return int.from_bytes(digest.digest()) % modulus


class Field(NamedTuple):
    """F_p, with g an element whose order is the prime of the field below (1 at the bottom)."""

    p: int
    g: int


@cache
def field(tower: int, level: int) -> Field:
    """The field of a tower at a level: p = -1 mod SMALL, and p_{k+1} = c p_k + 1."""
    if level == 0:
        start = 2**61 // SMALL + 2**20 * tower
        return Field(next(p for j in count(start) if sympy.isprime(p := j * SMALL - 1)), 1)
    below = field(tower, level - 1).p
    primes = ((c * below + 1, c) for c in count(2, SMALL) if sympy.isprime(c * below + 1))
    return next(Field(p, g) for p, c in primes if (g := pow(2, c, p)) != 1)


# ---- the expressions as one graph ----------------------------------------------------------------


class Node(NamedTuple):
    """An operation, the numbers of its operands (lower than its own), and a constant."""

    op: str
    args: tuple[int, ...] = ()
    data: Any = None


class Graph:
    """Expressions as numbered nodes, equal ones once, operands before their use."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.depth: list[int] = []  # how deep exponentials nest below each node
        self._number: dict[Node, int] = {}

    def node(self, op: str, *args: int, data: Any = None) -> int:
        node = Node(op, args, data)
        number = self._number.setdefault(node, len(self.nodes))
        if number == len(self.nodes):
            used = args[1::2] if op == "select" else args
            self.nodes.append(node)
            self.depth.append(max((self.depth[a] for a in used), default=0) + (op == "exp"))
        return number

    def num(self, value: Fraction | int) -> int:
        return self.node("num", data=Fraction(value))

    def add(self, *args: int) -> int:
        return self.node("add", *args)

    def mul(self, *args: int) -> int:
        return self.node("mul", *args)

    def neg(self, u: int) -> int:
        return self.mul(self.num(-1), u)

    def inverse(self, u: int) -> int:
        return self.node("pow", u, data=-1)

    def exp(self, u: int) -> int:
        return self.node("exp", u)

    def less(self, a: int, b: int) -> int:
        return self.node("less", a, b)

    def select(self, *pairs: int) -> int:
        """select(c1, v1, c2, v2, ...): the value of the first true condition; undefined if none."""
        return self.node("select", *pairs)

    def by_sign(self, u: int, positive: int, negative: int) -> int:
        zero = self.num(0)
        return self.select(self.less(zero, u), positive, self.less(u, zero), negative)

    def where_positive(self, u: int, value: int) -> int:
        return self.select(self.less(self.num(0), u), value)

    def absolute(self, u: int) -> int:
        return self.by_sign(u, u, self.neg(u))

    def opaque(self, name: str, parity: int, *args: int) -> int:
        """parity: 1 for even, -1 for odd functions of one argument, 0 for all others."""
        return self.node("opaque", *args, data=(name, parity))

    def tan_half(self, u: int) -> int:
        return self.opaque("tan_half", -1, u)

    def power(self, u: int, r: Fraction) -> int:
        """u**r for a rational number r; a fractional power wants u > 0."""
        op, args, n = self.nodes[u]
        if r.denominator == 1:
            return self.node("pow", u, data=r.numerator)
        if op == "exp":
            return self.exp(self.mul(self.num(r), *args))
        if op == "pow" and n % 2 == 0:
            return self.power(self.absolute(*args), n * r)
        return self.where_positive(u, self.node("root", u, data=r))

    def log(self, u: int) -> int:
        return self.where_positive(u, self.log_absolute(u))

    def log_absolute(self, u: int) -> int:
        """log|u|, by log|ab| = log|a| + log|b|, log|a**r| = r log|a|, log exp(a) = a."""
        op, args, data = self.nodes[u]
        if op == "mul":
            return self.add(*map(self.log_absolute, args))
        if op in ("pow", "root"):
            return self.mul(self.num(data), self.log_absolute(*args))
        if op == "exp":
            return args[0]
        if op == "num" and data.denominator != 1:
            up, down = map(self.num, data.as_integer_ratio())
            return self.add(self.log_absolute(up), self.neg(self.log_absolute(down)))
        return self.opaque("log_absolute", 1, u)

    def general_power(self, u: int, v: int) -> int:
        """u**v = u**r exp((v - r) log u), with r the numbers among the terms of v."""
        terms = self.nodes[v].args if self.nodes[v].op == "add" else (v,)
        numbers = [t for t in terms if self.nodes[t].op == "num"]
        rest = self.add(*(t for t in terms if t not in numbers))
        r = sum((self.nodes[t].data for t in numbers), Fraction(0))
        return self.mul(self.power(u, r), self.exp(self.mul(rest, self.log(u))))

    def insert(self, root: sympy.Basic, known: dict[int, int]) -> int:
        """The node of an expression; known maps the id of a live expression to its node."""
        stack = [root]
        while stack:
            parts = operands(stack[-1])
            if waiting := [a for a in parts if id(a) not in known]:
                stack.extend(waiting)
                continue
            expr = stack.pop()
            if id(expr) not in known:
                known[id(expr)] = rule(expr, self, *(known[id(a)] for a in parts))
        return known[id(root)]


# ---- one rule for each class of SymPy ------------------------------------------------------------


def operands(expr: sympy.Basic) -> tuple[sympy.Basic, ...]:
    """The arguments of an expression that has a rule; conditions before their values."""
    if isinstance(expr, sympy.Piecewise):
        return tuple(part for value, condition in expr.args for part in (condition, value))
    return () if rule.dispatch(type(expr)) is rule.dispatch(object) else expr.args


@singledispatch
def rule(expr: sympy.Basic, graph: Graph, *args: int) -> int:
    """The node of an expression whose operands have the nodes args."""
    large = sum(1 for _ in islice(sympy.preorder_traversal(expr), 40)) == 40
    raise TypeError(
        f"no zero test for {type(expr).__name__} in {'a large expression' if large else expr}: "
        "expected real elementary functions of symbols; evaluate derivatives and sums with doit(), "
        "declare symbols real=True"
    )


@rule.register
def _(expr: sympy.Symbol, graph: Graph) -> int:
    if expr.is_extended_real is False or not expr.is_commutative:
        raise TypeError(f"symbol {expr} is not a real number: declare it with real=True")
    return graph.node("sym", data=expr)


@rule.register(sympy.Rational)
@rule.register(sympy.Float)
def _(expr: sympy.Number, graph: Graph) -> int:
    exact = sympy.Rational(expr)
    return graph.num(Fraction(int(exact.p), int(exact.q)))


@rule.register(sympy.Pow)
def _(expr: sympy.Pow, graph: Graph, u: int, v: int) -> int:
    if expr.base is sympy.E:
        return graph.exp(v)
    op, _, r = graph.nodes[v]
    return graph.power(u, r) if op == "num" else graph.general_power(u, v)


@rule.register
def _(expr: AppliedUndef, graph: Graph, *args: int) -> int:
    return graph.opaque(f"undefined {expr.func}", 0, *args)


def extreme(graph: Graph, u: int, *rest: int, least: bool) -> int:
    for v in rest:
        below, above = graph.less(u, v), graph.less(v, u)
        u = graph.select(below, u, above, v) if least else graph.select(above, u, below, v)
    return u


def tanh(graph: Graph, u: int) -> int:
    """1 - 2/(exp(2u) + 1)."""
    e = graph.exp(graph.mul(graph.num(2), u))
    ratio = graph.mul(graph.num(-2), graph.inverse(graph.add(e, graph.num(1))))
    return graph.add(graph.num(1), ratio)


def half_sum(graph: Graph, u: int, sign: int) -> int:
    """(exp(u) + sign exp(-u)) / 2."""
    e = graph.exp(u)
    return graph.mul(
        graph.num(Fraction(1, 2)), graph.add(e, graph.mul(graph.num(sign), graph.inverse(e)))
    )


def sine(graph: Graph, u: int) -> int:
    """2t/(1 + t**2) with t = tan(u/2)."""
    t = graph.tan_half(u)
    return graph.mul(graph.num(2), t, graph.inverse(graph.add(graph.num(1), graph.mul(t, t))))


def cosine(graph: Graph, u: int) -> int:
    """2/(1 + t**2) - 1 with t = tan(u/2)."""
    t = graph.tan_half(u)
    ratio = graph.inverse(graph.add(graph.num(1), graph.mul(t, t)))
    return graph.add(graph.mul(graph.num(2), ratio), graph.num(-1))


def apart(graph: Graph, a: int, b: int) -> int:
    return graph.node("or", graph.less(a, b), graph.less(b, a))


RULES: dict[type, Callable[..., int]] = {
    sympy.Add: Graph.add,
    sympy.Mul: Graph.mul,
    sympy.exp: Graph.exp,
    sympy.log: Graph.log,
    sympy.Abs: Graph.absolute,
    sympy.Piecewise: Graph.select,
    sympy.tanh: tanh,
    sympy.sin: sine,
    sympy.cos: cosine,
    sympy.tan: lambda g, u: g.mul(sine(g, u), g.inverse(cosine(g, u))),
    sympy.sinh: lambda g, u: half_sum(g, u, -1),
    sympy.cosh: lambda g, u: half_sum(g, u, 1),
    sympy.coth: lambda g, u: g.inverse(tanh(g, u)),
    sympy.sech: lambda g, u: g.inverse(half_sum(g, u, 1)),
    sympy.csch: lambda g, u: g.inverse(half_sum(g, u, -1)),
    sympy.erfc: lambda g, u: g.add(g.num(1), g.neg(g.opaque("erf", -1, u))),
    log1p: lambda g, u: g.log(g.add(g.num(1), u)),
    expm1: lambda g, u: g.add(g.exp(u), g.num(-1)),
    sympy.Heaviside: lambda g, u, *_: g.by_sign(u, g.num(1), g.num(0)),
    sympy.sign: lambda g, u: g.by_sign(u, g.num(1), g.num(-1)),
    sympy.DiracDelta: lambda g, u, *_: g.by_sign(u, g.num(0), g.num(0)),
    sympy.Max: lambda g, *u: extreme(g, *u, least=False),
    sympy.Min: lambda g, *u: extreme(g, *u, least=True),
    sympy.StrictLessThan: Graph.less,
    sympy.LessThan: Graph.less,
    sympy.StrictGreaterThan: lambda g, a, b: g.less(b, a),
    sympy.GreaterThan: lambda g, a, b: g.less(b, a),
    sympy.Ne: apart,
    sympy.Eq: lambda g, a, b: g.node("not", apart(g, a, b)),
    sympy.And: lambda g, *c: g.node("and", *c),
    sympy.Or: lambda g, *c: g.node("or", *c),
    sympy.Not: lambda g, c: g.node("not", c),
    type(sympy.true): lambda g: g.node("and"),
    type(sympy.false): lambda g: g.node("or"),
    type(sympy.E): lambda g: g.exp(g.num(1)),
    type(sympy.pi): lambda g: g.node("pi"),
    **{
        getattr(sympy, name): lambda g, u, name=name: g.opaque(name, -1, u)
        for name in ("erf", "atan", "asin", "asinh", "atanh")
    },
}
for _class, _rule in RULES.items():
    rule.register(_class)(lambda expr, graph, *args, _rule=_rule: _rule(graph, *args))


# ---- real values decide the branches -------------------------------------------------------------


def real_less(a: Any, b: Any) -> bool | None:
    """a < b, or None if the two are too near to tell."""
    return None if abs(a - b) <= 1e-15 * max(1, abs(a), abs(b)) else bool(a < b)


def real_exp(v: Any) -> Any:
    return REAL.exp(v) if abs(v) < 10**6 else None


def real_undefined(name: str, *args: Any) -> Any:
    """A smooth function that stands for an undefined one: it only decides branches."""
    draw = random.Random(name).uniform
    return REAL.cos(draw(-2, 2) + sum(draw(-2, 2) * a for a in args))


REAL_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "log_absolute": lambda v: REAL.log(abs(v)),
    "tan_half": lambda v: REAL.tan(v / 2),
    **{name: getattr(REAL, name) for name in ("erf", "atan", "asin", "asinh", "atanh")},
}


def real_opaque(data: tuple[str, int], *args: Any) -> Any:
    name = data[0]
    function = REAL_FUNCTIONS.get(name)
    return function(*args) if function else real_undefined(name, *args)


REAL_OPS: dict[str, Callable[..., Any]] = {
    "num": lambda data: REAL.mpf(data.numerator) / data.denominator,
    "pi": lambda data: +REAL.pi,
    "add": lambda data, *x: sum(x, REAL.zero),
    "mul": lambda data, *x: prod(x, start=REAL.one),
    "pow": lambda data, x: x**data,
    "root": lambda data, x: x ** (REAL.mpf(data.numerator) / data.denominator),
    "exp": lambda data, x: real_exp(x),
    "opaque": real_opaque,
    "less": lambda data, a, b: real_less(a, b),
    "and": lambda data, *c: all(c),
    "or": lambda data, *c: any(c),
    "not": lambda data, c: not c,
}


def branch(args: tuple[int, ...], value: dict[int, Any]) -> int | None:
    """The operand that a selection takes, None if it is undecided or undefined."""
    for condition, chosen in zip(args[::2], args[1::2], strict=True):
        if value[condition] is not False:
            return chosen if value[condition] else None
    return None


def real_value(node: Node, value: dict[int, Any], point: Point) -> Any:
    """The real value of a node, None where it is undefined, complex or undecided."""
    if node.op == "sym":
        return REAL_OPS["num"](point.rational(node.data))
    if node.op == "select":
        chosen = branch(node.args, value)
        return None if chosen is None else value[chosen]
    args = [value[a] for a in node.args]
    try:
        result = None if None in args else REAL_OPS[node.op](node.data, *args)
    except (ZeroDivisionError, ValueError, OverflowError):
        return None
    return None if isinstance(result, REAL.mpc) else result


def branches(nodes: list[Node], order: list[int], point: Point) -> dict[int, int | None]:
    """What each selection takes at the point; order holds all that conditions rest on."""
    value: dict[int, Any] = {}
    for i in order:
        value[i] = real_value(nodes[i], value, point)
    return {i: branch(n.args, value) for i, n in enumerate(nodes) if n.op == "select"}


def under_conditions(nodes: list[Node]) -> list[int]:
    """The nodes that the conditions of selections rest on, operands first."""
    used = {c for n in nodes if n.op == "select" for c in n.args[::2]}
    for i in reversed(range(len(nodes))):
        if i in used:
            used.update(nodes[i].args)
    return sorted(used)


# ---- values in the fields ------------------------------------------------------------------------


def field_pow(v: int, n: int, p: int) -> int:
    try:
        return pow(v, n, p)
    except ValueError:
        raise Redraw("a denominator is zero") from None


def field_num(q: Fraction, p: int) -> int:
    return q.numerator * field_pow(q.denominator, -1, p) % p


def field_mul(factors: Iterator[int], p: int) -> int:
    result = 1
    for v in factors:
        result = result * v % p
    return result


def field_root(v: int, r: Fraction, p: int) -> int:
    """v**r in the group of squares, of odd order (p - 1)/2."""
    order = (p - 1) // 2
    if v == 0 or pow(v, order, p) != 1:
        raise Redraw("the argument of a root is not a square")
    return pow(v, field_num(r, order), p)


def field_opaque(data: tuple[str, int], args: tuple[int, ...], p: int, point: Point) -> int:
    """A random function of its arguments: even, odd with 0 -> 0, or neither; log 1 = 0."""
    name, parity = data
    if (name == "log_absolute" and args[0] in (1, p - 1)) or (parity == -1 and args[0] == 0):
        return 0
    flip = parity != 0 and args[0] > p // 2
    value = point.element(p, name, (p - args[0],) if flip else args)
    return (p - value) % p if flip and parity == -1 else value


def field_value(node: Node, x: dict[int, int], p: int, point: Point) -> int:
    op, args, data = node
    if op == "add":
        return sum([x[a] for a in args]) % p
    if op == "mul":
        return field_mul((x[a] for a in args), p)
    if op == "pow":
        return field_pow(x[args[0]], data, p)
    if op == "num" or op == "sym":
        return field_num(data if op == "num" else point.rational(data), p)
    if op == "root":
        return field_root(x[args[0]], data, p)
    if op == "pi":
        return pow(point.element(p, "root of pi"), 2, p)
    return field_opaque(data, tuple(x[a] for a in args), p, point)


def needed(
    nodes: list[Node], used: set[int], chosen: dict[int, int | None]
) -> tuple[list[int], set[int]]:
    """The nodes to evaluate in one field, operands first, and those wanted in the field below."""
    order: list[int] = []
    below: set[int] = set()
    for i in range(max(used, default=-1), -1, -1):
        if i not in used:
            continue
        order.append(i)
        if nodes[i].op == "select":
            if (taken := chosen[i]) is None:
                raise Redraw("a condition is undecided, or a root or logarithm is undefined")
            used.add(taken)
        else:
            (below if nodes[i].op == "exp" else used).update(nodes[i].args)
    return order[::-1], below


def values(graph: Graph, roots: list[int], order: list[int], point: Point, tower: int) -> list[int]:
    """The values of the roots in the top field of the tower; order as for branches."""
    nodes, chosen = graph.nodes, branches(graph.nodes, order, point)
    wanted, plan = set(roots), []
    for _ in range(1 + max(graph.depth[r] for r in roots)):
        now, wanted = needed(nodes, wanted, chosen)
        plan.append(now)
    x: dict[int, int] = {}
    for level, now in enumerate(reversed(plan)):
        (p, g), below, x = field(tower, level), x, {}
        for i in now:
            if nodes[i].op == "exp":
                x[i] = pow(g, below[nodes[i].args[0]], p)
            elif (taken := chosen.get(i)) is not None:
                x[i] = x[taken]
            else:
                x[i] = field_value(nodes[i], x, p, point)
    return [x[r] for r in roots]


# ---- the test ------------------------------------------------------------------------------------


def selections(graph: Graph, roots: list[int]) -> int:
    """The largest number of selections with more than one branch that one root rests on."""
    below: list[int] = []
    for i, node in enumerate(graph.nodes):
        own = 1 << i if node.op == "select" and len(node.args) > 2 else 0
        below.append(reduce(operator.or_, (below[a] for a in node.args), own))
    return max(below[r].bit_count() for r in roots)


def points_for(graph: Graph, roots: list[int], points: int) -> int:
    """More points for branches and for roots, as the docstring of the module says."""
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
            raise ArithmeticError(
                f"no value at any of {DRAWS} random points, last because {last}: test fewer "
                "expressions at a time, or declare symbols positive=True"
            )


def nonzero(graph: Graph, roots: list[int], seed: int, points: int) -> Iterator[list[int]]:
    """At each point in turn the numbers of the roots that are not zero there."""
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
    return [graph.insert(expr, known) for expr in expressions]


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
    """`difference` of every pair, at the same points, so that what the pairs share is shared.

    >>> x, y = sympy.symbols("x y", real=True)
    >>> differences([([x], [x]), ([x, y**2], [x, y])])
    [None, 1]
    """
    if any(len(left) != len(right) for left, right in pairs) or points < 1:
        raise ValueError("expected pairs of as many components each, and at least 1 point")
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
