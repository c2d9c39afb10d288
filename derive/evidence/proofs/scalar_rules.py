"""One rule for each SymPy class: the node of an expression from the nodes of its operands."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from functools import singledispatch
from itertools import islice

import sympy
from sympy.codegen.cfunctions import expm1, log1p
from sympy.core.function import AppliedUndef

from .scalar_graph import Graph


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
    sympy.ITE: lambda g, c, a, b: g.node(
        "or", g.node("and", c, a), g.node("and", g.node("not", c), b)
    ),
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


def insert(graph: Graph, root: sympy.Basic, known: dict[int, int]) -> int:
    """The node of an expression; known maps the id of a live expression to its node."""
    stack = [root]
    while stack:
        parts = operands(stack[-1])
        if waiting := [a for a in parts if id(a) not in known]:
            stack.extend(waiting)
            continue
        expr = stack.pop()
        if id(expr) not in known:
            known[id(expr)] = rule(expr, graph, *(known[id(a)] for a in parts))
    return known[id(root)]
