"""Second derivatives in float32 where functions saturate: as near to float64 as PyTorch's are.

The derivative of backward along a direction of all it reads, at inputs of scale 1, 2 and 3: softmax
is nearly one-hot there, and a derivative that is the difference of large terms has no digits left.
"""

from importlib import import_module
from typing import Any

import numpy as np
import pytest

from derive import library
from derive.language.spaces import Indices

torch = pytest.importorskip(
    "torch", reason="PyTorch is an optional oracle: pip install 'layerwise[oracle]'"
)
F = torch.nn.functional
SIZES, BATCH, SEEDS = (5, 4, 6), 3, 40
TIMES = 4  # PyTorch's own error: the figure, for the median and for nine runs of ten


def affine(of: Any) -> Any:
    return lambda x, W, b: of(F.linear(x, W, b))


def attention(x, Q, K, V):
    pairs = (x @ Q.T) @ (x @ K.T).transpose(1, 2) / Q.shape[0] ** 0.5
    return torch.softmax(pairs, 2) @ (x @ V.T)


PYTORCH = {
    "softmax_layer": lambda x: torch.softmax(x, 1),
    "self_attention": attention,
    "dense_softmax": affine(lambda z: torch.softmax(z, 1)),
    "dense_sigmoid": affine(torch.sigmoid),
    "dense": affine(torch.tanh),
    "dense_gelu": affine(F.gelu),
    "dense_softplus": affine(F.softplus),
    "gated": lambda x, A, B, c: F.linear(x, A) * torch.sigmoid(F.linear(x, B, c)),
    "cross_entropy": lambda x, y: -(y * torch.log_softmax(x, 1)).sum(1),
    "cross_entropy_index": lambda x, k: F.cross_entropy(x, k, reduction="none"),
}


class Drawn:
    """The arguments of `tangent_backward` of a layer: numbers of float32, as float64."""

    def __init__(self, name: str, scale: float, seed: int) -> None:
        self.layer, self.random = library.layers()[name], np.random.default_rng(seed)
        self.sizes = dict(zip(self.layer.sizes, SIZES, strict=False))
        arguments = self.layer.arguments
        self.free = [a.variable in self.layer.differentiable for a in arguments]
        self.primal = [self._argument(a, scale) for a in arguments]
        self.dots = [
            self._normal(v.shape) for v, f in zip(self.primal, self.free, strict=True) if f
        ]
        shape = (BATCH, *self._shape(self.layer.output.space))
        self.y_bar, self.y_bar_dot = self._normal(shape), self._normal(shape)

    def _shape(self, space: Any) -> tuple[int, ...]:
        return tuple(int(extent.subs(self.sizes)) for extent in space.shape)

    def _normal(self, shape: tuple[int, ...], scale: float = 1) -> np.ndarray:
        return (scale * self.random.normal(size=shape)).astype(np.float32).astype(np.float64)

    def _argument(self, argument: Any, scale: float) -> np.ndarray:
        space, shared = argument.variable.space, argument.role == "parameter"
        shape = (*(() if shared else (BATCH,)), *self._shape(space))
        if isinstance(space, Indices):
            return self.random.integers(0, int(space.bound.subs(self.sizes)), shape)
        if argument.role == "given":  # a distribution
            drawn = self.random.dirichlet(np.ones(shape[-1]), BATCH)
            return drawn.astype(np.float32).astype(np.float64)
        return self._normal(shape, scale)

    def compiled(self, kernel: Any) -> list[np.ndarray]:
        """By the kernel in float32."""
        given = [*self.primal, self.y_bar, *self.dots, self.y_bar_dot]
        single = [a if a.dtype.kind == "i" else a.astype(np.float32) for a in given]
        found = kernel(*single)
        return list(found) if isinstance(found, tuple) else [found]


def by_pytorch(function: Any, every: list[Drawn], dtype: Any) -> list[list[np.ndarray]]:
    """Forward over reverse mode, all seeds at once; by seed."""
    free = every[0].free

    def one(primal: Any, dots: Any, y_bar: Any, y_bar_dot: Any) -> Any:
        def backward(y_bar: Any, *x: Any) -> Any:
            def along(*x: Any) -> Any:
                moving = iter(x)
                return function(
                    *(next(moving) if f else v for v, f in zip(primal, free, strict=True))
                )

            return torch.func.vjp(along, *x)[1](y_bar)

        x = tuple(v for v, f in zip(primal, free, strict=True) if f)
        return torch.func.jvp(backward, (y_bar, *x), (y_bar_dot, *dots))[1]

    def stacked(arrays: Any) -> Any:
        array = np.stack(arrays)
        return torch.tensor(array) if array.dtype.kind == "i" else torch.tensor(array, dtype=dtype)

    primal, dots = (
        [stacked(a) for a in zip(*columns, strict=True)]
        for columns in ([d.primal for d in every], [d.dots for d in every])
    )
    bars = stacked([d.y_bar for d in every]), stacked([d.y_bar_dot for d in every])
    found = torch.func.vmap(one)(primal, dots, *bars)
    return [[part[s].double().numpy() for part in found] for s in range(len(every))]


def error(found: list[np.ndarray], exact: list[np.ndarray]) -> float:
    """Of the worst result, relative to its largest entry."""
    return max(abs(f - e).max() / abs(e).max() for f, e in zip(found, exact, strict=True))


@pytest.mark.parametrize("scale", [1, 2, 3])
@pytest.mark.parametrize("name", PYTORCH)
def test_second_derivatives_are_as_near_as_those_of_pytorch(name: str, scale: int) -> None:
    kernel, function = import_module(f"derive.generated.{name}").tangent_backward, PYTORCH[name]
    every = [Drawn(name, scale, seed) for seed in range(SEEDS)]
    exact, single = (by_pytorch(function, every, d) for d in (torch.float64, torch.float32))
    own = [error(d.compiled(kernel), e) for d, e in zip(every, exact, strict=True)]
    others = [error(f, e) for f, e in zip(single, exact, strict=True)]
    for share in (0.5, 0.9):
        assert np.quantile(own, share) <= TIMES * np.quantile(others, share)
