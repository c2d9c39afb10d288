"""Formulas that between them use every node and every kind of access; sizes are all unequal."""

import sympy

from derive import (
    Gram,
    Hom,
    Index,
    R,
    broadcast,
    dims,
    entry,
    exp,
    form,
    gelu,
    indices,
    inner,
    largest,
    log,
    log_softmax,
    log_sum_exp,
    mean,
    norm,
    outer,
    relu,
    scale,
    sigmoid,
    softmax,
    softplus,
    sqrt,
    tanh,
    total_sum,
    variable,
)
from derive.language.expressions import argmax, contraction, held, tuple_of
from derive.language.forms import make_form
from derive.language.spaces import Indices

n, m, k, r = dims("n m k r")
SIZES = {n: 3, m: 4, k: 5, r: 2}
X, H, Y = R(m), R(n), R(k)
x, x2, h, b = variable("x", X), variable("x2", X), variable("h", H), variable("b", H)
W, A, B = variable("W", Hom(X, H)), variable("A", Hom(X, H)), variable("B", Hom(X, Hom(H, Y)))
i, j, o, c, s, t = indices("i j o c s t")


def lstm():
    """One step of an LSTM on H**4 and H * H."""
    state, W4, U4 = variable("s", H * H), variable("W", Hom(X, H**4)), variable("U", Hom(H, H**4))
    hidden, memory = state
    gate_i, gate_f, gate_o, new = W4 @ x + U4 @ hidden + variable("b", H**4)
    memory = sigmoid(gate_f) * memory + sigmoid(gate_i) * tanh(new)
    return tuple_of((sigmoid(gate_o) * tanh(memory), memory))


def convolution(stride: int, pad: int):
    """Two input channels into three; reads beyond the border are zero."""
    image, kernel = variable("x", R(r, 6, 5)), variable("K", R(n, r, 3, 2))
    rows, columns = (6 + 2 * pad - 3) // stride + 1, (5 + 2 * pad - 2) // stride + 1
    convolve = form(
        "C",
        K=(o, c, s, t),
        x=(c, stride * i + s - pad, stride * j + t - pad),
        to=(o, i, j),
        ranges={i: rows, j: columns},
    )
    return tanh(convolve(kernel, image))


def pooling():
    """The largest of every three neighbours at stride two, beyond the border none."""
    z, window = tanh(W @ x), 2 * i + s - 1
    picked = argmax(make_form([(window,), (i,)], {i: r, s: 3}), Indices(sympy.Integer(3), (r,)), z)
    read = make_form([(window,), (i,)], {i: r, s: 3}, [(s, (i,))])
    return contraction(R(r), read, 1, (z,), (picked,))


def embedding():
    """The rows of a table at five class indices."""
    rows = make_form([(j, i), (t, i)], {j: m, i: n, t: k}, [(j, (t,))])
    return contraction(
        R(k, n), rows, 1, (tanh(variable("E", R(m, n))),), (variable("c", Index(m, k)),)
    )


def backwards():
    """x reversed, beside x one place on."""
    flip = form("flip", x=(m - 1 - i,), to=(i,), ranges={i: m})
    shift = form("shift", x=(i + 1,), to=(i,), ranges={i: m})
    return exp(flip(x)) * shift(x)


def in_gram_spaces():
    """Vectors with their own inner products."""
    E, F = R(m, gram=Gram("G1")), R(n, gram=Gram("G2"))
    z = tanh(variable("W", Hom(E, F)) @ variable("x", E))
    return scale(inner(z, z), z)


ANALYTIC = {
    "dense": tanh(W @ x + b),
    "gated": (A @ x) * sigmoid(W @ x + b),
    "softmax": softmax(W @ x + b),
    "log softmax": log_softmax(h * h),
    "log sum exp": log_sum_exp(tanh(x)) * log_sum_exp(x2),
    "bilinear": (B @ x) @ tanh(h),
    "outer": outer(h, x) * W,
    "norms": scale(norm(x) / (1 + inner(x2, x2)), x2),
    "standardised": (x - broadcast(mean(x), X)) / broadcast(sqrt(mean(x * x) + 0.5), X),
    "quotient and powers": x / softplus(x2) ** sympy.Rational(3, 2) - 2 * log(1 + x * x),
    "gelu": gelu(x),
    "entry": entry(tanh(x), variable("c", Index(m))),
    "trace": form("trace", A=(i, i), to=())(exp(variable("S", R(m, m)))),
    "nothing read": form("all", x=(i,), to=(j,), ranges={j: n})(tanh(x)),
    "lstm": lstm(),
    "convolution": convolution(1, 0),
    "padded convolution": convolution(2, 1),
    "embedding": embedding(),
    "backwards": backwards(),
    "gram": in_gram_spaces(),
    "pair": tuple_of((h * h, scale(total_sum(h), x))),
}
KINKED = {"relu": relu(W @ x + b) - 2 * relu(-h), "pooling": pooling(), "largest": largest(W @ x)}
FORMULAS = ANALYTIC | KINKED
HELD = x * held(tanh(x))
