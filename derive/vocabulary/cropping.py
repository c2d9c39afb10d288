"""Cropping an array and embedding it in a larger one: adjoints of each other (section 4.2)."""

from __future__ import annotations

from collections.abc import Sequence

import sympy

from ..calculus.calculus import transpose as adjoint
from ..language.expressions import Node, array_space, contraction, variable
from ..language.forms import FormName, make_form
from ..language.mistakes import called
from ..language.spaces import Real, SpaceError
from .result_spaces import require_standard, result_space
from .windows import Windows, as_sizes, kept_axes


def _for_each_axis(given: object) -> Sequence[object]:
    """A lone place or extent is that of the last axis."""
    return given if isinstance(given, (tuple, list)) else (given,)


def _is_place(place: object) -> bool:
    """A whole number from 0 on, or a size."""
    if isinstance(place, sympy.Expr):
        return bool(place.is_integer and place.is_nonnegative)
    return isinstance(place, int) and not isinstance(place, bool) and place >= 0


# --- cropping and embedding


@called
def crop(x: Node, at: object, extents: object) -> Node:
    """kappa_at(x): the part of an array of these extents, from a place on (thesis (4.13)).

    Places count from 0, on the last axes of x; axes before them are kept.  One place and extent are
    those of the last axis.  What lies outside is zero.  Its adjoint is `embed` (lemma 4.2.1).
    Raises SpaceError where nothing lies inside.

    >>> from derive import R, dims, variable
    >>> c, n = dims("c n")
    >>> print(crop(variable("x", R(c, n, 8)), (0, 2), (1, 3)).space)
    R(c, 1, 3)
    """
    return _cropped("crop", x, at, extents)


def _cropped(what: str, x: Node, at: object, extents: object) -> Node:
    at, whole = _for_each_axis(at), array_space(x, what)
    shape, part = whole.shape, as_sizes(what, _for_each_axis(extents))
    kept = len(shape) - len(part)
    if kept < 0 or len(at) != len(part):
        raise SpaceError(
            f"{what}: expected a place and an extent for each of some last axes of {x.space}, got "
            f"the places {tuple(at)} and the extents {part}"
        )
    for place, count in zip(at, shape[kept:], strict=True):
        inside = _is_place(place) and not (count - 1 - place).is_negative
        if not inside:
            raise SpaceError(
                f"{what}: place {place!r} must be a whole number from 0 on, within the axis of "
                f"{count}"
            )
    front, inner = kept_axes(kept), Windows((), part, (), (), ()).within
    read = tuple(place + s for place, s in zip(at, inner, strict=True))
    ranges = dict(zip((*front, *inner), (*shape[:kept], *part), strict=True))
    accesses = [(*front, *read), (*front, *inner)]
    reads = [("x", accesses[0], whole)]
    space = result_space(what, reads, accesses[1], (*shape[:kept], *part), ranges)
    return contraction(space, make_form(accesses, ranges, name=FormName("kappa")), 1, (x,))


@called
def embed(y: Node, at: object, shape: object) -> Node:
    """Em_at(y): y as a part of an array that is zero elsewhere, from a place on (thesis (4.14)).

    `shape` are the extents of the last axes of the result, one or several; it is the adjoint of
    `crop`.

    >>> from derive import R, variable
    >>> print(embed(variable("y", R(2, 3)), (0, 1), (5, 5)).space)
    R(5, 5)
    """
    own, shape = array_space(y, "embed"), _for_each_axis(shape)
    kept = max(own.rank - len(shape), 0)
    whole = as_sizes("embed", (*own.shape[:kept], *shape))
    space = Real(whole, (*own.grams[:kept], *(None for _ in shape)))
    require_standard("embed", "y", own, kept, space)
    x = variable("x", space)
    return adjoint(_cropped("embed", x, at, own.shape[kept:]), y, (x,))[x]
