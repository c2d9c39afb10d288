"""psi: the elementwise operations of layers (thesis section 2.4) and their derivatives.

An operation is a scalar function of one or several real arguments. Its `body` is the plain formula,
from which SymPy takes derivatives and a proof in exact arithmetic starts; `stable` is the same
function as it is evaluated and emitted: accurate in the tails and without overflow.

At a kink SymPy's conventions don't hold but these, put in when an operation is declared:

    relu'(0) = 0, |.|'(0) = 0, leaky_relu'(0) = slope, sign(0) = 0, Heaviside(0) = 0;
    max and min take a number before a variable, then the argument that was declared first.
"""

from __future__ import annotations

import inspect
import keyword
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, reduce
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np
import sympy
from sympy import Piecewise
from sympy.codegen.cfunctions import expm1, log1p
from sympy.core.relational import Relational

from .scalars import CALLED, Arrays, ScalarError, evaluate, normal_cdf, normal_gelu, steps

Formula: TypeAlias = "sympy.Expr | Callable[..., Any]"
Orders = tuple[int, ...]
Rules = Mapping[Any, Callable[..., sympy.Expr]]


class OperationError(ValueError):
    """A declaration that is no elementwise operation; the message says which, why, and the fix."""


@dataclass(frozen=True)
class Operation:
    """psi, or a partial derivative of a declared psi.

    name        an identifier; tanh, tanh_d1, tanh_d2; quotient_d01 by the second argument
    arguments   real symbols
    body        the plain formula, in exp, log, tanh, erf, Piecewise, ..
    stable      the same function, as it is evaluated and emitted
    base        the name of the declared operation
    orders      which partial derivative of it this is, one order for each argument
    kinks       expressions that vanish where psi or a derivative may jump; () for a smooth psi
    analytic    the body continues to complex arguments (no Piecewise, no Abs)
    """

    name: str
    arguments: tuple[sympy.Symbol, ...]
    body: sympy.Expr
    stable: sympy.Expr
    base: str
    orders: Orders
    kinks: tuple[sympy.Expr, ...]
    analytic: bool
    stable_derivatives: tuple[tuple[Orders, sympy.Expr], ...] = field(default=(), repr=False)

    @property
    def is_constant(self) -> bool:
        """No argument is read: the number is `body`."""
        return not self.body.free_symbols

    @property
    def is_zero(self) -> bool:
        """The zero function, such as relu''."""
        return bool(self.body == 0)

    def derivative(self, argument: int = 0) -> Operation:
        """The partial derivative by one argument; psi' and psi'' of (2.10), (2.11). Computed once.

        Raises OperationError where there is no such argument.

        >>> tanh.derivative().name, relu.derivative().derivative().is_zero
        ('tanh_d1', True)
        """
        if argument not in range(len(self.arguments)):
            raise OperationError(
                f"{self.name}: it has arguments 0 to {len(self.arguments) - 1}, came {argument!r}; "
                "give the position of one"
            )
        return _derivative(self, argument)

    def __call__(self, *values: Any) -> np.ndarray:
        """The values of `stable` on arrays of one shape, or of shapes that broadcast.

        >>> relu(np.array([-1.0, 2.0]))
        array([0., 2.])
        """
        if len(values) != len(self.arguments):
            raise OperationError(
                f"{self.name}: expected {len(self.arguments)} arguments, came {len(values)}"
            )
        arrays = np.broadcast_arrays(*(Arrays().variable(value) for value in values))
        value = evaluate(self.stable, dict(zip(self.arguments, arrays, strict=True)), Arrays())
        return np.full(arrays[0].shape, value, np.result_type(*arrays))


# --- declaration


def operation(
    name: str,
    formula: Formula,
    *,
    arguments: Sequence[sympy.Symbol] = (),
    stable: Formula | None = None,
    derivatives: Mapping[int | Orders, Formula] | None = None,
) -> Operation:
    """An elementwise operation from a SymPy expression of real arguments.

    `formula` is a callable on symbols, its parameters being the arguments, or an expression of the
    `arguments`. `stable` and `derivatives` (by order, or by orders of several arguments) say how
    the function and its derivatives are evaluated; else it is the formula and SymPy's derivatives
    of it, with logistic terms written so that no exp overflows.

    Raises OperationError for a name that is no identifier, an undeclared symbol, a function that
    can't be emitted, and a formula that is not real.

    >>> swish = operation("swish", lambda t, beta: t / (1 + sympy.exp(-beta * t)))
    >>> swish.arguments, swish.derivative(1).name
    ((t, beta), 'swish_d01')
    """
    _check_name(name)
    symbols = _arguments(name, formula, arguments)
    given = _expression(name, formula, symbols)
    table = {
        ((orders,) if isinstance(orders, int) else tuple(orders)): _expression(name, text, symbols)
        for orders, text in (derivatives or {}).items()
    }
    if any(len(orders) != len(symbols) for orders in table):
        raise OperationError(
            f"{name}: derivatives are by one order for each of {len(symbols)} arguments, came "
            f"{', '.join(map(str, table))}"
        )
    body = _plain(given, symbols)
    text = _bounded(_without_kinks(given, symbols)) if stable is None else stable
    return Operation(
        name=name,
        arguments=symbols,
        body=body,
        stable=_expression(name, text, symbols),
        base=name,
        orders=(0,) * len(symbols),
        kinks=_kinks(body),
        analytic=_is_analytic(body),
        stable_derivatives=tuple(table.items()),
    )


def _check_name(name: str) -> None:
    if not isinstance(name, str) or not name.isidentifier() or keyword.iskeyword(name):
        raise OperationError(f"operation {name!r}: expected an identifier; choose another name")


def _arguments(
    name: str, formula: Formula, arguments: Sequence[sympy.Symbol]
) -> tuple[sympy.Symbol, ...]:
    """The real symbols that the formula is of."""
    if isinstance(formula, sympy.Expr):
        names = [str(argument) for argument in arguments]
    elif callable(formula):
        names = list(inspect.signature(formula).parameters)
    else:
        raise OperationError(
            f"{name}: expected a SymPy expression or a callable that makes one, came "
            f"{type(formula).__name__} {formula!r}"
        )
    if not names or len(set(names)) < len(names):
        raise OperationError(f"{name}: expected one or more distinct arguments, came {names}")
    for word in names:
        if not word.isidentifier() or keyword.iskeyword(word) or word in CALLED:
            raise OperationError(
                f"{name}: an argument is called {word!r}, which is no identifier or a word of "
                "emitted text; choose another name"
            )
    return tuple(sympy.Symbol(word, real=True) for word in names)


def _expression(name: str, formula: Formula, symbols: tuple[sympy.Symbol, ...]) -> sympy.Expr:
    """The formula on the symbols, checked."""
    value = formula if isinstance(formula, sympy.Expr) else formula(*symbols)
    if isinstance(value, int | float):
        value = sympy.sympify(value)
    if not isinstance(value, sympy.Expr):
        raise OperationError(
            f"{name}: expected a SymPy expression, came {type(value).__name__} {value!r}; use "
            "sympy.exp, sympy.tanh, .. in the formula, not those of math or NumPy"
        )
    declared = {symbol.name: symbol for symbol in symbols}
    value = value.xreplace({x: declared.get(x.name, x) for x in value.free_symbols})
    others = sorted(str(x) for x in value.free_symbols - set(symbols))
    if others:
        raise OperationError(
            f"{name}: the formula has {', '.join(others)}, the arguments are "
            f"{', '.join(declared)}; declare them as arguments or put numbers in"
        )
    if value.has(sympy.I, sympy.zoo) or value.is_extended_real is False:
        raise OperationError(f"{name}: expected a real-valued formula, came {value}")
    try:
        steps(_without_kinks(value, symbols))
    except ScalarError as error:
        raise OperationError(f"{name}: {error}") from error
    return value


# --- formulas: kinks made explicit, plain functions, no overflow


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
    """Heaviside's function with H(0) = 0; another value than SymPy's 1/2 is the user's."""
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
    return rules.get(expression.func, expression.func)(*arguments)


def _kink_rules(arguments: Sequence[sympy.Symbol]) -> Rules:
    return {
        sympy.Max: lambda *values: _choice(values, sympy.Ge, arguments),
        sympy.Min: lambda *values: _choice(values, sympy.Le, arguments),
        sympy.sign: lambda t: _by_branch(_sign, t),
        sympy.Heaviside: lambda t, *h: _by_branch(lambda branch: _step(branch, *h), t),
    }


_PLAIN: Rules = {
    sympy.Abs: lambda t: _by_branch(_absolute, t),
    expm1: lambda t: sympy.exp(t) - 1,
    log1p: lambda t: sympy.log(1 + t),
    normal_cdf: lambda t: normal_cdf(t).rewrite(sympy.erf),
    normal_gelu: lambda t: normal_gelu(t).rewrite(sympy.erf),
}


def _without_kinks(expression: sympy.Expr, arguments: Sequence[sympy.Symbol]) -> sympy.Expr:
    """Max, Min, sign and Heaviside by Piecewise."""
    return _rewritten(expression, _kink_rules(arguments))


def _plain(expression: sympy.Expr, arguments: Sequence[sympy.Symbol]) -> sympy.Expr:
    """In functions that SymPy differentiates and a proof knows."""
    return _rewritten(expression, {**_kink_rules(arguments), **_PLAIN})


def _logistic(factors: tuple[sympy.Expr, ...]) -> sympy.Expr:
    """exp(u)^k / (1 + exp(u))^n, 0 < k <= n, by exp(-|u|): neither factor overflows."""
    product = sympy.Mul(*factors)
    for factor in factors:
        base, exponent = factor.as_base_exp()
        exponents = [e for e in base.args if isinstance(e, sympy.exp)]
        if not (exponent.is_Integer and exponent < 0 and exponents and base == 1 + exponents[0]):
            continue
        u, n = exponents[0].args[0], int(-exponent)
        for numerator in factors:
            k = numerator.args[0] / u if isinstance(numerator, sympy.exp) else sympy.S.Zero
            if k.is_Integer and 0 < k <= n:
                e = sympy.exp(-sympy.Abs(u))
                bounded = Piecewise((e ** (n - k), u > 0), (e**k, True)) / (1 + e) ** n
                return _logistic(sympy.Mul.make_args(product / factor / numerator)) * bounded
    return product


def _softplus(argument: sympy.Expr) -> sympy.Expr:
    """log(1 + exp(u)) without overflow."""
    u = (argument - 1).args[0] if isinstance(argument - 1, sympy.exp) else None
    if u is None:
        return sympy.log(argument)
    small = log1p(sympy.exp(-sympy.Abs(u)))
    return Piecewise((u + small, u > 0), (small, True))


def _bounded(expression: sympy.Expr) -> sympy.Expr:
    """The same function, where exp(u) may overflow in logistic terms, without that."""
    expression = expression.replace(sympy.Mul, lambda *factors: _logistic(factors))
    return expression.replace(sympy.log, _softplus)


def _kinks(body: sympy.Expr) -> tuple[sympy.Expr, ...]:
    """Differences of the compared sides, each once up to sign."""
    found: dict[sympy.Expr, None] = {}
    for node in sympy.preorder_traversal(body):
        if isinstance(node, Relational):
            difference = node.lhs - node.rhs
            if -difference not in found:
                found[difference] = None
    return tuple(found)


def _is_analytic(body: sympy.Expr) -> bool:
    return not body.has(Piecewise, sympy.Abs)


# --- derivatives


def _derived_name(base: str, orders: Orders) -> str:
    """tanh_d2, quotient_d01; with several orders beyond 9, f_d10_0."""
    return f"{base}_d{('_' if max(orders) > 9 else '').join(map(str, orders))}"


@cache
def _derivative(psi: Operation, argument: int) -> Operation:
    orders = tuple(order + (k == argument) for k, order in enumerate(psi.orders))
    body = _plain(sympy.diff(psi.body, psi.arguments[argument]), psi.arguments)
    if body == psi.body:
        return psi  # exp' is exp: one operation, so that its values are shared
    return Operation(
        name=_derived_name(psi.base, orders),
        arguments=psi.arguments,
        body=body,
        stable=dict(psi.stable_derivatives).get(orders, _bounded(body)),
        base=psi.base,
        orders=orders,
        kinks=psi.kinks,
        analytic=_is_analytic(body),
        stable_derivatives=psi.stable_derivatives,
    )


# --- the shipped operations


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


def _softplus_of(t: sympy.Expr) -> sympy.Expr:
    """max(t, 0) + log(1 + e^-|t|)."""
    return _softplus(1 + sympy.exp(t))


def _density(t: sympy.Expr) -> sympy.Expr:
    """phi = Phi'."""
    return sympy.exp(-(t**2) / 2) / sympy.sqrt(2 * sympy.pi)


tanh = operation(
    "tanh",
    lambda t: sympy.tanh(t),
    derivatives={1: _tanh_d1, 2: lambda t: -2 * sympy.tanh(t) * _tanh_d1(t)},
)
sigmoid = operation(
    "sigmoid",
    lambda t: 1 / (1 + sympy.exp(-t)),
    stable=_sigmoid,
    derivatives={1: _sigmoid_d1, 2: _sigmoid_d2},
)
softplus = operation(
    "softplus",
    lambda t: sympy.log(1 + sympy.exp(t)),
    stable=_softplus_of,
    derivatives={1: _sigmoid, 2: _sigmoid_d1},
)
gelu = operation(
    "gelu",
    lambda t: t * (1 + sympy.erf(t / sympy.sqrt(2))) / 2,
    stable=lambda t: normal_gelu(t),
    derivatives={
        1: lambda t: normal_cdf(t) + t * _density(t),
        2: lambda t: (2 - t**2) * _density(t),
    },
)
elu = operation(
    "elu",
    lambda t: Piecewise((sympy.exp(t) - 1, t <= 0), (t, True)),
    stable=lambda t: Piecewise((expm1(t), t <= 0), (t, True)),
)
relu = operation("relu", lambda t: Piecewise((0, t <= 0), (t, True)))
exp = operation("exp", lambda t: sympy.exp(t))
log = operation("log", lambda t: sympy.log(t))
sqrt = operation("sqrt", lambda t: sympy.sqrt(t))
square = operation("square", lambda t: t**2)
reciprocal = operation("reciprocal", lambda t: 1 / t)
quotient = operation("quotient", lambda a, b: a / b)
absolute = operation("absolute", lambda t: sympy.Abs(t))
maximum = operation("maximum", lambda a, b: Piecewise((a, a >= b), (b, True)))
minimum = operation("minimum", lambda a, b: Piecewise((a, a <= b), (b, True)))


def _word(number: sympy.Rational) -> str:
    return str(number).replace("-", "minus_").replace("/", "_over_")


def leaky(slope: sympy.Rational, name: str = "") -> Operation:
    """t for t > 0, slope t else; the derivative at 0 is the slope.

    >>> leaky(sympy.Rational(1, 5)).name
    'leaky_relu_1_over_5'
    """
    return operation(
        name or f"leaky_relu_{_word(slope)}", lambda t: Piecewise((slope * t, t <= 0), (t, True))
    )


def power(exponent: sympy.Rational) -> Operation:
    """t**exponent, for a rational number.

    >>> power(sympy.Rational(-3, 2)).name
    'power_minus_3_over_2'
    """
    return operation(f"power_{_word(exponent)}", lambda t: t**exponent)


leaky_relu = leaky(sympy.Rational(1, 100), "leaky_relu")

shipped: Mapping[str, Operation] = MappingProxyType(
    {
        psi.name: psi
        for psi in (
            *(tanh, sigmoid, relu, leaky_relu, elu, softplus, gelu, exp, log, sqrt, square),
            *(reciprocal, quotient, absolute, maximum, minimum),
        )
    }
)
"""Every operation here, by its name."""
