"""The generic results as one document."""

from __future__ import annotations

from .blocks import Block, Display
from .claims import check
from .document import Document
from .generic import SYMBOLS, THEOREMS, meant
from .writer import latex_writer

TITLE = "The derivatives of a layered network"
SUBTITLE = (
    r"Every step holds for all differentiable $f_i$, heads $\alpha_i$ and tails $\omega_i$ "
    "between inner product spaces; it was asserted for one choice of them."
)


def generic_results() -> Document:
    """(3.5), (3.7), (3.10), (3.11), (3.15), (3.16), (3.21) with their derivations.

    Raises claims.FalseEquation where an equation does not hold.
    """
    blocks: list[Block] = []
    for theorem in (make() for make in THEOREMS):
        own = list(theorem.blocks())
        equations = [e for block in own if isinstance(block, Display) for e in block.equations]
        check(theorem.number, map(meant, equations), theorem.point())
        blocks += own
    writer = latex_writer({}, symbols=SYMBOLS)
    return Document("generic_results", TITLE, SUBTITLE, tuple(blocks), writer)
