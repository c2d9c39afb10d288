"""One fold over SymPy's scalar expressions, in several algebras.

    evaluate(expression, values, algebra)

reads every node once and asks the algebra for sums, quotients, calls and choices. The algebras
here are NumPy arrays, numbers of any precision, and Cython text; another one is a class with the
same methods.

**A NaN stays a NaN.** A comparison with a NaN is false, so the last branch of a Piecewise would be
taken for it. Therefore a branch is taken only when all operands compared so far are ordered, and
where none is taken the value is the sum of the compared operands.
"""

from __future__ import annotations

import math
import operator
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce, singledispatch
from itertools import count
from typing import Any, Generic, Protocol, TypeVar

import mpmath as mp
import numpy as np
import sympy
from sympy.codegen.cfunctions import expm1, log1p
from sympy.core.relational import Relational
from sympy.logic.boolalg import BooleanTrue

T = TypeVar("T")


class ScalarError(ValueError):
    """An expression that can't be evaluated; the message names the part and what is known."""


# --- the normal distribution


class normal_cdf(sympy.Function):
    """Phi(x) = (1 + erf(x/sqrt 2))/2, a function of its own.

    By erf the tail cancels, by erfc the rounding of x/sqrt 2 is amplified (1600 ulp at -37).
    """

    nargs = 1

    def fdiff(self, argindex: int = 1) -> sympy.Expr:
        return sympy.exp(-(self.args[0] ** 2) / 2) / sympy.sqrt(2 * sympy.pi)

    def _eval_rewrite_as_erf(self, x: sympy.Expr, **hints: Any) -> sympy.Expr:
        return (1 + sympy.erf(x / sympy.sqrt(2))) / 2

    def _eval_evalf(self, precision: int) -> sympy.Expr:
        return (sympy.erfc(-self.args[0] / sympy.sqrt(2)) / 2)._eval_evalf(precision)


class normal_gelu(sympy.Function):
    """x Phi(x), a function of its own: Phi(x) may be subnormal where x Phi(x) is not."""

    nargs = 1

    def fdiff(self, argindex: int = 1) -> sympy.Expr:
        return normal_cdf(self.args[0]) + self.args[0] * normal_cdf(self.args[0]).fdiff()

    def _eval_rewrite_as_erf(self, x: sympy.Expr, **hints: Any) -> sympy.Expr:
        return x * normal_cdf(x).rewrite(sympy.erf)

    def _eval_evalf(self, precision: int) -> sympy.Expr:
        return (self.args[0] * normal_cdf(self.args[0]))._eval_evalf(precision)


FUNCTIONS: Mapping[type[sympy.Basic], str] = {
    sympy.exp: "exp",
    sympy.log: "log",
    sympy.tanh: "tanh",
    sympy.sin: "sin",
    sympy.cos: "cos",
    sympy.sinh: "sinh",
    sympy.cosh: "cosh",
    sympy.atan: "atan",
    sympy.Abs: "fabs",
    sympy.erf: "erf",
    sympy.erfc: "erfc",
    expm1: "expm1",
    log1p: "log1p",
    normal_cdf: "normal_cdf",
    normal_gelu: "normal_gelu",
}
"""The functions of one argument that every algebra knows; beside them there are sqrt and pow."""

KNOWN = ", ".join(["+, *, **, sqrt, Piecewise", *sorted(kind.__name__ for kind in FUNCTIONS)])
CALLED = frozenset([*FUNCTIONS.values(), "sqrt", "pow", "real", "INFINITY", "NAN"])
"""The names that Cython text uses."""


# --- conditions, written with comparisons that are false for a NaN


@dataclass(frozen=True)
class Comparison:
    """left < right, or <=, >, >=, ==; never !=, which holds for a NaN."""

    relation: str
    left: sympy.Expr
    right: sympy.Expr


@dataclass(frozen=True)
class Junction:
    """All ("and") or some ("or") of the parts."""

    word: str
    parts: tuple[Condition, ...]


Condition = Comparison | Junction
_OPPOSITE = {"<": ">=", "<=": ">", ">": "<=", ">=": "<", "==": "!=", "!=": "=="}


def _junction(word: str, parts: Sequence[Condition]) -> Condition:
    return parts[0] if len(parts) == 1 else Junction(word, tuple(parts))


def _compared(relation: str, left: sympy.Expr, right: sympy.Expr) -> Condition:
    if relation == "!=":
        return Junction("or", (Comparison("<", left, right), Comparison(">", left, right)))
    return Comparison(relation, left, right)


def _condition(boolean: sympy.Basic, negated: bool = False) -> Condition:
    """A SymPy condition or its negation, the negations pushed into the comparisons."""
    if isinstance(boolean, sympy.Not):
        return _condition(boolean.args[0], not negated)
    if isinstance(boolean, sympy.And | sympy.Or):
        word = "and" if isinstance(boolean, sympy.And) != negated else "or"
        return _junction(word, [_condition(part, negated) for part in boolean.args])
    if isinstance(boolean, Relational) and boolean.rel_op in _OPPOSITE:
        relation = _OPPOSITE[boolean.rel_op] if negated else boolean.rel_op
        return _compared(relation, boolean.lhs, boolean.rhs)
    raise ScalarError(
        f"condition {boolean}: expected <, <=, >, >=, Eq, Ne, And, Or, Not of scalars, came "
        f"{type(boolean).__name__}; write it with these"
    )


def _comparisons(condition: Condition) -> Iterator[Comparison]:
    if isinstance(condition, Comparison):
        yield condition
    else:
        for part in condition.parts:
            yield from _comparisons(part)


def _sides(conditions: Sequence[Condition]) -> list[sympy.Expr]:
    """What the conditions compare, numbers left out, each once, in the order of the text."""
    pairs = ((c.left, c.right) for condition in conditions for c in _comparisons(condition))
    return list(dict.fromkeys(side for pair in pairs for side in pair if not _is_constant(side)))


def _symbols(expressions: Sequence[sympy.Expr]) -> list[sympy.Symbol]:
    """Their symbols, by name."""
    free = set().union(*(expression.free_symbols for expression in expressions))
    return sorted(free, key=str)


def _ordered(condition: Condition) -> set[sympy.Symbol]:
    """The symbols that are no NaN wherever the condition holds."""
    if isinstance(condition, Comparison):
        return set(_symbols([condition.left, condition.right]))
    parts = [_ordered(part) for part in condition.parts]
    return set.union(*parts) if condition.word == "and" else set.intersection(*parts)


def _guarded(parts: list[Condition], needed: Sequence[sympy.Symbol]) -> Condition:
    """All the parts, and x == x for each needed symbol that they leave free to be a NaN."""
    sure = set().union(*(_ordered(part) for part in parts))
    return _junction("and", parts + [Comparison("==", x, x) for x in needed if x not in sure])


def _otherwise(negations: Sequence[Condition], needed: Sequence[sympy.Symbol]) -> Condition:
    """Where all conditions before failed: so few of their negations that no operand is a NaN."""
    chosen: list[Condition] = []
    sure: set[sympy.Symbol] = set()
    for negation in reversed(negations):
        if not _ordered(negation) <= sure:
            chosen.append(negation)
            sure |= _ordered(negation)
    return _guarded(chosen, needed)


def _carried(expression: sympy.Basic) -> set[sympy.Symbol]:
    """The symbols whose NaN makes the expression a NaN."""
    if isinstance(expression, sympy.Symbol):
        return {expression}
    if isinstance(expression, sympy.Piecewise):
        conditions = [c for _, c in expression.args if not isinstance(c, BooleanTrue)]
        return set().union(*(condition.free_symbols for condition in conditions))
    if isinstance(expression, sympy.Pow):  # but pow(1, NaN) = pow(NaN, 0) = 1
        return _carried(expression.base) if expression.exp.is_number else set()
    return set().union(*(_carried(part) for part in expression.args))


@dataclass(frozen=True)
class Selection:
    """The first branch whose condition holds, else the sum of the terms `fallback`."""

    branches: tuple[tuple[sympy.Expr, Condition], ...]
    fallback: tuple[sympy.Expr, ...]


def selection(piecewise: sympy.Piecewise) -> Selection:
    """A Piecewise that keeps a NaN, and is NaN where no condition holds."""
    branches: list[tuple[sympy.Expr, Condition]] = []
    seen: list[Condition] = []
    negations: list[Condition] = []
    for value, boolean in piecewise.args:
        if isinstance(boolean, BooleanTrue):
            needed = _symbols(_sides(seen))
            if set(needed) <= _carried(value):
                return Selection(tuple(branches), (value,))
            branches.append((value, _otherwise(negations, needed)))
            return Selection(tuple(branches), tuple(_sides(seen)))
        seen.append(_condition(boolean))
        negations.append(_condition(boolean, negated=True))
        branches.append((value, _guarded([seen[-1]], _symbols(_sides(seen)))))
    return Selection(tuple(branches), (*_sides(seen), sympy.nan))


# --- the fold


class Algebra(Protocol[T]):
    """What values are to an expression. Numbers come unsigned: a minus is `negate` or in `add`."""

    def variable(self, value: T) -> T: ...
    def constant(self, number: sympy.Expr) -> T: ...
    def negate(self, value: T) -> T: ...
    def add(self, plus: Sequence[T], minus: Sequence[T]) -> T: ...
    def multiply(self, above: Sequence[T], below: Sequence[T]) -> T: ...
    def power(self, base: T, exponent: int) -> T: ...
    def call(self, name: str, *arguments: T) -> T: ...
    def compare(self, relation: str, left: T, right: T) -> Any: ...
    def join(self, word: str, parts: Sequence[Any]) -> Any: ...
    def select(self, branches: Sequence[tuple[T, Any]], fallback: T) -> T: ...


@dataclass(frozen=True)
class Step:
    """How a node's value comes from the values of its operands."""

    operands: tuple[sympy.Expr, ...]
    value: Callable[[Any, Mapping[sympy.Expr, Any]], Any]


def _is_constant(node: sympy.Basic) -> bool:
    """No symbol in it. With a stack: the body may be deeper than Python's."""
    stack = [node]
    while stack:
        top = stack.pop()
        if isinstance(top, sympy.Symbol):
            return False
        stack.extend(top.args)
    return True


def _float(number: sympy.Expr) -> float:
    return float(number.evalf(30))


def _is_negative(node: sympy.Expr) -> bool:
    return bool(node.as_coeff_Mul()[0].is_extended_negative)


def _quotient(
    node: sympy.Expr,
) -> tuple[bool, tuple[sympy.Expr, ...], tuple[sympy.Expr, ...]]:
    """-? above/below: the sign, the factors above (the number first) and those below."""
    numbers = [factor for factor in sympy.Mul.make_args(node) if _is_constant(factor)]
    factors = [factor for factor in sympy.Mul.make_args(node) if not _is_constant(factor)]
    number = sympy.Mul(*numbers)
    inverse = [f for f in factors if f.is_Pow and _is_negative(f.exp) and f.exp.is_Number]
    above = [f for f in factors if f not in inverse]
    size = -number if number.is_extended_negative else number
    if size != 1 or not above:
        above.insert(0, size)
    return size is not number, tuple(above), tuple(f.base**-f.exp for f in inverse)


def _product_step(node: sympy.Expr) -> Step:
    negative, above, below = _quotient(node)

    def value(algebra: Any, of: Mapping[sympy.Expr, Any]) -> Any:
        product = algebra.multiply([of[f] for f in above], [of[f] for f in below])
        return algebra.negate(product) if negative else product

    return Step((*above, *below), value)


@singledispatch
def _step(node: sympy.Basic) -> Step:
    if type(node) not in FUNCTIONS:
        raise ScalarError(
            f"{type(node).__name__} in {node}: no function of scalars that can be emitted; known "
            f"are {KNOWN}; write it with these"
        )
    name, argument = FUNCTIONS[type(node)], node.args[0]
    return Step((argument,), lambda algebra, of: algebra.call(name, of[argument]))


@_step.register
def _(node: sympy.Add) -> Step:
    plus = tuple(term for term in node.args if not _is_negative(term))
    minus = tuple(-term for term in node.args if _is_negative(term))
    return Step(
        (*plus, *minus),
        lambda algebra, of: algebra.add([of[t] for t in plus], [of[t] for t in minus]),
    )


@_step.register
def _(node: sympy.Mul) -> Step:
    return _product_step(node)


@_step.register
def _(node: sympy.Pow) -> Step:
    base, exponent = node.args
    if exponent.is_Number and exponent.is_negative:
        return _product_step(node)
    if exponent.is_Integer:
        n = int(exponent)
        return Step((base,) * min(n, 4), lambda algebra, of: algebra.power(of[base], n))
    if exponent == sympy.Rational(1, 2):
        return Step((base,), lambda algebra, of: algebra.call("sqrt", of[base]))
    if exponent.is_Rational and exponent.q == 2:
        whole, root = base ** (exponent.p // 2), sympy.sqrt(base)
        return Step((whole, root), lambda algebra, of: algebra.multiply([of[whole], of[root]], []))
    return Step((base, exponent), lambda algebra, of: algebra.call("pow", of[base], of[exponent]))


@_step.register
def _(node: sympy.Piecewise) -> Step:
    chosen = selection(node)
    compared = [c for _, condition in chosen.branches for c in _comparisons(condition)]
    sides = [side for c in compared for side in (c.left, c.right)]

    def holds(algebra: Any, of: Mapping[sympy.Expr, Any], condition: Condition) -> Any:
        if isinstance(condition, Comparison):
            return algebra.compare(condition.relation, of[condition.left], of[condition.right])
        return algebra.join(condition.word, [holds(algebra, of, p) for p in condition.parts])

    def value(algebra: Any, of: Mapping[sympy.Expr, Any]) -> Any:
        branches = [(of[v], holds(algebra, of, condition)) for v, condition in chosen.branches]
        return algebra.select(branches, algebra.add([of[t] for t in chosen.fallback], []))

    values = (v for v, _ in chosen.branches)
    return Step((*values, *sides, *chosen.fallback), value)


def _constant_step(number: sympy.Expr) -> Step:
    if number.is_extended_real is False and number is not sympy.nan:
        raise ScalarError(f"{number} is no real number; write a real-valued formula")
    if number.is_extended_negative:
        return Step((), lambda algebra, of: algebra.negate(algebra.constant(-number)))
    return Step((), lambda algebra, of: algebra.constant(number))


def steps(expression: sympy.Expr) -> dict[sympy.Expr, Step]:
    """Every node under the expression, once and after its operands, with the step that makes it.

    Raises ScalarError where a node is of no known kind.
    """
    made: dict[sympy.Expr, Step] = {}
    done: dict[sympy.Expr, Step] = {}
    stack = [expression]
    while stack:
        node = stack[-1]
        if node not in made and not isinstance(node, sympy.Symbol):
            made[node] = _constant_step(node) if _is_constant(node) else _step(node)
            stack.extend(reversed(made[node].operands))
        else:
            stack.pop()
            if node in made:
                done.setdefault(node, made[node])
    return done


def _fold(
    expression: sympy.Expr,
    values: Mapping[sympy.Symbol, Any],
    algebra: Any,
    keep: Callable[[sympy.Expr, Any], Any],
) -> Any:
    made = steps(expression)
    nodes = dict.fromkeys([expression, *(x for step in made.values() for x in step.operands)])
    missing = [x.name for x in nodes if isinstance(x, sympy.Symbol) and x not in values]
    if missing:
        raise ScalarError(
            f"{expression}: no value for {', '.join(missing)}; values came for "
            f"{', '.join(map(str, values)) or 'nothing'}"
        )
    of = {symbol: algebra.variable(value) for symbol, value in values.items()}
    for node, step in made.items():
        of[node] = keep(node, step.value(algebra, of))
    return of[expression]


def evaluate(expression: sympy.Expr, values: Mapping[sympy.Symbol, T], algebra: Algebra[T]) -> T:
    """The value of a scalar expression where its symbols have the given values.

    Known are numbers, pi, E, infinity and NaN, +, *, **, sqrt, the functions of `FUNCTIONS` and
    Piecewise on comparisons. Raises ScalarError naming an unknown function or a symbol without
    value.

    >>> t = sympy.Symbol("t", real=True)
    >>> evaluate(4 * sympy.exp(-t) / (1 + t) ** 2, {t: Text("t")}, Cython())
    '4*exp(-t)/((1 + t)*(1 + t))'
    """
    value: T = _fold(expression, values, algebra, lambda node, value: value)
    return value


# --- numbers


class _Numbers(Generic[T]):
    """What arrays and multiprecision numbers have in common: Python's operators."""

    def negate(self, value: Any) -> Any:
        return -value

    def add(self, plus: Sequence[Any], minus: Sequence[Any]) -> Any:
        if not plus:
            return -reduce(operator.add, minus)
        return reduce(operator.sub, minus, reduce(operator.add, plus))

    def power(self, base: Any, exponent: int) -> Any:
        return base**exponent


_COMPARE: Mapping[str, Callable[[Any, Any], Any]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
}


class Multiprecision(_Numbers[Any]):
    """mpmath's reals, in mpmath's working precision; NaN where a function has no real value."""

    def variable(self, value: Any) -> Any:
        return mp.mpmathify(value)

    def constant(self, number: sympy.Expr) -> Any:
        if number is sympy.nan or number is sympy.oo:
            return mp.mpf(str(number).replace("oo", "inf"))
        if number.is_Rational:
            return mp.mpf(int(number.p)) / int(number.q)
        return mp.mpf(number.evalf(mp.mp.dps + 5))

    def multiply(self, above: Sequence[Any], below: Sequence[Any]) -> Any:
        bottom = reduce(operator.mul, below, mp.mpf(1))
        return reduce(operator.mul, above) / bottom if bottom != 0 else mp.nan

    def call(self, name: str, *arguments: Any) -> Any:
        try:
            value = _MULTIPRECISION[name](*arguments)
        except (ValueError, ZeroDivisionError):
            return mp.nan
        return value if isinstance(value, mp.mpf) else mp.nan

    def compare(self, relation: str, left: Any, right: Any) -> bool:
        return bool(_COMPARE[relation](left, right))

    def join(self, word: str, parts: Sequence[bool]) -> bool:
        return all(parts) if word == "and" else any(parts)

    def select(self, branches: Sequence[tuple[Any, bool]], fallback: Any) -> Any:
        return next((value for value, holds in branches if holds), fallback)


def _multiprecision_normal_cdf(x: Any) -> Any:
    return mp.erfc(-x / mp.sqrt(2)) / 2


_MULTIPRECISION: Mapping[str, Callable[..., Any]] = {
    **{name: getattr(mp, name) for name in FUNCTIONS.values() if hasattr(mp, name)},
    "sqrt": mp.sqrt,
    "pow": mp.power,
    "normal_cdf": _multiprecision_normal_cdf,
    "normal_gelu": lambda x: x * _multiprecision_normal_cdf(x),
}


class Arrays(_Numbers[Any]):
    """NumPy arrays. The result has the dtype of the values (integers: float64). Never warns."""

    def variable(self, value: Any) -> Any:
        array = np.asarray(value)
        return array if array.dtype.kind in "fc" else array.astype(np.float64)

    def constant(self, number: sympy.Expr) -> float:
        return _float(number)

    def add(self, plus: Sequence[Any], minus: Sequence[Any]) -> Any:
        with np.errstate(all="ignore"):
            return super().add(plus, minus)

    def multiply(self, above: Sequence[Any], below: Sequence[Any]) -> Any:
        with np.errstate(all="ignore"):
            product = reduce(operator.mul, above)
            return product / reduce(operator.mul, below) if below else product

    def power(self, base: Any, exponent: int) -> Any:
        with np.errstate(all="ignore"):
            return reduce(operator.mul, [base] * exponent) if exponent <= 4 else base**exponent

    def call(self, name: str, *arguments: Any) -> Any:
        with np.errstate(all="ignore"):
            return _ARRAYS[name](*arguments)

    def compare(self, relation: str, left: Any, right: Any) -> Any:
        return _COMPARE[relation](left, right)

    def join(self, word: str, parts: Sequence[Any]) -> Any:
        return reduce(operator.and_ if word == "and" else operator.or_, parts)

    def select(self, branches: Sequence[tuple[Any, Any]], fallback: Any) -> Any:
        kind = np.result_type(fallback, *(value for value, _ in branches))
        for value, holds in reversed(branches):
            fallback = np.where(holds, value, fallback)
        return fallback.astype(kind)


def _entrywise(function: Callable[[Any], complex]) -> Callable[[Any], Any]:
    """A function of Python floats, entry by entry, rounded to the array's dtype."""
    every = np.frompyfunc(function, 1, 1)
    return lambda x: np.asarray(every(x)).astype(np.asarray(x).dtype)


def _erf(x: complex) -> complex:
    """erf; of a complex number with 60 digits, so that the small part of a complex step is kept."""
    if isinstance(x, complex):
        with mp.workdps(60):
            return complex(mp.erf(x))
    return math.erf(x)


_INNER = (
    0.3989422804014327,
    -0.06649038006690544,
    0.009973557010035243,
    -0.0011873282154673639,
    0.00011543468746461614,
    -9.444655251026647e-06,
    6.659652604009616e-07,
    -4.121637794475137e-08,
    2.257799209608136e-09,
    -9.955441369415457e-11,
)
_OUTER = (
    0.8461123547250693,
    -0.03964700840400638,
    -0.054008075034081615,
    0.10088858203462767,
    -0.1006574382164558,
    0.07248782697330564,
    -0.03933220136308841,
    0.015422845725142032,
    -0.0035716953405022286,
    -0.00011869398451647304,
    0.00042509519861903507,
    -0.00010817442345730917,
    -2.643428377226518e-05,
    1.938195719717148e-05,
    5.285366763855968e-07,
    -2.8396000541701527e-06,
    1.8741866280767753e-07,
    4.040792291860988e-07,
    -4.8621957715720586e-08,
    -4.4098773136216166e-08,
    7.475054062326398e-09,
)


def _rounded_off(a: Any, b: Any) -> Any:
    """a b minus its floating-point value, by halves with exact products (T. J. Dekker 1971)."""
    a_high, b_high = (v.astype(np.float32).astype(np.float64) for v in (a, b))
    a_low, b_low = a - a_high, b - b_high
    return (a_high * b_high - a * b) + a_high * b_low + a_low * b_high + a_low * b_low


def _weighted_normal_cdf(weight: Any, x: Any) -> Any:
    """weight Phi(x), as in runtime/normal.h."""
    w, x64 = np.asarray(weight, np.float64), np.asarray(x, np.float64)
    near = w * (0.5 + x64 * np.polyval(_INNER[::-1], x64 * x64))
    y = np.minimum(abs(x64), 41)
    above, below = np.polyval(_OUTER[::-1], (y - 5) / (y + 5)), 1 + 2 * y
    mills = above / below
    lost = (above - mills * below) - _rounded_off(mills, below) - mills * (1 - (below - 2 * y))
    lost = lost / below - 0.5 * _rounded_off(y, y) * mills
    density = np.exp(-0.5 * y * y)
    left = mills * density + lost * density
    root = np.exp(-0.25 * y * y)
    places = [abs(x64) < 0.75, x64 > 40, x64 < -40, x64 > 0, y < 37.5]
    values = [near, w, np.copysign(0, w), w * (1 - left), w * left]
    value = np.select(places, values, w * (mills + lost) * root * root)
    return value.astype(np.asarray(x).dtype)


_ARRAYS: Mapping[str, Callable[..., Any]] = {
    **{name: getattr(np, name) for name in FUNCTIONS.values() if hasattr(np, name)},
    "atan": np.arctan,
    "erf": _entrywise(_erf),
    "erfc": _entrywise(math.erfc),
    "sqrt": np.sqrt,
    "pow": np.power,
    "normal_cdf": lambda x: _weighted_normal_cdf(1, x),
    "normal_gelu": lambda x: _weighted_normal_cdf(x, x),
}


# --- Cython text

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


class Cython:
    """Cython source for values of the fused type `real` (float or double).

    Every constant is typed, so that nothing of a float32 kernel is computed in double. A variable
    is given as the text of a name, a subscript or a call. Functions are called by their names in
    runtime/elementary.pxd.
    """

    def variable(self, value: str) -> Text:
        return Text(value)

    def constant(self, number: sympy.Expr) -> Text:
        if number is sympy.nan or number is sympy.oo:
            return Text("<real>NAN" if number is sympy.nan else "<real>INFINITY")
        if number.is_Integer and number < 2**31:
            return Text(f"<real>{number}")
        if number.is_Rational and sympy.Rational(_float(number)) != number:
            return Text(f"<real>({number.p}.0/{number.q})")
        return Text(f"<real>{_float(number)!r}")

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
            return self.call("pow", base, Text(f"<real>{exponent}"))
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
    return uses > 1 and not _is_constant(node) and not (-node).is_Symbol


def cython_body(
    expression: sympy.Expr, arguments: Sequence[sympy.Symbol]
) -> tuple[list[tuple[str, str]], str]:
    """Common subexpressions as (name, text), in an order to compute them, and the result's text.

    Raises ScalarError where the expression has another symbol than the arguments.

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

    result = _fold(expression, {x: Text(x.name) for x in arguments}, Cython(), keep)
    return lets, str(result)
