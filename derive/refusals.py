"""What an expression does not do, in a sentence each: order, truth, NumPy's and Python's functions.

An expression stands for every value of its arguments.  Python would answer some of these questions
wrongly (a comparison, a truth value) and others in words that do not tell what to write instead.
`==` is left to Python: equal expressions are the same object.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import sympy

from .spaces import Space, SpaceError

PIECEWISE = (
    "write relu(x), or psi = elementwise_function('psi', lambda t: sympy.Piecewise(..)) and psi(x)"
)
ABSOLUTE = "write absolute = elementwise_function('absolute', sympy.Abs) and absolute(x)"
TRANSPOSE = (
    "declare the map the other way round, Hom(codomain, domain), or write i, j = indices('i j'), "
    "transpose = form('transpose', A=(i, j), to=(j, i)) and transpose(W)"
)
OWN = "use tanh, sigmoid, exp, log, sqrt of derive, or elementwise_function(..)"
INSTEAD = {
    **{name: f"use {name} from derive" for name in ("tanh", "exp", "log", "sqrt", "mean")},
    **{name: f"use {name} from derive" for name in ("inner", "outer", "norm")},
    "sum": "use total_sum from derive, or a form(..) to sum over one axis",
    "dot": "write W @ x, or inner(x, y)",
    "matmul": "declare the matrix as an argument, W: Hom(R(m), R(n)), and write W @ x",
    "absolute": ABSOLUTE,
    "maximum": PIECEWISE,
    "minimum": PIECEWISE,
    "where": PIECEWISE,
    **dict.fromkeys(("greater", "greater_equal", "less", "less_equal"), PIECEWISE),
    "transpose": TRANSPOSE,
}
"""What to write for a function of NumPy, by its name."""


class NoScalar(SpaceError, sympy.SympifyError):
    """An expression was given to a function of SymPy; SymPy itself asks, and hears no."""

    __str__ = TypeError.__str__


class Refusals:
    """The operations that an expression refuses; the sentence says what to write instead."""

    space: Space

    def _refuse(self, what: str, instead: str) -> NoReturn:
        raise SpaceError(f"{what} is not defined for an expression of {self.space}; {instead}")

    def __bool__(self) -> NoReturn:
        self._refuse("a truth value (if, and, or, not)", PIECEWISE)

    def __lt__(self, other: object) -> NoReturn:
        self._refuse("an order (<, >)", PIECEWISE)

    __gt__ = __le__ = __ge__ = __lt__

    def __abs__(self) -> NoReturn:
        self._refuse("abs", ABSOLUTE)

    def __float__(self) -> NoReturn:
        self._refuse("float (or a function of math)", OWN)

    def __rpow__(self, base: object) -> NoReturn:
        self._refuse(f"{base} ** x", f"write exp(c * x) with the number c = log({base})")

    @property
    def T(self) -> NoReturn:
        """Refused: a transpose is a form, or a map that is declared the other way round."""
        self._refuse("a transpose (.T)", TRANSPOSE)

    def _sympy_(self) -> NoReturn:
        raise NoScalar(
            f"a function of SymPy is not defined for an expression of {self.space}; {OWN}"
        )

    def __array__(self, *_: object, **__: object) -> NoReturn:
        self._refuse("numpy.array", "give the array itself as an argument, as in y: given(R(n))")

    def __array_function__(self, function: Callable[..., Any], *_: object) -> NoReturn:
        self._refuse(f"numpy.{function.__name__}", INSTEAD.get(function.__name__, OWN))

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **_: object) -> Any:
        """Arithmetic with a number of NumPy is that with the number; all else is refused."""
        operators = ARITHMETIC.get(ufunc.__name__)
        if operators is None or method != "__call__" or len(inputs) != 2:
            self._refuse(f"numpy.{ufunc.__name__}", INSTEAD.get(ufunc.__name__, OWN))
        return _applied(operators, inputs)


ARITHMETIC = {
    "add": ("__add__", "__radd__"),
    "subtract": ("__sub__", "__rsub__"),
    "multiply": ("__mul__", "__rmul__"),
    "divide": ("__truediv__", "__rtruediv__"),
    "power": ("__pow__", "__rpow__"),
}
"""The method of the left and of the right operand that stand for a ufunc."""


def _applied(operators: Sequence[str], inputs: Sequence[Any]) -> Any:
    """The operator of the operand that is an expression, on the other one."""
    left, right = inputs
    if isinstance(left, Refusals):
        return getattr(left, operators[0])(right)
    return getattr(right, operators[1])(left)
