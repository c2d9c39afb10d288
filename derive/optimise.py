"""Gradient descent and Adam on trees of parameters, clipping, and checks for finite values.

The parameter update step is line 14 of Algorithm 3.2.1 and lines 16 and 17 of Algorithm 4.1.1,

    theta_i <- theta_i - eta grad_{theta_i} J(x, y; theta),

with weight decay as in Remark 3.2.6. Steps are counted from 0, the first.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Real
from typing import Any, TypeAlias

import numpy as np

from derive.parameters import Array, Tree, align, leaves, map_tree, overlaps

Schedule: TypeAlias = Callable[[int], float]

_DTYPES = (np.dtype(np.float32), np.dtype(np.float64))


class NotFinite(FloatingPointError):
    """A loss or a gradient that is infinite or not a number."""


def check_finite(step: int, loss: float, gradient: Tree) -> None:
    """Raise NotFinite, naming ``step``, unless the loss and every entry of the gradient are finite.

    The message gives the value of the loss, or each qualified name with the number of its entries
    that are not finite.

    >>> check_finite(7, 0.5, {"b": np.array([1.0, np.nan, np.inf])})
    Traceback (most recent call last):
    derive.optimise.NotFinite: step 7: the gradient is not finite in 'b' (2 of 3 entries)
    """
    if not math.isfinite(loss):
        raise NotFinite(f"step {step}: the loss is {float(loss)}")
    _check_gradient(leaves(gradient), f"step {step}: ")


def clip_by_norm(gradient: Tree, limit: float) -> float:
    """Scale the gradient in place to g min(1, limit / ||g||), and return the norm ||g|| before.

    ||g|| is the Euclidean norm over all leaves, s sqrt(sum_i (g_i / s)^2) with s = max_i |g_i|,
    so that squares neither overflow nor vanish. A gradient within the limit keeps its bits.
    Source: Pascanu, Mikolov and Bengio (2013), Algorithm 1. Raises ValueError for a limit that is
    not positive, NotFinite for a gradient that is not finite, both before any change.
    """
    limit = _within("limit", limit, 0.0, math.inf, open_below=True)
    named = _writable(gradient, "gradient")
    _check_disjoint(named, "the gradients")
    _check_gradient(named, "clip_by_norm: ")
    scale = max((_magnitude(g) for _, g in named), default=0.0)
    if scale == 0.0:
        return 0.0
    squares = (np.square(np.divide(g, scale, dtype=np.float64)).sum() for _, g in named)
    relative = math.sqrt(math.fsum(squares))  # ||g|| / s >= 1
    if relative > limit / scale:
        for _, g in named:
            g[...] = np.divide(g, scale, dtype=np.float64) * (limit / relative)
    return scale * relative


def clip_by_value(gradient: Tree, limit: float) -> None:
    """Clip each entry in place to g_i <- min(max(g_i, -limit), limit).

    Raises ValueError for a limit that is not positive, NotFinite for a gradient that is not
    finite, both before any change.
    """
    limit = _within("limit", limit, 0.0, math.inf, open_below=True)
    named = _writable(gradient, "gradient")
    _check_disjoint(named, "the gradients")
    _check_gradient(named, "clip_by_value: ")
    for _, g in named:
        bound = g.dtype.type(min(limit, float(np.finfo(g.dtype).max)))
        np.clip(g, -bound, bound, out=g)


def constant(rate: float) -> Schedule:
    """The schedule eta_t = rate."""
    rate = _within("rate", rate, 0.0, math.inf, open_below=True)
    return lambda step: rate


def cosine(start: float, steps: int) -> Schedule:
    """The schedule eta_t = start (1 + cos(pi t / steps)) / 2 for t < steps, then 0.

    Source: Loshchilov and Hutter (2017), SGDR, (5), with eta_min = 0 and without restarts.

    >>> [round(cosine(1.0, 4)(step), 3) for step in range(6)]
    [1.0, 0.854, 0.5, 0.146, 0.0, 0.0]
    """
    start = _within("start", start, 0.0, math.inf, open_below=True)
    if not isinstance(steps, int) or steps < 1:
        raise ValueError(f"cosine: steps is a whole number of at least 1; got {steps!r}")
    return lambda step: 0.5 * start * (1.0 + math.cos(math.pi * min(step, steps) / steps))


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
        self.rate = _checked_rate(self.rate)
        self.decay = _within("decay", self.decay, 0.0, math.inf)
        self.state = {}
        self._buffers = {}

    def step(self, parameters: Tree, gradient: Tree) -> None:
        """Update ``parameters`` in place by one step along ``gradient``, which is left as it is.

        Both are trees of one structure of float32 or float64 arrays, equal in shape and dtype leaf
        by leaf. No array is allocated after the first step. Raises ValueError or TypeError for
        trees or a state that do not fit, NotFinite for a gradient that is not finite or too large
        for the method, each before anything is changed. A rate so large that theta itself
        overflows gives NumPy's warning.
        """
        rows = _matched(parameters, gradient)
        step = int(self.state["step"]) if self.state else 0
        rate = _rate_at(self.rate, step)
        _check_gradient([(name, g) for name, _, g in rows], f"step {step}: ")
        self._check_range(rows, step)
        state = self.state or self._first_state(parameters)
        moments = [_moment_leaves(parameters, state[name], name) for name in self._moments()]
        for k, (_, theta, g) in enumerate(rows):
            self._update(theta, g, [column[k] for column in moments], rate, step)
        state["step"] += 1
        self.state = state

    def restore(self, state: dict[str, Any]) -> None:
        """Resume from a copy of ``state``, as ``load`` returns it; {} begins anew.

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
        for name, theta, g in rows:
            largest = _magnitude(g) + (decay * _magnitude(theta) if decay else 0.0)
            limit = self._largest(g.dtype)
            if not largest <= limit:
                raise NotFinite(
                    f"step {step}: the gradient of {name!r}, with decay, may reach {largest:.3g}; "
                    f"{type(self).__name__} overflows {g.dtype} beyond {limit:.3g}, "
                    "so clip the gradient or scale the loss"
                )

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
    theta taken at the point looked ahead to, the form that PyTorch's SGD has with dampening 0.
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
        self.momentum = _within("momentum", self.momentum, 0.0, 1.0)
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
    the smallest normal float32, lest it vanish. Raises ValueError for other values. A step raises
    NotFinite, before any change, where g^2 would overflow.
    """

    rate: float | Schedule = 1e-3
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8
    decay: float = 0.0
    decoupled: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self.beta_1 = _within("beta_1", self.beta_1, 0.0, 1.0)
        self.beta_2 = _within("beta_2", self.beta_2, 0.0, 1.0)
        self.epsilon = _within("epsilon", self.epsilon, float(np.finfo("f4").tiny), math.inf)

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


def _magnitude(a: Array) -> float:
    """max_i |a_i|, without a work array; nan where an entry is nan."""
    return max(float(a.max()), -float(a.min())) if a.size else 0.0


def _check_gradient(named: list[tuple[str, Array]], where: str) -> None:
    bad = [(name, g) for name, g in named if not math.isfinite(_magnitude(g))]
    if bad:
        counts = ((name, np.count_nonzero(~np.isfinite(g)), g.size) for name, g in bad)
        listed = ", ".join(f"{name!r} ({count} of {size} entries)" for name, count, size in counts)
        raise NotFinite(f"{where}the gradient is not finite in {listed}")


def _writable(tree: Tree, role: str) -> list[tuple[str, Array]]:
    """The leaves, checked to be float32 or float64 arrays that may be written to."""
    named = leaves(tree)
    for name, array in named:
        if array.dtype not in _DTYPES:
            raise TypeError(
                f"{role} {name!r}: expected float32 or float64 in native byte order, "
                f"got {array.dtype!r}; convert it with astype"
            )
        if not array.flags.writeable:
            raise ValueError(f"{role} {name!r} is read-only, and is updated in place; copy it")
    return named


def _matched(parameters: Tree, gradient: Tree) -> list[tuple[Any, ...]]:
    """The rows (name, theta, g), checked."""
    _check_disjoint(_writable(parameters, "parameter"), "the parameters")
    rows = align(parameters, gradient, roles=("the parameters", "the gradient"))
    for name, theta, g in rows:
        _check_like(f"the gradient of {name!r}", theta, g)
    _check_unshared(rows)
    return rows


def _moment_leaves(parameters: Tree, moment: Tree, role: str) -> list[Array]:
    rows = align(parameters, moment, roles=("the parameters", f"the state's {role!r}"))
    for name, theta, array in rows:
        _check_like(f"the state's {role!r} of {name!r}", theta, array)
    return [array for _, _, array in rows]


def _check_like(what: str, theta: Array, array: Array) -> None:
    if (array.shape, array.dtype) != (theta.shape, theta.dtype):
        raise ValueError(
            f"{what} has the shape {array.shape} and the dtype {array.dtype}; "
            f"expected those of the parameter, {theta.shape} and {theta.dtype}"
        )


def _check_disjoint(named: list[tuple[str, Array]], role: str) -> None:
    for j, k in overlaps([array for _, array in named]):
        raise ValueError(
            f"{role} {named[j][0]!r} and {named[k][0]!r} share memory, and would be changed twice; "
            "hold a shared parameter once, with the sum of its gradients, or copy one of them"
        )


def _check_unshared(rows: list[tuple[Any, ...]]) -> None:
    """No gradient may change while the parameters before its own are updated."""
    arrays = [theta for _, theta, _ in rows] + [g for _, _, g in rows]
    size = len(rows)
    for j, k in overlaps(arrays):
        low, high = min(j, k), max(j, k)
        if low < size <= high and high - low != size:
            raise ValueError(
                f"the gradient of {rows[high - size][0]!r} shares memory with the parameter "
                f"{rows[low][0]!r}, which the step changes; copy the gradient"
            )


def _is_count(value: object) -> bool:
    fits = isinstance(value, np.ndarray) and value.shape == () and value.dtype == np.int64
    return fits and bool(value >= 0)  # type: ignore[operator]


def _within(
    name: str, value: object, low: float, high: float, *, open_below: bool = False
) -> float:
    """``value`` as a float, low <= value < high, or low < value where ``open_below``."""
    if not isinstance(value, Real) or isinstance(value, bool):
        raise TypeError(f"{name} is a real number; got {value!r}")
    number = float(value)
    if not (low < number < high or (number == low and not open_below)):
        bound = "<" if open_below else "<="
        raise ValueError(f"{name} satisfies {low:g} {bound} {name} < {high:g}; got {value!r}")
    return number


def _checked_rate(rate: float | Schedule) -> float | Schedule:
    return rate if callable(rate) else _within("rate", rate, 0.0, math.inf, open_below=True)


def _rate_at(rate: float | Schedule, step: int) -> float:
    value = rate(step) if callable(rate) else rate
    return _within(f"rate at step {step}", value, 0.0, math.inf)
