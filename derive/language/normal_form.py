"""The normal form of expressions: what is equal by the laws of sums and products is one expression.

Expressions stay as they were written.  One walk, operands first, gives every expression the number
of its class, and every class is stood for by the member that was written first.  Two expressions
are in one class where they are the same

  * up to the order of a product's factors and of a sum's terms, and up to parentheses in either;
  * up to the numbers in front of factors and terms, like terms added;
  * up to the names and the order of a form's indices and slots: a form with one slot open is what
    it reads and where it writes, so that D Psi . w and D* Psi . w of (4.8) are one expression;
  * up to factors that only read another array elsewhere (transposes, slices, repeated numbers),
    and sums over what a single product sums over: tr(F* F) is <F, F>.

Sums are not multiplied out, and a product is not reordered across a sum over an index.

Keys hold the classes of operands as numbers of this walk, no text and no expressions: the time is
linear, and neither the process's history nor its memory decides.  A sum of more than `TERMS` terms,
or a product of more than `FACTORS`, is opaque to what stands around it; then some equal expressions
have two classes, but unequal ones never share a class.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import sympy

from .expressions import (
    Argmax,
    Constant,
    Contraction,
    Elementwise,
    Held,
    Jet,
    LinearCombination,
    Node,
    Potential,
    Projection,
    RunningSum,
    Tuple,
    Variable,
    zero,
)
from .forms import Form
from .ordered_forms import open_last, ordered_form, spliced_form
from .reading import Reading
from .spaces import Real, Space
from .walk import rebuild, topological

TERMS, FACTORS = 32, 8


Class: TypeAlias = int


Sum: TypeAlias = "dict[Class, sympy.Expr]"  # the weight of each term; a term is not a sum itself


def normal(*roots: Node) -> dict[Node, Node]:
    """For every expression in the roots the representative of its class, made of representatives.

    >>> from derive import R, dims, variable
    >>> n = dims("n")
    >>> a, c = variable("a", R(n)), variable("c", R(n))
    >>> new = normal(a * c, c * a)
    >>> new[c * a] is a * c
    True
    """
    classes, new = _Classes(), dict[Node, Node]()
    for node in topological(*roots):
        operands = [new[operand] for operand in node.operands]
        moved = any(a is not b for a, b in zip(operands, node.operands, strict=True))
        new[node] = classes.first(rebuild(node, operands) if moved else node)
    return new


def normalised(node: Node, *before: Node) -> Node:
    """One expression in its normal form; the expressions in `before` count as written earlier."""
    return normal(*before, node)[node]


@dataclass(frozen=True)
class _Product:
    """A contraction as it is keyed: its factors in the form's order, the open slot last."""

    space: Space
    form: Form
    factors: tuple[Class, ...]
    selectors: tuple[Class, ...]


class _Classes(Reading[Class]):
    """The classes of one walk; a node is read when its operands have theirs."""

    def __init__(self) -> None:
        self.of: dict[Node, Class] = {}
        self.spaces: list[Space] = []
        self.sums: list[Sum] = []
        self.products: dict[Class, _Product] = {}
        self._numbers: dict[Any, Class] = {}
        self._firsts: dict[Class, Node] = {}

    def first(self, node: Node) -> Node:
        """The first expression of the node's class."""
        for inner in self._unknown(node):
            number = self.of[inner] = self(inner)
            self._firsts.setdefault(number, self._zero(inner, number))
        return self._firsts[self.of[node]]

    def _zero(self, node: Node, number: Class) -> Node:
        """The node, or zero where all its terms cancel."""
        return node if self.sums[number] or not isinstance(node.space, Real) else zero(node.space)

    def _unknown(self, node: Node) -> Iterator[Node]:
        """The expressions in a node that have no class yet, operands first."""
        stack = [(node, False)]
        while stack:
            inner, ready = stack.pop()
            if inner not in self.of:
                if ready:
                    yield inner
                else:
                    stack.append((inner, True))
                    stack.extend((operand, False) for operand in reversed(inner.operands))

    def atom(self, space: Space, *key: Any) -> Class:
        """The class of an expression that is not a sum, by a key without expressions."""
        number = self._numbers.setdefault((space, *key), len(self.spaces))
        if number == len(self.spaces):
            self.spaces.append(space)
            self.sums.append({number: sympy.S.One})
        return number

    def sum(self, space: Space, terms: Sum) -> Class:
        """The class of a sum of terms that are not sums; beyond TERMS terms it is a term itself."""
        kept = {term: weight for term, weight in terms.items() if weight != 0}
        if len(kept) == 1 and 1 in kept.values():
            (number,) = kept
            return number
        number = self._numbers.setdefault((space, frozenset(kept.items())), len(self.spaces))
        if number == len(self.spaces):
            self.spaces.append(space)
            self.sums.append(kept if len(kept) <= TERMS else {number: sympy.S.One})
        return number

    def scaled(self, number: Class) -> tuple[sympy.Expr, Class]:
        """The number in front of a class, and the class behind it."""
        if len(self.sums[number]) != 1:
            return sympy.S.One, number
        ((inner, weight),) = self.sums[number].items()
        return weight, inner

    def variable(self, node: Variable) -> Class:
        return self.atom(node.space, Variable, node.name)

    def constant(self, node: Constant) -> Class:
        return self.sum(node.space, {self.atom(node.space, Constant): node.value})

    def linear_combination(self, node: LinearCombination) -> Class:
        total: Sum = {}
        for weight, operand in node.terms:
            for term, inner in self.sums[self.of[operand]].items():
                inner = inner if weight == 1 else weight * inner
                total[term] = total.get(term, sympy.S.Zero) + inner
        return self.sum(node.space, total)

    def elementwise(self, node: Elementwise) -> Class:
        arguments = (self.of[argument] for argument in node.arguments)
        return self.atom(node.space, Elementwise, node.operation, *arguments)

    def tuple_(self, node: Tuple) -> Class:
        return self.atom(node.space, Tuple, *(self.of[part] for part in node.components))

    def projection(self, node: Projection) -> Class:
        return self.atom(node.space, Projection, self.of[node.operand], node.position)

    def running_sum(self, node: RunningSum) -> Class:
        weight, inner = self.scaled(self.of[node.operand])
        return self.sum(
            node.space, {self.atom(node.space, RunningSum, inner, node.reverse): weight}
        )

    def argmax(self, node: Argmax) -> Class:
        operand = self.of[node.operand]
        return self.atom(node.space, Argmax, node.form, operand, node.position)

    def held(self, node: Held) -> Class:
        return self.atom(node.space, Held, self.of[node.operand])

    def potential(self, node: Potential) -> Class:
        """Its derivative is another than that of its value held, or of another gradient."""
        value, argument = (self.of[operand] for operand in node.operands)
        return self.atom(node.space, Potential, value, argument, node.gradient)

    def jet(self, node: Jet) -> Class:
        arguments = tuple(self.of[argument] for argument in node.arguments)
        directions = tuple(sorted((slot, self.of[v]) for slot, v in node.directions))
        paired = None if node.cotangent is None else self.of[node.cotangent]
        return self.atom(node.space, Jet, node.function, arguments, directions, node.opened, paired)

    def contraction(self, node: Contraction) -> Class:
        front, factors = sympy.S.One, []
        for operand in node.filled:
            weight, inner = self.scaled(self.of[operand])
            factors.append(inner)
            front = front if weight == 1 else front * weight
        selectors = tuple(self.of[selector] for selector in node.selectors)
        form = open_last(node.form, node.opened)
        product = _spliced(_Product(node.space, form, tuple(factors), selectors), self)
        return self.sum(node.space, {_class_of_product(product, self): front})


def _class_of_product(product: _Product, classes: _Classes) -> Class:
    """The class of a product: that of the only factor where it is read as it stands."""
    if _is_itself(product, classes):
        return product.factors[0]
    ranks = _ranks(product.factors), _ranks(product.selectors)
    form, order, selected = ordered_form(product.form, *ranks)
    factors = tuple(product.factors[k] for k in order)
    selectors = tuple(product.selectors[k] for k in selected)
    made = _Product(product.space, form, factors, selectors)
    number = classes.atom(made.space, Contraction, form, factors, selectors)
    classes.products.setdefault(number, made)
    return number


def _is_itself(product: _Product, classes: _Classes) -> bool:
    """One factor, of the same space, each entry read where it is written."""
    form, space = product.form, product.space
    if len(product.factors) != 1 or form.slots[0] != form.slots[1] or product.selectors:
        return False
    return classes.spaces[product.factors[0]] == space and form.is_pointwise(1, _shape(space))


def _spliced(product: _Product, classes: _Classes) -> _Product:
    """The product with the factors of products within it that sum over nothing."""
    position = 0
    while position < len(product.factors):
        inner = classes.products.get(product.factors[position])
        count = len(product.factors) - 1 + (len(inner.factors) if inner else 0)
        form = None if inner is None or count > FACTORS else _splice(product, position, inner)
        if inner is None or form is None:
            position += 1
            continue
        before, after = product.factors[:position], product.factors[position + 1 :]
        factors = (*before, *inner.factors, *after)
        product = _Product(product.space, form, factors, product.selectors)
        position += len(inner.factors)  # already spliced in its class
    return product


def _splice(outer: _Product, position: int, inner: _Product) -> Form | None:
    """The form of both products as one; None where there is none."""
    if inner.selectors or not isinstance(inner.space, Real):
        return None
    return spliced_form(outer.form, position, inner.form, inner.space.shape)


def _shape(space: Space) -> tuple[sympy.Expr, ...]:
    assert isinstance(space, Real)
    return space.shape


def _ranks(classes: Sequence[Class]) -> tuple[int, ...]:
    """The order of some classes, equal where they are equal."""
    rank = {number: k for k, number in enumerate(sorted(set(classes)))}
    return tuple(rank[number] for number in classes)
