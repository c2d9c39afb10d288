"""The user's text in a document, with every special character of TeX escaped."""

from __future__ import annotations

import unicodedata


def plain(text: str) -> str:
    """The user's text for LaTeX: every special character is escaped."""
    return "".join(ESCAPED.get(character, character) for character in spelled(text))


def typed(source: str) -> str:
    """Source text for a verbatim block, which it cannot end; long lines are broken."""
    lines = [line for whole in spelled(source).splitlines() for line in _cut(whole)]
    return "\n".join(lines).replace(r"\end{verbatim}", r"\end {verbatim}")


def _cut(line: str) -> list[str]:
    return [line[k : k + COLUMNS] for k in range(0, len(line), COLUMNS)] or [""]


def spelled(text: str) -> str:
    """Text in printable ASCII and line ends; other characters by the last word of their names."""
    return "".join(c if _is_typeset(c) else f"({_last_word(c)})" for c in text)


def _is_typeset(character: str) -> bool:
    return (character.isascii() and character.isprintable()) or character in "\n\t"


def _last_word(character: str) -> str:
    """The last word of its name; a control character has none and is shown as U+0007."""
    name = unicodedata.name(character, "")
    return name.split()[-1].lower() if name else f"U+{ord(character):04X}"


COLUMNS = 110  # of a source line on the page


ESCAPED = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
} | {character: f"\\{character}" for character in "#$%&_"}
