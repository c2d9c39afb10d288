"""The kernels over whole sequences that a recurrent network has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ...models.levels import FORWARD, Recurrent
from ...recurrence.hybrid import Hybrid
from ...recurrence.influence import Influence
from ..lowering.kernel import Kernel
from ..lowering.lower import lower
from .forward_gradients import hybrid, rtrl
from .steps import Steps
from .through_time import bptt, forward, loss, truncated_bptt

BACKWARD = "a cell runs backward in time, and its state depends on the whole future of the sequence"
LEVELS = "several cells one above the other; make one cell of them by stack(..)"
NO_LOSS = "the network has no loss; give it one by with_loss(l)"


def why_offline(network: Recurrent) -> str:
    """Why RTRL and the hybrid do not apply to a network."""
    if any(cell.direction != FORWARD for cell in network.cells):
        return f"{BACKWARD}; use bptt"
    return f"{LEVELS}; use bptt" if len(network.cells) > 1 else NO_LOSS


@dataclass(frozen=True)
class Made:
    """The steps of a network, its kernels over sequences, and what their arguments are."""

    steps: list[Kernel]
    kernels: list[Kernel]
    roles: dict[str, Any]


def sequences(network: Recurrent) -> Made:
    """The kernels over sequences that a network has, and the steps that they call."""
    steps = Steps(network)
    made, influence = [forward(steps)], None
    if network.loss is not None:
        made += [loss(steps), bptt(steps)]
        if network.is_online:
            (transition,) = steps.transitions.values()
            influence = Influence(transition)
            made += [lower(influence.start())] if influence.stores else []
            made += [truncated_bptt(steps), rtrl(steps, influence)]
            made.append(hybrid(steps, influence, Hybrid(influence)))
    return Made(steps.used, made, _roles(steps, influence))


def _roles(steps: Steps, influence: Influence | None) -> dict[str, Any]:
    """The arguments of the kernels by what they are for."""
    network, transitions = steps.network, list(steps.transitions.values())
    reset = steps.masks.reset
    roles: dict[str, Any] = {
        "initial": tuple(t.first.name for t in transitions),
        "inputs": tuple(a.name for a in network.inputs),
        "anew": () if reset is None else tuple(t.initial.name for t in transitions),
        "reset": "" if reset is None else reset.name,
        "active": steps.masks.active.name,
        "prediction": steps.prediction,
        "parameters": tuple(x.name for x in network.parameters),
    }
    if network.loss is not None:
        targets = tuple(a.name for a in network.targets)
        roles |= {"targets": targets, "weight": steps.weight.name, "losses": steps.losses}
    if network.fixed:
        roles["fixed"] = tuple(x.name for x in network.fixed)
    roles["learned"] = network.learned
    if influence is not None:
        roles |= {"influence": tuple(s.variable.name for s in influence.stores), "online": True}
    else:
        roles["why"] = why_offline(network)
    return roles
