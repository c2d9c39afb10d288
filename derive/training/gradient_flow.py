"""How far gradients reach: derivatives of a late state and loss with respect to earlier states.

In a recurrent network the derivative over a distance of d steps, and the gradient that it carries,

    D mu_{T, T-d+1} = D f_T . .. . D f_{T-d+1}                                (thesis lemma 5.1.4)
    D_{h_{T-d}} J_T = D* mu_{T, T-d+1} . D*g . e_T                            (thesis (5.18))

vanish or explode as d grows (thesis section 5.3.1).  D f is the map that the calculus derives from
the cell, at the arrays of every step; the gradient is that of the compiled BPTT, with all weight on
the last loss.

Sources: Bengio, Simard and Frasconi 1994; Pascanu, Mikolov and Bengio 2013.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from ..calculus.maps import LinearMap, substituted
from ..language.reference import Value, flat_arrays, value
from ..language.spaces import Real, SpaceError
from ..language.spaces import leaves as array_spaces
from ..models.cells import inputs_of
from ..models.layers import Layer
from ..models.levels import Recurrent
from ..models.programs import BATCH
from .parameters import Array

DISTANCES = (0, 1, 2, 5, 10, 20, 50, 100, 200, 500)  # the rows of a table


@dataclass(frozen=True, eq=False)
class GradientFlow:
    """Norms by distance, at d = 0, 1, .., T; for a batch, a second axis counts its samples.

    `norm` is ||D mu_{T, T-d+1}||, the largest singular value, `frobenius` the root of the sum of
    the squares of all; `gradient` is ||D_{h_{T-d}} J_T||, None if no target was given.
    """

    name: str
    norm: Array
    frobenius: Array
    gradient: Array | None = None

    def per_step(self, distance: int) -> Array:
        """The factor by which ||D mu|| changes in one step, the geometric mean over a distance.

        Raises ValueError for a distance below 1 or above the number of steps.
        """
        if not 1 <= distance < len(self.norm):
            raise ValueError(
                f"{self.name}: a distance is 1, .., {len(self.norm) - 1} steps, got {distance}"
            )
        return np.asarray(self.norm[distance] ** (1 / distance))

    def __str__(self) -> str:
        """A table; for a batch, of the means over its samples."""
        columns = {"||D mu||_2": self.norm, "||D mu||_F": self.frobenius}
        columns |= {} if self.gradient is None else {"||D_h J_T||": self.gradient}
        lines = [self.name, f"{'distance':>8}" + "".join(f"{head:>13}" for head in columns)]
        for d in (d for d in DISTANCES if d < len(self.norm)):
            row = "".join(f"{np.mean(column[d]):13.3e}" for column in columns.values())
            lines.append(f"{d:8d}{row}")
        return "\n".join(lines)


def flow_of_gradients(
    network: Recurrent,
    theta: Mapping[str, Value],
    *data: Value,
    initial: Value | None = None,
    kernels: ModuleType | None = None,
) -> GradientFlow:
    """The norms of D mu, and of the gradient of the last loss, by distance from the last step.

    `theta` holds the parameters by name, as `network.flat` has them; `data` the arrays of the input
    with the axes (time, ..) or (time, batch, ..), then, if the gradient is wanted, those of the
    targets, of which only the last time counts.  `initial` is the state before the first step, by
    default zero or the learned one; `kernels` is the result of `network.compile()`.  Raises
    SpaceError for a network of several cells, or of one that runs backward in time.
    """
    cell = _only_cell(network)
    recurrence = (kernels or network.compile()).recurrence
    inputs = data[: len(network.inputs)]
    options = {} if initial is None else {"initial": initial}
    states = _states(recurrence, theta, inputs, options)
    steps = step_derivatives(cell, theta, _mapped(lambda h: h[:-1], states), inputs)
    norm, frobenius = _norms(steps)
    gradient = None
    if len(data) > len(inputs):
        gradient = _late_gradients(network, recurrence, theta, states, data)
    return GradientFlow(network.name, norm, frobenius, gradient)


def _only_cell(network: Recurrent) -> Layer:
    """The network's only cell; SpaceError unless there is exactly one and it runs forward."""
    if not network.is_online:
        raise SpaceError(
            f"network {network.name}: D mu is that of one cell which runs forward in time, got "
            f"{', '.join(f'{c.label} ({c.direction})' for c in network.cells)}; combine "
            "stacked cells into one by stack(..)"
        )
    return network.cells[0].function


def _state_leaves(cell: Layer) -> list[Real]:
    return [leaf for leaf in array_spaces(cell.output.space) if isinstance(leaf, Real)]


# --- D f and D mu as matrices


def step_derivatives(
    cell: Layer, theta: Mapping[str, Value], states: Value, inputs: Sequence[Value]
) -> Array:
    """D f at every state and its input: matrices (.., n, n) for arrays with the axes (.., *state).

    n is the dimension of the state, the arrays of a direct product one after the other.
    """
    rank = _state_leaves(cell)[0].rank
    lead = flat_arrays(states)[0].shape[: -rank or None]
    rows = [_mapped(lambda a: a.reshape(-1, *a.shape[len(lead) :]), x) for x in (states, *inputs)]
    units = _units(rows[0])
    n = len(flat_arrays(units)[0])
    count = len(flat_arrays(rows[0])[0])
    names = [cell.arguments[0].name, *(a.name for a in inputs_of(cell))]
    each = [_mapped(lambda a: np.repeat(a, n, axis=0), x) for x in rows]
    directions = _mapped(lambda u: np.tile(u, (count, *[1] * (u.ndim - 1))), units)
    f = cell.batched(BATCH)
    moved = _applied(f, f.D(), directions, {**theta, **dict(zip(names, each, strict=True))})
    columns = np.concatenate([a.reshape(count, n, -1) for a in flat_arrays(moved)], axis=2)
    return np.swapaxes(columns, 1, 2).reshape(*lead, n, n)


def _units(states: Value) -> Value:
    """The unit vectors of the space that the rows are in, one after the other."""
    arrays = flat_arrays(states)
    ends = np.cumsum([a[0].size for a in arrays])
    parts = iter(np.split(np.eye(int(ends[-1])), ends[:-1], axis=1))
    return _mapped(lambda a: next(parts).reshape(-1, *a.shape[1:]), states)


def _applied(f: Layer, map_: LinearMap, v: Value, named: Mapping[str, Value]) -> Value:
    """The map at v; the arrays of the layer's arguments also give the sizes."""
    at = {a.variable: named[a.name] for a in f.arguments}
    return value(map_.body, {**at, map_.variable: v})


def _norms(steps: Array) -> tuple[Array, Array]:
    """The norms of D mu_{T, T-d+1} for d = 0, .., T, from D f_1, .., D f_T."""
    product = np.broadcast_to(np.eye(steps.shape[-1]), steps.shape[1:])
    products = [product]
    for step in steps[::-1]:
        product = product @ step  # D mu_{j, i} = D mu_{j, i+1} . D f_i (thesis (5.13))
        products.append(product)
    flow = np.array(products)
    return np.linalg.norm(flow, 2, axis=(-2, -1)), np.linalg.norm(flow, axis=(-2, -1))


# --- the states, and the gradient of the last loss by each of them


def _states(recurrence: Any, theta: Any, inputs: Sequence[Value], options: Any) -> Value:
    """h_0, .., h_T, with the axes (time, ..) or (time, batch, ..)."""
    nothing = [_mapped(lambda a: a[:0], x) for x in inputs]
    _, _, first = recurrence.forward(theta, *nothing, **options)
    _, after, _ = recurrence.forward(theta, *inputs, **options)
    return _mapped(lambda h, more: np.concatenate([h[None], more]), first, after)


def _late_gradients(
    network: Recurrent, recurrence: Any, theta: Any, states: Value, data: Sequence[Value]
) -> Array:
    """||D_{h_{T-d}} J_T|| for d = 0, .., T, J_T being the loss of the last step."""
    (name,), leaf = recurrence.initial, _state_leaves(network.cells[0].function)[0]
    samples = flat_arrays(states)[0].shape[1:][: -leaf.rank or None]
    targets = [_mapped(lambda y: y[-1], y) for y in data[len(network.inputs) :]]
    last = _mapped(lambda h: h[-1], states)
    found = [_length(_by_its_state(network, theta, last, targets, samples), samples)]
    for t in range(len(flat_arrays(data[0])[0]) - 1, -1, -1):
        rest = [_mapped(lambda a, t=t: a[t:], array) for array in data]
        weight = np.zeros((len(flat_arrays(rest[0])[0]), *samples))
        weight[-1] = 1
        now = _mapped(lambda h, t=t: h[t], states)
        gradient = recurrence.gradient(theta, *rest, initial=now, weight=weight)
        found.append(_length(gradient.by_initial[name], samples))
    return np.array(found)


def _by_its_state(
    network: Recurrent,
    theta: Mapping[str, Value],
    state: Value,
    targets: Sequence[Value],
    samples: tuple[int, ...],
) -> Value:
    """D*g . e, the gradient of a step's loss by the state of that step (thesis (5.14))."""
    assert network.loss is not None
    g, loss = network.levels[-1].prediction.function, network.loss.function
    observed = substituted(loss.output, {loss.arguments[0].variable: g.output})
    h, *zeta = g.arguments
    f = Layer("late_loss", (h, *loss.arguments[1:], *zeta), observed)
    named = {h.name: state} | {a.name: y for a, y in zip(network.targets, targets, strict=True)}
    if samples:
        f = f.batched(BATCH)
    return _applied(f, f.D().adjoint, np.ones(samples), {**theta, **named})


def _length(bar: Value, samples: tuple[int, ...]) -> Array:
    """The norm of an element of the space of states, for every sample."""
    parts = [np.reshape(a, (*samples, -1)) for a in flat_arrays(bar)]
    return np.asarray(np.linalg.norm(np.concatenate(parts, axis=-1), axis=-1))


# --- elements of direct products


def _mapped(f: Callable[..., Any], *values: Value) -> Value:
    """f applied to every array of a value, or to the corresponding arrays of several values."""
    if isinstance(values[0], tuple):
        return tuple(_mapped(f, *parts) for parts in zip(*values, strict=True))
    return f(*(np.asarray(a) for a in values))
