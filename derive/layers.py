"""Layers: parameter-dependent maps f(x; theta), declared as mathematics.

`@layer` reads a function whose annotations are spaces: arguments left of the bare `*` are states
(and givens), arguments right of it are parameters.  It is sugar over `Layer(...)`.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import CodeType, FrameType
from typing import Any

import sympy

from .expressions import Node, Tuple, Variable, tuple_of, variable
from .lift import lift
from .maps import BilinearMap, LinearMap, derivative_map, second_derivative_map
from .names import checked, checked_argument
from .spaces import Indices, Product, Real, Space, SpaceError, leaves
from .walk import rewrite, topological

STATE, PARAMETER, GIVEN, MASK = "state", "parameter", "given", "mask"


@dataclass(frozen=True)
class Given:
    """The annotation of an argument that is data and never differentiated."""

    space: Space
    role: str = GIVEN


def given(space: Space) -> Given:
    """`y: given(Y)`: a target or other data of a space; never differentiated."""
    return Given(space)


def Mask(space: Space) -> Given:
    """`mask: Mask(Y)`: entries 0 or 1, checked at the call; never differentiated."""
    return Given(space, MASK)


@dataclass(frozen=True)
class Argument:
    """A variable of a layer and the role it has there."""

    variable: Variable
    role: str

    @property
    def name(self) -> str:
        return self.variable.name


@dataclass(frozen=True, eq=False)
class Layer:
    """A layer f(x; theta): its arguments in order, its output, and what its locals are called.

    Raises SpaceError or ValueError, naming the layer, where a name can't be emitted, two things share
    a name, or the output has variables that are not declared.
    """

    name: str
    arguments: tuple[Argument, ...]
    output: Node
    names: Mapping[Node, str] = field(default_factory=dict)
    doc: str = ""

    def __post_init__(self) -> None:
        checked(self.name, "layer")
        seen: set[str] = {str(size) for size in self.sizes}
        for argument in self.arguments:
            checked_argument(argument.name, f"layer {self.name}")
            if argument.name in seen:
                raise SpaceError(
                    f"layer {self.name}: {argument.name!r} is the name of an argument and of a size "
                    "or another argument; rename one"
                )
            seen.add(argument.name)
        for size in self.sizes:
            checked(str(size), f"size of layer {self.name}")
        self._check_output()

    def _check_output(self) -> None:
        grams = {str(g).removesuffix("^-1") for a in self.arguments for g in _grams(a.variable.space)}
        known = {argument.variable for argument in self.arguments}
        free = [x for x in topological(self.output) if isinstance(x, Variable) and x not in known]
        for x in free:
            if x.name.removesuffix("_inverse") not in grams:
                raise SpaceError(f"layer {self.name}: {x.name} is no argument of it")

    # --- what it is

    def of_role(self, *roles: str) -> tuple[Variable, ...]:
        """The variables with one of these roles, in order."""
        return tuple(a.variable for a in self.arguments if a.role in roles)

    @property
    def state(self) -> tuple[Variable, ...]:
        """The states and inputs."""
        return self.of_role(STATE)

    @property
    def parameters(self) -> tuple[Variable, ...]:
        """The parameters."""
        return self.of_role(PARAMETER)

    @property
    def differentiable(self) -> tuple[Variable, ...]:
        """States and parameters, in the order of the declaration."""
        return self.of_role(STATE, PARAMETER)

    @property
    def sizes(self) -> tuple[sympy.Symbol, ...]:
        """The sizes of the layer, in order of first appearance."""
        extents = [e for a in self.arguments for e in _extents(a.variable.space)]
        found: dict[sympy.Symbol, None] = {}
        for extent in [*extents, *_extents(self.output.space)]:
            found.update(dict.fromkeys(sorted(extent.free_symbols, key=str)))
        return tuple(found)

    @property
    def signature(self) -> str:
        """f(x; W, b), as in the text."""
        left = ", ".join(a.name for a in self.arguments if a.role != PARAMETER)
        right = ", ".join(p.name for p in self.parameters)
        return f"{self.name}({left}; {right})" if right else f"{self.name}({left})"

    def argument(self, name: str) -> Variable:
        """The state or parameter of that name.  Raises SpaceError where there is none."""
        for variable_ in self.differentiable:
            if variable_.name == name:
                return variable_
        expected = ", ".join(v.name for v in self.differentiable)
        raise SpaceError(f"{self.signature} has no argument {name!r} to derive by; it has {expected}")

    # --- its maps

    def D(self, x: str | None = None) -> LinearMap:
        """The derivative by a state, the first one by default (thesis (2.2))."""
        return self.derivative(x or self._first_state())

    def nabla(self, theta: str | None = None) -> LinearMap:
        """The derivative by a parameter (thesis section 2.3.1); the only one by default."""
        return self.derivative(theta or self._only_parameter())

    def D2(self, x1: str | None = None, x2: str | None = None) -> BilinearMap:
        """D^2 f . (e1, e2), e1 a direction of x1, e2 of x2 (thesis (2.4))."""
        left = x1 or self._first_state()
        return self.second(left, x2 or left)

    def D_nabla(self, theta: str | None = None, x: str | None = None) -> BilinearMap:
        """D nabla f . (e, u), e a direction of state, u of the parameter (section 2.3.2)."""
        return self.second(x or self._first_state(), theta or self._only_parameter())

    def nabla_D(self, theta: str | None = None, x: str | None = None) -> BilinearMap:
        """nabla D f . (u, e), u a direction of the parameter, e of state (section 2.3.2)."""
        return self.second(theta or self._only_parameter(), x or self._first_state())

    def nabla2(self, theta1: str | None = None, theta2: str | None = None) -> BilinearMap:
        """nabla^2 f . (u1, u2), directions of two parameters."""
        left = theta1 or self._only_parameter()
        return self.second(left, theta2 or left)

    def derivative(self, name: str) -> LinearMap:
        """D by a state of that name, nabla by a parameter."""
        x = self.argument(name)
        symbol, direction = self._symbols(x)
        return derivative_map(f"{symbol}_{name} {self.signature}", self.output, x, direction)

    def second(self, left: str, right: str) -> BilinearMap:
        """The second derivative along a direction of `left`, then of `right`, D or nabla each."""
        x1, x2 = self.argument(left), self.argument(right)
        (symbol1, e1), (symbol2, e2) = self._symbols(x1), self._symbols(x2)
        symbol = f"{symbol1}^2" if symbol1 == symbol2 else f"{symbol1} {symbol2}"
        if e1 == e2:
            e1, e2 = f"{e1}1", f"{e2}2"
        label = f"{symbol}_({left}, {right}) {self.signature}"
        return second_derivative_map(label, self.output, (x1, e1), (x2, e2))

    def _symbols(self, x: Variable) -> tuple[str, str]:
        """The thesis's letters: D and a direction v of state, nabla and a direction u of parameters."""
        return ("D", "v") if x in self.state else ("nabla", "u")

    def _first_state(self) -> str:
        if not self.state:
            raise SpaceError(f"{self.signature} has no state to derive by; use nabla")
        return self.state[0].name

    def _only_parameter(self) -> str:
        if len(self.parameters) != 1:
            names = ", ".join(p.name for p in self.parameters) or "none"
            raise SpaceError(f"{self.signature}: name the parameter to derive by, one of {names}")
        return self.parameters[0].name

    # --- composing

    def __call__(self, *arguments: Node | tuple[Node, ...], **more: Node | tuple[Node, ...]) -> Node:
        """The expression f(x; theta) for these expressions, as part of another formula."""
        values: dict[Node, Node] = {}
        for argument, value in self._matched(arguments, more):
            value = tuple_of(value) if isinstance(value, tuple) else value
            if value.space != argument.space:
                raise SpaceError(
                    f"{self.signature}: {argument.name} is of {argument.space}, "
                    f"got an expression of {value.space}"
                )
            values[argument] = value
        return rewrite([self.output], values.get)[self.output]

    def _matched(
        self, arguments: Sequence[Any], more: Mapping[str, Any]
    ) -> Iterator[tuple[Variable, Any]]:
        positional = [a for a in self.arguments if a.role != PARAMETER]
        if len(arguments) > len(positional):
            raise SpaceError(f"{self.signature}: parameters are given by name, as in W=...")
        left = dict(zip((a.name for a in positional), arguments, strict=False)) | dict(more)
        for argument in self.arguments:
            if argument.name not in left:
                raise SpaceError(f"{self.signature}: argument {argument.name} is missing")
            yield argument.variable, left.pop(argument.name)
        if left:
            raise SpaceError(f"{self.signature} has no argument {', '.join(left)}")

    def batched(self, extent: sympy.Expr) -> Layer:
        """The layer on a family of points: every argument but the parameters has one more axis."""
        families = [a.variable for a in self.arguments if a.role != PARAMETER]
        (output,), new = lift([self.output], families, extent)
        arguments = tuple(Argument(_as_variable(new, a), a.role) for a in self.arguments)
        names = {new[node]: name for node, name in self.names.items() if node in new}
        return Layer(self.name, arguments, output, names, self.doc)


def _as_variable(new: Mapping[Node, Node], argument: Argument) -> Variable:
    moved = new.get(argument.variable, argument.variable)
    assert isinstance(moved, Variable)
    return moved


def _extents(space: Space) -> Iterator[sympy.Expr]:
    for leaf in leaves(space):
        yield from leaf.shape
        if isinstance(leaf, Indices):
            yield leaf.bound


def _grams(space: Space) -> Iterator[Any]:
    for leaf in leaves(space):
        yield from (gram for gram in getattr(leaf, "grams", ()) if gram is not None)


# --- the decorator


def layer(function: Callable[..., Any]) -> Layer:
    """A layer from a Python function: annotations are spaces, the bare `*` is the semicolon.

    Raises SpaceError, naming the layer, the operation and both spaces, where spaces do not fit.

    >>> from derive import Hom, R, dims, layer, tanh
    >>> n, m = dims("n m")
    >>> @layer
    ... def dense(x: R(m), *, W: Hom(R(m), R(n)), b: R(n)) -> R(n):
    ...     z = W @ x + b
    ...     return tanh(z)
    >>> print(dense.D().adjoint)
    D*_x dense(x; W, b) : R(n) -> R(m)
    """
    name = function.__name__
    arguments = tuple(_argument(name, p) for p in inspect.signature(function).parameters.values())
    positional = [a.variable for a in arguments if a.role != PARAMETER]
    keywords = {a.name: a.variable for a in arguments if a.role == PARAMETER}
    names: dict[Node, str] = {}
    try:
        with _naming_locals(function.__code__, names):
            output = function(*positional, **keywords)
    except SpaceError as error:
        raise SpaceError(f"layer {name}: {error}") from error
    output = tuple_of(output) if isinstance(output, tuple) else output
    _check_return(name, function, output)
    doc = inspect.getdoc(function) or ""
    return Layer(name, arguments, output, names, doc)


def _argument(layer_name: str, parameter: inspect.Parameter) -> Argument:
    annotation, where = parameter.annotation, f"layer {layer_name}: argument {parameter.name}"
    if isinstance(annotation, str):
        raise SpaceError(
            f"{where}: its space is the text {annotation!r}; remove "
            "'from __future__ import annotations' from the file that declares layers"
        )
    if parameter.kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD):
        raise SpaceError(f"{where}: *args and **kwargs have no space; declare each argument")
    if parameter.kind is inspect.Parameter.KEYWORD_ONLY:
        role, space = PARAMETER, annotation
    elif isinstance(annotation, Given):
        role, space = annotation.role, annotation.space
    else:
        role, space = (GIVEN if isinstance(annotation, Indices) else STATE), annotation
    if not isinstance(space, (Real, Product, Indices)):
        found = "nothing" if annotation is inspect.Parameter.empty else repr(annotation)
        raise SpaceError(f"{where}: annotate it with a space such as R(n), got {found}")
    if role in (STATE, PARAMETER) and any(isinstance(leaf, Indices) for leaf in leaves(space)):
        raise SpaceError(f"{where}: class indices are given, not differentiated; use Index alone")
    return Argument(variable(parameter.name, space), role)


def _check_return(name: str, function: Callable[..., Any], output: object) -> None:
    if not isinstance(output, Node):
        raise SpaceError(f"layer {name}: must return an expression of its arguments, got {output!r}")
    declared = function.__annotations__.get("return")
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
    """Gives every expression the name of the first local it is bound to, on that code object only."""

    def trace(frame: FrameType, event: str, _: object) -> Any:
        if frame.f_code is not code:
            return None
        for local, value in frame.f_locals.items():
            for node, name in _bindings(local, value):
                names.setdefault(node, name)
        return trace

    previous = sys.gettrace()
    sys.settrace(trace)
    try:
        yield
    finally:
        sys.settrace(previous)


def _bindings(local: str, value: object) -> Iterator[tuple[Node, str]]:
    if isinstance(value, Node) and not isinstance(value, (Variable, Tuple)):
        yield value, local
