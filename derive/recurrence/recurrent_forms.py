"""Which form of RTRL applies to a cell and why: read off the terms of D f and nabla f.

Nothing here knows a cell.  A block of D f is dense, diagonal or zero by the axes that its terms
tie; so is the immediate derivative of a parameter, diag(d) (x) a or Q (x) a; and where an axis of a
parameter stays tied to one of the state for ever, the influence is stored compressed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import sympy

from ..calculus.terms import Term, shape_of, ties
from ..language.expressions import Node
from ..language.sizes import Size
from ..language.walk import storage
from ..models.programs import BATCH
from .blocks import StoredJacobian
from .influence import Influence

FULL, COMPRESSED, PARTLY = "full", "compressed", "partly compressed"


@dataclass(frozen=True)
class BlockForm:
    """How the derivative of one component of the state by another one looks."""

    row: str
    column: str
    form: str


@dataclass(frozen=True)
class ImmediateForm:
    """How nabla f looks for one component of the state and one parameter."""

    row: str
    parameter: str
    form: str


@dataclass(frozen=True)
class InfluenceForm:
    """One array of J: of which parameters, how it is stored, and why."""

    name: str
    row: str
    parameters: tuple[str, ...]
    form: str
    shape: str
    numbers: str
    why: str


@dataclass(frozen=True)
class RecurrentForms:
    """The form of RTRL: `form` is full, compressed or partly compressed, `why` is a sentence."""

    form: str
    why: str
    blocks: tuple[BlockForm, ...]
    immediate: tuple[ImmediateForm, ...]
    influence: tuple[InfluenceForm, ...]
    numbers: str


def recurrent_forms(influence: Influence) -> RecurrentForms:
    """The forms of D f, nabla f and J of a transition."""
    told = _Told(influence)
    stores = tuple(told.stores())
    counts = [count_of(s) for s in influence.stores]
    blocks = tuple(told.blocks())
    form = _whole(stores)
    return RecurrentForms(
        form=form,
        why=_reason(form, blocks),
        blocks=blocks,
        immediate=tuple(told.immediate()),
        influence=stores,
        numbers=size_text(sympy.Add(*counts)),
    )


def size_text(size: Size) -> str:
    """A number in the sizes, factored: n*(m + n + 1)."""
    return str(sympy.factor(size)).replace("**", "^")


def count_of(s: StoredJacobian) -> sympy.Expr:
    """The numbers of an array of J for one sample."""
    return sympy.Mul(*shape_of(s.variable)[1:])


def _whole(stores: Sequence[InfluenceForm]) -> str:
    forms = {s.form for s in stores}
    return forms.pop() if len(forms) == 1 else PARTLY


def _reason(form: str, blocks: Sequence[BlockForm]) -> str:
    dense = [f"D_{b.column} of {b.row}" for b in blocks if b.form not in ("diagonal", "zero")]
    if form == COMPRESSED:
        size = len({b.row for b in blocks})
        coupled = any(b.row != b.column and b.form != "zero" for b in blocks)
        shape = f"block-diagonal, {size}x{size} for each unit" if coupled else "diagonal"
        return f"D f is {shape}: an entry of a parameter reaches its own unit alone"
    spread = f"{', '.join(dense)} {'is' if len(dense) == 1 else 'are'} not diagonal"
    return (
        f"{spread}: an entry of a parameter reaches every unit" if dense else "no axis stays tied"
    )


# --- the form of one term


def block_form(terms: Sequence[Term]) -> str:
    """Dense, diagonal, block-diagonal, zero, or a sum of these."""
    return " + ".join(dict.fromkeys(map(_block, terms))) or "zero"


def _block(term: Term) -> str:
    tied = {(q, p) for q, p in ties(term) if q and p}
    rows, columns = len(term.out) - 1, len(term.into) - 1
    if len(tied) == rows == columns:
        return "diagonal"
    return "block-diagonal" if tied else "dense"


def immediate_form(terms: Sequence[Term], name: str) -> str:
    """diag(d) (x) a where rows are sparse, Q (x) a where they are dense, by their patterns."""
    places: dict[str, list[str]] = {}
    for term in terms:
        places.setdefault(_immediate(term), []).append(_place(term, name))
    found = [(form, ", ".join(sorted(at))) for form, at in places.items()]
    several = [f"{form} at {at}" if at else form for form, at in found]
    return "; ".join(several) or "zero"


def _immediate(term: Term) -> str:
    """What the immediate derivative looks like but for the batch axis, which is never tied."""
    tied = {p for q, p in ties(term) if q}
    free = [p for p, e in enumerate(term.into) if p not in tied and e in dict(term.extents)]
    factors = sum(1 for access, _ in term.factors if any(e != term.out[0] for e in access))
    if tied and not free:
        return "diagonal: diag(d)"
    if tied:
        return "row-sparse: diag(d) (x) a" if factors > 1 else "row-sparse: d, a row for each unit"
    if not free:
        return "dense: one column d"
    return "dense: Q (x) a" if factors > 1 else "dense: Q"


def _place(term: Term, name: str) -> str:
    """Where in a parameter of several parts the entries are: W[0], W[3]."""
    fixed = [e for e in term.into if e.is_number]
    return f"{name}[{', '.join(map(str, fixed))}]" if fixed else ""


# --- all of them


class _Told:
    """The forms of one influence, in the names of its cell."""

    def __init__(self, influence: Influence) -> None:
        self.influence, self.step = influence, influence.step
        self.transition = influence.transition
        self.rows = [self._word(x) for x in storage(self.transition.h)]

    def _word(self, x: Node) -> str:
        """A name without the label of the cell; s[1] for a component of a direct product."""
        name = getattr(x, "name", "")
        if not name:
            return f"{self._word(x.operands[0])}[{x.position}]"  # type: ignore[attr-defined]
        return str(name).removeprefix(f"{self.transition.label}_")

    def blocks(self) -> Iterator[BlockForm]:
        for a, row in enumerate(self.rows):
            for b, column in enumerate(self.rows):
                yield BlockForm(row, column, block_form(self.step.D.of((a, b))))

    def immediate(self) -> Iterator[ImmediateForm]:
        for a, row in enumerate(self.rows):
            for k, x in enumerate(self.step.by):
                name = self._word(x)
                yield ImmediateForm(row, name, immediate_form(self.step.nabla.of((a, k)), name))

    def stores(self) -> Iterator[InfluenceForm]:
        for s in self.influence.stores:
            shape = ", ".join(size_text(extent) for extent in shape_of(s.variable)[1:])
            yield InfluenceForm(
                name=s.variable.name,
                row=self.rows[s.component],
                parameters=tuple(map(self._word, s.by)),
                form=COMPRESSED if s.tied else FULL,
                shape=f"({shape})",
                numbers=size_text(count_of(s)),
                why=self._why(s),
            )

    def _why(self, s: StoredJacobian) -> str:
        if s.tied:
            return f"in place of {size_text(self._uncompressed(s))}: {self._axes(s)}"
        if len(s.by) > 1:
            return "side by side: one product with D f"
        return "one product with D f"

    def _uncompressed(self, s: StoredJacobian) -> sympy.Expr:
        (x,) = s.by
        shapes = (shape_of(self.step.h[s.component])[1:], shape_of(x))
        return sympy.Mul(*(e for shape in shapes for e in shape if e != BATCH))

    def _axes(self, s: StoredJacobian) -> str:
        (x,) = s.by
        pairs = sorted((q, p) for q, p in s.tied if q)
        axes = ", ".join(f"axis {p} of {self._word(x)} is axis {q - 1}" for q, p in pairs)
        return f"{axes} of {self.rows[s.component]}"
