"""Named laws that rewrite scalar formulas into ones that keep their digits, a line each.

A law with a `convention` holds wherever both sides are finite real numbers; at the other points the
rewritten formula is taken, as its sentence says.  All others hold wherever the side before is real.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass

import sympy
from sympy import Abs, Min, Mul, Pow, cos, cosh, erf, erfc, exp, log, sin, sinh, sqrt, tanh
from sympy.codegen.cfunctions import expm1, log1p

from .matching import fits, inside_product, inside_sum
from .normal import log_normal_cdf, normal_cdf, normal_gelu, weighted_normal_pdf
from .stable import (
    exp_expm1,
    falling_power,
    log1mexp,
    log_cosh,
    log_expm1,
    logaddexp,
    power_log,
    root_less_1,
    sech,
    sigmoid,
    softplus,
)


@dataclass(frozen=True)
class Law:
    """before = after, for all real values of the symbols (positive ones: numbers).

    Where only one side is a number, `convention` says so.
    """

    name: str
    before: sympy.Expr
    after: sympy.Expr
    convention: str = ""

    def __str__(self) -> str:
        return f"{self.name}: {self.before} = {self.after}"


u, v, w, x = sympy.symbols("u v w x", real=True)
c = sympy.Symbol("c", positive=True)
k, m, n = sympy.symbols("k m n", integer=True, positive=True)
_R2 = sqrt(2)


def _product(*factors: sympy.Expr) -> sympy.Expr:
    return Mul(*factors, evaluate=False)


def _power(base: sympy.Expr, exponent: sympy.Expr) -> sympy.Expr:
    return Pow(base, exponent, evaluate=False)


def _of(function: type[sympy.Function], argument: sympy.Expr) -> sympy.Expr:
    return function(argument, evaluate=False)


_NEGATIVE = "before it is NaN for u < 0"
_ZERO = "before the derivative is NaN at u = 0"
_LIMIT = "at u = 0 before it is NaN, after the limit where v > 0"

LAWS: tuple[Law, ...] = (
    Law("root squared", _power(sqrt(u), 2), u, _NEGATIVE),
    Law("root of a square", _power(u**2, sympy.S.Half), Abs(u), _ZERO),
    Law("reciprocal of a reciprocal", _power(1 / u, -1), u, _ZERO),
    Law("power of a root", _power(sqrt(u), n), u ** (n / 2), _NEGATIVE),
    Law("exponential of a logarithm", _of(exp, log(u)), u, "before it is NaN for u < 0"),
    Law("logarithm of an exponential", _of(log, exp(u)), u),
    Law("product of exponentials", _product(exp(u), exp(v)), exp(u + v)),
    Law("log(e^u + e^v)", log(exp(u) + exp(v)), logaddexp(u, v)),
    Law("log(e^u - e^v)", log(exp(u) - exp(v)), v + log_expm1(u - v)),
    Law("sum of exponentials", exp(u) + exp(-u), 2 * cosh(u)),
    Law("difference of exponentials", exp(u) - exp(-u), 2 * sinh(u)),
    Law("softplus", log(1 + exp(u)), softplus(u)),
    Law("log1p(e^u)", log1p(exp(u)), softplus(u)),
    Law("logistic function", (1 + exp(u)) ** (-n), sigmoid(-u) ** n),
    Law("sech by sigmoid", exp(u) * sigmoid(-2 * u), sech(u) / 2),
    Law("softmax of two", exp(u) / (exp(u) + exp(v)), sigmoid(u - v)),
    Law(
        "logistic function, numerator e^u",
        exp(k * u) * sigmoid(-u) ** n,
        exp((k - Min(k, n)) * u) * sigmoid(u) ** Min(k, n) * sigmoid(-u) ** (n - Min(k, n)),
    ),
    Law("tanh by sigmoid", 2 * sigmoid(u) - 1, tanh(u / 2)),
    Law("complement of sigmoid", 1 - sigmoid(u), sigmoid(-u)),
    Law("difference of sigmoids", sigmoid(u) - sigmoid(-u), tanh(u / 2)),
    Law("difference of softplus", softplus(u) - softplus(-u), u),
    Law("tanh by exponentials", expm1(u) * sigmoid(-u), tanh(u / 2)),
    Law("1 + tanh", 1 + tanh(u), 2 * sigmoid(2 * u)),
    Law("1 - tanh", 1 - tanh(u), 2 * sigmoid(-2 * u)),
    Law("1 - tanh^2", 1 - tanh(u) ** 2, sech(u) ** 2),
    Law("log sigmoid", log(v * sigmoid(u) ** n), log(v) - n * softplus(-u)),
    Law("log sech", log(v * sech(u) ** n), log(v) - n * log_cosh(u)),
    Law("log cosh", log(v * cosh(u) ** n), log(v) + n * log_cosh(u)),
    Law("logarithm of a product with e^u", log(v * exp(u)), log(v) + u),
    Law("e^u - 1", exp(u) - 1, expm1(u)),
    Law("log(e^u - 1)", log(expm1(u)), log_expm1(u)),
    Law("log(1 - e^-u)", log(-expm1(-u)), log1mexp(u)),
    Law("e^-u (e^u - 1)", exp(-u) * expm1(u), -expm1(-u)),
    Law("e^v (e^u - 1)", exp(v) * expm1(u), exp_expm1(v, u)),
    Law("sum times e^v", (w + x * exp(u)) * exp(v), w * exp(v) + x * exp(u + v)),
    Law("e^u/(e^u - 1)", exp(u) * expm1(u) ** (-n), -(expm1(u) ** (1 - n)) / expm1(-u)),
    Law("log(1 + u)", log(1 + u), log1p(u)),
    Law("1 - cos u", 1 - cos(u), 2 * sin(u / 2) ** 2),
    Law("cosh u - 1", cosh(u) - 1, 2 * sinh(u / 2) ** 2),
    Law("sqrt(1 + u) - 1", sqrt(1 + u) - 1, root_less_1(u)),
    Law("1/cosh", cosh(u) ** (-n), sech(u) ** n),
    Law("tanh by sinh", sinh(u) ** m * sech(u) ** n, tanh(u) ** m * sech(u) ** (n - m)),
    Law("coth by sinh", cosh(u) * sinh(u) ** (-n), sinh(u) ** (1 - n) / tanh(u)),
    Law(
        "e^u sech(e^u)",
        exp(k * u) * sech(exp(u)) ** n,
        (2 * sigmoid(2 * exp(u))) ** n * exp(k * u - n * exp(u)),
    ),
    Law(
        "e^u sigmoid(-c e^u)",
        exp(k * u) * sigmoid(-c * exp(u)) ** n,
        sigmoid(c * exp(u)) ** n * exp(k * u - n * c * exp(u)),
    ),
    Law("1 + erf", 1 + erf(u), 2 * normal_cdf(_R2 * u)),
    Law("1 - erf", 1 - erf(u), erfc(u)),
    Law("normal distribution", erfc(u / _R2), 2 * normal_cdf(-u)),
    Law("GELU", u * normal_cdf(u), normal_gelu(u)),
    Law("weight of the density", v * weighted_normal_pdf(w, u), weighted_normal_pdf(v * w, u)),
    Law("derivative of a power", v * u**v / u, falling_power(u, v, sympy.S.One)),
    Law("quotient of a power", u**v / u, u ** (v - 1)),
    Law("power times logarithm", u**v * log(u) ** n, power_log(u, v, n), _LIMIT),
    Law("log Phi", log(v * normal_cdf(u) ** n), log(v) + n * log_normal_cdf(u)),
    Law("log erfc", log(v * erfc(u) ** n), log(v) + n * (log(2) + log_normal_cdf(-_R2 * u))),
)


def _by_head() -> Mapping[type[sympy.Basic], tuple[Law, ...]]:
    found: dict[type[sympy.Basic], tuple[Law, ...]] = defaultdict(tuple)
    for law in LAWS:
        found[law.before.func] += (law,)
    return found


_BY_HEAD = _by_head()


def _results(law: Law, node: sympy.Expr) -> Iterator[sympy.Expr]:
    """What the node is by a law: as a whole, some factors of it, or some terms of it."""
    if law.before.is_Add:
        for bound, ratio, rest in inside_sum(law.before, node):
            yield rest + ratio * law.after.xreplace(dict(bound))
    elif law.before.is_Mul:
        for bound, rest in inside_product(law.before, node):
            yield rest * law.after.xreplace(dict(bound))
    else:
        for bound in fits(law.before, node, {}):
            yield law.after.xreplace(dict(bound))


def _applied(node: sympy.Basic, before: Container[sympy.Basic]) -> tuple[sympy.Expr, Law] | None:
    """The node by the first law that changes it and gives a real result.

    It is not real where v of log(v e^u) is a negative number.
    """
    for law in _BY_HEAD.get(node.func, ()):
        for result in _results(law, node):
            if result != node and result not in before and not result.has(sympy.I, sympy.nan):
                return result, law
    return None


def rewritten(expression: sympy.Expr) -> tuple[sympy.Expr, tuple[Law, ...]]:
    """The expression by the laws, from its leaves up until none fits, and the laws applied.

    Like terms and like factors are merged.  Numbers are left as they are.

    >>> t = sympy.Symbol("t", real=True)
    >>> after, laws = rewritten(log(1 / (1 + exp(-t))))
    >>> after, [law.name for law in laws]
    (-softplus(-t), ['logistic function', 'log sigmoid'])
    """
    work = _Rewriting()
    stack: list[sympy.Basic] = [expression]
    while stack:
        if stack[-1] in work.done:
            stack.pop()
        else:
            stack.extend(work.waiting(stack[-1]))
    return work.done[expression], tuple(work.used)


class _Rewriting:
    """What has been rewritten so far, with a stack: an expression may be deeper than Python's."""

    def __init__(self) -> None:
        self.done: dict[sympy.Basic, sympy.Basic] = {}
        self.becomes: dict[sympy.Basic, sympy.Basic] = {}
        self.used: dict[Law, None] = {}
        self.numbers: set[sympy.Basic] = set()

    def waiting(self, node: sympy.Basic) -> list[sympy.Basic]:
        """What must be done before the node; it is done if nothing is."""
        if node in self.becomes:
            self.done[node] = self.done[self.becomes[node]]
            return []
        if not node.args:
            return self._kept(node, is_number=not isinstance(node, sympy.Symbol))
        if left := [argument for argument in node.args if argument not in self.done]:
            return left
        if all(argument in self.numbers for argument in node.args):
            return self._kept(node, is_number=True)
        return self._by_a_law(self._on_rewritten(node), node)

    def _kept(self, node: sympy.Basic, is_number: bool = False) -> list[sympy.Basic]:
        self.done[node] = node
        if is_number:
            self.numbers.add(node)
        return []

    def _on_rewritten(self, node: sympy.Basic) -> sympy.Basic:
        arguments = [self.done[argument] for argument in node.args]
        changed = any(a is not b for a, b in zip(arguments, node.args, strict=True))
        return node.func(*arguments) if changed else node

    def _by_a_law(self, after: sympy.Basic, node: sympy.Basic) -> list[sympy.Basic]:
        if found := _applied(after, self.becomes):
            after, law = found
            self.used[law] = None
        if after == node:
            return self._kept(node)
        self.becomes[node] = after
        return [after]
