"""The zero test accepts identities, and rejects each of them with a small damage."""

from collections.abc import Iterator
from fractions import Fraction
from functools import cache
from itertools import product
from math import prod

import pytest
import sympy as sp
from sympy.codegen.cfunctions import expm1, log1p

from derive.evidence.proofs.field import difference, vanishes
from derive.evidence.proofs.prime_fields import SMALL, Point, field

x, y, z = sp.symbols("x y z", real=True)
u, v, w = sp.symbols("u v w", positive=True)
free = sp.Symbol("free")  # no assumptions
f = sp.Function("f")
SEEDS = range(20)

DAMAGES = {
    "sign": lambda e: -e,
    "factor 2": lambda e: 2 * e,
    "one part in a million": lambda e: e * (1 + sp.Rational(1, 10**6)),
    "term": lambda e: e + x * y / 10**9,
}


def sigmoid(a: sp.Expr) -> sp.Expr:
    return 1 / (1 + sp.exp(-a))


def softmax(a: list[sp.Expr]) -> list[sp.Expr]:
    return [sp.exp(p) / sum(map(sp.exp, a)) for p in a]


def relu(a: sp.Expr) -> sp.Expr:
    return sp.Piecewise((a, a > 0), (0, True))


def step(a: sp.Expr) -> sp.Expr:
    return sp.Piecewise((1, a > 0), (0, True))


def unsplit(a: sp.Expr, n: int) -> sp.Expr:
    """The n-th root of a product, which SymPy would take apart."""
    return sp.Pow(a, sp.Rational(1, n), evaluate=False)


def tower(a: sp.Expr, depth: int) -> sp.Expr:
    """exp(1 + exp(1 + ... a))."""
    return tower(sp.exp(1 + a), depth - 1) if depth else a


s, norm = sigmoid(x), sp.sqrt(x**2 + y**2 + z**2)
first = softmax([x, y, z])[0]
inner = softmax([sp.tanh(x * y), sp.tanh(y), sp.tanh(z + x)])
normal = sp.exp(-(x**2) / 2) * sp.exp(-x * y) * sp.exp(-(y**2) / 2)
twice = sp.exp(sp.exp(x))
rises = prod(tower(x, k) for k in range(1, 7))
bell = 2 / sp.sqrt(sp.pi) * sp.exp(-(x**2)) * sp.exp(-(y**2)) / sp.exp(x * y) ** 2

IDENTITIES = {
    "square": ((x + y) ** 2, x**2 + 2 * x * y + y**2),
    "quotient": (1 / (x * (x + 1)), 1 / x - 1 / (x + 1)),
    "tanh'": (sp.tanh(x).diff(x), (1 - sp.tanh(x)) * (1 + sp.tanh(x))),
    "tanh' by cosh": (sp.tanh(x).diff(x), 1 / sp.cosh(x) ** 2),
    "tanh' by exp": (sp.tanh(x).diff(x), 4 * sp.exp(-2 * x) / (1 + sp.exp(-2 * x)) ** 2),
    "tanh''": (sp.tanh(x).diff(x, 2), -2 * sp.tanh(x) / sp.cosh(x) ** 2),
    "tanh by sinh": (sp.tanh(x * y), sp.sinh(x * y) / sp.cosh(x * y)),
    "coth": (sp.coth(x).diff(x), -(sp.csch(x) ** 2)),
    "sech": (sp.sech(x).diff(x), -sp.sinh(x) / sp.cosh(x) ** 2),
    "sigmoid'": (s.diff(x), s * (1 - s)),
    "sigmoid''": (s.diff(x, 2), s * (1 - s) * (1 - 2 * s)),
    "sigmoid by tanh": (s, (1 + sp.tanh(x / 2)) / 2),
    "silu'": ((x * s).diff(x), s * (1 + x * (1 - s))),
    "softplus'": (sp.log(1 + sp.exp(x)).diff(x), s),
    "softmax sum": (sum(softmax([x, y, z])), sp.Integer(1)),
    "softmax'": (softmax([x, y, z])[0].diff(x), first * (1 - first)),
    "softmax of tanh": (inner[0].diff(y).diff(x), inner[0].diff(x).diff(y)),
    "softmax of tanh, sum": (sum(i.diff(y) for i in inner) + x, x),
    "log softmax": (sp.log(softmax([x, y])[0]), x - sp.log(sp.exp(x) + sp.exp(y))),
    "exp of exp": (sp.exp(2 * sp.exp(x)) - 1, (twice - 1) * (twice + 1)),
    "exp of exp of sums": (
        sp.exp(sp.exp(x + y) - z),
        sp.exp(sp.exp(x, evaluate=False) * sp.exp(y)) / sp.exp(z),
    ),
    "six exponentials": (tower(x, 6).diff(x) * (tower(x, 6) - 1), rises * tower(x, 6) - rises),
    "E**x": (sp.Pow(sp.E, x + 1, evaluate=False), sp.E * sp.exp(x)),
    "relu squared": (relu(x) * relu(x), x * relu(x)),
    "relu'": (relu(x * y).diff(x), y * step(x * y)),
    "relu by Max": (relu(x - y), sp.Max(x, y) - y),
    "Max + Min": (sp.Max(x, y, z) + sp.Min(-x, -y, -z), sp.Integer(0)),
    "Max'": (sp.Max(x, y).diff(x), step(x - y)),
    "relu''": (sp.Max(x, 0).diff(x, 2), sp.Integer(0)),
    "Abs": (sp.Abs(x * y) * sp.sign(x * y), x * y),
    "Abs by Max": (sp.Abs(x - y), sp.Max(x - y, y - x)),
    "conditions": (
        sp.Piecewise((x, sp.And(x > y, sp.Ne(x, z))), (y, sp.Or(x < y, sp.Eq(x, y)))),
        sp.Piecewise((y, sp.Not(x >= y)), (x, True)),
    ),
    "branch outside the domain": (
        sp.Piecewise((sp.sqrt(x) ** 3, x > 0), (1 / y, True)),
        sp.Piecewise((1 / y, x <= 0), (x * sp.sqrt(x), True)),
    ),
    "root squared": ((norm + 1) * (norm - 1), x**2 + y**2 + z**2 - 1),
    "root inverted": ((norm + 1) / norm, 1 + norm / (x**2 + y**2 + z**2)),
    "roots": (unsplit(u * v, 2) / u ** sp.Rational(3, 2), sp.sqrt(v) / u),
    "other roots": (unsplit(u * v, 3) * u ** sp.Rational(5, 12), sp.cbrt(v) * unsplit(u**3, 4)),
    "root of a square": (sp.sqrt(free**2), sp.Abs(free)),
    "root of exp": (sp.sqrt(sp.exp(free)), sp.exp(free / 2)),
    "norm'": (norm.diff(x, 2), (y**2 + z**2) / norm**3),
    "constant roots": (sp.sqrt(6) * unsplit(17 * u, 2), sp.sqrt(2) * unsplit(51 * u, 2)),
    "powers": ((u**x).diff(x) * u, u ** (x + 1) * sp.log(u)),
    "powers'": ((u**x).diff(u), x * u ** (x - 1)),
    "log": (sp.log(u**3 * v / w, evaluate=False), 3 * sp.log(u) + sp.log(v) - sp.log(w)),
    "log of negative factors": (sp.log((x - y) * z), sp.log(y - x) + sp.log(-z)),
    "log of one": (sp.log(sp.sin(x) ** 2 + sp.cos(x) ** 2), sp.Integer(0)),
    "log1p": (log1p(x**2).diff(x), 2 / (x + 1 / x)),
    "log1p by log": (log1p(x**2), sp.log(1 + x**2)),
    "expm1": (expm1(2 * x), (sp.exp(x) - 1) * (sp.exp(x) + 1)),
    "erf'": (sp.erf(x + y).diff(x), bell),
    "erf''": (sp.erf(x + y).diff(x, 2), -2 * (x + y) * bell),
    "erfc": (sp.erfc(x), 1 - sp.erf(x)),
    "gelu'": (
        (x * (1 + sp.erf(x / sp.sqrt(2)))).diff(x).subs(x, x + y),
        1 + sp.erf((x + y) / sp.sqrt(2)) + (x + y) * sp.sqrt(2 / sp.pi) * normal,
    ),
    "odd": (sp.erf(x * (y - z)) + sp.atan(x - y), -sp.erf(x * (z - y)) - sp.atan(y - x)),
    "circle": (sp.sin(x) ** 2 + sp.cos(x) ** 2, sp.Integer(1)),
    "tan'": (sp.tan(x).diff(x), 1 / sp.cos(x) ** 2),
    "undefined": (f(x * (y + z)) * x, x * f(x * y + x * z)),
    "float": (x * sp.Float(0.5), x / 2),
}  # fmt: skip


@pytest.mark.parametrize("name", IDENTITIES)
def test_identity(name: str) -> None:
    left, right = IDENTITIES[name]
    assert left != right  # or SymPy has proved it before
    assert difference([left], [right], seed=3) is None
    assert vanishes([left - right], seed=4)


@pytest.mark.parametrize(
    ("name", "damage"),
    [(n, d) for n in IDENTITIES for d in DAMAGES if IDENTITIES[n][1] != 0 or d == "term"],
)
def test_damage(name: str, damage: str) -> None:
    left, right = IDENTITIES[name]
    assert difference([x, left], [x, DAMAGES[damage](right)], seed=5) == 1
    assert not vanishes([left - DAMAGES[damage](right)], seed=6)


ALMOST = {
    "power": (x**3, x**5),
    "tanh' halved": (sp.tanh(x).diff(x), 1 - sp.tanh(x / 2) ** 2),
    "sigmoid without its tail": (s.diff(x), s * (1 - s) + sp.exp(-100) / 10**30),
    "one branch": (relu(x), sp.Max(x, -1)),
    "order of branches": (relu(x), x - relu(-x)),
    "Heaviside of another": (sp.Max(x, y).diff(x), sp.Heaviside(x - z)),
    "three branches": (relu(x) * relu(y) * relu(z), relu(x) * relu(y) * sp.Abs(z)),
    "Abs": (sp.Abs(x), x),
    "root of a square": (sp.sqrt(free**2), free),
    "root of a sum": (sp.sqrt(x**2 - 2 * x * y + y**2), x - y),
    "minus the root of a sum": (sp.sqrt(x**2 - 2 * x * y + y**2), y - x),
    "roots": (sp.sqrt(u * v), sp.sqrt(u) * v),
    "log": (sp.log(u * v), sp.log(u) * sp.log(v)),
    "exp": (sp.exp(x * y), sp.exp(x) * sp.exp(y)),
    "exponents equal one field lower": (sp.exp(sp.exp(x)), sp.exp(sp.exp(x) + x / 10**12)),
    "functions": (sp.erf(x), sp.atan(x)),
    "even": (sp.erf(x), sp.erf(-x, evaluate=False)),
    "circle": (sp.sin(x) ** 2 - sp.cos(x) ** 2, sp.Integer(1)),
    "pi": (sp.pi * x, sp.Rational(355, 113) * x),
    "undefined": (f(x), sp.Function("g")(x)),
    "arguments": (f(x, y), f(y, x)),
    "assumptions make symbols": (sp.Symbol("x") * y, x * y),
}


@pytest.mark.parametrize("name", ALMOST)
def test_not_an_identity(name: str) -> None:
    """Rejected for each of 20 seeds; a miss has at most the chance (7/8)**128 < 1e-7 per seed."""
    left, right = ALMOST[name]
    assert all(difference([left], [right], seed) == 0 for seed in SEEDS)


def test_sigmoid_is_beyond_expand() -> None:
    zero = s.diff(x) - s * (1 - s)
    assert sp.expand(zero) != 0
    assert vanishes([zero])


@pytest.mark.parametrize("q", list(sp.primerange(60)))
def test_roots_of_constants(q: int) -> None:
    """Half of the primes above 13 are no squares in one tower: then the next one serves."""
    assert difference([(sp.sqrt(q) + x) * (sp.sqrt(q) - x)], [q - x**2], seed=0) is None


def test_many_roots_are_found() -> None:
    rows = [sp.sqrt(a**2 + b**2 + 1) for a, b in product((x, y, z), repeat=2)]
    assert len(set(rows)) == 6
    assert vanishes([r.diff(x) * r - (r**2).diff(x) / 2 for r in rows])


# ---- an LSTM cell, n = 2, m = 3 ------------------------------------------------------------------

N, M, GATES = 2, 3, "ifog"
X = sp.symbols("x:3", real=True)
H = sp.symbols("h:2", real=True)
C = sp.symbols("c:2", real=True)
W = {g: sp.Matrix(N, M, sp.symbols(f"W{g}:{N}:{M}", real=True)) for g in GATES}
U = {g: sp.Matrix(N, N, sp.symbols(f"U{g}:{N}:{N}", real=True)) for g in GATES}
B = {g: sp.symbols(f"b{g}:{N}", real=True) for g in GATES}
PARAMETERS = [*X, *H, *C, *(p for g in GATES for p in (*W[g], *U[g], *B[g]))]


def gates(k: int) -> tuple[sp.Expr, ...]:
    a = [(W[g] * sp.Matrix(X) + U[g] * sp.Matrix(H))[k] + B[g][k] for g in GATES]
    return sigmoid(a[0]), sigmoid(a[1]), sigmoid(a[2]), sp.tanh(a[3])


def lstm(k: int) -> tuple[sp.Expr, sp.Expr]:
    i, fo, o, g = gates(k)
    c = fo * C[k] + i * g
    return c, o * sp.tanh(c)


def slopes(k: int) -> Iterator[tuple[sp.Expr, sp.Expr]]:
    """The pairs (dc, dh) for the four pre-activations of row k, by hand, then for c."""
    i, fo, o, g = gates(k)
    t = sp.tanh(fo * C[k] + i * g)
    dc = [g * i * (1 - i), C[k] * fo * (1 - fo), sp.Integer(0), i * (1 - g) * (1 + g), fo]
    direct = [0, 0, t * o * (1 - o), 0, 0]
    return ((d, o * (1 - t) * (1 + t) * d + e) for d, e in zip(dc, direct, strict=True))


def by_hand(k: int, p: sp.Symbol) -> tuple[sp.Expr, sp.Expr]:
    """The chain rule through the pre-activations W x + U h + b."""
    rows = [sum(W[g][k, j] * X[j] for j in range(M)) + B[g][k] for g in GATES]
    rows = [r + sum(U[g][k, j] * H[j] for j in range(N)) for r, g in zip(rows, GATES, strict=True)]
    pairs = [(q.diff(p), s) for q, s in zip([*rows, C[k]], slopes(k), strict=True)]
    return sum(q * s[0] for q, s in pairs), sum(q * s[1] for q, s in pairs)


@cache
def first() -> list[sp.Expr]:
    """The derivatives of first order by SymPy."""
    return [e.diff(p) for k in range(N) for p in PARAMETERS for e in lstm(k)]


@cache
def hand_made() -> list[sp.Expr]:
    """The same by hand."""
    return [sp.sympify(e) for k in range(N) for p in PARAMETERS for e in by_hand(k, p)]


INPUTS = [X[0], H[1], C[0], *(B[g][0] for g in GATES)]


def replaced(values: list[sp.Expr], k: int, value: sp.Expr) -> list[sp.Expr]:
    return [*values[:k], value, *values[k + 1 :]]


def test_lstm_first_order() -> None:
    assert len(first()) == len(hand_made()) == 2 * N * 55
    assert difference(first(), hand_made(), seed=0) is None


def test_lstm_second_order() -> None:
    """The first row, by all parameters and then by one of each kind."""
    second = [e.diff(p) for e in first()[:110] for p in INPUTS]
    hand = [e.diff(p) for e in hand_made()[:110] for p in INPUTS]
    assert sum(e != 0 for e in second) > 300
    assert difference(second, hand, seed=0) is None
    for k in [k for k, e in enumerate(hand) if e != 0][::97]:
        assert difference(second, replaced(hand, k, 2 * hand[k]), seed=k) == k


def test_lstm_damage() -> None:
    """Each nonzero component: the wrong sign, twice the value, and a sum without its first term."""
    for k in [k for k, e in enumerate(hand_made()) if e != 0]:
        assert difference(first(), replaced(hand_made(), k, -hand_made()[k]), seed=k) == k
        assert difference(first(), replaced(hand_made(), k, 2 * hand_made()[k]), seed=k) == k
    sums = [k for k, e in enumerate(hand_made()) if isinstance(e, sp.Add)]
    assert len(sums) >= 20
    for k in sums:
        dropped = sp.Add(*hand_made()[k].args[1:])
        assert difference(first(), replaced(hand_made(), k, dropped), seed=k) == k


# ---- the machinery -------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [0, 1, 7])
def test_fields_form_a_tower(number: int) -> None:
    for level in range(4):
        p, g = field(number, level)
        assert sp.isprime(p) and p > 2**61 and p % SMALL == SMALL - 1
        assert all(pow(n, (p - 1) // 2, p) == 1 for n in range(1, 17))
        if level:
            below = field(number, level - 1).p
            assert (p - 1) % below == 0 and g != 1 and pow(g, below, p) == 1


def test_points_are_seeded_rationals() -> None:
    drawn = {Point(0, k).rational(x) for k in range(200)}
    assert len(drawn) == 200 and all(0 < abs(q) < 2 for q in drawn)
    assert {q > 0 for q in drawn} == {True, False}
    assert all(Point(0, k).rational(u) > 0 for k in range(20))
    assert isinstance(Point(0, 0).rational(x), Fraction)
    assert Point(1, 0).rational(x) == Point(1, 0).rational(sp.Symbol("x", real=True))
    assert Point(1, 0).rational(x) != Point(0, 0).rational(x)
    assert Point(0, 0).rational(sp.Dummy("d")) != Point(0, 0).rational(sp.Dummy("d"))


def test_deep_expressions() -> None:
    left = right = x
    for _ in range(2000):
        left, right = y * left + 1, 1 + right * y
        left = sp.Add(sp.Mul(left, 1, evaluate=False), 0, evaluate=False)
    assert difference([left], [right], seed=0) is None
    assert difference([left], [right + y], seed=0) == 0


def test_shared_expressions_are_evaluated_once() -> None:
    """More than 2^100 paths: this ends only if each node is evaluated once."""
    left = right = x
    for _ in range(100):
        left, right = f(left) * left + left, right * (1 + f(right))
    assert difference([left], [right], seed=0) is None
    assert difference([left], [right + y], seed=0) == 0


def test_nothing_vanishes_in_an_empty_list() -> None:
    assert vanishes([])
    assert difference([], [], seed=0) is None


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        (sp.gamma(x), "no zero test for gamma in gamma"),
        (f(x).diff(x), r"no zero test for Derivative .*doit\(\)"),
        (sp.Sum(x**y, (y, 1, z)), "no zero test for Sum"),
        (sp.oo * u, "no zero test for Infinity"),
        (sp.I * x, "no zero test for ImaginaryUnit"),
        (sp.MatrixSymbol("A", 2, 2), "no zero test for MatrixSymbol"),
        (sp.Symbol("i", imaginary=True) + 1, "symbol i is not a real number"),
        (sp.Symbol("A", commutative=False) + 1, "symbol A is not a real number"),
        ("x", "component 0: expected a SymPy expression"),
        (sp.Matrix([x]), "component 0: expected a SymPy expression"),
    ],
)
def test_unknown_expressions_are_refused(expression: sp.Expr, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        vanishes([expression])


@pytest.mark.parametrize(
    "expression",
    [
        1 / (s.diff(x) - s * (1 - s)),
        sp.log(x) - sp.log(-x),
        sp.sqrt(-1 - x**2),
        sp.Piecewise((x, free**2 < -1)),
        sp.Max(s.diff(x), s * (1 - s)),
    ],
)
def test_expressions_without_a_value_are_refused(expression: sp.Expr) -> None:
    with pytest.raises(ArithmeticError, match="no value at any of"):
        vanishes([expression])


def test_an_error_never_prints_a_large_expression() -> None:
    large = x
    for _ in range(100):
        large = f(large) * large + large
    with pytest.raises(TypeError, match="no zero test for gamma in a large expression: "):
        vanishes([sp.gamma(large, evaluate=False)])


def test_lengths_and_points_are_checked() -> None:
    with pytest.raises(ValueError, match="as many components, got 1 and 2"):
        difference([x], [x, y], seed=0)
    with pytest.raises(ValueError, match="expected at least 1, got 0"):
        vanishes([x], points=0)
