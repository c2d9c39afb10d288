"""Which branch each selection of a graph takes at a point, decided by real values."""

from __future__ import annotations

import random
from collections.abc import Callable
from math import prod
from typing import Any

import mpmath

from .prime_fields import Point
from .scalar_graph import Node

REAL = mpmath.mp.clone()
REAL.dps = 30


def real_less(a: Any, b: Any) -> bool | None:
    """a < b, or None if the two are too near to tell.

    At random points two values agree to the last digit only if they are the same value.
    """
    if a == b:
        return False
    return None if abs(a - b) <= 1e-15 * max(1, abs(a), abs(b)) else bool(a < b)


def real_exp(v: Any) -> Any:
    return REAL.exp(v) if abs(v) < 10**6 else None


def real_undefined(name: str, *args: Any) -> Any:
    """A smooth function in place of an undefined one; it only decides branches."""
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
    """The branch of each selection at the point; `order`: the nodes that conditions depend on."""
    value: dict[int, Any] = {}
    for i in order:
        value[i] = real_value(nodes[i], value, point)
    return {i: branch(n.args, value) for i, n in enumerate(nodes) if n.op == "select"}


def under_conditions(nodes: list[Node]) -> list[int]:
    """The nodes that the conditions of selections depend on, operands first."""
    used = {c for n in nodes if n.op == "select" for c in n.args[::2]}
    for i in reversed(range(len(nodes))):
        if i in used:
            used.update(nodes[i].args)
    return sorted(used)
