"""Inner product spaces: the domains and codomains of every map (thesis, section 2.1).

A space is an array space `R(n, m)`, whose vectors are arrays of that shape, a direct product `E *
H` of spaces, or a set of class indices `Index(k)`, which is not a vector space and is only ever
given.  `Hom(X, Y)`, the linear maps from X to Y, is an array space again, of shape `(*Y.shape,
*X.shape)`; a `Hom` into or from a direct product is the direct product of the `Hom`s.

The inner product is the standard one unless a space carries its own: `R(n, gram=Gram("G"))` has
<x, y> = x^T G y with G symmetric and positive definite.  `Hom(X, Y)` then carries the
Hilbert-Schmidt product tr(A* B), which is G_Y on the axes of Y and the inverse of G_X on those of
X.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, NoReturn, overload

import sympy

from .hooks import Shown
from .mistakes import SpaceError as SpaceError  # its public home
from .mistakes import called, refuse_attribute, refuse_operators
from .sizes import Size, size


@dataclass(frozen=True)
class Gram:
    """The Gram matrix of an axis, by name: symmetric, positive definite, given as data."""

    name: str
    inverted: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name.isidentifier():
            raise SpaceError(
                f"Gram: expected the name of a matrix that is given, as in Gram('G'), got "
                f"{self.name!r}"
            )

    @property
    def inverse(self) -> Gram:
        """The Gram matrix of the dual axis."""
        return Gram(self.name, not self.inverted)

    def __str__(self) -> str:
        return f"{self.name}^-1" if self.inverted else self.name


HAS = "an array space has shape, rank, grams and dimension, a direct product has factors"


@dataclass(frozen=True, repr=False)
class Space(Shown):
    """A space; `*` is the direct product and `**` a power of an array space."""

    def __repr__(self) -> str:
        return str(self)

    @property
    def dimension(self) -> Size:
        raise NotImplementedError

    def __mul__(self, other: Space) -> Product:
        if not isinstance(other, Space):
            raise SpaceError(
                f"{self} * {other!r}: the direct product needs a space on both sides; copies of "
                "one space are a power, as in R(n)**4"
            )
        return Product((*factors(self), *factors(other)))

    if not TYPE_CHECKING:  # there, what is not defined is an error

        def __getattr__(self, name: str) -> NoReturn:
            refuse_attribute(f"the space {type(self).__name__}", name, {}, HAS)

    def _refuse(self, what: str, instead: str) -> NoReturn:
        raise SpaceError(f"{what} is not defined for the space {self}; {instead}")

    def __pow__(self, count: int) -> Real:
        if not isinstance(self, Real):
            raise SpaceError(f"({self})**{count}: only an array space has a power; use * instead")
        return Real((size(count), *self.shape), (None, *self.grams))


_PRODUCT = "the direct product of spaces is R(n) * R(m), a power R(n)**4"


refuse_operators(
    Space,
    {
        **dict.fromkeys(("__add__", "__radd__", "__rmul__", "__or__", "__sub__"), _PRODUCT),
        "__matmul__": "the space of linear maps is Hom(R(m), R(n))",
        "__call__": "an expression of it is an argument of a layer, or variable('x', R(n))",
        **dict.fromkeys(
            ("__getitem__", "__iter__"), "its sizes are space.shape, its factors space.factors"
        ),
    },
    Space._refuse,
)


@dataclass(frozen=True, repr=False)
class Real(Space):
    """R^shape: real arrays, each axis with its Gram matrix (None: the identity)."""

    shape: tuple[Size, ...]
    grams: tuple[Gram | None, ...]

    @property
    def dimension(self) -> Size:
        return reduce(lambda a, b: a * b, self.shape, sympy.Integer(1))

    @property
    def rank(self) -> int:
        """The number of axes."""
        return len(self.shape)

    def __str__(self) -> str:
        axes = [
            str(extent) if gram is None else f"{extent}, gram={gram}"
            for extent, gram in zip(self.shape, self.grams, strict=True)
        ]
        return f"R({', '.join(axes)})"


@dataclass(frozen=True, repr=False)
class Product(Space):
    """The direct product of spaces; its vectors are tuples."""

    factors: tuple[Space, ...]

    @property
    def dimension(self) -> Size:
        return reduce(lambda a, b: a + b, (factor.dimension for factor in self.factors))

    def __str__(self) -> str:
        return " * ".join(str(factor) for factor in self.factors)


@dataclass(frozen=True, repr=False)
class Indices(Space):
    """Arrays of class indices 0, .., bound - 1; given, never differentiated."""

    bound: Size
    shape: tuple[Size, ...]

    def __str__(self) -> str:
        return f"Index({', '.join(str(extent) for extent in (self.bound, *self.shape))})"


@called
def R(*shape: object, gram: Gram | None = None) -> Real:
    """The array space R^shape, the scalars for no shape; `gram` is the inner product of one axis.

    >>> from derive import dims
    >>> n, m = dims("n m")
    >>> print(R(n, m), R(n, gram=Gram("G")), R())
    R(n, m) R(n, gram=G) R()
    """
    if gram is not None and not isinstance(gram, Gram):
        raise SpaceError(
            f"gram={gram!r}: expected the name of a matrix that is given to kernels, as in "
            "R(n, gram=Gram('G'))"
        )
    if gram is not None and len(shape) != 1:
        raise SpaceError(f"gram={gram} belongs to a space of one axis, got {len(shape)} axes")
    return Real(tuple(size(extent) for extent in shape), (gram,) * len(shape))


@called
def Index(bound: object, *shape: object) -> Indices:
    """Class indices below `bound`, in an array of the given shape (one index for no shape)."""
    return Indices(size(bound), tuple(size(extent) for extent in shape))


def factors(space: Space) -> tuple[Space, ...]:
    """The factors of a direct product; the space itself where it is not one."""
    return space.factors if isinstance(space, Product) else (space,)


@overload
def Hom(domain: Real, codomain: Real) -> Real: ...


@overload
def Hom(domain: Space, codomain: Space) -> Space: ...


@called
def Hom(domain: Space, codomain: Space) -> Space:
    """The linear maps from `domain` to `codomain`, with the Hilbert-Schmidt inner product.

    >>> from derive import dims
    >>> n, m = dims("n m")
    >>> print(Hom(R(m), R(n)), "and", Hom(R(m) * R(n), R(n)))
    R(n, m) and R(n, m) * R(n, n)
    """
    for space in (domain, codomain):
        if not isinstance(space, Space):
            raise SpaceError(f"Hom: expected spaces, as in Hom(R(m), R(n)), got {space}")
    if isinstance(codomain, Product):
        return Product(tuple(Hom(domain, factor) for factor in codomain.factors))
    if isinstance(domain, Product):
        return Product(tuple(Hom(factor, codomain) for factor in domain.factors))
    if not (isinstance(domain, Real) and isinstance(codomain, Real)):
        raise SpaceError(f"Hom({domain}, {codomain}): class indices are not a vector space")
    dual = tuple(gram and gram.inverse for gram in domain.grams)
    return Real((*codomain.shape, *domain.shape), (*codomain.grams, *dual))


def codomain_of(operator: Space, domain: Space) -> Space | None:
    """The space Y with Hom(domain, Y) of the operator's shape; None where there is none."""
    if isinstance(operator, Real) and isinstance(domain, Real):
        split = operator.rank - domain.rank
        fits = split >= 0 and operator.shape[split:] == domain.shape
        return Real(operator.shape[:split], operator.grams[:split]) if fits else None
    if not isinstance(operator, Product):
        return None
    rows = [codomain_of(factor, domain) for factor in operator.factors]
    if all(row is not None for row in rows):
        return Product(tuple(row for row in rows if row is not None))
    if not isinstance(domain, Product) or len(domain.factors) != len(operator.factors):
        return None
    pairs = zip(operator.factors, domain.factors, strict=True)
    blocks = {codomain_of(block, factor) for block, factor in pairs}
    return blocks.pop() if len(blocks) == 1 else None


def leaves(space: Space) -> Iterator[Real | Indices]:
    """The array spaces that a vector of `space` is stored in, in order."""
    if isinstance(space, Product):
        for factor in space.factors:
            yield from leaves(factor)
    elif isinstance(space, (Real, Indices)):
        yield space


def substitute(space: Space, sizes: dict[sympy.Symbol, Size]) -> Space:
    """The space with its sizes replaced, all at once."""
    if isinstance(space, Product):
        return Product(tuple(substitute(factor, sizes) for factor in space.factors))
    if isinstance(space, Indices):
        extents = tuple(size(extent.xreplace(sizes)) for extent in space.shape)
        return Indices(size(space.bound.xreplace(sizes)), extents)
    assert isinstance(space, Real)
    return Real(tuple(size(extent.xreplace(sizes)) for extent in space.shape), space.grams)
