"""Scalar functions as source text: an algebra of text in a target language, and function bodies."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from itertools import count

import sympy

from ...language.scalars.fold import fold, steps
from ...language.scalars.scalars import CALLED, is_constant, nearest_float
from .target import Target

SUM, QUOTIENT, PRODUCT, ATOM = range(1, 5)
SMALL = 2**31  # a larger whole number does not fit C's int, and is a Python object to Cython


class Text(str):
    """Source text of a value, and how tightly its outermost operation binds (a name: ATOM).

    `digits` is a small whole number as it may stand beside a real one: 2*t is as wide as t.
    """

    precedence: int
    digits: str

    def __new__(cls, source: str, precedence: int = ATOM, digits: str = "") -> Text:
        text = super().__new__(cls, source)
        text.precedence = getattr(source, "precedence", precedence)
        text.digits = getattr(source, "digits", digits)
        return text


def _at_least(precedence: int, text: Text) -> str:
    return text if text.precedence >= precedence else f"({text})"


def _bare(text: Text, precedence: int = 0) -> str:
    """A value beside another real one; a small whole number needs no type there."""
    return text.digits or _at_least(precedence, text)


def literal(number: sympy.Expr, to: Target) -> Text:
    """A number that is not negative, in the kernel's precision; numbers are written only here.

    The text is the nearest float64, which the cast rounds to the nearest float32: at most 1 ulp.

    >>> from derive.kernels.printing.cython.target import CYTHON
    >>> [literal(sympy.sympify(x), CYTHON) for x in (3, sympy.Rational(1, 3), 10**12)]
    ['<real>3', '<real>(1.0/3)', '<real>1000000000000.0']
    """
    whole = number.is_Integer and number < SMALL
    return Text(to.real(_number(number)), digits=str(number) if whole else "")


def _number(number: sympy.Expr) -> str:
    """A number as C writes it."""
    if number is sympy.nan:
        return "NAN"
    nearest = nearest_float(number)
    if math.isinf(nearest):
        return "INFINITY"
    if number.is_Integer and number < SMALL:
        return str(number)
    exact = not number.is_Rational or sympy.Rational(nearest) == number
    if not exact and number.p < SMALL and number.q < SMALL:
        return f"({number.p}.0/{number.q})"
    return repr(nearest)


class ScalarText:
    """The algebra of source text for real values in a target language.

    A variable is given as the text of a name, a subscript or a call.
    """

    def __init__(self, to: Target) -> None:
        self.to = to

    def variable(self, value: str) -> Text:
        return Text(value)

    def constant(self, number: sympy.Expr) -> Text:
        return literal(number, self.to)

    def negate(self, value: Text) -> Text:
        return Text("-" + _at_least(QUOTIENT, value), SUM)

    def add(self, plus: Sequence[Text], minus: Sequence[Text]) -> Text:
        if len(plus) == 1 and not minus:
            return plus[0]
        terms = [f" + {_bare(term, QUOTIENT)}" for term in plus]
        terms += [f" - {_bare(term, QUOTIENT)}" for term in minus]
        first = terms[0][3:] if plus else "-" + terms[0][3:]
        return Text(first + "".join(terms[1:]), SUM)

    def multiply(self, above: Sequence[Text], below: Sequence[Text]) -> Text:
        if len(above) == 1 and not below:
            return above[0]
        top = "*".join(_bare(factor, PRODUCT) for factor in above)
        if not below:
            return Text(top, PRODUCT)
        bottom = below[0]
        if len(below) > 1:
            bottom = Text("*".join(_at_least(PRODUCT, factor) for factor in below), PRODUCT)
        return Text(f"{top}/{_at_least(ATOM, bottom)}", QUOTIENT)

    def power(self, base: Text, exponent: int) -> Text:
        if exponent > 4:
            return self.call("pow", base, literal(sympy.Integer(exponent), self.to))
        return Text("*".join([_at_least(ATOM, base)] * exponent), PRODUCT)

    def call(self, name: str, *arguments: Text) -> Text:
        return Text(self.to.call(name, arguments))

    def compare(self, relation: str, left: Text, right: Text) -> Text:
        return Text(f"{_bare(left)} {relation} {_bare(right)}")

    def join(self, word: str, parts: Sequence[Text]) -> Text:
        return Text(self.to.join(word, parts))

    def select(self, branches: Sequence[tuple[Text, Text]], fallback: Text) -> Text:
        text = fallback
        for value, condition in reversed(branches):
            chosen = _at_least(SUM, value), condition, _at_least(SUM, text)
            text = Text(self.to.choice(*chosen), 0)
        return text


def _is_shared(node: sympy.Expr, uses: int) -> bool:
    """Worth a name: used twice, and more than a number or a symbol with a sign."""
    return uses > 1 and not is_constant(node) and not (-node).is_Symbol


def function_body(
    expression: sympy.Expr, arguments: Sequence[sympy.Symbol], to: Target
) -> tuple[list[tuple[str, str]], str]:
    """Common subexpressions as (name, text), in an order to compute them, and the result's text.

    Raises ScalarError where the expression has a symbol that is not an argument.

    >>> from derive.kernels.printing.cython.target import CYTHON
    >>> t = sympy.Symbol("t", real=True)
    >>> function_body(sympy.exp(-t) / (1 + sympy.exp(-t)) ** 2, [t], CYTHON)
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

    result = fold(expression, {x: Text(x.name) for x in arguments}, ScalarText(to), keep)
    return lets, str(result)
