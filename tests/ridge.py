"""Values for uninterpreted functions, so that what is derived of them can be checked by numbers.

f stands for a ridge function here, f(a) = sin(P a + p) with a the arguments in a row; all of its
derivatives are known: D^k f (v_1, .., v_k) = sin^(k)(P a + p) (.) P v_1 (.) .. (.) P v_k.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from zlib import crc32

import numpy as np
from pytest import MonkeyPatch

from derive.evidence.checks.rounding import Bounds
from derive.language.expressions import Jet
from derive.language.reference import Values, shape_of


@contextmanager
def interpreted_jets() -> Iterator[None]:
    """While this holds, the reference evaluates jets."""
    with MonkeyPatch.context() as patched:
        patched.setattr(Values, "jet", _value)
        patched.setattr(Bounds, "jet", _bound)
        yield


def _value(at: Values, node: Jet) -> np.ndarray:
    """The derivative along the directions; with a cotangent u, P^T of it times u."""
    arguments = [np.asarray(at[x]) for x in node.arguments]
    codomain = node.cotangent.space if node.cotangent is not None else node.space
    rows = shape_of(codomain, at.sizes)
    matrices = [_matrix(node.function, k, rows, a.shape) for k, a in enumerate(arguments)]
    inner = sum(np.tensordot(p, a, a.ndim) for p, a in zip(matrices, arguments, strict=True))
    order = len(node.directions) + (node.cotangent is not None)
    value = _sine(inner + 0.3, order)
    for slot, v in node.directions:
        direction = np.asarray(at[v])
        value = value * np.tensordot(matrices[slot], direction, direction.ndim)
    if node.cotangent is None:
        return value
    return np.tensordot(value * at[node.cotangent], matrices[node.opened], len(rows))


def _sine(t: np.ndarray, order: int) -> np.ndarray:
    return [np.sin, np.cos, lambda x: -np.sin(x), lambda x: -np.cos(x)][order % 4](t)


def _matrix(function: str, slot: int, rows, columns) -> np.ndarray:
    """P for one argument, by the function's name."""
    random = np.random.default_rng([crc32(function.encode()), slot])
    return random.uniform(-1, 1, (*rows, *columns))


def _bound(at: Bounds, node: Jet) -> np.ndarray:
    """A few hundred roundings: sums of fewer than 20 terms, in fewer than 10 factors."""
    largest = max(np.max(abs(np.asarray(at.value[x])), initial=1.0) for x in node.operands)
    return np.full(np.shape(at.value[node]), 1e3 * largest**3)
