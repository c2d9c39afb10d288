r"""Products of numbers as one fraction: (a/b) (c/b^2) is a c / b^3, and nothing is cancelled."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import sympy

from ..elementwise import shipped
from ..expressions import Elementwise, Node, elementwise
from ..notation import ANY, ATOM, PRODUCT, TIGHT, Writes
from ..patterns import pattern
from .powers import monomial
from .typography import juxtaposed, raised, value

NUMBERS = frozenset({ATOM, PRODUCT})


@dataclass
class Ratio:
    """A number, factors above and powers of factors below the line."""

    number: sympy.Expr = sympy.S.One
    above: list[Node] = field(default_factory=list)
    below: dict[Node, sympy.Expr] = field(default_factory=dict)

    def text(self, w: Writes, name: Callable[[str], str]) -> str:
        """The fraction, or the product where nothing is below the line."""
        over, under = (value(x, name) for x in self.number.as_numer_denom())
        above = self._above(w, over)
        if not self.below and under == "1":
            return above
        powers = [self._power(w, x, p) for x, p in self.below.items()]
        below = _product([*([under] if under != "1" else []), *powers])
        return rf"\frac{{{above}}}{{{below}}}".replace(r"\bigg", r"\big")  # it is set smaller

    def _above(self, w: Writes, number: str) -> str:
        alone = len(self.above) == 1 and number == "1" and bool(self.below)
        factors = [w(x, ANY if alone else NUMBERS) for x in self.above]
        return _product([*([number] if number != "1" or not factors else []), *factors])

    def _power(self, w: Writes, x: Node, p: sympy.Expr) -> str:
        if p != 1:
            return raised(w(x, TIGHT), str(p))
        return w(x, ANY if len(self.below) == 1 and self.number.is_Integer else NUMBERS)


def ratio(w: Writes, nodes: Iterable[Node], number: sympy.Expr = sympy.S.One) -> Ratio:
    """The product of the number and scalar expressions; what has a name is one factor."""
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
            whole.above.append(node if p == 1 else elementwise(shipped.power(p), node))


def _powers(w: Writes, node: Node, power: sympy.Expr) -> list[tuple[Node, sympy.Expr]]:
    """The factors of node^power with their exponents: the node itself where it is one factor."""
    product = None if node in w.names else pattern(node, w.family)
    if product is not None and product.name == "scalars" and power.is_Integer:
        return [(factor, power) for factor in product.arguments]
    plain = isinstance(node, Elementwise) and node not in w.names and not any(node.operation.orders)
    found = monomial(node.operation) if plain and isinstance(node, Elementwise) else None
    if found is None or not power.is_Integer or (power == 1 and min(found[1]) > 0):
        return [(node, power)]
    if power < 0 and not all(p.is_Integer for p in found[1]):
        return [(node, power)]
    return [(x, p * power) for x, p in zip(node.operands, found[1], strict=True)]


def _product(factors: list[str]) -> str:
    shown = factors[0]
    for factor in factors[1:]:
        shown = juxtaposed(shown, factor)
    return shown
