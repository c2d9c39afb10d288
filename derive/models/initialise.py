"""Parameters to start training from, by what each of them does in its layer.

    map     its entries are summed against those of another array: uniform on (-a, a) with
            a = sqrt(6 / (fan_in + fan_out))              (Glorot and Bengio 2010, (16))
    gain    it multiplies another array entry by entry: ones
    bias    a term of a sum, or anything else: zero

What is fixed is drawn in the same way, as a parameter in its place would be: the user replaces it.
Class indices that are fixed are 0.

fan_in counts the entries that one entry of W x is a sum of, fan_out the entries of W x that one
entry of x goes into; for W of Hom(R(m), R(n)) they are m and n, for the filters of a convolution a
field of them for each channel.  A table of embeddings is a map on indicator vectors: its fan_in
is 1.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import sympy

from ..language.expressions import Contraction, Node, Variable, parts
from ..language.forms import Access
from ..language.reference import Value, extent, shape_of
from ..language.sizes import Size
from ..language.spaces import Indices, Product, Real, SpaceError
from ..language.walk import topological

Sizes = Mapping[sympy.Symbol, int]


@dataclass(frozen=True)
class Fans:
    """The extents whose product is fan_in, and those whose product is fan_out."""

    into: tuple[Size, ...]
    out: tuple[Size, ...]

    def bound(self, sizes: Sizes) -> float:
        """a = sqrt(6 / (fan_in + fan_out))."""
        fan_in, fan_out = (
            math.prod(extent(size, sizes) for size in extents) for extents in (self.into, self.out)
        )
        return math.sqrt(6 / (fan_in + fan_out))


def checked_count(what: str, count: Size) -> int:
    """A size that is a number."""
    if not count.is_Integer:
        raise SpaceError(
            f"{what} is {count}: expected a number, for arrays have numbers of entries"
        )
    return int(count)


def checked_generator(what: str, rng: np.random.Generator) -> np.random.Generator:
    """What draws random numbers."""
    if not hasattr(rng, "uniform"):
        raise SpaceError(
            f"{what}: expected a generator first, as numpy.random.default_rng(0), got {rng!r}"
        )
    return rng


def of_kernels(what: str, dtype: Any) -> np.dtype[Any]:
    """A dtype that kernels take."""
    with suppress(TypeError):
        for known in (np.float64, np.float32):
            if np.dtype(dtype) == known:
                return np.dtype(known)
    raise SpaceError(f"{what}: expected the dtype float64 or float32 of kernels, got {dtype!r}")


def drawn(
    parameters: Iterable[Variable],
    output: Node,
    rng: np.random.Generator,
    sizes: Sizes,
    dtype: np.dtype[Any],
) -> dict[str, Value]:
    """Values of the parameters, and of what is fixed, of an expression, by name, in their order.

    They are drawn in float64, so that each dtype has the same ones, rounded.  Raises SpaceError
    where a size is missing.
    """

    def draw(theta: Node) -> Value:
        if isinstance(theta.space, Product):
            return tuple(draw(part) for part in parts(theta))
        if isinstance(theta.space, Indices):
            return np.zeros(shape_of(theta.space, sizes), np.int64)
        assert isinstance(theta.space, Real)
        shape, fans = shape_of(theta.space, sizes), fans_of(theta, output)
        if fans is None:
            return np.zeros(shape, dtype)
        if not (fans.into or fans.out):
            return np.ones(shape, dtype)
        a = fans.bound(sizes)
        return np.asarray(rng.uniform(-a, a, size=shape), dtype)

    return {theta.name: draw(theta) for theta in parameters}


def fans_of(theta: Node, output: Node) -> Fans | None:
    """The fans of a parameter where it, or a slice of it, first meets another array; none, None.

    >>> from derive.library.dense import affine
    >>> W, b = affine.parameters
    >>> fans_of(W, affine.output), fans_of(b, affine.output)
    (Fans(into=(m,), out=(n,)), None)
    """
    slices = {theta}
    for node in topological(output):
        if not isinstance(node, Contraction):
            continue
        met = [k for k, operand in enumerate(node.filled) if operand in slices]
        if met and (len(node.filled) > 1 or node.selectors):
            return _fans(node, met[0])
        if met and node.is_pointwise:
            slices.add(node)
    return None


def _fans(node: Contraction, position: int) -> Fans:
    """The indices of theta that the result does not show, and those that no other operand does."""
    read = [index for index in node.form.free if index in node.access(position)]
    others = [node.access(k) for k in range(len(node.filled)) if k != position]

    def beyond(shown: Access) -> tuple[Size, ...]:
        return tuple(node.form.extent(index) for index in read if index not in shown)

    return Fans(beyond(node.output), beyond(tuple(entry for access in others for entry in access)))
