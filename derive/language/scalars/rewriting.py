"""Formulas rewritten: kinks made explicit, and in plain functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import Any

import sympy
from sympy import Piecewise
from sympy.codegen.cfunctions import expm1, log1p
from sympy.core.relational import Relational

from .normal import normal_cdf, normal_gelu, normal_mean_excess, weighted_normal_pdf
from .stable import StableFunction

Rules = Mapping[Any, Callable[..., sympy.Expr]]


def _by_branch(rule: Callable[..., sympy.Expr], value: sympy.Expr) -> sympy.Expr:
    """rule(value); of a Piecewise branch by branch, so that no condition compares a Piecewise."""
    value = sympy.piecewise_fold(value)
    if isinstance(value, Piecewise):
        return Piecewise(*((rule(branch), condition) for branch, condition in value.args))
    return rule(value)


def _either(wins: type[Relational], a: sympy.Expr, b: sympy.Expr) -> sympy.Expr:
    """a where it wins or ties, else b."""

    def against(one: sympy.Expr) -> sympy.Expr:
        return _by_branch(lambda other: Piecewise((one, wins(one, other)), (other, True)), b)

    return _by_branch(against, a)


def _choice(
    values: Sequence[sympy.Expr], wins: type[Relational], arguments: Sequence[sympy.Symbol]
) -> sympy.Expr:
    """max (wins: >=) or min (<=): numbers first, then in the order of the arguments."""

    def rank(value: sympy.Expr) -> tuple[Any, ...]:
        places = sorted(arguments.index(x) for x in value.free_symbols if x in arguments)
        return (places, sympy.default_sort_key(value))

    return reduce(lambda best, value: _either(wins, best, value), sorted(values, key=rank))


def _step(t: sympy.Expr, at_zero: sympy.Expr = sympy.S.Half) -> sympy.Expr:
    """Heaviside's function with H(0) = 0; any value other than SymPy's 1/2 is the user's."""
    if at_zero == sympy.S.Half:
        return Piecewise((0, t <= 0), (1, True))
    return Piecewise((0, t < 0), (1, t > 0), (at_zero, True))


def _sign(t: sympy.Expr) -> sympy.Expr:
    return Piecewise((-1, t < 0), (1, t > 0), (0, True))


def _absolute(t: sympy.Expr) -> sympy.Expr:
    return Piecewise((t, t > 0), (-t, t < 0), (0, True))


def _rewritten(expression: sympy.Expr, rules: Rules) -> sympy.Expr:
    """The rules applied from the leaves up, to arguments that are already rewritten."""
    if not expression.args:
        return expression
    arguments = [_rewritten(argument, rules) for argument in expression.args]
    if isinstance(expression, StableFunction) and StableFunction in rules:
        return _rewritten(expression.func(*arguments).plain(), rules)
    return rules.get(expression.func, expression.func)(*arguments)


def _kink_rules(arguments: Sequence[sympy.Symbol]) -> Rules:
    return {
        sympy.Max: lambda *values: _choice(values, sympy.Ge, arguments),
        sympy.Min: lambda *values: _choice(values, sympy.Le, arguments),
        sympy.sign: lambda t: _by_branch(_sign, t),
        sympy.Heaviside: lambda t, *h: _by_branch(lambda branch: _step(branch, *h), t),
    }


def _absolute_of_a_real(t: sympy.Expr) -> sympy.Expr:
    return sympy.Abs(t) if t.is_extended_real else _by_branch(_absolute, t)


_PLAIN: Rules = {
    sympy.Abs: lambda t: _by_branch(_absolute, t),
    StableFunction: StableFunction.plain,
    expm1: lambda t: sympy.exp(t) - 1,
    log1p: lambda t: sympy.log(1 + t),
    normal_cdf: lambda t: normal_cdf(t).rewrite(sympy.erf),
    normal_gelu: lambda t: normal_gelu(t).rewrite(sympy.erf),
    normal_mean_excess: lambda t: normal_mean_excess(t).rewrite(sympy.erf),
    weighted_normal_pdf: lambda w, t: weighted_normal_pdf(w, t).rewrite(sympy.exp),
}


def without_kinks(expression: sympy.Expr, arguments: Sequence[sympy.Symbol]) -> sympy.Expr:
    """Max, Min, sign and Heaviside by Piecewise."""
    return _rewritten(expression, _kink_rules(arguments))


def differentiable(expression: sympy.Expr, arguments: Sequence[sympy.Symbol]) -> sympy.Expr:
    """Max, Min, sign and Heaviside by Piecewise, and an absolute value of what may not be real.

    That of a real argument has the derivative sign, and stays what it is inside other functions.
    """
    return _rewritten(expression, {**_kink_rules(arguments), sympy.Abs: _absolute_of_a_real})


def plain(expression: sympy.Expr, arguments: Sequence[sympy.Symbol]) -> sympy.Expr:
    """In functions that SymPy differentiates and a proof knows."""
    return _rewritten(expression, {**_kink_rules(arguments), **_PLAIN})


def kinks_of(body: sympy.Expr) -> tuple[sympy.Expr, ...]:
    """Differences of the compared sides, each once up to sign.

    An equality separates nothing: beside each place where it holds there are others.
    """
    found: dict[sympy.Expr, None] = {}
    for node in sympy.preorder_traversal(body):
        if isinstance(node, Relational) and not isinstance(node, (sympy.Eq, sympy.Ne)):
            difference = node.lhs - node.rhs
            if -difference not in found:
                found[difference] = None
    return tuple(found)


def is_analytic(body: sympy.Expr) -> bool:
    """It continues to complex arguments."""
    return not body.has(Piecewise, sympy.Abs)
