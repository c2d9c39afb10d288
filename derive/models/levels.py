"""Recurrent networks over sequences (thesis chapter 5): cells, predictions and a loss.

    h_i = f(h_{i-1}; x_i; theta),   y^_i = g(h_i; zeta),   J = sum over i of w_i loss(y^_i, y_i)

A network is a chain of levels.  A level has one cell, or one for each direction of time, and a
prediction g of their states; the level above takes the predictions of the one below as its input.
All arguments are named as those of a network of layers are: what the first cell is given keeps its
name, a parameter is called {label}_{name}.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import sympy

from ..language.expressions import Variable, variable
from ..language.names import unused
from ..language.roles import Argument
from ..language.sizes import dims
from ..language.spaces import R, SpaceError
from .cells import inputs_of
from .initialise import drawn
from .layers import Layer
from .parameter_trees import Composed
from .resize import bound_sizes, resized_layer
from .stages import Path
from .validity import gram_extents

OWN_SIZES = frozenset(["every", "down", "block", "times"])
FORWARD, BACKWARD = "forward in time", "backward in time"


@dataclass(frozen=True, eq=False)
class CellInstance:
    """A layer where it stands in a network: under its label, in the network's sizes and names."""

    label: str
    function: Layer
    direction: str = FORWARD

    @property
    def state(self) -> Variable:
        """The hidden state of a cell."""
        return self.function.arguments[0].variable

    @property
    def prefix(self) -> str:
        """What the names of its own parameters begin with."""
        return self.label.replace(".", "_") + "_"

    @property
    def parameters(self) -> tuple[Variable, ...]:
        """The parameters under their names in the network."""
        return self.function.parameters

    @property
    def theta(self) -> tuple[Variable, ...]:
        """The parameters, and what is fixed, under their names in the network."""
        return self.function.theta

    def with_roles(self, roles: Mapping[str, str]) -> CellInstance:
        """The layer with other roles for some of its arguments."""
        return replace(self, function=self.function.with_roles(roles))


@dataclass(frozen=True, eq=False)
class Level:
    """Cells side by side, and the prediction of their states."""

    cells: tuple[CellInstance, ...]
    prediction: CellInstance

    @property
    def places(self) -> tuple[CellInstance, ...]:
        """The cells, then the prediction."""
        return (*self.cells, self.prediction)

    def with_roles(self, roles: Mapping[str, str]) -> Level:
        """The level with other roles for some arguments."""
        *cells, prediction = (place.with_roles(roles) for place in self.places)
        return Level(tuple(cells), prediction)


@dataclass(frozen=True, eq=False, repr=False)
class Recurrent(Composed):
    """A recurrent network.  As a layer it is one step: (h_{i-1}, x_i) -> y^_i.

    So are its maps: `D`, `nabla`, `D2`, `nabla2` are derivatives of one step, and their names say
    so.  The gradient over a sequence is that of its kernels, `compile().recurrence.gradient`.

    `loss` is that of one step; `learned` says that the initial state is a parameter, whose
    gradient every method gives.
    """

    levels: tuple[Level, ...] = ()
    loss: CellInstance | None = None
    learned: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        names = {*map(str, self.sizes), *(a.name for a in (*self.arguments, *self.targets))}
        if own := sorted(names & OWN_SIZES):
            raise SpaceError(
                f"recurrent {self.name}: {own[0]!r} is a size that kernels over sequences have "
                "themselves; choose another name"
            )
        if grams := gram_extents(self.name, self.arguments, self.output):
            raise SpaceError(
                f"recurrent {self.name}: kernels over sequences take the standard inner product "
                f"alone, but a space has the Gram matrix {next(iter(grams))}"
            )

    @property
    def derived(self) -> str:
        """What its derivatives are of, as their names say it."""
        return f"{self.signature}, one step"

    @cached_property
    def paths(self) -> tuple[Path, ...]:
        """Where each array of theta hangs in the tree: {label: {name: ..}, ..}."""
        owners = [(x, self.owner(x)) for x in self.theta]
        return tuple((*p.label.split("."), x.name.removeprefix(p.prefix)) for x, p in owners)

    def owner(self, x: Variable) -> CellInstance:
        """The place that a parameter is named after; others may share the parameter."""
        places = [p for level in self.levels for p in level.places if x in p.theta]
        named = [p for p in places if x.name.startswith(p.prefix)]
        return max(named or places, key=lambda place: len(place.prefix))

    @property
    def cells(self) -> tuple[CellInstance, ...]:
        """All cells, level by level."""
        return tuple(cell for level in self.levels for cell in level.cells)

    @property
    def is_online(self) -> bool:
        """Whether one cell runs forward in time, so that RTRL and the hybrid apply."""
        return [cell.direction for cell in self.cells] == [FORWARD]

    @property
    def targets(self) -> tuple[Argument, ...]:
        """What the loss compares the prediction with."""
        return () if self.loss is None else self.loss.function.arguments[1:]

    @property
    def inputs(self) -> tuple[Argument, ...]:
        """The input of one step."""
        return inputs_of(self.levels[0].cells[0].function)

    # --- parameters, and the initial state where it is one

    @property
    def words(self) -> frozenset[str]:
        """The names that are taken: of arguments, sizes, targets and locals of the cells."""
        names = [a.name for a in (*self.arguments, *self.targets)]
        names += [str(size) for size in self.sizes]
        return frozenset(names).union(*(cell.function.words for cell in self.cells))

    @property
    def initial_name(self) -> str:
        """What the learned initial state is called: h_0."""
        return unused(f"{self.cells[0].state.name}_0", self.words)

    def tree(self, flat: Mapping[str, Any]) -> dict[str, Any]:
        """The tree of values by argument name; a learned initial state hangs there as h_0."""
        if not self.learned:
            return super().tree(flat)
        own = {name: value for name, value in flat.items() if name != self.initial_name}
        return {**super().tree(own), self.initial_name: self._initial_of(flat)}

    def flat(self, tree: Mapping[str, Any]) -> dict[str, Any]:
        """The values of a tree by argument name: the inverse of `tree`."""
        if not self.learned:
            return super().flat(tree)
        own = {name: value for name, value in tree.items() if name != self.initial_name}
        return {**super().flat(own), self.initial_name: self._initial_of(tree)}

    def _initial_of(self, values: Mapping[str, Any]) -> Any:
        if self.initial_name not in values:
            raise ValueError(
                f"recurrent {self.name}: the initial state is learned; give it as "
                f"{self.initial_name}, an element of {self.cells[0].state.space}"
            )
        return values[self.initial_name]

    def _drawn(
        self, rng: np.random.Generator, sizes: Mapping[sympy.Symbol, int], dtype: np.dtype[Any]
    ) -> dict[str, Any]:
        """A learned initial state begins as zero."""
        found = super()._drawn(rng, sizes, dtype)
        if self.learned:
            start = variable(self.initial_name, self.cells[0].state.space)
            found |= drawn([start], self.output, rng, sizes, dtype)
        return found

    def with_roles(self, roles: Mapping[str, str]) -> Recurrent:
        """The network with other roles for some arguments, in its levels, too."""
        levels = tuple(level.with_roles(roles) for level in self.levels)
        return replace(super().with_roles(roles), levels=levels)

    def with_loss(self, loss: Layer) -> Recurrent:
        """The network with a loss of one step: a layer loss(y^, ..) -> R() without parameters.

        Raises SpaceError where something stands right of its semicolon, where it is not a scalar or
        does not take y^.
        """
        return _with_loss(self, loss)


def _with_loss(network: Recurrent, loss: Layer) -> Recurrent:
    if not isinstance(loss, Layer) or loss.theta or loss.output.space != R():
        raise SpaceError(
            f"recurrent {network.name}: a loss is a layer without parameters and with an output of "
            f"R(), got {shown_as(loss)}; declare one of this kind"
        )
    given = network.levels[-1].prediction.function.output.space
    sizes = {s: dims(f"{loss.name}_{s}") for s in loss.sizes}
    sizes |= bound_sizes(loss.arguments[0].variable.space, given)
    taken = {a.name for a in network.arguments} | {str(size) for size in network.sizes}
    names = {a.name: f"{loss.name}_{a.name}" for a in loss.arguments[1:] if a.name in taken}
    names[loss.arguments[0].name] = "prediction"
    made = resized_layer(loss, sizes, renamed=names, prefix=f"{loss.name}_")
    if made.arguments[0].variable.space != given:
        raise SpaceError(
            f"recurrent {network.name}: the loss takes {made.arguments[0].variable.space}, but the "
            f"prediction is of {given}; use a loss of that space"
        )
    return replace(network, loss=CellInstance("loss", made))


def shown_as(value: object) -> str:
    """A value as an error shows it."""
    return str(getattr(value, "signature", repr(value)))
