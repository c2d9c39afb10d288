"""What a random layer's kernels must compute, by PyTorch's functional derivatives.

The points of a batch are evaluated one by one, and stacked; `noisy` wraps the result of every
statement, so that the effect of its rounding can be measured.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from random_drafts import NUMBER
from random_points import Groups

from derive import Layer
from derive.language.roles import THETA
from derive.language.spaces import Product
from derive.models.programs import COTANGENT, TANGENT, Program

Values = Mapping[str, Any]  # by an argument's name: an array, or a tuple for a direct product


@dataclass(frozen=True)
class Oracle:
    """The PyTorch function of a layer, in one dtype, every statement's result through `noisy`."""

    layer: Layer
    function: Callable[..., Any]
    torch: Any
    dtype: str = "float64"
    noise: float = 0.0
    seed: int = 0

    def results(self, programs: Mapping[str, Program], values: Values, batch: int) -> Groups:
        """forward, tangent, backward, tangent_backward, and gradient where there is one."""
        with np.errstate(all="ignore"):
            return self._results(programs, values, batch)

    def _results(self, programs: Mapping[str, Program], values: Values, batch: int) -> Groups:
        x = self._leaves([v.name for v in self.layer.differentiable], values)
        dot = self._of_role(programs["tangent"], TANGENT, values)
        bar = self._of_role(programs["backward"], COTANGENT, values)
        moved = self._of_role(programs["tangent_backward"], COTANGENT, values)[len(bar) :]

        def f(*leaves: Any) -> tuple[Any, ...]:
            return self.batched(leaves, values, batch)

        def backward(leaves: Any, cotangents: Any) -> Any:
            return self.torch.func.vjp(f, *leaves)[1](cotangents)

        y, y_dot = self.torch.func.jvp(f, x, dot)
        x_bar, x_bar_dot = self.torch.func.jvp(backward, (x, bar), (dot, moved))
        found = {"forward": y, "tangent": y_dot, "backward": x_bar, "tangent_backward": x_bar_dot}
        if "gradient" in programs:
            ones = (self.torch.full_like(y[0], 1 / batch),)
            found["gradient"] = (y[0].mean(), *backward(x, ones))
        return {
            name: [np.asarray(part.detach().double()) for part in parts]
            for name, parts in found.items()
        }

    def batched(self, leaves: tuple[Any, ...], values: Values, batch: int) -> tuple[Any, ...]:
        """The layer at these leaves of states and parameters, point by point."""
        given = dict(values)
        rest = list(leaves)
        for x in self.layer.differentiable:
            given[x.name] = self._taken(x.space, rest)
        each = [self.at(given, b) for b in range(batch)]
        return tuple(self.torch.stack(parts) for parts in zip(*each, strict=True))

    def at(self, given: Values, point: int) -> tuple[Any, ...]:
        """The outputs at one point of the batch."""
        arguments = {
            a.name: self._point(self._tensor(given[a.name]), None if a.role in THETA else point)
            for a in self.layer.arguments
        }
        made = self.function(self.torch, self._noisy(point), **arguments, **NUMBER)
        return made if isinstance(made, tuple) else (made,)

    def _noisy(self, point: int) -> Callable[[Any], Any]:
        """Every entry times 1 + noise r, r uniform in (-1, 1) and the same at every evaluation."""
        if not self.noise:
            return lambda value: value
        draws = np.random.default_rng((self.seed, point))

        def noisy(value: Any) -> Any:
            factor = 1 + self.noise * draws.uniform(-1, 1, tuple(value.shape))
            return value * self._tensor(factor)

        return noisy

    def _taken(self, space: Any, rest: list[Any]) -> Any:
        if isinstance(space, Product):
            return tuple(self._taken(factor, rest) for factor in space.factors)
        return rest.pop(0)

    def _point(self, value: Any, point: int | None) -> Any:
        if isinstance(value, tuple):
            return tuple(self._point(part, point) for part in value)
        return value if point is None else value[point]

    def _tensor(self, value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(self._tensor(part) for part in value)
        if isinstance(value, self.torch.Tensor):
            return value
        array = np.asarray(value)
        kind = None if array.dtype.kind == "i" else getattr(self.torch, self.dtype)
        return self.torch.tensor(array, dtype=kind)

    def _leaves(self, names: list[str], values: Values) -> tuple[Any, ...]:
        return tuple(leaf for name in names for leaf in _flat(self._tensor(values[name])))

    def _of_role(self, program: Program, role: str, values: Values) -> tuple[Any, ...]:
        return self._leaves([a.name for a in program.arguments if a.role == role], values)


def _flat(value: Any) -> list[Any]:
    if isinstance(value, tuple):
        return [leaf for part in value for leaf in _flat(part)]
    return [value]
