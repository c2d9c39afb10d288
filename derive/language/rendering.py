"""Text from a template of templates/: decided in Python, printed by Jinja."""

from __future__ import annotations

from functools import cache
from typing import Any

from jinja2 import DictLoader, Environment, StrictUndefined

from .template_texts import templates

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
