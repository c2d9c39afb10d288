"""Statements as the templates see them: every text is made here, the templates walk and print."""

from __future__ import annotations

from collections.abc import Iterable
from functools import singledispatch
from textwrap import TextWrapper
from typing import Any

import sympy

from ..statements.loops import (
    Accumulate,
    Asked,
    Call,
    Commented,
    Copy,
    Fill,
    For,
    Gemm,
    Largest,
    Let,
    Matrix,
    Pointer,
    Select,
    Selected,
    Statement,
    Store,
    Where,
)
from .source import broken, entry, inside, integer, pointer, real_number, scalar
from .stopping import stops


def comment_lines(lines: Iterable[str], width: int = 84) -> list[str]:
    """Comment lines, a long one continued below and indented."""
    made = TextWrapper(
        width, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False
    )
    return [part for line in lines for part in made.wrap(line)]


@singledispatch
def _view(statement: Statement) -> dict[str, Any]:
    raise TypeError(f"{type(statement).__name__} is no statement")


def views(statements: Iterable[Statement]) -> list[dict[str, Any]]:
    """Statements as dictionaries, one kind for each branch of the template."""
    return [_view(statement) for statement in statements]


@_view.register
def _(s: Commented) -> dict[str, Any]:
    return {"kind": "Commented", "formulas": comment_lines(s.formulas), "body": views(s.body)}


@_view.register
def _(s: Asked) -> dict[str, Any]:
    asked = [f"{name} is not NULL" for name in s.pointers]
    lines = [" or ".join(asked[k : k + 3]) for k in range(0, len(asked), 3)]
    return {"kind": "Asked", "condition": lines, "body": views(s.body)}


@_view.register
def _(s: Where) -> dict[str, Any]:
    return {"kind": "Where", "mask": scalar(s.mask), "body": views(s.body)}


@_view.register
def _(s: For) -> dict[str, Any]:
    return {
        "kind": "For",
        "index": str(s.index),
        "extent": integer(s.extent),
        "stops": stops(s),
        "body": views(s.body),
    }


@_view.register
def _(s: Let) -> dict[str, Any]:
    return {"kind": "Let", "name": s.name, "value": broken(s.value)}


@_view.register
def _(s: Accumulate) -> dict[str, Any]:
    return {"kind": "Accumulate", "name": s.name, "value": scalar(s.value)}


@_view.register
def _(s: Select) -> dict[str, Any]:
    kept = f"checked_index(&{entry(s.buffer, s.place)}, {integer(s.extent)})"
    return {"kind": "Select", "index": str(s.index), "entry": kept}


@_view.register
def _(s: Store) -> dict[str, Any]:
    return {
        "kind": "GuardedStore" if s.guards else "Store",
        "condition": inside(s.guards),
        "entry": entry(s.buffer, s.place),
        "sign": "+=" if s.add else "=",
        "value": broken(s.value),
    }


@_view.register
def _(s: Largest) -> dict[str, Any]:
    return {
        "kind": "Largest",
        "indices": [str(index) for index in s.indices],
        "running": list(zip(map(str, s.running), map(integer, s.extents), strict=True)),
        "best": s.best,
        "candidate": s.candidate,
        "value": scalar(s.value),
        "lets": views(s.lets),
        "condition": inside(s.guards),
    }


@_view.register
def _(s: Fill) -> dict[str, Any]:
    return {"kind": "Fill", "count": integer(s.buffer.count), "name": s.buffer.name}


@_view.register
def _(s: Selected) -> dict[str, Any]:
    sizes = f"{integer(s.mask.count)}, {integer(s.width)}"
    arrays = f"{s.mask.name}, {s.source.name}, {s.target.name}"
    return {"kind": "Selected", "target": s.target.name, "lines": f"{sizes}, {arrays}"}


@_view.register
def _(s: Copy) -> dict[str, Any]:
    name = "add" if s.add else "copy"
    return {
        "kind": "Copy",
        "name": name,
        "lines": [f"{integer(s.count)}, {pointer(s.source)}, {pointer(s.target)}"],
    }


@_view.register
def _(s: Call) -> dict[str, Any]:
    sizes = ", ".join(integer(sympy.expand(size)) for _, size in s.sizes)
    arrays = [_address(array) for array in s.arrays]
    arrays += [pointer(s.workspace)] if s.workspace is not None else []
    rows = [", ".join(arrays[k : k + 4]) for k in range(0, len(arrays), 4)]
    return {"kind": "Call", "name": s.name, "lines": [f"{line}," for line in (sizes, *rows)]}


def _address(array: Pointer | None) -> str:
    """A place in an array; in a result that is not asked for, NULL and not an offset from it."""
    if array is None:
        return "NULL"
    name, text = array.buffer.name, pointer(array)
    optional = array.buffer.kind == "result" and text != name
    return f"NULL if {name} is NULL else {text}" if optional else text


@_view.register
def _(s: Gemm) -> dict[str, Any]:
    sizes = ", ".join(integer(size) for size in (s.M, s.N, s.K))
    matrices = ", ".join(_matrix(matrix) for matrix in (s.A, s.B, s.C))
    lines = [f"{sizes}, {real_number(s.alpha)},", matrices]
    together = " ".join(lines)
    return {"kind": "Gemm", "lines": [together] if len(together) < 80 else lines}


def _matrix(matrix: Matrix) -> str:
    return f"{pointer(matrix)}, {integer(matrix.row)}, {integer(matrix.column)}"
