"""A document as a notebook shows it: headings, prose, and each group of equations by itself.

A single formula with all equations would push its reasons off the page, and MathJax refuses
formulas above 5 kB.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from .typesetter import Row

View = Mapping[str, Any]
LONGEST = 5 * 1024 - 100  # characters between \\begin and \\end: MathJax takes 5 kB in all


def markdown(views: Iterable[View]) -> str:
    """The blocks of a document in Markdown; `views` is what the template takes."""
    return "\n\n".join(part for view in views for part in _parts(view))


def formulas(views: Iterable[View]) -> str:
    """Their headings and equations, in LaTeX."""
    return "\n\n".join(part for view in views for part in _formulas(view))


def _parts(view: View) -> Iterator[str]:
    match view["kind"]:
        case "Heading":
            yield f"{'#' * (view['level'] + 2)} {view['text']}"
        case "Prose":
            yield view["text"]
        case "Verbatim":
            yield f"```\n{view['text']}\n```"
        case "Display":
            yield from _display(view["rows"])
        case "Algorithm":
            yield f"#### {view['name']}"
            yield from _display(view["rows"])
            yield view["cost"]


def _formulas(view: View) -> Iterator[str]:
    if view["kind"] == "Heading":
        yield rf"$\textbf{{{view['text']}}}$"
    elif view["kind"] == "Display":
        yield from _display(view["rows"])


def _display(rows: Iterable[Row]) -> Iterator[str]:
    for group in _groups(rows):
        body = " \\\\\n".join(group)
        yield f"$$\n\\begin{{aligned}}\n{body}\n\\end{{aligned}}\n$$"


def _groups(rows: Iterable[Row]) -> Iterator[list[str]]:
    """The rows in groups small enough to be one formula for MathJax."""
    group, size = list[str](), 0
    for line in map(_line, rows):
        if group and size + len(line) > LONGEST:
            yield group
            group, size = [], 0
        group.append(line)
        size += len(line) + len(" \\\\\n")
    if group:
        yield group


def _line(row: Row) -> str:
    reason = rf" && \text{{{row.reason}}}" if row.reason else ""
    return f"{row.left} &{row.right}{reason}"
