"""A form by the user's own indices: entries of arguments, summed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import sympy

from ..language.expressions import Node, array_space, constant, contraction
from ..language.forms import Access, FormName, extents_of, make_form
from ..language.mistakes import called, renamed
from ..language.sizes import Size, size
from ..language.spaces import R, Real, SpaceError
from .result_spaces import Read, result_space

ONE = constant(sympy.S.One, R())


@called
def form(
    name: str,
    *,
    to: Access = (),
    ranges: Mapping[sympy.Symbol, object] | None = None,
    shape: Sequence[object] | Real | None = None,
    **reads: Access,
) -> Callable[..., Node]:
    """A primitive: a multilinear form with the slot `to` open: which operand is read where.

    `ranges` gives the extent of an index that is nowhere a plain entry of an access, `shape` that
    of the result where `to` is not a list of indices alone.  What is returned, applied to
    expressions, one for each name in `reads`, is the contraction; reads outside an array are zero,
    and what would be put outside the result is dropped.  A form that reads nothing puts ones: it is
    one in a scalar slot, at the number 1.

    An axis of the result that an index runs over, as it does over a whole axis of an operand, has
    that axis's Gram matrix; `shape`, where it is a space and not extents, is the result's space
    whatever the operands' are.  The adjoint is taken in the inner products of all these spaces.

    Raises SpaceError where an access is not affine in its indices, a range is not known, two axes
    disagree, or a Gram matrix would be lost in the result and no space is given.

    >>> from derive import R, dims, form, indices, variable
    >>> n, m = dims("n m"); i, j = indices("i j")
    >>> transpose = form("transpose", A=(i, j), to=(j, i))
    >>> print(transpose(variable("A", R(n, m))).space)
    R(m, n)
    """
    declared = _declared(name, reads, to, ranges or {}, shape)

    @called
    def apply(*operands: Node) -> Node:
        return declared.at(operands)

    renamed(apply, name, reads)
    return apply


@dataclass(frozen=True)
class _Declared:
    """A form as it was declared: where each operand is read, and where the result is written."""

    name: str
    reads: Mapping[str, Access]
    target: Access
    ranges: Mapping[sympy.Symbol, Size]
    shape: tuple[Size, ...] | Real | None

    def at(self, operands: Sequence[Node]) -> Node:
        """The contraction of these operands."""
        if len(operands) != len(self.reads):
            raise SpaceError(
                f"{self.name}: expected {list(self.reads)}, got {len(operands)} operands"
            )
        pairs = zip(self.reads.items(), operands, strict=True)
        reads = [(s, access, array_space(x, f"{self.name}: {s}")) for (s, access), x in pairs]
        shapes = ((slot, access, space.shape) for slot, access, space in reads)
        extents = extents_of(self.name, shapes, self.ranges)
        accesses = list(self.reads.values())
        _all_known(self.name, [*accesses, self.target], extents)
        space = self._space(reads, extents)
        slots = [*(accesses or [()]), self.target]
        made = make_form(slots, extents, name=FormName(self.name))
        return contraction(space, made, len(slots) - 1, operands or (ONE,))

    def _space(self, reads: Sequence[Read], extents: Mapping[sympy.Symbol, Size]) -> Real:
        """The result's space: the one that is declared, else what the operands' axes say."""
        shape = self.shape.shape if isinstance(self.shape, Real) else self.shape
        if shape is None:
            shape = tuple(_extent(self.name, entry, extents) for entry in self.target)
        _check_result(self.name, self.target, shape, extents)
        if isinstance(self.shape, Real):
            return self.shape
        return result_space(self.name, reads, self.target, shape, extents)


def _declared(
    name: str, reads: Mapping[str, object], to: object, ranges: object, shape: object
) -> _Declared:
    if not isinstance(name, str) or not name.strip():
        raise SpaceError(
            f"form: expected its name first, as in form('f', x=(i,), to=(i,)), got {name!r}"
        )
    given = _ranges(name, ranges)
    accesses = {slot: _access(name, slot, access) for slot, access in reads.items()}
    target = _access(name, "to", to)
    for entry_ in (entry_ for access in (*accesses.values(), target) for entry_ in access):
        _check_affine(name, entry_)
    return _Declared(name, accesses, target, given, _whole(name, target, shape))


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


def _whole(name: str, target: Access, shape: object) -> tuple[Size, ...] | Real | None:
    """A given shape: the result's extents, or its space."""
    if shape is None:
        return None
    if isinstance(shape, str) or not isinstance(shape, (Sequence, Real)):
        raise SpaceError(
            f"{name}: shape must be a tuple of extents, or the result's space R(..), got {shape!r}"
        )
    space = shape if isinstance(shape, Real) else R(*shape)
    if space.rank != len(target):
        raise SpaceError(f"{name}: the result at {target} has {len(target)} axes, not {space}")
    return space if isinstance(shape, Real) else space.shape


def _check_result(
    name: str, target: Access, shape: Sequence[Size], extents: Mapping[sympy.Symbol, Size]
) -> None:
    """An index of the result runs over the whole of its axis."""
    for index, count in zip(target, shape, strict=True):
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
