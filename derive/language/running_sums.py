"""Running sums along the last axis: n additions, where a form that sums below k takes n^2."""

from __future__ import annotations

from dataclasses import dataclass

from .constructors import is_zero, linear_combination, scaled_part
from .mistakes import called
from .nodes import Node, array_space, intern
from .spaces import SpaceError


@dataclass(frozen=True, eq=False, repr=False)
class RunningSum(Node):
    """y_k = x_1 + .. + x_k along the last axis; from the end, x_k + .. + x_n, where `reverse`."""

    operand: Node
    reverse: bool

    @property
    def operands(self) -> tuple[Node, ...]:
        return (self.operand,)


@called
def cumsum(x: Node, *, reverse: bool = False) -> Node:
    """The running sums along the last axis, in time linear in its extent; of the space of x.

    y[.., k] is the sum of x[.., j] over j <= k; over j >= k with reverse=True.  The one is the
    adjoint of the other for the standard inner product.  Raises SpaceError where x is no array of
    one axis at least, or `reverse` is neither True nor False.

    >>> from derive import R, dims, variable
    >>> x = variable("x", R(dims("n")))
    >>> cumsum(x), cumsum(2 * x, reverse=True)
    (cumsum(x), 2 cumsum(x, reverse))
    """
    space = array_space(x, "cumsum")
    if not space.rank:
        raise SpaceError(f"cumsum: expected a space of one axis at least, got {space}")
    if not isinstance(reverse, bool):
        raise SpaceError(f"cumsum: reverse is True or False, got {reverse!r}")
    return running_sum(x, reverse)


def running_sum(x: Node, reverse: bool) -> Node:
    """The running sums of an array: zero of zero, a number taken out in front."""
    if is_zero(x):
        return x
    weight, inner = scaled_part(x)
    return linear_combination([(weight, intern(RunningSum(x.space, inner, reverse)))])
