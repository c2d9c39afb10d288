"""What is taken to be inside before any size is known is inside at every size."""

from itertools import product

import pytest
import sympy
from sympy import floor

from derive import dims, indices
from derive.language.accesses import is_at_least_zero, stays_inside

n, m, p = dims("n m p")
i, s = indices("i s")
SIZES = [dict(zip((n, m, p), counts, strict=True)) for counts in product(range(1, 7), repeat=3)]
HALF = sympy.Rational(1, 2)
EXPRESSIONS = [
    *(n - 1, n - 2, n + m - p, 2 * n * m - n - m, n - m),
    *(n - 2 * floor(n / 2), n - 1 - 2 * floor(n / 2), floor(n / 2), floor(n / 2) - 1),
    *(floor(n / 2 - p / 2), floor(n / 2 + HALF) - 1, floor(n / 3) + floor(m / 2)),
    *(floor(floor(n / 2) / 2), floor(n / 2) - 2 * floor(floor(n / 2) / 2)),
    *(floor(floor(n / 2 - p / 2) / 2 + HALF), floor(floor(n / 2 - p / 2) / 2) + 2),
    *(floor(m / 2) * floor((n - m) / 3), floor(m / 2) * floor(n / 3), floor(n / 2) ** 2),
    *(floor(n / 2) * m - 2 * m * floor(n / 4), m * n - 2 * m * floor(n / 2)),
    *(floor((n - m) / 2) * (m - 1), (n - m) * floor(p / 2), -floor((m - n) / 2)),
]


@pytest.mark.parametrize("expression", EXPRESSIONS, ids=str)
def test_what_is_said_to_be_no_less_than_zero_never_is(expression):
    if is_at_least_zero(expression):
        assert all(expression.subs(sizes) >= 0 for sizes in SIZES)


def test_pools_and_strides_are_known_to_stay_inside():
    """Else every read of a pool would be guarded."""
    assert stays_inside(2 * i + s, n, {i: floor(n / 2), s: sympy.Integer(2)})
    assert stays_inside(3 * i + s, n, {i: floor((n - p) / 3) + 1, s: p})
    twice = floor(floor(n / 2) / 2)
    assert stays_inside(2 * i + s, floor(n / 2), {i: twice, s: sympy.Integer(2)})
    assert is_at_least_zero(n - 2 * floor(n / 2)) and is_at_least_zero(floor(n / 2))


@pytest.mark.parametrize(
    ("entry", "extent", "extents"),
    [
        (2 * i + s - 1, n, {i: floor(n / 2), s: sympy.Integer(2)}),
        (2 * i + s, n, {i: floor(n / 2) + 1, s: sympy.Integer(2)}),
        (i, floor(floor(n / 2 - p / 2) / 2 + sympy.Rational(1, 2)) + 1, {i: sympy.Integer(2)}),
    ],
)
def test_what_may_be_outside_is_not_said_to_be_inside(entry, extent, extents):
    assert not stays_inside(entry, extent, extents)
