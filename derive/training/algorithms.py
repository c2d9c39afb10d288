"""Gradient descent on networks: Algorithms 3.2.1 and 4.1.1 of the thesis.

Each numbered line of `gradients` and `mlp_gradients` is the line of that number in the thesis.
They run on the NumPy reference, for a point or, lifted, for a batch over which the gradient is
averaged; `fitting.fit` runs on compiled kernels.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import sympy

from ..calculus.lift import lift_space
from ..calculus.maps import LinearMap
from ..language.expressions import Node, Variable
from ..language.reference import Sizes, Value, bind_sizes, flat_arrays, value
from ..language.scalars.operations import Operation
from ..language.spaces import R, SpaceError
from ..language.spaces import leaves as array_spaces
from ..language.walk import topological
from ..models.layers import Layer
from ..models.networks import Network, Stage
from ..models.programs import BATCH
from .gradients import clip
from .optimise import GradientDescent, Optimiser
from .parameters import Array, map_tree
from .targets import arrays_of, counted, softmax, target

Kind = Literal["regression", "classification"]


Values = Mapping[str, Value]


# --- Algorithm 3.2.1


def gradients(
    network: Network, x: Value, y: Value, theta: Any, kind: Kind, given: Values | None = None
) -> Iterator[tuple[int, dict[str, Value]]]:
    """Lines 1 to 13 of Algorithm 3.2.1: (i, grad_{theta_i} J) for i = L, .., 1, by argument name.

    J is the squared loss (3.6) for "regression", the cross-entropy (3.9) of softmax(F) for
    "classification", where y is one-hot, a distribution or class indices.  A batch, x with one more
    axis in front, gives the average of its points' gradients.  `given` holds the arguments of the
    network besides x and theta.  Once (i, ..) is yielded, theta_i may be changed, as line 14 does:
    a parameter that several layers share is yielded by the first of them, with the sum of its
    gradients, as in Algorithm 4.3.1.

    Raises ValueError for another kind, an empty batch or a target that does not fit, SpaceError for
    arrays that do not.
    """
    points = _points(x, network)
    sizes = _sizes(network, x, points, network.flat(theta))
    functions = (_Function(stage, points, given or {}, sizes) for stage in network.stages)
    f = dict(enumerate(functions, 1))
    theta_ = {i: f[i].own(network.flat(theta)) for i in f}
    L, x_, e, old = len(f), {1: x}, {}, {}  # 2
    for i in range(1, L + 1):  # 3
        x_[i + 1] = f[i](x_[i], theta_[i])  # 4
    y = target(kind, y, x_[L + 1], network.output.space)
    first = {name: i for i in range(L, 0, -1) for name in theta_[i]}
    above: dict[str, Value] = {}  # gradients with respect to later uses of a parameter
    for i in range(L, 0, -1):  # 5
        old[i] = map_tree(np.copy, theta_[i])  # 6
        if i == L and kind == "regression":  # 7
            e[L] = map_tree(np.subtract, x_[L + 1], y)  # 8
        elif i == L and kind == "classification":  # 9
            e[L] = softmax(x_[L + 1]) - y  # 10
        else:  # 11
            e[i] = f[i + 1].D_adjoint(x_[i + 1], old[i + 1], e[i + 1])  # 12
        grad = f[i].nabla_adjoint(x_[i], theta_[i], e[i])  # 13
        for name in grad.keys() & above.keys():
            grad[name] = map_tree(np.add, above.pop(name), grad[name])
        above |= {name: grad.pop(name) for name in [*grad] if first[name] < i}
        yield i, map_tree(lambda g, t: _mean(g, points, t), grad, {k: theta_[i][k] for k in grad})


def gradient(
    network: Network, x: Value, y: Value, theta: Any, kind: Kind, given: Values | None = None
) -> dict[str, Any]:
    """grad_theta J, averaged over a batch, as a tree like theta without fixed parameters.

    See `gradients`.
    """
    found: dict[str, Value] = {}
    for _, gradient_i in gradients(network, x, y, theta, kind, given):
        found |= gradient_i
    return network.tree(found)


def gradient_descent(
    network: Network,
    x: Value,
    y: Value,
    theta: Any,
    kind: Kind,
    eta: float,
    *,
    decay: float = 0.0,
    given: Values | None = None,
) -> Any:
    """Algorithm 3.2.1, one iteration: the new theta, with weight decay as in Remark 3.2.6.

    theta_i is updated as soon as its gradient is known, so the error of the layer below depends on
    line 6.  Fixed parameters have no gradient and no decay.  The caller's theta is not changed.
    """
    theta = map_tree(np.copy, theta)
    by_name = network.flat(theta)
    for _, gradient_i in gradients(network, x, y, theta, kind, given):
        theta_i = {name: by_name[name] for name in gradient_i}
        GradientDescent(eta, decay=decay).step(theta_i, gradient_i)  # 14
    return theta  # 15


def descend(
    network: Network,
    x: Value,
    y: Value,
    theta: Any,
    kind: Kind,
    optimiser: Optimiser,
    *,
    clip_norm: float | None = None,
    clip_value: float | None = None,
    given: Values | None = None,
) -> None:
    """One step of any optimiser on theta, in place: lines 1 to 13, clipping, and its line 14."""
    grad = gradient(network, x, y, theta, kind, given)
    clip(grad, clip_norm, clip_value)
    optimiser.step(network.trained(theta), grad)


# --- Algorithm 4.1.1


def mlp_gradients(
    x: Array, y: Array, theta: Mapping[str, Any], psi: Sequence[Operation], kind: Kind
) -> Iterator[tuple[int, dict[str, Array]]]:
    """Lines 1 to 15 of Algorithm 4.1.1: (i, {"b": grad_{b_i} J, "W": grad_{W_i} J}), i = L, .., 1.

    theta is the tree {layer: {"W", "b"}} in the order of the layers, psi_i their elementwise
    operations.  Vectors are the rows of arrays, a point being a batch of one; targets and errors
    are those of `gradients`.
    """
    W = dict(enumerate((layer["W"] for layer in theta.values()), 1))
    b = dict(enumerate((layer["b"] for layer in theta.values()), 1))
    psi_, L = dict(enumerate(psi, 1)), len(psi)
    if len(W) != L:
        raise ValueError(f"expected one operation for each of {list(theta)}, got {len(psi)}")
    x_, z, e, old = {1: np.atleast_2d(x)}, {}, {}, {}  # 2
    points = counted(len(x_[1]))
    for i in range(1, L + 1):  # 3
        z[i] = x_[i] @ W[i].T + b[i]  # 4
        x_[i + 1] = psi_[i](z[i])  # 5
    y = target(kind, np.asarray(y)[None] if np.ndim(x) == 1 else y, x_[L + 1], R(len(b[L])))
    for i in range(L, 0, -1):  # 6
        old[i] = W[i].copy()  # 7
        if i == L and kind == "regression":  # 8
            e[L] = x_[L + 1] - y  # 9
        elif i == L and kind == "classification":  # 10
            e[L] = softmax(x_[L + 1]) - y  # 11
        else:  # 12
            e[i] = (psi_[i + 1].derivative()(z[i + 1]) * e[i + 1]) @ old[i + 1]  # 13
        delta = psi_[i].derivative()(z[i]) * e[i]
        grad_b = delta.sum(axis=0)  # 14
        grad_W = delta.T @ x_[i]  # 15
        yield i, {"W": _mean(grad_W, points, W[i]), "b": _mean(grad_b, points, b[i])}


def mlp_gradient(
    x: Array, y: Array, theta: Mapping[str, Any], psi: Sequence[Operation], kind: Kind
) -> dict[str, dict[str, Array]]:
    """grad_theta J of an MLP, averaged over a batch, as a tree like theta; see `mlp_gradients`."""
    found = dict(mlp_gradients(x, y, theta, psi, kind))
    return {name: found[i] for i, name in enumerate(theta, 1)}


def mlp_gradient_descent(
    x: Array,
    y: Array,
    theta: Mapping[str, Any],
    psi: Sequence[Operation],
    kind: Kind,
    eta: float,
    *,
    decay: float = 0.0,
) -> dict[str, dict[str, Array]]:
    """Algorithm 4.1.1, one iteration: the new theta, with weight decay as in Remark 3.2.6."""
    updated: dict[str, dict[str, Array]] = map_tree(np.copy, theta)
    layer = dict(enumerate(updated.values(), 1))
    for i, gradient_i in mlp_gradients(x, y, updated, psi, kind):
        GradientDescent(eta, decay=decay).step(layer[i], gradient_i)  # 16, 17
    return updated  # 18


# --- a layer and its adjoints at arrays


class _Function:
    """f_i, D*f_i and nabla*f_i of a stage, evaluated at arrays of a point or of a batch."""

    def __init__(self, stage: Stage, points: int | None, given: Values, sizes: Sizes) -> None:
        self.f, self.adjoints = _lifted(stage, points is not None)
        self.x, self.given, self.sizes = stage.input.name, given, sizes

    def own(self, theta: Values) -> dict[str, Value]:
        """theta_i, by argument name."""
        return {x.name: theta[x.name] for x in self.f.theta}

    def __call__(self, x: Value, theta: Values) -> Value:
        return arrays_of(value(self.f.output, self._at(self.f.output, x, theta), self.sizes))

    def D_adjoint(self, x: Value, theta: Values, e: Value) -> Value:
        """D*f_i(x_i) . e, with theta_i."""
        return self._adjoint(self.x, x, theta, e)

    def nabla_adjoint(self, x: Value, theta: Values, e: Value) -> dict[str, Value]:
        """nabla*f_i(x_i) . e for each parameter, summed over a batch."""
        return {p.name: self._adjoint(p.name, x, theta, e) for p in self.f.parameters}

    def _adjoint(self, name: str, x: Value, theta: Values, e: Value) -> Value:
        map_ = self.adjoints[name]
        at = self._at(map_.body, x, theta)
        return arrays_of(value(map_.body, at | {map_.variable: e}, self.sizes))

    def _at(self, body: Node, x: Value, theta: Values) -> dict[Variable, Value]:
        """The values of the arguments, which also give the sizes, and of Gram matrices."""
        named = {**self.given, **theta, self.x: x}
        free = [node for node in topological(body) if isinstance(node, Variable)]
        variables = [*(a.variable for a in self.f.arguments), *free]
        return {v: named[v.name] for v in variables if v.name in named}


@lru_cache(maxsize=256)
def _lifted(stage: Stage, batch: bool) -> tuple[Layer, dict[str, LinearMap]]:
    """f_i, lifted to a batch if there is one, and the adjoints of its derivatives by argument."""
    f = stage.function.batched(BATCH) if batch else stage.function
    return f, {v.name: f.derivative(v.name).adjoint for v in f.differentiable}


def _sizes(network: Network, x: Value, points: int | None, theta: Values) -> Sizes:
    """The sizes of a network; a single layer may not show all of them."""
    sizes: dict[sympy.Symbol, int] = {}
    first = network.stages[0].input
    space = first.space if points is None else lift_space(first.space, BATCH)
    bind_sizes(first.name, space, x, sizes)
    for parameter in network.theta:
        bind_sizes(parameter.name, parameter.space, theta[parameter.name], sizes)
    return sizes


def _mean(summed: Array, points: int | None, theta: Array) -> Array:
    """The average of what was summed over the batch, in the dtype of the parameter."""
    return np.asarray(summed / (points or 1), theta.dtype)


def _points(x: Value, network: Network) -> int | None:
    """The number of points of a batch; None for a point."""
    space, array = network.stages[0].input.space, flat_arrays(x)[0]
    rank = len(next(array_spaces(space)).shape)
    if array.ndim not in (rank, rank + 1):
        raise SpaceError(
            f"network {network.name}: x must be of {space}, or a batch of these with one more axis "
            f"in front, got shape {array.shape}"
        )
    return None if array.ndim == rank else counted(array.shape[0])
