"""An elementwise operation from a formula: what is declared, checked, and told in our words."""

from __future__ import annotations

import inspect
import keyword
import numbers
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import sympy

from . import equalities
from .fold import steps
from .operations import Formula, Operation, OperationError, Orders, by_laws_of
from .relations import left_out, with_plain_conditions
from .rewriting import is_analytic, kinks_of, plain, without_kinks
from .scalars import CALLED, ScalarError, digits_of, is_beyond_floats


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
    evaluated = None if stable is None else _expression(name, stable, symbols)
    return _made(name, symbols, given, evaluated, table, tuple(linear))


def _made(
    name: str,
    symbols: tuple[sympy.Symbol, ...],
    given: sympy.Expr,
    stable: sympy.Expr | None,
    table: Mapping[Orders, sympy.Expr],
    linear: tuple[int, ...],
) -> Operation:
    """The operation of checked formulas: its plain form, its kinks, what the laws make of it."""
    body = plain(given, symbols)
    _check_equalities(name, body, [symbols[k] for k in linear] or symbols)
    by_laws, laws = by_laws_of(given, symbols)
    return Operation(
        name=name,
        arguments=symbols,
        body=body,
        stable=by_laws if stable is None else stable,
        base=name,
        orders=(0,) * len(symbols),
        kinks=kinks_of(body),
        analytic=is_analytic(body),
        rewritten=by_laws,
        laws=laws if stable is None else (),
        stable_derivatives=tuple(table.items()),
        linear=linear,
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
