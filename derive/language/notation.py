"""What a notation says: how each pattern of linear algebra looks.

`patterns` recognises what a node is, `text` asks the notation to write it.  A notation that has no
such pattern answers None and is asked for the next more general one.  The arguments are
expressions; `w(x, TIGHT)` is x as text, in parentheses where it would not hold together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import sympy

from .expressions import (
    Argmax,
    Constant,
    Contraction,
    Elementwise,
    Jet,
    Node,
    RunningSum,
    Variable,
)
from .scalars.operations import Operation

SUM, QUOTIENT, DOT, PRODUCT, APPLIED, HADAMARD, ATOM = range(7)  # how tightly a text is bound

Written = tuple[str, int]
"""A text, and how tightly it is bound."""

Letters = Callable[[Contraction], Mapping[sympy.Symbol, str]]
"""The letters of the indices that run in a form."""

Allowed = frozenset[int]
ANY: Allowed = frozenset(range(7))
"""What stands without parentheses: anything, a quotient or product, a product, nothing loose."""
QUOTIENTS, PRODUCTS, TIGHT = ANY - {SUM}, ANY - {SUM, QUOTIENT}, frozenset({ATOM})


class Writes(Protocol):
    """What a notation is given: names of expressions, letters, and the writing of parts."""

    names: Mapping[Node, str]
    family: sympy.Symbol | None

    @property
    def letters(self) -> Letters: ...

    def __call__(self, node: Node, allowed: Allowed = ANY) -> str: ...

    def written(self, node: Node) -> Written: ...


class Notation:
    """The patterns; each answers with its text, or with None where it has no such notation."""

    def prepared(self, w: Writes, node: Node) -> Mapping[Node, Node]:
        """The expressions that are written in place of the node and its parts."""
        return {}

    # --- names and numbers

    def name(self, name: str) -> str:
        """A variable or a local."""
        return name

    def variable(self, x: Variable) -> str:
        """A variable that has no other name."""
        return self.name(x.name)

    def parenthesised(self, text: str) -> str:
        """A text held together by parentheses."""
        return f"({text})"

    def constant(self, w: Writes, node: Constant) -> Written:
        """A number in every entry."""
        raise NotImplementedError

    def times(self, w: Writes, size: sympy.Expr, term: Node) -> str:
        """A positive number times an expression, as a term of a sum."""
        raise NotImplementedError

    # --- elementwise functions and tuples

    def applied(self, w: Writes, psi: Operation, arguments: Sequence[Node]) -> Written:
        """psi(z_1, ..), psi a function or a derivative of one."""
        raise NotImplementedError

    def monomial(self, w: Writes, node: Elementwise) -> Written | None:
        """A power, a quotient, or a derivative of one."""
        return None

    def norm(self, w: Writes, x: Node) -> Written | None:
        """sqrt(<x, x>)."""
        return None

    def tuple_(self, w: Writes, components: Sequence[Node]) -> Written:
        """An element of a direct product."""
        return self.parenthesised(", ".join(w(part) for part in components)), ATOM

    def component(self, w: Writes, x: Node, position: int) -> Written:
        """A component of an element of a direct product."""
        raise NotImplementedError

    # --- two factors

    def scalars(self, w: Writes, left: Node, right: Node) -> Written:
        """The product of two numbers."""
        raise NotImplementedError

    def hadamard(self, w: Writes, left: Node, right: Node) -> Written:
        """left (.) right."""
        raise NotImplementedError

    def inner(self, w: Writes, left: Node, right: Node) -> Written:
        """<left, right>."""
        raise NotImplementedError

    def scaled(self, w: Writes, number: Node, x: Node) -> Written:
        """A scalar times an array."""
        raise NotImplementedError

    def image(self, w: Writes, linear: Node, x: Node) -> Written:
        """A x, the array A as a linear map."""
        raise NotImplementedError

    def transposed_image(self, w: Writes, linear: Node, x: Node) -> Written:
        """A^T x."""
        raise NotImplementedError

    def outer(self, w: Writes, u: Node, x: Node) -> Written:
        """u x^T."""
        raise NotImplementedError

    def matrices(
        self, w: Writes, left: Node, left_turned: bool, right: Node, right_turned: bool
    ) -> Written | None:
        """A B, each with whether it is transposed."""
        return None

    # --- one factor

    def same(self, w: Writes, x: Node) -> Written:
        """x as it is, held or as an element of another space."""
        return w(x, TIGHT), ATOM

    def total(self, w: Writes, x: Node) -> Written:
        """<1, x>."""
        raise NotImplementedError

    def constantly(self, w: Writes, number: Node) -> Written:
        """A scalar times the all-ones vector."""
        raise NotImplementedError

    def transposed(self, w: Writes, x: Node) -> Written:
        """A^T."""
        raise NotImplementedError

    def slice_(self, w: Writes, x: Node, position: sympy.Expr) -> Written:
        """The part of an array at a number on its first axis."""
        raise NotImplementedError

    def embedded(self, w: Writes, x: Node, position: sympy.Expr) -> Written:
        """Zero but for that part."""
        raise NotImplementedError

    def of_ones(self, w: Writes, x: Node, transposed: bool) -> Written | None:
        """A 1 or A^T 1: sums over the last axes, or over the first."""
        return None

    def outer_of_ones(self, w: Writes, x: Node, first: bool, rank: int) -> Written | None:
        """x 1^T, with x first, or 1 x^T; the rank is that of the result."""
        return None

    # --- class indices

    def largest(self, w: Writes, x: Node) -> Written | None:
        """The largest entry."""
        raise NotImplementedError

    def entry(self, w: Writes, x: Node, k: Node) -> Written | None:
        """The entry of a vector at a class index."""
        return None

    def unit(self, w: Writes, number: Node | None, k: Node) -> Written:
        """number e_k."""
        raise NotImplementedError

    def argmax(self, w: Writes, node: Argmax) -> Written:
        """Where the operand is largest."""
        raise NotImplementedError

    # --- what is left

    def running_sum(self, w: Writes, node: RunningSum) -> Written:
        """The running sums along the last axis."""
        raise NotImplementedError

    def multilinear(self, w: Writes, node: Contraction) -> Written:
        """Any other form."""
        raise NotImplementedError

    def family_sum(self, w: Writes, term: Written) -> Written:
        """The sum over the hidden axis."""
        return f"sum_s {term[0]}", PRODUCT

    def jet(self, w: Writes, node: Jet) -> Written:
        """A derivative of an uninterpreted function."""
        raise NotImplementedError
