"""A form by the user's own indices: entries of arguments, summed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import sympy

from ..language.expressions import (
    Node,
    array_space,
    constant,
    contraction,
)
from ..language.forms import Access, FormName, extents_of, make_form
from ..language.mistakes import called, renamed
from ..language.spaces import R, Real, Size, SpaceError, size

ONE = constant(sympy.S.One, R())


@called
def form(
    name: str,
    *,
    to: Access = (),
    ranges: Mapping[sympy.Symbol, object] | None = None,
    shape: Sequence[object] | None = None,
    **reads: Access,
) -> Callable[..., Node]:
    """A primitive: a multilinear form with the slot `to` open: which operand is read where.

    `ranges` gives the extent of an index that is nowhere a plain entry of an access, `shape` that
    of the result where `to` is not a list of indices alone.  What is returned, applied to
    expressions, one for each name in `reads`, is the contraction; reads outside an array are zero,
    and what would be put outside the result is dropped.  A form that reads nothing puts ones: it is
    one in a scalar slot, at the number 1.  Raises SpaceError where an access is not affine in its
    indices, a range is not known, or two axes disagree.

    >>> from derive import R, dims, form, indices, variable
    >>> n, m = dims("n m"); i, j = indices("i j")
    >>> transpose = form("transpose", A=(i, j), to=(j, i))
    >>> print(transpose(variable("A", R(n, m))).space)
    R(m, n)
    """
    if not isinstance(name, str) or not name.strip():
        raise SpaceError(
            f"form: expected its name first, as in form('f', x=(i,), to=(i,)), got {name!r}"
        )
    given = _ranges(name, ranges or {})
    accesses = [_access(name, slot, access) for slot, access in reads.items()]
    target = _access(name, "to", to)
    for entry_ in (entry_ for access in (*accesses, target) for entry_ in access):
        _check_affine(name, entry_)
    whole = None if shape is None else _whole(name, target, shape)

    @called
    def apply(*operands: Node) -> Node:
        if len(operands) != len(reads):
            raise SpaceError(f"{name}: expected {list(reads)}, got {len(operands)} operands")
        named = zip(reads, operands, strict=True)
        shapes = [array_space(x, f"{name}: {slot}").shape for slot, x in named]
        extents = extents_of(name, zip(reads, accesses, shapes, strict=True), given)
        _all_known(name, [*accesses, target], extents)
        space = whole or R(*(_extent(name, entry, extents) for entry in target))
        _check_result(name, target, space, extents)
        made = make_form([*(accesses or [()]), target], extents, name=FormName(name))
        return contraction(space, made, len(made.slots) - 1, operands or (ONE,))

    renamed(apply, name, reads)
    return apply


def _access(name: str, slot: str, access: object) -> Access:
    """The entries of an access as expressions; a lone index is one entry."""
    entries = access if isinstance(access, (tuple, list)) else (access,)
    for entry_ in entries:
        if isinstance(entry_, bool) or not isinstance(entry_, (int, sympy.Expr)):
            raise SpaceError(
                f"{name}: the access {slot}={access!r} has {entry_!r}, expected indices; make them "
                f"by i, j = indices('i j') and write {slot}=(i, j)"
            )
    return tuple(map(sympy.sympify, entries))


def _ranges(name: str, ranges: object) -> dict[sympy.Symbol, Size]:
    if not isinstance(ranges, Mapping) or not all(isinstance(i, sympy.Symbol) for i in ranges):
        raise SpaceError(
            f"{name}: expected ranges={{i: size}}, by index of indices('i'), got {ranges!r}"
        )
    return {index: size(extent) for index, extent in ranges.items()}


def _whole(name: str, target: Access, shape: object) -> Real:
    """The space of a result whose shape is given."""
    if not isinstance(shape, Sequence):
        raise SpaceError(f"{name}: shape must be a tuple of extents, got {shape!r}")
    space = R(*shape)
    if space.rank != len(target):
        raise SpaceError(f"{name}: the result at {target} has {len(target)} axes, not {space}")
    return space


def _check_result(
    name: str, target: Access, space: Real, extents: Mapping[sympy.Symbol, Size]
) -> None:
    """An index of the result runs over the whole of its axis."""
    for index, count in zip(target, space.shape, strict=True):
        if extents.get(index, count) != count:
            raise SpaceError(
                f"{name}: index {index} runs over {extents[index]}, but its axis of the result "
                f"has {count}; give the two one extent"
            )


def _check_affine(name: str, entry: sympy.Expr) -> None:
    running = [symbol for symbol in entry.free_symbols if not symbol.is_positive]
    steps = [sympy.diff(entry, index) for index in running]
    rest = entry.xreplace(dict.fromkeys(running, sympy.S.Zero))
    sizes = {symbol for part in (*steps, rest) for symbol in part.free_symbols}
    if sizes & set(running) or not all(part.is_integer for part in (*steps, rest)):
        raise SpaceError(
            f"{name}: the access {entry} is not affine in its indices with whole numbers; write it "
            "as in stride*i + s - pad"
        )


def _all_known(name: str, accesses: list[Access], extents: Mapping[sympy.Symbol, Size]) -> None:
    used = {s for access in accesses for entry in access for s in entry.free_symbols}
    for index in sorted((s for s in used if not s.is_positive), key=str):
        if index not in extents:
            raise SpaceError(
                f"{name}: the range of index {index} is not known, since no operand is read at "
                f"{index} alone; give it as ranges={{{index}: size}}"
            )


def _extent(name: str, entry: sympy.Expr, extents: Mapping[sympy.Symbol, Size]) -> Size:
    if entry not in extents:
        raise SpaceError(
            f"{name}: the result's access {entry} is not a plain index; give its shape "
            "as shape=(..)"
        )
    return extents[entry]
