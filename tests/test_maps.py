"""Linear maps: adjoints and their laws, in the inner products of the spaces; hooks; composition."""

import numpy as np
import pytest
from formulas import SIZES, H, X, b, m, n, x
from points import EPS, close, draw_all, pairing

from derive import Gram, Hom, R, SpaceError, inner, layer, scale, sigmoid, tanh, variable
from derive.calculus.calculus import transpose
from derive.calculus.maps import LinearMap, free_name, variables_of
from derive.language.expressions import is_zero
from derive.language.reference import value
from derive.language.riesz import gram_variable, riesz

# A few hundred roundings, relative to the largest part of the sums that are compared.
ROUNDING = 1000


@layer
def gated(x: X, *, A: Hom(X, H), W: Hom(X, H), b: H) -> H:
    return (A @ x) * sigmoid(W @ x + b)


@layer
def pair(s: H * X, *, W: Hom(X, H)) -> X * H:
    h, x = s
    return scale(inner(h, W @ x), x), tanh(h)


E, F = R(m, gram=Gram("G1")), R(n, gram=Gram("G2"))


@layer
def curved(x: E, *, W: Hom(E, F), b: F) -> F:
    z = tanh(W @ x + b)
    return scale(inner(z, z), z)


FIRST = [f.derivative(v.name) for f in (gated, pair, curved) for v in f.differentiable]
SECOND = [
    f.second(v.name, w.name).hook()
    for f in (gated, pair, curved)
    for v in f.differentiable
    for w in f.differentiable
    if not is_zero(f.second(v.name, w.name).body)
]
maps = pytest.mark.parametrize("L", FIRST + SECOND, ids=str)
seeds = pytest.mark.parametrize("seed", range(2))


def gram_data(rng):
    """Two Gram matrices, symmetric and positive definite with condition below 10, and inverses."""
    data = {}
    for name, size in (("G1", m), ("G2", n)):
        root = rng.normal(size=(SIZES[size], SIZES[size])) / 4
        matrix = np.eye(SIZES[size]) + root @ root.T
        for gram, array in ((Gram(name), matrix), (Gram(name).inverse, np.linalg.inv(matrix))):
            data[gram_variable(gram, size)] = array
    return data


def metric(space, data):
    """The Gram matrix of an array space on flattened arrays, by Kronecker products."""
    matrix = np.eye(1)
    for extent, gram in zip(space.shape, space.grams, strict=True):
        own = np.eye(SIZES[extent]) if gram is None else data[gram_variable(gram, extent)]
        matrix = np.kron(matrix, own)
    return matrix


def product(space, data, a, b):
    """<a, b> in the inner product of the space."""
    if hasattr(space, "factors"):
        return sum(product(f, data, c, d) for f, c, d in zip(space.factors, a, b, strict=True))
    return np.ravel(a) @ metric(space, data) @ np.ravel(b)


def at(L, *values, seed=0):
    """A point for a map, its adjoint and the Gram matrices."""
    rng = np.random.default_rng(seed)
    data = gram_data(rng)
    point = draw_all([L.body, L.adjoint.body, L.variable, L.adjoint.variable, *values], SIZES, seed)
    return data, point | data


@maps
@seeds
def test_the_adjoint_law(L, seed) -> None:
    """<L* u, v> in the domain is <u, L v> in the codomain."""
    data, point = at(L, seed=seed)
    u, v = point[L.adjoint.variable], point[L.variable]
    left = product(L.domain, data, value(L.adjoint.body, point, SIZES), v)
    right = product(L.codomain, data, u, value(L.body, point, SIZES))
    assert left != 0 and abs(left - right) <= ROUNDING * EPS * (abs(left) + abs(right))


@pytest.mark.parametrize("L", [curved.D(), curved.nabla("W"), curved.nabla("b")], ids=str)
def test_a_plain_transpose_breaks_the_law(L) -> None:
    """The damage: without the Gram matrices the two sides differ by more than a hundredth."""
    data, point = at(L)
    u, v = point[L.adjoint.variable], point[L.variable]
    plain = transpose(L.body, L.adjoint.variable, [L.variable])[L.variable]
    left = product(L.domain, data, value(plain, point, SIZES), v)
    right = product(L.codomain, data, u, value(L.body, point, SIZES))
    assert abs(left - right) > 0.01 * abs(right)


@pytest.mark.parametrize("L", [curved.D(), curved.nabla("W"), curved.nabla("b")], ids=str)
def test_the_adjoint_is_the_transpose_between_gram_matrices(L) -> None:
    """L* = G1^-1 L^T G2 with the matrix of L entry by entry; on Hom this is Hilbert-Schmidt's."""
    data, point = at(L)
    columns = []
    for unit in np.eye(int(np.prod(np.shape(point[L.variable])))):
        unit = unit.reshape(np.shape(point[L.variable]))
        columns.append(np.ravel(value(L.body, point | {L.variable: unit}, SIZES)))
    matrix = np.stack(columns, axis=1)
    u = np.ravel(point[L.adjoint.variable])
    by_hand = np.linalg.solve(metric(L.domain, data), matrix.T @ metric(L.codomain, data) @ u)
    found = np.ravel(value(L.adjoint.body, point, SIZES))
    assert close(found, by_hand, ROUNDING)


def test_the_inner_product_of_linear_maps_is_hilbert_schmidts() -> None:
    """<A, B> on Hom(E, F) is the trace of A* B, A* = G1^-1 A^T G2."""
    space = Hom(E, F)
    left, right = variable("A", space), variable("B", space)
    data = gram_data(np.random.default_rng(3))
    point = draw_all([left, right], SIZES) | data
    g1_inverse = data[gram_variable(Gram("G1").inverse, m)]
    g2 = data[gram_variable(Gram("G2"), n)]
    trace = np.trace(g1_inverse @ point[left].T @ g2 @ point[right])
    assert abs(value(inner(left, right), point, SIZES) - trace) <= ROUNDING * EPS * abs(trace)


@pytest.mark.parametrize("space", [E, F, Hom(E, F), Hom(F, E), E * F], ids=str)
def test_the_riesz_maps_are_inverse(space) -> None:
    v = variable("v", space)
    data = gram_data(np.random.default_rng(4))
    point = draw_all([v], SIZES) | data
    assert close(value(riesz(riesz(v), inverse=True), point, SIZES), point[v], ROUNDING)
    assert abs(pairing(value(riesz(v), point, SIZES), point[v])) > 0


# --- algebra


@maps
def test_the_adjoint_of_the_adjoint_is_the_map(L) -> None:
    assert L.adjoint.adjoint is L
    assert (L.adjoint.domain, L.adjoint.codomain) == (L.codomain, L.domain)


def test_composition_and_its_adjoint() -> None:
    """(L2 . L1) . v = L2 . (L1 . v), and (L2 . L1)* = L1* . L2*."""
    L1, L2 = gated.nabla("W"), gated.D().adjoint
    composed, reverse = L2 @ L1, L1.adjoint @ L2.adjoint
    assert (composed.domain, composed.codomain) == (Hom(X, H), X)
    v, u = variable("direction", Hom(X, H)), variable("cotangent", X)
    assert composed @ v is L2 @ (L1 @ v)
    left, right = composed.adjoint @ u, reverse @ u
    point = draw_all([left, right], SIZES)
    assert close(value(left, point, SIZES), value(right, point, SIZES), ROUNDING)
    assert str(composed.adjoint) == str(reverse)


def test_applying_at_expressions_and_tuples() -> None:
    L = pair.D()
    v = (2 * b, tanh(x))
    assert L @ v is L @ (v[0], v[1])
    with pytest.raises(SpaceError, match=r"is a map on R\(n\) \* R\(m\), but the argument is of R"):
        _ = L @ (x, b)
    with pytest.raises(SpaceError, match=r"@ 3: expected an expression of R\(n\) \* R\(m\)"):
        _ = L @ 3
    with pytest.raises(
        SpaceError, match=r"is a map on R\(m\), but D_s pair.* is of R\(m\) \* R\(n"
    ):
        _ = gated.D() @ L


def test_the_hooks_fill_one_slot() -> None:
    B = gated.second("x", "W")
    e, u = variable("e", X), variable("u0", Hom(X, H))
    assert B.hook(e) @ u is B.right_hook(u) @ e
    assert B.hook(e) @ u is not gated.second("W", "x").hook(u) @ e
    assert (B.hook().variable, B.right_hook().variable) == (B.right, B.left)
    assert B.hook(e).domain == Hom(X, H) and B.right_hook(u).domain == X
    with pytest.raises(SpaceError, match=r"expected v of R\(m\), got R\(n\)"):
        B.hook(b)


def test_mixed_second_derivatives_agree() -> None:
    """D nabla f . (e, u) = nabla D f . (u, e) (thesis, section 2.3.2)."""
    for f, state, parameter in ((gated, "x", "W"), (gated, "x", "b"), (pair, "s", "W")):
        B, C = f.D_nabla(parameter), f.nabla_D(parameter)
        e, u = variable("e", B.left.space), variable("u0", B.right.space)
        assert (B.left.space, B.right.space) == (
            f.argument(state).space,
            f.argument(parameter).space,
        )
        left, right = B.hook(e) @ u, C.hook(u) @ e
        point = draw_all([left, right], SIZES)
        assert close(value(left, point, SIZES), value(right, point, SIZES), ROUNDING)


# --- names: a direction is never one of the layer's own variables


@layer
def shadowed(v: X, w: H, *, u: Hom(X, H), v2: H, u2: H) -> H:
    return tanh(u @ v + v2) * w * u2


@pytest.mark.parametrize("name", ["v", "w", "u", "v2", "u2"])
def test_directions_have_names_of_their_own(name) -> None:
    L, own = shadowed.derivative(name), set(shadowed.differentiable)
    assert L.variable not in own and L.adjoint.variable not in variables_of(L.body)
    for other in ["v", "w", "u", "v2", "u2"]:
        B = shadowed.second(name, other)
        assert len({B.left, B.right} - own) == 2
        assert B.hook().adjoint.variable not in variables_of(B.body)
    point = draw_all([L.body, L.adjoint.body], SIZES)
    left = pairing(value(L.adjoint.body, point, SIZES), point[L.variable])
    right = pairing(point[L.adjoint.variable], value(L.body, point, SIZES))
    assert abs(left - right) <= ROUNDING * EPS * (abs(left) + abs(right))


def test_composing_and_hooking_capture_no_variable() -> None:
    L, B = gated.D(), gated.D2()
    twice = LinearMap("twice", variable("v2", X), 2 * variable("v2", X))
    outer_ = B.hook() @ twice  # its body holds v1 free and v2 bound
    assert outer_.variable.name == "v2" and variables_of(outer_.body).count(B.left) == 1
    bound = B.hook(B.right)  # hooked with what is called like the slot that stays open
    e = variable("e", X)
    assert bound.variable is not B.right and bound @ e is B.right_hook(e) @ B.right
    assert free_name("v", [L.variable, variable("v2", X)]) == "v3"


def test_names_are_those_of_the_thesis() -> None:
    assert str(gated.D()) == "D_x gated(x; A, W, b) : R(m) -> R(n)"
    assert gated.D().adjoint.name == "D*_x gated(x; A, W, b)"
    assert gated.nabla("b").adjoint.name == "nabla*_b gated(x; A, W, b)"
    assert gated.D_nabla("b").hook().adjoint.name == "(v _| D nabla_(x, b) gated(x; A, W, b))*"
    assert str(gated.D2()) == "D^2_(x, x) gated(x; A, W, b) : R(m), R(m) -> R(n)"
    assert gated.D2().right_hook().name == "(D^2_(x, x) gated(x; A, W, b) |_ v2)"
    assert str(pair.nabla()) == "nabla_W pair(s; W) : R(n, m) -> R(m) * R(n)"
