"""What an expression refuses, in a sentence each: order, truth, NumPy's and Python's functions.

An expression stands for every value of its arguments.  Python would answer some of these questions
wrongly (a comparison, a truth value) and others in words that do not tell what to write instead.
`==` is left to Python: equal expressions are the same object.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import sympy

from .mistakes import SpaceError, refuse_attribute, refuse_operators
from .spaces import Space

PIECEWISE = (
    "write relu(x), or psi = elementwise_function('psi', lambda t: sympy.Piecewise(..)) and psi(x)"
)
ABSOLUTE = "write absolute = elementwise_function('absolute', sympy.Abs) and absolute(x)"
TRANSPOSE = (
    "declare the map the other way round, Hom(codomain, domain), or write i, j = indices('i j'), "
    "transpose = form('transpose', A=(i, j), to=(j, i)) and transpose(W)"
)
JOINED = "return a tuple, an element of R(n) * R(m), or join by embed(x, ..) + embed(y, ..)"
OWN = "use tanh, sigmoid, exp, log, sqrt of derive, or elementwise_function(..)"
FUNCTIONS = """tanh exp log sqrt mean inner outer norm sigmoid relu softmax log_softmax softplus
elu gelu leaky_relu log_sum_exp vec entry largest"""
INSTEAD = {
    **{name: f"use {name} from derive" for name in FUNCTIONS.split()},
    "sum": "use total_sum from derive, or a form(..) to sum over one axis",
    "dot": "write W @ x, or inner(x, y)",
    "matmul": "declare the matrix as an argument, W: Hom(R(m), R(n)), and write W @ x",
    "absolute": ABSOLUTE,
    "maximum": PIECEWISE,
    "minimum": PIECEWISE,
    "where": PIECEWISE,
    **dict.fromkeys(("greater", "greater_equal", "less", "less_equal"), PIECEWISE),
    "transpose": TRANSPOSE,
    **dict.fromkeys(("concatenate", "stack", "hstack", "vstack"), JOINED),
    **dict.fromkeys(("einsum", "tensordot"), "write form('f', A=(i, j), x=(j,), to=(i,))(A, x)"),
    **dict.fromkeys(("inv", "solve", "pinv"), "give the inverse as an argument, fixed(Hom(Y, X))"),
    **dict.fromkeys(("shape", "size", "ndim"), "its sizes are those of its space, x.space.shape"),
    **dict.fromkeys(("reshape", "ravel"), "write vec(x), or a form(..)"),
    **dict.fromkeys(("zeros_like", "ones_like", "full_like"), "write 0 * x, or 0 * x + 1"),
    "clip": PIECEWISE,
    "add": "write x + y, and give an array as an argument, y: given(R(n)) or fixed(R(n))",
}
"""What to write for a function of NumPy, by its name."""


SYMBOL = (
    "a size such as n is a symbol and has no value in a formula: sums over an axis are "
    "total_sum(x), mean(x), W @ x or a form(..), and no loop over range(n)"
)
OF_SIZES = {
    "'Symbol' object cannot be interpreted as an integer": SYMBOL,
    **dict.fromkeys(
        ("truth value of Relational", "convert expression to", "convert symbols"), SYMBOL
    ),
}
"""What Python and SymPy say where a size is taken for a number, and what is meant."""


def about_sizes(error: Exception) -> str | None:
    """What an error of Python or SymPy says of a size; None where it says something else."""
    return next((said for part, said in OF_SIZES.items() if part in str(error)), None)


class NoScalar(SpaceError, sympy.SympifyError):
    """Raised when an expression is passed to a SymPy function; SymPy's operators catch it."""

    __str__ = TypeError.__str__


MODULO = "what is rounded has no derivative: give it as data, as in y: given(R(n)) or k: Index(n)"
MASK = "declare it as data, mask: Mask(R(n)), and multiply by it"
POSITION = (
    "a position is a number; one that is data is an argument k: Index(n), read by entry(x, k)"
)
CHANGED = "expressions are values and do not change; crop and embed take and place a part"
OPERATORS = {
    "__bool__": PIECEWISE,
    **dict.fromkeys(("__lt__", "__gt__", "__le__", "__ge__"), PIECEWISE),
    "__abs__": ABSOLUTE,
    **dict.fromkeys(("__float__", "__int__", "__trunc__"), OWN),
    **dict.fromkeys(("__round__", "__floor__", "__ceil__"), MODULO),
    **{f"__{side}{name}__": MODULO for side in ("", "r") for name in ("floordiv", "mod", "divmod")},
    **{f"__{side}{name}__": MASK for side in ("", "r") for name in ("and", "or", "xor")},
    "__invert__": MASK,
    **{f"__{side}{name}__": OWN for side in ("", "r") for name in ("lshift", "rshift")},
    "__index__": POSITION,
    "__setitem__": CHANGED,
    "__delitem__": CHANGED,
    "__call__": "a linear map is applied by W @ x; what is called is a layer or a function",
    "__rmatmul__": "write W @ x with a map declared as an argument, W: Hom(R(m), R(n))",
}
"""Python's operators, and what to write instead."""

NUMBERS = "an expression stands for every value; kernels, f.compile(), are called with arrays"
SHAPE = "its sizes are those of its space, x.space.shape"
ARRANGED = "write vec(x), crop, embed, or a form(..) that says which entry goes where"
MAP = "the maps are those of a layer, f.D(), f.nabla('W'), and their .adjoint"
BACKWARD = "derive a layer, f.D().adjoint, or call its kernel, f.compile().backward(..)"
ATTRIBUTES = {
    **{name: f"write {name}(x) with {name} from derive" for name in FUNCTIONS.split()},
    **dict.fromkeys(("mT", "H", "t", "transpose", "permute", "swapaxes"), TRANSPOSE),
    "sum": "write total_sum(x), or a form(..) to sum over one axis",
    "max": "write largest(x) over the last axis, or max_pool(x, window)",
    "min": "write -largest(-x) over the last axis",
    "dot": "write inner(x, y), or W @ x",
    "matmul": "write W @ x",
    "abs": ABSOLUTE,
    "clip": PIECEWISE,
    **dict.fromkeys(("shape", "size", "ndim", "dim", "rank"), SHAPE),
    **dict.fromkeys(("reshape", "view", "flatten", "ravel", "squeeze", "unsqueeze"), ARRANGED),
    **dict.fromkeys(("dtype", "astype", "float", "item", "numpy", "tolist", "evalf"), NUMBERS),
    **dict.fromkeys(("copy", "clone"), CHANGED),
    **dict.fromkeys(
        ("detach", "stop_gradient"), "what has no derivative is given(..) or fixed(..)"
    ),
    **dict.fromkeys(("grad", "backward", "diff"), BACKWARD),
    **dict.fromkeys(("inverse", "inv", "adjoint", "D", "nabla", "gradient"), MAP),
}
"""Attributes that arrays, tensors and matrices have elsewhere, and what to write instead."""
WRITTEN = "formulas are written with +, -, *, /, **, @ and the functions of derive"


class Refusals:
    """The operations that an expression refuses; the sentence says what to write instead."""

    space: Space

    def _refuse(self, what: str, instead: str) -> NoReturn:
        raise SpaceError(f"{what} is not defined for an expression of {self.space}; {instead}")

    @property
    def T(self) -> NoReturn:
        """Refused: a transpose is a form, or a map that is declared the other way round."""
        self._refuse("a transpose (.T)", TRANSPOSE)

    if not TYPE_CHECKING:  # there, what is not defined is an error

        def __getattr__(self, name: str) -> NoReturn:
            space = self.__dict__.get("space")
            refuse_attribute(f"an expression of {space}", name, ATTRIBUTES, WRITTEN)

    def __rpow__(self, base: object) -> NoReturn:
        self._refuse(f"{base} ** x", f"write exp(c * x) with the number c = log({base})")

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


refuse_operators(Refusals, OPERATORS, Refusals._refuse)
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
