"""derive new: a commented file to start from."""

from __future__ import annotations

import argparse
import ast
import shlex
from collections.abc import Iterator
from pathlib import Path

from ...language.names import checked_module
from ...language.rendering import render
from ..build import writing_into
from ..loading import BuildError
from .options import Verbs, add_verb

TEMPLATE = "starter.py.j2"
VERBS = ("show", "check", "latex", "build")  # suggested next


def add(verbs: Verbs) -> None:
    """The verb new."""
    new = add_verb(verbs, "new", "a commented file that declares a layer, to start from", _new)
    new.add_argument("name", metavar="NAME", help="of the layer and of its file, NAME.py")
    new.add_argument(
        "--out", metavar="DIR", type=Path, default=Path(), help="for the file (default: here)"
    )


def _new(options: argparse.Namespace) -> int:
    path = options.out / f"{_usable(options.name)}.py"
    with writing_into(options.out):
        options.out.mkdir(parents=True, exist_ok=True)
        _write_new(path, starter(options.name))
    print("\n".join(_next(path)))
    return 0


def starter(name: str) -> str:
    """The text of a file that declares a layer of that name."""
    return render(TEMPLATE, name=name)


def _usable(name: str) -> str:
    """The name, checked: it names the layer, the file and the module, and is not used in the file.

    Raises UnusableName or BuildError with the reason.
    """
    if name.endswith(".py"):
        raise BuildError(f"give the name without .py: derive new {name.removesuffix('.py')}")
    checked_module(name, "NAME")
    if name in set(_names_in(ast.parse(starter("NAME")))):
        raise BuildError(
            f"NAME: {name!r} is used inside the file that would be written; choose another name"
        )
    return name


def _names_in(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, (ast.arg, ast.alias)):
            yield getattr(node, "arg", "") or getattr(node, "name", "")


def _write_new(path: Path, text: str) -> None:
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise BuildError(f"{path} already exists and is not overwritten") from error


def _next(path: Path) -> Iterator[str]:
    shown = shlex.quote(str(path))
    yield f"{path} is written; try"
    yield from (f"    derive {verb} {shown}" for verb in VERBS)
