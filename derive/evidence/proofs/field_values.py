"""The values of a graph's nodes at a point, in the fields of a tower."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

from .branches import branches
from .prime_fields import Point, Redraw, field
from .scalar_graph import Graph, Node


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
    """The nodes to evaluate in one field, operands first, and those needed in the field below."""
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
