"""Gradient descent on recurrent networks: Algorithms 5.1.1 and 5.1.2 of the thesis, and training.

The gradient is that of a network's compiled kernels over whole sequences, by any of their methods:
"bptt", "truncated_bptt", "rtrl", "hybrid".  It is averaged over the batch and summed over the
times, J = sum_t l(y_t, y^_t) (thesis (5.4)), unless a `weight` is given.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import Any

import numpy as np

from ..language.reference import Value, flat_arrays
from .fitting import array_names, fit
from .optimise import GradientDescent
from .parameters import Array, Tree, map_tree


class SequenceGradient:
    """A network's gradient over sequences, in the form that `fit` calls.

    `SequenceGradient(kernels, method, **options)(x, y, cell_W=.., out=out)` adds J to out["J"] and
    the gradient to out["cell_W_bar"], ..; a batch is (x, .., y, ..), and may end with a dict of
    options of its own, such as {"lengths": ..}.  With `carried`, each batch continues the
    streams of the batch before: it starts from their last state, through which no gradient is
    propagated.  `restart` returns to the initial state.

    The influence of RTRL is never carried from batch to batch: it would be that of the parameters
    before the step, and the gradient would not be exact.
    """

    def __init__(
        self, kernels: ModuleType, method: str = "bptt", *, carried: bool = False, **options: Any
    ) -> None:
        self.recurrence, self.method, self.options = kernels.recurrence, method, options
        self.carried = carried
        self.state: tuple[Value, ...] | None = None

    @property
    def arguments(self) -> tuple[Any, ...]:
        """The kernels' declaration of the arrays of theta, which tells `fit` what is fixed."""
        return tuple(self.recurrence.declared[name] for name in self.recurrence.theta)

    def restart(self) -> None:
        """Let the next batch start from the initial state."""
        self.state = None

    def __call__(self, *batch: Any, out: Mapping[str, Array], **theta: Array) -> None:
        """Add J and the gradient of a batch at these parameters to the arrays of `out`."""
        *data, own = batch if batch and isinstance(batch[-1], Mapping) else (*batch, {})
        found = self.recurrence.gradient(
            self._grouped(theta), *data, method=self.method, **self.options, **own, **self._begun()
        )
        self.state = found.last if self.carried else None
        out["J"][...] += found.loss
        for name, bar in found.by.items():
            arrays = flat_arrays(bar)
            for key, array in zip(array_names(name, len(arrays)), arrays, strict=True):
                out[f"{key}_bar"][...] += array

    def _begun(self) -> dict[str, Any]:
        return {} if self.state is None else {"state": self.state}

    def _grouped(self, theta: Mapping[str, Array]) -> dict[str, Value]:
        """The arrays of theta by name, those in direct products as tuples."""
        return {name: self._value(name, theta) for name in self.recurrence.theta}

    def _value(self, name: str, theta: Mapping[str, Array]) -> Value:
        keys = array_names(name, len(self.recurrence.declared[name].leaves))
        if missing := [key for key in keys if key not in theta]:
            raise ValueError(
                f"expected the parameter {missing[0]}, got {list(theta)}; add it to the tree"
            )
        return theta[name] if keys == [name] else tuple(theta[key] for key in keys)


def sequence_descent(
    kernels: ModuleType,
    theta: Tree,
    *data: Any,
    eta: float,
    method: str = "bptt",
    decay: float = 0.0,
    **options: Any,
) -> Any:
    """One iteration of gradient descent for a recurrent network: the new theta.

    Algorithm 5.1.1 with method="rtrl", Algorithm 5.1.2 with method="bptt", and likewise by the
    hybrid; theta and zeta are updated at the end of the sequence, as in their last two lines.
    `theta` is the tree of all parameters and is not changed; `data` are the inputs, then the
    targets; `options` are those of `Recurrence.gradient`.  Weight decay is that of Remark 3.2.6.
    Raises NotFinite if the loss or the gradient is not finite.
    """
    theta = map_tree(np.copy, theta)
    fit(
        SequenceGradient(kernels, method, **options),
        theta,
        [data],
        GradientDescent(eta, decay=decay),
    )
    return theta
