"""Scalar expressions as one graph of a few operations, in which equal parts occur once."""

from __future__ import annotations

from fractions import Fraction
from typing import Any, NamedTuple


class Node(NamedTuple):
    """An operation, the numbers of its operands (lower than its own), and a constant."""

    op: str
    args: tuple[int, ...] = ()
    data: Any = None


class Graph:
    """Expressions as numbered nodes, each distinct one once, operands before their use."""

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
        """u**r for a rational number r; a fractional power needs u > 0."""
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
