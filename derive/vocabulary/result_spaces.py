"""The space of a form's result: its extents, and the inner product that each axis keeps.

A form says which entries of its operands are multiplied, and an axis of the result that an index
runs over as it runs over a whole axis of an operand is that axis: it keeps its Gram matrix.  What
is summed over, or read at a number, is a coordinate, and no inner product is asked.  Where a Gram
matrix would be neither, the result's inner product has to be declared.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import sympy

from ..language.forms import Access
from ..language.sizes import Size
from ..language.spaces import Gram, R, Real, SpaceError

Read = tuple[str, Access, Real]
"""A slot's name, where its operand is read, and the operand's space."""


@dataclass(frozen=True)
class _Axis:
    """An axis of an operand: where it is read, and its inner product."""

    slot: str
    space: Real
    entry: sympy.Expr
    extent: Size
    gram: Gram | None


def result_space(
    name: str,
    reads: Sequence[Read],
    target: Access,
    shape: Sequence[Size],
    extents: Mapping[sympy.Symbol, Size],
) -> Real:
    """The space of that shape, each axis with the Gram matrix of the operands' axis that it is.

    Raises SpaceError, naming the operand and its space, where a Gram matrix is lost: where only a
    part of its axis is in the result, where the axis is mixed with others, or where two axes that
    are one in the result have different inner products.
    """
    axes = [
        _Axis(slot, space, *axis)
        for slot, access, space in reads
        for axis in zip(access, space.shape, space.grams, strict=True)
    ]
    grams = tuple(_kept(entry, target, axes, extents) for entry in target)
    kept = dict(zip(target, grams, strict=True))
    made = Real(R(*shape).shape, grams)
    shown = {index for entry in target for index in entry.free_symbols & extents.keys()}
    for axis in axes:
        if axis.gram and axis.entry.free_symbols & shown and kept.get(axis.entry) != axis.gram:
            raise SpaceError(_lost(name, axis, made))
    return made


def _kept(
    entry: sympy.Expr,
    target: Access,
    axes: Sequence[_Axis],
    extents: Mapping[sympy.Symbol, Size],
) -> Gram | None:
    """The inner product of all whole axes that an index alone runs over, if that is one."""
    same = [axis for axis in axes if axis.entry == entry]
    whole = all(axis.extent == extents.get(entry) for axis in same)
    grams = {axis.gram for axis in same}
    return grams.pop() if whole and len(grams) == 1 and target.count(entry) == 1 else None


def require_standard(name: str, slot: str, space: Real, first: int, result: Real) -> None:
    """Raises SpaceError where an axis from `first` on has a Gram matrix, which would be lost."""
    for extent, gram in list(zip(space.shape, space.grams, strict=True))[first:]:
        if gram:
            raise SpaceError(_lost(name, _Axis(slot, space, sympy.S.Zero, extent, gram), result))


def _lost(name: str, axis: _Axis, made: Real) -> str:
    every = ", ".join(_letters(axis.space.rank))
    access = f"({every},)" if axis.space.rank == 1 else f"({every})"
    return (
        f"{name}: {axis.slot} is of {axis.space}, and the result, of {made}, would lose the Gram "
        f"matrix {axis.gram}; say in form(..) which space the result is of, as shape={made}, or "
        f"give {axis.slot} with the standard inner product: "
        f"form('plain', {axis.slot}={access}, to={access}, shape={R(*axis.space.shape)})"
    )


def _letters(count: int) -> Iterator[str]:
    return (f"i{k}" if count > 3 else "ijk"[k] for k in range(count))
