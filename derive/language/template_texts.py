"""The texts of templates/, for who prints by them and for who only asks whether they changed."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable


def templates() -> dict[str, str]:
    """The text of every template by its name, in order; one of a folder is FOLDER/NAME."""
    return dict(sorted(_texts(files("derive.templates"), "")))


def _texts(folder: Traversable, within: str) -> Iterator[tuple[str, str]]:
    for found in folder.iterdir():
        if found.is_dir():
            yield from _texts(found, f"{within}{found.name}/")
        elif found.name.endswith(".j2"):
            yield within + found.name, found.read_text("utf-8")
