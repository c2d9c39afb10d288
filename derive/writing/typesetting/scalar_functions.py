r"""The scalar functions of a layer on paper: \operatorname{sigmoid}(t) = \frac{1}{1 + e^{-t}}.

The formulas are the plain bodies of the operations, from which the calculus derives; they are not
simplified.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import product

import sympy

from ...language.patterns import is_arithmetic
from ...language.scalars.operations import Operation, Orders
from .letters import symbol, word
from .powers import monomial
from .typography import Numbers, closed


def definition(psi: Operation) -> str:
    r"""psi(t) = its formula; a derivative is written with primes.

    >>> from derive.language.scalars.shipped import tanh
    >>> print(definition(tanh.derivative()))
    \tanh'(t) = 1 - \tanh^{2}(t)
    """
    return f"{value(psi)} = {formula(psi.body)}"


def defined(psi: Operation, order: int = 2) -> Iterator[Operation]:
    """psi and its derivatives up to that order, without trivial definitions.

    Nothing for powers, quotients, differences, products and exp, which are written as such, and not
    psi itself if its name is its formula, as for tanh.
    """
    if is_arithmetic(psi):
        return
    if monomial(psi.derivative()) is not None or psi.derivative() is psi:
        return
    if value(psi) != formula(psi.body):
        yield psi
    every = product(range(order + 1), repeat=len(psi.arguments))
    derived = (orders for orders in every if 0 < sum(orders) <= order)
    for orders in sorted(derived, key=lambda by: (sum(by), [-order for order in by])):
        yield _derivative(psi, orders)


def formula(body: sympy.Expr) -> str:
    r"""A scalar formula, its terms in the order in which they are stored; by cases if it has any.

    >>> t = sympy.Symbol("t", real=True)
    >>> print(formula(1 / (1 + sympy.exp(-t))))
    \frac{1}{1 + e^{-t}}
    """
    names = {argument: symbol(argument.name) for argument in body.free_symbols}
    shown = closed(_Scalar({"symbol_names": names, "fold_frac_powers": True}).doprint(body))
    return re.sub(r"(^|[{(=&,]|\\\\) ?- ", r"\1-", shown)


class _Scalar(Numbers):
    """SymPy's printer with another order of terms: those with a minus sign come last."""

    def _as_ordered_terms(self, expr: sympy.Add, order: str | None = None) -> list[sympy.Expr]:
        return sorted(expr.args, key=lambda term: bool(term.could_extract_minus_sign()))

    def _print_ExpBase(self, expr: sympy.exp, exp: str | None = None) -> str:
        """e^t, but exp(t) where an argument is called e."""
        if exp is not None or "e" not in self._settings["symbol_names"].values():
            return str(super()._print_ExpBase(expr, exp))
        return rf"\exp{{\left({self._print(expr.args[0])} \right)}}"


def value(psi: Operation) -> str:
    """psi(t), psi'(a, b)."""
    arguments = ", ".join(symbol(argument.name) for argument in psi.arguments)
    return f"{function(psi)}({arguments})"


def _derivative(psi: Operation, orders: Orders) -> Operation:
    for argument, times in enumerate(orders):
        for _ in range(times):
            psi = psi.derivative(argument)
    return psi


def function(psi: Operation) -> str:
    r"""\tanh, \tanh', \partial_{1}\psi: the function or the partial derivative of it."""
    name = word(psi.base)
    if len(psi.orders) == 1:
        (order,) = psi.orders
        return name + ("'" * order if order < 4 else f"^{{({order})}}")
    powers = [f"^{{{order}}}" if order > 1 else "" for order in psi.orders]
    by = "".join(rf"\partial_{{{k + 1}}}{powers[k]}" for k, order in enumerate(psi.orders) if order)
    return by + (f" {name}" if by and name[0].isalpha() else name)
