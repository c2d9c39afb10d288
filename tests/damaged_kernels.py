"""Damages of lowered kernels: one statement or scalar of a kind, changed in one way, at a time."""

from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass, replace
from typing import Any

import sympy

from derive.kernels.lowering.kernel import Kernel
from derive.kernels.statements.loops import (
    Accumulate,
    Asked,
    Commented,
    Fill,
    For,
    Gemm,
    Largest,
    Let,
    Matrix,
    Select,
    Statement,
    Store,
)
from derive.kernels.statements.scalars import Apply, Inside, Load, Number, Scalar, Sum, Times

NOTHING = Commented((), ())
ZERO = Number(sympy.S.Zero)
Change = Callable[[Any], Any]  # a damaged instance; None where the damage does not apply


def damaged(kernel: Kernel, kind: type, change: Change) -> Iterator[Kernel]:
    """The kernel with the first instance of a kind changed, with the second one, and so on."""
    for number in range(sum(1 for _ in instances(kernel.steps, kind))):
        rewriter = _Rewriter(kind, change, number)
        steps = rewriter(kernel.steps)
        if rewriter.applied:
            yield replace(kernel, steps=steps)


def instances(tree: object, kind: type) -> Iterator[Any]:
    """Every instance of a kind, from the top."""
    if isinstance(tree, kind):
        yield tree
    for part in _parts(tree):
        yield from instances(part, kind)


def _parts(tree: object) -> list[object]:
    if isinstance(tree, tuple):
        return list(tree)
    if isinstance(tree, (Statement, Scalar, Matrix)) and is_dataclass(tree):
        return [getattr(tree, field.name) for field in fields(tree)]
    return []


class _Rewriter:
    def __init__(self, kind: type, change: Change, number: int) -> None:
        self.kind, self.change, self.left, self.applied = kind, change, number, False

    def __call__(self, tree: Any) -> Any:
        if isinstance(tree, self.kind):
            self.left -= 1
            if self.left == -1:
                changed = self.change(tree)
                self.applied = changed is not None and changed != tree
                return changed if self.applied else tree
        if isinstance(tree, tuple):
            return tuple(self(part) for part in tree)
        if not _parts(tree):
            return tree
        return replace(tree, **{f.name: self(getattr(tree, f.name)) for f in fields(tree)})


# --- what is done to an instance


def negated(value: Scalar) -> Scalar:
    return Sum(((sympy.Integer(-1), value),))


def negative(s: Any) -> Any:
    return replace(s, value=negated(s.value))


def doubled(value: Scalar) -> Scalar:
    return Sum(((sympy.Integer(2), value),))


def one_more(value: Scalar) -> Scalar:
    return Sum(((sympy.S.One, value), (sympy.S.One, Number(sympy.S.One))))


def shifted(place: tuple[sympy.Expr, ...], axis: int) -> tuple[sympy.Expr, ...] | None:
    if not place:
        return None
    axis %= len(place)
    return tuple(entry + int(k == axis) for k, entry in enumerate(place))


def with_place(axis: int) -> Change:
    def change(s: Any) -> Any:
        place = shifted(s.place, axis)
        return None if place is None else replace(s, place=place)

    return change


def window(more: int) -> Change:
    """A window that is searched over another extent along its first axis."""
    return lambda s: replace(s, extents=(s.extents[0] + more, *s.extents[1:]))


def exchanged(s: Largest) -> Any:
    return replace(s, indices=s.indices[::-1]) if len(s.indices) > 1 else None


def sets(s: Store) -> Any:
    """In a result, whose start counts; in workspace it is the same where an entry is met once."""
    return replace(s, add=False) if s.add and s.buffer.kind == "result" else None


def with_axes_exchanged(s: Any) -> Any:
    return replace(s, place=s.place[::-1]) if len(s.place) > 1 else None


def sized(name: str, by: int) -> Change:
    """A size of a product; one that is the number 1 stays at least 1."""

    def change(s: Gemm) -> Any:
        size = getattr(s, name)
        return None if by < 0 and size == 1 and name == "K" else replace(s, **{name: size + by})

    return change


ACROSS = {"A": ("M", "K"), "B": ("K", "N"), "C": ("M", "N")}


def matrix(name: str, **by: int) -> Change:
    """A stride or the offset of a matrix; the stride of an extent 1 is never used."""

    def change(s: Gemm) -> Any:
        old = getattr(s, name)
        rows, columns = (getattr(s, extent) for extent in ACROSS[name])
        if ("row" in by and rows == 1) or ("column" in by and columns == 1):
            return None
        moved = {key: getattr(old, key) + step for key, step in by.items()}
        return replace(s, **{name: replace(old, **moved)})

    return change


def transposed(name: str) -> Change:
    def change(s: Gemm) -> Any:
        old = getattr(s, name)
        return replace(s, **{name: replace(old, row=old.column, column=old.row)})

    return change


def without(name: str, position: int) -> Change:
    """One of several parts left out."""

    def change(s: Any) -> Any:
        parts = getattr(s, name)
        kept = tuple(p for k, p in enumerate(parts) if k != position % len(parts)) if parts else ()
        return replace(s, **{name: kept}) if parts else None

    return change


def other_pointer(s: Asked) -> Any:
    """Asked for what is given always when others are."""
    return replace(s, pointers=(*s.pointers[1:], "saved")) if s.pointers != ("saved",) else None


def by_derivative(s: Apply) -> Any:
    return replace(s, operation=s.operation.derivative(0))


def reversed_arguments(s: Apply) -> Any:
    return replace(s, arguments=s.arguments[::-1]) if len(s.arguments) > 1 else None


def no_longer_inside(s: Inside) -> Any:
    return s.value


def widened(s: Inside) -> Any:
    return replace(s, guards=tuple((entry, extent + 1) for entry, extent in s.guards))


def narrowed(s: Inside) -> Any:
    return replace(s, guards=tuple((entry, extent - 1) for entry, extent in s.guards))


def dropped(s: Any) -> Any:
    return NOTHING


def times(factor: int) -> Change:
    return lambda s: replace(s, alpha=factor * s.alpha)


DAMAGES: dict[str, tuple[type, Change]] = {
    "Store dropped": (Store, dropped),
    "Store of the negative": (Store, negative),
    "Store of twice as much": (Store, lambda s: replace(s, value=doubled(s.value))),
    "Store sets where it adds": (Store, sets),
    "Store adds where it sets": (Store, lambda s: None if s.add else replace(s, add=True)),
    "Store one further, first axis": (Store, with_place(0)),
    "Store one further, last axis": (Store, with_place(-1)),
    "Store with axes exchanged": (Store, with_axes_exchanged),
    "Store without guards": (Store, lambda s: replace(s, guards=()) if s.guards else None),
    "Load one further, first axis": (Load, with_place(0)),
    "Load one further, last axis": (Load, with_place(-1)),
    "Load with axes exchanged": (Load, with_axes_exchanged),
    "Gemm dropped": (Gemm, dropped),
    "Gemm with A and B exchanged": (Gemm, lambda s: replace(s, A=s.B, B=s.A)),
    "Gemm with the negative": (Gemm, times(-1)),
    "Gemm with twice as much": (Gemm, times(2)),
    **{
        f"Gemm {name} {'+' if by > 0 else '-'} 1": (Gemm, sized(name, by))
        for name in "MNK"
        for by in (1, -1)
    },
    **{
        f"Gemm {name} {key} + 1": (Gemm, matrix(name, **{key: 1}))
        for name in "ABC"
        for key in ("offset", "row", "column")
    },
    **{f"Gemm {name} transposed": (Gemm, transposed(name)) for name in "ABC"},
    "Fill dropped": (Fill, dropped),
    "Accumulate dropped": (Accumulate, dropped),
    "Accumulate the negative": (Accumulate, negative),
    "Accumulate twice as much": (Accumulate, lambda s: replace(s, value=doubled(s.value))),
    "For one less": (For, lambda s: replace(s, extent=s.extent - 1)),
    "For one more": (For, lambda s: replace(s, extent=s.extent + 1)),
    "For dropped": (For, dropped),
    "Let dropped": (Let, dropped),
    "Let the negative": (Let, lambda s: None if s.value == ZERO else negative(s)),
    "Let one more": (Let, lambda s: replace(s, value=one_more(s.value))),
    "Select dropped": (Select, dropped),
    "Select from one further": (Select, with_place(0)),
    "Largest of the negative": (Largest, negative),
    "Largest among one less": (Largest, window(-1)),
    "Largest among one more": (Largest, window(1)),
    "Largest with its indices exchanged": (Largest, exchanged),
    "Largest dropped": (Largest, dropped),
    "Largest without guards": (Largest, lambda s: replace(s, guards=()) if s.guards else None),
    "Asked without condition": (Asked, lambda s: Commented((), s.body)),
    "Asked by the first pointer no more": (Asked, without("pointers", 0)),
    "Asked by the last pointer no more": (Asked, without("pointers", -1)),
    "Asked by another pointer": (Asked, other_pointer),
    "Asked dropped": (Asked, dropped),
    "Inside without guards": (Inside, no_longer_inside),
    "Inside with one guard less": (Inside, without("guards", 0)),
    "Inside of one more": (Inside, widened),
    "Inside of one less": (Inside, narrowed),
    "Sum without its last term": (Sum, without("terms", -1)),
    "Sum with a sign changed": (
        Sum,
        lambda s: replace(s, terms=((-s.terms[0][0], s.terms[0][1]), *s.terms[1:])),
    ),
    "Times without its last factor": (Times, without("factors", -1)),
    "Apply the derivative": (Apply, by_derivative),
    "Apply to reversed arguments": (Apply, reversed_arguments),
    "Number one more": (Number, lambda s: replace(s, value=s.value + 1)),
}
