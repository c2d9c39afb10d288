"""Blocks as LaTeX: equations aligned, wide ones broken at +, reasons on the right.

Widths are estimates in points at 10 pt (`lines.width`) of the page that the template declares.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import singledispatchmethod
from itertools import pairwise

from ...language.abbreviations import abbreviated
from ...language.expressions import Node
from ...language.text import Writer
from ..layers.algorithm import LONGEST, Assignment
from ..layers.blocks import Algorithm, Asserted, Display, Heading, Prose, Verbatim
from ..layers.claims import Equation, Shown, Side, Sums, in_names
from ..typesetting.lines import broken, width
from ..typesetting.typography import enclosed, parenthesised
from ..typesetting.writer import at_time

TEXT = 483.0  # of a line on the page
REASON = 122.0  # of the column of reasons
SIGN = 14.0  # the sign = with the space around it
GAP = 20.0  # between the columns
MARGIN = 22.0  # at the left of a display
INDENT = 20.0  # of a continued line
LINES = 2  # an optional equation is printed only if it has no more lines


@dataclass(frozen=True)
class Row:
    """One line of a display: left side, sign and right side, reason."""

    left: str
    right: str
    reason: str


class Typesetter:
    """Typesets blocks with the names of one writer; new names for parts avoid those `taken`."""

    def __init__(self, writer: Writer, taken: Collection[str] = ()) -> None:
        self.writer, self._taken = writer, set(taken)

    @singledispatchmethod
    def block(self, block: object) -> dict[str, object]:
        """A block in the form that the template takes."""
        raise TypeError(f"{type(block).__name__} is not a block")

    @block.register
    def _(self, block: Heading) -> dict[str, object]:
        return {"kind": "Heading", "level": block.level, "text": block.text}

    @block.register
    def _(self, block: Prose) -> dict[str, object]:
        return {"kind": "Prose", "text": block.text}

    @block.register
    def _(self, block: Verbatim) -> dict[str, object]:
        return {"kind": "Verbatim", "text": block.text}

    @block.register
    def _(self, block: Asserted) -> dict[str, object]:
        return {"kind": "Asserted"}

    @block.register
    def _(self, block: Display) -> dict[str, object]:
        return {"kind": "Display", "rows": self.rows(block.equations)}

    @block.register
    def _(self, block: Algorithm) -> dict[str, object]:
        column = max((width(self.writer(line.target)) for line in block.lines), default=0.0)
        room = TEXT - MARGIN - column - 2 * SIGN
        rows = [row for line in block.lines for row in self._assigned(line, room)]
        return {"kind": "Algorithm", "name": block.name, "rows": rows, "cost": block.cost}

    # --- equations

    def rows(self, equations: Sequence[Equation]) -> list[Row]:
        """The lines of a display; a repeated left side is printed once."""
        column = max((width(self.shown(e.left)) for e in equations), default=0.0)
        available = TEXT - MARGIN - column - SIGN
        available -= REASON + GAP if any(e.reason for e in equations) else 0.0
        found: list[Row] = []
        waiting: list[Equation] = []  # printed after the last equation of one left side
        last: Side | None = None
        for whole in equations:
            if whole.left != last:
                found += self._rest(waiting)
            equation, parts = self._in_parts(whole)
            waiting += parts
            lines = self._lines(equation, available)
            if lines and last == equation.left and not equation.reason:
                joined = f"{found[-1].right} = {lines[0]}"
                fits = len(lines) == 1 and width(joined) <= available
                found += [] if fits else _rows("", "=", lines, "")
                found[-1] = replace(found[-1], right=joined) if fits else found[-1]
            elif lines:
                left = "" if last == equation.left else self.shown(equation.left)
                found += _rows(left, "=", lines, equation.reason)
            last = equation.left if lines else last
        return [*found, *self._rest(waiting)]

    def _rest(self, parts: list[Equation]) -> list[Row]:
        """The rows of the parts that wait, which are then cleared."""
        rows = self.rows(tuple(parts)) if parts else []
        parts.clear()
        return rows

    def _in_parts(self, equation: Equation) -> tuple[Equation, list[Equation]]:
        """An equation that must be printed, after those of parts named because it is too deep."""
        right = equation.right
        if equation.optional or right.otherwise is not None:
            return equation, []
        roots = _formulas(right.shown)
        names = abbreviated(roots, {}, self._taken)
        self._taken.update(names.values())
        parts, short = in_names(roots, names)
        for part, name in zip(parts, names.values(), strict=True):
            for shown in _formulas(part.right.shown):
                at_time(self.writer, name, shown)
        return replace(equation, right=replace(right, shown=_with(right.shown, short))), parts

    def _lines(self, equation: Equation, room: float) -> list[str]:
        """The right side in lines; none if an optional equation is left out for its length."""
        right = equation.right
        lossy = equation.optional or right.otherwise is not None
        if lossy and isinstance(right.shown, Node) and _is_long(right.shown):
            return [] if right.otherwise is None else in_lines(self.pieces(right.otherwise), room)
        lines = in_lines(self.pieces(right.shown), room)
        short = len(lines) <= LINES and all(width(line) <= room for line in lines)
        if equation.right.otherwise is not None and not short:
            return in_lines(self.pieces(equation.right.otherwise), room)
        return [] if equation.optional and not short else lines

    def shown(self, side: Side) -> str:
        """A side in one line."""
        return " ".join(self.pieces(side.shown))

    def pieces(self, shown: Shown) -> list[str]:
        """A side in pieces between which a line may be broken."""
        if isinstance(shown, str):
            return [shown]
        if isinstance(shown, Node):
            return self.writer.terms(shown)
        if isinstance(shown, Sums):
            return list(self._summed(shown))
        signs = ["", *["+ "] * (len(shown) - 1)]
        pairs = zip(signs, shown, strict=True)
        return [piece for sign, (u, e) in pairs for piece in self._paired(sign, u, e)]

    def _summed(self, sums: Sums) -> Iterator[str]:
        """The parts, each after its sign; a sum of several terms in parentheses."""
        plus = ""
        for sign, node in sums.parts:
            terms = self.writer.terms(node)
            if not sign:
                yield from (f"{plus}{terms[0]}", *terms[1:])
            elif len(terms) == 1 and not terms[0].startswith("-"):
                yield f"{plus}{sign} {terms[0]}"
            else:
                yield f"{plus}{sign} {parenthesised(' '.join(terms))}"
            plus = "+ "

    def _paired(self, sign: str, u: Node, e: Node) -> list[str]:
        """<u, e>, in pieces if it is wide."""
        left, right = self.writer.terms(u), self.writer.terms(e)
        inside = rf"{' '.join(left)},\, {' '.join(right)}"
        whole = sign + enclosed(r"\langle", inside, r"\rangle")
        if width(whole) <= (TEXT - REASON) / 2:
            return [whole]
        opening, closing = enclosed(r"\langle", inside, r"\rangle").split(inside)
        pieces = _joined([*left[:-1], f"{left[-1]},", *right])
        pieces[0] = f"{sign}{opening}{pieces[0]}"
        pieces[-1] = f"{pieces[-1]}{closing}"
        return pieces

    # --- algorithms

    def _assigned(self, line: Assignment, room: float) -> list[Row]:
        """target <- right, or target += right; saved values have a name if they are read by it."""
        name = self.writer(line.target)
        keep = rf"\text{{keep }}{name}" if line.named else r"\text{keep}"
        left = keep if line.saved else name
        nameless = line.saved and not line.named
        sign = r"\ " if nameless else r"\mathrel{+}=" if line.adds else r"\gets"
        return _rows(left, sign, in_lines(self.writer.terms(line.shown), room), "")


def _formulas(shown: Shown) -> tuple[Node, ...]:
    """The expressions that a side shows."""
    if isinstance(shown, Sums):
        return tuple(node for _, node in shown.parts)
    if isinstance(shown, tuple):
        return tuple(node for pair in shown for node in pair)
    return (shown,) if isinstance(shown, Node) else ()


def _with(shown: Shown, formulas: Sequence[Node]) -> Shown:
    """The side with these expressions instead."""
    if isinstance(shown, Sums):
        signs = (sign for sign, _ in shown.parts)
        return Sums(tuple(zip(signs, formulas, strict=True)))
    if isinstance(shown, tuple):
        return tuple(zip(formulas[::2], formulas[1::2], strict=True))
    return formulas[0] if formulas else shown


def shown_formulas(equation: Equation) -> Iterator[Node]:
    """The expressions that an equation may show."""
    for side in (equation.left, equation.right):
        yield from _formulas(side.shown)
        yield from () if side.otherwise is None else (side.otherwise,)


def _is_long(node: Node) -> bool:
    """Too deep, or of more than LONGEST operations."""
    return bool(abbreviated((node,), {}, longest=LONGEST))


def in_lines(pieces: Sequence[str], room: float) -> list[str]:
    """Pieces in lines; a piece wider than a line is broken within its parentheses."""
    fine = [part for piece in pieces for part in parted(piece, room - INDENT)]
    return broken(fine, room - INDENT, room)


def parted(piece: str, room: float) -> list[str]:
    """A piece in parts that fit, if it has a parenthesised sum or a product to break at."""
    if width(piece) <= room:
        return [piece]
    places = list(_places(piece))
    if not places:
        return [piece]
    outermost = min(depth for depth, _ in places)
    cuts = [0, *(place for depth, place in places if depth == outermost), len(piece)]
    parts = [piece[a:b].strip() for a, b in pairwise(cuts)]
    return [part for whole in parts for part in parted(whole, room)]


def _places(piece: str) -> Iterator[tuple[float, int]]:
    """Where a formula may be broken: the depth in parentheses, and the index of a character.

    Before the sign of a sum at its depth, before that of a product half a level deeper.
    """
    braces = depth = 0
    for place, character in enumerate(piece):
        braces += (character == "{") - (character == "}")
        depth += (character == "(") - (character == ")")
        if braces or not place:
            continue
        if piece[place:].startswith(("+ ", "- ")):
            yield depth, place
        elif piece[place:].startswith(r"\odot "):
            yield depth + 0.5, place


def _joined(pieces: list[str]) -> list[str]:
    """The pieces, the last one of a left factor joined with the first of its partner."""
    place = next(k for k, piece in enumerate(pieces) if piece.endswith(","))
    if place + 1 < len(pieces):
        pieces[place : place + 2] = [f"{pieces[place]}\\, {pieces[place + 1]}"]
    return pieces


def _rows(left: str, sign: str, lines: Sequence[str], reason: str) -> list[Row]:
    """Lines as rows, the reason at the last one."""
    rows = [Row(left, f"{sign} {lines[0]}", "")]
    rows += [Row("", rf"\qquad {line}", "") for line in lines[1:]]
    return [*rows[:-1], Row(rows[-1].left, rows[-1].right, reason)]
