"""RTRL online: a recurrent network fed one step at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

import numpy as np

from derive.runtime.arrays import (
    Arrays,
    Total,
    copied,
    flat,
    gathered,
    over_samples,
    per_sample,
    sizes_in,
    spread,
    total_of,
    where_read,
)
from derive.runtime.given import known_shape


class Stepper:
    """RTRL online: one x_t (and y_t where there is one) at a time (thesis algorithm 5.1.1).

    `loss` and `gradient` are those of all steps so far, exact as long as theta stays as it is.
    Where theta is changed between the steps and the influence is carried on, they are *not* the
    exact gradient: the influence then belongs to the parameters of the past, and the error grows
    with the learning rate.  `update` says which of the two is wanted.  The memory does not grow
    with the steps.  A stepper holds arrays of its own and belongs to one thread.
    """

    def __init__(
        self,
        recurrence: Any,
        theta: Mapping[str, Arrays],
        batch: int | None,
        initial: Any,
        influence: tuple[Any, ...] | None,
    ) -> None:
        r = self.recurrence = recurrence
        self.batch, self.steps, self._turn, self._total = batch, 0, 0, Total()
        self._learned = r.learned and initial is None
        self.theta = {name: copied(theta[name]) for name in self._names(theta)}
        self._sizes = {**r.sizes(self.theta), "steps": 1, "batch": 1 if batch is None else batch}
        self._dtype = r.dtype(self.theta)
        begun = self._begin(initial)
        start = r.start(self.theta, batch) if influence is None else influence
        self._places = [[copied(begun), *map(np.array, start)] for _ in range(2)]
        self._kernel = r.kernels["rtrl"]
        self._given, self._added = self._arrays(begun), self._results()
        self._bind()

    def __getstate__(self) -> dict[str, Any]:
        """The arrays and the network's kernels, without those that are bound to the arrays."""
        return {name: value for name, value in vars(self).items() if name != "_bound"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._bind()

    def __copy__(self) -> Stepper:
        return deepcopy(self)  # two steppers must not write into the same arrays

    def _names(self, theta: Mapping[str, Arrays]) -> list[str]:
        """What theta must have.  Raises ValueError where something is missing."""
        r = self.recurrence
        names = [*r.parameters, *r.fixed, *(r.initial if self._learned else ())]
        if missing := [name for name in names if name not in theta]:
            raise ValueError(f"{r.name}: theta lacks {', '.join(missing)}")
        return names

    def _begin(self, initial: Any) -> Arrays:
        """The state to begin with, of every sample."""
        r, (name,) = self.recurrence, self.recurrence.initial
        leaves, order = r.declared[name].leaves, r.kernels["forward"].sizes
        if initial is not None:
            self._sizes = sizes_in(leaves, initial) | self._sizes
        elif self._learned:
            initial = self.theta[name]
        else:
            shapes = [known_shape(r.name, leaf, order, self._sizes)[1:] for leaf in leaves]
            initial = gathered([np.zeros(shape, self._dtype) for shape in shapes])
        return copied(per_sample(f"{r.name}: initial", leaves, initial, self.batch))

    def _arrays(self, begun: Arrays) -> dict[str, Any]:
        """The arrays that the bound kernels read; a step writes into those of its time."""
        r, given = self.recurrence, {}
        for a in self._kernel.arguments:
            if a.name in (*r.parameters, *r.fixed):
                given[a.name] = self.theta[a.name]
            elif a.name not in (*r.influence, *r.initial, *r.anew):
                given[a.name] = gathered([self._made(leaf) for leaf in a.leaves])
        given[r.active][...] = 1
        return {**given, r.anew[0]: copied(begun)}

    def _made(self, leaf: Any) -> Any:
        """Zeros of a leaf for one step."""
        r = self.recurrence
        shape = known_shape(r.name, leaf, self._kernel.sizes, self._sizes)
        if self.batch is None and leaf.batch >= 0:
            shape = (*shape[: leaf.batch], *shape[leaf.batch + 1 :])
        return np.zeros(shape, np.int64 if leaf.kind == "index" else self._dtype)

    def _results(self) -> dict[str, Any]:
        """What is added up over the steps, and the prediction."""
        kept = [x for x in self._kernel.results if not x.name.endswith("_last")]
        return {x.name: gathered([self._made(leaf) for leaf in x.leaves]) for x in kept}

    def _bind(self) -> None:
        """Two calls in turn: each reads the state and the influence that the other has written."""
        r, self._bound = self.recurrence, []
        names = [x.name for x in self._kernel.results if x.name.endswith("_last")]
        for turn in (0, 1):
            before, after = self._places[turn], self._places[1 - turn]
            given = {**self._given, **dict(zip(r.influence, before[1:], strict=True))}
            given[r.initial[0]] = before[0]
            out = {**self._added, **dict(zip(names, after, strict=True))}
            arguments = [given[a.name] for a in self._kernel.arguments]
            self._bound.append(self._kernel.bind(*arguments, out=out))

    def step(
        self, *data: Arrays, weight: Any = None, reset: Any = None, active: Any = None
    ) -> float:
        """One step: x_t, then y_t where there is one; the weighted loss of this step.

        The arrays have the shape of one x_t or y_t, with the batch axis in front where there is
        one.  Without targets the step has no loss.  `weight`, a number for all samples or an array
        of one for each, is 1/B by default and 0 where a target is missing, which then is not read;
        `reset`, likewise, begins anew from the initial state before the step.  Streams where
        `active` is 0 take no step: state, influence and gradient stay, nothing of them is read.
        Raises TypeError for a wrong number of arrays and ValueError for one of another shape,
        before anything is changed.
        """
        r, count = self.recurrence, len(self.recurrence.inputs)
        if len(data) not in (count, count + len(r.targets)):
            raise TypeError(
                f"{r.name}: a step takes {', '.join(r.inputs)}, and {', '.join(r.targets)} or "
                f"nothing, got {len(data)} arrays"
            )
        named = dict(zip((*r.inputs, *r.targets), data, strict=False))
        new = {name: self._checked(name, value) for name, value in named.items()}
        self._put(self._given, new | self._masks(new, len(data) > count, weight, reset, active))
        self._added[r.losses][...] = 0
        self._bound[self._turn]()
        self._turn, self.steps = 1 - self._turn, self.steps + 1
        loss = total_of(self._added[r.losses])
        self._total.add(loss)
        return loss

    def _masks(
        self, new: Mapping[str, Arrays], seen: bool, weight: Any, reset: Any, active: Any
    ) -> dict[str, Arrays]:
        """Weights and masks of a step, and the class indices that are read."""
        r, each = self.recurrence, 1 / max(1, self._sizes["batch"])
        live = self._spread("active", 1 if active is None else active)
        weighed = self._spread("weight", each if weight is None else weight)
        heard = np.where((live != 0) & seen, weighed, np.zeros((), self._dtype))
        found = {r.active: live, r.weight: heard}
        found |= {name: where_read(live, new[name]) for name in r.inputs}
        found |= {name: where_read(heard, new[name]) for name in r.targets if name in new}
        if r.reset:
            found[r.reset] = self._spread("reset", 0 if reset is None else reset)
        return found

    def _spread(self, option: str, value: Any) -> Any:
        shape, axes = ((), ()) if self.batch is None else ((self.batch,), ("batch",))
        name = self.recurrence.name
        return spread(name, option, value, axes, shape, self._dtype)[None]

    def _checked(self, name: str, value: Arrays) -> Arrays:
        """The arrays of one time, with the axis of time in front."""
        targets, where = flat(self._given[name]), f"{self.recurrence.name}: {name}"
        arrays = [np.asarray(a) for a in flat(value)]
        if len(arrays) != len(targets):
            raise ValueError(f"{where}: expected {len(targets)} arrays, got {len(arrays)}")
        for array, target in zip(arrays, targets, strict=True):
            if array.shape != target.shape[1:]:
                raise ValueError(
                    f"{where} has shape {array.shape}, expected an array of shape "
                    f"{target.shape[1:]} for one step"
                )
            if target.dtype.kind == "i" and array.dtype.kind not in "iu":
                raise TypeError(
                    f"{where} has dtype {array.dtype}, expected class indices, integers"
                )
        return gathered([a[None] for a in arrays])

    def _put(self, targets: Mapping[str, Arrays], values: Mapping[str, Arrays]) -> None:
        for name, value in values.items():
            for target, array in zip(flat(targets[name]), flat(value), strict=True):
                target[...] = array

    @property
    def loss(self) -> float:
        """The weighted sum of the losses so far, in double precision and compensated."""
        return self._total.value

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
        if self._learned:
            (name,), (anew,) = r.initial, r.anew
            bar = copied(self._added[f"{anew}_bar"])
            found[name] = over_samples(r.declared[name].leaves, bar)
        return found

    @property
    def prediction(self) -> Arrays:
        """The prediction y^ of the last step."""
        return gathered([np.array(a[0]) for a in flat(self._added[self.recurrence.prediction])])

    def update(
        self, theta: Mapping[str, Arrays], *, influence: str, gradient: str = "restart"
    ) -> None:
        """New parameters from here on; what is fixed stays where theta does not have it.

        influence "keep": J is carried on as it is, as online learning does.  The gradient then is
        not exact: its error is of the order of the change of theta.  influence "restart": J is zero
        again, the state of now counts as given; the gradient is exact for the steps that follow.
        gradient "restart" sets `loss` and `gradient` to zero, "keep" goes on adding.  Raises
        ValueError for a parameter that is missing or of another shape, before anything is changed.
        """
        if influence not in ("keep", "restart") or gradient not in ("keep", "restart"):
            raise ValueError("influence and gradient are 'keep' or 'restart'")
        theta = {name: self.theta[name] for name in self.recurrence.fixed} | dict(theta)
        new = {name: self._like(name, theta[name]) for name in self._names(theta)}
        self._put(self.theta, new)
        if self._learned:
            self._put(self._given, {self.recurrence.anew[0]: self._begin(None)})
        if influence == "restart":
            for place in self._places[self._turn][1:]:
                place[...] = 0  # also what is no number
        if gradient == "restart":
            self._total = Total()
            for value in self._added.values():
                for array in flat(value):
                    array[...] = 0

    def _like(self, name: str, value: Arrays) -> Arrays:
        """A parameter's new value, of the shape that it has."""
        arrays, own = [np.asarray(a) for a in flat(value)], flat(self.theta[name])
        if [a.shape for a in arrays] != [a.shape for a in own]:
            shapes: Sequence[Any] = [a.shape for a in own]
            raise ValueError(
                f"{self.recurrence.name}: {name} has shapes {[a.shape for a in arrays]}, expected "
                f"{shapes}"
            )
        return gathered(arrays)
