r"""Products of numbers as one fraction: (a/b) (c/b^2) is a c / b^3, without cancellation."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import sympy

from ...language.expressions import Elementwise, Node, elementwise
from ...language.notation import ANY, ATOM, PRODUCT, TIGHT, Writes
from ...language.patterns import pattern
from ...language.scalars import shipped
from .powers import monomial
from .typography import juxtaposed, numerator_denominator, raised, value

NUMBERS = frozenset({ATOM, PRODUCT})


@dataclass
class Ratio:
    """A number, powers of factors above and below the line."""

    number: sympy.Expr = sympy.S.One
    above: dict[Node, sympy.Expr] = field(default_factory=dict)
    below: dict[Node, sympy.Expr] = field(default_factory=dict)

    @property
    def is_product(self) -> bool:
        """Whether it is several factors side by side."""
        return not self.below and len(self.above) + (self.number != 1) > 1

    def text(self, w: Writes, name: Callable[[str], str]) -> str:
        """The fraction, or the product if nothing is below the line."""
        over, under = (value(x, name) for x in numerator_denominator(self.number))
        above = self._above(w, over)
        if not self.below and under == "1":
            return above
        alone = len(self.below) == 1 and self.number.is_Integer
        powers = [_power(w, x, p, alone) for x, p in self.below.items()]
        below = _product([*([under] if under != "1" else []), *powers])
        return rf"\frac{{{above}}}{{{below}}}".replace(r"\bigg", r"\big")  # set smaller

    def _above(self, w: Writes, number: str) -> str:
        alone = len(self.above) == 1 and number == "1" and bool(self.below)
        factors = [_power(w, x, p, alone) for x, p in self.above.items()]
        return _product([*([number] if number != "1" or not factors else []), *factors])


def _power(w: Writes, x: Node, p: sympy.Expr, alone: bool) -> str:
    """x^p as the only factor, or as one among others."""
    return raised(w(x, TIGHT), str(p)) if p != 1 else w(x, ANY if alone else NUMBERS)


def ratio(w: Writes, nodes: Iterable[Node], number: sympy.Expr = sympy.S.One) -> Ratio:
    """The product of the number and scalar expressions; a named expression is one factor."""
    whole = Ratio(number)
    for node in nodes:
        _multiply(w, whole, node, sympy.S.One)
    return whole


def _multiply(w: Writes, whole: Ratio, node: Node, power: sympy.Expr) -> None:
    """Multiply by node^power, whole powers of products and quotients factor by factor."""
    for factor, p in _powers(w, node, power):
        if factor is not node:
            _multiply(w, whole, factor, p)
        elif p < 0:
            whole.below[node] = whole.below.get(node, 0) - p
        else:
            x, q = (node, p) if p.is_Integer else (elementwise(shipped.power(p), node), 1)
            whole.above[x] = whole.above.get(x, sympy.S.Zero) + q


def _powers(w: Writes, node: Node, power: sympy.Expr) -> list[tuple[Node, sympy.Expr]]:
    """The factors of node^power with their exponents; the node itself if it is one factor."""
    product = None if node in w.names else pattern(node, w.family)
    if product is not None and product.name == "scalars" and power.is_Integer:
        return [(factor, power) for factor in product.arguments]
    plain = isinstance(node, Elementwise) and node not in w.names and not any(node.operation.orders)
    found = monomial(node.operation) if plain and isinstance(node, Elementwise) else None
    if found is None or not power.is_Integer:
        return [(node, power)]
    if (power < 0 or min(found[1]) > 0) and not all(p.is_Integer for p in found[1]):
        return [(node, power)]
    return [(x, p * power) for x, p in zip(node.operands, found[1], strict=True)]


def _product(factors: list[str]) -> str:
    shown = factors[0]
    for factor in factors[1:]:
        shown = juxtaposed(shown, factor)
    return shown
