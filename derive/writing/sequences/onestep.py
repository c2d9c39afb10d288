"""D f and nabla f of one cell at one point, and the arrays J and Lambda, as they are printed.

`structure` says where a block is not zero; a block printed as a matrix is one array.  The columns
of nabla f are the parameters; parameters with slices for several gates give a column per slice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import sympy

from ...calculus.terms import Term, fresh_access, shape_of
from ...language.expressions import Contraction, Node, Variable, contraction, variable
from ...language.forms import make_form
from ...language.spaces import R, Real
from ...recurrence.blocks import Blocks, StoredJacobian, Terms, derivative, spaces_of
from ...recurrence.linearisation import Linearisation
from ...recurrence.ties import Key
from .parts import Part

SLICES = 16  # of a parameter's first axis that get a column each, at most


@dataclass(frozen=True, eq=False)
class Column:
    """A variable of differentiation: an array of a parameter, or one slice of it, with a direction.

    `is_initial` if it is an array of the initial state.
    """

    by: Variable
    position: int | None
    direction: Variable
    is_initial: bool = False

    def along(self) -> Node:
        """The direction of the whole array."""
        if self.position is None:
            return self.direction
        access, extents = fresh_access(shape_of(self.direction))
        form = make_form([access, (sympy.Integer(self.position), *access)], extents)
        return contraction(self.by.space, form, 1, [self.direction])

    def moved(self) -> dict[Variable, Node]:
        """The variables that a step moves along the direction: none for the initial state."""
        return {} if self.is_initial else {self.by: self.along()}

    def read(self, x: Node) -> Node:
        """The part of an array of that shape."""
        if self.position is None:
            return x
        access, extents = fresh_access(shape_of(self.direction))
        form = make_form([(sympy.Integer(self.position), *access), access], extents)
        return contraction(self.direction.space, form, 1, [x])


@dataclass(frozen=True, eq=False)
class OneStep(Linearisation):
    """The blocks of a cell without batch and masks, nabla f by component and column.

    A column without a term in any component is kept, since its derivative is known to vanish.
    """

    columns: tuple[Column, ...]
    label: str

    def influences(self) -> dict[Key, StoredJacobian]:
        """J by component and column, its tied axes stored once, without blocks that stay zero."""
        tied = dict(sorted(self.influence_ties().items()))
        return self.nabla.stored(tied, self.by, self._named("J"))

    def lambdas(self) -> dict[Key, StoredJacobian]:
        """Lambda by two components, its tied axes stored once, from the identity on."""
        return self.lambda_arrays(self._named("Lambda"))

    def _named(self, letter: str) -> Callable[[Key, Real], Variable]:
        return lambda key, space: variable(f"{letter}_{key[0]}_{key[1]}_{self.label}", space)


def one_step(cell: Part, learned: bool) -> OneStep:
    """The step of a cell: its columns, then those of the initial state if it is learned."""
    D, by = (derivative(cell.outputs, x) for x in (cell.states, cell.parameters))
    columns: list[Column] = []
    terms: dict[Key, Terms] = {}
    for number, x in enumerate(cell.parameters):
        rows = {a: found for (a, k), found in by.terms.items() if k == number}
        for position in _slices(x, [t for found in rows.values() for t in found]):
            own = {a: _of_slice(found, position) for a, found in rows.items()}
            terms |= {(a, len(columns)): found for a, found in own.items() if found}
            columns.append(_column(x, position))
    parameters = tuple(column.direction for column in columns)
    if learned:
        columns += [_column(x, None, is_initial=True) for x in cell.states]
    directions = tuple(column.direction for column in columns)
    nabla = Blocks(D.rows, spaces_of(directions), terms)
    initial, label = directions[len(parameters) :], cell.label.replace(".", "_")
    return OneStep(cell.states, parameters, initial, D, nabla, tuple(columns), label)


def _slices(x: Variable, terms: Sequence[Term]) -> Sequence[int | None]:
    """The slices of a parameter if every term uses one slice; else the whole parameter."""
    shape = shape_of(x)
    apart = bool(terms) and bool(shape) and all(t.into[0].is_Integer for t in terms)
    if not apart or not shape[0].is_Integer or not 1 < shape[0] <= SLICES:
        return (None,)
    return range(int(shape[0]))


def _of_slice(terms: Terms, position: int | None) -> Terms:
    if position is None:
        return terms
    return tuple(replace(t, into=t.into[1:]) for t in terms if t.into[0] == position)


def _column(x: Variable, position: int | None, is_initial: bool = False) -> Column:
    shape = shape_of(x) if position is None else shape_of(x)[1:]
    number = "" if position is None else f"_{position}"
    start = "_0" if is_initial else ""
    return Column(x, position, variable(f"{x.name}{start}{number}_along", R(*shape)), is_initial)


def matrices(terms: Sequence[Term]) -> Iterator[Node]:
    """The factors of terms that map an axis of the parameter to another axis of the state."""
    for term in terms:
        out, into = set(term.out), set(term.into)
        for access, node in term.factors:
            crosses = set(access) & (out - into) and set(access) & (into - out)
            if crosses and not isinstance(node, Variable) and _is_computed(node):
                yield node


def _is_computed(node: Node) -> bool:
    """Whether it is more than a slice or a transpose."""
    return not (isinstance(node, Contraction) and len(node.operands) == 1)
