r"""Names as a mathematician sets them: theta1 is \theta_{1}, hidden_W is W_{\mathrm{hidden}}.

Only letters and digits of a name reach the output, so a name cannot inject TeX.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from itertools import chain, count, takewhile

_LOWER = """alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma
tau upsilon phi chi psi omega"""
_UPPER = "Gamma Delta Theta Xi Lambda Pi Sigma Upsilon Phi Psi Omega"
GREEK = frozenset([*_LOWER.split(), *_UPPER.split(), "ell"])
KNOWN = frozenset(
    ["tanh", "sinh", "cosh", "sin", "cos", "tan", "arctan", "exp", "log", "max", "min"]
)
"""Functions that LaTeX has a command for."""
ACCENTS = {"dot": r"\dot", "bar": r"\bar", "hat": r"\hat", "tilde": r"\tilde"}
MARKS = frozenset([*ACCENTS, "delta"])
KEYWORD = re.compile(rf"(?<=[^\W_])_+(?=(?:_(?:{'|'.join(sorted(MARKS))})\d*)*$)")
"""The underscore that distinguishes a name from a Python keyword, as in lambda_."""
OWN = re.compile(r"e_\{|\\pi(?:_\{|$)")
"""Symbols of the notation itself: unit vectors, projections and the number pi."""


def symbol(name: str) -> str:
    r"""The name of a variable, a size or a function of one letter, as LaTeX.

    >>> print(symbol("theta1"), symbol("c_next"), symbol("hidden_W"), symbol("z_bar_dot"))
    \theta_{1} c_{\mathrm{next}} W_{\mathrm{hidden}} \dot{\bar{z}}
    """
    parts = KEYWORD.sub("", _ascii(name)).split("_")
    if not all(parts) or not parts:
        return escaped(name)
    words, marks = _parted(parts)
    base, below = _base(words)
    for mark, digits in marks:
        base = _marked(base, mark)
        below += _kept(digits)
    return base + (f"_{{{','.join(below)}}}" if below else "")


def escaped(name: str) -> str:
    r"""The name as typed, in the italics of a word.

    >>> print(escaped("x__1"))
    \mathit{x\_\_1}
    """
    return rf"\mathit{{{_plain(_ascii(name))}}}"


def below(look: str, script: str) -> str:
    r"""A look with one more subscript.

    >>> print(below(r"c_{\\mathrm{next}}", "i"), below("h", "i-1"))
    c_{\\mathrm{next},i} h_{i-1}
    """
    start = _subscript(look)
    return f"{look}_{{{script}}}" if start is None else f"{look[:-1]},{script}}}"


def _subscript(look: str) -> int | None:
    """The index at which a final subscript begins."""
    depth = 0
    for place in reversed(range(len(look))):
        depth += (look[place] == "}") - (look[place] == "{")
        if depth == 0:
            return place if place and look[place - 1 : place + 1] == "_{" else None
    return None


def word(name: str) -> str:
    r"""A function's name: one letter or a Greek one as a symbol, a word upright.

    >>> print(word("leaky_relu"), word("C"), word("tanh"))
    \operatorname{leaky\_relu} C \tanh
    """
    if name in KNOWN:
        return rf"\{name}"
    if _is_letter(_split(name)[0]) or _is_letter(name.split("_")[0]):
        return symbol(name)
    return rf"\operatorname{{{_plain(_ascii(name))}}}"


class Letters:
    """Distinct symbols of names: a name whose symbol is taken is printed as typed.

    `given` has the looks of some names, `times` the times of a sequence that some belong to.
    """

    def __init__(
        self,
        given: Mapping[str, str] | None = None,
        names: Iterable[str] = (),
        times: Mapping[str, str] | None = None,
    ) -> None:
        self.times = dict(times or {})
        self._symbols = dict(given or {})
        self._looks = set(self._symbols.values())
        for name in names:
            self(name)
        self._own = frozenset(self._symbols)

    def __call__(self, name: str) -> str:
        if name not in self._symbols:
            look, typed = symbol(name), escaped(name)
            looks = chain([look] if not OWN.match(look) else [], [typed])
            more = (f"{typed}_{{({number})}}" for number in count(2))
            free = (look for look in chain(looks, more) if not self.is_taken(look))
            self._symbols[name] = next(free)
            self._looks.add(self._symbols[name])
        return self._symbols[name]

    def at_time(self, name: str, others: Iterable[str]) -> None:
        """A name for what is made of others: at their time, or the nearest of several."""
        times = sorted(
            {self.times[x] for x in others if x in self.times}, key=lambda t: (len(t), t)
        )
        look = below(symbol(name), times[0]) if times else ""
        if look and name not in self._symbols and not self.is_taken(look):
            self.times[name] = times[0]
            self._symbols[name] = look
            self._looks.add(look)

    @property
    def looks(self) -> dict[str, str]:
        """The symbols so far."""
        return dict(self._symbols)

    def is_own(self, name: str) -> bool:
        """Whether the name was there from the beginning."""
        return name in self._own

    def is_taken(self, look: str) -> bool:
        """Whether some name looks like this."""
        return look in self._looks


def _ascii(name: str) -> str:
    """The name in ASCII: Greek letters by their names, other letters without marks.

    Any other character, except digits and _, becomes the number of its code.
    """
    return "".join(
        character if character.isascii() and re.match(r"\w", character) else _spelled(character)
        for character in name
    )


def _spelled(character: str) -> str:
    found = re.fullmatch(r"GREEK (SMALL|CAPITAL) LETTER (\w+)", unicodedata.name(character, ""))
    greek = (found[2].lower() if found[1] == "SMALL" else found[2].title()) if found else ""
    greek = greek.replace("amda", "ambda")
    bare = unicodedata.normalize("NFKD", character)[0]
    if greek in GREEK:
        return greek
    return bare if bare.isascii() and bare.isalnum() else f"u{ord(character):x}"


def _plain(name: str) -> str:
    return name.replace("_", r"\_")


def _parted(parts: list[str]) -> tuple[list[str], list[tuple[str, str]]]:
    """The words of a name, and the marks after the first, else those after the last."""
    first, rest = [parts[0]], parts[1:]
    behind = list(takewhile(_is_mark, rest))
    if behind and _is_letter(_split(parts[0])[0]):
        return [*first, *rest[len(behind) :]], [_split(mark) for mark in behind]
    ends = list(takewhile(_is_mark, rest[::-1]))[::-1]
    return parts[: len(parts) - len(ends)], [_split(mark) for mark in ends]


def _is_mark(part: str) -> bool:
    return _split(part)[0] in MARKS


def _split(part: str) -> tuple[str, str]:
    """A word and the number after it."""
    stem = part.rstrip("0123456789")
    return (stem, part[len(stem) :]) if stem else (part, "")


def _is_letter(stem: str) -> bool:
    return stem in GREEK or (len(stem) == 1 and stem.isalpha())


def _base(parts: list[str]) -> tuple[str, list[str]]:
    """The base, and the parts of the subscript."""
    (first, number), (last, end) = _split(parts[0]), _split(parts[-1])
    if _is_letter(first):
        return _letter(first), [*_kept(number), *_scripts(parts[1:])]
    if len(parts) > 1 and _is_letter(last):
        return _letter(last), [*_scripts(parts[:-1]), *_kept(end)]
    return rf"\mathrm{{{_plain('_'.join([*parts[:-1], last]))}}}", _kept(end)


def _kept(digits: str) -> list[str]:
    return [digits] if digits else []


def _scripts(parts: list[str]) -> list[str]:
    """The words of a subscript, each followed by its number."""
    return [script for part in parts for script in _script(*_split(part))]


def _script(stem: str, digits: str) -> list[str]:
    shown = _letter(stem) if _is_letter(stem) else stem if stem.isdigit() else rf"\mathrm{{{stem}}}"
    return [shown, *_kept(digits)]


def _letter(stem: str) -> str:
    return rf"\{stem}" if stem in GREEK else stem


def _marked(base: str, mark: str) -> str:
    """The base under an accent, or after a delta."""
    if mark == "delta":
        return rf"\delta {base}" if base[0].isalpha() else rf"\delta{base}"
    if mark == "bar" and base.startswith(r"\mathrm"):
        return rf"\overline{{{base}}}"
    dotless = {"i": r"\imath", "j": r"\jmath"}.get(base, base)
    return f"{ACCENTS[mark]}{{{dotless}}}" if mark in ACCENTS else base
