"""Formulas in plain text, the notation of reports and of comments in kernels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import sympy

from .expressions import Argmax, Constant, Contraction, Elementwise, Jet, Node, RunningSum
from .forms import Access
from .notation import (
    ATOM,
    PRODUCT,
    PRODUCTS,
    QUOTIENT,
    QUOTIENTS,
    SUM,
    TIGHT,
    Notation,
    Writes,
    Written,
)
from .patterns import shown
from .scalars import shipped
from .scalars.operations import Operation
from .scalars.scalars import decimal
from .spaces import Real


def primed(psi: Operation) -> str:
    """psi, psi', psi''; a partial derivative of several arguments by its orders."""
    differs_at_zero = (psi.declared or psi) == shipped.root  # where it differs from sqrt
    name = shipped.sqrt.name if differs_at_zero else psi.base
    if len(psi.orders) == 1:
        return name + "'" * psi.orders[0]
    return name + "".join(f"_{k + 1}" * order for k, order in enumerate(psi.orders))


def number(value: sympy.Expr) -> str:
    """A coefficient."""
    return f"({exact(value)})" if value.is_Add else exact(value)


def exact(value: sympy.Expr) -> str:
    """A number or an expression in sizes; what a float was is shown as its decimal."""
    coefficient, rest = value.as_coeff_Mul()
    found = decimal(coefficient)
    if found is None:
        return str(value)
    digits, exponent = found
    shown = f"{digits}e{exponent}" if exponent else digits
    above, below = rest.as_numer_denom()
    times = "" if above == 1 else f"*{number(above)}"
    over = "" if below == 1 else f"/{below}" if below.is_Symbol else f"/({below})"
    return shown + times + over


class Plain(Notation):
    """Plain text: W x + b, tanh'(z) (.) v, u x^T, <u, v>; all else with its indices."""

    def constant(self, w: Writes, node: Constant) -> Written:
        return exact(node.value), SUM if node.value.is_Add else ATOM

    def times(self, w: Writes, size: sympy.Expr, term: Node) -> str:
        if isinstance(term, Constant) and term.value == 1:
            return number(size)
        return w(term, QUOTIENTS) if size == 1 else f"{number(size)} {w(term, PRODUCTS)}"

    def applied(self, w: Writes, psi: Operation, arguments: Sequence[Node]) -> Written:
        return f"{primed(psi)}({', '.join(w(argument) for argument in arguments)})", ATOM

    def monomial(self, w: Writes, node: Elementwise) -> Written | None:
        psi, (first, *rest) = node.operation, node.arguments
        if psi == shipped.quotient:
            return f"{w(first, TIGHT)} / {w(rest[0], TIGHT)}", QUOTIENT
        if psi in (shipped.reciprocal, shipped.share):
            return f"1 / {w(first, TIGHT)}", QUOTIENT
        if shipped.is_power(psi):
            exponent = psi.body.as_base_exp()[1]
            shown = exponent if exponent.is_Integer and exponent > 0 else f"({exponent})"
            return f"{w(first, TIGHT)}^{shown}", ATOM
        return None

    def component(self, w: Writes, x: Node, position: int) -> Written:
        return f"{w(x, TIGHT)}[{position}]", ATOM

    def scalars(self, w: Writes, left: Node, right: Node) -> Written:
        return f"{w(left, PRODUCTS)} {w(right, TIGHT)}", PRODUCT

    def hadamard(self, w: Writes, left: Node, right: Node) -> Written:
        return f"{w(left, PRODUCTS)} (.) {w(right, PRODUCTS)}", PRODUCT

    def inner(self, w: Writes, left: Node, right: Node) -> Written:
        return f"<{w(left)}, {w(right)}>", ATOM

    def scaled(self, w: Writes, number: Node, x: Node) -> Written:
        return self.scalars(w, number, x)

    def image(self, w: Writes, linear: Node, x: Node) -> Written:
        return f"{w(linear, TIGHT)} {w(x, TIGHT)}", PRODUCT

    def transposed_image(self, w: Writes, linear: Node, x: Node) -> Written:
        return f"{w(linear, TIGHT)}^T {w(x, TIGHT)}", PRODUCT

    def outer(self, w: Writes, u: Node, x: Node) -> Written:
        return f"{w(u, TIGHT)} {w(x, TIGHT)}^T", PRODUCT

    def total(self, w: Writes, x: Node) -> Written:
        return f"<1, {w(x)}>", ATOM

    def constantly(self, w: Writes, number: Node) -> Written:
        return f"{w(number, PRODUCTS)} 1", PRODUCT

    def transposed(self, w: Writes, x: Node) -> Written:
        return f"{w(x, TIGHT)}^T", ATOM

    def slice_(self, w: Writes, x: Node, position: sympy.Expr) -> Written:
        return f"{w(x, TIGHT)}[{position}]", ATOM

    def embedded(self, w: Writes, x: Node, position: sympy.Expr) -> Written:
        return f"e_{position} (x) {w(x, TIGHT)}", PRODUCT

    def largest(self, w: Writes, x: Node) -> Written | None:
        lifted = isinstance(x.space, Real) and x.space.rank > 1
        return None if lifted else (f"max({w(x)})", ATOM)  # a family's are shown as they are read

    def unit(self, w: Writes, number: Node | None, k: Node) -> Written:
        unit = f"e_{w(k, TIGHT)}"
        return (unit, ATOM) if number is None else (f"{w(number, PRODUCTS)} {unit}", PRODUCT)

    def argmax(self, w: Writes, node: Argmax) -> Written:
        number = node.position + 1 if len(node.summed) > 1 else ""
        return f"argmax{number}({w(node.operand)})", ATOM

    def running_sum(self, w: Writes, node: RunningSum) -> Written:
        return f"cumsum({w(node.operand)}{', reverse' if node.reverse else ''})", ATOM

    def multilinear(self, w: Writes, node: Contraction) -> Written:
        bound = {
            index: sympy.Symbol(w(selector, TIGHT))
            for (index, _), selector in zip(node.form.bound, node.selectors, strict=True)
        }
        letters = w.letters(node)
        renamed = {i: sympy.Symbol(letter) for i, letter in letters.items()} | bound
        reads = [
            w(x, TIGHT) + _brackets(shown(node, node.access(k), w.family), renamed)
            for k, x in enumerate(node.filled)
        ]
        unseen = {i for i in node.summed if node.form.extent(i) != w.family}
        summed = [letter for i, letter in letters.items() if i in unseen]
        prefix = f"sum_{{{','.join(summed)}}} " if summed else ""
        output = _brackets(shown(node, node.output, w.family), renamed)
        target = f" -> {output}" if output else ""
        atom = not prefix and not target and len(reads) == 1
        return f"{prefix}{' '.join(reads)}{target}", ATOM if atom else SUM if target else PRODUCT

    def jet(self, w: Writes, node: Jet) -> Written:
        slots = [slot for slot, _ in node.directions]
        slots += [] if node.opened is None else [node.opened]
        power = "" if len(slots) == 1 else f"^{len(slots)}"
        by = f"_({', '.join(str(k + 1) for k in slots)})" if len(node.arguments) > 1 else ""
        head = f"D{power}{by} {node.function}" if slots else node.function
        at = f"{head}({', '.join(w(x) for x in node.arguments)})"
        given = ", ".join(w(v) for _, v in node.directions)
        if node.cotangent is None:
            return (f"{at} . ({given})", PRODUCT) if given else (at, ATOM)
        hooked = f"(({given}) _| {at})" if given else at
        return f"{hooked}* . {w(node.cotangent, TIGHT)}", PRODUCT


def _brackets(access: Access, renamed: Mapping[sympy.Symbol, sympy.Symbol]) -> str:
    entries = (renamed.get(e, e).name if e.is_Symbol else str(e.xreplace(renamed)) for e in access)
    return f"[{', '.join(entries)}]" if access else ""


TEXT = Plain()
