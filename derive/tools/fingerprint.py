"""The hash of a declaration: equal in every process, and different as soon as two declarations
differ in anything that their kernels depend on.

What is hashed is a table with one line for each object; its parts come first and are referred to by
the numbers of their lines:

    0  derive.language.spaces.Real((#.., ), (None, ))
    1  derive.language.expressions.Variable(#0, 'x')

Equal values, such as spaces and scalar formulas, share a line.  Expressions and layers have a line
each, since their identity decides what is computed once.  Only classes and functions of the package
and of SymPy are described: one of the user's own may do anything, so that there is no hash.
"""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from functools import cache as once
from types import FunctionType
from typing import Any

import sympy

from ..kernels.compiling.modules import PACKAGE
from ..language.expressions import Node
from ..language.forms import Form
from ..language.template_texts import templates
from ..models.layers import Layer

FOR_DISPLAY: dict[type, set[str]] = {Layer: {"place", "form_names"}, Form: {"name"}}
"""A layer's line in a file, and what LaTeX calls its forms."""
OURS = ("derive.", "sympy.")
_begun = time.time()


class Unknown(Exception):
    """Part of a layer does not come with the package, so its name does not say what it does."""


def fingerprint(layer: Layer) -> str | None:
    """The hash of a declaration; None if a part of it does not come with the package."""
    try:
        return hashlib.sha256("\n".join(_table(layer)).encode()).hexdigest()
    except Unknown:
        return None


def code_fingerprint() -> str | None:
    """The hash of the code that derives and emits, as its files are now.

    None if a file has changed since the process began: what is loaded may then be another text.
    """
    found = hashlib.sha256()
    for path in sorted(PACKAGE.rglob("*.py")):
        if path.stat().st_mtime > _begun:
            return None
        found.update(_framed(str(path.relative_to(PACKAGE)), path.read_bytes()))
    for name, text in templates().items():
        found.update(_framed(name, text.encode()))
    return found.hexdigest()


loaded_code = once(code_fingerprint)
"""`code_fingerprint` at the first call: the files are read once in a process."""


def _framed(name: str, content: bytes) -> bytes:
    return f"{name}\n{len(content)}\n".encode() + content


# --- the table


def _table(root: object) -> list[str]:
    """The lines of a value and all its parts, parts first, by a stack instead of recursion."""
    lines: dict[str, int] = {}
    number: dict[int, int] = {}  # lines by id; `contents` keeps the objects alive
    contents: dict[int, Any] = {}
    identities = 0
    stack = [root]
    while stack:
        value = stack[-1]
        if id(value) in number:
            stack.pop()
            continue
        if id(value) not in contents:
            contents[id(value)] = _contents(value)
            missing = [part for part in _parts(contents[id(value)]) if id(part) not in number]
            if missing:
                stack.extend(reversed(missing))
                continue
        stack.pop()
        line = f"{_known(type(value))}{_text(contents[id(value)], number)}"
        if isinstance(value, (Node, Layer)):
            identities += 1
            line = f"{line} {identities}"
        number[id(value)] = lines.setdefault(line, len(lines))
    return list(lines)


def _contents(value: object) -> Any:
    """The arguments or fields of a value, in order."""
    if isinstance(value, sympy.Basic):
        return value.args or sympy.srepr(value)
    if isinstance(value, FunctionType):
        return _named(value)
    if is_dataclass(value):
        apart = next((own for kind, own in FOR_DISPLAY.items() if isinstance(value, kind)), ())
        return tuple(getattr(value, f.name) for f in fields(value) if f.name not in apart)
    raise Unknown(f"{value!r} of {type(value)}")


def _named(function: FunctionType) -> str:
    """The qualified name of a function that a module of the package holds under it."""
    module, name = function.__module__, function.__qualname__
    if not module.startswith(OURS) or getattr(sys.modules[module], name, None) is not function:
        raise Unknown(f"the function {module}.{name}")
    return f"{module}.{name}"


def _known(kind: type) -> str:
    module = kind.__module__
    if kind is not FunctionType and not (isinstance(module, str) and module.startswith(OURS)):
        raise Unknown(f"{kind} of {module}")
    return f"{module}.{kind.__qualname__}"


def _is_plain(content: object) -> bool:
    return content is None or type(content) in (bool, int, str)


def _parts(content: Any) -> Iterator[object]:
    """The objects that have lines of their own."""
    if isinstance(content, (tuple, Mapping)):
        for part in _flat(content):
            yield from _parts(part)
    elif not _is_plain(content):
        yield content


def _text(content: Any, number: Mapping[int, int]) -> str:
    if isinstance(content, (tuple, Mapping)):
        kind = "pairs" if isinstance(content, Mapping) else ""
        return f"{kind}({','.join(_text(part, number) for part in _flat(content))})"
    return repr(content) if _is_plain(content) else f"#{number[id(content)]}"


def _flat(content: Any) -> tuple[Any, ...]:
    return content if isinstance(content, tuple) else tuple(content.items())
