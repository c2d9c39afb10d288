"""Text from a template of templates/: decided in Python, printed by Jinja."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

from jinja2 import DictLoader, Environment, StrictUndefined

LATEX = ".tex.j2"  # templates of LaTeX, which needs the usual brackets itself
BRACKETS: dict[str, Any] = {
    "block_start_string": "<%",
    "block_end_string": "%>",
    "variable_start_string": "<<",
    "variable_end_string": ">>",
    "comment_start_string": "<#",
    "comment_end_string": "#>",
}


def render(template: str, **values: object) -> str:
    """The text of a template, with one newline at its end; a missing name is an error."""
    environment = _environment(template.endswith(LATEX))
    return environment.get_template(template).render(values).rstrip() + "\n"


def templates() -> dict[str, str]:
    """The text of every template by its name, in order; one of a folder is FOLDER/NAME."""
    return dict(sorted(_texts(files("derive.templates"), "")))


def _texts(folder: Traversable, within: str) -> Iterator[tuple[str, str]]:
    for found in folder.iterdir():
        if found.is_dir():
            yield from _texts(found, f"{within}{found.name}/")
        elif found.name.endswith(".j2"):
            yield within + found.name, found.read_text("utf-8")


@cache
def _environment(latex: bool) -> Environment:
    texts = {name: text for name, text in templates().items() if name.endswith(LATEX) == latex}
    return Environment(
        loader=DictLoader(texts),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        **(BRACKETS if latex else {}),
    )
