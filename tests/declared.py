"""Layers that are in no library: between them every kind of space, access, role and name."""

import sympy

from derive import (
    Hom,
    Index,
    Mask,
    R,
    broadcast,
    crop,
    dims,
    elementwise_function,
    entry,
    exp,
    fixed,
    form,
    given,
    indices,
    inner,
    layer,
    log_sum_exp,
    mean,
    norm,
    outer,
    scale,
    sigmoid,
    softmax,
    softplus,
    sqrt,
    tanh,
    total_sum,
)
from derive.language.expressions import argmax, contraction
from derive.language.forms import make_form

n, m, k, p = dims("n m k p")
H, X, Y = R(n), R(m), R(k)
i, j, o, c, s, t = indices("i j o c s t")


@layer
def gate(x: X, *, A: Hom(X, H), B: Hom(X, H), c: H) -> H:
    """softplus(A x) (.) sigmoid(B x + c)."""
    return softplus(A @ x) * sigmoid(B @ x + c)


# --- direct products, as states, parameters and outputs


@layer
def lstm_step(s: H * H, x: X, *, W: Hom(X, H**4), U: Hom(H, H**4), b: H**4) -> H * H:
    """One step of a cell with two states."""
    h, c = s
    i, f, o, g = W @ x + U @ h + b
    c_next = sigmoid(f) * c + sigmoid(i) * tanh(g)
    return sigmoid(o) * tanh(c_next), c_next


@layer
def blocks(s: H * X, *, W: Hom(H * X, Y), V: Hom(Y, H * X)) -> H * X:
    """A map into and out of a direct product."""
    z = tanh(W @ s)
    return V @ z


@layer
def shuffled(s: H * X) -> X * H * X * X:
    """Components exchanged, one value two times over, and what only one component is read for."""
    h, c = s
    z = tanh(c)
    return c, h, z, z


@layer
def one_of_two(s: H * X, *, b: X) -> X:
    """One component only."""
    return s[1] * b


# --- given arrays, class indices, masks


def _rows(table, classes):
    """The rows of a table at some class indices."""
    read = make_form([(j, i), (t, i)], {j: m, i: n, t: p}, [(j, (t,))])
    return contraction(R(p, n), read, 1, (table,), (classes,))


@layer
def embedding(k: Index(m, p), *, E: R(m, n)) -> R(p, n):
    """The rows of a table at p class indices; a row may be asked for twice."""
    return tanh(_rows(E, k))


@layer
def masked(x: X, mask: Mask(X), g: given(X), *, alpha: R()) -> X:
    """Where the mask is 1, the state, scaled; else what is given."""
    return scale(alpha, mask * x * x) + (1 - mask) * g


@layer
def margin(x: X, k: Index(m), other: Index(m)) -> R():
    """How much larger one entry is than another."""
    return softplus(entry(x, other) - entry(x, k))


@layer
def pooling(x: R(6), *, W: Hom(R(6), R(6))) -> R(3):
    """The largest of every three neighbours at stride two, beyond the border none."""
    z, window = tanh(W @ x), 2 * i + s - 1
    largest = argmax(make_form([(window,), (i,)], {i: 3, s: 3}), Index(3, 3), z)
    read = make_form([(window,), (i,)], {i: 3, s: 3}, [(s, (i,))])
    return contraction(R(3), read, 1, (z,), (largest,))


# --- what all points of a batch share and nothing is derived by


@layer
def evaluated(x: X, *, gamma: X, mu: fixed(X), beta: X, sigma: fixed(X)) -> X:
    """A batch norm in the form of evaluation: what is fixed stands between the parameters."""
    return gamma * (x - mu) / sqrt(sigma * sigma + 1) + beta


@layer
def permuted(x: X, *, order: fixed(Index(m, m)), W: Hom(X, H), offset: fixed(H * X)) -> H:
    """Entries at class indices that are fixed, some of them twice, and a direct product."""
    b, d = offset
    read = make_form([(j,), (t,)], {j: m, t: m}, [(j, (t,))])
    moved = contraction(X, read, 1, (x,), (order,))
    return tanh(W @ (moved * d) + b)


# --- several states, no parameters, nothing read, scalars, numbers for sizes


@layer
def three(x: X, h: H, q: R(), *, B: Hom(X, Hom(H, Y)), alpha: R()) -> Y:
    """Three states and a scalar parameter."""
    z = (B @ x) @ h
    return scale(q * alpha, z * z) + broadcast(inner(h, h), Y)


@layer
def identity(x: X) -> X:
    """The state itself."""
    return x


@layer
def constants(x: X, *, b: H) -> X * H:
    """The same numbers whatever the arguments are."""
    return 0 * x + 3, 0 * b


@layer
def unused(x: X, *, b: H) -> H:
    """The state is not read."""
    return tanh(b)


@layer
def bias(*, b: H) -> H:
    """No state at all."""
    return exp(b) + b


@layer
def softsign(x: X) -> X:
    """No parameters."""
    return x / sqrt(1 + x * x)


@layer
def scalar(x: R(), *, w: R()) -> R():
    """A scalar state."""
    z = w * x
    return tanh(z) * x


# --- accesses: several axes, diagonals, both operands one array, rows and columns


@layer
def tensors(x: R(2, n), *, W: Hom(R(2, n), R(m, k)), b: R(m, k)) -> R(m, k):
    """A linear map between arrays of two axes."""
    return tanh(W @ x + b)


@layer
def attention(x: R(p, m), *, Q: Hom(X, H), K: Hom(X, H)) -> R(p, m):
    """Products of families, transposed and not: scores between all pairs of rows."""
    apply = form("apply", A=(i, j), x=(t, j), to=(t, i))
    pairs = form("pairs", q=(s, i), k=(t, i), to=(s, t))
    weigh = form("weigh", a=(s, t), x=(t, j), to=(s, j))
    scores = pairs(apply(Q, x), apply(K, x))
    return weigh(exp(scores / 4), x)


@layer
def squares(x: X, *, S: Hom(X, X)) -> R():
    """One array in both slots, a diagonal, a transpose."""
    diagonal = form("diagonal", A=(i, i), to=(i,))
    transpose = form("transpose", A=(i, j), to=(j, i))
    return inner(x, (S @ x) + transpose(S) @ x) + inner(diagonal(S), x) + total_sum(outer(x, x))


@layer
def reversal(x: X) -> X:
    """Entries from the other end, and the next one's."""
    flip = form("flip", x=(m - 1 - i,), to=(i,), ranges={i: m})
    shift = form("shift", x=(i + 1,), to=(i,), ranges={i: m})
    return exp(flip(x)) * shift(x) + flip(tanh(x))


# --- convolutions: sums at an offset, strides, padding, derived sizes


@layer
def conv1d(x: R(m), *, K: R(n, 2), b: R(n)) -> R(n, m - 1):
    """n channels of one signal, no padding; the size of the result is derived."""
    convolve = form("C", K=(o, s), x=(i + s,), to=(o, i), ranges={i: m - 1})
    spread = form("spread", b=(o,), to=(o, i), ranges={i: m - 1})
    return tanh(convolve(K, x) + spread(b))


@layer
def conv1d_strided(x: R(2 * m), *, K: R(3)) -> R(m):
    """Every second place, one place of padding."""
    convolve = form("C", K=(s,), x=(2 * i + s - 1,), to=(i,), ranges={i: m})
    z = convolve(K, x)
    return z * z


@layer
def conv2d(x: R(k, 2 * n, 2 * m), *, K: R(p, k, 3, 3), b: R(p)) -> R(p, n, m):
    """Images in k channels to images in p, stride two, padding one."""
    convolve = form(
        "C",
        K=(o, c, s, t),
        x=(c, 2 * i + s - 1, 2 * j + t - 1),
        to=(o, i, j),
        ranges={i: n, j: m},
    )
    spread = form("spread", b=(o,), to=(o, i, j), ranges={i: n, j: m})
    z = convolve(K, x) + spread(b)
    return tanh(z)


@layer
def conv2d_of_value(x: R(3, 4), *, K: R(2, 2)) -> R(3, 4):
    """A convolution of something computed, padded on one side."""
    convolve = form("C", K=(s, t), x=(i + s - 1, j + t - 1), to=(i, j), ranges={i: 3, j: 4})
    return tanh(convolve(K, tanh(x)))


# --- names: each is a word that kernels use too

apply_sigmoid = sigmoid
wiggle = elementwise_function("wiggle", lambda t, e: sympy.sin(t) * sympy.exp(-(e**2)))


@layer
def letters(i: X, s: X, t: H, r: R(), *, total: Hom(X, H), y: H, J: R(), largest: H) -> H:
    """Arguments called like a kernel's own variables."""
    k = total @ (i * s)
    θ = k + y
    saved_z = wiggle(θ, t)
    return scale(r * J, saved_z) + softmax(largest * θ)


@layer
def words(biggest: X, sigmoid: X, *, tanh_d1: X, Kernel: X, forward_: X, softplus_d1: X) -> R():
    """Arguments called like functions and like names of the module."""
    tanh_d2 = tanh(biggest * tanh_d1) + softplus(softplus_d1)
    saved = tanh_d2 * sigmoid
    workspace = inner(Kernel, biggest)
    return workspace + inner(apply_sigmoid(saved), forward_)


@layer
def letters_of_results(y: X, f: X, value: X, *, J: X, loss: X, mean: X) -> R():
    """Arguments called like results."""
    return inner(tanh(y * f * value), J * loss * mean)


# --- sums in one buffer, numbers that are no fractions, matrices of something rearranged


@layer
def rearranged(x: X, *, W: Hom(X, H), V: Hom(X, H)) -> H:
    """Matrix products with what is reversed, shifted and transposed."""
    flip = form("flip", x=(m - 1 - i,), to=(i,), ranges={i: m})
    shift = form("shift", x=(i + 1,), to=(i,), ranges={i: m})
    turned = form("turned", A=(n - 1 - i, j), to=(i, j), ranges={i: n})
    z = V @ flip(tanh(x))
    return W @ flip(x) + turned(V) @ shift(x) + z * z


@layer
def scaled(x: X, *, W: Hom(X, H)) -> H:
    """Roots of sizes, and a number that is irrational."""
    return (W @ x) / sympy.sqrt(m) + sympy.sqrt(2) * tanh(W @ x) * n - sympy.pi


# --- zeros and ones within, forms that read nothing or a part of an axis, parameters alone

eye = form("eye", to=(i, i), ranges={i: n})
head = form("head", x=(i,), to=(i,), ranges={i: 3})
beyond = form("beyond", x=(i,), to=(i,), ranges={i: n + 2})
first = form("first", x=(i,), y=(i,), to=(), ranges={i: 3})
comb = form("comb", x=(i,), y=(i,), to=(2 * i,), ranges={i: n + 1}, shape=(4 * n,))


@layer
def zeros_within(x: H, *, c: H) -> H * H * H * R():
    """Zeros where a factor, an exponent, a logarithm, a divisor or a held value would be."""
    z = x * exp(0 * x)
    q = scale(norm(x), c / exp(c - c)) + (0 * x) / c
    return z * c, softmax(x - x) + x, q, log_sum_exp(0 * c) * inner(x, c)


@layer
def parts_of_axes(
    x: R(7), k: Index(n), z: R(2 * n), *, A: Hom(H, H), v: R(3)
) -> R(3) * H * R(n + 2):
    """The identity, a one-hot, the first entries of an axis, zeros beyond it."""
    g = (A + eye()) @ crop(tanh(z), 0, n) + entry(eye(), k)
    e = scale(first(x, x), sigmoid(g))
    return head(tanh(x)) * v, e, beyond(g) + crop(comb(e, tanh(z)), n - 1, n + 2)


@layer
def decay(*, W: Hom(X, H)) -> R():
    """Of parameters alone; what is returned has a name, and a number in front."""
    z = 0.5 * inner(W, W)
    return z


@layer
def mean_weight(x: X, *, W: Hom(X, H)) -> R():
    """A number of sizes in front of what no point of the batch is in."""
    r = mean(W)
    return r


@layer
def sliced(q: R(6), r: R(3, n), *, w: R(3)) -> R(2):
    """Slices with a step, backwards, from the end, and as a map."""
    a, b = q[1:5:2], q[:-3:-1]
    return tanh(a * b + w[-2:]) * (r[1:] @ r[0])


LAYERS = {
    declared.name: declared
    for declared in (
        *(gate, lstm_step, blocks, shuffled, one_of_two, embedding, masked, margin, pooling),
        *(evaluated, permuted),
        *(three, identity, constants, unused, bias, softsign, scalar, tensors, attention, squares),
        *(reversal, conv1d, conv1d_strided, conv2d, conv2d_of_value, letters, words),
        *(letters_of_results, rearranged, scaled, sliced),
        *(zeros_within, parts_of_axes, decay, mean_weight),
    )
}
