"""The sentences about RTRL: what the influence is, and how its arrays are stored."""

from __future__ import annotations

from collections.abc import Sequence

from ...recurrence.ties import Key
from ..typesetting.domains import space_latex
from ..typesetting.letters import below
from .online_names import OnlineNames

TIED = (
    "The recursion keeps the axes that a parameter has in common with the state tied, since the "
    "blocks of $Df$ between them are diagonal: entries off this diagonal remain zero, and the axis "
    "is stored once: "
)


class OnlineWords:
    """The sentences around the blocks of a cell."""

    def __init__(self, names: OnlineNames) -> None:
        self.names, self.cell, self.one = names, names.cell, names.one
        self.J, self.h, self.i, self.letters = names.J, names.h, names.i, names.letters

    def introduction(self) -> str:
        """What J is, and how its arrays are read."""
        i, h = self.i, self.letters(self.cell.place.state.name)
        return (
            rf"The influence $J_{{{i}}}$ is the derivative of the state at time ${i}$ with respect "
            rf"to the parameters: $J_{{{i}}} = D {below(self.cell.f, i)}\,J_{{{i}-1}} + \nabla "
            rf"{below(self.cell.f, i)}$ (lemma 5.1.2, (5.11)), at ${below(h, f'{i}-1')}$, where "
            rf"$D {self.cell.f}$ is the derivative with respect to the state. The axes of such an "
            "array are those of the differentiated array, then those of the variable; "
            r"$(\operatorname{diag}(d) \otimes a)$ has the entries of $d$ times those of $a$ where "
            "its first two indices are equal, and zeros elsewhere."
        )

    def matrix(self) -> str:
        """D f as the matrix of its blocks."""
        rows = range(len(self.h))
        shown = [
            " & ".join(self.names.D(a, b) if (a, b) in self.one.D.terms else "0" for b in rows)
            for a in rows
        ]
        inside = r" \\ ".join(shown)
        whole = f"D {below(self.cell.f, self.i)}"
        matrix = rf"\begin{{pmatrix}} {inside} \end{{pmatrix}}"
        return f"In the components of the state, ${whole} = {matrix}$."

    def spaces(self) -> str:
        """Which arrays are stored in full, which with tied axes, and which are zero."""
        full = [key for key, s in self.J.items() if not s.tied]
        tied = [key for key, s in self.J.items() if s.tied]
        zeros = [key for key in self.every() if key not in self.J]
        looks = ", ".join(f"${self.names.J_look(key, self.i)}$" for key in zeros)
        kept = f"Stored in full: {self._listed(full)}." if full else ""
        said = [self._of_any() if self.names.is_general else kept]
        said += [f"{TIED}{self._listed(tied)}."] if tied else []
        said += [f"Zero at all times: {looks}."] if zeros else []
        return " ".join(said).strip()

    def _of_any(self) -> str:
        """The sentence that covers all parameters at once."""
        theta = self.names.theta
        looks = [f"J^{{{theta}}}_{{{self.names.component(a)}}}" for a in range(len(self.h))]
        shown = ", ".join(f"${below(look, self.i)}$" for look in looks)
        return (
            f"Stored in full for each of these parameters ${theta}$: {shown}, with the axes of the "
            "component and of the parameter."
        )

    def _listed(self, keys: Sequence[Key]) -> str:
        """The arrays, grouped by their spaces."""
        groups: dict[str, list[str]] = {}
        for key in keys:
            space = space_latex(self.J[key].variable.space, self.letters)
            groups.setdefault(space, []).append(self.names.J_look(key, self.i))
        return "; ".join(
            rf"{', '.join(f'${look}$' for look in looks)} $\in {space}$"
            for space, looks in groups.items()
        )

    def every(self) -> list[Key]:
        """All pairs of a component and a column."""
        return [(a, k) for k in range(len(self.one.columns)) for a in range(len(self.h))]
