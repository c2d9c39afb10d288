"""psi: the elementwise operations of layers (thesis section 2.4) and their derivatives.

An operation is a scalar function of one or several real arguments. Its `body` is the plain formula,
from which SymPy takes derivatives and a proof in exact arithmetic starts; `stable` is the same
function as it is evaluated and emitted: accurate in the tails and without overflow.

At a kink these conventions replace SymPy's, from the declaration of an operation on:

    relu'(0) = 0, |.|'(0) = 0, leaky_relu'(0) = slope, sign(0) = 0, Heaviside(0) = 0;
    max and min take a number before a variable, then the argument that was declared first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any, TypeAlias

import numpy as np
import sympy

from . import equalities
from .algebras import Arrays
from .fold import evaluate
from .laws import Law, rewritten
from .rewriting import differentiable, is_analytic, plain, without_kinks

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


def by_laws_of(
    given: sympy.Expr, symbols: tuple[sympy.Symbol, ...]
) -> tuple[sympy.Expr, tuple[Law, ...]]:
    """Rewritten before kinks become conditions, and after that: no condition loses digits."""
    inside, first = rewritten(given)
    found, then = rewritten(without_kinks(inside, symbols))
    return found, tuple(dict.fromkeys((*first, *then)))


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
    by_laws, laws = by_laws_of(moved, arguments)
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
