"""The last axis of an array: maxima, entries, sums of exponentials, softmax."""

from __future__ import annotations

from ..language.expressions import (
    Gradient,
    Node,
    aligned,
    argmax,
    array_space,
    axes,
    axis,
    contraction,
    elementwise,
    held,
    potential,
)
from ..language.forms import make_form
from ..language.mistakes import called
from ..language.scalars import shipped
from ..language.spaces import Indices, Real, SpaceError
from .functions import exp, log
from .linear import total_sum

# --- largest entries, and what is shifted by them: over the last axis


@called
def largest(x: Node) -> Node:
    """The largest entry along the last axis; its derivative selects the first that attains it.

    >>> from derive import R, dims, variable
    >>> n, m = dims("n m")
    >>> print(largest(variable("x", R(n))).space, largest(variable("A", R(n, m))).space)
    R() R(n)
    """
    space, kept = _last_axis(x, "largest")
    window = aligned(space.shape, [axes(0, space.rank), axes(0, kept.rank)])
    place = argmax(window, Indices(space.shape[-1], kept.shape), x)
    bound = [(axis(kept.rank), axes(0, kept.rank))]
    extents = {axis(k): extent for k, extent in enumerate(space.shape)}
    picked = make_form([axes(0, space.rank), axes(0, kept.rank)], extents, bound)
    return contraction(kept, picked, 1, (x,), (place,))


def _last_axis(x: Node, what: str) -> tuple[Real, Real]:
    """The space of an array, and that without its last axis."""
    space = array_space(x, what)
    if not space.rank:
        raise SpaceError(f"{what}: expected a space of one axis at least, got {space}")
    return space, Real(space.shape[:-1], space.grams[:-1])


@called
def entry(x: Node, k: Node) -> Node:
    """The entry x_k of a vector, k a class index: <e_k, x>; the rows of a table for more axes.

    k in Index(n, ..) selects on the first axis of x in R(n, ..); the axes of k come first in the
    result, those of x that are left come after.

    >>> from derive import Index, R, dims, variable
    >>> n, m, t = dims("n m t")
    >>> k = variable("k", Index(n, t))
    >>> print(entry(variable("x", R(n)), k).space, entry(variable("E", R(n, m)), k).space)
    R(t) R(t, m)
    """
    space = array_space(x, "entry")
    if not isinstance(k, Node):
        raise SpaceError(f"entry: expected an argument declared as Index(..), got {k!r}")
    if not isinstance(k.space, Indices) or (k.space.bound,) != space.shape[:1]:
        raise SpaceError(
            f"entry: expected an array and class indices below its first extent, got {space} and "
            f"{k.space}; declare the index as Index({', '.join(map(str, space.shape[:1]))})"
        )
    chosen, rest = axis(0), axes(1, space.rank)
    at = axes(space.rank, space.rank + len(k.space.shape))
    extents = dict(zip((chosen, *rest, *at), (*space.shape, *k.space.shape), strict=True))
    selected = make_form([(chosen, *rest), (*at, *rest)], extents, [(chosen, at)])
    made = Real((*k.space.shape, *space.shape[1:]), (*[None] * len(at), *space.grams[1:]))
    return contraction(made, selected, 1, (x,), (k,))


def row_sums(x: Node) -> Node:
    """The sum along the last axis."""
    space, kept = _last_axis(x, "a sum along the last axis")
    form_ = aligned(space.shape, [axes(0, space.rank), axes(0, kept.rank)])
    return contraction(kept, form_, 1, (x,))


def repeated(y: Node, space: Real) -> Node:
    """y along a further last axis, that of the space."""
    form_ = aligned(space.shape, [axes(0, space.rank - 1), axes(0, space.rank)])
    return contraction(space, form_, 1, (y,))


def _less(x: Node, y: Node) -> Node:
    """x - y for a y along a further last axis; equal entries leave 0, infinite ones too."""
    return elementwise(shipped.difference, x, repeated(y, array_space(x, "a difference")))


def _anchored(s: Node) -> Node:
    """s to be subtracted, 0 in place of -inf: -inf less it stays -inf and does not become NaN."""
    return elementwise(shipped.anchor, s)


def _shifted(x: Node) -> Node:
    """x less its largest entry, which is held: no exponential of it overflows.

    Only for what a shift does not change: the derivative of the largest entry is left out.
    """
    return _less(x, _anchored(held(largest(x))))


def _shares(d: Node, s: Node) -> Node:
    """Exp(d - s), each exponential's share of their sum Exp(s); 0 in a sum of nothing."""
    return exp(_less(d, _anchored(s)))


_SHARES = Gradient("shares", _shares)


def _log_total(d: Node) -> Node:
    """s = log <1, Exp(d)>, whose gradient is Exp(d - s)."""
    return potential(log(row_sums(exp(d))), d, _SHARES)


@called
def log_sum_exp(x: Node) -> Node:
    """log <1, Exp(x)>, shifted by the largest entry: no overflow for any x.

    -inf where every entry is; +inf where one is (docs/edges.md).  Over the last axis.
    """
    _last_axis(x, "log_sum_exp")
    return _log_total(_shifted(x)) + held(largest(x))


@called
def softmax(x: Node) -> Node:
    """Exp(x) / <1, Exp(x)> (thesis (2.15)), shifted by the largest entry; over the last axis.

    Zero in a row that is -inf throughout.
    """
    _last_axis(x, "softmax")
    d = _shifted(x)
    return _shares(d, _log_total(d))


@called
def log_softmax(x: Node) -> Node:
    """Log(softmax(x)) (thesis, lemma 2.4.4), shifted first: no digits are lost to a large x."""
    _last_axis(x, "log_softmax")
    d = _shifted(x)
    return _less(d, _anchored(_log_total(d)))


@called
def log_softmax_entry(x: Node, k: Node) -> Node:
    """Log(softmax(x))_k for a class index k, without the other entries."""
    _last_axis(x, "log_softmax_entry")
    d = _shifted(x)
    return entry(d, k) - _anchored(_log_total(d))


def expectation(p: Node, a: Node) -> Node:
    """<p, a>, the mean of a in a distribution p; where p is 0, a is left out, even if infinite.

    Raises SpaceError where the two are not of one space.

    >>> from derive import R, dims, variable
    >>> n = dims("n")
    >>> print(expectation(variable("p", R(n)), variable("a", R(n))).space)
    R()
    """
    return total_sum(elementwise(shipped.weighed, p, a))
