"""Every argument of a recurrent network's kernels, from what a person gives of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from derive.runtime.arrays import (
    Arrays,
    flat,
    gathered,
    per_sample,
    shape_of,
    sizes_in,
    spread,
    where_read,
)

OPTIONS = ("initial", "state", "lengths", "active", "reset", "weight", "influence")


class Given:
    """The arrays of one call by argument, in the dtype of the parameters; no array is changed.

    Raises TypeError for a wrong number of inputs or targets and for options that do not exist,
    ValueError for arrays that do not fit; the sentence names the network and the argument.
    """

    def __init__(
        self,
        network: Any,
        theta: Mapping[str, Arrays],
        inputs: Sequence[Arrays],
        targets: Sequence[Arrays] | None,
        options: Mapping[str, Any],
    ) -> None:
        self.network, self.name, self.options = network, network.name, dict(options)
        self._check_options()
        self._check_count("inputs", inputs, network.inputs)
        self.arrays: dict[str, Any] = self.parameters(theta)
        data = dict(zip(network.inputs, inputs, strict=True))
        if targets is not None:
            self._check_count("targets", targets, network.targets)
            data |= dict(zip(network.targets, targets, strict=True))
        self._settle(data)
        self._fill(theta, data, targets is not None)

    def parameters(self, theta: Mapping[str, Arrays]) -> dict[str, Any]:
        """The parameters and what is fixed by name, none missing and none unknown."""
        if not isinstance(theta, Mapping):
            raise TypeError(f"{self.name}: theta is a dict of arrays by name, got {theta!r}")
        missing = [name for name in self.network.theta if name not in theta]
        if missing and not (missing == list(self.network.initial) and "initial" in self.options):
            raise ValueError(f"{self.name}: theta lacks {', '.join(missing)}")
        return {name: theta[name] for name in (*self.network.parameters, *self.network.fixed)}

    def leaves(self, name: str) -> Any:
        """What the kernels declare of an argument."""
        return self.network.declared[name].leaves

    def _check_options(self) -> None:
        unknown = [name for name in self.options if name not in OPTIONS]
        if unknown:
            raise TypeError(
                f"{self.name}: no option is called {', '.join(unknown)}; there are "
                f"{', '.join(OPTIONS)}"
            )

    def _check_count(self, what: str, found: Sequence[Any], names: Sequence[str]) -> None:
        if len(found) != len(names):
            expected = ", ".join(names) or "none"
            raise TypeError(f"{self.name}: expected the {what} {expected}, got {len(found)}")

    def _settle(self, data: Mapping[str, Any]) -> None:
        """Times, batch, dtype and sizes, from the first input and all arrays."""
        first = self.network.inputs[0]
        leaf, shape = self.leaves(first)[0], np.shape(flat(data[first])[0])
        less = len(leaf.extents) - len(shape)
        if less not in (0, 1):
            axes = ", ".join(map(str, leaf.extents))
            raise ValueError(f"{self.name}: {first} has shape {shape}, expected ({axes})")
        self.batch = None if less else shape[1]
        self.shape = shape[: 1 if less else 2]
        self.sizes: dict[str, int] = {}
        for name, value in {**self.arrays, **data}.items():
            self.sizes |= sizes_in(self.leaves(name), value)
        self.sizes |= {"steps": shape[0], "batch": 1 if less else shape[1]}
        real = [a for value in (*self.arrays.values(), *data.values()) for a in flat(value)]
        kinds = [np.asarray(a).dtype for a in real]
        self.dtype = next((kind for kind in kinds if kind.kind == "f"), np.dtype(np.float64))

    def _fill(self, theta: Mapping[str, Arrays], data: Mapping[str, Any], observed: bool) -> None:
        n, active = self.network, self._active()
        self.arrays |= {name: where_read(active, data[name]) for name in n.inputs}
        self.arrays[n.active] = active
        if n.reset:
            self.arrays[n.reset] = self._spread("reset", 0)
        elif self.options.get("reset") is not None:
            raise ValueError(f"{self.name}: a cell runs backward in time, so nothing can be reset")
        self._states(theta)
        if observed:
            weight = self._spread("weight", 1 / max(1, self.sizes["batch"]))
            self.arrays[n.weight] = np.where(active != 0, weight, np.zeros((), self.dtype))
            for name in n.targets:
                self.arrays[name] = where_read(self.arrays[n.weight], data[name])

    def _spread(self, option: str, default: float) -> Any:
        value, axes = self.options.get(option), ("time", "batch")[: len(self.shape)]
        given = default if value is None else value
        return spread(self.name, option, given, axes, self.shape, self.dtype)

    def _active(self) -> Any:
        """The mask of the steps that are taken, from lengths or as it is given."""
        lengths = self.options.get("lengths")
        if lengths is None:
            return self._spread("active", 1)
        if self.options.get("active") is not None:
            raise TypeError(f"{self.name}: give lengths or active, not both")
        lengths, times = np.asarray(lengths), self.shape[0]
        if lengths.shape != self.shape[1:] or lengths.dtype.kind not in "iu":
            raise ValueError(
                f"{self.name}: lengths are whole numbers of shape {self.shape[1:]}, one for each "
                f"sample, got {lengths.dtype} of shape {lengths.shape}"
            )
        if lengths.size and not (lengths.min() >= 0 and lengths.max() <= times):
            raise ValueError(f"{self.name}: a length is between 0 and {times}, got {lengths}")
        column = np.arange(times).reshape(-1, *[1] * (len(self.shape) - 1))
        return (column < lengths).astype(self.dtype)

    # --- states and influence

    def _states(self, theta: Mapping[str, Arrays]) -> None:
        n, state = self.network, self.options.get("state")
        initial = self.options.get("initial")
        begun = self.states("initial", initial) if initial is not None else self._begin(theta)
        self.arrays |= dict(zip(n.anew, begun, strict=True)) if n.anew else {}
        now = begun if state is None else self.states("state", state)
        self.arrays |= dict(zip(n.initial, now, strict=True))

    def states(self, option: str, value: Any) -> tuple[Any, ...]:
        """A state for each cell and sample; for one cell it may be given by itself."""
        names, count = self.network.initial, len(self.network.initial)
        if count == 1 and not (isinstance(value, tuple) and len(value) == 1):
            value = (value,)
        if not isinstance(value, tuple) or len(value) != count:
            raise ValueError(f"{self.name}: {option} is a tuple of {count} states, one for a cell")
        pairs = zip(names, value, strict=True)
        where = f"{self.name}: {option}"
        return tuple(per_sample(where, self.leaves(x), v, self.batch) for x, v in pairs)

    def _begin(self, theta: Mapping[str, Arrays]) -> tuple[Any, ...]:
        """The learned initial state, or zero."""
        if self.network.learned:
            return self.states("theta", tuple(theta[name] for name in self.network.initial))
        order = self.network.kernels["forward"].sizes
        made = []
        for name in self.network.initial:
            shapes = [self.shape_of(leaf, order)[1:] for leaf in self.leaves(name)]
            zeros = gathered([np.zeros(shape, self.dtype) for shape in shapes])
            made.append(per_sample(self.name, self.leaves(name), zeros, self.batch))
        return tuple(made)

    def shape_of(self, leaf: Any, order: Sequence[str]) -> tuple[int, ...]:
        """The shape of an array at the sizes that are known."""
        return known_shape(self.name, leaf, order, self.sizes)

    def influence(self) -> dict[str, Any]:
        """The influence before the first step: what a piece has left, else where it starts.

        A state that is given does not depend on a learned initial state: then it starts at zero.
        """
        n, found = self.network, self.options.get("influence")
        if found is None:
            found = n.started(self.sizes, self.dtype, self.batch)
            if self.options.get("state") is not None:
                found = tuple(0 * a for a in found)
        if not isinstance(found, tuple) or len(found) != len(n.influence):
            raise ValueError(
                f"{self.name}: influence is a tuple of {len(n.influence)} arrays, as "
                "Gradient.influence of the piece before is"
            )
        return dict(zip(n.influence, found, strict=True))


def known_shape(
    where: str, leaf: Any, order: Sequence[str], sizes: Mapping[str, int]
) -> tuple[int, ...]:
    """The shape of a leaf.  Raises ValueError, naming the size, where one is not known."""
    unknown = [e for e in leaf.extents if isinstance(e, str) and e not in sizes]
    if unknown:
        raise ValueError(
            f"{where}: the size {unknown[0]} of {leaf.name} is shown by no parameter; give the "
            "initial state"
        )
    return shape_of(leaf, order, sizes)
