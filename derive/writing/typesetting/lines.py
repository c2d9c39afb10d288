r"""The printed width of a formula, and its division into lines.

`width` follows TeX's rules: glyphs by their widths, space by the classes of neighbours, scripts and
fractions smaller.  Only what this package emits is understood; an unknown command counts as a
wide letter.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from .glyphs import (
    BIN,
    CLOSE,
    INNER,
    ITALIC,
    OP,
    OPEN,
    ORD,
    OVERHANG,
    PUNCT,
    REL,
    SIGNS,
    SIZES,
    UPRIGHT,
)
from .letters import KNOWN

SCALES = (1.0, 1.0, 0.8, 0.7)  # of display, text, script and script's script
THIN, MEDIUM, THICK = 10 / 6, 20 / 9, 25 / 9
PRIME, SCRIPT, FRACTION = 2.9, 0.5, 2.4  # a prime, and the space after scripts and around fractions
_SPACES = {",": THIN, ":": MEDIUM, ";": THICK, "!": -THIN, " ": 3.33}
_ACCENTS = frozenset(["dot", "ddot", "bar", "hat", "tilde", "overline", "widehat"])
_FONTS = {"mathrm": 1.0, "mathit": 1.0, "mathbf": 1.15, "mathsf": 1.0, "mathbb": 1.0, "text": 1.0}
_CLASSES = {"mathbin": BIN, "mathrel": REL, "mathopen": OPEN, "mathclose": CLOSE}
_TOKEN = re.compile(r"\\(?:[A-Za-z]+|.)|\S")

Atom = tuple[int, float]


def width(latex: str, style: int = 0) -> float:
    """The width in points of a formula in display style at 10 pt.

    >>> 30 < width(r"W x + b") < 36
    True
    """
    return Reader(latex).line(style)


def broken(terms: Sequence[str], available: float, first: float | None = None) -> list[str]:
    """The terms of a sum in lines, each as full as possible; a term that is too wide stands alone.

    `first` is the width available in the first line, if it differs.
    """
    return list(_filled(terms, available, available if first is None else first))


def _filled(terms: Sequence[str], available: float, limit: float) -> Iterator[str]:
    line = ""
    for term in terms:
        longer = f"{line} {term}" if line else term
        if line and width(longer) > limit:
            yield line
            line, limit = term, available
        else:
            line = longer
    yield line


class Reader:
    """Reads a formula from the left, one list of atoms after the other."""

    def __init__(self, latex: str) -> None:
        self.tokens = _TOKEN.findall(latex)
        self.place = 0

    def line(self, style: int, stop: str = "") -> float:
        """The width of what stands before the token `stop`, its columns side by side."""
        columns, place = [0.0], 0
        while (token := self._peek()) not in ("", stop):
            if token in ("&", "\\\\", "}"):  # an unmatched brace is skipped
                self.place += 1
                place = place + 1 if token == "&" else place if token == "}" else 0
                columns += [0.0] * (place == len(columns))
            columns[place] = max(columns[place], _set(self._atoms(style, stop), style))
        self.place += 1
        return sum(columns)

    def _peek(self) -> str:
        return self.tokens[self.place] if self.place < len(self.tokens) else ""

    def _next(self) -> str:
        self.place += 1
        return self.tokens[self.place - 1] if self.place <= len(self.tokens) else ""

    def _atoms(self, style: int, stop: str) -> list[Atom]:
        atoms: list[Atom] = []
        while self._peek() not in ("", stop, "&", "\\\\", "}"):
            token = self._next()
            found = self._atom(token, style)
            if found is not None:
                atoms.append(self._scripted(token, found, style))
        return atoms

    def _group(self, style: int) -> float:
        """The argument of a command or of a script."""
        if self._peek() == "{":
            self.place += 1
            return self.line(style, "}")
        found = self._atom(self._next(), style)
        return 0.0 if found is None else found[1]

    def _word(self) -> str:
        """The letters of an argument."""
        first = self._next()
        if first != "{":
            return first
        letters = []
        while self._peek() not in ("}", ""):
            letters.append(self._next())
        self.place += 1
        return "".join(letters)

    def _scripted(self, token: str, atom: Atom, style: int) -> Atom:
        """The atom with its superscript and subscript."""
        (kind, size), smaller = atom, 2 if style < 2 else 3
        above = below = 0.0
        while self._peek() in ("'", "^", "_"):
            script = self._next()
            if script == "_":
                below = self._group(smaller)
            else:
                above += PRIME * SCALES[smaller] if script == "'" else self._group(smaller)
        if token == "\\sum" and style == 0:
            return kind, max(size, above, below)
        hang = OVERHANG.get(token, 0.0) * SCALES[style] if below else 0.0
        return kind, max(size - hang + below, size + above) + (SCRIPT if above or below else 0.0)

    def _atom(self, token: str, style: int) -> Atom | None:
        scale = SCALES[style]
        if token in ITALIC:
            return ORD, (ITALIC[token] + OVERHANG.get(token, 0.0)) * scale
        if token == "{":
            return ORD, self.line(style, "}")
        name = token.removeprefix("\\")
        if name != token and name in _SPACES:
            return -1, _SPACES[name]
        return self._command(name, style) or (
            ORD if name not in SIGNS else SIGNS[name][0],
            (SIGNS[name][1] if name in SIGNS else 8.0) * scale,
        )

    def _command(self, name: str, style: int) -> Atom | None:
        scale = SCALES[style]
        if name in KNOWN or name == "operatorname":
            return OP, _upright(name if name in KNOWN else self._word()) * scale
        if name in _FONTS:
            lean = 0.8 if name == "mathit" else 0.0
            return ORD, (_upright(self._word()) * _FONTS[name] + lean) * scale
        if name in _ACCENTS or name in _CLASSES:
            return _CLASSES.get(name, ORD), self._group(style)
        if name == "frac":
            inner = min(style + 1, 3)
            return ORD, max(self._group(inner), self._group(inner)) + FRACTION
        if name == "sqrt":
            return ORD, (10.0 if style < 2 else 8.33) * scale + self._group(style)
        return self._bracket(name, style)

    def _bracket(self, name: str, style: int) -> Atom | None:
        """A sized bracket, or an environment."""
        sized = re.fullmatch(r"(bigg?)([lr])|(left|right)", name, re.IGNORECASE)
        if sized:
            bracket = self._next().removeprefix("\\")
            kind = OPEN if name == "left" or sized[2] == "l" else CLOSE
            size = SIZES[(sized[1] or "bigg").lower()]
            return kind, size.get(bracket, SIGNS.get(bracket, (0, 5.0))[1] if bracket != "." else 0)
        if name == "begin":
            environment = self._word()
            inside = self.line(1, "\\end")
            self._word()
            return INNER, inside + (20.0 if environment == "cases" else 0.0)
        return None


def _upright(text: str) -> float:
    return sum(UPRIGHT.get(letter, 5.0) for letter in text.replace("\\", ""))


def _set(atoms: Sequence[Atom], style: int) -> float:
    """The atoms side by side with the space between their classes."""
    total, before = 0.0, -1
    for position, (kind, size) in enumerate(atoms):
        if kind == -1:
            total += size
            continue
        follows = next((k for k, _ in atoms[position + 1 :] if k != -1), -1)
        if kind == BIN and (
            before in (-1, BIN, OP, REL, OPEN, PUNCT) or follows in (-1, REL, CLOSE, PUNCT)
        ):
            kind = ORD
        total += size + (_space(before, kind, style) if before >= 0 else 0.0)
        before = kind
    return total


def _space(left: int, right: int, style: int) -> float:
    """The space between two classes (The TeXbook, chapter 18)."""
    script = style > 1
    if OP in (left, right) and {left, right} <= {OP, ORD, CLOSE}:
        return THIN if right == OP or (left == OP and right != CLOSE) else 0.0
    if BIN in (left, right):
        return 0.0 if script else MEDIUM
    if REL in (left, right):
        loose = left != right and left != OPEN and right not in (CLOSE, PUNCT)
        return THICK if loose and not script else 0.0
    if left == PUNCT:
        return 0.0 if script else THIN
    if INNER in (left, right) and left != OPEN and right not in (CLOSE, PUNCT):
        return 0.0 if script else THIN
    return 0.0
