"""Recurrent cells: transitions f(h; x; theta) from a space of states into itself (thesis 5.1.2)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import sympy

from ..language.expressions import Node, tuple_of, variable
from ..language.mistakes import called
from ..language.names import checked
from ..language.roles import STATE, THETA, Argument
from ..language.sizes import Size, dims
from ..language.spaces import Product, Space, SpaceError, factors
from .layers import Layer
from .resize import bound_sizes, resized_layer


@dataclass(frozen=True, eq=False, repr=False)
class Cell(Layer):
    """A layer whose first state is of the space that it returns: h_i = f(h_{i-1}; x_i; theta).

    The hidden state is the first argument; all other states and givens are the input x_i.  Raises
    SpaceError, naming the cell and both spaces, where the first argument is not a state, or not of
    the space of the result.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        first = self.arguments[0] if self.arguments else None
        if first is None or first.role != STATE:
            raise SpaceError(
                f"cell {self.name}: the first argument is the hidden state h of f(h; x; theta); "
                f"declare it left of the *, of the returned space {self.output.space}"
            )
        if first.variable.space != self.output.space:
            raise SpaceError(
                f"cell {self.name}: the hidden state {first.name} is of {first.variable.space}, "
                f"but the cell returns {self.output.space}; a cell maps a state to the next one, "
                "so give the two one space"
            )


def inputs_of(cell: Layer) -> tuple[Argument, ...]:
    """The input of a cell at each step: what stands left of the semicolon after its state."""
    return tuple(a for a in cell.arguments[1:] if a.role not in THETA)


def shown_state(cell: Layer) -> Space:
    """What a cell shows to those above it: the first component of its state."""
    return factors(cell.output.space)[0]


@called
def stack(name: str, /, **cells: Layer) -> Cell:
    """A deep recurrent cell (thesis section 5.3.3): each cell takes the new state of the one below.

        h1 = f1(h1; x; theta1),  h2 = f2(h2; h1; theta2), ..

    The state is the direct product of all states, the parameters are called {label}_{name}.  Of a
    state that is a direct product (h, c), the first component goes up.  The result is a cell: BPTT,
    RTRL and the hybrid are exact for all of its parameters.  Raises SpaceError where a cell does
    not take the state of the one below.

    >>> from derive.library.rnn import vanilla_rnn
    >>> deep = stack("deep", lower=vanilla_rnn, upper=vanilla_rnn)
    >>> print(deep.output.space, *deep.sizes)
    R(n) * R(upper_n) n upper_n m
    """
    if len(cells) < 2:
        raise SpaceError(
            f"stack {name}: expected at least two cells, as in lower=f, upper=f, got {len(cells)}"
        )
    placed: list[Layer] = []
    for label, cell in cells.items():
        placed.append(_placed(name, label, cell, placed))
    whole = variable("state", Product(tuple(f for c in placed for f in factors(c.output.space))))
    first = inputs_of(placed[0])
    theta = [a for c in placed for a in c.arguments if a.role in THETA]
    doc = f"{' under '.join(cells)}: {', '.join(c.name for c in cells.values())}"
    output = tuple_of(_new_states(whole, placed))
    return Cell(name, (Argument(whole, STATE), *first, *theta), output, doc=doc)


def _new_states(whole: Node, placed: Sequence[Layer]) -> Iterator[Node]:
    """The components of all new states, each cell on its own part of the whole one."""
    below, taken = None, 0
    for cell in placed:
        count = len(factors(cell.output.space))
        own = [whole[k] for k in range(taken, taken + count)]
        taken += count
        values = {cell.arguments[0].name: own[0] if count == 1 else tuple_of(own)}
        if below is not None:
            values[inputs_of(cell)[0].name] = below
        given = {a.name: a.variable for a in cell.arguments if a.name not in values}
        new = cell(**values, **given)
        components = list(new) if count > 1 else [new]
        yield from components
        below = components[0]


def _placed(where: str, label: str, cell: Layer, below: Sequence[Layer]) -> Layer:
    """A cell where it stands: its input bound to what is below, its parameters under its label."""
    checked(label, f"stack {where}: cell")
    if not isinstance(cell, Cell):
        raise SpaceError(
            f"stack {where}: {label} must be a cell, declared with @cell or made by stack(..), got "
            f"{getattr(cell, 'signature', repr(cell))}"
        )
    sizes: dict[sympy.Symbol, Size] = {s: s for s in cell.sizes}
    if below:
        x = inputs_of(cell)
        if len(x) != 1:
            found = ", ".join(a.name for a in x) or "none"
            raise SpaceError(
                f"stack {where}: {label} must have one input, the state below, got {found}; use a "
                "cell of one input"
            )
        bound = bound_sizes(x[0].variable.space, shown_state(below[-1]))
        sizes = bound | {s: dims(f"{label}_{s}") for s in cell.sizes if s not in bound}
    kept = () if below else inputs_of(cell)
    names = {a.name: f"{label}_{a.name}" for a in cell.arguments if a not in kept}
    made = resized_layer(cell, sizes, name=label, renamed=names, prefix=f"{label}_")
    if below and inputs_of(made)[0].variable.space != shown_state(below[-1]):
        raise SpaceError(
            f"stack {where}: {label} takes {inputs_of(made)[0].variable.space}, but below it is "
            f"{shown_state(below[-1])}; use cells that fit"
        )
    return made
