"""Statements made anew: what is read under other names or at other places."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import sympy

from .instances import PARTS
from .scalars import Local


def rewritten(tree: Any, change: Callable[[Any], Any | None]) -> Any:
    """A tree of statements in which every part that `change` answers for is its answer."""
    found = change(tree)
    if found is not None:
        return found
    if isinstance(tree, tuple):
        return tuple(rewritten(part, change) for part in tree)
    if not isinstance(tree, PARTS):
        return tree
    new = {f.name: rewritten(getattr(tree, f.name), change) for f in fields(tree)}
    same = all(new[name] is getattr(tree, name) for name in new)
    return tree if same else replace(tree, **new)


def at_indices(tree: Any, indices: dict[sympy.Symbol, sympy.Symbol]) -> Any:
    """The tree with other loop indices."""

    def moved(part: Any) -> Any | None:
        return part.xreplace(indices) if isinstance(part, sympy.Basic) else None

    return rewritten(tree, moved) if indices else tree


def with_names(tree: Any, names: dict[str, str]) -> Any:
    """The tree reading other scalars."""

    def named(part: Any) -> Any | None:
        return Local(names[part.name]) if isinstance(part, Local) and part.name in names else None

    return rewritten(tree, named) if names else tree
