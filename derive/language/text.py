"""Formulas as a person writes them: W x + b, tanh'(z) (.) v, u x^T, <u, v>.

`patterns` recognises what a node is in linear algebra, a `Notation` says what that looks like:
plain text, or LaTeX.  An expression with a name is shown by it; a family's index (the batch) is not
shown, only a sum over it.
"""

from __future__ import annotations

from collections.abc import Mapping

import sympy

from .abbreviations import abbreviated
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
)
from .hooks import printed
from .letters import free_letters
from .notation import ANY, ATOM, PRODUCT, SUM, Allowed, Letters, Notation, Written
from .patterns import arithmetic, as_share, norm_of, pattern
from .plain_text import TEXT
from .reading import Reading
from .scalars import shipped


class Writer:
    """Writes expressions, each named one by its name; `family` is the extent of the hidden axis.

    `letters` are those of the indices of a form, such as the loops have that compute it.
    """

    def __init__(
        self,
        names: Mapping[Node, str],
        family: sympy.Symbol | None = None,
        notation: Notation = TEXT,
        letters: Letters = free_letters,
    ) -> None:
        self.names, self.family, self.notation = names, family, notation
        self.letters = letters
        self._prepared: dict[Node, Node] = {}

    def formula(self, node: Node) -> str:
        """The expression itself, its parts by name."""
        return _Formula(self)(self.prepared(node))[0]

    def prepared(self, node: Node) -> Node:
        """The expression as the notation would have it."""
        if node not in self._prepared:
            new = self.notation.prepared(self, node)
            self._prepared |= {new.get(node, node): new.get(node, node), node: new.get(node, node)}
        return self._prepared[node]

    def __call__(self, node: Node, allowed: Allowed = ANY) -> str:
        """The expression by name or in parentheses where the place asks for it."""
        text, binding = self.written(node)
        return text if binding in allowed else self.notation.parenthesised(text)

    def written(self, node: Node) -> Written:
        """The expression by name or as a formula, and what holds it together."""
        if node in self.names:
            return self.notation.name(self.names[node]), ATOM
        return _Formula(self)(self.prepared(node))

    def whole(self, node: Node) -> str:
        """The expression, followed by the named parts where it is too deep for one formula."""
        names = abbreviated((node,), self.names)
        writer = Writer(names, self.family, self.notation, self.letters)
        parts = [f"{t} = {writer.formula(x)}" for x, t in names.items() if x not in self.names]
        where = f", where {'; '.join(reversed(parts))}" if parts else ""
        return f"{writer.formula(node)}{where}"

    def terms(self, node: Node) -> list[str]:
        """The summands at top level, "+ a" or "- b", the first without a plus: to break lines."""
        node = self.prepared(node)
        if not isinstance(node, LinearCombination) or not node.terms:
            return [_Formula(self)(node)[0]]
        signed = _signed(node, self)
        first = signed[0].removeprefix("+ ")
        return [f"-{first[2:]}" if first.startswith("- ") else first, *signed[1:]]


@printed.register
def _(node: Node) -> str:
    return Writer({}).whole(node)


def identifier_of(node: Node, names: Mapping[Node, str], otherwise: str) -> str:
    """An identifier for an expression: its name, or what it is made of, as in W_x or tanh_d1_z."""
    if node in names or isinstance(node, Variable):
        return names.get(node, getattr(node, "name", otherwise))
    parts = [names.get(x, getattr(x, "name", "")) for x in node.operands]
    head = _HEADS(node)
    simple = head is not None and all(parts) and len(parts) <= 2
    return "_".join([*(head or []), *parts]) if simple else otherwise


class _Heads(Reading[list[str] | None]):
    """What stands in an identifier in front of the parts; None for what is not named by them."""

    def elementwise(self, node: Elementwise) -> list[str]:
        return [node.operation.name]

    def contraction(self, node: Contraction) -> list[str]:
        if any(len(_running(entry)) > 1 for entry in node.access(0)):
            return ["windows"]
        return ["sum"] if len(node.filled) == 1 and node.summed else []

    def argmax(self, node: Argmax) -> list[str]:
        return [f"argmax{node.position + 1}" if len(node.summed) > 1 else "argmax"]

    def running_sum(self, node: RunningSum) -> list[str]:
        return ["cumsum_back" if node.reverse else "cumsum"]

    def _none(self, node: Node) -> None:
        return None

    variable = constant = linear_combination = _none
    tuple_ = projection = held = potential = jet = _none


_HEADS = _Heads()


def _running(entry: sympy.Expr) -> list[sympy.Basic]:
    """The indices in an entry of an access: sizes are at least one, indices may be zero."""
    return [symbol for symbol in entry.free_symbols if not symbol.is_positive]


def _signed(node: LinearCombination, w: Writer) -> list[str]:
    """The terms with their signs, those of a sum within the sum where it needs no parentheses."""
    terms: list[str] = []
    for weight, term in node.terms:
        sign = "-" if weight.could_extract_minus_sign() else "+"
        if weight == 1 and isinstance(term, LinearCombination) and _opens(term, w):
            terms += _signed(term, w)
        else:
            terms.append(f"{sign} {w.notation.times(w, weight if sign == '+' else -weight, term)}")
    return terms


def _opens(term: LinearCombination, w: Writer) -> bool:
    """A sum without a name, which needs no parentheses before or after a plus."""
    return term not in w.names and bool(term.terms)


class _Formula(Reading[Written]):
    """A node as a formula, its parts as the writer writes them."""

    def __init__(self, w: Writer) -> None:
        self.w = w

    def variable(self, node: Variable) -> Written:
        return self.w.notation.variable(node), ATOM

    def constant(self, node: Constant) -> Written:
        return self.w.notation.constant(self.w, node)

    def linear_combination(self, node: LinearCombination) -> Written:
        if not node.terms:
            return "0", ATOM
        text = " ".join(self.w.terms(node))
        return text, (SUM if len(node.terms) > 1 or text.startswith("-") else PRODUCT)

    def elementwise(self, node: Elementwise) -> Written:
        w = self.w
        psi, z, to = node.operation, node.arguments, w.notation
        plain = arithmetic(node)
        plain = as_share(node, shipped.reciprocal) if plain is None else plain
        if plain is not None:
            return w.written(plain)
        x = norm_of(node, w.family) if z[0] not in w.names else None
        written = to.norm(w, x) if x is not None else None
        return written or to.monomial(w, node) or to.applied(w, psi, z)

    def tuple_(self, node: Tuple) -> Written:
        return self.w.notation.tuple_(self.w, node.components)

    def projection(self, node: Projection) -> Written:
        return self.w.notation.component(self.w, node.operand, node.position)

    def held(self, node: Held | Potential) -> Written:
        return self.w.notation.same(self.w, node.operand)

    potential = held

    def argmax(self, node: Argmax) -> Written:
        return self.w.notation.argmax(self.w, node)

    def jet(self, node: Jet) -> Written:
        return self.w.notation.jet(self.w, node)

    def contraction(self, node: Contraction) -> Written:
        w = self.w
        found, to = pattern(node, w.family), w.notation
        written = found and getattr(to, found.name)(w, *found.arguments)
        written = written or to.multilinear(w, node)
        batch_sum = any(node.form.extent(i) == w.family for i in node.summed)
        return to.family_sum(w, written) if batch_sum else written

    def running_sum(self, node: RunningSum) -> Written:
        return self.w.notation.running_sum(self.w, node)
