"""Statements as the templates see them: texts are made here, a template walks and prints."""

from __future__ import annotations

from collections.abc import Iterable
from functools import singledispatch
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
from .comments import comment_lines
from .places import entry, inside, integer, pointer
from .signatures import kind_of
from .source import broken, real_number, scalar
from .stopping import stops
from .target import Target


@singledispatch
def _view(statement: Statement, to: Target) -> dict[str, Any]:
    raise TypeError(f"{type(statement).__name__} is no statement")


def views(statements: Iterable[Statement], to: Target) -> list[dict[str, Any]]:
    """Statements as dictionaries; a language's template has a branch for each kind."""
    return [_view(statement, to) for statement in statements]


@_view.register
def _(s: Commented, to: Target) -> dict[str, Any]:
    return {"kind": "Commented", "formulas": comment_lines(s.formulas), "body": views(s.body, to)}


@_view.register
def _(s: Asked, to: Target) -> dict[str, Any]:
    asked = [to.is_given(name) for name in s.pointers]
    lines = [to.join("or", asked[k : k + 3]) for k in range(0, len(asked), 3)]
    return {"kind": "Asked", "condition": lines, "body": views(s.body, to)}


@_view.register
def _(s: Where, to: Target) -> dict[str, Any]:
    return {"kind": "Where", "mask": scalar(s.mask, to), "body": views(s.body, to)}


@_view.register
def _(s: For, to: Target) -> dict[str, Any]:
    return {
        "kind": "For",
        "index": str(s.index),
        "extent": integer(s.extent, to),
        "stops": stops(s),
        "body": views(s.body, to),
    }


@_view.register
def _(s: Let, to: Target) -> dict[str, Any]:
    return {"kind": "Let", "name": s.name, "value": broken(s.value, to)}


@_view.register
def _(s: Accumulate, to: Target) -> dict[str, Any]:
    return {"kind": "Accumulate", "name": s.name, "value": scalar(s.value, to)}


@_view.register
def _(s: Select, to: Target) -> dict[str, Any]:
    return {
        "kind": "Select",
        "index": str(s.index),
        "holds": kind_of(s.buffer),
        "entry": entry(s.buffer, s.place, to),
        "extent": integer(s.extent, to),
    }


@_view.register
def _(s: Store, to: Target) -> dict[str, Any]:
    return {
        "kind": "GuardedStore" if s.guards else "Store",
        "condition": inside(s.guards, to),
        "entry": entry(s.buffer, s.place, to),
        "sign": "+=" if s.add else "=",
        "value": broken(s.value, to),
    }


@_view.register
def _(s: Largest, to: Target) -> dict[str, Any]:
    return {
        "kind": "Largest",
        "indices": [str(index) for index in s.indices],
        "running": [(str(j), integer(n, to)) for j, n in zip(s.running, s.extents, strict=True)],
        "best": s.best,
        "candidate": s.candidate,
        "value": scalar(s.value, to),
        "lets": views(s.lets, to),
        "condition": inside(s.guards, to),
    }


@_view.register
def _(s: Fill, to: Target) -> dict[str, Any]:
    return {"kind": "Fill", "count": integer(s.buffer.count, to), "name": s.buffer.name}


@_view.register
def _(s: Selected, to: Target) -> dict[str, Any]:
    sizes = f"{integer(s.mask.count, to)}, {integer(s.width, to)}"
    arrays = f"{s.mask.name}, {s.source.name}, {s.target.name}"
    return {"kind": "Selected", "target": s.target.name, "arguments": f"{sizes}, {arrays}"}


@_view.register
def _(s: Copy, to: Target) -> dict[str, Any]:
    given = f"{integer(s.count, to)}, {pointer(s.source, to)}, {pointer(s.target, to)}"
    return {"kind": "Copy", "name": "add" if s.add else "copy", "arguments": given}


@_view.register
def _(s: Call, to: Target) -> dict[str, Any]:
    sizes = ", ".join(integer(sympy.expand(size), to) for _, size in s.sizes)
    arrays = [_address(array, to) for array in s.arrays]
    arrays += [pointer(s.workspace, to)] if s.workspace is not None else []
    rows = [", ".join(arrays[k : k + 4]) for k in range(0, len(arrays), 4)]
    return {"kind": "Call", "name": s.name, "lines": [sizes, *rows]}


def _address(array: Pointer | None, to: Target) -> str:
    """A place in an array; in a result that is not asked for, NULL and not an offset from it."""
    if array is None:
        return "NULL"
    name, text = array.buffer.name, pointer(array, to)
    optional = array.buffer.kind == "result" and text != name
    return to.address_if_given(name, text) if optional else text


@_view.register
def _(s: Gemm, to: Target) -> dict[str, Any]:
    sizes = ", ".join(integer(size, to) for size in (s.M, s.N, s.K))
    matrices = ", ".join(_matrix(matrix, to) for matrix in (s.A, s.B, s.C))
    lines = [f"{sizes}, {real_number(s.alpha, to)},", matrices]
    together = " ".join(lines)
    return {"kind": "Gemm", "lines": [together] if len(together) < 80 else lines}


def _matrix(matrix: Matrix, to: Target) -> str:
    return f"{pointer(matrix, to)}, {integer(matrix.row, to)}, {integer(matrix.column, to)}"
