"""Blocks of a derivation as LaTeX: equations aligned, broken at + where they are wide, reasons right.

Widths are estimates in points at 10 pt (`lines.width`); a page is set so that what is estimated to
fit does fit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..expressions import Node
from ..text import Writer
from .claims import Equation, Side
from .lines import width

TEXT = 470.0  # of a line on the page
REASON = 120.0  # of the column of reasons
GAP = 30.0  # between columns, and the relation sign
INDENT = 20.0  # of a line that goes on
LINES = 2  # an optional equation has at most these


@dataclass(frozen=True)
class Row:
    """One line of a display."""

    left: str
    right: str
    reason: str


class Typesetter:
    """Sets equations with the names of one writer."""

    def __init__(self, writer: Writer) -> None:
        self.writer = writer

    def shown(self, side: Side) -> str:
        """A side in one line."""
        return " ".join(self.pieces(side))

    def pieces(self, side: Side) -> list[str]:
        """A side in pieces; a line may be broken between two."""
        if isinstance(side.shown, str):
            return [side.shown]
        if isinstance(side.shown, Node):
            return self.writer.terms(side.shown)
        signs = ["", *(len(side.shown) - 1) * ["+ "]]
        pairs = zip(signs, side.shown, strict=True)
        return [piece for sign, (u, e) in pairs for piece in self._pair(sign, u, e)]

    def _pair(self, sign: str, u: Node, e: Node) -> list[str]:
        """<u, e>, which may be broken within e where it is wide."""
        whole = rf"{sign}\langle {self.writer(u)}, {self.writer(e)}\rangle"
        if width(whole) < TEXT / 3:
            return [whole]
        first, *rest = self.writer.terms(e)
        left, opened = self.writer.terms(u), rf"{sign}\langle "
        head = [f"{opened}{left[0]}", *left[1:]] if len(left) > 1 else [f"{opened}{left[0]}"]
        return (
            [*head[:-1], f"{head[-1]}, {first}", *rest[:-1], f"{rest[-1]}\\rangle"]
            if rest
            else [
                *head[:-1],
                rf"{head[-1]}, {first}\rangle",
            ]
        )

    def rows(self, equations: Sequence[Equation]) -> list[Row]:
        """The lines of a display; one left side is printed once."""
        column = max((width(self.shown(e.left)) for e in equations), default=0.0)
        found: list[Row] = []
        last: Side | None = None
        for equation in equations:
            broken = self._broken(equation, TEXT - column - GAP)
            if broken is None:
                continue
            left = "" if last == equation.left else self.shown(equation.left)
            last = equation.left
            found += [
                Row(left, rf"= {broken[0]}", ""),
                *(Row("", rf"\quad {x}", "") for x in broken[1:]),
            ]
            found[-1] = Row(found[-1].left, found[-1].right, equation.reason)
        return found

    def _broken(self, equation: Equation, available: float) -> list[str] | None:
        """The right side in lines, room left for the reason; None for an optional one too wide."""
        reason = REASON + GAP if equation.reason else 0.0
        pieces = self.pieces(equation.right)
        lines = list(filled(pieces, available, available - reason))
        too_wide = any(width(line) > available for line in lines)
        return None if equation.optional and (too_wide or len(lines) > LINES) else lines


def filled(pieces: Sequence[str], available: float, last: float) -> Iterator[str]:
    """Pieces put together in lines; the last line is the shorter one."""
    line: list[str] = []
    for position, piece in enumerate(pieces):
        limit = last if position == len(pieces) - 1 else available
        if line and width(" ".join([*line, piece])) > limit - INDENT:
            yield " ".join(line)
            line = []
        line.append(piece)
    if line:
        yield " ".join(line)
