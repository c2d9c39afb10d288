"""Gradient descent and Adam on trees of parameters.

The parameter update step is line 14 of Algorithm 3.2.1 and lines 16 and 17 of Algorithm 4.1.1,

    theta_i <- theta_i - eta grad_{theta_i} J(x, y; theta),

with weight decay as in Remark 3.2.6. The first step has the number 0.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from derive.training.gradients import (
    NotFinite,
    check_gradient,
    check_like,
    magnitude,
    matched,
    within,
)
from derive.training.parameters import Array, Tree, align, map_tree
from derive.training.rates import Schedule, checked_rate, rate_at


class Optimiser(ABC):
    """A method that updates parameters in place; its state is a tree, for ``save`` and ``load``.

    ``state`` is empty before the first step; then it holds "step", the number of steps taken
    (int64), and each moment under its name, a tree of the shapes and dtypes of the parameters.
    It is changed in place by each step.
    """

    rate: float | Schedule
    decay: float
    decoupled: bool = False
    state: dict[str, Any]
    _buffers: dict[tuple[np.dtype[Any], int], Array]

    def __post_init__(self) -> None:
        self.rate = checked_rate(self.rate)
        self.decay = within("decay", self.decay, 0.0, math.inf)
        self.state = {}
        self._buffers = {}

    def step(self, parameters: Tree, gradient: Tree) -> None:
        """Update ``parameters`` in place by one step along ``gradient``, which is not changed.

        Both are trees of one structure of float32 or float64 arrays, equal in shape and dtype leaf
        by leaf. No array is allocated after the first step. Raises ValueError or TypeError for
        trees or a state that do not fit, NotFinite for a gradient that is not finite or too large
        for the method, each before anything is changed. If the rate is so large that theta
        overflows, NumPy warns.
        """
        self.bound(parameters, gradient)()

    def bound(self, parameters: Tree, gradient: Tree) -> Callable[[], None]:
        """`step` on these trees, whose structure is checked once: each call is one step.

        Their arrays are held, so that what is in them may change between the calls.
        """
        rows = matched(parameters, gradient)
        state, moments = self.state, list[list[Array]]()

        def step() -> None:
            nonlocal state, moments
            count = int(self.state["step"]) if self.state else 0
            rate = rate_at(self.rate, count)
            self._check_range(rows, count)
            if not moments or state is not self.state:  # the first step, or one after `restore`
                state = self.state or self._first_state(parameters)
                moments = self._moment_rows(parameters, state, len(rows))
            for (_, theta, g), own in zip(rows, moments, strict=True):
                self._update(theta, g, own, rate, count)
            state["step"] += 1
            self.state = state

        return step

    def restore(self, state: dict[str, Any]) -> None:
        """Resume from a copy of ``state``, as ``load`` returns it; {} starts afresh.

        With the same hyperparameters, the steps that follow are bit for bit those of the run
        that was saved. Raises ValueError for the state of another method.
        """
        names = ["step", *self._moments()]
        if state and sorted(state) != sorted(names):
            raise ValueError(f"{self!r} expects a state of {names}; got {list(state)}")
        if state and not _is_count(state["step"]):
            raise ValueError(
                f"the state's 'step' is a 0-dimensional int64 array of at least 0; "
                f"got {state['step']!r}"
            )
        self.state = map_tree(np.copy, state)

    @abstractmethod
    def _moments(self) -> tuple[str, ...]:
        """The names of the trees in the state."""

    @abstractmethod
    def _update(self, theta: Array, g: Array, moments: list[Array], rate: float, step: int) -> None:
        """Update one leaf and its moments; theta last, since ``g`` may be the same array."""

    @abstractmethod
    def _largest(self, dtype: np.dtype[Any]) -> float:
        """The largest |g_i + lambda theta_i| that the method can take."""

    def _check_range(self, rows: list[tuple[Any, ...]], step: int) -> None:
        decay = 0.0 if self.decoupled else self.decay
        sizes = check_gradient([(name, g) for name, _, g in rows], f"step {step}: ")
        for (name, theta, g), size in zip(rows, sizes, strict=True):
            largest = size + (decay * magnitude(theta) if decay else 0.0)
            limit = self._largest(g.dtype)
            if not largest <= limit:
                raise NotFinite(
                    f"step {step}: the gradient of {name!r}, with decay, may reach {largest:.3g}; "
                    f"{type(self).__name__} overflows {g.dtype} beyond {limit:.3g}, "
                    "so clip the gradient or scale the loss"
                )

    def _moment_rows(
        self, parameters: Tree, state: dict[str, Any], count: int
    ) -> list[list[Array]]:
        """The moments of each leaf, in the order of their names."""
        columns = [_moment_leaves(parameters, state[name], name) for name in self._moments()]
        return [[column[k] for column in columns] for k in range(count)]

    def _first_state(self, parameters: Tree) -> dict[str, Any]:
        moments = {name: map_tree(np.zeros_like, parameters) for name in self._moments()}
        return {"step": np.array(0, np.int64), **moments}

    def _scratch(self, like: Array, which: int) -> Array:
        """One of the work arrays, shared by all leaves of a dtype, in the shape of ``like``."""
        buffer = self._buffers.get((like.dtype, which))
        if buffer is None or buffer.size < like.size:
            buffer = self._buffers[like.dtype, which] = np.empty(like.size, like.dtype)
        return buffer[: like.size].reshape(like.shape)

    def _decayed(self, theta: Array, g: Array) -> Array:
        """grad J + lambda theta (Remark 3.2.6), or grad J alone where the decay is decoupled."""
        if self.decay == 0.0 or self.decoupled:
            return g
        out = self._scratch(theta, 0)
        return np.add(g, np.multiply(theta, self.decay, out=out), out=out)


@dataclass(eq=False)
class GradientDescent(Optimiser):
    """Gradient descent, with momentum mu, and weight decay lambda, at the rate eta_t::

        g      <- grad J(theta) + lambda theta                           (Remark 3.2.6)
        theta  <- theta - eta_t g                mu = 0                  (Algorithm 3.2.1, line 14)
        v      <- mu v + g                       mu > 0, v = 0 at first
        theta  <- theta - eta_t v                                        (heavy ball)
        theta  <- theta - eta_t (g + mu v)       nesterov

    Sources: Polyak (1964) for momentum; Sutskever et al. (2013) for Nesterov's, with v scaled and
    theta taken at the look-ahead point, the form of PyTorch's SGD with dampening 0.
    The state holds v as "velocity" where mu > 0.

    ``rate`` is positive, or a function of the step t = 0, 1, ... with values of at least 0;
    0 <= momentum < 1; decay >= 0; ``nesterov`` needs a positive momentum. Raises ValueError
    for other values.

    >>> theta = {"b": np.array([1.0, 2.0])}
    >>> GradientDescent(0.5).step(theta, {"b": np.array([1.0, 1.0])})
    >>> theta
    {'b': array([0.5, 1.5])}
    """

    rate: float | Schedule
    momentum: float = 0.0
    nesterov: bool = False
    decay: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.momentum = within("momentum", self.momentum, 0.0, 1.0)
        if self.nesterov and self.momentum == 0.0:
            raise ValueError("nesterov=True needs a momentum above 0; got momentum=0.0")

    def _moments(self) -> tuple[str, ...]:
        return ("velocity",) if self.momentum > 0.0 else ()

    def _largest(self, dtype: np.dtype[Any]) -> float:
        return float(np.finfo(dtype).max)

    def _update(self, theta: Array, g: Array, moments: list[Array], rate: float, step: int) -> None:
        g = self._decayed(theta, g)
        direction = g
        work = self._scratch(theta, 1)
        for v in moments:
            np.add(np.multiply(v, self.momentum, out=v), g, out=v)
            direction = v
            if self.nesterov:
                direction = np.add(g, np.multiply(v, self.momentum, out=work), out=work)
        np.subtract(theta, np.multiply(direction, rate, out=work), out=theta)


@dataclass(eq=False)
class Adam(Optimiser):
    """Adam, at the rate eta_t, with t = 0, 1, ..., and n = t + 1::

        g      <- grad J(theta) + lambda theta              (Remark 3.2.6)
        m      <- beta_1 m + (1 - beta_1) g                 m = 0 at first
        v      <- beta_2 v + (1 - beta_2) g^2               v = 0 at first
        theta  <- theta - eta_t m^ / (sqrt(v^) + epsilon)
        where m^ = m / (1 - beta_1^n),  v^ = v / (1 - beta_2^n)

    ``decoupled`` is AdamW: lambda theta is left out of g, and the last line becomes
    theta <- (1 - eta_t lambda) theta - eta_t m^ / (sqrt(v^) + epsilon).

    Sources: Kingma and Ba (2015), Algorithm 1; Loshchilov and Hutter (2019), Algorithm 2, where
    eta_t here is the product of the rate and the schedule there, in the decay too, as in PyTorch.
    The state holds m as "first_moment" and v as "second_moment".

    ``rate`` is as for GradientDescent; 0 <= beta_1, beta_2 < 1; decay >= 0; epsilon is at least
    the smallest normal float32, so that it does not vanish. Raises ValueError for other values. A
    step raises NotFinite, before any change, where g^2 would overflow.
    """

    rate: float | Schedule = 1e-3
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8
    decay: float = 0.0
    decoupled: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self.beta_1 = within("beta_1", self.beta_1, 0.0, 1.0)
        self.beta_2 = within("beta_2", self.beta_2, 0.0, 1.0)
        self.epsilon = within("epsilon", self.epsilon, float(np.finfo("f4").tiny), math.inf)

    def _moments(self) -> tuple[str, ...]:
        return ("first_moment", "second_moment")

    def _largest(self, dtype: np.dtype[Any]) -> float:
        return math.sqrt(np.finfo(dtype).max)  # g is squared

    def _update(self, theta: Array, g: Array, moments: list[Array], rate: float, step: int) -> None:
        m, v = moments
        n = step + 1
        g = self._decayed(theta, g)
        work = self._scratch(theta, 1)
        np.multiply(m, self.beta_1, out=m)
        np.add(m, np.multiply(g, 1.0 - self.beta_1, out=work), out=m)
        np.multiply(v, self.beta_2, out=v)
        np.multiply(np.square(g, out=work), 1.0 - self.beta_2, out=work)
        np.add(v, work, out=v)
        np.divide(np.sqrt(v, out=work), math.sqrt(1.0 - self.beta_2**n), out=work)
        np.divide(m, np.add(work, self.epsilon, out=work), out=work)
        np.multiply(work, rate / (1.0 - self.beta_1**n), out=work)
        if self.decoupled and self.decay > 0.0:
            np.multiply(theta, 1.0 - rate * self.decay, out=theta)
        np.subtract(theta, work, out=theta)


def _moment_leaves(parameters: Tree, moment: Tree, role: str) -> list[Array]:
    rows = align(parameters, moment, roles=("the parameters", f"the state's {role!r}"))
    for name, theta, array in rows:
        check_like(f"the state's {role!r} of {name!r}", theta, array)
    return [array for _, _, array in rows]


def _is_count(value: object) -> bool:
    fits = isinstance(value, np.ndarray) and value.shape == () and value.dtype == np.int64
    return fits and bool(value >= 0)  # type: ignore[operator]
