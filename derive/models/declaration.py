"""The decorator: a layer from a Python function whose annotations are spaces.

Arguments left of the bare `*` are states and givens, arguments right of it are parameters and what
is fixed; every expression keeps the name of the first local that it is bound to.
"""

# no `from __future__ import annotations` here: the docstring of `layer` declares one

import inspect
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import CodeType, FrameType, FunctionType
from typing import Any, TypeVar

from ..language.expressions import Node, Tuple, Variable
from ..language.mistakes import called
from ..language.normal_form import normal
from ..language.places import place_of
from ..language.roles import GIVEN, PARAMETER, STATE, THETA, Argument, argument_of
from ..language.spaces import Indices, Space, SpaceError
from .cells import Cell
from .layers import Layer
from .user_formulas import formula_of

_declared: ContextVar[list[Layer]] = ContextVar("declared")


@called
def layer(function: Callable[..., Any]) -> Layer:
    """A layer from a Python function: annotations are spaces, the bare `*` is the semicolon.

    Raises SpaceError, naming the layer, the operation and both spaces, where spaces do not fit; a
    note has the line of the formula.

    >>> from derive import Hom, R, dims, layer, tanh
    >>> n, m = dims("n m")
    >>> @layer
    ... def dense(x: R(m), *, W: Hom(R(m), R(n)), b: R(n)) -> R(n):
    ...     z = W @ x + b
    ...     return tanh(z)
    >>> print(dense.D().adjoint)
    D*_x dense(x; W, b) : R(n) -> R(m)
    """
    return _declaration(function, "layer", Layer)


@called
def cell(function: Callable[..., Any]) -> Cell:
    """A recurrent cell f(h; x; theta) from a Python function, declared as a layer is.

    The first argument is the hidden state, of the space that is returned; the other ones left of
    the `*` are the input of a step.  Raises SpaceError as `layer` does, and where the spaces of
    the state and of the result differ.

    >>> from derive import Hom, R, dims, cell, tanh
    >>> n, m = dims("n m")
    >>> @cell
    ... def rnn(h: R(n), x: R(m), *, W: Hom(R(n), R(n)), U: Hom(R(m), R(n)), b: R(n)) -> R(n):
    ...     return tanh(W @ h + U @ x + b)
    >>> print(rnn.D().adjoint)
    D*_h rnn(h, x; W, U, b) : R(n) -> R(n)
    """
    return _declaration(function, "cell", Cell)


L = TypeVar("L", bound=Layer)


def _declaration(function: Callable[..., Any], kind: str, made_as: type[L]) -> L:
    """The layer of a kind that a function declares."""
    if not isinstance(function, FunctionType):
        raise SpaceError(
            f"@{kind} stands above a function, as in @{kind} def f(..), got {function}"
        )
    name = function.__name__
    arguments = tuple(_argument(name, p) for p in inspect.signature(function).parameters.values())
    positional = [a.variable for a in arguments if a.role not in THETA]
    keywords = {a.name: a.variable for a in arguments if a.role in THETA}
    names: dict[Node, str] = {}
    with _naming_locals(function.__code__, names):
        output = formula_of(name, function, positional, keywords)
    _check_return(name, function, output)
    output, names = _normal_formula(output, names)
    doc, place = inspect.getdoc(function) or "", place_of(function.__code__)
    made = made_as(name, arguments, output, names, doc, place=place)
    if "<locals>" not in function.__qualname__:
        _declared.get([]).append(made)
    return made


def _normal_formula(output: Node, names: dict[Node, str]) -> tuple[Node, dict[Node, str]]:
    """The formula with equal expressions as one, which has the name of the first."""
    new = normal(output)
    kept: dict[Node, str] = {}
    for node, name in names.items():
        for moved in _bound(new.get(node, node)):
            kept.setdefault(moved, name)
    return new[output], kept


@contextmanager
def declarations() -> Iterator[list[Layer]]:
    """The layers that are declared within, outside of functions, in order.

    A name that is bound twice in a file keeps only its second layer: here the first is seen, too.
    """
    found: list[Layer] = []
    token = _declared.set(found)
    try:
        yield found
    finally:
        _declared.reset(token)


def _check_text(where: str, annotation: object) -> None:
    if isinstance(annotation, str):
        raise SpaceError(
            f"{where}: its space is the text {annotation!r}; remove "
            "'from __future__ import annotations' from the file that declares layers"
        )


def _argument(layer_name: str, parameter: inspect.Parameter) -> Argument:
    annotation, where = parameter.annotation, f"layer {layer_name}: argument {parameter.name}"
    _check_text(where, annotation)
    if parameter.default is not inspect.Parameter.empty:
        raise SpaceError(f"{where}: a variable has no default value, remove = {parameter.default}")
    if parameter.kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD):
        raise SpaceError(f"{where}: *args and **kwargs have no space; declare each argument")
    if parameter.kind is inspect.Parameter.KEYWORD_ONLY:
        return argument_of(where, parameter.name, annotation, PARAMETER)
    role = GIVEN if isinstance(annotation, Indices) else STATE
    return argument_of(where, parameter.name, annotation, role)


def _check_return(name: str, function: Callable[..., Any], output: Node) -> None:
    declared = function.__annotations__.get("return")
    _check_text(f"layer {name}: what it returns", declared)
    if not isinstance(declared, Space):
        raise SpaceError(
            f"layer {name}: annotate what it returns, -> {output.space}, got {declared!r}"
        )
    if declared != output.space:
        raise SpaceError(
            f"layer {name}: declared to return {declared}, but the formula is of {output.space}; "
            "correct the annotation or the formula"
        )


@contextmanager
def _naming_locals(code: CodeType, names: dict[Node, str]) -> Iterator[None]:
    """Gives every expression the name of the first local that it is bound to in that code.

    A local that is bound again, as an argument may be, has another value: x_2 after x.
    """
    taken = Counter(code.co_varnames[: code.co_argcount + code.co_kwonlyargcount])

    def trace(frame: FrameType, event: str, _: object) -> Any:
        if frame.f_code is not code:
            return None
        for local, value in frame.f_locals.items():
            for node in _bound(value):
                if node not in names:
                    taken[local] += 1
                    names[node] = local if taken[local] == 1 else f"{local}_{taken[local]}"
        return trace

    previous = sys.gettrace()
    sys.settrace(trace)
    try:
        yield
    finally:
        sys.settrace(previous)


def _bound(value: object) -> Iterator[Node]:
    if isinstance(value, Node) and not isinstance(value, (Variable, Tuple)):
        yield value
