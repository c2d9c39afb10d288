"""A recurrent network's kernels as a person calls them: lengths, defaults, and one step at a time.

This needs NumPy alone.  The compiled module of a network has its own `Recurrence` under the name
`recurrence`; the kernels themselves take every array.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Arrays = Any  # an array, or a tuple of arrays for a direct product
METHODS = ("bptt", "truncated_bptt", "rtrl", "hybrid")


@dataclass(frozen=True, eq=False)
class Recurrence:
    """The kernels of one network, and what their arguments are.

    `initial` are the states of its cells before the first step, `anew` those that a reset begins
    from; there are none, and `reset` is empty, where a cell runs backward in time.  `influence` is
    empty where RTRL does not apply, and `why` says why.  `learned` says that the initial state is a
    parameter.
    """

    name: str
    kernels: Mapping[str, Any]
    initial: tuple[str, ...]
    inputs: tuple[str, ...]
    anew: tuple[str, ...]
    reset: str
    active: str
    targets: tuple[str, ...] = ()
    weight: str = ""
    total: str = ""
    prediction: str = ""
    parameters: tuple[str, ...] = ()
    influence: tuple[str, ...] = ()
    learned: bool = False
    why: str = ""

    # --- whole sequences

    def forward(self, theta: Mapping[str, Arrays], *inputs: Arrays, **options: Any) -> Any:
        """The predictions y^, the states h_1, .., h_T and the states after the last step.

        `theta` has the parameters by name, `inputs` the arrays of x with the axes (time, batch, ..)
        or (time, ..).  Options: `initial` (a state, or one for each cell; default: zero, or the
        learned one), `state` (what a piece of the sequence before has left, default: `initial`),
        `lengths` of the samples, `active` and `reset` masks of shape (time, batch): a reset begins
        anew from `initial` before its step.
        """
        given = self._given(theta, inputs, (), options)
        kernel = self.kernels["forward"]
        return kernel(*(given[a.name] for a in kernel.arguments))

    def loss(
        self, theta: Mapping[str, Arrays], *data: Arrays, **options: Any
    ) -> tuple[float, tuple[Arrays, ...]]:
        """J = sum over times and samples of weight loss, and the states after the last step.

        `data` are the inputs, then the targets; options as in `forward`, and `weight` of shape
        (time, batch): 1/B by default, 0 where a target is missing, which then is not read.
        """
        results = self._called("loss", theta, data, options, {})
        return float(results[self.total]), self._last(results)

    def gradient(
        self, theta: Mapping[str, Arrays], *data: Arrays, method: str = "bptt", **options: Any
    ) -> Gradient:
        """J and its gradient by every parameter, by one of the methods.

        "bptt"; "truncated_bptt" with every=l and down=m >= l; "rtrl"; "hybrid" with block=k.  All
        but the truncated one are exact.  `influence` is what a piece of the sequence before has
        left (`Gradient.influence`); options as in `loss`.  Raises ValueError for an unknown method
        or one that does not apply to the network.

        Source: thesis algorithms 5.1.1 and 5.1.2.
        """
        sizes = self._method_sizes(method, options)
        results = self._called(method, theta, data, options, sizes)
        influence = (
            tuple(results[f"{name}_last"] for name in self.influence)
            if (method in ("rtrl", "hybrid"))
            else ()
        )
        bars = {name: results[f"{name}_bar"] for name in self.parameters}
        starts = self._by_initial(results, options.get("state") is None)
        if self.learned:
            bars |= {name: _summed(starts[name], self._rank(name)) for name in self.initial}
        inputs = {n: results[f"{n}_bar"] for n in self.inputs if f"{n}_bar" in results}
        return Gradient(
            float(results[self.total]), bars, self._last(results), influence, starts, inputs
        )

    def _by_initial(self, results: Mapping[str, Any], begun: bool) -> dict[str, Any]:
        """The gradient by the initial state: of what began from it, and of what resets did."""
        found: dict[str, Any] = {}
        for k, name in enumerate(self.initial):
            parts = [results[f"{name}_bar"]] if begun and f"{name}_bar" in results else []
            again = f"{self.anew[k]}_bar" if self.anew else ""
            parts += [results[again]] if again in results else []
            if parts:
                found[name] = parts[0] if len(parts) == 1 else _added(*parts)
        return found

    def stepper(
        self,
        theta: Mapping[str, Arrays],
        *,
        batch: int | None = None,
        initial: Any = None,
        influence: Sequence[Any] | None = None,
    ) -> Stepper:
        """RTRL one step at a time, for a batch of streams or one stream without the batch axis."""
        self._require_online("rtrl")
        return Stepper(self, theta, batch, initial, influence)

    def start(self, theta: Mapping[str, Arrays], batch: int | None) -> tuple[Any, ...]:
        """The influence at the initial state: zero, the identity for a learned initial state."""
        kernel = self.kernels["start"]
        sizes = {**self.sizes(theta), "batch": 1 if batch is None else batch}
        dtype = _first(theta[self.parameters[0]]).dtype
        out = tuple(
            np.empty(_shape(r.leaves[0], kernel.sizes, sizes), dtype) for r in kernel.results
        )
        kernel(out=out, **{name: sizes[name] for name in kernel.sizes})
        return tuple(a[0] for a in out) if batch is None else out

    def sizes(self, theta: Mapping[str, Arrays]) -> dict[str, int]:
        """The sizes that the parameters show, by name."""
        found: dict[str, int] = {}
        arguments = {a.name: a for a in self.kernels["forward"].arguments}
        for name in self.parameters:
            for leaf, array in zip(arguments[name].leaves, _flat(theta[name]), strict=True):
                pairs = zip(leaf.extents, np.shape(array), strict=True)
                found.update({e: n for e, n in pairs if isinstance(e, str)})
        return found

    # --- arguments with their defaults

    def _called(
        self,
        name: str,
        theta: Mapping[str, Arrays],
        data: Sequence[Arrays],
        options: dict[str, Any],
        sizes: Mapping[str, int],
    ) -> dict[str, Any]:
        split = len(self.inputs)
        given = self._given(theta, data[:split], data[split:], options)
        kernel = self.kernels[name]
        results = kernel(*(given[a.name] for a in kernel.arguments), **sizes)
        names = [r.name for r in kernel.results]
        return dict(zip(names, results if len(names) > 1 else (results,), strict=True))

    def _given(
        self,
        theta: Mapping[str, Arrays],
        inputs: Sequence[Arrays],
        targets: Sequence[Arrays],
        options: dict[str, Any],
    ) -> dict[str, Any]:
        """Every argument by name."""
        options = dict(options)
        self._require_count("inputs", inputs, self.inputs)
        arrays = dict(zip(self.inputs, inputs, strict=True))
        first = _first(arrays[self.inputs[0]])
        is_batch = first.ndim > self._rank(self.inputs[0]) + 1
        batch = first.shape[1] if is_batch else None
        shape = first.shape[: 2 if is_batch else 1]
        dtype = _first(theta[self.parameters[0]]).dtype
        active = self._active(options, shape).astype(dtype)
        given: dict[str, Any] = {name: theta[name] for name in self.parameters}
        given |= {name: _where(active, array) for name, array in arrays.items()}
        given[self.active] = active
        if self.reset:
            reset = options.pop("reset", None)
            given[self.reset] = (
                np.zeros(shape, dtype) if reset is None else np.asarray(reset, dtype)
            )
        elif options.pop("reset", None) is not None:
            raise ValueError(f"{self.name}: a cell runs backward in time, so nothing can be reset")
        begun = self._initial(theta, options.pop("initial", None), batch, dtype)
        state = options.pop("state", None)
        given |= dict(zip(self.anew, begun, strict=True)) if self.anew else {}
        now = begun if state is None else self._initial(theta, state, batch, dtype)
        given |= dict(zip(self.initial, now, strict=True))
        if targets:
            self._require_count("targets", targets, self.targets)
            weight = options.pop("weight", None)
            each = active / (batch or 1) if weight is None else np.asarray(weight, dtype) * active
            given[self.weight] = np.ascontiguousarray(np.broadcast_to(each, shape))
            pairs = zip(self.targets, targets, strict=True)
            given |= {name: _where(given[self.weight], y) for name, y in pairs}
        influence = options.pop("influence", None)
        if self.influence:
            known = influence or self.start(theta, batch)
            given |= dict(zip(self.influence, known, strict=True))
        if options:
            raise TypeError(f"{self.name}: no option is called {', '.join(options)}")
        return given

    def _active(self, options: dict[str, Any], shape: tuple[int, ...]) -> Any:
        """The mask of the steps that are taken, from lengths or as it is given."""
        active, lengths = options.pop("active", None), options.pop("lengths", None)
        if active is not None and lengths is not None:
            raise TypeError(f"{self.name}: give lengths or active, not both")
        if lengths is None:
            return np.ones(shape) if active is None else np.asarray(active).reshape(shape)
        lengths = np.asarray(lengths)
        if lengths.shape != shape[1:] or lengths.dtype.kind not in "iu":
            raise ValueError(
                f"{self.name}: lengths are whole numbers of shape {shape[1:]}, one for each "
                f"sample, got {lengths.dtype} of shape {lengths.shape}"
            )
        if lengths.size and not (lengths.min() >= 0 and lengths.max() <= shape[0]):
            raise ValueError(f"{self.name}: a length is between 0 and {shape[0]}, got {lengths}")
        times = np.arange(shape[0]).reshape(-1, *[1] * (len(shape) - 1))
        return np.asarray(times < lengths)

    def _initial(
        self, theta: Mapping[str, Arrays], initial: Any, batch: int | None, dtype: Any
    ) -> tuple[Any, ...]:
        """A state for each cell and every sample; `Gradient.last` is one, too."""
        if initial is None:
            initial = tuple(self._default(theta, name, dtype) for name in self.initial)
        elif len(self.initial) == 1 and not self._is_state_of_one(initial):
            initial = (initial,)
        return tuple(
            _per_sample(value, batch, self._rank(name), dtype)
            for name, value in zip(self.initial, initial, strict=True)
        )

    def _is_state_of_one(self, value: Any) -> bool:
        """The state of the only cell in a tuple of one, as `Gradient.last` has it."""
        return isinstance(value, tuple) and len(value) == 1

    def _default(self, theta: Mapping[str, Arrays], name: str, dtype: Any) -> Any:
        """The learned initial state, or zero."""
        if self.learned:
            if name not in theta:
                raise ValueError(f"{self.name}: theta has no learned initial state {name}")
            return theta[name]
        sizes = {**self.sizes(theta), "batch": 1}
        (argument,) = (a for a in self.kernels["forward"].arguments if a.name == name)
        order = self.kernels["forward"].sizes
        made = [np.zeros(_shape(leaf, order, sizes)[1:], dtype) for leaf in argument.leaves]
        return made[0] if len(made) == 1 else tuple(made)

    def _rank(self, name: str) -> int:
        """The number of axes of one sample at one time."""
        (argument,) = (a for a in self.kernels["forward"].arguments if a.name == name)
        extents = argument.leaves[0].extents
        return len([e for e in extents if e not in ("steps", "batch")])

    def _method_sizes(self, method: str, options: dict[str, Any]) -> dict[str, int]:
        if method not in METHODS:
            raise ValueError(f"{self.name}: the method is one of {METHODS}, got {method!r}")
        if method != "bptt":
            self._require_online(method)
        wanted = {"truncated_bptt": ("every", "down"), "hybrid": ("block",)}.get(method, ())
        missing = [name for name in wanted if name not in options]
        if missing:
            raise TypeError(f"{self.name}: {method} needs {', '.join(missing)}")
        sizes = {name: options.pop(name) for name in wanted}
        if method == "truncated_bptt" and sizes["down"] < sizes["every"]:
            raise ValueError(
                f"{self.name}: every loss is sent back once, so down must be at least every, got "
                f"every={sizes['every']} and down={sizes['down']}"
            )
        return sizes

    def _require_online(self, method: str) -> None:
        if not self.influence:
            raise ValueError(f"{self.name}: {method} does not apply: {self.why}; use bptt")

    def _require_count(self, what: str, found: Sequence[Any], names: Sequence[str]) -> None:
        if len(found) != len(names):
            raise TypeError(
                f"{self.name}: expected the {what} {', '.join(names)}, got {len(found)}"
            )

    def _last(self, results: Mapping[str, Any]) -> tuple[Arrays, ...]:
        return tuple(value for name, value in results.items() if name.endswith("_last"))[
            : len(self.initial)
        ]


@dataclass(frozen=True, eq=False)
class Gradient:
    """J, its gradient by each parameter, and what the next piece of the sequence begins with.

    `by_initial` and `by_input` have the gradients by the initial states of the samples and by the
    input, where the method gives them.
    """

    loss: float
    by: dict[str, Arrays]
    last: tuple[Arrays, ...]
    influence: tuple[Any, ...]
    by_initial: dict[str, Arrays | None]
    by_input: dict[str, Arrays]


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
        recurrence: Recurrence,
        theta: Mapping[str, Arrays],
        batch: int | None,
        initial: Any,
        influence: Sequence[Any] | None,
    ) -> None:
        self.recurrence, self.batch = recurrence, batch
        self.theta = {name: _copied(value) for name, value in theta.items()}
        self._dtype = _first(self.theta[recurrence.parameters[0]]).dtype
        self._rows = (1,) if batch is None else (1, batch)
        self.steps = 0
        start = influence or recurrence.start(self.theta, batch)
        (begun,) = recurrence._initial(self.theta, initial, batch, self._dtype)
        self._places = [[_copied(begun), *map(np.array, start)] for _ in range(2)]
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
        return {**given, r.anew[0]: _copied(begun)}

    def _sizes(self) -> dict[str, int]:
        return {**self.recurrence.sizes(self.theta), "steps": 1, "batch": self.batch or 1}

    def _timed(self, leaf: Any, order: Sequence[str], sizes: Mapping[str, int]) -> Any:
        shape = _shape(leaf, order, sizes)
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
            _put(self._given[name], value)
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
        return _copied(self._places[self._turn][0])

    @property
    def influence(self) -> tuple[Any, ...]:
        """The influence of the parameters on the state now."""
        return tuple(np.array(a) for a in self._places[self._turn][1:])

    @property
    def gradient(self) -> dict[str, Arrays]:
        """The gradient of the losses so far by each parameter."""
        r = self.recurrence
        found = {name: _copied(self._added[f"{name}_bar"]) for name in r.parameters}
        if r.learned:
            for name in r.initial:
                bar = self._added[f"{r.anew[0]}_bar"]
                found[name] = _summed(_copied(bar), r._rank(name))
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
            _put(self.theta[name], theta[name])
        if influence == "restart":
            start = self.recurrence.start(self.theta, self.batch)
            for place, value in zip(self._places[self._turn][1:], start, strict=True):
                place[...] = value
        if gradient == "restart":
            for value in self._added.values():
                for array in _flat(value):
                    array[...] = 0


# --- arrays


def _flat(value: Any) -> list[Any]:
    if isinstance(value, tuple):
        return [array for part in value for array in _flat(part)]
    return [value]


def _first(value: Any) -> Any:
    return np.asarray(_flat(value)[0])


def _copied(value: Any) -> Any:
    return tuple(map(_copied, value)) if isinstance(value, tuple) else np.array(value)


def _added(left: Any, right: Any) -> Any:
    if isinstance(left, tuple):
        return tuple(map(_added, left, right))
    return left + right


def _put(target: Any, value: Any) -> None:
    """A value set into arrays that kernels are bound to."""
    for array, new in zip(_flat(target), _flat(value), strict=True):
        new = np.asarray(new)
        if new.shape not in (array.shape, array.shape[1:]):
            raise ValueError(f"expected an array of shape {array.shape[1:]}, got {new.shape}")
        array[...] = new


def _shape(leaf: Any, order: Sequence[str], sizes: Mapping[str, int]) -> tuple[int, ...]:
    """The shape of a leaf at these sizes, by name; other sizes do not matter to it."""
    numbers = [sizes.get(name, 1) for name in order]
    return tuple(
        sizes[e] if isinstance(e, str) else int(e(*numbers)) if callable(e) else int(e)
        for e in leaf.extents
    )


def _where(mask: Any, value: Any) -> Any:
    """The array where the mask is not zero, else 0: what is not read may be anything."""
    if isinstance(value, tuple):
        return tuple(_where(mask, part) for part in value)
    array = np.asarray(value)
    if mask.all() or array.shape[: mask.ndim] != mask.shape:
        return array
    rows = mask.reshape(*mask.shape, *[1] * (array.ndim - mask.ndim)) != 0
    return np.where(rows, array, np.zeros((), array.dtype))


def _per_sample(value: Any, batch: int | None, rank: int, dtype: Any) -> Any:
    """A state for every sample of the batch."""
    if isinstance(value, tuple):
        return tuple(_per_sample(part, batch, rank, dtype) for part in value)
    array = np.asarray(value)
    if batch is None or array.ndim > rank:
        return array
    return np.ascontiguousarray(np.broadcast_to(array, (batch, *array.shape)), dtype)


def _summed(value: Any, rank: int) -> Any:
    """The sum over the samples."""
    if isinstance(value, tuple):
        return tuple(_summed(part, rank) for part in value)
    return value if value.ndim == rank else value.sum(axis=0)
