"""The generic results as one document."""

from __future__ import annotations

from ..layers.blocks import Block, Display
from ..layers.claims import check
from ..theorems import generic, generic_recurrent, recurrent_letters
from ..theorems.theorem import meant
from ..typesetting.writer import latex_writer
from .document import Document

TITLE = "The derivatives of layered and of recurrent networks"
SUBTITLE = (
    r"Every step holds for all differentiable $f_i$, heads $\alpha_i$, tails $\omega_i$ and "
    "predictions $g$ between inner product spaces; each equation is checked for one choice."
)


def generic_results() -> Document:
    """The results of chapters 3 and 5 of the thesis with their derivations.

    (3.5), (3.7), (3.10), (3.11), (3.15), (3.16), (3.21); (5.8), (5.10), (5.12), (5.13), (5.14),
    (5.21), (5.22), and the last two split at the start of a block, which is the exact hybrid.
    Raises claims.FalseEquation if an equation does not hold.
    """
    blocks: list[Block] = []
    for theorem in (make() for make in (*generic.THEOREMS, *generic_recurrent.THEOREMS)):
        own = list(theorem.blocks())
        equations = [e for block in own if isinstance(block, Display) for e in block.equations]
        check(theorem.number, map(meant, equations), theorem.point())
        blocks += own
    writer = latex_writer({}, symbols=generic.SYMBOLS | recurrent_letters.SYMBOLS)
    return Document("generic_results", TITLE, SUBTITLE, tuple(blocks), writer)
