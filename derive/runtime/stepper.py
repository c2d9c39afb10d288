"""RTRL online: a recurrent network fed one step at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from derive.runtime.arrays import Arrays, copied, first, flat, put, shape_of, summed


class Stepper:
    """RTRL online: one x_t (and y_t where there is one) at a time (thesis algorithm 5.1.1).

    `loss` and `gradient` are those of all steps so far, exact as long as `theta` stays as it is.
    Where theta is changed between the steps and the influence is carried on, they are *not* the
    exact gradient: the influence then belongs to the parameters of the past, and the error grows
    with the learning rate.  `update` says which of the two is wanted.  The memory does not grow
    with the steps.
    """

    def __init__(
        self,
        recurrence: Any,
        theta: Mapping[str, Arrays],
        batch: int | None,
        initial: Any,
        influence: Sequence[Any] | None,
    ) -> None:
        self.recurrence, self.batch = recurrence, batch
        self.theta = {name: copied(value) for name, value in theta.items()}
        self._dtype = first(self.theta[recurrence.parameters[0]]).dtype
        self._rows = (1,) if batch is None else (1, batch)
        self.steps = 0
        start = influence or recurrence.start(self.theta, batch)
        (begun,) = recurrence.states(self.theta, initial, batch, self._dtype)
        self._places = [[copied(begun), *map(np.array, start)] for _ in range(2)]
        self._kernel = recurrence.kernels["rtrl"]
        self._given = self._arrays(begun)
        self._added = self._results()
        self._turn = 0
        self._bind()

    def _arrays(self, begun: Any) -> dict[str, Any]:
        """The arrays that the bound kernels read; a step writes into those of its time."""
        r, sizes = self.recurrence, self._sizes()
        order = self._kernel.sizes
        given: dict[str, Any] = {}
        for a in self._kernel.arguments:
            if a.name in self.theta and a.name in r.parameters:
                given[a.name] = self.theta[a.name]
            elif a.name in (*r.influence, *r.initial, *r.anew):
                continue
            else:
                made = [self._timed(leaf, order, sizes) for leaf in a.leaves]
                given[a.name] = made[0] if len(made) == 1 else tuple(made)
        given[r.active][...] = 1
        return {**given, r.anew[0]: copied(begun)}

    def _sizes(self) -> dict[str, int]:
        return {**self.recurrence.sizes(self.theta), "steps": 1, "batch": self.batch or 1}

    def _timed(self, leaf: Any, order: Sequence[str], sizes: Mapping[str, int]) -> Any:
        shape = shape_of(leaf, order, sizes)
        if self.batch is None and leaf.batch >= 0:
            shape = (*shape[: leaf.batch], *shape[leaf.batch + 1 :])
        return np.zeros(shape, np.int64 if leaf.kind == "index" else self._dtype)

    def _results(self) -> dict[str, Any]:
        """What is added up over the steps."""
        sizes, order = self._sizes(), self._kernel.sizes
        found: dict[str, Any] = {}
        for result in self._kernel.results:
            if not result.name.endswith("_last"):
                made = [self._timed(leaf, order, sizes) for leaf in result.leaves]
                found[result.name] = made[0] if len(made) == 1 else tuple(made)
        return found

    def _bind(self) -> None:
        """Two calls in turn: each reads the state and the influence that the other has written."""
        r, self._bound = self.recurrence, []
        for turn in (0, 1):
            before, after = self._places[turn], self._places[1 - turn]
            given = {**self._given, **dict(zip(r.influence, before[1:], strict=True))}
            given[r.initial[0]] = before[0]
            names = [x.name for x in self._kernel.results if x.name.endswith("_last")]
            out = {**self._added, **dict(zip(names, after, strict=True))}
            arguments = [given[a.name] for a in self._kernel.arguments]
            self._bound.append(self._kernel.bind(*arguments, out=out))

    def step(
        self,
        *data: Any,
        weight: Any = None,
        reset: Any = None,
    ) -> float:
        """One step: x_t, then y_t where there is one; the weighed loss of this step.

        Without targets the step has no loss.  `weight` is 1/B by default, `reset` begins anew from
        the initial state before the step.
        """
        r = self.recurrence
        count = len(r.inputs)
        if len(data) not in (count, count + len(r.targets)):
            raise TypeError(
                f"{r.name}: a step takes {', '.join(r.inputs)}, and {', '.join(r.targets)} or "
                f"nothing, got {len(data)} arrays"
            )
        for name, value in zip((*r.inputs, *r.targets), data, strict=False):
            put(self._given[name], value)
        has_target = len(data) > count
        default = 1.0 / (self.batch or 1)
        self._given[r.weight][...] = (default if weight is None else weight) if has_target else 0
        if r.reset:
            self._given[r.reset][...] = 0 if reset is None else reset
        before = float(self._added[r.total])
        self._bound[self._turn]()
        self._turn, self.steps = 1 - self._turn, self.steps + 1
        return float(self._added[r.total]) - before

    @property
    def loss(self) -> float:
        """The weighed sum of the losses so far."""
        return float(self._added[self.recurrence.total])

    @property
    def state(self) -> Arrays:
        """The hidden state now."""
        return copied(self._places[self._turn][0])

    @property
    def influence(self) -> tuple[Any, ...]:
        """The influence of the parameters on the state now."""
        return tuple(np.array(a) for a in self._places[self._turn][1:])

    @property
    def gradient(self) -> dict[str, Arrays]:
        """The gradient of the losses so far by each parameter."""
        r = self.recurrence
        found = {name: copied(self._added[f"{name}_bar"]) for name in r.parameters}
        if r.learned:
            for name in r.initial:
                bar = self._added[f"{r.anew[0]}_bar"]
                found[name] = summed(copied(bar), r.rank(name))
        return found

    @property
    def prediction(self) -> Arrays:
        """The prediction y^ of the last step."""
        made = self._added[self.recurrence.prediction]
        return tuple(np.array(a[0]) for a in made) if isinstance(made, tuple) else np.array(made[0])

    def update(
        self, theta: Mapping[str, Arrays], *, influence: str, gradient: str = "restart"
    ) -> None:
        """New parameters from here on.

        influence "keep": J is carried on as it is, as online learning does.  The gradient then is
        not exact: its error is of the order of the change of theta.  influence "restart": J starts
        anew at the state of now, which counts as given; the gradient is exact for the steps that
        follow.  gradient "restart" sets `loss` and `gradient` to zero, "keep" goes on adding.
        """
        if influence not in ("keep", "restart") or gradient not in ("keep", "restart"):
            raise ValueError("influence and gradient are 'keep' or 'restart'")
        for name in self.theta:
            put(self.theta[name], theta[name])
        if influence == "restart":
            start = self.recurrence.start(self.theta, self.batch)
            for place, value in zip(self._places[self._turn][1:], start, strict=True):
                place[...] = value
        if gradient == "restart":
            for value in self._added.values():
                for array in flat(value):
                    array[...] = 0
