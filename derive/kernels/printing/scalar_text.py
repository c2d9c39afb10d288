"""The algebra of Cython text, and the body of a scalar function in it."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from itertools import count

import sympy

from ...language.scalars.fold import fold, steps
from ...language.scalars.scalars import CALLED, is_constant, nearest_float

SUM, QUOTIENT, PRODUCT, ATOM = range(1, 5)


class Text(str):
    """Cython source of a value, and how tightly its outermost operation binds (a name: ATOM)."""

    precedence: int

    def __new__(cls, source: str, precedence: int = ATOM) -> Text:
        text = super().__new__(cls, source)
        text.precedence = getattr(source, "precedence", precedence)
        return text


def _at_least(precedence: int, text: Text) -> str:
    return text if text.precedence >= precedence else f"({text})"


def _bare(text: str) -> str:
    """A small integer needs no type beside a real value: 2*t is as wide as t."""
    return re.sub(r"^<real>(\d+)$", r"\1", text)


SMALL = 2**31  # a larger whole number is a Python object to Cython


def literal(number: sympy.Expr) -> str:
    """A number that is not negative, in the kernel's precision; numbers are written only here.

    The text is the nearest float64, which the cast rounds to the nearest float32: at most 1 ulp.

    >>> [literal(sympy.sympify(x)) for x in (3, sympy.Rational(1, 3), 10**12)]
    ['<real>3', '<real>(1.0/3)', '<real>1000000000000.0']
    """
    if number is sympy.nan:
        return "<real>NAN"
    nearest = nearest_float(number)
    if math.isinf(nearest):
        return "<real>INFINITY"
    if number.is_Integer and number < SMALL:
        return f"<real>{number}"
    exact = not number.is_Rational or sympy.Rational(nearest) == number
    if not exact and number.p < SMALL and number.q < SMALL:
        return f"<real>({number.p}.0/{number.q})"
    return f"<real>{nearest!r}"


class Cython:
    """Cython source for values of the fused type `real` (float or double).

    Every constant is typed, so that a float32 kernel computes nothing in double. A variable
    is given as the text of a name, a subscript or a call. Functions are called by their names in
    runtime/elementary.pxd.
    """

    def variable(self, value: str) -> Text:
        return Text(value)

    def constant(self, number: sympy.Expr) -> Text:
        return Text(literal(number))

    def negate(self, value: Text) -> Text:
        return Text("-" + _at_least(QUOTIENT, value), SUM)

    def add(self, plus: Sequence[Text], minus: Sequence[Text]) -> Text:
        if len(plus) == 1 and not minus:
            return plus[0]
        terms = [f" + {_bare(_at_least(QUOTIENT, term))}" for term in plus]
        terms += [f" - {_bare(_at_least(QUOTIENT, term))}" for term in minus]
        first = terms[0][3:] if plus else "-" + terms[0][3:]
        return Text(first + "".join(terms[1:]), SUM)

    def multiply(self, above: Sequence[Text], below: Sequence[Text]) -> Text:
        if len(above) == 1 and not below:
            return above[0]
        top = "*".join(_bare(_at_least(PRODUCT, factor)) for factor in above)
        if not below:
            return Text(top, PRODUCT)
        bottom = below[0]
        if len(below) > 1:
            bottom = Text("*".join(_at_least(PRODUCT, factor) for factor in below), PRODUCT)
        return Text(f"{top}/{_at_least(ATOM, bottom)}", QUOTIENT)

    def power(self, base: Text, exponent: int) -> Text:
        if exponent > 4:
            return self.call("pow", base, Text(literal(sympy.Integer(exponent))))
        return Text("*".join([_at_least(ATOM, base)] * exponent), PRODUCT)

    def call(self, name: str, *arguments: Text) -> Text:
        return Text(f"{name}({', '.join(arguments)})")

    def compare(self, relation: str, left: Text, right: Text) -> Text:
        return Text(f"{_bare(left)} {relation} {_bare(right)}")

    def join(self, word: str, parts: Sequence[Text]) -> Text:
        inner = [f"({part})" if " or " in part else part for part in parts]
        return Text(f" {word} ".join(inner))

    def select(self, branches: Sequence[tuple[Text, Text]], fallback: Text) -> Text:
        text = fallback
        for value, condition in reversed(branches):
            text = Text(f"{_at_least(SUM, value)} if {condition} else {_at_least(SUM, text)}", 0)
        return text


def _is_shared(node: sympy.Expr, uses: int) -> bool:
    """Worth a name: used twice, and more than a number or a symbol with a sign."""
    return uses > 1 and not is_constant(node) and not (-node).is_Symbol


def cython_body(
    expression: sympy.Expr, arguments: Sequence[sympy.Symbol]
) -> tuple[list[tuple[str, str]], str]:
    """Common subexpressions as (name, text), in an order to compute them, and the result's text.

    Raises ScalarError where the expression has a symbol that is not an argument.

    >>> t = sympy.Symbol("t", real=True)
    >>> cython_body(sympy.exp(-t) / (1 + sympy.exp(-t)) ** 2, [t])
    ([('e', 'exp(-t)'), ('r', '1 + e')], 'e/(r*r)')
    """
    taken = {argument.name for argument in arguments} | CALLED
    names = (f"{letter}{n or ''}" for n in count() for letter in "erspq")
    free = (name for name in names if name not in taken)
    uses = Counter(operand for step in steps(expression).values() for operand in step.operands)
    lets: list[tuple[str, str]] = []

    def keep(node: sympy.Expr, text: Text) -> Text:
        if not _is_shared(node, uses[node]):
            return text
        lets.append((next(free), str(text)))
        return Text(lets[-1][0])

    result = fold(expression, {x: Text(x.name) for x in arguments}, Cython(), keep)
    return lets, str(result)
