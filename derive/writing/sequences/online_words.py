"""What is said of RTRL in sentences: what the influence is, and how its arrays are stored."""

from __future__ import annotations

from collections.abc import Sequence

from ...recurrence.ties import Key
from ..typesetting.domains import space_latex
from ..typesetting.letters import below
from .online_names import OnlineNames

TIED = (
    "Under the recursion the axes that a parameter has in common with the state stay tied, since "
    "the blocks of $Df$ between them are diagonal: what is not on this diagonal is zero for ever, "
    "and the axis is stored once: "
)


class OnlineWords:
    """The sentences around the blocks of a cell."""

    def __init__(self, names: OnlineNames) -> None:
        self.names, self.cell, self.one = names, names.cell, names.one
        self.J, self.h, self.i, self.letters = names.J, names.h, names.i, names.letters

    def introduction(self) -> str:
        """What J is, and how arrays are to be read."""
        i, h = self.i, self.letters(self.cell.place.state.name)
        return (
            rf"$J_{{{i}}}$ is the derivative of the state at the time ${i}$ by the parameters, the "
            rf"influence: $J_{{{i}}} = D {below(self.cell.f, i)}\,J_{{{i}-1}} + \nabla "
            rf"{below(self.cell.f, i)}$ (lemma 5.1.2, (5.11)), at ${below(h, f'{i}-1')}$, where "
            rf"$D {self.cell.f}$ is the derivative by the state. An index "
            "stands for each axis of what is derived, then for those of what it is derived by; "
            r"$(\operatorname{diag}(d) \otimes a)$ has the entries of $d$ where its first two "
            "indices are equal, times those of $a$."
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
        return f"By the components of the state ${whole} = {matrix}$."

    def spaces(self) -> str:
        """What is stored, and what is not."""
        full = [key for key, s in self.J.items() if not s.tied]
        tied = [key for key, s in self.J.items() if s.tied]
        zeros = [key for key in self.every() if key not in self.J]
        looks = ", ".join(f"${self.names.J_look(key, self.i)}$" for key in zeros)
        kept = f"Kept in full: {self._listed(full)}." if full else ""
        said = [self._of_any() if self.names.is_general else kept]
        said += [f"{TIED}{self._listed(tied)}."] if tied else []
        said += [f"Zero at all times: {looks}."] if zeros else []
        return " ".join(said).strip()

    def _of_any(self) -> str:
        """That all parameters are treated alike."""
        theta = self.names.theta
        looks = [f"J^{{{theta}}}_{{{self.names.component(a)}}}" for a in range(len(self.h))]
        shown = ", ".join(f"${below(look, self.i)}$" for look in looks)
        return (
            f"Kept in full for each of these parameters ${theta}$: {shown}, with the axes of the "
            "component and of the parameter."
        )

    def _listed(self, keys: Sequence[Key]) -> str:
        """What is in one space together."""
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
