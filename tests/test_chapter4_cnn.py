"""The convolutional network of the thesis, section 4.2, result by result.

Left of each equation stands what the calculus derives, right the formula of the thesis in NumPy,
with its sums over k, l, s, t and j.  Places count from 0 here and an image has its channels in
front; the thesis counts from 1 and has them behind.
"""
# ruff: noqa: E741 -- the thesis's letters

import numpy as np
import pytest
from points import EPS, draw, draw_all

from derive import (
    Layer,
    R,
    convolution,
    crop,
    embed,
    form,
    gradient,
    gradient_descent,
    indices,
    layer,
    max_pool,
    network,
    sigmoid,
    tanh,
    variable,
    vec,
)
from derive.calculus.calculus import tangent, transpose
from derive.language.reference import value
from derive.library.convolution import thesis_cnn_layer
from derive.training.targets import softmax

# Both sides are sums of at most 60 products in another order, and tanh to 4 ulp.
ROUNDING = 100 * EPS
m1, n1, l1, m2, p, q = 3, 7, 6, 2, 3, 2  # channels, image, filters
strides = pytest.mark.parametrize("stride", [1, 2])
i, j, c = indices("i j c")


def close(found, expected):
    """Every entry, relative to the largest."""
    expected = np.asarray(expected)
    assert np.shape(found) == expected.shape
    assert np.abs(found - expected).max() <= ROUNDING * np.abs(expected).max()
    return True


def inner(a, b):
    """<a, b>."""
    return np.sum(a * b)


def basis(shape, *place):
    """E_{k,l}."""
    E = np.zeros(shape)
    E[place] = 1
    return E


# --- cropping and embedding

x, y_part = variable("x", R(m1, n1, l1)), variable("y", R(p, q))
x_j = variable("x", R(n1, l1))
places = pytest.mark.parametrize(("k", "l"), [(0, 0), (2, 3), (n1 - p, l1 - q)])


def kappa(x, k, l, rows=p, columns=q):
    """kappa_{k,l}(x_j) (4.13)."""
    z = np.zeros((rows, columns))
    for s in range(rows):
        for t in range(columns):
            z += inner(x, basis(x.shape, k + s, l + t)) * basis((rows, columns), s, t)
    return z


def Em(y, k, l, shape=(n1, l1)):
    """Em_{k,l}(y) (4.14)."""
    z = np.zeros(shape)
    for s in range(y.shape[0]):
        for t in range(y.shape[1]):
            z += inner(y, basis(y.shape, s, t)) * basis(shape, k + s, l + t)
    return z


def K(x, k, l, rows=p, columns=q):
    """K_{k,l}(x), the sum over the channels (4.12)."""
    return sum(kappa(channel, k, l, rows, columns) for channel in x)


def K_node(x, k, l):
    return form("K", x=(c, i, j), to=(i, j))(crop(x, (k, l), (p, q)))


@places
def test_4_12(k, l):
    at = draw_all([x], {})
    assert close(value(K_node(x, k, l), at), K(at[x], k, l))


@places
def test_4_13(k, l):
    at = draw_all([x_j], {})
    assert close(value(crop(x_j, (k, l), (p, q)), at), kappa(at[x_j], k, l))


@places
def test_4_14(k, l):
    at = draw_all([y_part], {})
    assert close(value(embed(y_part, (k, l), (n1, l1)), at), Em(at[y_part], k, l))


@places
def test_lemma_4_2_1(k, l):
    """K*_{k,l}(y) = sum_j Em_{k,l}(y) (x) e_j: the same in every channel."""
    at = draw_all([x, y_part], {})
    assert close(
        value(transpose(K_node(x, k, l), y_part, (x,))[x], at),
        K_adjoint(at[y_part], k, l, at[x]),
    )
    assert transpose(crop(x_j, (k, l), (p, q)), y_part, (x_j,))[x_j] is embed(
        y_part, (k, l), (n1, l1)
    )


# --- convolution

W = variable("W", R(m2, p, q))


def gamma(k, l, stride):
    """gamma(k, l, Delta) (4.17), from 0."""
    return k * stride, l * stride


def hats(W_j, x, stride=1):
    """n^_1 and l^_1: as many places as fit.

    Footnote 4 has n_1 / Delta of them, which takes padding where the filter has more than Delta
    rows.
    """
    pairs = zip(x.shape[1:], W_j.shape, strict=True)
    return tuple((image - extent) // stride + 1 for image, extent in pairs)


def c_j(W_j, x, stride=1):
    """c_j(W, x) (4.16)."""
    shape = hats(W_j, x, stride)
    z = np.zeros(shape)
    for k, l in np.ndindex(*shape):
        z += inner(W_j, K(x, *gamma(k, l, stride), *W_j.shape)) * basis(shape, k, l)
    return z


def C(W, x, stride=1):
    """C(W, x) (4.15)."""
    return np.stack([c_j(W_j, x, stride) for W_j in W])


def by_filters(y, W, x, stride=1):
    """(C _| x)* . y (theorem 4.2.2), for filters like W."""
    U = np.zeros(W.shape)
    for number, y_j in enumerate(y):
        for k, l in np.ndindex(*y_j.shape):
            cropped = K(x, *gamma(k, l, stride), *W.shape[1:])
            U[number] += inner(y_j, basis(y_j.shape, k, l)) * cropped
    return U


def K_adjoint(y, k, l, x):
    """K*_{k,l}(y) for images like x (lemma 4.2.1)."""
    return np.stack([Em(y, k, l, x.shape[1:]) for _ in x])


def by_one(y, W_j, x, stride=1):
    """(W _| c_j)* . y (theorem 4.2.3), for images like x."""
    z = np.zeros(x.shape)
    for k, l in np.ndindex(*y.shape):
        z += inner(y, basis(y.shape, k, l)) * K_adjoint(W_j, *gamma(k, l, stride), x)
    return z


def by_image(z, W, x, stride=1):
    """(W _| C)* . z = sum_j (W _| c_j)* . z_j (theorem 4.2.3)."""
    return sum(by_one(z_j, W_j, x, stride) for z_j, W_j in zip(z, W, strict=True))


def convolved(stride):
    """C(W, x), an argument of its space, and a point."""
    z = convolution(W, x, stride=stride)
    y = variable("y", z.space)
    return z, y, draw_all([z, y], {})


@strides
def test_4_15_to_4_17(stride):
    """The value, channel by channel."""
    z, _, at = convolved(stride)
    found = value(z, at)
    assert close(found, C(at[W], at[x], stride))
    assert close(found[1], c_j(at[W][1], at[x], stride))
    assert z.space == R(m2, *hats(at[W][0], at[x], stride))


@strides
def test_a_convolution_is_bilinear(stride):
    """C is in L(.., ..; ..): (C _| x) and (W _| C) are its derivatives."""
    z = convolution(W, x, stride=stride)
    U, v = variable("U", W.space), variable("v", x.space)
    assert tangent(z, {W: U}) is convolution(U, x, stride=stride)
    assert tangent(z, {x: v}) is convolution(W, v, stride=stride)


@strides
def test_theorem_4_2_2(stride):
    z, y, at = convolved(stride)
    assert close(value(transpose(z, y, (W,))[W], at), by_filters(at[y], at[W], at[x], stride))


@strides
def test_theorem_4_2_3_of_one_filter(stride):
    """(W _| c_j)* . y."""
    one = variable("W_j", R(1, p, q))
    z = convolution(one, x, stride=stride)
    y = variable("y", z.space)
    at = draw_all([z, y], {})
    found = value(transpose(z, y, (x,))[x], at)
    assert close(found, by_one(at[y][0], at[one][0], at[x], stride))


@strides
def test_theorem_4_2_3(stride):
    """(W _| C)* . z = sum_j (W _| c_j)* . z_j."""
    z, y, at = convolved(stride)
    assert close(value(transpose(z, y, (x,))[x], at), by_image(at[y], at[W], at[x], stride))


# --- max-pooling

r, n2, l2 = 2, 3, 2
y = variable("y", R(m2, r * n2, r * l2))
y_j = variable("y", R(r * n2, r * l2))


def maximum(z):
    """max(z) (4.20)."""
    return max(inner(z, basis(z.shape, k, l)) for k, l in np.ndindex(*z.shape))


def argmax(z):
    """(k*, l*) of lemma 4.2.4, the first where there are several."""
    return max(np.ndindex(*z.shape), key=lambda place: inner(z, basis(z.shape, *place)))


def phi(y_j):
    """phi(y_j) (4.19).

    kappa_{gamma(k,l,r)} is into R^{r x r}; below (4.19) its codomain is printed as R^{n_2 x l_2}.
    """
    shape = (y_j.shape[0] // r, y_j.shape[1] // r)
    z = np.zeros(shape)
    for k, l in np.ndindex(*shape):
        z += maximum(kappa(y_j, *gamma(k, l, r), r, r)) * basis(shape, k, l)
    return z


def gamma_prime(k, l, k_, l_):
    """gamma'(k, l, k', l', r) (4.23), from 0."""
    return k_ + k * r, l_ + l * r


def attained(y_j, k, l):
    """gamma'(k, l, k*, l*, r) with (k*, l*) of (4.25)."""
    entries = np.zeros((r, r))
    for k_, l_ in np.ndindex(r, r):
        entries[k_, l_] = inner(y_j, basis(y_j.shape, *gamma_prime(k, l, k_, l_)))
    return gamma_prime(k, l, *argmax(entries))


def D_phi(y_j, v_j):
    """D phi(y_j) . v_j (4.24)."""
    shape = (y_j.shape[0] // r, y_j.shape[1] // r)
    z = np.zeros(shape)
    for k, l in np.ndindex(*shape):
        z += inner(v_j, basis(v_j.shape, *attained(y_j, k, l))) * basis(shape, k, l)
    return z


def D_phi_adjoint(y_j, z_j):
    """D* phi(y_j) . z_j (4.26)."""
    x = np.zeros(y_j.shape)
    for k, l in np.ndindex(*z_j.shape):
        x += inner(z_j, basis(z_j.shape, k, l)) * basis(y_j.shape, *attained(y_j, k, l))
    return x


def Phi(y):
    """Phi(y) (4.18)."""
    return np.stack([phi(channel) for channel in y])


def D_Phi_adjoint(y, z):
    """D* Phi(y) . z (4.27)."""
    return np.stack([D_phi_adjoint(a, b) for a, b in zip(y, z, strict=True)])


def pooled(of):
    """Phi, its derivative D . v and its adjoint D* . z, with a point of all."""
    made = max_pool(of, (r, r))
    f = Layer.of("Phi", state={"y": of.space}, output=made)
    return made, f.D(), f.D().adjoint, draw_all([made, f.D().variable, f.D().adjoint.variable], {})


def test_4_18():
    made, *_, at = pooled(y)
    assert close(value(made, at), Phi(at[y]))


def test_4_19():
    made, *_, at = pooled(y_j)
    assert close(value(made, at), phi(at[y_j]))


def test_4_20():
    z = variable("z", R(r, r))
    at = draw_all([z], {})
    assert value(max_pool(z, (r, r)), at) == maximum(at[z])


@pytest.mark.parametrize("seed", range(4))
def test_lemma_4_2_4(seed):
    """D max(z) . v = <v, E_{k*,l*}> (4.21)."""
    z, v = variable("z", R(r, r)), variable("v", R(r, r))
    at = draw_all([z, v], {}, seed)
    (found,) = value(tangent(max_pool(z, (r, r)), {z: v}), at).ravel()
    assert found == inner(at[v], basis((r, r), *argmax(at[z])))


@pytest.mark.parametrize("ties", ["first", "average"])
def test_remark_4_2_5(ties):
    """One of the places, or the average of all of them; the value is the same.

    Which one is not drawn at random here: it is the first.
    """
    z, v = variable("z", R(r, r)), variable("v", R(r, r))
    at = {z: np.array([[1.0, 3.0], [3.0, 3.0]]), v: np.array([[8.0, 1.0], [2.0, 6.0]])}
    made = max_pool(z, (r, r), ties=ties)
    assert value(made, at).item() == 3
    expected = {"first": 1.0, "average": (1 + 2 + 6) / 3}
    assert value(tangent(made, {z: v}), at).item() == pytest.approx(expected[ties], rel=4 * EPS)


def test_lemma_4_2_6():
    """<kappa_{gamma(k,l,r)}(z), E_{k',l'}> = <z, E_{gamma'(k,l,k',l',r)}> (4.22), (4.23).

    k and l run over [n_2] and [l_2], not over [r] as printed.
    """
    at = draw_all([y_j], {})
    for k, l, k_, l_ in np.ndindex(n2, l2, r, r):
        left = value(crop(y_j, gamma(k, l, r), (r, r)), at)
        right = basis(at[y_j].shape, *gamma_prime(k, l, k_, l_))
        assert inner(left, basis((r, r), k_, l_)) == inner(at[y_j], right)


def test_theorem_4_2_7_the_derivative():
    """D phi(y_j) . v_j (4.24) at the places (4.25)."""
    _, D, _, at = pooled(y_j)
    assert close(value(D.body, at), D_phi(at[y_j], at[D.variable]))


def test_theorem_4_2_7_the_adjoint():
    """D* phi(y_j) . z_j (4.26)."""
    _, _, adjoint, at = pooled(y_j)
    assert close(value(adjoint.body, at), D_phi_adjoint(at[y_j], at[adjoint.variable]))


def test_theorem_4_2_7_of_all_channels():
    """D* Phi(y) . z (4.27)."""
    _, _, adjoint, at = pooled(y)
    assert close(value(adjoint.body, at), D_Phi_adjoint(at[y], at[adjoint.variable]))


# --- the layerwise function


def single():
    """f(x; W) = Phi(Psi(C(W, x))) of the library, with a point."""
    f = thesis_cnn_layer
    x, W = f.state[0], f.parameters[0]
    rng = np.random.default_rng(5)
    return f, {x: rng.normal(size=(m1, n1, l1 + 1)), W: rng.normal(size=(m2, p - 1, q))}


def test_4_28():
    f, at = single()
    x, W = at.values()
    assert close(value(f.output, at), Phi(np.tanh(C(W, x))))


def pulled(x, W, w):
    """D Psi(C(W, x)) . D* Phi(Psi(C(W, x))) . w."""
    z = C(W, x)
    return (1 - np.tanh(z) ** 2) * D_Phi_adjoint(np.tanh(z), w)


def pushed(x, W, moved):
    """D Phi(Psi(C(W, x))) . D Psi(C(W, x)) . moved."""
    z = C(W, x)
    return np.stack(
        [D_phi(np.tanh(a), (1 - np.tanh(a) ** 2) * b) for a, b in zip(z, moved, strict=True)]
    )


def at_direction(linear, at):
    """A direction of a map of f, and what the map makes of it."""
    numbers = {"c": m1, "n": 7, "l": 7, "o": m2, "p": 2, "q": q}
    sizes = {size: numbers[str(size)] for size in thesis_cnn_layer.sizes}
    v = draw(linear.domain, sizes, np.random.default_rng(6))
    return v, value(linear.body, {**at, linear.variable: v})


def test_4_30():
    """nabla_W f = D Phi . D Psi . (C _| x).

    The thesis prints (W _| C) here, which is a map of images, and (C _| x) in (4.31): in all of
    theorem 4.2.8 the two hooks are exchanged.  Algorithm 4.2.1 has them right.
    """
    f, at = single()
    x, W = at.values()
    U, found = at_direction(f.nabla(), at)
    assert close(found, pushed(x, W, C(U, x)))


def test_4_31():
    """D f = D Phi . D Psi . (W _| C); see `test_4_30`."""
    f, at = single()
    x, W = at.values()
    v, found = at_direction(f.D(), at)
    assert close(found, pushed(x, W, C(W, v)))


def test_4_32():
    """nabla*_W f = (C _| x)* . D Psi . D* Phi; see `test_4_30`."""
    f, at = single()
    x, W = at.values()
    w, found = at_direction(f.nabla().adjoint, at)
    assert close(found, by_filters(pulled(x, W, w), W, x))


def test_4_33():
    """D* f = (W _| C)* . D Psi . D* Phi; see `test_4_30`."""
    f, at = single()
    x, W = at.values()
    w, found = at_direction(f.D().adjoint, at)
    assert close(found, by_image(pulled(x, W, w), W, x))


def test_a_last_convolution_as_large_as_its_input_is_a_matrix():
    """With the thesis's filters on the sum of the channels; on vec(x) with one for each channel."""
    rng = np.random.default_rng(7)
    x, sums, each = (
        rng.normal(size=(3, 4, 5)),
        rng.normal(size=(2, 4, 5)),
        rng.normal(size=(2, 3, 4, 5)),
    )
    image = variable("x", R(3, 4, 5))
    for filters, expected in (
        (sums, sums.reshape(2, -1) @ x.sum(axis=0).ravel()),
        (each, each.reshape(2, -1) @ x.ravel()),
    ):
        W = variable("W", R(*filters.shape))
        found = value(convolution(W, image), {W: filters, image: x})
        assert found.shape == (2, 1, 1) and close(found.ravel(), expected)


# --- several layers


@layer
def first(x: R(m1, 9, 7), *, W: R(4, 2, 2)) -> R(4, 4, 3):
    """Phi(Psi(C(W, x)))."""
    return max_pool(tanh(convolution(W, x)), 2)


@layer
def middle(x: R(4, 4, 3), *, W: R(3, 1, 2)) -> R(3, 2, 1):
    """The same with another Psi."""
    return max_pool(sigmoid(convolution(W, x)), 2)


@layer
def last(x: R(3, 2, 1), *, W: R(5, 2, 1)) -> R(5):
    """Fully connected: the filter is as large as the image, Phi and Psi are identities."""
    return vec(convolution(W, x))


cnn = network("cnn", first=first, middle=middle, last=last)
L = 3


def logistic(t):
    return 1 / (1 + np.exp(-t))


PSI = {
    1: (np.tanh, lambda t: 1 - np.tanh(t) ** 2),
    2: (logistic, lambda t: logistic(t) * (1 - logistic(t))),
    3: (lambda t: t, np.ones_like),
}
PHI = {1: (Phi, D_Phi_adjoint), 2: (Phi, D_Phi_adjoint), 3: (lambda t: t, lambda _, z: z)}


def test_4_29():
    """f_i, and F as their composition."""
    theta = parameters()
    at = np.random.default_rng(7).normal(size=(m1, 9, 7))
    x, W = at, {k: theta[f"{name}_W"] for k, name in enumerate(["first", "middle", "last"], 1)}
    for k in range(1, L + 1):
        x = PHI[k][0](PSI[k][0](C(W[k], x)))
    found = value(cnn.output, {a.variable: {"x": at, **theta}[a.name] for a in cnn.arguments})
    assert close(found, x.ravel())


def parameters():
    rng = np.random.default_rng(8)
    shapes = {"first_W": (4, 2, 2), "middle_W": (3, 1, 2), "last_W": (5, 2, 1)}
    return {name: rng.normal(size=shape) for name, shape in shapes.items()}


def test_the_last_layer_is_fully_connected():
    """n_L = p_L and l_L = q_L: a matrix on the sum of the channels, which the filters meet."""
    x, W = last.state[0], last.parameters[0]
    at = draw_all([x, W], {})
    matrix, summed = at[W].reshape(5, 2), at[x].sum(axis=0).ravel()
    assert close(value(last.output, at), matrix @ summed)
    w = variable("w", R(5))
    at[w] = np.random.default_rng(9).normal(size=5)
    by_W, by_x = (value(transpose(last.output, w, (v,))[v], at) for v in (W, x))
    assert close(by_W.reshape(5, 2), np.outer(at[w], summed))
    assert close(by_x, np.stack([(matrix.T @ at[w]).reshape(2, 1)] * 3))


def grad_desc_cnn(x, y, W, kind, eta):
    """Algorithm 4.2.1, its 18 lines; also returns the gradients."""
    W, x_, z, e, old, grad = dict(W), {1: x}, {}, {}, {}, {}  # 2
    for k in range(1, L + 1):  # 3
        z[k] = PSI[k][0](C(W[k], x_[k]))  # 4
        x_[k + 1] = PHI[k][0](z[k])  # 5
    for k in range(L, 0, -1):  # 6
        old[k] = W[k]  # 7
        if k == L and kind == "regression":  # 8
            e[L] = x_[L + 1] - y.reshape(5, 1, 1)  # 9
        elif k == L and kind == "classification":  # 10
            e[L] = softmax(x_[L + 1].ravel()).reshape(5, 1, 1) - y.reshape(5, 1, 1)  # 11
        else:  # 12
            above = PHI[k + 1][1](z[k + 1], e[k + 1])
            slope = PSI[k + 1][1](C(old[k + 1], x_[k + 1]))
            e[k] = by_image(slope * above, old[k + 1], x_[k + 1])  # 13, 14
        slope = PSI[k][1](C(W[k], x_[k]))
        grad[k] = by_filters(slope * PHI[k][1](z[k], e[k]), W[k], x_[k])  # 15, 16
        W[k] = W[k] - eta * grad[k]  # 17
    return W, grad  # 18


@pytest.mark.parametrize("kind", ["regression", "classification"])
def test_algorithm_4_2_1(kind):
    """The generic Algorithm 3.2.1 on this network is it, and its gradient that of the loss."""
    theta, rng = parameters(), np.random.default_rng(10)
    x, y = rng.normal(size=(m1, 9, 7)), rng.normal(size=5)
    y = y if kind == "regression" else softmax(y)
    names = dict(enumerate(theta, 1))
    W, grad = grad_desc_cnn(x, y, {k: theta[name] for k, name in names.items()}, kind, 0.5)
    found = cnn.flat(gradient_descent(cnn, x, y, cnn.tree(theta), kind, 0.5))
    by_generic = cnn.flat(gradient(cnn, x, y, cnn.tree(theta), kind))
    for k, name in names.items():
        assert close(found[name], W[k]) and close(by_generic[name], grad[k])
