"""Trees of arrays for the tests of what updates them."""

import numpy as np
import pytest

from derive.training.parameters import leaves

EPS = np.finfo(np.float64).eps
SHAPES = {"first": {"W": (3, 4), "b": (3,)}, "pair": ((4, 5), {"scale": ()}), "none": {}}
dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def draw(rng, dtype=np.float64, shapes=SHAPES):
    """A tree of normal entries in the shapes of ``shapes``."""
    if isinstance(shapes, dict):
        return {key: draw(rng, dtype, child) for key, child in shapes.items()}
    if shapes and not isinstance(shapes[0], int):
        return tuple(draw(rng, dtype, child) for child in shapes)
    return np.asarray(rng.normal(size=shapes), dtype)


def bits(tree):
    return [(name, a.dtype, a.shape, a.tobytes()) for name, a in leaves(tree)]


def assert_close(got, expected, tolerance):
    """Leaf by leaf, to ``tolerance`` relative to the largest entry of the leaf."""
    for (name, a), (_, b) in zip(leaves(got), leaves(expected), strict=True):
        assert np.abs(a - b).max() <= tolerance * np.abs(b).max(), name
