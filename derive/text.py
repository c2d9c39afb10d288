"""Formulas in plain text, as a person writes them: W x + b, tanh'(z) (.) v, u x^T, <u, v>.

An expression with a name is shown by it; a family's index (the batch) is not shown, only a sum over
it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import singledispatch

import sympy

from .elementwise.operations import Operation
from .expressions import (
    Argmax,
    Constant,
    Contraction,
    Elementwise,
    Held,
    Jet,
    LinearCombination,
    Node,
    Projection,
    Tuple,
    Variable,
)
from .forms import Access

SUM, QUOTIENT, PRODUCT, ATOM = 0, 1, 2, 3  # how tightly a text binds


class Writer:
    """Writes expressions, each named one by its name; `family` is the extent of the hidden axis."""

    def __init__(self, names: Mapping[Node, str], family: sympy.Symbol | None = None) -> None:
        self.names, self.family = names, family

    def formula(self, node: Node) -> str:
        """The expression itself, its parts by name."""
        return _write(node, self)[0]

    def __call__(self, node: Node, level: int = SUM) -> str:
        """The expression by name or in parentheses where the place asks for it."""
        if node in self.names:
            return self.names[node]
        text, binding = _write(node, self)
        return text if binding >= level else f"({text})"

    def shown(self, node: Contraction, access: Access) -> Access:
        """An access without the family's index."""
        hidden = {i for i, extent in node.form.extents if extent == self.family}
        return tuple(entry for entry in access if entry not in hidden)


def number(value: sympy.Expr) -> str:
    """A coefficient."""
    text = str(value)
    return f"({text})" if value.is_Add else text


def primed(psi: Operation) -> str:
    """psi, psi', psi''; a partial derivative of several arguments by its orders."""
    if len(psi.orders) == 1:
        return psi.base + "'" * psi.orders[0]
    return psi.base + "".join(f"_{k + 1}" * order for k, order in enumerate(psi.orders))


def spoken(node: Node, names: Mapping[Node, str], otherwise: str) -> str:
    """An identifier for an expression: its name, or what it is made of, as in W_x or tanh_d1_z."""
    if node in names or isinstance(node, Variable):
        return names.get(node, getattr(node, "name", otherwise))
    parts = [names.get(x, getattr(x, "name", "")) for x in node.operands]
    head = [node.operation.name] if isinstance(node, Elementwise) else []
    if isinstance(node, Contraction) and len(node.filled) == 1 and node.summed:
        head = ["sum"]
    simple = isinstance(node, (Elementwise, Contraction)) and all(parts) and len(parts) <= 2
    return "_".join([*head, *parts]) if simple else otherwise


@singledispatch
def _write(node: Node, w: Writer) -> tuple[str, int]:
    raise TypeError(f"{type(node).__name__} is no expression")


@_write.register
def _(node: Variable, w: Writer) -> tuple[str, int]:
    return node.name, ATOM


@_write.register
def _(node: Constant, w: Writer) -> tuple[str, int]:
    return (str(node.value), ATOM) if not node.value.is_Add else (str(node.value), SUM)


@_write.register
def _(node: LinearCombination, w: Writer) -> tuple[str, int]:
    if not node.terms:
        return "0", ATOM
    text = ""
    for weight, term in node.terms:
        sign = "-" if weight.could_extract_minus_sign() else "+"
        size = -weight if sign == "-" else weight
        bare = size == 1 and sign == "+" and _opens(term, first=not text)
        text += f" {sign} {w(term) if bare else _times(size, term, w)}"
    text = text[3:] if text.startswith(" + ") else "-" + text[3:]
    return text, (SUM if len(node.terms) > 1 or text.startswith("-") else PRODUCT)


def _opens(term: Node, first: bool) -> bool:
    """A sum that needs no parentheses behind a plus, or in front."""
    if not isinstance(term, LinearCombination) or len(term.terms) < 2:
        return False
    return first or not term.terms[0][0].could_extract_minus_sign()


def _times(size: sympy.Expr, term: Node, w: Writer) -> str:
    if isinstance(term, Constant) and term.value == 1:
        return number(size)
    return w(term, QUOTIENT) if size == 1 else f"{number(size)} {w(term, PRODUCT)}"


@_write.register
def _(node: Elementwise, w: Writer) -> tuple[str, int]:
    psi, z = node.operation, node.arguments
    plain = not any(psi.orders)
    if plain and psi.base == "quotient":
        return f"{w(z[0], ATOM)} / {w(z[1], ATOM)}", QUOTIENT
    if plain and psi.base == "reciprocal":
        return f"1 / {w(z[0], ATOM)}", QUOTIENT
    if plain and psi.base.startswith("power_"):
        exponent = psi.body.as_base_exp()[1]
        shown = exponent if exponent.is_Integer and exponent > 0 else f"({exponent})"
        return f"{w(z[0], ATOM)}^{shown}", ATOM
    return f"{primed(psi)}({', '.join(w(argument) for argument in z)})", ATOM


@_write.register
def _(node: Tuple, w: Writer) -> tuple[str, int]:
    return f"({', '.join(w(part) for part in node.components)})", ATOM


@_write.register
def _(node: Projection, w: Writer) -> tuple[str, int]:
    return f"{w(node.operand, ATOM)}[{node.position}]", ATOM


@_write.register
def _(node: Held, w: Writer) -> tuple[str, int]:
    return w(node.operand, ATOM), ATOM


@_write.register
def _(node: Argmax, w: Writer) -> tuple[str, int]:
    return f"argmax({w(node.operand)})", ATOM


@_write.register
def _(node: Jet, w: Writer) -> tuple[str, int]:
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
    return f"{hooked}* . {w(node.cotangent, ATOM)}", PRODUCT


@_write.register
def _(node: Contraction, w: Writer) -> tuple[str, int]:
    batch_sum = [i for i in node.summed if node.form.extent(i) == w.family]
    accesses = [w.shown(node, node.access(k)) for k in range(len(node.filled))]
    output = w.shown(node, node.output)
    text, binding = _pattern(node, accesses, output, w)
    return (f"sum_s {text}", PRODUCT) if batch_sum else (text, binding)


def _pattern(
    node: Contraction, accesses: list[Access], output: Access, w: Writer
) -> tuple[str, int]:
    """The contraction in the notation of linear algebra, else with its indices."""
    if not node.selectors and len(node.filled) == 2:
        text = _pair(node.filled, accesses, output, w)
        if text is not None:
            return text
    if not node.selectors and len(node.filled) == 1:
        text = _single(node.filled[0], accesses[0], output, w)
        if text is not None:
            return text
    if _is_largest(node):
        return f"max({w(node.filled[0])})", ATOM
    bound = tuple(index for index, _ in node.form.bound)
    if len(bound) == len(node.filled) == 1 and output == bound and not accesses[0]:
        unit = f"e_{w(node.selectors[0], ATOM)}"
        one = isinstance(node.filled[0], Constant) and node.filled[0].value == 1
        return (unit, ATOM) if one else (f"{w(node.filled[0], PRODUCT)} {unit}", PRODUCT)
    return _indexed(node, accesses, output, w)


def _pair(
    filled: tuple[Node, ...], accesses: list[Access], output: Access, w: Writer
) -> tuple[str, int] | None:
    (left, right), (a, b) = filled, accesses
    if a == b == output == ():
        return f"{w(left, PRODUCT)} {w(right, ATOM)}", PRODUCT
    if a == b == output:
        return f"{w(left, PRODUCT)} (.) {w(right, PRODUCT)}", PRODUCT
    if a == b and not output:
        return f"<{w(left)}, {w(right)}>", ATOM
    if not a and b == output:
        return f"{w(left, PRODUCT)} {w(right, ATOM)}", PRODUCT
    if not b and a == output:
        return f"{w(right, PRODUCT)} {w(left, ATOM)}", PRODUCT
    for (first, p), (second, q) in (((left, a), (right, b)), ((right, b), (left, a))):
        matrix = len(p) == len(output) + len(q)
        if matrix and p == (*output, *q):
            return f"{w(first, ATOM)} {w(second, ATOM)}", PRODUCT
        if matrix and p == (*q, *output):
            return f"{w(first, ATOM)}^T {w(second, ATOM)}", PRODUCT
        if output == (*p, *q) and not set(p) & set(q):
            return f"{w(first, ATOM)} {w(second, ATOM)}^T", PRODUCT
    return None


def _single(x: Node, access: Access, output: Access, w: Writer) -> tuple[str, int] | None:
    if access == output:
        return w(x, ATOM), ATOM
    if not output and len(set(access)) == len(access) and access and not _numbers(access):
        return f"<1, {w(x)}>", ATOM
    if not access and output:
        return f"{w(x, PRODUCT)} 1", PRODUCT
    if access == output[::-1] and len(access) == 2:
        return f"{w(x, ATOM)}^T", ATOM
    if access and access[0].is_number and access[1:] == output:
        return f"{w(x, ATOM)}[{access[0]}]", ATOM
    if output and output[0].is_number and output[1:] == access:
        return f"e_{output[0]} (x) {w(x, ATOM)}", PRODUCT
    return None


def _is_largest(node: Contraction) -> bool:
    """The entry of x at argmax(x)."""
    picks = [x for x in node.selectors if isinstance(x, Argmax)]
    return not node.output and [x.operand for x in picks] == list(node.filled)


def _numbers(access: Access) -> bool:
    return any(entry.is_number for entry in access)


def _indexed(
    node: Contraction, accesses: list[Access], output: Access, w: Writer
) -> tuple[str, int]:
    """sum_{..} A[..] x[..] -> [..], a bound index shown as what it is read from."""
    bound = {
        index: sympy.Symbol(w(selector, ATOM))
        for (index, _), selector in zip(node.form.bound, node.selectors, strict=True)
    }
    renamed = {i: bound.get(i, sympy.Symbol(letter)) for i, letter in _letters(node)}
    reads = [
        w(x, ATOM) + _brackets(access, renamed)
        for x, access in zip(node.filled, accesses, strict=True)
    ]
    summed = [str(renamed[i]) for i in node.summed if node.form.extent(i) != w.family]
    prefix = f"sum_{{{','.join(summed)}}} " if summed else ""
    target = f" -> {_brackets(output, renamed)}" if output else ""
    atom = not prefix and not target and len(reads) == 1
    return f"{prefix}{' '.join(reads)}{target}", ATOM if atom else SUM if target else PRODUCT


def _letters(node: Contraction) -> list[tuple[sympy.Symbol, str]]:
    return [
        (index, "ijklpqrst"[position % 9]) for position, (index, _) in enumerate(node.form.extents)
    ]


def _brackets(access: Access, renamed: Mapping[sympy.Symbol, sympy.Symbol]) -> str:
    return f"[{', '.join(str(entry.xreplace(renamed)) for entry in access)}]" if access else ""
