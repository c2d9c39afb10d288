"""Linear and bilinear maps between inner product spaces, named as in the thesis (section 2.1).

A map is its body, an expression linear in its variable.  `A @ x` applies, `A @ B` composes, and
`A.adjoint` is the adjoint in the inner products of domain and codomain: G1^-1 L^T G2 where L^T is
the transpose of the coordinates, G1 and G2 the Gram matrices.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from itertools import chain, count
from typing import TYPE_CHECKING, Any, NoReturn, overload

from ..language.expressions import Node, Variable, tuple_of, variable
from ..language.hooks import Shown
from ..language.mistakes import refuse_attribute, refuse_operators
from ..language.normal_form import normalised
from ..language.riesz import riesz
from ..language.spaces import Space, SpaceError
from ..language.walk import rewrite, topological
from .calculus import tangent, transpose


def variables_of(*roots: Node) -> list[Variable]:
    """The variables of the expressions, in order."""
    return [node for node in topological(*roots) if isinstance(node, Variable)]


def free_name(wanted: str, taken: Iterable[Variable], others: Container[str] = ()) -> str:
    """The name, followed by a number where a variable or one of `others` has it."""
    used = {x.name for x in taken}
    names = chain([wanted], (f"{wanted}{number}" for number in count(2)))
    return next(name for name in names if name not in used and name not in others)


def substituted(node: Node, values: Mapping[Any, Node]) -> Node:
    """The expression with variables replaced."""
    return rewrite([node], values.get)[node]


@dataclass(eq=False)
class LinearMap(Shown):
    """A linear map L in L(domain; codomain): L . v is `body`, with v the variable.

    `taken` are names that no variable gets, since they already show something else.
    """

    name: str
    variable: Variable
    body: Node
    taken: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        self._adjoint: LinearMap | None = None

    @property
    def domain(self) -> Space:
        """The space of v."""
        return self.variable.space

    @property
    def codomain(self) -> Space:
        """The space of L . v."""
        return self.body.space

    @property
    def adjoint(self) -> LinearMap:
        """L*, with <L* u, v> = <u, L v>; the adjoint of L* is L itself."""
        if self._adjoint is None:
            u = variable(self._dual_name(), self.codomain)
            pulled = transpose(self.body, riesz(u), [self.variable])[self.variable]
            body = normalised(riesz(pulled, inverse=True), self.body)
            self._adjoint = LinearMap(starred(self.name), u, body, self.taken)
            self._adjoint._adjoint = self
        return self._adjoint

    @overload
    def __matmul__(self, other: LinearMap) -> LinearMap: ...
    @overload
    def __matmul__(self, other: Node | tuple[Node, ...]) -> Node: ...
    def __matmul__(self, other: Node | LinearMap | tuple[Node, ...]) -> Node | LinearMap:
        """L @ x applies the map, L @ M composes two.  Raises SpaceError where spaces differ."""
        if isinstance(other, LinearMap):
            others = (x for x in variables_of(self.body) if x is not self.variable)
            v, inner = other.with_free_variable(others)
            return LinearMap(f"{self.name} . {other.name}", v, self._at(inner, other.name))
        return self._at(tuple_of(other) if isinstance(other, tuple) else other, "the argument")

    def with_free_variable(self, taken: Iterable[Variable]) -> tuple[Variable, Node]:
        """The variable and the body, the variable under a name that is not in `taken`."""
        v = variable(free_name(self.variable.name, taken), self.domain)
        return v, substituted(self.body, {self.variable: v})

    def _dual_name(self) -> str:
        return free_name(dual_name(self.variable.name), variables_of(self.body), self.taken)

    def _at(self, v: Node, what: str) -> Node:
        if not isinstance(v, Node):
            raise SpaceError(f"{self.name} @ {v!r}: expected an expression of {self.domain}")
        if v.space != self.domain:
            raise SpaceError(
                f"{self.name} is a map on {self.domain}, but {what} is of {v.space}; "
                "apply or compose it with an element of its domain"
            )
        return substituted(self.body, {self.variable: v})

    if not TYPE_CHECKING:  # there, what is not defined is an error

        def __getattr__(self, name: str) -> NoReturn:
            refuse_attribute(f"the map {self.__dict__.get('name')}", name, OF_MAPS, APPLIED)

    def __str__(self) -> str:
        return f"{self.name} : {self.domain} -> {self.codomain}"

    __repr__ = __str__


@dataclass(eq=False)
class BilinearMap(Shown):
    """A bilinear map B in L(E1, E2; E3): B . (e1, e2) is `body`."""

    name: str
    left: Variable
    right: Variable
    body: Node
    taken: frozenset[str] = frozenset()

    def hook(self, e1: Node | None = None) -> LinearMap:
        """(e1 _| B), the map e2 -> B . (e1, e2); without e1 the left variable stays free."""
        return self._hooked(self.left, self.right, e1, "({e} _| {b})")

    def right_hook(self, e2: Node | None = None) -> LinearMap:
        """(B |_ e2), the map e1 -> B . (e1, e2); without e2 the right variable stays free."""
        return self._hooked(self.right, self.left, e2, "({b} |_ {e})")

    def _hooked(self, fixed: Variable, free: Variable, e: Node | None, name: str) -> LinearMap:
        if e is not None and (not isinstance(e, Node) or e.space != fixed.space):
            found = e.space if isinstance(e, Node) else repr(e)
            raise SpaceError(f"{self.name}: expected {fixed.name} of {fixed.space}, got {found}")
        label = fixed.name if e is None else getattr(e, "name", "e")
        whole = LinearMap(name.format(e=label, b=self.name), free, self.body, self.taken)
        if e is None:
            return whole
        v, body = whole.with_free_variable(variables_of(e))
        return LinearMap(whole.name, v, substituted(body, {fixed: e}), self.taken)

    def __str__(self) -> str:
        return f"{self.name} : {self.left.space}, {self.right.space} -> {self.body.space}"

    __repr__ = __str__


APPLIED = "a map is applied to an expression, L @ x, and composed with another map, L @ M"
HOOKED = "a bilinear map is applied by its hooks, B.hook(e1) @ e2"
OF_MAPS = {
    **dict.fromkeys(("T", "H", "transpose", "conj"), "its adjoint is L.adjoint"),
    **dict.fromkeys(("shape", "matrix", "numpy"), "its spaces are L.domain and L.codomain"),
}
_SIGNS = ("__add__", "__radd__", "__sub__", "__mul__", "__rmul__", "__call__", "__rmatmul__")


def _refuse(self: LinearMap | BilinearMap, what: str, instead: str) -> NoReturn:
    raise SpaceError(f"{what} is not defined for the map {self.name}; {instead}")


refuse_operators(LinearMap, dict.fromkeys(_SIGNS, APPLIED), _refuse)
refuse_operators(BilinearMap, dict.fromkeys((*_SIGNS, "__matmul__"), HOOKED), _refuse)


def derivative_map(
    name: str, output: Node, x: Variable, direction: str, taken: frozenset[str] = frozenset()
) -> LinearMap:
    """The derivative of an expression with respect to one variable, as a linear map."""
    v = variable(free_name(direction, variables_of(output), taken), x.space)
    return LinearMap(name, v, normalised(tangent(output, {x: v}), output), taken)


def second_derivative_map(
    name: str,
    output: Node,
    left: tuple[Variable, str],
    right: tuple[Variable, str],
    taken: frozenset[str] = frozenset(),
) -> BilinearMap:
    """D(D f . e2) . e1 (thesis (2.4) and section 2.3.2): each D may be nabla."""
    known = variables_of(output)
    e1 = variable(free_name(left[1], known, taken), left[0].space)
    e2 = variable(free_name(right[1], [*known, e1], taken), right[0].space)
    first = tangent(output, {right[0]: e2})
    body = normalised(tangent(first, {left[0]: e1}), output)
    return BilinearMap(name, e1, e2, body, taken)


def dual_name(direction: str) -> str:
    """The name of what the adjoint is applied to."""
    return "w" if direction != "w" else "v"


def starred(name: str) -> str:
    """L* in text: the star behind D or nabla, as in the thesis; (L2 . L1)* = L1* . L2*."""
    if " . " in name:
        return " . ".join(starred(factor) for factor in reversed(name.split(" . ")))
    for head in ("D", "nabla"):
        plain, star = f"{head}", f"{head}*"
        if name.startswith(f"{star}_") or name.startswith(f"{star} "):
            return plain + name[len(star) :]
        if name.startswith(f"{plain}_") or name.startswith(f"{plain} "):
            return star + name[len(plain) :]
    return name[:-1] if name.endswith("*") else f"{name}*"
