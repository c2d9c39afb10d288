"""What the maps of a layer are called on the left of an equation: D f, nabla_W f, (v _| D^2 f)*."""

from __future__ import annotations

from dataclasses import dataclass

from ..layers import Layer
from .letters import symbol, word
from .typography import HOOK


@dataclass(frozen=True)
class Labels:
    """The names of a layer's maps at a point that is not written, in the thesis's notation."""

    layer: Layer
    name: str = ""

    @property
    def f(self) -> str:
        """The name that is given; else f, or the layer's own where something else is called f."""
        if self.name:
            return self.name
        taken = {a.name for a in self.layer.arguments} | set(self.layer.names.values())
        return "f" if "f" not in taken else word(self.layer.name)

    @property
    def value(self) -> str:
        """f(x; W, b)."""
        parameters = {x.name for x in self.layer.parameters}
        names = [a.name for a in self.layer.arguments]
        left = ", ".join(symbol(x) for x in names if x not in parameters)
        right = ", ".join(symbol(x) for x in names if x in parameters)
        return f"{self.f}({left}; {right})" if right else f"{self.f}({left})"

    def by(self, x: str, power: str = "", star: str = "") -> str:
        """D or nabla by an argument; with one state only, D needs no index."""
        raised = f"^{{{star}{power}}}" if star or power else ""
        if x not in {s.name for s in self.layer.state}:
            return rf"\nabla{raised}_{{{symbol(x)}}}"
        return f"D{raised}" + (f"_{{{symbol(x)}}}" if len(self.layer.state) > 1 else "")

    def derivative(self, x: str, v: str) -> str:
        """D f . v"""
        return rf"{self.by(x)} {self.f}\cdot {v}"

    def adjoint(self, x: str, w: str) -> str:
        """D* f . w; with w = 1 the gradient of a number, nabla f (thesis remark 3.2.3)."""
        if w == "1":
            return rf"\nabla_{{{symbol(x)}}} {self.f}"
        return rf"{self.by(x, star='*')} {self.f}\cdot {w}"

    def second(self, left: str, right: str, e: str, w: str) -> str:
        """(e _| D D f)* . w, e along the left argument."""
        return rf"({e} {HOOK} {self.second_map(left, right)})^{{*}}\cdot {w}"

    def second_map(self, left: str, right: str) -> str:
        """D D f"""
        both = self.by(left, "2") if left == right else f"{self.by(left)} {self.by(right)}"
        return f"{both} {self.f}"
