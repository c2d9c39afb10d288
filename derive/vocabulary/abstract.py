"""Functions of which only the spaces are known."""

from __future__ import annotations

from collections.abc import Callable

from ..language.expressions import (
    Node,
)
from ..language.mistakes import called
from ..language.spaces import Space, SpaceError
from ..language.walk import jet


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
