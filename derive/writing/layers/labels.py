"""The names of a layer's maps on the left of an equation: D f, nabla_W f, (v _| D^2 f)*."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ...language.expressions import Node, Tuple, Variable
from ...models.layers import Layer
from ...models.programs import result_letter
from ..typesetting.letters import symbol, word
from ..typesetting.typography import HOOK


@dataclass(frozen=True)
class Labels:
    """The names of a layer's maps, in the notation of the thesis, without the point.

    name      of the function, if it is not f
    letters   how names look in the document
    """

    layer: Layer
    name: str = ""
    letters: Callable[[str], str] = symbol

    @property
    def f(self) -> str:
        """The given name; else f, or the layer's own name if something else is called f."""
        taken = self.layer.words | {result_letter(self.layer)}
        return self.name or ("f" if "f" not in taken else word(self.layer.name))

    @property
    def value(self) -> str:
        """f(x; W, b)."""
        theta = {x.name for x in self.layer.theta}
        names = [a.name for a in self.layer.arguments]
        left = ", ".join(self.letters(x) for x in names if x not in theta)
        right = ", ".join(self.letters(x) for x in names if x in theta)
        return f"{self.f}({'; '.join(side for side in (left, right) if side)})"

    def of(self, node: Node) -> str:
        """v, or (v_0, v_1)."""
        if isinstance(node, Tuple):
            return f"({', '.join(map(self.of, node.components))})"
        return self.letters(node.name) if isinstance(node, Variable) else "1"

    def by(self, x: str, power: str = "", star: str = "") -> str:
        """D or nabla by an argument; with a single state, D has no index."""
        raised = f"^{{{star}{power}}}" if star or power else ""
        if x not in {s.name for s in self.layer.state}:
            return rf"\nabla{raised}_{{{self.letters(x)}}}"
        return f"D{raised}" + (f"_{{{self.letters(x)}}}" if len(self.layer.state) > 1 else "")

    def derivative(self, x: str, v: Node) -> str:
        """D f . v"""
        return rf"{self.by(x)} {self.f}\cdot {self.of(v)}"

    def adjoint(self, x: str, w: Node) -> str:
        """D* f . w; with w = 1 the gradient of a number, nabla f (thesis remark 3.2.3)."""
        if self.of(w) == "1":
            return rf"\nabla_{{{self.letters(x)}}} {self.f}"
        return rf"{self.by(x, star='*')} {self.f}\cdot {self.of(w)}"

    def second(self, left: str, right: str, e: Node, w: Node) -> str:
        """(e _| D D f)* . w, e along the left argument."""
        hooked = f"({self.of(e)} {HOOK} {self.second_map(left, right)})"
        return rf"{hooked}^{{*}}\cdot {self.of(w)}"

    def second_map(self, left: str, right: str) -> str:
        """D D f"""
        both = self.by(left, "2") if left == right else f"{self.by(left)} {self.by(right)}"
        return f"{both} {self.f}"
