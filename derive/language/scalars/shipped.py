"""The shipped operations, with what keeps them and their derivatives accurate in the tails.

Each is made when it is first asked for: to make all takes longer than to import everything else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from threading import RLock
from typing import TYPE_CHECKING, TypeVar

import sympy
from sympy import Piecewise
from sympy.codegen import cfunctions

from . import normal, stable
from .declaring import operation
from .operations import Operation


def _exp_minus(t: sympy.Expr) -> sympy.Expr:
    return sympy.exp(-sympy.Abs(t))


def _sigmoid(t: sympy.Expr) -> sympy.Expr:
    e = _exp_minus(t)
    return Piecewise((1 / (1 + e), t >= 0), (e / (1 + e), True))


def _sigmoid_d1(t: sympy.Expr) -> sympy.Expr:
    """s (1 - s), which is even in t."""
    e = _exp_minus(t)
    return e / (1 + e) ** 2


def _sigmoid_d2(t: sympy.Expr) -> sympy.Expr:
    """s' (1 - 2s), and 1 - 2s = -tanh(t/2)."""
    return -_sigmoid_d1(t) * sympy.tanh(t / 2)


def _tanh_d1(t: sympy.Expr) -> sympy.Expr:
    """1 - tanh^2 = 4 e^-2|t| / (1 + e^-2|t|)^2."""
    return 4 * _sigmoid_d1(2 * t)


def _above_zero(t: sympy.Expr, value: sympy.Expr) -> sympy.Expr:
    return Piecewise((value, t > 0), (0, True))


def _leaky(slope: sympy.Rational) -> Callable[[sympy.Expr], sympy.Expr]:
    return lambda t: Piecewise((slope * t, t <= 0), (t, True))


_FORMULAS = (
    partial(
        operation,
        "tanh",
        lambda t: sympy.tanh(t),
        derivatives={1: _tanh_d1, 2: lambda t: -2 * sympy.tanh(t) * _tanh_d1(t)},
    ),
    partial(
        operation,
        "sigmoid",
        lambda t: 1 / (1 + sympy.exp(-t)),
        stable=_sigmoid,
        derivatives={1: _sigmoid_d1, 2: _sigmoid_d2},
    ),
    partial(
        operation,
        "softplus",
        lambda t: sympy.log(1 + sympy.exp(t)),
        stable=lambda t: stable.softplus(t),
        derivatives={1: _sigmoid, 2: _sigmoid_d1},
    ),
    partial(
        operation,
        "gelu",
        lambda t: t * (1 + sympy.erf(t / sympy.sqrt(2))) / 2,
        stable=lambda t: normal.normal_gelu(t),
        derivatives={
            1: lambda t: normal.normal_cdf(t) + normal.weighted_normal_pdf(t, t),
            2: lambda t: normal.weighted_normal_pdf(2 - t**2, t),
        },
    ),
    partial(
        operation,
        "elu",
        lambda t: Piecewise((sympy.exp(t) - 1, t <= 0), (t, True)),
        stable=lambda t: Piecewise((cfunctions.expm1(t), t <= 0), (t, True)),
    ),
    partial(operation, "relu", lambda t: Piecewise((0, t <= 0), (t, True))),
    partial(operation, "exp", lambda t: sympy.exp(t)),
    partial(operation, "log", lambda t: sympy.log(t)),
    partial(operation, "sqrt", lambda t: sympy.sqrt(t)),
    partial(operation, "square", lambda t: t**2),
    partial(operation, "reciprocal", lambda t: 1 / t),
    partial(operation, "quotient", lambda a, b: a / b),
    partial(operation, "log1p", lambda t: cfunctions.log1p(t)),
    partial(operation, "expm1", lambda t: cfunctions.expm1(t)),
    partial(
        operation,
        "log_cosh",
        lambda t: stable.log_cosh(t),
        derivatives={1: lambda t: sympy.tanh(t), 2: _tanh_d1},
    ),
    partial(operation, "log_expm1", lambda t: stable.log_expm1(t)),
    partial(operation, "log1mexp", lambda t: stable.log1mexp(t)),
    partial(operation, "normal_cdf", lambda t: normal.normal_cdf(t)),
    partial(operation, "log_normal_cdf", lambda t: normal.log_normal_cdf(t)),
    partial(operation, "sech", lambda t: stable.sech(t)),
    partial(operation, "sin", lambda t: sympy.sin(t)),
    partial(operation, "cos", lambda t: sympy.cos(t)),
    partial(operation, "sinh", lambda t: sympy.sinh(t)),
    partial(operation, "cosh", lambda t: sympy.cosh(t)),
    partial(operation, "atan", lambda t: sympy.atan(t)),
    partial(operation, "erf", lambda t: sympy.erf(t)),
    partial(operation, "erfc", lambda t: sympy.erfc(t)),
    partial(operation, "absolute", lambda t: sympy.Abs(t)),
    partial(operation, "maximum", lambda a, b: Piecewise((a, a >= b), (b, True))),
    partial(operation, "minimum", lambda a, b: Piecewise((a, a <= b), (b, True))),
    partial(
        operation,
        "root",
        lambda t: sympy.sqrt(t),
        derivatives={
            1: lambda t: _above_zero(t, 1 / (2 * sympy.sqrt(t))),
            2: lambda t: _above_zero(t, -1 / (4 * t * sympy.sqrt(t))),
        },
    ),
    partial(
        operation,
        "difference",
        lambda a, b: a - b,
        stable=lambda a, b: Piecewise((0, sympy.Eq(a, b)), (a - b, True)),
    ),
    partial(
        operation,
        "weighed",
        lambda p, a: p * a,
        stable=lambda p, a: Piecewise((0, sympy.Eq(p, 0)), (p * a, True)),
    ),
    partial(
        operation,
        "anchor",
        lambda t: t,
        stable=lambda t: Piecewise((0, (t < 0) & (t <= 2 * t)), (t, True)),
    ),
    partial(operation, "share", lambda t: _above_zero(t, 1 / t)),
    partial(
        operation,
        "select",
        lambda mask, there, elsewhere: Piecewise((there, sympy.Ne(mask, 0)), (elsewhere, True)),
        linear=(1, 2),
    ),
    partial(operation, "leaky_relu", _leaky(sympy.Rational(1, 100))),
    partial(operation, "logaddexp", lambda a, b: stable.logaddexp(a, b)),
    partial(operation, "exp_expm1", lambda a, b: stable.exp_expm1(a, b)),
)
_DECLARED: Mapping[str, partial[Operation]] = {made.args[0]: made for made in _FORMULAS}


def _word(number: sympy.Rational) -> str:
    return str(number).replace("-", "minus_").replace("/", "_over_")


def leaky(slope: sympy.Rational) -> Operation:
    """t for t > 0, slope t else; the derivative at 0 is the slope.

    >>> leaky(sympy.Rational(1, 5)).name
    'leaky_relu_1_over_5'
    """
    return operation(f"leaky_relu_{_word(slope)}", _leaky(slope))


def power(exponent: sympy.Rational) -> Operation:
    """t**exponent, for a rational number.

    >>> power(sympy.Rational(-3, 2)).name
    'power_minus_3_over_2'
    """
    return operation(f"power_{_word(exponent)}", lambda t: t**exponent)


def is_power(psi: Operation) -> bool:
    """Whether it is `power(p)` for a rational p; a user's function never is, whatever its formula.

    >>> is_power(power(sympy.Integer(3))), is_power(operation("power_up", lambda t: t + 1))
    (True, False)
    """
    base, exponent = psi.body.as_base_exp()
    known = base in psi.arguments and exponent.is_Rational
    return bool(known) and psi == power(exponent)


_made: dict[str, Operation] = {}
_making = RLock()


def _operation(name: str) -> Operation:
    """The one operation of this name; two threads are given the same."""
    with _making:
        if name not in _made:
            _made[name] = _DECLARED[name]()
        return _made[name]


if TYPE_CHECKING:
    tanh: Operation
    sigmoid: Operation
    relu: Operation
    leaky_relu: Operation
    elu: Operation
    softplus: Operation
    gelu: Operation
    exp: Operation
    log: Operation
    sqrt: Operation
    square: Operation
    reciprocal: Operation
    quotient: Operation
    absolute: Operation
    maximum: Operation
    minimum: Operation
    log1p: Operation
    expm1: Operation
    log_cosh: Operation
    log_expm1: Operation
    log1mexp: Operation
    normal_cdf: Operation
    log_normal_cdf: Operation
    sech: Operation
    sin: Operation
    cos: Operation
    sinh: Operation
    cosh: Operation
    atan: Operation
    erf: Operation
    erfc: Operation
    root: Operation
    difference: Operation
    weighed: Operation
    anchor: Operation
    share: Operation
    select: Operation
    logaddexp: Operation
    exp_expm1: Operation
else:

    def __getattr__(name: str) -> Operation:
        if name in _DECLARED:
            return _operation(name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


K = TypeVar("K")


class _Operations(Mapping[K, Operation]):
    """Operations by a key, each made when it is asked for."""

    def __init__(self, names: Mapping[K, str]) -> None:
        self._names = names

    def __getitem__(self, key: K) -> Operation:
        return _operation(self._names[key])

    def __iter__(self) -> Iterator[K]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __contains__(self, key: object) -> bool:
        return key in self._names


_INTERNAL = {"logaddexp", "exp_expm1"}
shipped: Mapping[str, Operation] = _Operations({n: n for n in _DECLARED if n not in _INTERNAL})
"""Every operation that formulas name, by its name."""

_OWN = ("sech", "sigmoid", "softplus", "log_cosh", "log_expm1", "log1mexp")
OPERATION_OF: Mapping[type[sympy.Function], Operation] = _Operations(
    {
        **{sympy.exp: "exp", sympy.log: "log", sympy.tanh: "tanh", sympy.Abs: "absolute"},
        **{sympy.sin: "sin", sympy.cos: "cos", sympy.sinh: "sinh", sympy.cosh: "cosh"},
        **{sympy.atan: "atan", sympy.erf: "erf", sympy.erfc: "erfc"},
        **{cfunctions.log1p: "log1p", cfunctions.expm1: "expm1"},
        **{normal.normal_cdf: "normal_cdf", normal.log_normal_cdf: "log_normal_cdf"},
        **{normal.normal_gelu: "gelu"},
        **{getattr(stable, name): name for name in (*_OWN, *sorted(_INTERNAL))},
    }
)
"""The operation that a function is, in the order of its arguments: expressions as nodes again."""
