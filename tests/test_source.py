"""Printed integers, places and scalars have the values of what they print."""

import operator
import random
import re
from functools import partial

import numpy as np
import pytest
import sympy
from sympy import floor

from derive.kernels.printing import places, source
from derive.kernels.printing.cython.target import CYTHON
from derive.kernels.printing.functions import function
from derive.kernels.statements.scalars import Apply, Buffer, Inside, Load, Local, Number, Sum, Times
from derive.language.scalars.shipped import exp, sigmoid, tanh

integer, entry, flat, inside, real_number, scalar, broken = (
    partial(printed, to=CYTHON)
    for printed in (
        *(places.integer, places.entry, places.flat, places.inside),
        *(source.real_number, source.scalar, source.broken),
    )
)
n, m, k = sympy.symbols("n m k", integer=True, positive=True)
i, j, s = sympy.symbols("i j s", integer=True, nonnegative=True)
VALUES = {"n": 5, "m": 3, "k": 7, "i": 2, "j": 1, "s": 4}
SYMBOLS = {symbol: VALUES[symbol.name] for symbol in (n, m, k, i, j, s)}


def run(text, **names):
    """The value of printed text, with casts to real left out and C's integers as Python's."""
    plain = re.sub(r"<real>", "", text)
    library = {"sqrt": np.sqrt, "tanh": np.tanh, "INFINITY": np.inf, "max": max, "min": min}
    library["floordiv"] = operator.floordiv
    return eval(plain, {"__builtins__": {}}, {**VALUES, **library, **names})


INTEGERS = [
    n * m,
    2 * n * m + n,
    m - i - 1,
    -i + m - 1,
    -n,
    -(n + 1) * m,
    n**2 * m,
    (n + 1) ** 2,
    2 * i + s - 1,
    floor((m + 2 - k) / 2) + 1,
    4 * floor((n + m) / 2),
    floor((floor((k - m) / 2) + 1) / 2) + 3,  # C would round the inner floor towards zero, too
    n * floor(k / m),
    sympy.Max(1, n - m),
    sympy.Min(n, m) * k,
    sympy.Integer(7),
    sympy.Integer(-3),
]


@pytest.mark.parametrize("expression", INTEGERS, ids=str)
def test_an_integer_is_printed_with_its_value(expression):
    text = integer(expression)
    assert run(text) == int(expression.subs(SYMBOLS))
    assert not re.search(r"\*\*|[^/]/[^/]|\+ -", text)


def test_what_is_taken_away_comes_after_what_is_there():
    assert integer(-i + m - 1) == "m - i - 1"


@pytest.mark.parametrize(
    ("place", "shape"),
    [
        ((s, i, j), (6, n, m)),
        ((s, m - 1 - j), (6, m)),
        ((sympy.Integer(2), i), (4, n)),
        ((sympy.Integer(0), i, j), (4, n, m)),
        ((i, sympy.Integer(0)), (n, m)),
        ((s, 2 * i + 1), (6, 2 * n)),
        ((s, i, 1 + j), (6, floor(k / 2), m)),
        ((), ()),
    ],
    ids=str,
)
def test_a_place_is_the_row_major_offset(place, shape):
    shape = tuple(map(sympy.sympify, shape))
    at, extents = ([int(e.subs(SYMBOLS)) for e in entries] for entries in (place, shape))
    expected = np.ravel_multi_index(at, extents) if at else 0
    assert run(flat(place, shape)) == expected
    assert entry(Buffer("x", shape, "argument"), place) == f"x[{flat(place, shape)}]"


@pytest.mark.parametrize(
    "value",
    [
        sympy.Rational(1, 3),
        sympy.Rational(-5, 2),
        1 / n,
        2 / (n * m),
        (n + 1) / m,
        1 / sympy.Max(1, n),
        1 / (m * sympy.Max(1, n)),
        sympy.sqrt(2) / sympy.Max(1, n),
        sympy.pi / (sympy.sqrt(m) * sympy.Max(1, n)),
        3 / (n * m * sympy.Max(1, n)),
        1 / (n + m),
        sympy.Rational(1, 4) / n,
        1 / sympy.sqrt(n),
        sympy.sqrt(2),
        n * sympy.pi,
        sympy.sqrt(n * m) + 1,
        -sympy.sqrt(n),
        sympy.oo,
        -sympy.oo,
    ],
    ids=str,
)
def test_a_coefficient_is_printed_with_its_value(value):
    """Also as a factor and divided by: the text binds at least as tightly as a product."""
    expected = float(value.subs(SYMBOLS))
    assert run(real_number(value)) == pytest.approx(expected, rel=1e-15)
    if value.is_finite is not False:
        assert run(f"3*{real_number(value)}") == pytest.approx(3 * expected, rel=1e-15)


def test_a_coefficient_is_computed_in_the_kernels_precision():
    """Every number carries its cast, so that nothing of a float32 kernel is computed in double."""
    for value in (1 / n, sympy.Rational(1, 3), 2 / (n * m), sympy.sqrt(n)):
        assert "<real>" in real_number(value)


def made(depth, rng):
    """A random scalar and its value."""
    kind = rng.choice(["number", "local", "load", "sum", "times", "inside", "apply"])
    if depth == 0 or kind in ("number", "local", "load"):
        if kind == "number":
            number = sympy.Rational(rng.randint(-9, 9), rng.randint(1, 4))
            return Number(number), float(number)
        if kind == "local":
            return Local("z"), 0.75
        return Load(Buffer("x", (n,), "argument"), (i,)), 1.5
    parts = [made(depth - 1, rng) for _ in range(rng.randint(1, 3))]
    if kind == "times":
        return Times(tuple(p for p, _ in parts)), float(np.prod([v for _, v in parts]))
    if kind == "sum":
        weights = [
            rng.choice([sympy.S.One, -sympy.S.One, sympy.S(3), sympy.Rational(1, 4), -1 / n])
            for _ in parts
        ]
        total = sum(float(w.subs(SYMBOLS)) * v for w, (_, v) in zip(weights, parts, strict=True))
        return Sum(tuple(zip(weights, (p for p, _ in parts), strict=True))), total
    scalar_, value = parts[0]
    if kind == "apply":
        return Apply(tanh, (scalar_,)), float(np.tanh(value))
    shift = rng.choice([0, 4])
    return Inside(((i + shift, n),), scalar_), value if shift == 0 else 0.0


@pytest.mark.parametrize("seed", range(60))
def test_a_scalar_is_printed_with_its_value(seed):
    """Random trees: parentheses and signs are where they must be, on one line or broken."""
    scalar_, expected = made(4, random.Random(seed))
    x = [0.0, 0.0, 1.5, 0.0, 0.0]
    for text in (scalar(scalar_), f"({' '.join(broken(scalar_, width=10))})"):
        assert run(text, x=x, z=0.75) == pytest.approx(expected, rel=1e-12, abs=1e-12)


def test_a_long_sum_is_broken_one_term_a_line():
    load = Load(Buffer("x", (n,), "argument"), (i,))
    total = Sum(((sympy.S.One, Times((load, load))), (-sympy.S.One, load), (sympy.S(2), load)))
    assert broken(total) == ["x[i]*x[i] - x[i] + 2*x[i]"]
    assert broken(total, width=10) == ["x[i]*x[i]", "- x[i]", "+ 2*x[i]"]


def test_a_guard_is_a_condition_of_c():
    assert inside(((i - 1, n), (j, 2 * m))) == "0 <= i - 1 < n and 0 <= j < 2*m"
    assert run(inside(((i - 1, n), (j, n + m)))) is True
    assert run(inside(((i - 3, n),))) is False


def test_an_operation_is_a_function_or_one_of_the_runtimes():
    assert function(tanh, CYTHON) is None and function(exp, CYTHON) is None
    made_ = function(sigmoid, CYTHON)
    assert made_.name == "sigmoid" and made_.arguments == ("t",)
    lets = {}
    for name, text in made_.lets:
        lets[name] = run(text, t=0.3, exp=np.exp, fabs=abs, **lets)
    assert run(made_.result, t=0.3, exp=np.exp, **lets) == pytest.approx(1 / (1 + np.exp(-0.3)))
