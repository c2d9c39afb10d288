"""One step of a cell as a linear map: D f by the state and nabla f by what it is given.

The transition of the kernels and the cell on the page make one each, with and without batch and
masks; what J and Lambda keep tied is read off either.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from ..calculus.structure import whole
from ..calculus.terms import shape_of, times
from ..language.expressions import Node, Variable
from ..language.spaces import Real
from ..language.walk import storage
from ..models.programs import BATCH
from .blocks import Blocks, StoredJacobian, Terms, derivative, identity, spaces_of
from .ties import Key, Tied, closure, met_in_both, tied_products
from .transitions import Transition


@dataclass(frozen=True, eq=False)
class Linearisation:
    """The blocks of D f and nabla f of one step, by component of the state.

    `nabla` is by the parameters, then by the initial state where it is learned, which a reset
    begins from.
    """

    h: tuple[Node, ...]
    parameters: tuple[Node, ...]
    initial: tuple[Node, ...]
    D: Blocks
    nabla: Blocks

    @property
    def by(self) -> tuple[Node, ...]:
        """What J is by: the parameters, then the initial state."""
        return (*self.parameters, *self.initial)

    def first(self) -> Blocks:
        """J before the first step: the identity by the initial state, else zero."""
        begin = len(self.parameters)
        ones = identity(self.D.rows).terms if self.initial else {}
        return replace(self.nabla, terms={(a, begin + b): terms for (a, b), terms in ones.items()})

    def influence_ties(self) -> Tied:
        """The axes of J that stay tied under J = D f . J + nabla f from the first one on."""
        start = met_in_both(self.nabla.ties, self.first().ties)
        return closure(start, lambda J: tied_products(self.D.ties, J))

    def lambda_ties(self) -> Tied:
        """The axes of Lambda that stay tied under Lambda = Lambda . D f from the identity on."""
        start = identity(self.D.rows).ties
        return closure(start, lambda Lambda: tied_products(Lambda, self.D.ties))

    def lambda_arrays(self, named: Callable[[Key, Real], Variable]) -> dict[Key, StoredJacobian]:
        """Arrays for Lambda by two components, `named` by these and space, tied axes once."""
        tied = dict(sorted(self.lambda_ties().items()))
        return identity(self.D.rows).stored(tied, self.h, named)


def linearised(transition: Transition) -> Linearisation:
    """The step of a transition for a batch; D f is formed where a block of it is full."""
    h, outputs = storage(transition.begun), storage(transition.inner)
    parameters = tuple(x for p in transition.parameters for x in storage(p))
    initial = storage(transition.initial) if transition.network.learned else ()
    by_state, by_parameters = (derivative(outputs, by, BATCH) for by in (h, parameters))
    full = {
        (a, b): whole(terms, shape_of(h[a]), shape_of(h[b]))
        for (a, b), terms in by_state.terms.items()
    }
    D = replace(by_state, terms=full)
    begun = _begun(D, transition, len(parameters)) if initial else ()
    columns = spaces_of((*parameters, *initial))
    nabla = Blocks(D.rows, columns, {**by_parameters.terms, **dict(begun)})
    return Linearisation(h, parameters, initial, D, nabla)


def _begun(D: Blocks, transition: Transition, first: int) -> Iterator[tuple[Key, Terms]]:
    """D f where a sample is reset, as derivatives by the learned initial state."""
    reset = transition.reset
    assert reset is not None
    for (a, b), terms in D.terms.items():
        yield (a, first + b), tuple(times(t, (t.out[:1], reset)) for t in terms)
