"""A recurrent network's kernels as a person calls them: lengths, defaults, and one step at a time.

This needs NumPy alone.  The compiled module of a network has its own `Recurrence` under the name
`recurrence`; the kernels themselves take every array.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import partial
from typing import Any

import numpy as np

from derive.runtime.arrays import Arrays, added, flat, over_samples, sizes_in, total_of
from derive.runtime.given import Given, known_shape
from derive.runtime.stepper import Stepper

METHODS = ("bptt", "truncated_bptt", "rtrl", "hybrid")
SIZES = {"truncated_bptt": ("every", "down"), "hybrid": ("block",)}
ONLINE = ("rtrl", "hybrid")


@dataclass(frozen=True, eq=False)
class Gradient:
    """J, its gradient by each parameter, and what the next piece of the sequence begins with.

    `losses` are the weighted losses of each time and sample, whose sum in double precision `loss`
    is.  `by_initial` and `by_input` have the gradients by the initial states of the samples and by
    the input, where the method gives them.
    """

    loss: float
    by: dict[str, Arrays]
    last: tuple[Arrays, ...]
    influence: tuple[Any, ...]
    by_initial: dict[str, Arrays]
    by_input: dict[str, Arrays]
    losses: Any


@dataclass(frozen=True, eq=False)
class Recurrence:
    """The kernels of one network, and what their arguments are.

    `initial` are the states of its cells before the first step, `anew` those that a reset begins
    from; there are none, and `reset` is empty, where a cell runs backward in time.  `online` says
    that RTRL and the hybrid apply, `why` why they do not.  `learned` says that the initial state is
    a parameter; `fixed` are the arrays of theta that are not trained.  Calls are safe in several
    threads; a stepper is one thread's.
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
    losses: str = ""
    prediction: str = ""
    parameters: tuple[str, ...] = ()
    fixed: tuple[str, ...] = ()
    influence: tuple[str, ...] = ()
    learned: bool = False
    online: bool = False
    why: str = ""
    _kept: threading.local = field(default_factory=threading.local, repr=False)

    def __reduce__(self) -> tuple[Any, ...]:
        """In a pickle kernels are references; room for intermediate values is a thread's own."""
        kept = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "_kept"}
        return partial(Recurrence, **kept), ()

    @property
    def declared(self) -> dict[str, Any]:
        """What the kernels declare of every argument, by name."""
        return {a.name: a for kernel in self.kernels.values() for a in kernel.arguments}

    @property
    def theta(self) -> tuple[str, ...]:
        """What theta holds: the parameters, what is fixed, the initial states where learned."""
        return (*self.parameters, *self.fixed, *(self.initial if self.learned else ()))

    # --- whole sequences

    def forward(self, theta: Mapping[str, Arrays], *inputs: Arrays, **options: Any) -> Any:
        """The predictions y^, the states h_1, .., h_T and the states after the last step.

        `theta` has the parameters and what is fixed by name, `inputs` the arrays of x with the axes
        (time, batch, ..) or (time, ..).  Options: `initial` (a state, or one for each cell;
        default: zero, or the learned one), `state` (what a piece of the sequence before has left,
        default: `initial`), `lengths` of the samples, `active` and `reset` masks of shape (time,
        batch): a reset begins anew from `initial` before its step.  Arrays are float64 or float32,
        all of one; what is beyond a length is not read, and a stream with a NaN or an infinity in
        it harms no other.  Raises TypeError and ValueError with the argument's name where something
        does not fit: arrays over time have the shape (time, batch, ..), and none is broadcast.
        """
        given = Given(self, theta, inputs, None, options)
        kernel = self.kernels["forward"]
        return kernel(*(given.arrays[a.name] for a in kernel.arguments))

    def loss(
        self, theta: Mapping[str, Arrays], *data: Arrays, **options: Any
    ) -> tuple[float, tuple[Arrays, ...]]:
        """J = sum over times and samples of weight loss, and the states after the last step.

        `data` are the inputs, then the targets; options as in `forward`, and `weight` of shape
        (time, batch): 1/B by default, 0 where a target is missing.  Then target, prediction and
        loss of the step are not read into anything.
        """
        results = self._called("loss", self._given(theta, data, options), {})
        return total_of(results[self.losses]), self._last(results)

    def gradient(
        self, theta: Mapping[str, Arrays], *data: Arrays, method: str = "bptt", **options: Any
    ) -> Gradient:
        """J and its gradient by every parameter, by one of the methods.

        "bptt"; "truncated_bptt" with every=l and down=m >= l; "rtrl"; "hybrid" with block=k.  All
        but the truncated one are exact.  Options as in `loss`, and for RTRL and the hybrid
        `influence`, what a piece of the sequence before has left (`Gradient.influence`).  Where
        `state` is given and `influence` is not, the state counts as given: no gradient goes through
        it.  Raises ValueError for an unknown method or one that does not apply to the network.

        Source: thesis algorithms 5.1.1 and 5.1.2.
        """
        self._check_method(method)
        sizes = self._method_sizes(method, options)
        if method not in ONLINE and options.get("influence") is not None:
            raise TypeError(f"{self.name}: influence belongs to rtrl and hybrid, not to {method}")
        given = self._given(theta, data, options)
        given.arrays |= given.influence() if method in ONLINE else {}
        results = self._called(method, given, sizes)
        starts = self._by_initial(results, options.get("state") is None)
        bars = {name: results[f"{name}_bar"] for name in self.parameters}
        if self.learned and options.get("initial") is None:
            bars |= {x: over_samples(self.declared[x].leaves, starts[x]) for x in self.initial}
        names = self.influence if method in ONLINE else ()
        influence = tuple(results[f"{name}_last"] for name in names)
        inputs = {n: results[f"{n}_bar"] for n in self.inputs if f"{n}_bar" in results}
        losses = results[self.losses]
        last = self._last(results)
        return Gradient(total_of(losses), bars, last, influence, starts, inputs, losses)

    def stepper(
        self,
        theta: Mapping[str, Arrays],
        *,
        batch: int | None = None,
        initial: Any = None,
        influence: tuple[Any, ...] | None = None,
    ) -> Stepper:
        """RTRL one step at a time, for a batch of streams or one stream without the batch axis.

        `initial` is the state to begin with, zero or the learned one by default; `influence` that
        of a run before, as `Stepper.influence` has it.  Raises ValueError where RTRL does not
        apply.
        """
        self._check_method("rtrl")
        return Stepper(self, theta, batch, initial, influence)

    def start(self, theta: Mapping[str, Arrays], batch: int | None) -> tuple[Any, ...]:
        """The influence at the initial state: zero, the identity for a learned initial state."""
        sizes = {**self.sizes(theta), "batch": 1 if batch is None else batch}
        return self.started(sizes, self.dtype(theta), batch)

    def sizes(self, theta: Mapping[str, Arrays]) -> dict[str, int]:
        """The sizes that the arrays of theta show, by name."""
        found: dict[str, int] = {}
        for name in self.theta:
            if name in theta:
                found |= sizes_in(self.declared[name].leaves, theta[name])
        return found

    def dtype(self, theta: Mapping[str, Arrays]) -> Any:
        """The dtype of the arrays of theta, float64 where there are none."""
        names = (*self.parameters, *self.fixed)
        kinds = [np.asarray(a).dtype for name in names for a in flat(theta[name])]
        return next((kind for kind in kinds if kind.kind == "f"), np.dtype(np.float64))

    def started(self, sizes: Mapping[str, int], dtype: Any, batch: int | None) -> tuple[Any, ...]:
        """The influence at the initial state, at sizes by name."""
        if not self.influence:
            return ()
        kernel = self.kernels["start"]
        shapes = [known_shape(self.name, r.leaves[0], kernel.sizes, sizes) for r in kernel.results]
        out = tuple(np.empty(shape, dtype) for shape in shapes)
        kernel(out=out, **{name: sizes[name] for name in kernel.sizes})
        return tuple(a[0] for a in out) if batch is None else out

    # --- calls

    def _given(
        self, theta: Mapping[str, Arrays], data: Sequence[Arrays], options: Mapping[str, Any]
    ) -> Given:
        if "loss" not in self.kernels:
            raise ValueError(f"{self.name}: the network has no loss; give it one by with_loss(l)")
        split = len(self.inputs)
        return Given(self, theta, data[:split], data[split:], options)

    def _called(self, name: str, given: Given, sizes: Mapping[str, Any]) -> dict[str, Any]:
        kernel = self.kernels[name]
        workspace = self._workspace(kernel, {**given.sizes, **sizes}, given.dtype)
        arguments = (given.arrays[a.name] for a in kernel.arguments)
        results = kernel(*arguments, workspace=workspace, **sizes)
        names = [r.name for r in kernel.results]
        return dict(zip(names, results if len(names) > 1 else (results,), strict=True))

    def _workspace(self, kernel: Any, sizes: Mapping[str, Any], dtype: Any) -> Any:
        """Room for intermediate values, kept for the next call of this thread.

        Memory that the system gives anew for every call costs more than a short sequence does.
        """
        known = {name: sizes.get(name) for name in kernel.sizes}
        if not all(isinstance(n, int) and n >= 0 for n in known.values()):
            return None  # the kernel makes its own, or says what is wrong
        count = kernel.workspace_size(**known)
        key, kept = f"{kernel.name} {dtype}", self._kept.__dict__
        if key not in kept or kept[key].size < count:
            kept[key] = np.empty(count, dtype)
        return kept[key] if count else None

    def _check_method(self, method: str) -> None:
        if method not in METHODS:
            raise ValueError(f"{self.name}: the method is one of {METHODS}, got {method!r}")
        if method != "bptt" and not self.online:
            raise ValueError(f"{self.name}: {method} does not apply: {self.why}")

    def _method_sizes(self, method: str, options: dict[str, Any]) -> dict[str, Any]:
        """The sizes that a method takes, off the options."""
        wanted = SIZES.get(method, ())
        missing = [name for name in wanted if name not in options]
        if missing:
            raise TypeError(f"{self.name}: {method} needs {', '.join(missing)}")
        sizes = {name: options.pop(name) for name in wanted}
        for name, n in sizes.items():
            if not isinstance(n, (int, np.integer)) or isinstance(n, bool) or n < 1:
                raise ValueError(f"{self.name}: {name} is a whole number from 1 on, got {n!r}")
        sizes = {name: int(n) for name, n in sizes.items()}
        if method == "truncated_bptt" and sizes["down"] < sizes["every"]:
            raise ValueError(
                f"{self.name}: every loss is sent back once, so down must be at least every, got "
                f"every={sizes['every']} and down={sizes['down']}"
            )
        return sizes

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

    def _last(self, results: Mapping[str, Any]) -> tuple[Arrays, ...]:
        found = [value for name, value in results.items() if name.endswith("_last")]
        return tuple(found[: len(self.initial)])
