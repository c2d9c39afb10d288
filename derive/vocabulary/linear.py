"""Sums, products and norms as forms: linear in each of their arguments."""

from __future__ import annotations

import sympy

from ..language.expressions import (
    Node,
    aligned,
    array_or_product,
    array_space,
    axes,
    contraction,
    elementwise,
    linear_combination,
    parts,
)
from ..language.mistakes import called
from ..language.riesz import riesz
from ..language.scalars import shipped
from ..language.spaces import Hom, Product, R, Real, SpaceError
from .forming import form

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

    The shapes must be equal.
    """
    if isinstance(x.space, Product):
        pairs = zip(parts(x), parts(y), strict=True)
        return linear_combination([(1, dot(a, b)) for a, b in pairs])
    space, access = array_space(x, "inner"), axes(0, array_space(x, "inner").rank)
    return contraction(R(), aligned(space.shape, [access, access, ()]), 2, (x, y))


@called
def norm(x: Node) -> Node:
    """The norm of x in the inner product of its space; at zero its derivatives are set to 0."""
    array_or_product(x, "norm")
    return elementwise(shipped.root, inner(x, x))


@called
def transpose(A: Node) -> Node:
    """A^T, the matrix with rows and columns exchanged; its adjoint is itself (lemma 4.3.1).

    Raises SpaceError where A does not have two axes.

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
