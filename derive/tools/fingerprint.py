"""What a layer is, as one hash: two declarations that differ in anything that kernels are made of
differ in it, and the same declaration has it in every process.

The hash is of a table, a line for each object, its parts before it and named by their lines:

    0  derive.language.spaces.Real((#.., ), (None, ))
    1  derive.language.expressions.Variable(#0, 'x')

Values of one content share a line, as spaces and scalar formulas do.  Expressions and layers have
one each, as their identity says what is computed once.  Only what comes with the package or with
SymPy is described: a class or a function of the user's own may do anything, so it has no hash.
"""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from functools import cache as once
from importlib.resources import files
from types import FunctionType
from typing import Any

import sympy

from ..kernels.compiling.compile import PACKAGE
from ..language.expressions import Node
from ..language.forms import Form
from ..models.layers import Layer

FOR_DISPLAY: dict[type, set[str]] = {Layer: {"place", "form_names"}, Form: {"name"}}
"""A layer's line in a file, and what LaTeX calls its forms."""
OURS = ("derive.", "sympy.")
_begun = time.time()


class Unknown(Exception):
    """Something in a layer is no part of the package: what it does can't be told from its name."""


def fingerprint(layer: Layer) -> str | None:
    """The hash of a declaration; None where something in it is not the package's own."""
    try:
        return hashlib.sha256("\n".join(_table(layer)).encode()).hexdigest()
    except Unknown:
        return None


def code_fingerprint() -> str | None:
    """The hash of the code that derives and emits, as it is now in its files.

    None where a file was changed after it was loaded: what the process runs is no longer there.
    """
    templates = (file for file in files("derive.templates").iterdir() if file.name.endswith(".j2"))
    found = hashlib.sha256()
    for path in sorted(PACKAGE.rglob("*.py")):
        if path.stat().st_mtime > _begun:
            return None
        found.update(_framed(str(path.relative_to(PACKAGE)), path.read_bytes()))
    for file in sorted(templates, key=lambda file: file.name):
        found.update(_framed(file.name, file.read_bytes()))
    return found.hexdigest()


loaded_code = once(code_fingerprint)
"""`code_fingerprint` of the first call: the files are read once in a process."""


def _framed(name: str, content: bytes) -> bytes:
    return f"{name}\n{len(content)}\n".encode() + content


# --- the table


def _table(root: object) -> list[str]:
    """The lines of everything that a value is made of; parts come first, without recursion."""
    lines: dict[str, int] = {}
    number: dict[int, int] = {}  # of the line, by the object's id; `contents` keeps them alive
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
    """What a value consists of: its arguments or fields, in order."""
    if isinstance(value, sympy.Basic):
        return value.args or sympy.srepr(value)
    if isinstance(value, FunctionType):
        return _named(value)
    if is_dataclass(value):
        apart = next((own for kind, own in FOR_DISPLAY.items() if isinstance(value, kind)), ())
        return tuple(getattr(value, f.name) for f in fields(value) if f.name not in apart)
    raise Unknown(f"{value!r} of {type(value)}")


def _named(function: FunctionType) -> str:
    """The name by which a module of the package has a function."""
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
    """The objects that stand in a line of their own."""
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
