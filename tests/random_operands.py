"""How a random layer's constructors find their operands: by shape, among the terms or as arguments.

Each takes a drawing and the shapes of the operands so far, and returns the name of a term; "" for
one that only says sizes, None where there is no such term.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import sympy
from random_drafts import space_of
from random_rules import Shape

from derive import dims

if TYPE_CHECKING:
    from random_drawing import Drawing

TWO = sympy.Integer(2)


def _any_positive(drawing: Drawing, shapes: list[Shape]) -> str | None:
    found = drawing.terms(lambda shape: True, positive=True)
    return drawing.one(found) if found else None


def _positive_like(drawing: Drawing, shapes: list[Shape]) -> str | None:
    found = drawing.terms(lambda shape: shape == shapes[0], positive=True)
    return drawing.one(found) if found else None


def _ranked(rank: int) -> Callable[[Drawing, list[Shape]], str]:
    def take(drawing: Drawing, shapes: list[Shape]) -> str:
        return drawing.term(
            lambda shape: len(shape) == rank, lambda: tuple(drawing.size() for _ in range(rank))
        )

    return take


def _cut(drawing: Drawing, shapes: list[Shape]) -> str:
    """An array whose first axis is a number of 2 or more, sometimes declared as a power."""
    rest = drawing.size()
    if drawing.rng.random() < 0.3:
        return drawing.argument((TWO, rest), f"R({rest}) ** 2")
    return drawing.term(
        lambda shape: bool(shape) and shape[0].is_Integer and shape[0] > 1, lambda: (TWO, rest)
    )


def _square(drawing: Drawing, shapes: list[Shape]) -> str:
    size = drawing.size()
    fits = lambda shape: len(shape) == 2 and shape[0] == shape[1]  # noqa: E731
    return drawing.term(fits, lambda: (size, size))


def _index(*shapes: Shape) -> Callable[[Drawing, list[Shape]], str]:
    """Class indices on the first axis, of one of these shapes."""

    def take(drawing: Drawing, found: list[Shape]) -> str:
        shape = drawing.one(shapes)
        text = f"Index({', '.join(map(str, (found[0][0], *shape)))})"
        role, text = ("state", text) if drawing.with_states else ("parameter", f"fixed({text})")
        return drawing.argument(shape, text, role, is_term=False)

    return take


def _hom(drawing: Drawing, shapes: list[Shape]) -> str | None:
    """A linear map from the first operand's space, a parameter."""
    made = tuple(drawing.size() for _ in range(drawing.rng.integers(1, 3)))
    if len(shapes[0]) > 2:
        return None
    text = f"Hom({space_of(shapes[0])}, {space_of(made)})"
    return drawing.argument((*made, *shapes[0]), text, "parameter")


def _endomorphism(drawing: Drawing, shapes: list[Shape]) -> str | None:
    """A linear map from the first operand's space to itself, a parameter."""
    if len(shapes[0]) not in (1, 2):
        return None
    space = space_of(shapes[0])
    return drawing.argument((*shapes[0], *shapes[0]), f"Hom({space}, {space})", "parameter")


def _hom_of_pair(drawing: Drawing, shapes: list[Shape]) -> str:
    """A linear map from the direct product of the two first operands' spaces."""
    made = (drawing.size(),)
    domain = " * ".join(map(space_of, shapes))
    text = f"Hom({domain}, {space_of(made)})"
    return drawing.argument(made, text, "parameter", is_term=False)


def _image(rank: int) -> Callable[[Drawing, list[Shape]], str]:
    """Channels, and axes of four entries and more."""

    def take(drawing: Drawing, shapes: list[Shape]) -> str:
        axes = tuple(sympy.Integer(extent) for extent in (5, 4)[: rank - 1])
        return drawing.term(
            lambda shape: (
                len(shape) == rank and all(e.is_Integer and 4 <= e < 12 for e in shape[1:])
            ),
            lambda: (drawing.size(), *axes),
        )

    return take


def _filters(drawing: Drawing, shapes: list[Shape]) -> str:
    window = [sympy.Integer(int(drawing.rng.integers(1, 4))) for _ in shapes[0][1:]]
    return drawing.of_shape((drawing.size(), shapes[0][0], *window))


def _filters_back(drawing: Drawing, shapes: list[Shape]) -> str:
    return drawing.of_shape((shapes[0][0], drawing.size(), TWO))


TAKES: dict[str, Callable[[Drawing, list[Shape]], str | None]] = {
    "any": lambda d, shapes: d.term(lambda s: True, lambda: d.one([(), (d.size(),)])),
    "like": lambda d, shapes: d.of_shape(shapes[0]),
    "new like": lambda d, shapes: d.argument(shapes[0]),
    "positive": _any_positive,
    "positive like": _positive_like,
    "scalar": lambda d, shapes: d.of_shape(()),
    "sizes": lambda d, shapes: "",
    "row": lambda d, shapes: d.term(bool, lambda: (d.size(),)),
    "vector": _ranked(1),
    "matrix": _ranked(2),
    "cut": _cut,
    "square": _square,
    "next matrix": lambda d, shapes: d.of_shape((shapes[0][1], d.size())),
    "like rows": lambda d, shapes: d.of_shape(shapes[0][:1]),
    "like columns": lambda d, shapes: d.of_shape(shapes[0][1:]),
    "class": _index(()),
    "index": _index((), (dims("k"),)),
    "hom": _hom,
    "hom of pair": _hom_of_pair,
    "endomorphism": _endomorphism,
    "signal": _image(2),
    "image": _image(3),
    "filters": _filters,
    "filters back": _filters_back,
}
