r"""Spaces in LaTeX: \mathbb{R}^{n \times m}, direct products, class indices, Gram matrices."""

from __future__ import annotations

from collections.abc import Callable

import sympy

from ...language.sizes import Size
from ...language.spaces import Gram, Indices, Product, Real, Space
from .letters import symbol
from .typography import parenthesised, value

Name = Callable[[str], str]


def space_latex(space: Space, name: Name = symbol) -> str:
    r"""The space; one with Gram matrices is the pair of R^n and the matrix of its inner product.

    >>> from derive import Hom, Index, R, dims
    >>> n, m = dims("n m")
    >>> print(space_latex(Hom(R(m), R(n)) * R(n)), space_latex(Index(n)))
    \mathbb{R}^{n \times m} \times \mathbb{R}^{n} \{0, \dots, n - 1\}
    """
    if isinstance(space, Product):
        return r" \times ".join(_factor(factor, name) for factor in space.factors)
    if isinstance(space, Indices):
        last = value(space.bound - 1, name)
        return rf"\{{0, \dots, {last}\}}{_power(space.shape, name)}"
    assert isinstance(space, Real)
    bare = rf"\mathbb{{R}}{_power(space.shape, name)}"
    if not any(space.grams):
        return bare
    matrices = r" \otimes ".join(gram_latex(gram, name) for gram in space.grams)
    return parenthesised(f"{bare}, {matrices}")


def gram_latex(gram: Gram | None, name: Name = symbol) -> str:
    r"""G, G^{-1}, or I if the axis has none."""
    if gram is None:
        return "I"
    return f"{name(gram.name)}^{{-1}}" if gram.inverted else name(gram.name)


def _factor(space: Space, name: Name) -> str:
    shown = space_latex(space, name)
    return parenthesised(shown) if isinstance(space, Product) else shown


def _power(shape: tuple[Size, ...], name: Name) -> str:
    extents = r" \times ".join(_extent(extent, name, len(shape) > 1) for extent in shape)
    return f"^{{{extents}}}" if shape else ""


def _extent(extent: sympy.Expr, name: Name, among: bool) -> str:
    shown = value(extent, name)
    return parenthesised(shown) if among and extent.is_Add else shown
