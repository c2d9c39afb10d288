"""What a formula is written with: elementwise functions, shipped or declared by a user."""

from __future__ import annotations

import math
import numbers
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import sympy

from ..language.expressions import (
    Node,
    elementwise,
)
from ..language.mistakes import called, renamed
from ..language.scalars import shipped
from ..language.scalars.declaring import operation
from ..language.scalars.digits import AccuracyWarning, check_given, loss
from ..language.scalars.operations import Formula, Operation, OperationError
from ..language.spaces import SpaceError


def function(psi: Operation) -> Callable[..., Node]:
    """The elementwise function Psi of an elementwise operation psi (thesis (2.9))."""

    @called
    def psi_of(*arguments: Any) -> Any:
        return elementwise(psi, *arguments) if _has_expression(arguments) else _at(psi, arguments)

    renamed(psi_of, psi.name, map(str, psi.arguments))
    psi_of.__doc__ = f"{psi.name}, entry by entry: {psi.body}"
    return psi_of


def _has_expression(arguments: Sequence[object]) -> bool:
    return not arguments or not all(map(_is_number, arguments))


def _is_number(value: object) -> bool:
    return isinstance(value, (numbers.Real, sympy.Expr)) and not isinstance(value, bool)


def _at(psi: Operation, values: Sequence[Any]) -> sympy.Expr | float:
    """psi at numbers: a float; at an expression of SymPy, such as a size, its formula there."""
    if len(values) != len(psi.arguments):
        raise SpaceError(f"{psi.name}: expected {len(psi.arguments)} arguments, got {len(values)}")
    if any(isinstance(value, sympy.Expr) and value.free_symbols for value in values):
        return psi.body.xreplace(dict(zip(psi.arguments, map(sympy.sympify, values), strict=True)))
    with np.errstate(all="ignore"):
        number = float(psi(*(np.float64(value) for value in values)))
    if not math.isfinite(number):
        shown = ", ".join(map(str, values))
        raise SpaceError(f"{psi.name}({shown}) is {number}, not a finite number")
    return number


DEEP = (
    "its formula nests more operations than SymPy can descend into; write the steps in "
    "the layer, each an operation on arrays: there may be thousands of these"
)


@called
def elementwise_function(
    name: str,
    formula: Formula,
    *,
    stable: Formula | None = None,
    derivatives: Mapping[int | tuple[int, ...], Formula] | None = None,
) -> Callable[..., Node]:
    """An elementwise function from any SymPy scalar expression of one or several arguments.

    The formula and its derivatives are evaluated as laws of scalar functions rewrite them
    (log(1 + exp(t)) by softplus(t), ..).  `stable` is the same function in a form that keeps its
    digits, where they do not suffice; `derivatives` gives such forms of the derivatives, by order
    or, for several arguments, by a tuple of orders.  At a branch on an equality, Eq or Ne, the
    derivatives are the limits.

    Warns (AccuracyWarning) where the values lose their digits or overflow, found at fixed points by
    multiple precision.  Raises OperationError for a formula that is not real, that has functions
    other than those known, or an equality around which there is no finite limit, and for `stable`
    or a derivative that is of another function than the formula.

    >>> from derive import elementwise_function, R, dims, variable
    >>> gaussian = elementwise_function("gaussian", lambda t: sympy.exp(-t**2))
    >>> gaussian(variable("x", R(dims("n")))).space == R(dims("n"))
    True
    """
    try:
        psi = operation(name, formula, stable=stable, derivatives=derivatives)
        check_given(psi)
        found = loss(psi)
    except RecursionError:
        raise OperationError(f"{name}: {DEEP}") from None
    if found:
        warnings.warn(str(found), AccuracyWarning, stacklevel=3)  # and `called`
    return function(psi)


_SHIPPED = {"tanh", "sigmoid", "relu", "leaky_relu", "elu", "softplus", "gelu", "exp", "log"}
_SHIPPED |= {"sqrt", "log1p", "expm1"}

if TYPE_CHECKING:
    tanh: Callable[..., Node]
    sigmoid: Callable[..., Node]
    relu: Callable[..., Node]
    leaky_relu: Callable[..., Node]
    elu: Callable[..., Node]
    softplus: Callable[..., Node]
    gelu: Callable[..., Node]
    exp: Callable[..., Node]
    log: Callable[..., Node]
    sqrt: Callable[..., Node]
    log1p: Callable[..., Node]
    expm1: Callable[..., Node]
else:

    def __getattr__(name: str) -> Callable[..., Node]:
        """Made when it is first asked for, as its operation is."""
        if name not in _SHIPPED:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return globals().setdefault(name, function(shipped.shipped[name]))
