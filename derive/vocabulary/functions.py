"""What a formula is written with: elementwise functions, and sums, products and norms as forms."""

from __future__ import annotations

import math
import numbers
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import sympy

from ..language.expressions import (
    Elementwise,
    Gradient,
    Node,
    aligned,
    argmax,
    array_or_product,
    array_space,
    axes,
    axis,
    constant,
    contraction,
    elementwise,
    held,
    linear_combination,
    parts,
    potential,
    tuple_of,
)
from ..language.forms import LATEST, Access, extents_of, make_form
from ..language.mistakes import called, renamed
from ..language.riesz import riesz
from ..language.scalars import shipped
from ..language.scalars.digits import AccuracyWarning, check_given, loss
from ..language.scalars.operations import Formula, Operation, OperationError, operation
from ..language.spaces import Hom, Indices, Product, R, Real, Size, Space, SpaceError, size
from ..language.walk import jet

ONE = constant(sympy.S.One, R())


def function(psi: Operation) -> Callable[..., Node]:
    """The elementwise function Psi of an elementwise operation psi (thesis (2.9))."""

    @called
    def psi_of(*arguments: Any) -> Any:
        return elementwise(psi, *arguments) if _has_expression(arguments) else _at(psi, arguments)

    renamed(psi_of, psi.name, map(str, psi.arguments))
    psi_of.__doc__ = f"{psi.name}, entry by entry: {psi.body}"
    return psi_of


def _has_expression(arguments: Sequence[object]) -> bool:
    return not arguments or not all(map(_is_number, arguments))


def _is_number(value: object) -> bool:
    return isinstance(value, (numbers.Real, sympy.Expr)) and not isinstance(value, bool)


def _at(psi: Operation, values: Sequence[Any]) -> sympy.Expr | float:
    """psi at numbers: a float; at an expression of SymPy, such as a size, its formula there."""
    if len(values) != len(psi.arguments):
        raise SpaceError(f"{psi.name}: expected {len(psi.arguments)} arguments, got {len(values)}")
    if any(isinstance(value, sympy.Expr) and value.free_symbols for value in values):
        return psi.body.xreplace(dict(zip(psi.arguments, map(sympy.sympify, values), strict=True)))
    with np.errstate(all="ignore"):
        number = float(psi(*(np.float64(value) for value in values)))
    if not math.isfinite(number):
        shown = ", ".join(map(str, values))
        raise SpaceError(f"{psi.name}({shown}) is {number}, and no finite number")
    return number


DEEP = (
    "its formula has more operations within each other than SymPy can go down; write the steps in "
    "the layer, each an operation on arrays: there may be thousands of these"
)


@called
def elementwise_function(
    name: str,
    formula: Formula,
    *,
    stable: Formula | None = None,
    derivatives: Mapping[int | tuple[int, ...], Formula] | None = None,
) -> Callable[..., Node]:
    """An elementwise function from any SymPy scalar expression of one or several arguments.

    The formula and its derivatives are evaluated as laws of scalar functions rewrite them
    (log(1 + exp(t)) by softplus(t), ..).  `stable` is the same function in a form that keeps its
    digits, where they do not suffice; `derivatives` gives such forms of the derivatives, by order
    or, for several arguments, by a tuple of orders.  At a branch on an equality, Eq or Ne, the
    derivatives are the limits.

    Warns (AccuracyWarning) where the values lose their digits or overflow, found at fixed points by
    multiple precision.  Raises OperationError for a formula that is not real, that has functions
    other than those known, or an equality around which there is no finite limit, and for `stable`
    or a derivative that is of another function than the formula.

    >>> from derive import elementwise_function, R, dims, variable
    >>> gaussian = elementwise_function("gaussian", lambda t: sympy.exp(-t**2))
    >>> gaussian(variable("x", R(dims("n")))).space == R(dims("n"))
    True
    """
    try:
        psi = operation(name, formula, stable=stable, derivatives=derivatives)
        check_given(psi)
        found = loss(psi)
    except RecursionError:
        raise OperationError(f"{name}: {DEEP}") from None
    if found:
        warnings.warn(str(found), AccuracyWarning, stacklevel=3)  # and `called`
    return function(psi)


tanh = function(shipped.tanh)
sigmoid = function(shipped.sigmoid)
relu = function(shipped.relu)
leaky_relu = function(shipped.leaky_relu)
elu = function(shipped.elu)
softplus = function(shipped.softplus)
gelu = function(shipped.gelu)
exp = function(shipped.exp)
log = function(shipped.log)
sqrt = function(shipped.sqrt)
log1p = function(shipped.log1p_)
expm1 = function(shipped.expm1_)


@called
def form(
    name: str,
    *,
    to: Access = (),
    ranges: Mapping[sympy.Symbol, object] | None = None,
    shape: Sequence[object] | None = None,
    **reads: Access,
) -> Callable[..., Node]:
    """A primitive: a multilinear form with the slot `to` open, by who is read where.

    `ranges` gives the extent of an index that is no plain entry of an access, `shape` that of the
    result where `to` is no list of indices alone.  The result applied to expressions, one for each
    name in `reads`, is the contraction; reads outside an array are zero, and what would be put
    outside the result is dropped.  A form that reads nothing puts ones: it is one in a scalar slot,
    at the number 1.  Raises SpaceError where an access is not affine in its indices,
    a range is not known, or two axes disagree.

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
        made = make_form([*(accesses or [()]), target], extents)
        LATEST.add(made, name)
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
            f"{name}: the result's access {entry} is no plain index; give its shape as shape=(..)"
        )
    return extents[entry]


@called
def uninterpreted(name: str, *spaces: Space) -> Callable[..., Node]:
    """A function of which only its spaces are known, the codomain last; its derivatives are jets.

    Whatever the calculus derives from it holds for every such function: the generic theorems of the
    thesis, chapter 3.  Raises SpaceError where it is applied outside its domain.

    >>> from derive import R, dims, tanh, uninterpreted, variable
    >>> n, m, p = dims("n m p")
    >>> f = uninterpreted("f", R(m), R(p), R(n))
    >>> print(f(variable("x", R(m)), variable("theta", R(p))).space)
    R(n)
    """
    if not isinstance(name, str) or not name.isidentifier() or len(spaces) < 2:
        raise SpaceError(
            "uninterpreted: expected a name, the spaces of the arguments and the codomain, as in "
            f"uninterpreted('f', R(m), R(n)), got {name!r} and {len(spaces)} spaces"
        )
    for space in spaces:
        if not isinstance(space, Space):
            raise SpaceError(f"{name}: expected spaces, as in R(m), got {space!r}")
    *domain, codomain = spaces

    def f(*arguments: Node) -> Node:
        given = [x.space if isinstance(x, Node) else repr(x) for x in arguments]
        if given != domain:
            expected, found = (", ".join(map(str, each)) or "nothing" for each in (domain, given))
            raise SpaceError(f"{name}: a function of {expected}, got {found}; apply it to these")
        return jet(name, codomain, arguments)

    f.__name__ = f.__qualname__ = name
    return f


# --- selections


def select(mask: Node, there: Node, elsewhere: Node) -> Node:
    """The entries of `there` where the mask is not zero, those of `elsewhere` where it is.

    The mask is a scalar, or has the first axes of the space alone.  What is not selected is not
    read: no NaN and no infinity of it comes through, which a product with zero would let.  Its
    derivative selects from the directions, its adjoint where the cotangent goes.  Component by
    component for a direct product.
    """
    if isinstance(there.space, Product):
        return tuple_of(select(mask, a, b) for a, b in zip(there, elsewhere, strict=True))
    whole = _over(mask, array_space(there, "select"))
    there, elsewhere = _chosen(whole, there, 1), _chosen(whole, elsewhere, 2)
    return elementwise(shipped.select, whole, there, elsewhere)


def _chosen(mask: Node, node: Node, side: int) -> Node:
    """What a selection by the same mask has on that side, for a selection."""
    same = isinstance(node, Elementwise) and node.operation is shipped.select
    return node.operands[side] if same and node.operands[0] is mask else node


def _over(mask: Node, space: Real) -> Node:
    """A mask of the first axes of a space in every entry behind them."""
    rank = array_space(mask, "select").rank
    if mask.space.shape != space.shape[:rank]:  # type: ignore[attr-defined]
        raise SpaceError(f"select: the mask is of {mask.space}, what it selects of {space}")
    accesses = [axes(0, rank), axes(0, space.rank)]
    return contraction(space, aligned(space.shape, accesses), 1, (mask,))


def only(mask: Node, x: Node) -> Node:
    """x where the mask is not zero, zero elsewhere."""
    return select(mask, x, linear_combination([(0, x)]))


def gate(mask: Node, x: Node) -> Node:
    """x, with a derivative only where the mask is not zero.

    It stands inside of what is selected by the same mask: its cotangent then is zero where nothing
    is selected, whatever the derivatives there may be.
    """
    return select(mask, x, held(x))


# --- sums and products


@called
def total_sum(x: Node) -> Node:
    """<1, x>: the sum of all entries."""
    space = array_space(x, "total_sum")
    return contraction(R(), aligned(space.shape, [axes(0, space.rank), ()]), 1, (x,))


@called
def mean(x: Node) -> Node:
    """The mean of all entries."""
    return linear_combination([(1 / array_space(x, "mean").dimension, total_sum(x))])


@called
def broadcast(number: Node, space: Real) -> Node:
    """The scalar in every entry of an array of the space: number times the all-ones vector."""
    if array_space(number, "broadcast").shape != ():
        raise SpaceError(f"broadcast: expected a scalar, got {number.space}")
    if not isinstance(space, Real):
        raise SpaceError(f"broadcast: expected an array space, got {space}")
    return contraction(space, aligned(space.shape, [(), axes(0, space.rank)]), 1, (number,))


@called
def scale(number: Node, x: Node) -> Node:
    """The scalar multiple number x."""
    space, access = array_space(x, "scale"), axes(0, array_space(x, "scale").rank)
    if array_space(number, "scale").shape != ():
        raise SpaceError(f"scale: the first argument must be a scalar, got {number.space}")
    return contraction(space, aligned(space.shape, [(), access, access]), 2, (number, x))


@called
def outer(u: Node, x: Node) -> Node:
    """The tensor product u (x) x in Hom(X, Y), the map v -> u <x, v>."""
    left, right = array_space(u, "outer"), array_space(x, "outer")
    shape = (*left.shape, *right.shape)
    accesses = [axes(0, left.rank), axes(left.rank, len(shape)), axes(0, len(shape))]
    return contraction(Hom(right, left), aligned(shape, accesses), 2, (u, riesz(x)))


@called
def inner(x: Node, y: Node) -> Node:
    """<x, y> in the inner product of their space; a sum over the factors of a direct product."""
    for operand in (x, y):
        array_or_product(operand, "inner")
    if x.space != y.space:
        raise SpaceError(f"inner: both arguments must be of one space, got {x.space} and {y.space}")
    return dot(x, riesz(y))


@called
def dot(x: Node, y: Node) -> Node:
    """The sum of the products of all entries: <x, y> where the inner product is the standard one.

    The shapes must be one.
    """
    if isinstance(x.space, Product):
        pairs = zip(parts(x), parts(y), strict=True)
        return linear_combination([(1, dot(a, b)) for a, b in pairs])
    space, access = array_space(x, "inner"), axes(0, array_space(x, "inner").rank)
    return contraction(R(), aligned(space.shape, [access, access, ()]), 2, (x, y))


@called
def norm(x: Node) -> Node:
    """The norm of x in the inner product of its space; at zero its derivatives are 0, as stated."""
    array_or_product(x, "norm")
    return elementwise(shipped.root, inner(x, x))


@called
def transpose(A: Node) -> Node:
    """A^T, the matrix with rows and columns exchanged; its adjoint is itself (lemma 4.3.1).

    Raises SpaceError where A has not two axes.

    >>> from derive import R, dims, variable
    >>> n, m = dims("n m")
    >>> print(transpose(variable("A", R(n, m))).space)
    R(m, n)
    """
    if array_space(A, "transpose").rank != 2:
        raise SpaceError(f"transpose: expected a matrix R(n, m), got {A.space}")
    return form("transpose", A=axes(0, 2), to=axes(0, 2)[::-1])(A)


@called
def vec(x: Node) -> Node:
    """vec(x): the entries of an array as a vector, the last axis running fastest.

    >>> from derive import R, dims, variable
    >>> c, n = dims("c n")
    >>> print(vec(variable("x", R(c, n, 2))).space)
    R(2*c*n)
    """
    shape = array_space(x, "vec").shape
    read, place = axes(0, len(shape)), sympy.S.Zero
    for index, extent in zip(read, shape, strict=True):
        place = place * extent + index
    return form("vec", x=read, to=(sympy.expand(place),), shape=(sympy.Mul(*shape),))(x)


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
    """x - y for a y along a further last axis; what is equal leaves 0, infinities too."""
    return elementwise(shipped.difference, x, repeated(y, array_space(x, "a difference")))


def _anchored(s: Node) -> Node:
    """s, what -inf is measured from where s is -inf too: 0, so that it stays -inf."""
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
    """<p, a>, the mean of a in a distribution p; what has probability 0 is left out, infinite too.

    Raises SpaceError where the two are not of one space.

    >>> from derive import R, dims, variable
    >>> n = dims("n")
    >>> print(expectation(variable("p", R(n)), variable("a", R(n))).space)
    R()
    """
    return total_sum(elementwise(shipped.weighed, p, a))
