"""The algebras of numbers: NumPy arrays, and mpmath's reals of any precision."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import Any

import mpmath as mp
import numpy as np
import sympy

from .normal import mean_excess, weighted_density, weighted_normal_cdf
from .scalars import FUNCTIONS, nearest_float


class _Numbers:
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


class Multiprecision(_Numbers):
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
        if name in _EXPONENTIAL and abs(arguments[0]) > LARGEST_EXPONENT:
            return _EXPONENTIAL[name](arguments[0])
        if name in ("sin", "cos") and abs(arguments[0]) > LARGEST_ANGLE:
            return mp.nan
        try:
            value = _MULTIPRECISION[name](*arguments)
        except (ValueError, ZeroDivisionError, OverflowError):
            return mp.nan
        return value if isinstance(value, mp.mpf) else mp.nan

    def compare(self, relation: str, left: Any, right: Any) -> bool:
        return bool(_COMPARE[relation](left, right))

    def join(self, word: str, parts: Sequence[bool]) -> bool:
        return all(parts) if word == "and" else any(parts)

    def select(self, branches: Sequence[tuple[Any, bool]], fallback: Any) -> Any:
        return next((value for value, holds in branches if holds), fallback)


LARGEST_ANGLE = 1e300  # reduced with as many digits as it has
LARGEST_EXPONENT = 1e20  # the exponent of exp of that fits into no memory
_EXPONENTIAL: Mapping[str, Callable[[Any], Any]] = {
    "exp": lambda x: mp.inf if x > 0 else mp.mpf(0),
    "expm1": lambda x: mp.inf if x > 0 else mp.mpf(-1),
    "sinh": lambda x: mp.inf if x > 0 else -mp.inf,
    "cosh": lambda x: mp.inf,
    "tanh": mp.sign,
}


def _multiprecision_normal_cdf(x: Any) -> Any:
    return mp.erfc(-x / mp.sqrt(2)) / 2


_MULTIPRECISION: Mapping[str, Callable[..., Any]] = {
    **{name: getattr(mp, name) for name in FUNCTIONS.values() if hasattr(mp, name)},
    "sqrt": mp.sqrt,
    "pow": mp.power,
    "normal_cdf": _multiprecision_normal_cdf,
    "normal_gelu": lambda x: x * _multiprecision_normal_cdf(x),
    "normal_mean_excess": lambda x: mp.npdf(x) / _multiprecision_normal_cdf(-x) - x,
    "weighted_normal_pdf": lambda w, x: w * mp.npdf(x),
}


class Rows:
    """Lists of mpmath's reals, row by row: an expression is read once for all of them."""

    def __init__(self, count: int) -> None:
        self.count, self.one = count, Multiprecision()

    def variable(self, value: Sequence[Any]) -> list[Any]:
        return [self.one.variable(x) for x in value]

    def constant(self, number: sympy.Expr) -> list[Any]:
        return [self.one.constant(number)] * self.count

    def negate(self, value: list[Any]) -> list[Any]:
        return [-x for x in value]

    def add(self, plus: Sequence[Any], minus: Sequence[Any]) -> list[Any]:
        return [self.one.add(p, m) for p, m in self._pairs(plus, minus)]

    def multiply(self, above: Sequence[Any], below: Sequence[Any]) -> list[Any]:
        return [self.one.multiply(a, b) for a, b in self._pairs(above, below)]

    def power(self, base: list[Any], exponent: int) -> list[Any]:
        return [self.one.power(x, exponent) for x in base]

    def call(self, name: str, *arguments: list[Any]) -> list[Any]:
        return [self.one.call(name, *row) for row in zip(*arguments, strict=True)]

    def compare(self, relation: str, left: list[Any], right: list[Any]) -> list[bool]:
        return [self.one.compare(relation, *row) for row in zip(left, right, strict=True)]

    def join(self, word: str, parts: Sequence[list[bool]]) -> list[bool]:
        return [self.one.join(word, row) for row in zip(*parts, strict=True)]

    def select(self, branches: Sequence[tuple[Any, Any]], fallback: list[Any]) -> list[Any]:
        rows = [[(v[k], c[k]) for v, c in branches] for k in range(self.count)]
        return [self.one.select(row, f) for row, f in zip(rows, fallback, strict=True)]

    def _pairs(self, left: Sequence[Any], right: Sequence[Any]) -> list[tuple[Any, Any]]:
        return [([x[k] for x in left], [x[k] for x in right]) for k in range(self.count)]


class Arrays(_Numbers):
    """NumPy arrays. The result has the dtype of the values (integers: float64). Never warns."""

    def variable(self, value: Any) -> Any:
        array = np.asarray(value)
        return array if array.dtype.kind in "fc" else array.astype(np.float64)

    def constant(self, number: sympy.Expr) -> float:
        return nearest_float(number)

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


def _of_complex(name: str) -> Callable[[complex], complex]:
    """erf or erfc; of a complex number with 60 digits: the small part of a complex step is kept."""

    def value(x: complex) -> complex:
        if isinstance(x, complex):
            with mp.workdps(60):
                return complex(getattr(mp, name)(x))
        return float(getattr(math, name)(x))

    return value


_ARRAYS: Mapping[str, Callable[..., Any]] = {
    **{name: getattr(np, name) for name in FUNCTIONS.values() if hasattr(np, name)},
    "atan": np.arctan,
    "erf": _entrywise(_of_complex("erf")),
    "erfc": _entrywise(_of_complex("erfc")),
    "sqrt": np.sqrt,
    "pow": np.power,
    "normal_cdf": lambda x: weighted_normal_cdf(1, x),
    "normal_gelu": lambda x: weighted_normal_cdf(x, x),
    "normal_mean_excess": mean_excess,
    "weighted_normal_pdf": weighted_density,
}
