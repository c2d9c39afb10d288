"""A recurrent network's kernels as a person calls them: lengths, defaults, and one step at a time.

This needs NumPy alone.  The compiled module of a network has its own `Recurrence` under the name
`recurrence`; the kernels themselves take every array.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from derive.runtime.arrays import (
    Arrays,
    added,
    first,
    flat,
    per_sample,
    shape_of,
    summed,
    where_read,
)
from derive.runtime.stepper import Stepper

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
    _kept: threading.local = field(default_factory=threading.local, repr=False)

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
            bars |= {name: summed(starts[name], self.rank(name)) for name in self.initial}
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
                found[name] = parts[0] if len(parts) == 1 else added(*parts)
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
        dtype = first(theta[self.parameters[0]]).dtype
        out = tuple(
            np.empty(shape_of(r.leaves[0], kernel.sizes, sizes), dtype) for r in kernel.results
        )
        kernel(out=out, **{name: sizes[name] for name in kernel.sizes})
        return tuple(a[0] for a in out) if batch is None else out

    def sizes(self, theta: Mapping[str, Arrays]) -> dict[str, int]:
        """The sizes that the parameters show, by name."""
        found: dict[str, int] = {}
        arguments = {a.name: a for a in self.kernels["forward"].arguments}
        for name in self.parameters:
            for leaf, array in zip(arguments[name].leaves, flat(theta[name]), strict=True):
                pairs = zip(leaf.extents, np.shape(array), strict=True)
                found.update({e: n for e, n in pairs if isinstance(e, str)})
        return found

    def _workspace(
        self, kernel: Any, theta: Mapping[str, Arrays], data: Sequence[Arrays], more: Any
    ) -> Any:
        """Room for intermediate values, kept for the next call of this thread.

        Memory that the system gives anew for every call costs more than a short sequence does.
        """
        shape = first(data[0]).shape
        known = {**self.sizes(theta), **more, "steps": shape[0], "batch": 1}
        if self._is_batch(data[0]):
            known["batch"] = shape[1]
        if not set(kernel.sizes) <= known.keys():
            return None  # a size that no parameter shows: the kernel makes its own
        count = kernel.workspace_size(**{name: known[name] for name in kernel.sizes})
        dtype = first(theta[self.parameters[0]]).dtype
        key = f"{kernel.name} {dtype}"
        kept = self._kept.__dict__
        if key not in kept or kept[key].size < count:
            kept[key] = np.empty(count, dtype)
        return kept[key] if count else None

    def _is_batch(self, x: Arrays) -> bool:
        return bool(first(x).ndim > self.rank(self.inputs[0]) + 1)

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
        workspace = self._workspace(kernel, theta, data, sizes)
        arguments = (given[a.name] for a in kernel.arguments)
        results = kernel(*arguments, workspace=workspace, **sizes)
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
        x = first(arrays[self.inputs[0]])
        is_batch = self._is_batch(x)
        batch = x.shape[1] if is_batch else None
        shape = x.shape[: 2 if is_batch else 1]
        dtype = first(theta[self.parameters[0]]).dtype
        active = self._active(options, shape).astype(dtype)
        given: dict[str, Any] = {name: theta[name] for name in self.parameters}
        given |= {name: where_read(active, array) for name, array in arrays.items()}
        given[self.active] = active
        if self.reset:
            reset = options.pop("reset", None)
            given[self.reset] = (
                np.zeros(shape, dtype) if reset is None else np.asarray(reset, dtype)
            )
        elif options.pop("reset", None) is not None:
            raise ValueError(f"{self.name}: a cell runs backward in time, so nothing can be reset")
        begun = self.states(theta, options.pop("initial", None), batch, dtype)
        state = options.pop("state", None)
        given |= dict(zip(self.anew, begun, strict=True)) if self.anew else {}
        now = begun if state is None else self.states(theta, state, batch, dtype)
        given |= dict(zip(self.initial, now, strict=True))
        if targets:
            self._require_count("targets", targets, self.targets)
            weight = options.pop("weight", None)
            each = active / (batch or 1) if weight is None else np.asarray(weight, dtype) * active
            given[self.weight] = np.ascontiguousarray(np.broadcast_to(each, shape))
            pairs = zip(self.targets, targets, strict=True)
            given |= {name: where_read(given[self.weight], y) for name, y in pairs}
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

    def states(
        self, theta: Mapping[str, Arrays], initial: Any, batch: int | None, dtype: Any
    ) -> tuple[Any, ...]:
        """A state for each cell and every sample; `Gradient.last` is one, too."""
        if initial is None:
            initial = tuple(self._default(theta, name, dtype) for name in self.initial)
        elif len(self.initial) == 1 and not self._is_state_of_one(initial):
            initial = (initial,)
        return tuple(
            per_sample(value, batch, self.rank(name), dtype)
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
        made = [np.zeros(shape_of(leaf, order, sizes)[1:], dtype) for leaf in argument.leaves]
        return made[0] if len(made) == 1 else tuple(made)

    def rank(self, name: str) -> int:
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
