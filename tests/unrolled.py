"""A cell over a few steps: its state moved in one coordinate at a time, and J out of its arrays.

The state is that of the cell as it was declared, by the reference; its derivative along each
coordinate is a complex step or a central difference.  Neither knows the calculus.
"""

from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import numpy as np
import sympy
from points import draw
from recurrent_cells import (
    ROWS,
    Values,
    arguments_of,
    arrays,
    flat_of,
    influence_of,
    nudged,
    run,
    sizes_of,
)

from derive.calculus.lift import lift
from derive.calculus.maps import variables_of
from derive.calculus.terms import shape_of
from derive.language.expressions import Node, Variable
from derive.language.reference import values_of
from derive.language.walk import storage
from derive.recurrence.blocks import StoredJacobian

MOVES = sympy.Symbol("moves", integer=True, positive=True)
STEP = 1e-30
DIFFERENCE = 6e-6  # eps**(1/3): truncation and rounding of a central difference are alike, 1e-10


class Unrolled:
    """A cell over a few steps of a random sequence: one sample is reset, one ends before."""

    def __init__(self, name: str, initial: str = "fixed", times: int = 3) -> None:
        self.influence = influence_of(name, initial)
        self.t = t = self.influence.transition
        rng = np.random.default_rng(3)
        self.sizes, self.values = sizes_of(t), arguments_of(t, rng)
        self.values[t.h.name] = self.values[t.initial.name]
        inputs = [{x.name: draw(x.space, self.sizes, rng) for x in t.inputs} for _ in range(times)]
        self.given: list[Values] = inputs
        self.given[-2][t.reset.name] = np.array([1.0, 0.0])
        self.given[-1][t.active.name] = np.array([1.0, 0.0])

    # --- the state

    def states(self, moved: Values, count: int, given: Sequence[Values]) -> np.ndarray:
        """The state after some steps for some values that are moved: (move, sample, state).

        F is lifted over the moves with all of its arguments, also those that are parameters.
        """
        t = self.t
        (output,), _ = lift([t.output], [a.variable for a in t.layer.arguments], MOVES)
        now = {**{name: repeated(value, count) for name, value in self.values.items()}, **moved}
        for each in given:
            here = now | {name: repeated(value, count) for name, value in each.items()}
            known = {x: here[x.name] for x in variables_of(output)}
            (now[t.h.name],) = values_of([output], known, {MOVES: count, **self.sizes})
        return flat_of(now[t.h.name], count * ROWS).reshape(count, ROWS, -1)

    def derivative(
        self, x: Variable, quotient: Callable, given: Sequence[Values] | None = None
    ) -> np.ndarray:
        """(sample, state, parameter): a quotient of the state along every coordinate of x.

        A state of every sample is moved at once: no sample sees another.
        """
        t, every = self.t, self.given if given is None else given
        rows = ROWS if x in (t.initial, t.h) else 1
        count = sum(a.size for a in arrays(self.values[x.name])) // rows

        def at(step: complex) -> np.ndarray:
            moves = [nudged(self.values[x.name], i, step, rows) for i in range(count)]
            moved = {x.name: stacked(moves)}
            if x is t.initial and given is None:  # the sequence begins from it
                moved[t.h.name] = moved[x.name]
            return self.states(moved, count, every)

        return np.moveaxis(quotient(at), 0, -1)

    # --- J

    def start(self) -> Values:
        """What RTRL begins with."""
        return {**self.values, **run(self.influence.start(), {}, self.sizes)}

    def carried(self, now: Values, given: Sequence[Values]) -> Values:
        """The state and the arrays of J after some steps, by the programs."""
        J, t = self.influence, self.t
        for each in given:
            here = {**now, **each}
            begun = here | run(J.begin(), here, self.sizes)
            found = run(J.forward(), begun, self.sizes)
            found |= run(J.keep(), {**begun, **found}, self.sizes)
            arrays_of_J = {s.variable.name: found[J.next[s]] for s in J.stores}
            now = {**now, t.h.name: found[t.next.name], **arrays_of_J}
        return now

    def full(self, values: Values, x: Variable) -> np.ndarray:
        """J by x out of its arrays, zero where there is none: (sample, state, parameter)."""
        components = range(len(self.influence.step.h))
        rows = [[self._block(values, a, leaf) for leaf in storage(x)] for a in components]
        return np.concatenate([np.concatenate(row, axis=2) for row in rows], axis=1)

    def _block(self, values: Values, a: int, leaf: Node) -> np.ndarray:
        s, h = self.influence.store(a, leaf), self.influence.step.h
        found = np.zeros((*self.shape(h[a]), *self.shape(leaf)))
        if s is not None:
            unpack(found, values[s.variable.name], s, len(shape_of(h[a])), self._begin(s, leaf))
        return by_sample(found, len(shape_of(h[a])), leaf in self.influence.step.initial)

    def _begin(self, s: StoredJacobian, leaf: Node) -> int:
        return 0 if s.offsets is None else int(s.offsets[s.by.index(leaf)].subs(self.sizes))

    def shape(self, node: Node) -> tuple[int, ...]:
        """The shape of an array expression in numbers."""
        return tuple(int(extent.subs(self.sizes)) for extent in shape_of(node))


def unpack(
    found: np.ndarray, array: np.ndarray, s: StoredJacobian, rank: int, begin: int = 0
) -> None:
    """A stored array set into the full one: side by side, or with tied axes stored once."""
    out, into = found.shape[:rank], found.shape[rank:]
    if s.offsets is not None:
        end = begin + int(np.prod(into))
        found[...] = array[..., begin:end].reshape(*out, *into)
        return
    tied = {axis: of for of, axis in s.tied}
    for place in product(*map(range, array.shape)):
        left = iter(place[rank:])
        entry = [place[tied[axis]] if axis in tied else next(left) for axis in range(len(into))]
        found[(*place[:rank], *entry)] = array[place]


def by_sample(found: np.ndarray, rank: int, of_samples: bool) -> np.ndarray:
    """A matrix for each sample; of what every sample has of its own, the sample's own part."""
    width = int(np.prod(found.shape[1:rank]))
    if not of_samples:
        return found.reshape(ROWS, width, -1)
    every = found.reshape(ROWS, width, ROWS, -1)
    assert all(not np.any(every[s, :, r]) for s in range(ROWS) for r in range(ROWS) if s != r)
    return np.stack([every[s, :, s] for s in range(ROWS)])


# --- values


def repeated(value: Any, count: int) -> Any:
    """A value for each of some moves."""
    return stacked([value] * count)


def stacked(values: Sequence[Any]) -> Any:
    """Elements of one space along a new first axis."""
    if isinstance(values[0], tuple):
        return tuple(map(stacked, zip(*values, strict=True)))
    return np.stack(values)


def complex_step(at: Callable) -> np.ndarray:
    """f'(x) = Im f(x + i h) / h, exact to rounding."""
    return at(1j * STEP).imag / STEP


def central(at: Callable) -> np.ndarray:
    """(f(x + h) - f(x - h)) / 2h."""
    return (at(DIFFERENCE) - at(-DIFFERENCE)) / (2 * DIFFERENCE)


def relative(found: np.ndarray, expected: np.ndarray) -> float:
    """The largest error relative to the largest entry of the group."""
    largest = np.abs(expected).max(initial=0.0)
    assert found.shape == expected.shape and largest > 0
    return float(np.abs(found - expected).max(initial=0.0) / largest)
