"""Layers: parameter-dependent maps f(x; theta), declared as mathematics.

`@layer` reads a function whose annotations are spaces: arguments left of the bare `*` are states
(and givens), arguments right of it are parameters.  It is sugar over `Layer(...)`.
"""

# no `from __future__ import annotations` here: the docstring of `layer` declares one

import inspect
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import CodeType, FrameType
from typing import Any

import sympy

from .expressions import Elementwise, Node, Tuple, Variable, tuple_of, variable
from .lift import lift
from .maps import BilinearMap, LinearMap, derivative_map, second_derivative_map, variables_of
from .names import RESERVED, checked, checked_argument, checked_function
from .operations import Operation
from .shipped import shipped
from .spaces import Gram, Indices, Product, Real, Space, SpaceError, leaves
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

    Raises SpaceError or ValueError, naming the layer, where a name can't be emitted, two things
    share a name, class indices would be differentiated, or the output has variables that are not
    declared.  `Layer.of` takes the arguments by role.
    """

    name: str
    arguments: tuple[Argument, ...]
    output: Node
    names: Mapping[Node, str] = field(default_factory=dict)
    doc: str = ""

    def __post_init__(self) -> None:
        checked(self.name, "layer")
        for size in self.sizes:
            if size.is_positive:  # a user's; that of a batch, which may be empty, is the kernels'
                checked_argument(str(size), f"size of layer {self.name}")
        seen: set[str] = {str(size) for size in self.sizes}
        for name in self._gram_extents():
            self._claim(checked(name, f"Gram matrix of layer {self.name}"), seen)
            seen.add(f"{name}_inverse")
        for argument in self.arguments:
            self._claim(checked_argument(argument.name, f"layer {self.name}"), seen)
            if argument.variable in self.differentiable and _has_indices(argument.variable.space):
                raise SpaceError(
                    f"layer {self.name}: argument {argument.name}: class indices are given, not "
                    "differentiated; declare them by themselves as Index(...)"
                )
        self._check_output()
        self._check_operations()

    def _claim(self, name: str, seen: set[str]) -> None:
        if name in seen:
            raise SpaceError(
                f"layer {self.name}: {name!r} is the name of two things among its arguments, sizes "
                "and Gram matrices; rename one"
            )
        seen.add(name)

    def _gram_extents(self) -> dict[str, sympy.Expr]:
        """The Gram matrices by name, with the extent of their axis."""
        found: dict[str, sympy.Expr] = {}
        for space in (*(a.variable.space for a in self.arguments), self.output.space):
            for gram, extent in _grams(space):
                if found.setdefault(gram.name, extent) != extent:
                    raise SpaceError(
                        f"layer {self.name}: the Gram matrix {gram.name} belongs to an axis of "
                        f"size {found[gram.name]} and to one of size {extent}; use two names"
                    )
        return found

    def _check_output(self) -> None:
        if _has_indices(self.output.space):
            raise SpaceError(
                f"layer {self.name}: it returns class indices, {self.output.space}, which have no "
                "derivative; return an array"
            )
        grams = {f"{name}{end}" for name in self._gram_extents() for end in ("", "_inverse")}
        known = {argument.variable for argument in self.arguments}
        for x in variables_of(self.output):
            if x not in known and x.name not in grams:
                raise SpaceError(
                    f"layer {self.name}: the formula has {x.name} of {x.space}, which is no "
                    "argument; declare it as state, parameter or given"
                )

    def _check_operations(self) -> None:
        """Operations become functions: each name is free and means one of them."""
        found: dict[str, Operation] = {}
        sizes = {str(size) for size in self.sizes}
        nodes = (node for node in topological(self.output) if isinstance(node, Elementwise))
        for psi in (node.operation for node in nodes):
            if found.setdefault(psi.name, psi) != psi or psi.base in sizes:
                raise SpaceError(
                    f"layer {self.name}: operation {psi.name!r}: another operation or a size of "
                    "this layer has this name; rename one"
                )
            _check_operation(psi, f"layer {self.name}: operation")

    @classmethod
    def of(
        cls,
        name: str,
        *,
        state: Mapping[str, Space],
        given: Mapping[str, Space | Given] | None = None,
        parameters: Mapping[str, Space] | None = None,
        output: Node | Callable[..., Any],
        doc: str = "",
    ) -> "Layer":
        """The typed core: a layer from the spaces of its arguments by role, and its formula.

        `output` is an expression of `variable(name, space)`, or a function of these variables by
        name.  Raises as the class does, and SpaceError where the formula does.

        >>> from derive import Hom, R, dims, tanh
        >>> n, m = dims("n m")
        >>> dense = Layer.of(
        ...     "dense",
        ...     state={"x": R(m)},
        ...     parameters={"W": Hom(R(m), R(n)), "b": R(n)},
        ...     output=lambda x, W, b: tanh(W @ x + b),
        ... )
        >>> print(dense.nabla("W"))
        nabla_W dense(x; W, b) : R(n, m) -> R(n)
        """
        arguments = tuple(
            _by_role(f"layer {name}: argument {key}", key, space, role)
            for role, spaces in ((STATE, state), (GIVEN, given), (PARAMETER, parameters))
            for key, space in (spaces or {}).items()
        )
        if not isinstance(output, Node):
            output = _formula(name, output, (), {a.name: a.variable for a in arguments})
        return cls(name, arguments, output, doc=doc)

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
        known = ", ".join(v.name for v in self.differentiable) or "none"
        raise SpaceError(f"{self.signature} has no argument {name!r} to derive by; it has {known}")

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
        """The thesis's letters: D and a direction v of state, nabla and a direction u else."""
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

    def __call__(self, *arguments: Any, **more: Any) -> Node:
        """The expression f(x; theta) for these expressions, as part of another formula.

        States and givens by position or name, parameters by name; a tuple is an element of a direct
        product.  Raises SpaceError where an argument is missing, too many, or of another space.
        """
        values: dict[Node, Node] = {}
        for argument, value in self._matched(arguments, more):
            value = tuple_of(value) if isinstance(value, tuple) else value
            if not isinstance(value, Node) or value.space != argument.space:
                found = value.space if isinstance(value, Node) else repr(value)
                raise SpaceError(
                    f"{self.signature}: {argument.name} is of {argument.space}, got {found}; give "
                    "an expression of that space"
                )
            values[argument] = value
        return rewrite([self.output], values.get)[self.output]

    def _matched(
        self, arguments: Sequence[Any], more: Mapping[str, Any]
    ) -> Iterator[tuple[Variable, Any]]:
        positional = [a for a in self.arguments if a.role != PARAMETER]
        if len(arguments) > len(positional):
            raise SpaceError(f"{self.signature}: parameters are given by name, as in W=...")
        left = dict(zip((a.name for a in positional), arguments, strict=False))
        twice = [name for name in left if name in more]
        if twice:
            raise SpaceError(f"{self.signature}: {', '.join(twice)} is given twice; give it once")
        left.update(more)
        for argument in self.arguments:
            if argument.name not in left:
                raise SpaceError(f"{self.signature}: argument {argument.name} is missing")
            yield argument.variable, left.pop(argument.name)
        if left:
            raise SpaceError(f"{self.signature} has no argument {', '.join(left)}")

    def batched(self, extent: sympy.Expr) -> "Layer":
        """The layer on a family of points: every argument but the parameters has one more axis."""
        families = [a.variable for a in self.arguments if a.role != PARAMETER]
        (output,), new = lift([self.output], families, extent)
        arguments = tuple(Argument(_as_variable(new, a), a.role) for a in self.arguments)
        names = {new[node]: name for node, name in self.names.items() if node in new}
        return Layer(self.name, arguments, output, names, self.doc)


def _check_operation(psi: Operation, what: str) -> None:
    """The names of a user's operation and its arguments can be a function's in a kernel."""
    if psi.base not in shipped:
        checked_function(psi.base, what)
        for argument in psi.arguments:
            checked(str(argument), f"{what} {psi.base}: argument")
    elif psi.name in RESERVED and psi != shipped[psi.name]:
        raise SpaceError(f"{what}: {psi.name!r} is the name of another function; rename it")


def _as_variable(new: Mapping[Node, Node], argument: Argument) -> Variable:
    moved = new.get(argument.variable, argument.variable)
    assert isinstance(moved, Variable)
    return moved


def _extents(space: Space) -> Iterator[sympy.Expr]:
    for leaf in leaves(space):
        yield from leaf.shape
        if isinstance(leaf, Indices):
            yield leaf.bound


def _grams(space: Space) -> Iterator[tuple[Gram, sympy.Expr]]:
    for leaf in leaves(space):
        if isinstance(leaf, Real):
            pairs = zip(leaf.grams, leaf.shape, strict=True)
            yield from ((gram, extent) for gram, extent in pairs if gram is not None)


def _has_indices(space: Space) -> bool:
    return any(isinstance(leaf, Indices) for leaf in leaves(space))


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
    with _naming_locals(function.__code__, names):
        output = _formula(name, function, positional, keywords)
    _check_return(name, function, output)
    return Layer(name, arguments, output, names, inspect.getdoc(function) or "")


def _formula(
    name: str, function: Callable[..., Any], positional: Sequence[Any], keywords: Mapping[str, Any]
) -> Node:
    """What a function of expressions returns; its errors name the layer."""
    try:
        output = function(*positional, **keywords)
        output = tuple_of(output) if isinstance(output, tuple) else output
    except SpaceError as error:
        raise SpaceError(f"layer {name}: {error}") from error
    if not isinstance(output, Node):
        raise SpaceError(
            f"layer {name}: must return an expression of its arguments, got {output!r}"
        )
    return output


def _check_text(where: str, annotation: object) -> None:
    if isinstance(annotation, str):
        raise SpaceError(
            f"{where}: its space is the text {annotation!r}; remove "
            "'from __future__ import annotations' from the file that declares layers"
        )


def _argument(layer_name: str, parameter: inspect.Parameter) -> Argument:
    annotation, where = parameter.annotation, f"layer {layer_name}: argument {parameter.name}"
    _check_text(where, annotation)
    if parameter.kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD):
        raise SpaceError(f"{where}: *args and **kwargs have no space; declare each argument")
    if parameter.kind is inspect.Parameter.KEYWORD_ONLY:
        return _by_role(where, parameter.name, annotation, PARAMETER)
    role = GIVEN if isinstance(annotation, Indices) else STATE
    return _by_role(where, parameter.name, annotation, role)


def _by_role(where: str, name: str, annotation: object, role: str) -> Argument:
    """The argument of a role; `given(...)` and `Mask(...)` say their own, left of the semicolon."""
    space = annotation
    if isinstance(annotation, Given):
        role, space = annotation.role, annotation.space
    if not isinstance(space, (Real, Product, Indices)):
        found = "nothing" if annotation is inspect.Parameter.empty else repr(annotation)
        raise SpaceError(f"{where}: annotate it with a space such as R(n), got {found}")
    return Argument(variable(name, space), role)


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
    """Gives every expression the name of the first local that it is bound to in that code."""

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
