"""Positions: x[key] is what NumPy's x[key] is, as an element of its space, or a sentence."""

import numpy as np
import pytest
import sympy
from declared import sliced

from derive import Gram, R, SpaceError, dims, prove, variable
from derive.calculus import calculus
from derive.language.reference import values_of
from derive.language.spaces import Real

n, m = dims("n m")
SIZES = {n: 5, m: 4}
rng = np.random.default_rng(0)
SPACES = {"vector": R(6), "rows": R(3, n), "matrix": R(4, 3), "image": R(3, 4, n)}
KEYS = [
    *(slice(a, b, c) for a in (None, 1, -2) for b in (None, 3, -1) for c in (None, 2)),
    *(slice(None, None, -1), slice(2, None, -2), slice(0, 99)),
    *(0, 2, -1, np.int64(1), sympy.Integer(1)),
]


def as_numpy(key):
    return int(key) if isinstance(key, sympy.Integer) else key


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
def test_a_part_is_that_of_numpy(space):
    x, shape = variable("x", space), tuple(int(e.xreplace(SIZES)) for e in space.shape)
    value = rng.normal(size=shape)
    for key in KEYS:
        if np.size(value[as_numpy(key)]) == 0:
            with pytest.raises(SpaceError, match=r"^x\[.*\]: there is nothing in it of \d$"):
                x[key]
            continue
        part = x[key]
        (found,) = values_of([part], {x: value}, SIZES)
        np.testing.assert_array_equal(found, value[as_numpy(key)])
        assert tuple(e.xreplace(SIZES) for e in part.space.shape) == found.shape
        back = calculus.transpose(part, variable("u", part.space), [x])[x]
        u, expected = rng.normal(size=found.shape), np.zeros(shape)
        expected[as_numpy(key)] = u
        (pulled,) = values_of([back], {variable("u", part.space): u}, SIZES)
        np.testing.assert_array_equal(pulled, expected)


SEVERAL = [(0, 1), (-1, slice(1, None)), (slice(None, 2), 0), (slice(None, None, 2), slice(1, 3))]


@pytest.mark.parametrize("key", SEVERAL, ids=str)
def test_several_positions_are_those_of_numpy(key):
    x, value = variable("x", R(3, 4, n)), rng.normal(size=(3, 4, 5))
    (found,) = values_of([x[key]], {x: value}, SIZES)
    np.testing.assert_array_equal(found, value[key])


def test_a_whole_axis_may_have_a_size_for_its_extent():
    x, q = variable("x", R(n)), variable("q", R(3, n))
    assert x[:] is x and q[:] is q and q[1:, :] is q[1:] and q[0, :].space == R(n)


def test_a_slice_keeps_the_gram_matrices_of_the_other_axes():
    G = Gram("G")
    q = variable("q", Real((sympy.Integer(3), n), (None, G)))
    assert q[0:2].space == Real((sympy.Integer(2), n), (None, G)) and q[0].space == R(n, gram=G)


def test_a_slice_of_a_direct_product_is_one_of_its_factors():
    pair = variable("pair", R(n) * R(m) * R(n))
    assert pair[:2].space == R(n) * R(m) and pair[:] is pair and pair[-1] is pair[2]
    a, b = pair[1:]
    assert a is pair[1] and b is pair[2]


Q, X, P = variable("q", R(4)), variable("x", R(n)), variable("pair", R(n) * R(m))
REFUSED = {
    "beyond": (lambda: Q[4], r"^x\[4\]: the positions are 0 to 3, or from the end -1 to -4$"),
    "before": (lambda: Q[-5], r"^x\[-5\]: the positions are 0 to 3"),
    "of a product": (lambda: P[2], r"^x\[2\]: the positions are 0 to 1"),
    "text": (lambda: Q["a"], r"^x\['a'\]: expected a whole number or a slice; write crop"),
    "None": (lambda: Q[None], r"^x\[None\]: expected a whole number"),
    "dots": (lambda: Q[...], r"^x\[\.\.\.\]: expected a whole number"),
    "bool": (lambda: Q[True], r"^x\[True\]: expected a whole number"),
    "float": (lambda: Q[1.0], r"^x\[1\.0\]: expected a whole number"),
    "size": (lambda: Q[n], r"^x\[n\]: expected a whole number .* write crop\(x, at, extents\)"),
    "up to a size": (lambda: Q[0:n], r"^x\[0:n\]: expected a whole number or a slice; write crop"),
    "array": (lambda: Q[np.array([0])], r"expected a whole number or a slice"),
    "step 0": (lambda: Q[::0], r"^x\[::0\]: the step is 0; leave it out$"),
    "too many": (lambda: Q[0, 0], r"^x\[0, 0\]: an element of R\(4\) has one axis$"),
    "of a number": (lambda: variable("s", R())[0], r"an element of R\(\) has 0 axes"),
    "along a size": (lambda: X[0], r"along an axis of n: positions are numbers, .* entry\(x, k\)"),
    "part of a size": (lambda: X[0:2], r"along an axis of n: positions are numbers"),
}


@pytest.mark.parametrize(("tried", "sentence"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_position_is_a_sentence(tried, sentence):
    with pytest.raises(SpaceError, match=sentence):
        tried()


def test_slices_of_a_layer_are_proved():
    assert all(verdict.proved for verdict in prove(sliced))
