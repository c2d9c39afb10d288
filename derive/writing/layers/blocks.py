"""The blocks of a document: headings, paragraphs, displayed equations, algorithms."""

from __future__ import annotations

from dataclasses import dataclass

from .algorithm import Assignment
from .claims import Equation


@dataclass(frozen=True)
class Heading:
    """The title of a section (level 1) or of a step (level 2)."""

    text: str
    level: int = 1


@dataclass(frozen=True)
class Prose:
    """A paragraph, in LaTeX."""

    text: str


@dataclass(frozen=True)
class Display:
    """Equations that are shown together; a repeated left side is printed once."""

    equations: tuple[Equation, ...]


@dataclass(frozen=True)
class Asserted:
    """Equations stated by a sentence, such as maps that vanish: checked, not displayed."""

    equations: tuple[Equation, ...]


@dataclass(frozen=True)
class Verbatim:
    """Verbatim text."""

    text: str


@dataclass(frozen=True)
class Algorithm:
    """The lines of a kernel, and its cost in LaTeX."""

    name: str
    lines: tuple[Assignment, ...]
    cost: str


Block = Heading | Prose | Display | Asserted | Verbatim | Algorithm
