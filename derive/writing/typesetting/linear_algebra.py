r"""The notation of the thesis in LaTeX: \tanh'(z) \odot (W v), u\,x^{\mathsf T}, hooks.

Operations without a sign in the thesis are written as in the matrix calculus literature: a \oslash
b is the quotient and x^{\odot p} the power entry by entry; \pi_{k} is the projection onto the k-th
component or slice, counted from 1, and \pi_{k}^{*} its adjoint, the embedding.  A form that is not
a pattern of linear algebra has the user's name, or a letter B_{1}, B_{2}, .. (`multilinear`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import sympy

from ...language.expressions import (
    Argmax,
    Constant,
    Contraction,
    Elementwise,
    Jet,
    Node,
    RunningSum,
    Variable,
)
from ...language.notation import (
    APPLIED,
    ATOM,
    DOT,
    HADAMARD,
    PRODUCT,
    QUOTIENT,
    QUOTIENTS,
    SUM,
    TIGHT,
    Notation,
    Writes,
    Written,
)
from ...language.patterns import pattern
from ...language.scalars.operations import Operation
from ...language.spaces import Real
from .diagonals import diagonal
from .jets import Jets
from .letters import Letters
from .multilinear import WrittenForms
from .powers import monomial, with_plain_powers
from .ratios import Ratio, ratio
from .scalar_functions import function
from .typography import ONES, TRANSPOSED, enclosed, juxtaposed, parenthesised, raised, sized, value

CUMSUM = r"\operatorname{cumsum}"
FACTORS = frozenset({HADAMARD, ATOM})
MAPPED = frozenset({ATOM, APPLIED})
MULTIPLES = frozenset({ATOM, APPLIED, PRODUCT, DOT})


class LinearAlgebra(Notation):
    """LaTeX, with the symbols of names, of uninterpreted functions and of forms."""

    def __init__(self, letters: Letters, jets: Jets, forms: WrittenForms) -> None:
        self.letters, self.jets, self.forms = letters, jets, forms

    def prepared(self, w: Writes, node: Node) -> Mapping[Node, Node]:
        return with_plain_powers(w, node)

    # --- names and numbers

    def name(self, name: str) -> str:
        return self.letters(name)

    def variable(self, x: Variable) -> str:
        """The symbol; the inverse of a Gram matrix, which is not an argument, is G^{-1}."""
        gram = x.name.removesuffix("_inverse")
        if gram == x.name or self.letters.is_own(x.name) or _shape(x) != _shape(x)[:1] * 2:
            return self.letters(x.name)
        return raised(self.letters(gram), "-1")

    def parenthesised(self, text: str) -> str:
        return parenthesised(text)

    def constant(self, w: Writes, node: Constant) -> Written:
        number = node.value
        if number == 1:
            return (ONES if _rank(w, node) else "1"), ATOM
        kind = SUM if number.is_Add or number.could_extract_minus_sign() else ATOM
        if not _rank(w, node):
            return value(number, self.letters), kind
        sign = "-" if number.could_extract_minus_sign() else ""
        return rf"{sign}{sized(-number if sign else number, ONES, self.letters)}", kind or PRODUCT

    def times(self, w: Writes, size: sympy.Expr, term: Node) -> str:
        if isinstance(term, Constant) and term.value == 1 and not _rank(w, term):
            shown = value(size, self.letters)
            return parenthesised(shown) if size.is_Add else shown
        numbers, x = self._factors(w, term)
        fraction = ratio(w, numbers, size)
        if fraction.below:
            return self._multiple(w, fraction, x)
        text = w(term, QUOTIENTS)
        return text if size == 1 else sized(size, text, self.letters)

    def _factors(self, w: Writes, node: Node) -> tuple[list[Node], Node | None]:
        """The scalars and the array that an expression is the product of; either may be missing."""
        if not _rank(w, node):
            return [node], None
        numbers: list[Node] = []
        while (found := _multiple_of(w, node)) is not None:
            number, node = found
            numbers.append(number)
        return numbers, node

    def _multiple(self, w: Writes, fraction: Ratio, x: Node | None) -> str:
        """The fraction times the array."""
        shown = fraction.text(w, self.letters)
        if x is None:
            return shown
        ones = isinstance(x, Constant) and x.value == 1
        return juxtaposed(shown, ONES if ones else w(x, MULTIPLES))

    # --- elementwise functions and tuples

    def applied(self, w: Writes, psi: Operation, arguments: Sequence[Node]) -> Written:
        given = enclosed("(", ", ".join(w(x) for x in arguments), ")")
        return f"{function(psi)}{given}", ATOM

    def monomial(self, w: Writes, node: Elementwise) -> Written | None:
        found = monomial(node.operation)
        if found is None or any(node.operation.orders):
            return None
        if not _rank(w, node) and (min(found[1]) < 0 or all(p.is_Integer for p in found[1])):
            return self._fraction(w, [node])
        if len(node.arguments) == 2:
            a, b = node.arguments
            return rf"{w(a, FACTORS)} \oslash {w(b, TIGHT)}", QUOTIENT
        return self._power(w, node.arguments[0], found[1][0]), ATOM

    def _power(self, w: Writes, x: Node, p: sympy.Expr) -> str:
        scalar = not _rank(w, x)
        if scalar and p == sympy.Rational(1, 2):
            return rf"\sqrt{{{w(x)}}}"
        shown = str(p) if scalar else rf"\odot {p}" if p > 0 else rf"\odot({p})"
        return raised(w(x, TIGHT), shown)

    def norm(self, w: Writes, x: Node) -> Written | None:
        return enclosed(r"\lVert", f" {w(x)} ", r"\rVert"), ATOM

    def component(self, w: Writes, x: Node, position: int) -> Written:
        return self.slice_(w, x, sympy.Integer(position))

    # --- two factors

    def scalars(self, w: Writes, left: Node, right: Node) -> Written:
        return self._fraction(w, [left, right])

    def _fraction(self, w: Writes, factors: Sequence[Node]) -> Written:
        """The product of numbers."""
        fraction = ratio(w, factors)
        return fraction.text(w, self.letters), PRODUCT if fraction.is_product else ATOM

    def hadamard(self, w: Writes, left: Node, right: Node) -> Written:
        multiple = _without_ones(w, left, right)
        if multiple is not None:
            return self.scaled(w, *multiple)
        return rf"{w(left, FACTORS)} \odot {w(right, FACTORS)}", HADAMARD

    def inner(self, w: Writes, left: Node, right: Node) -> Written:
        return _inner(w(left), w(right)), ATOM

    def scaled(self, w: Writes, number: Node, x: Node) -> Written:
        more, array = self._factors(w, x)
        return self._multiple(w, ratio(w, [number, *more]), array), PRODUCT

    def image(self, w: Writes, linear: Node, x: Node) -> Written:
        return juxtaposed(w(linear, TIGHT), w(x, MAPPED)), APPLIED

    def transposed_image(self, w: Writes, linear: Node, x: Node) -> Written:
        return juxtaposed(self._adjoint(w, linear), w(x, MAPPED)), APPLIED

    def _adjoint(self, w: Writes, linear: Node) -> str:
        """A^T of a matrix, A itself where that is a transpose, A^* of an array of more axes."""
        found = None if linear in w.names else pattern(linear, w.family)
        if found is not None and found.name == "transposed":
            return w(found.arguments[0], TIGHT)
        return raised(w(linear, TIGHT), TRANSPOSED if _rank(w, linear) == 2 else "*")

    def outer(self, w: Writes, u: Node, x: Node) -> Written:
        if _rank(w, u) == _rank(w, x) == 1:
            return rf"{w(u, TIGHT)}\,{raised(w(x, TIGHT), TRANSPOSED)}", PRODUCT
        return rf"{w(u, TIGHT)} \otimes {w(x, TIGHT)}", PRODUCT

    def matrices(
        self, w: Writes, left: Node, left_turned: bool, right: Node, right_turned: bool
    ) -> Written | None:
        shown = [
            self._adjoint(w, x) if turned else w(x, MAPPED)
            for x, turned in ((left, left_turned), (right, right_turned))
        ]
        return juxtaposed(*shown), APPLIED

    # --- one factor

    def same(self, w: Writes, x: Node) -> Written:
        return w.written(x)

    def total(self, w: Writes, x: Node) -> Written:
        return _inner(ONES, w(x)), ATOM

    def constantly(self, w: Writes, number: Node) -> Written:
        return self._multiple(w, ratio(w, [number]), None) + rf"\,{ONES}", PRODUCT

    def transposed(self, w: Writes, x: Node) -> Written:
        return self._adjoint(w, x), ATOM

    def slice_(self, w: Writes, x: Node, position: sympy.Expr) -> Written:
        return juxtaposed(rf"\pi_{{{position + 1}}}", w(x, MAPPED)), APPLIED

    def embedded(self, w: Writes, x: Node, position: sympy.Expr) -> Written:
        return juxtaposed(rf"\pi_{{{position + 1}}}^{{*}}", w(x, MAPPED)), APPLIED

    def of_ones(self, w: Writes, x: Node, transposed: bool) -> Written | None:
        return juxtaposed(self._adjoint(w, x) if transposed else w(x, TIGHT), ONES), APPLIED

    def outer_of_ones(self, w: Writes, x: Node, first: bool, rank: int) -> Written | None:
        u, v = (w(x, TIGHT), ONES) if first else (ONES, w(x, TIGHT))
        return rf"{u}\,{raised(v, TRANSPOSED)}" if rank == 2 else rf"{u} \otimes {v}", PRODUCT

    # --- class indices

    def largest(self, w: Writes, x: Node) -> Written | None:
        return rf"\max{enclosed('(', w(x), ')')}", ATOM

    def entry(self, w: Writes, x: Node, k: Node) -> Written | None:
        return _inner(f"e_{{{w(k)}}}", w(x)), ATOM

    def unit(self, w: Writes, number: Node | None, k: Node) -> Written:
        unit = f"e_{{{w(k)}}}"
        if number is None:
            return unit, ATOM
        return rf"{ratio(w, [number]).text(w, self.letters)}\,{unit}", PRODUCT

    def argmax(self, w: Writes, node: Argmax) -> Written:
        text = self.forms.places(w, node)
        if len(node.summed) == 1:
            return text, ATOM
        return f"{enclosed('(', text, ')')}_{{{node.position + 1}}}", ATOM

    # --- what is left

    def running_sum(self, w: Writes, node: RunningSum) -> Written:
        """Sums from the other end are those of the transposed map."""
        operator = raised(CUMSUM, TRANSPOSED) if node.reverse else CUMSUM
        return f"{operator}{enclosed('(', w(node.operand), ')')}", ATOM

    def multilinear(self, w: Writes, node: Contraction) -> Written:
        found = None if self.forms.has_name(w, node) else diagonal(w, node)
        return found or self.forms.write(w, node)

    def family_sum(self, w: Writes, term: Written) -> Written:
        family = "" if w.family is None else self.letters(w.family.name)
        shown = parenthesised(term[0]) if term[1] in (SUM, QUOTIENT, HADAMARD) else term[0]
        return rf"\sum_{{{family}}} {shown}", PRODUCT

    def jet(self, w: Writes, node: Jet) -> Written:
        return self.jets.write(w, node)


def _inner(left: str, right: str) -> str:
    return enclosed(r"\langle", f" {left}, {right} ", r"\rangle")


def _multiple_of(w: Writes, node: Node) -> tuple[Node, Node] | None:
    """The scalar and the array of an unnamed multiple."""
    found = None if node in w.names else pattern(node, w.family)
    if found is not None and found.name == "hadamard":
        return _without_ones(w, *found.arguments)
    return found.arguments if found is not None and found.name == "scaled" else None


def _without_ones(w: Writes, left: Node, right: Node) -> tuple[Node, Node] | None:
    """s and x where the product is x (.) (s 1)."""
    for x, ones in ((left, right), (right, left)):
        found = None if ones in w.names else pattern(ones, w.family)
        if found is not None and found.name == "constantly":
            return found.arguments[0], x
    return None


def _rank(w: Writes, node: Node) -> int:
    """The number of axes of one point's array."""
    return sum(extent != w.family for extent in _shape(node))


def _shape(node: Node) -> tuple[sympy.Expr, ...]:
    return node.space.shape if isinstance(node.space, Real) else ()
