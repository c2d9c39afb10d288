"""The letters of a form's indices where no loops run over them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import sympy

from .nodes import Contraction
from .spaces import Real


def free_letters(node: Contraction) -> dict[sympy.Symbol, str]:
    """i, j, k, .. in the order of the form's indices, without the letters of sizes.

    Bound indices have a letter, too: it is passed over where they are shown by what selects them.
    """
    taken = _sizes(node)
    free = (letter for letter in _endless() if letter not in taken)
    return {index: next(free) for index, _ in node.form.extents}


def _endless() -> Iterator[str]:
    for number in count():
        yield from (f"{letter}{number or ''}" for letter in "ijklpqrst")


def _sizes(node: Contraction) -> set[str]:
    """The letters of the sizes in a form and its operands."""
    spaces = [x.space for x in (node, *node.filled) if isinstance(x.space, Real)]
    entries = [extent for space in spaces for extent in space.shape]
    entries += [extent for _, extent in node.form.extents]
    entries += [entry for access in node.form.slots for entry in access]
    indices = {index for index, _ in node.form.extents}
    return {s.name for e in entries for s in sympy.sympify(e).free_symbols if s not in indices}
