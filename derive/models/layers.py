"""Layers: parameter-dependent maps f(x; theta), with their derived maps (thesis section 2.3)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NoReturn, Self

import sympy

from ..calculus.lift import lift
from ..calculus.maps import BilinearMap, LinearMap, derivative_map, second_derivative_map
from ..language.expressions import Node, Variable, tuple_of
from ..language.hooks import compiled
from ..language.mistakes import refuse_attribute, refuse_operators
from ..language.normal_form import normalised
from ..language.roles import (
    FIXED,
    GIVEN,
    PARAMETER,
    STATE,
    THETA,
    Argument,
    Given,
    arguments_by_role,
)
from ..language.spaces import Space, SpaceError
from ..language.walk import rewrite, topological
from ..vocabulary.rewriting.rewrites import Rewrite, rewritten
from .formulas import Formula
from .user_formulas import formula_of


@dataclass(frozen=True, eq=False, repr=False)
class Layer(Formula):
    """A layer: a formula f(x; theta) with its derived maps and its kernels.

    It has the formula's fields and raises as the formula does; `Layer.of` takes the arguments by
    role.
    """

    @classmethod
    def of(
        cls,
        name: str,
        *,
        state: Mapping[str, Space],
        given: Mapping[str, Space | Given] | None = None,
        parameters: Mapping[str, Space] | None = None,
        fixed: Mapping[str, Space | Given] | None = None,
        output: Node | Callable[..., Any],
        doc: str = "",
    ) -> Layer:
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
        by_role = {STATE: state, GIVEN: given, PARAMETER: parameters, FIXED: fixed}
        arguments = tuple(arguments_by_role(f"layer {name}", by_role))
        if not isinstance(output, Node) and not callable(output):
            raise SpaceError(
                f"layer {name}: output: expected an expression, or a function of the arguments, "
                f"got {output!r}"
            )
        if not isinstance(output, Node):
            output = formula_of(name, output, (), {a.name: a.variable for a in arguments})
        return cls(name, arguments, normalised(output), doc=doc)

    if not TYPE_CHECKING:  # there, what is not defined is an error

        def __getattr__(self, name: str) -> NoReturn:
            refuse_attribute(f"layer {self.__dict__.get('name')}", name, ATTRIBUTES, OTHERS)

    def _refuse(self, what: str, instead: str) -> NoReturn:
        raise SpaceError(f"{what} is not defined for the layer {self.name}; {instead}")

    # --- what is computed

    @cached_property
    def rewrites(self) -> tuple[Rewrite, ...]:
        """The laws that bring the formula into the one that is derived and computed, in order."""
        return self._rewriting[1]

    @cached_property
    def rewritten(self) -> Layer:
        """The layer as it is derived and computed: itself where no law applies to its formula."""
        new, applied = self._rewriting
        if not applied:
            return self
        output = new[self.output]
        kept = set(topological(output))
        names = {new[node]: name for node, name in self.names.items() if new.get(node) in kept}
        known = self.form_names  # laws make forms without a name
        return Layer(self.name, self.arguments, output, names, self.doc, form_names=known)

    @cached_property
    def _rewriting(self) -> tuple[dict[Node, Node], tuple[Rewrite, ...]]:
        return rewritten(self.output)

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

    @property
    def derived(self) -> str:
        """What its derivatives are of, as their names say it."""
        return self.signature

    def derivative(self, name: str) -> LinearMap:
        """D by a state of that name, nabla by a parameter."""
        x = self.argument(name)
        symbol, direction = self._symbols(x)
        label = f"{symbol}_{name} {self.derived}"
        return derivative_map(label, self.rewritten.output, x, direction, self.words)

    def second(self, left: str, right: str) -> BilinearMap:
        """The second derivative along a direction of `left`, then of `right`, D or nabla each."""
        x1, x2 = self.argument(left), self.argument(right)
        (symbol1, e1), (symbol2, e2) = self._symbols(x1), self._symbols(x2)
        symbol = f"{symbol1}^2" if symbol1 == symbol2 else f"{symbol1} {symbol2}"
        if e1 == e2:
            e1, e2 = f"{e1}1", f"{e2}2"
        label = f"{symbol}_({left}, {right}) {self.derived}"
        return second_derivative_map(label, self.rewritten.output, (x1, e1), (x2, e2), self.words)

    def _symbols(self, x: Variable) -> tuple[str, str]:
        """The thesis's letters: D and a direction v of a state, else nabla and a direction u."""
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

        States and givens by position or name, the others by name; a tuple is an element of a direct
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
        positional = [a for a in self.arguments if a.role not in THETA]
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

    def with_values(self, put_in: Mapping[Node, Node], arguments: Iterable[Argument]) -> Layer:
        """The layer at expressions for some of its arguments, as a layer of other arguments."""
        new = rewrite([self.output], put_in.get)
        names = {new[node]: local for node, local in self.names.items() if node in new}
        output, own = new[self.output], tuple(arguments)
        return Layer(self.name, own, output, names, self.doc)

    def with_roles(self, roles: Mapping[str, str]) -> Self:
        """The same layer with other roles for some of its arguments, by name."""
        arguments = tuple(Argument(a.variable, roles.get(a.name, a.role)) for a in self.arguments)
        return replace(self, arguments=arguments)

    def batched(self, extent: sympy.Expr) -> Layer:
        """The rewritten layer on a family of points: one more axis left of the semicolon."""
        families = [a.variable for a in self.arguments if a.role not in THETA]
        (output,), new = lift([self.rewritten.output], families, extent)
        arguments = tuple(Argument(_as_variable(new, a), a.role) for a in self.arguments)
        own = self.rewritten.names.items()
        names = {new[node]: name for node, name in own if node in new}
        return Layer(self.name, arguments, output, names, self.doc)

    # --- its kernels

    def compile(
        self,
        *,
        cache: Path | None = None,
        progress: Callable[[str], object] = lambda line: None,
    ) -> ModuleType:
        """The layer's kernels: forward, tangent, backward, tangent_backward and so on, compiled.

        They are built once, for this machine, into a folder of the user's own: `cache`, else
        $LAYERWISE_CACHE, $XDG_CACHE_HOME/layerwise, ~/.cache/layerwise, else a temporary one; and
        loaded from there by every later call and process.  `progress` gets a line for what is
        compiled.  Without a C compiler the NumPy reference computes, after a warning.  Raises
        CacheError where the folder can't be used or is not the user's own, and CompileError with
        the end of what Cython or the compiler said; the next call tries again.
        """
        return compiled(self, cache=cache, progress=progress)


KERNELS = """forward tangent backward tangent_backward gradient loss bptt rtrl hybrid truncated_bptt
bind recurrence"""


OF_NETWORKS = "initial tree flat trained paths head tail with_loss loss_layer"


ATTRIBUTES = {
    **dict.fromkeys(KERNELS.split(), "kernels are those of f.compile(), as in f.compile().forward"),
    **dict.fromkeys(OF_NETWORKS.split(), "that of a network, as in network('f', hidden=dense)"),
    **dict.fromkeys(("grad", "diff", "derive", "jacobian"), "the maps are f.D() and f.nabla('W')"),
    "adjoint": "the adjoint is that of a map, f.D().adjoint",
}


"""What a layer does not have, and where to find it."""
OTHERS = "it has D, nabla, D2, D_nabla, nabla_D, nabla2, compile, signature, arguments, sizes, .."


APPLIED = "apply it, f(x, W=W, b=b), within the formula of another layer, or make a network of it"


_SIGNS = ("add", "sub", "mul", "matmul", "truediv")


refuse_operators(
    Layer, {f"__{side}{name}__": APPLIED for side in ("", "r") for name in _SIGNS}, Layer._refuse
)


def require_layer(what: str, value: object) -> None:
    """Raises SpaceError where the argument of a function is not a layer."""
    if not isinstance(value, Layer):
        raise SpaceError(f"{what}: expected a layer, declared by @layer, got {value!r}")


def _as_variable(new: Mapping[Node, Node], argument: Argument) -> Variable:
    moved = new.get(argument.variable, argument.variable)
    assert isinstance(moved, Variable)
    return moved
