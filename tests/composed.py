"""Networks and their values, for the tests of what is made of layers."""

import numpy as np
import pytest

from derive import Hom, Index, R, dims, fixed, form, indices, layer, mean, tanh
from derive.language.expressions import axis, constant, contraction, zero
from derive.language.forms import make_form
from derive.language.reference import shape_of, value
from derive.language.spaces import Indices, Product
from derive.library.dense import affine, dense, dense_gelu, dense_sigmoid
from derive.library.norms import bilinear, gated, layer_norm, normalise
from derive.models.networks import network
from derive.models.programs import BATCH

n, m, p = dims("n m p")
EPS = np.finfo(np.float64).eps


@layer
def branch(x: R(m), *, A: Hom(R(m), R(n)), B: Hom(R(m), R(p))) -> R(n) * R(p):
    return tanh(A @ x), B @ x


@layer
def join(s: R(n) * R(p), *, A: Hom(R(n), R(m)), B: Hom(R(p), R(m))) -> R(m):
    a, b = s
    return A @ a + B @ b


@layer
def embedding(k: Index(m), *, E: R(m, n)) -> R(n):
    accesses = [(axis(0), axis(1)), (axis(1),)]
    row = make_form(accesses, {axis(0): m, axis(1): n}, [(axis(0), ())])
    return contraction(R(n), row, 1, (E,), (k,))


@layer
def windows(x: R(m), *, K: R(2)) -> R(m - 1):
    i, j = indices("i j")
    return form("C", K=(j,), x=(i + j,), to=(i,), ranges={i: m - 1})(K, x)


@layer
def projected(x: R(m), *, P: fixed(Hom(R(m), R(n)))) -> R(n):
    return P @ x


@layer
def shifted(x: R(n), *, gamma: R(n), mu: fixed(R(n))) -> R(n):
    return gamma * tanh(x - mu)


@layer
def average(x: R(n)) -> R():
    return mean(x)


@layer
def rearranged(x: R(n)) -> R(n) * R(n) * R(n):
    """The entries backwards, a number that is a size, and zero."""
    (i,) = indices("i")
    backwards = form("backwards", x=(n - 1 - i,), to=(i,), ranges={i: n})
    return backwards(x), constant(n, x.space), zero(x.space)


mlp = network("mlp", hidden=dense, output=affine)
NETWORKS = {
    "one": (network("one", only=dense_gelu), {"m": 3, "only_n": 4}),
    "mlp": (mlp, {"m": 3, "hidden_n": 4, "output_n": 5}),
    "deep": (
        network("deep", a=dense_sigmoid, b=normalise, c=gated, d=layer_norm, e=dense),
        {"m": 3, "a_n": 4, "c_m": 5, "e_n": 2},
    ),
    "nested": (
        network("nested", body=mlp, top=network("top", a=dense, b=mlp)),
        {"m": 3, "body_hidden_n": 4, "body_output_n": 5,
         "top_a_n": 2, "top_b_hidden_n": 6, "top_b_output_n": 3},
    ),
    "two states": (
        network("two", first=dense, both=bilinear),
        {"m": 3, "first_n": 4, "both_m": 5, "both_k": 2},
    ),
    "product": (
        network("product", split=branch, joined=join, top=dense),
        {"m": 3, "split_n": 4, "split_p": 5, "joined_m": 2, "top_n": 6},
    ),
    "windows": (network("windows", step=windows, top=dense), {"m": 5, "top_n": 4}),
    "fixed": (
        network("still", entry=projected, middle=shifted, top=dense),
        {"m": 3, "entry_n": 4, "top_n": 5},
    ),
    "embedded": (network("embedded", word=embedding, top=dense), {"m": 5, "word_n": 4, "top_n": 3}),
}  # fmt: skip
networks = pytest.mark.parametrize(("f", "counts"), NETWORKS.values(), ids=NETWORKS)


def draw(rng, space, sizes):
    """A random element of a space."""
    if isinstance(space, Product):
        return tuple(draw(rng, factor, sizes) for factor in space.factors)
    if isinstance(space, Indices):
        return rng.integers(int(space.bound.subs(sizes)), size=shape_of(space, sizes))
    return rng.normal(size=shape_of(space, sizes))


def point(f, counts, seed=0):
    """Random arguments of a layer, by name, and its sizes as numbers."""
    rng = np.random.default_rng(seed)
    sizes = {dims(name): count for name, count in counts.items()} | {BATCH: 6}
    return {a.name: draw(rng, a.variable.space, sizes) for a in f.arguments}, sizes


def evaluated(f, values, sizes, body=None):
    """An expression in the arguments of a layer at these values, by name."""
    at = {a.variable: values[a.name] for a in f.arguments if a.name in values}
    return value(f.output if body is None else body, at, sizes)


def applied(map_, f, values, sizes, e):
    """A map that belongs to a layer, at these values, applied to e."""
    at = {a.variable: values[a.name] for a in f.arguments}
    return value(map_.body, at | {map_.variable: e}, sizes)


def flat(result):
    parts = result if isinstance(result, tuple) else (result,)
    return np.concatenate([np.ravel(part) for part in parts])


def assert_equal(got, expected):
    np.testing.assert_array_equal(flat(got), flat(expected))


def assert_close(got, expected, tolerance):
    got, expected = flat(got), flat(expected)
    assert np.abs(expected).max() > 0
    assert np.abs(got - expected).max() <= tolerance * np.abs(expected).max()
