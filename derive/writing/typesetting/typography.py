r"""The typography of formulas: brackets that fit, space between factors, numbers.

The output compiles with amsmath and amssymb, and in a notebook.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import sympy
from sympy.printing.latex import LatexPrinter
from sympy.printing.precedence import PRECEDENCE

from ...language.scalars.scalars import decimal

PREAMBLE = r"\usepackage{amsmath,amssymb}"
"""The packages that formulas need: hooks and blackboard letters come from amssymb."""
ONES = r"\mathbf{1}"
TRANSPOSED = r"\mathsf T"
HOOK = r"\mathbin{\lrcorner}"

_GROUP = r"\{(?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*\}"
_SCRIPTS = rf"(?:[_^]{_GROUP}|')*"
_ACCENT = rf"\\(?:dot|bar|hat|tilde){_GROUP}"
_NO_LETTER = r"(?!\\(?:math|operatorname|overline|frac|sqrt|langle|lVert|partial|max|big))"
_LETTER = re.compile(rf"{_NO_LETTER}(?:{_ACCENT}|\\[A-Za-z]+|[A-Za-z]){_SCRIPTS}")
_LETTERS = re.compile(rf"{_LETTER.pattern}(?: {_LETTER.pattern})*")
_CLOSE = re.compile(rf"\(|\\bigg?l\(|{_LETTER.pattern}")
_OPERATOR = re.compile(r"\\(?:operatorname|tanh|exp|log|max|min|sinh?|cosh?|tan|arctan)\b")
_RAISED = re.compile(rf"\^{_GROUP}(?:_{_GROUP})?$|^\\frac|^-|^\\delta[ \\]")
_BRACKETS = re.compile(r"\{\\left\(((?:(?!\\left|\\right|\\frac).)*?) ?\\right\)\}")


def enclosed(left: str, text: str, right: str) -> str:
    """The text in brackets of a fitting size."""
    size = r"\bigg" if r"\frac" in text else r"\big" if nesting(text) > 1 else ""
    opening, closing = (size and f"{size}l") + left, (size and f"{size}r") + right
    gap = " " if opening[-1].isalpha() and text[0].isalpha() else ""
    return f"{opening}{gap}{text}{closing}"


def parenthesised(text: str) -> str:
    """The text in parentheses."""
    return enclosed("(", text, ")")


def nesting(text: str) -> int:
    """The depth of nested parentheses."""
    depth = most = 0
    for character in text:
        depth += (character == "(") - (character == ")")
        most = max(most, depth)
    return most


def raised(text: str, power: str) -> str:
    """The text with a superscript, in parentheses if it has one already or is not an atom."""
    return f"{parenthesised(text) if _RAISED.search(text) else text}^{{{power}}}"


def juxtaposed(left: str, right: str) -> str:
    """Two factors side by side: letters and parentheses without space, all else with a thin space.

    TeX itself separates a function from what precedes it.
    """
    close = _LETTERS.fullmatch(left) and _CLOSE.match(right)
    return f"{left} {right}" if close or _OPERATOR.match(right) else rf"{left}\,{right}"


class Numbers(LatexPrinter):
    """SymPy's printer; a decimal stays a decimal: 10^{-5}, 0.044715."""

    def _print_Integer(self, number: sympy.Integer) -> str:
        return _decimal(number) or str(number)

    def _print_Mul(self, product: sympy.Mul) -> str:
        coefficient, rest = product.as_coeff_Mul()
        shown = _decimal(coefficient)
        if shown is None:
            return str(super()._print_Mul(product))
        above, below = sympy.fraction(rest, exact=True)
        if above != 1:
            shown += " " + str(self.parenthesize(above, PRECEDENCE["Mul"]))
        return shown if below == 1 else rf"\frac{{{shown}}}{{{self._print(below)}}}"

    def _print_Rational(self, number: sympy.Rational) -> str:
        if shown := _decimal(number):
            return shown
        is_decimal = sympy.Rational(number.q).factors().keys() <= {2, 5}
        if number.q <= 100 or not is_decimal:
            return str(super()._print_Rational(number))
        places = next(k for k in range(number.q) if (number * 10**k).is_Integer)
        digits = number * 10**places
        if abs(digits) == 1:
            return f"{'-' if digits < 0 else ''}10^{{-{places}}}"
        if abs(digits) >= 10**DIGITS:
            return str(super()._print_Rational(number))
        text, _, power = str(number.evalf(len(str(abs(digits))))).partition("e")
        shown = text.rstrip("0")
        return rf"{shown.rstrip('.')} \cdot 10^{{{int(power)}}}" if power else shown


DIGITS = 17  # of a float


def _decimal(number: sympy.Rational) -> str | None:
    """A number that comes from a float, by its digits and a power of ten."""
    found = decimal(number)
    if found is None or not found[1]:
        return found and found[0]
    digits, power = found[0], f"10^{{{found[1]}}}"
    return rf"{digits} \cdot {power}" if abs(float(digits)) != 1 else digits[:-1] + power


def numerator_denominator(number: sympy.Expr) -> tuple[sympy.Expr, sympy.Expr]:
    """Numerator and denominator; a decimal is a factor in front, not a fraction."""
    coefficient, rest = number.as_coeff_Mul()
    if decimal(coefficient) is None:
        above, below = number.as_numer_denom()
        return above, below
    above, below = rest.as_numer_denom()
    return coefficient * above, below


def value(number: sympy.Expr, name: Callable[[str], str]) -> str:
    """A number or an expression in sizes, the sizes by their names."""
    names = {symbol: name(symbol.name) for symbol in number.free_symbols}
    return closed(str(Numbers({"symbol_names": names}).doprint(number)))


def closed(shown: str) -> str:
    r"""SymPy's brackets around arguments as plain ones, unless they enclose a fraction.

    >>> print(closed(r"\log{\left(n \right)}"))
    \log(n)
    """
    while (closer := _BRACKETS.sub(r"(\1)", shown)) != shown:
        shown = closer
    return shown


def sized(number: sympy.Expr, text: str, name: Callable[[str], str]) -> str:
    """A positive number in front of a text."""
    shown = value(number, name)
    if number.is_Add:
        return juxtaposed(parenthesised(shown), text)
    close = number.is_Rational or shown.startswith(r"\frac") or _LETTER.fullmatch(shown)
    apart = text.startswith((r"\frac", r"\math", r"\overline"))
    return f"{shown} {text}" if close and not apart else rf"{shown}\,{text}"
