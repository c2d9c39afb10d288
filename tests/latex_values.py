"""What stands in a formula besides arrays, and how factors side by side multiply."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Value = Any


class Unreadable(ValueError):
    """The formula has something that no reader can be sure of."""


@dataclass(frozen=True)
class Transposed:
    """x^T or A^*: what waits for the factor on its right, or on its left."""

    array: np.ndarray


@dataclass(frozen=True)
class Linear:
    """A linear map that is no array, and its adjoint."""

    apply: Callable[[Value], Value]
    adjoint: Callable[[Value], Value]


class Ones:
    """The all-ones vector of whatever space."""


def is_number(x: Value) -> bool:
    return not isinstance(x, (Ones, Transposed, Linear, tuple)) and np.ndim(x) == 0


def times(number: Value, x: Value) -> Value:
    if isinstance(x, tuple):
        return tuple(times(number, part) for part in x)
    return number * (np.ones(()) if isinstance(x, Ones) else x)


def plus(a: Value, b: Value) -> Value:
    return (np.ones(()) if isinstance(a, Ones) else a) + b


def one(x: Value) -> Value:
    return np.ones(()) if isinstance(x, Ones) else x


def tensor(a: Value, b: Value) -> Value:
    if isinstance(b, Ones):
        return a.reshape(*a.shape, 1, 1)  # in the only space that there is of such
    return np.multiply.outer(a, b)


def applied(factors: list[Value]) -> Value:
    """A B x from the right: numbers multiply, maps apply, x^T makes a matrix of what is before."""
    *rest, value = factors
    for factor in reversed(rest):
        value = _apply(factor, value)
    return value.array.T if isinstance(value, Transposed) else value


def _apply(a: Value, x: Value) -> Value:
    if isinstance(a, Linear):
        return a.apply(x)
    if isinstance(a, Transposed) and isinstance(x, Transposed):
        return a.array.T @ x.array.T
    if isinstance(x, Transposed) and isinstance(x.array, Ones):
        return a[:, None]
    if isinstance(x, Transposed):
        return np.multiply.outer(a, x.array) if x.array.ndim == 1 else _matrix(a, x.array.T)
    if isinstance(a, Transposed):
        if isinstance(x, Ones):
            return a.array.sum(0)
        if a.array.ndim == np.ndim(x) == 2:
            return a.array.T @ x
        return np.tensordot(a.array, x, (range(np.ndim(x)), range(np.ndim(x))))
    if is_number(a) or is_number(x):
        return times(a, x) if is_number(a) else a * x
    return a.sum(tuple(range(1, a.ndim))) if isinstance(x, Ones) else _matrix(a, x)


def _matrix(a: np.ndarray, x: np.ndarray) -> np.ndarray:
    if a.ndim == x.ndim == 2:
        return a @ x
    if a.ndim < x.ndim:
        raise Unreadable(f"a map of {a.ndim} axes is applied to an array of {x.ndim}")
    return np.tensordot(a, x, x.ndim)
