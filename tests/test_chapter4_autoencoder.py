"""The deep auto-encoder of the thesis, section 4.3, result by result.

Left of each equation stands what the calculus derives of the tied network, right the formula of the
thesis in NumPy, with its letters: W_1 .. W_L, b_1 .. b_2L, K_i, x_i, z_i.  Algorithm 4.3.1 is in
`test_sharing`.
"""

import numpy as np
import pytest
from points import EPS, draw_all

from derive import (
    Hom,
    Layer,
    R,
    form,
    indices,
    network,
    tanh,
    transpose,
    uninterpreted,
    variable,
    with_shared,
)
from derive.calculus.calculus import tangent
from derive.calculus.calculus import transpose as adjoint
from derive.calculus.maps import substituted
from derive.language.reference import value
from derive.library.dense import affine, dense, dense_sigmoid
from derive.library.losses import cross_entropy, squared_loss
from derive.training.targets import softmax

# Both sides are sums of at most 6 products in each of 6 layers, in another order, and psi to 4 ulp.
ROUNDING = 400 * EPS
L = 3
WIDTHS = {1: 6, 2: 5, 3: 4, 4: 3, 5: 4, 6: 5, 7: 6}  # n_1 .. n_{2L+1}
NAMES = {1: "one", 2: "two", 3: "three", 4: "four", 5: "five", 6: "six"}
LAYERS = {1: dense, 2: dense_sigmoid, 3: affine, 4: dense, 5: dense_sigmoid, 6: affine}
every = pytest.mark.parametrize("i", range(1, 2 * L + 1))
encoding = pytest.mark.parametrize("i", range(1, L + 1))
decoding = pytest.mark.parametrize("i", range(L + 1, 2 * L + 1))
losses = pytest.mark.parametrize("loss", ["squared", "cross-entropy"])


def xi(i):
    """xi(i) = 2L - i + 1 (4.34)."""
    return 2 * L - i + 1


def turned(W):
    """tau_5: the transpose with both axes from the other end, another linear map."""
    rows, columns = W.space.shape
    k, l = indices("k l")  # noqa: E741
    at = (rows - 1 - l, columns - 1 - k)
    return form("turned", A=at, to=(k, l), ranges={k: columns, l: rows})(W)


TAU = {4: np.transpose, 5: lambda W: W.T[::-1, ::-1], 6: np.transpose}
TAU_ADJOINT = {4: np.transpose, 5: lambda U: U[::-1, ::-1].T, 6: np.transpose}
F = with_shared(
    network("dae", **{NAMES[i]: LAYERS[i] for i in NAMES}),
    four_W=lambda three_W: transpose(three_W),
    five_W=lambda two_W: turned(two_W),
    six_W=lambda one_W: transpose(one_W),
)
J = {
    "squared": F.with_loss(squared_loss, target="input").loss_layer,
    "cross-entropy": F.with_loss(cross_entropy, target="input").loss_layer,
}


def logistic(t):
    return 1 / (1 + np.exp(-t))


PSI = {
    dense: (np.tanh, lambda z: 1 - np.tanh(z) ** 2),
    dense_sigmoid: (logistic, lambda z: logistic(z) * (1 - logistic(z))),
    affine: (lambda z: z, np.ones_like),
}


def psi(i, z):
    """Psi_i(z)."""
    return PSI[LAYERS[i]][0](z)


def d_psi(i, z):
    """Psi'_i(z)."""
    return PSI[LAYERS[i]][1](z)


class Point:
    """theta and x, and all that the thesis calls by a letter there."""

    def __init__(self, seed=0):
        rng = np.random.default_rng(seed)
        self.W = {i: rng.normal(size=(WIDTHS[i + 1], WIDTHS[i])) for i in range(1, L + 1)}
        self.b = {i: rng.normal(size=WIDTHS[i + 1]) for i in NAMES}
        self.x = {1: softmax(rng.normal(size=WIDTHS[1]))}
        self.z, self.K = {}, {}
        for i in NAMES:
            self.K[i] = self.W[i] if i <= L else TAU[i](self.W[xi(i)])
            self.z[i] = self.K[i] @ self.x[i] + self.b[i]
            self.x[i + 1] = psi(i, self.z[i])
        self.rng = rng

    @property
    def named(self):
        """The arguments of F by name."""
        by_W = {f"{NAMES[i]}_W": W for i, W in self.W.items()}
        return {"x": self.x[1], **by_W, **{f"{NAMES[i]}_b": b for i, b in self.b.items()}}

    def at(self, layer, **more):
        """The arguments of a layer."""
        named = self.named | more
        return {a.variable: named[a.name] for a in layer.arguments}

    def draw(self, *shape):
        return self.rng.normal(size=shape)

    # --- maps, by the thesis

    def D_f_adjoint(self, i, v):
        """D* f_i(x_i) . v."""
        return self.K[i].T @ (d_psi(i, self.z[i]) * v)

    def D_omega_adjoint(self, i, v):
        """D* omega_i(x_i) . v, the layers from i on, from behind."""
        for k in range(2 * L, i - 1, -1):
            v = self.D_f_adjoint(k, v)
        return v

    def nabla_f_adjoint(self, i, v):
        """nabla*_{W_i} f_i(x_i) . v (4.52), and (4.53) for the layers that decode."""
        outer = np.outer(d_psi(i, self.z[i]) * v, self.x[i])
        return outer if i <= L else TAU_ADJOINT[i](outer)

    def e(self, loss):
        """The error (4.49)."""
        out = self.x[2 * L + 1]
        return (out if loss == "squared" else softmax(out)) - self.x[1]


def close(found, expected):
    expected = np.asarray(expected)
    assert np.shape(found) == expected.shape
    assert np.abs(found - expected).max() <= ROUNDING * np.abs(expected).max()
    return True


def applied(linear, at, direction):
    return value(linear.body, {**at, linear.variable: direction})


# --- weight sharing


@every
def test_4_34(i):
    """xi(xi(i)) = i; layer i has the weights of layer xi(i), with domain and codomain exchanged.

    So n_i = n_{xi(i)+1}; printed is n_i = n_{xi(i)}, which for i = 2L + 1 would be n_0, and E_i =
    R^{n_xi(i)} for the layers that decode.
    """
    assert xi(xi(i)) == i and WIDTHS[i] == WIDTHS[xi(i) + 1]
    stage = F.stages[i - 1].function
    weights = {p.name for p in stage.parameters if p.name.endswith("_W")}
    assert weights == {f"{NAMES[i if i <= L else xi(i)]}_W"}
    sizes = dict(zip(F.sizes, [WIDTHS[k] for k in range(1, L + 2)], strict=True))
    assert stage.output.space.shape[0].xreplace(sizes) == WIDTHS[i + 1]
    assert F.stages[i - 1].input.space.shape[0].xreplace(sizes) == WIDTHS[i]


def test_lemma_4_3_1():
    """tau*(W) = W^T."""
    U, W = variable("U", R(3, 4)), variable("W", R(4, 3))
    at = draw_all([U, W], {})
    assert np.array_equal(value(transpose(U), at), at[U].T)
    assert np.array_equal(value(adjoint(transpose(U), W, (U,))[U], at), at[W].T)


# --- the layers


@every
def test_4_35(i):
    """f_i(x_i; W_i, b_i) = Psi_i(W_i x_i + b_i), and tau_i(W_{xi(i)}) for i > L; so (4.36)."""
    point = Point()
    f, x = F.stages[i - 1].function, F.stages[i - 1].input
    found = value(f.output, point.at(f, **{x.name: point.x[i]}))
    assert close(found, psi(i, point.K[i] @ point.x[i] + point.b[i]))


def test_4_37():
    """F = f_2L . .. . f_1; every W_i is in two layers (4.38)."""
    point = Point()
    assert close(value(F.output, point.at(F)), point.x[2 * L + 1])
    for i in range(1, L + 1):
        uses = [
            k
            for k, s in enumerate(F.stages, 1)
            if F.argument(f"{NAMES[i]}_W") in s.function.parameters
        ]
        assert uses == [i, xi(i)]


# --- derivatives of a layer

X, H = R(4), R(3)
theta, U = variable("theta", Hom(X, H)), variable("U", Hom(X, H))
x_, w = variable("x", H), variable("w", X)


def test_lemma_4_3_2():
    """nabla g . U = nabla h . tau(U) and nabla* g . y = tau*(nabla* h . y), for every h."""
    h = uninterpreted("h", H, Hom(H, X), X)
    M, V = variable("M", Hom(H, X)), variable("V", Hom(H, X))
    g = h(x_, transpose(theta))
    nabla_h = tangent(h(x_, M), {M: V})
    assert tangent(g, {theta: U}) is substituted(nabla_h, {M: transpose(theta), V: transpose(U)})
    adjoint_h = substituted(adjoint(nabla_h, w, (V,))[V], {M: transpose(theta)})
    right = substituted(adjoint(transpose(U), V, (U,))[U], {V: adjoint_h})
    assert adjoint(tangent(g, {theta: U}), w, (U,))[U] is right


def one_layer():
    """f(x; W, b) = Psi(tau(W) . x + b) with tau the transpose, and a point."""
    f = Layer.of(
        "f",
        state={"x": R(4)},
        parameters={"W": R(4, 3), "b": R(3)},
        output=lambda x, W, b: tanh(transpose(W) @ x + b),
    )
    at = draw_all([f.output], {})
    x, W, b = (at[f.argument(name)] for name in ("x", "W", "b"))
    return f, at, x, W, 1 - np.tanh(W.T @ x + b) ** 2


def drawn(*shape):
    return np.random.default_rng(11).normal(size=shape)


def test_4_39():
    """nabla_W f . U = D Psi(z) . tau(U) . x."""
    f, at, x, _, slope = one_layer()
    U = drawn(4, 3)
    assert close(applied(f.nabla("W"), at, U), slope * (U.T @ x))


def test_4_40():
    """nabla_b f = D Psi(z): as maps, so nabla_b f . u = D Psi(z) . u."""
    f, at, _, _, slope = one_layer()
    u = drawn(3)
    assert close(applied(f.nabla("b"), at, u), slope * u)


def test_4_41():
    """D f = D Psi(z) . tau(W)."""
    f, at, _, W, slope = one_layer()
    v = drawn(4)
    assert close(applied(f.D(), at, v), slope * (W.T @ v))


def test_4_42():
    """nabla*_W f . y = tau*((Psi'(z) (.) y) x^T)."""
    f, at, x, _, slope = one_layer()
    y = drawn(3)
    assert close(applied(f.nabla("W").adjoint, at, y), np.outer(slope * y, x).T)


def test_4_43():
    """nabla*_b f = D Psi(z), an equation of maps; here at a y, nabla*_b f . y = D Psi(z) . y."""
    f, at, _, _, slope = one_layer()
    y = drawn(3)
    assert close(applied(f.nabla("b").adjoint, at, y), slope * y)


def test_4_44():
    """D* f = (tau(W))* . D Psi(z), W . for the transpose.

    Printed is tau*(W), which has W outside of its domain: tau* takes maps from R^n to R^m.
    """
    f, at, _, W, slope = one_layer()
    y = drawn(3)
    assert close(applied(f.D().adjoint, at, y), W @ (slope * y))


# --- losses


def test_4_45():
    """J_R = 1/2 <F(x) - x, F(x) - x>."""
    point = Point()
    off = point.x[2 * L + 1] - point.x[1]
    assert close(value(J["squared"].output, point.at(J["squared"])), np.sum(off * off) / 2)


def test_4_46():
    """J_C = -<x, Log(softmax(F(x)))>."""
    point = Point()
    expected = -np.sum(point.x[1] * np.log(softmax(point.x[2 * L + 1])))
    assert close(value(J["cross-entropy"].output, point.at(J["cross-entropy"])), expected)


@encoding
def test_lemma_4_3_4(i):
    """nabla*_{W_i} F = nabla* f_xi(i) . D* omega_{xi(i)+1} + nabla* f_i . D* omega_{i+1} (4.47)."""
    point, k = Point(), xi(i)
    v = point.draw(WIDTHS[2 * L + 1])
    found = applied(F.nabla(f"{NAMES[i]}_W").adjoint, point.at(F), v)
    both = [point.nabla_f_adjoint(j, point.D_omega_adjoint(j + 1, v)) for j in (k, i)]
    assert close(found, both[0] + both[1])
    assert all(np.abs(part).max() > 1e-3 * np.abs(found).max() for part in both)


@losses
@encoding
def test_4_48(i, loss):
    """nabla_{W_i} J of theorem 4.3.5."""
    point, k = Point(), xi(i)
    e = point.e(loss)
    first = d_psi(i, point.z[i]) * point.D_omega_adjoint(i + 1, e)
    second = d_psi(k, point.z[k]) * point.D_omega_adjoint(k + 1, e)
    expected = np.outer(first, point.x[i]) + TAU_ADJOINT[k](np.outer(second, point.x[k]))
    found = applied(J[loss].nabla(f"{NAMES[i]}_W").adjoint, point.at(J[loss]), np.ones(()))
    assert close(found, expected)


@losses
@every
def test_4_50(i, loss):
    """nabla_{b_i} J = Psi'_i(z_i) (.) (D* omega_{i+1}(x_{i+1}) . e), for all 2L layers."""
    point = Point()
    expected = d_psi(i, point.z[i]) * point.D_omega_adjoint(i + 1, point.e(loss))
    found = applied(J[loss].nabla(f"{NAMES[i]}_b").adjoint, point.at(J[loss]), np.ones(()))
    assert close(found, expected)


@losses
@encoding
def test_4_49_and_4_51(i, loss):
    """nabla_{W_i} J = nabla*_{W_i} F . e with the error e (4.49), both derived."""
    point, name = Point(), f"{NAMES[i]}_W"
    left = applied(J[loss].nabla(name).adjoint, point.at(J[loss]), np.ones(()))
    assert close(left, applied(F.nabla(name).adjoint, point.at(F), point.e(loss)))


def test_4_49_for_any_target():
    """softmax(F) - x takes a target that sums to 1; else the error is <1, x> softmax(F) - x."""
    point = Point()
    point.x[1] = 3 * point.x[1]
    at = point.at(J["cross-entropy"])
    out = value(F.output, point.at(F))
    found = applied(J["cross-entropy"].nabla("six_b").adjoint, at, np.ones(()))
    assert close(found, 3 * softmax(out) - point.x[1])


def stage_map(i, name):
    """nabla*_W f_i with x_i as its argument, and the point's arguments."""
    point = Point()
    f, x = F.stages[i - 1].function, F.stages[i - 1].input
    return point, f.nabla(name).adjoint, point.at(f, **{x.name: point.x[i]})


@encoding
def test_4_52(i):
    """nabla*_{W_i} f_i(x_i) . u = (Psi'_i(z_i) (.) u) x_i^T."""
    point, nabla, at = stage_map(i, f"{NAMES[i]}_W")
    u = point.draw(WIDTHS[i + 1])
    assert close(applied(nabla, at, u), np.outer(d_psi(i, point.z[i]) * u, point.x[i]))


@encoding
def test_4_53(i):
    """nabla*_{W_i} f_xi(i)(x_xi(i)) . v = tau*((Psi'(z_xi(i)) (.) v) x_xi(i)^T)."""
    k = xi(i)
    point, nabla, at = stage_map(k, f"{NAMES[i]}_W")
    v = point.draw(WIDTHS[k + 1])
    outer = np.outer(d_psi(k, point.z[k]) * v, point.x[k])
    assert close(applied(nabla, at, v), TAU_ADJOINT[k](outer))


# --- backpropagation


@every
def test_theorem_4_3_6(i):
    """D* omega_i(x_i) . v = K_i^T (Psi'_i(z_i) (.) (D* omega_{i+1}(x_{i+1}) . v)).

    Its proof has f_i(x_i) = K_i x_i + b_i, where Psi_i is left out.
    """
    point = Point()
    v = point.draw(WIDTHS[2 * L + 1])
    found = omega_adjoint(point, i, v)
    after = omega_adjoint(point, i + 1, v)
    assert close(found, point.K[i].T @ (d_psi(i, point.z[i]) * after))


def omega_adjoint(point, i, v):
    """D* omega_i(x_i) . v, by the calculus; omega_{2L+1} is the identity."""
    tail = F.tail(i)
    x = tail.arguments[0].name
    return applied(tail.D().adjoint, point.at(tail, **{x: point.x[i]}), v)
