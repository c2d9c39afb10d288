"""psi: the elementwise operations of layers (thesis section 2.4) and their derivatives.

An operation is a scalar function of one or several real arguments. Its `body` is the plain formula,
from which SymPy takes derivatives and a proof in exact arithmetic starts; `stable` is the same
function as it is evaluated and emitted: accurate in the tails and without overflow.

At a kink these conventions replace SymPy's, from the declaration of an operation on:

    relu'(0) = 0, |.|'(0) = 0, leaky_relu'(0) = slope, sign(0) = 0, Heaviside(0) = 0;
    max and min take a number before a variable, then the argument that was declared first.
"""

from __future__ import annotations

import inspect
import keyword
import numbers
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any, TypeAlias

import numpy as np
import sympy

from . import equalities
from .algebras import Arrays
from .fold import evaluate, steps
from .laws import Law, rewritten
from .relations import left_out, with_plain_conditions
from .rewriting import differentiable, is_analytic, kinks_of, plain, without_kinks
from .scalars import CALLED, ScalarError, digits_of, is_beyond_floats

Formula: TypeAlias = "sympy.Expr | Callable[..., Any]"
Orders = tuple[int, ...]


class OperationError(ValueError):
    """Not the declaration of an elementwise operation; the message says which, why, and the fix."""


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
    rewritten   the formula by the laws, of which the stable derivatives are made
    laws        which laws these were
    linear      positions of the arguments in which psi is linear, jointly: along these the
                derivative is psi itself, and no product with a slope
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
    rewritten: sympy.Expr = field(repr=False, compare=False)
    laws: tuple[Law, ...] = field(default=(), repr=False, compare=False)
    stable_derivatives: tuple[tuple[Orders, sympy.Expr], ...] = field(default=(), repr=False)
    declared: Operation | None = field(default=None, repr=False, compare=False)
    derived_from: tuple[Operation, int] | None = field(default=None, repr=False, compare=False)
    linear: tuple[int, ...] = ()

    @cached_property
    def keeps_common(self) -> bool:
        """Whether it takes a value that all the arguments in which it is linear share."""
        own = [self.arguments[k] for k in self.linear]
        return bool(own) and self.body.xreplace(dict.fromkeys(own, own[0])) == own[0]

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

        >>> from derive.language.scalars.shipped import relu, tanh
        >>> tanh.derivative().name, relu.derivative().derivative().is_zero
        ('tanh_d1', True)
        """
        if argument not in range(len(self.arguments)):
            raise OperationError(
                f"{self.name}: it has arguments 0 to {len(self.arguments) - 1}, got {argument!r}; "
                "give the position of one"
            )
        return _derivative(self, argument)

    def __call__(self, *values: Any) -> np.ndarray:
        """The values of `stable` on arrays of one shape, or of shapes that broadcast.

        >>> from derive.language.scalars.shipped import relu
        >>> relu(np.array([-1.0, 2.0]))
        array([0., 2.])
        """
        if len(values) != len(self.arguments):
            raise OperationError(
                f"{self.name}: expected {len(self.arguments)} arguments, got {len(values)}"
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
    linear: Sequence[int] = (),
) -> Operation:
    """An elementwise operation from a SymPy expression of real arguments.

    `formula` is a callable on symbols, its parameters being the arguments, or an expression of the
    `arguments`. `stable` and `derivatives` (by order, or by orders of several arguments) say how
    the function and its derivatives are evaluated; without them these are the formula and its
    derivatives, rewritten by the laws of `laws`. `linear` are the positions of arguments in which
    it is linear, all of them together: what a selection selects from.

    Raises OperationError for a name that is not an identifier, an undeclared symbol, a function
    that can't be emitted, and a formula that is not real.

    >>> swish = operation("swish", lambda t, beta: t / (1 + sympy.exp(-beta * t)))
    >>> swish.arguments, swish.derivative(1).name
    ((t, beta), 'swish_d01')
    """
    _check_name(name)
    symbols = _arguments(name, formula, arguments)
    given = _separated(name, _expression(name, formula, symbols))
    _check_complete(name, given)
    table = _table(name, {} if derivatives is None else derivatives, symbols)
    body = plain(given, symbols)
    _check_equalities(name, body, [symbols[k] for k in linear] or symbols)
    by_laws, laws = _by_laws(given, symbols)
    return Operation(
        name=name,
        arguments=symbols,
        body=body,
        stable=by_laws if stable is None else _expression(name, stable, symbols),
        base=name,
        orders=(0,) * len(symbols),
        kinks=kinks_of(body),
        analytic=is_analytic(body),
        rewritten=by_laws,
        laws=laws if stable is None else (),
        stable_derivatives=tuple(table.items()),
        linear=tuple(linear),
    )


def _table(
    name: str, derivatives: Mapping[int | Orders, Formula], symbols: tuple[sympy.Symbol, ...]
) -> dict[Orders, sympy.Expr]:
    """The derivatives that are given, by their orders."""
    if not isinstance(derivatives, Mapping):
        raise OperationError(
            f"{name}: expected derivatives as a dictionary by order, as in {{1: lambda t: ..}}, "
            f"got {type(derivatives).__name__} {derivatives!r}"
        )
    table = {}
    for key, formula in derivatives.items():
        orders = key if isinstance(key, tuple) else (key,)
        if len(orders) != len(symbols) or not all(isinstance(order, int) for order in orders):
            raise OperationError(
                f"{name}: derivatives are by one order for each of {len(symbols)} arguments, got "
                f"{key!r}"
            )
        table[orders] = _expression(name, formula, symbols)
    return table


def _check_complete(name: str, given: sympy.Expr) -> None:
    """A Piecewise whose conditions leave places out would be NaN there."""
    if found := left_out(given):
        place = ", ".join(f"{x} = {value}" for x, value in found.items())
        raise OperationError(
            f"{name}: no condition of a Piecewise holds at {place}; give it a last branch "
            "(value, True)"
        )


def _by_laws(
    given: sympy.Expr, symbols: tuple[sympy.Symbol, ...]
) -> tuple[sympy.Expr, tuple[Law, ...]]:
    """Rewritten before kinks become conditions, and after that: no condition loses digits."""
    inside, first = rewritten(given)
    found, then = rewritten(without_kinks(inside, symbols))
    return found, tuple(dict.fromkeys((*first, *then)))


def _check_name(name: str) -> None:
    if not isinstance(name, str) or not name.isidentifier() or keyword.iskeyword(name):
        raise OperationError(f"operation {name!r}: expected an identifier; choose another name")


def _arguments(
    name: str, formula: Formula, arguments: Sequence[sympy.Symbol]
) -> tuple[sympy.Symbol, ...]:
    """The real symbols that the formula is a function of."""
    if isinstance(formula, sympy.Expr):
        names = [str(argument) for argument in arguments]
    elif callable(formula):
        names = _parameters(name, formula)
    else:
        raise OperationError(
            f"{name}: expected a SymPy expression or a callable that makes one, got "
            f"{type(formula).__name__} {formula!r}"
        )
    if not names or len(set(names)) < len(names):
        raise OperationError(f"{name}: expected one or more distinct arguments, got {names}")
    for word in names:
        if not word.isidentifier() or keyword.iskeyword(word) or word in CALLED:
            raise OperationError(
                f"{name}: an argument is called {word!r}, which is not an identifier or is "
                "a word of emitted text; choose another name"
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
                "not one of them; remove it"
            )
    return [parameter.name for parameter in found]


def _called(name: str, formula: Callable[..., Any], symbols: tuple[sympy.Symbol, ...]) -> Any:
    """The formula of the symbols; an error of SymPy or NumPy on a symbol is told in our words."""
    if not callable(formula):
        raise OperationError(
            f"{name}: expected a SymPy expression, a number or a callable that makes one, got "
            f"{type(formula).__name__} {formula!r}"
        )
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
    made = isinstance(formula, sympy.Expr | numbers.Real)
    value = formula if made else _called(name, formula, symbols)
    if isinstance(value, numbers.Real):
        value = sympy.sympify(value)
    if not isinstance(value, sympy.Expr):
        raise OperationError(
            f"{name}: expected a SymPy expression, got {type(value).__name__} {value!r}; a "
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
        raise OperationError(f"{name}: expected a real-valued formula, got {value}")
    try:
        value = with_plain_conditions(value)
        found = steps(without_kinks(value, symbols))
    except ScalarError as error:
        raise OperationError(f"{name}: {error}") from error
    for number in (x for x in found if x.is_Number and is_beyond_floats(x)):
        raise OperationError(
            f"{name}: a number of {digits_of(number)} digits is beyond the largest "
            "floating-point number, 1.8e308; scale the formula"
        )
    return value


def _separated(name: str, value: sympy.Expr) -> sympy.Expr:
    try:
        return equalities.separated(value)
    except equalities.NotContinued as error:
        raise OperationError(f"{name}: {error}") from error


def _check_equalities(name: str, body: sympy.Expr, moved: Sequence[sympy.Symbol]) -> None:
    """What an operation selects by may jump: it is linear in the other arguments, which move."""
    try:
        equalities.check(body, moved)
    except equalities.NotContinued as error:
        raise OperationError(f"{name}: {error}") from error


# --- derivatives


def _derived_name(base: str, orders: Orders) -> str:
    """tanh_d2, quotient_d01; with several orders beyond 9, f_d10_0."""
    return f"{base}_d{('_' if max(orders) > 9 else '').join(map(str, orders))}"


@cache
def _derivative(psi: Operation, argument: int) -> Operation:
    """By one more argument; always in the order of the arguments, so that there is one text."""
    orders = tuple(order + (k == argument) for k, order in enumerate(psi.orders))
    found = _partial(psi.declared or psi, orders)
    return psi if found.body == psi.body else found  # exp' is exp: one operation, values shared


@cache
def _partial(declared: Operation, orders: Orders) -> Operation:
    """The partial derivative of a declared operation of these orders."""
    if not any(orders):
        return declared
    last = max(k for k, order in enumerate(orders) if order)
    below = _partial(declared, tuple(order - (k == last) for k, order in enumerate(orders)))
    arguments, x = declared.arguments, declared.arguments[last]

    def in_plain_functions(expression: sympy.Expr) -> sympy.Expr:
        return plain(expression, arguments)

    body = plain(equalities.derivative(below.body, x, in_plain_functions), arguments)
    if body == below.body:
        return below
    smooth = differentiable(below.rewritten, arguments)
    moved = equalities.derivative(smooth, x, in_plain_functions)
    by_laws, laws = _by_laws(moved, arguments)
    text = dict(declared.stable_derivatives).get(orders)
    return Operation(
        name=_derived_name(declared.base, orders),
        arguments=arguments,
        body=body,
        stable=by_laws if text is None else text,
        base=declared.base,
        orders=orders,
        kinks=declared.kinks,
        analytic=is_analytic(body),
        rewritten=by_laws,
        laws=laws if text is None else (),
        stable_derivatives=declared.stable_derivatives,
        declared=declared,
        derived_from=(below, last),
    )
