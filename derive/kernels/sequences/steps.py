"""The steps of a recurrent network: its programs for one time, each lowered once."""

from __future__ import annotations

from ...language.spaces import R
from ...models.levels import Recurrent
from ...models.programs import Program
from ...recurrence.observations import Observation
from ...recurrence.selections import Masks, Names, masks_of
from ...recurrence.transitions import Transition
from ..lowering.kernel import Kernel
from ..lowering.lower import lower


class Steps:
    """The steps of a network as programs, and as kernels once they are wanted."""

    def __init__(self, network: Recurrent) -> None:
        self.network, self.names = network, Names.of(network)
        self.masks: Masks = masks_of(network, self.names)
        self.transitions = {
            cell: Transition(network, cell, self.names, self.masks) for cell in network.cells
        }
        self.losses = self.names.variable("losses", R()).name
        self.weight = self.names.variable("weight", R())
        self.prediction = self.names.variable("prediction", R()).name
        self.observations = {
            level: Observation(network, level, self.names, self.losses, self.weight)
            for level in network.levels
        }
        self.last = self.observations[network.levels[-1]]
        self._lowered: dict[str, Kernel] = {}

    def kernel(self, program: Program) -> Kernel:
        """A program lowered, once."""
        if program.name not in self._lowered:
            self._lowered[program.name] = lower(program)
        return self._lowered[program.name]

    @property
    def used(self) -> list[Kernel]:
        """The kernels that have been asked for."""
        return list(self._lowered.values())
