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
from functools import cache
from typing import Any, TypeAlias

import numpy as np
import sympy

from .algebras import Arrays
from .fold import evaluate, steps
from .rewriting import is_analytic, kinks_of, plain, without_kinks, without_overflow
from .scalars import CALLED, ScalarError

Formula: TypeAlias = "sympy.Expr | Callable[..., Any]"
Orders = tuple[int, ...]


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
    derived_from    what this is a derivative of, and by which argument; None where it is declared
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
    derived_from: tuple[Operation, int] | None = field(default=None, repr=False, compare=False)

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

        >>> from derive.elementwise.shipped import relu, tanh
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

        >>> from derive.elementwise.shipped import relu
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
    body = plain(given, symbols)
    text = without_overflow(without_kinks(given, symbols)) if stable is None else stable
    return Operation(
        name=name,
        arguments=symbols,
        body=body,
        stable=_expression(name, text, symbols),
        base=name,
        orders=(0,) * len(symbols),
        kinks=kinks_of(body),
        analytic=is_analytic(body),
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
        names = _parameters(name, formula)
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


def _parameters(name: str, formula: Callable[..., Any]) -> list[str]:
    """The formula's arguments; one with a default value keeps that value."""
    found = [
        parameter
        for parameter in inspect.signature(formula).parameters.values()
        if parameter.default is inspect.Parameter.empty
    ]
    for parameter in found:
        if parameter.kind in (parameter.VAR_KEYWORD, parameter.KEYWORD_ONLY):
            raise OperationError(
                f"{name}: the formula is called with its arguments in order, and {parameter} is "
                "none of them; remove it"
            )
    return [parameter.name for parameter in found]


def _called(name: str, formula: Callable[..., Any], symbols: tuple[sympy.Symbol, ...]) -> Any:
    """The formula of the symbols; an error of SymPy or NumPy on a symbol is told in our words."""
    try:
        return formula(*symbols)
    except OperationError:
        raise
    except (TypeError, AttributeError, ValueError) as error:
        what = next((said for part, said in WRONG.items() if part in str(error)), PLAIN)
        raise OperationError(f"{name}: the formula {what}") from error


PLAIN = (
    "can't be taken of a symbol; write it with +, -, *, /, ** and functions of SymPy, as in "
    "lambda t: t * sympy.exp(-t)"
)
WRONG = {
    "truth value": (
        "decides by a comparison (if, and, or, max, min, numpy.where); write "
        "sympy.Piecewise((t, t > 0), (0, True)), sympy.Max(t, 0) or sympy.Min(t, 0)"
    ),
    **dict.fromkeys(
        ("expression to float", "loop of ufunc", "round symbolic", "to float"),
        "uses a function of math or NumPy; use those of SymPy, sympy.exp, sympy.tanh, ..",
    ),
}
"""What SymPy, Python or NumPy says where a formula does not take a symbol, and what it means."""


def _expression(name: str, formula: Formula, symbols: tuple[sympy.Symbol, ...]) -> sympy.Expr:
    """The formula on the symbols, checked."""
    value = formula if isinstance(formula, sympy.Expr) else _called(name, formula, symbols)
    if isinstance(value, int | float):
        value = sympy.sympify(value)
    if not isinstance(value, sympy.Expr):
        raise OperationError(
            f"{name}: expected a SymPy expression, came {type(value).__name__} {value!r}; a "
            "formula returns one, as in lambda t: sympy.exp(t)"
        )
    declared = {symbol.name: symbol for symbol in symbols}
    value = value.xreplace({x: declared.get(x.name, x) for x in value.free_symbols})
    others = sorted(str(x) for x in value.free_symbols - set(symbols))
    if others:
        raise OperationError(
            f"{name}: the formula has {', '.join(others)}, the arguments are "
            f"{', '.join(declared)}; declare them as arguments or put numbers in"
        )
    if value.has(sympy.nan, sympy.oo, -sympy.oo):
        raise OperationError(f"{name}: expected finite values, got {value}; leave such values out")
    if value.has(sympy.I, sympy.zoo) or value.is_extended_real is False:
        raise OperationError(f"{name}: expected a real-valued formula, came {value}")
    try:
        steps(without_kinks(value, symbols))
    except ScalarError as error:
        raise OperationError(f"{name}: {error}") from error
    return value


# --- derivatives


def _derived_name(base: str, orders: Orders) -> str:
    """tanh_d2, quotient_d01; with several orders beyond 9, f_d10_0."""
    return f"{base}_d{('_' if max(orders) > 9 else '').join(map(str, orders))}"


@cache
def _derivative(psi: Operation, argument: int) -> Operation:
    orders = tuple(order + (k == argument) for k, order in enumerate(psi.orders))
    body = plain(sympy.diff(psi.body, psi.arguments[argument]), psi.arguments)
    if body == psi.body:
        return psi  # exp' is exp: one operation, so that its values are shared
    return Operation(
        name=_derived_name(psi.base, orders),
        arguments=psi.arguments,
        body=body,
        stable=dict(psi.stable_derivatives).get(orders, without_overflow(body)),
        base=psi.base,
        orders=orders,
        kinks=psi.kinks,
        analytic=is_analytic(body),
        stable_derivatives=psi.stable_derivatives,
        derived_from=(psi, argument),
    )
