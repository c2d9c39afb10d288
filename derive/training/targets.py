"""Targets of regression and classification, and the softmax that turns logits into a prediction."""

from __future__ import annotations

import numpy as np

from ..language.reference import Value, flat_arrays
from ..language.spaces import Real, Space, SpaceError
from .parameters import Array


def softmax(z: Array) -> Array:
    """sigma(z) = Exp(z) / <1, Exp(z)> along the last axis (thesis (2.15)), without overflow."""
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return np.asarray(e / e.sum(axis=-1, keepdims=True))


def arrays_of(result: Value) -> Value:
    """The value, or every part of a tuple, as an array: NumPy returns scalars for rank 0."""
    return tuple(map(arrays_of, result)) if isinstance(result, tuple) else np.asarray(result)


def counted(points: int) -> int:
    """The number of points of a batch.  Raises ValueError for 0: there is no average."""
    if points < 1:
        raise ValueError(
            "the gradient is averaged over a batch: expected at least one point, got 0"
        )
    return points


def target(kind: str, y: Value, prediction: Value, space: Space) -> Value:
    """The target as an array like the prediction, for the errors (4.11)."""
    if kind == "regression":
        y = arrays_of(y)
        found, expected = ([a.shape for a in flat_arrays(v)] for v in (y, prediction))
        if found != expected:
            raise ValueError(f"regression: expected targets of shape {expected}, got {found}")
        return y
    if kind != "classification":
        raise ValueError(f"expected the kind 'regression' or 'classification', got {kind!r}")
    if not isinstance(space, Real) or space.grams != (None,):
        raise SpaceError(
            f"classification: the output must be a vector of logits in the standard inner product, "
            f"of R(n), got {space}"
        )
    return _distributions(np.asarray(y), prediction)


def _distributions(y: Array, prediction: Array) -> Array:
    """Class indices as one-hot rows, distributions unchanged; (3.10) needs them to sum to 1."""
    classes = prediction.shape[-1]
    if y.shape == prediction.shape[:-1] and y.dtype.kind in "iu":
        if y.size and (y.min() < 0 or y.max() >= classes):
            raise ValueError(
                f"classification: expected class indices from 0 to {classes - 1}, got {y.min()} "
                f"to {y.max()}"
            )
        return np.eye(classes)[y]
    if y.shape != prediction.shape:
        raise ValueError(
            f"classification: expected class indices of shape {prediction.shape[:-1]} or "
            f"distributions of shape {prediction.shape}, got {y.dtype} of shape {y.shape}"
        )
    eps = np.finfo(y.dtype).eps if y.dtype.kind == "f" else 0.0
    # n entries rounded to eps/2 and n - 1 additions have a total error of at most n eps
    off_one = np.abs(y.sum(axis=-1, dtype=np.float64) - 1)
    if not ((y >= 0).all() and (off_one <= classes * eps).all()):
        raise ValueError("classification: each target must be a distribution: at least 0, sum 1")
    return y
