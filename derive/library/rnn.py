"""Recurrent cells (thesis chapter 5): f(h; x; theta), and what a prediction g(h; zeta) is made of.

W stands before the hidden state and U before the input, as in the thesis (5.23).
"""

from derive import Hom, R, cell, dims, layer, scale, sigmoid, stack, tanh

n, m, k = dims("n m k")
H, X, Y = R(n), R(m), R(k)


@cell
def vanilla_rnn(h: H, x: X, *, W: Hom(H, H), U: Hom(X, H), b: H) -> H:
    """The vanilla RNN (thesis (5.23)) with Psi = tanh."""
    z = W @ h + U @ x + b
    return tanh(z)


@cell
def leaky_rnn(h: H, x: X, *, W: Hom(H, H), U: Hom(X, H), b: H, alpha: R()) -> H:
    """A leaky integrator with a learned rate: (1 - alpha) h + alpha tanh(W h + U x + b)."""
    z = W @ h + U @ x + b
    return scale(1 - alpha, h) + scale(alpha, tanh(z))


@cell
def independent_rnn(h: H, x: X, *, w: H, U: Hom(X, H), b: H) -> H:
    """Every unit sees its own past alone: tanh(w (.) h + U x + b) (Li et al. 2018)."""
    z = w * h + U @ x + b
    return tanh(z)


@cell
def rotation_rnn(s: H * H, x: X, *, a: H, b: H, U: Hom(X, H * H)) -> H * H:
    """Units in pairs, each turned and scaled by its own 2x2 block [[a, -b], [b, a]]."""
    p, q = s
    u, v = U @ x
    return tanh(a * p - b * q + u), tanh(b * p + a * q + v)


@cell
def lstm(s: H * H, x: X, *, W: Hom(H, H**4), U: Hom(X, H**4), b: H**4) -> H * H:
    """Long short-term memory (Hochreiter, Schmidhuber 1997; with forget gate, Gers et al. 2000)."""
    h, c = s
    i, f, g, o = W @ h + U @ x + b
    c_next = sigmoid(f) * c + sigmoid(i) * tanh(g)
    return sigmoid(o) * tanh(c_next), c_next


@cell
def peephole_lstm(s: H * H, x: X, *, W: Hom(H, H**4), U: Hom(X, H**4), b: H**4, p: H**3) -> H * H:
    """An LSTM whose gates see the memory through diagonal peepholes (Gers et al. 2002)."""
    h, c = s
    i, f, g, o = W @ h + U @ x + b
    p_i, p_f, p_o = p
    c_next = sigmoid(f + p_f * c) * c + sigmoid(i + p_i * c) * tanh(g)
    return sigmoid(o + p_o * c_next) * tanh(c_next), c_next


@cell
def gru(h: H, x: X, *, W: Hom(H, H**3), U: Hom(X, H**3), b: H**3, c: H) -> H:
    """A gated recurrent unit, the reset behind the product: n = tanh(r (.) (W_n h + c) + ..)."""
    w_r, w_z, w_n = W @ h
    u_r, u_z, u_n = U @ x + b
    r = sigmoid(w_r + u_r)
    z = sigmoid(w_z + u_z)
    candidate = tanh(r * (w_n + c) + u_n)
    return (1 - z) * candidate + z * h


@cell
def gru_reset_before(h: H, x: X, *, W: Hom(H, H**2), U: Hom(X, H**3), b: H**3, V: Hom(H, H)) -> H:
    """A gated recurrent unit, the reset before the product: V (r (.) h) (Cho et al. 2014)."""
    w_r, w_z = W @ h
    u_r, u_z, u_n = U @ x + b
    r = sigmoid(w_r + u_r)
    z = sigmoid(w_z + u_z)
    candidate = tanh(V @ (r * h) + u_n)
    return (1 - z) * candidate + z * h


deep_rnn = stack("deep_rnn", lower=vanilla_rnn, upper=vanilla_rnn)


@layer
def readout(h: H, *, V: Hom(H, Y), c: Y) -> Y:
    """The prediction of a vanilla RNN (thesis (5.24)): V h + c."""
    return V @ h + c


@layer
def readout_of_pair(s: H * H, *, V: Hom(H, Y), c: Y) -> Y:
    """A prediction from the first of two states: V h + c."""
    h, _ = s
    return V @ h + c


@layer
def readout_of_both(h: H, g: X, *, V: Hom(H, Y), U: Hom(X, Y), c: Y) -> Y:
    """A prediction from the states of two directions of time (thesis 5.3.2): V h + U g + c."""
    return V @ h + U @ g + c


@layer
def readout_of_pairs(s: H * H, t: X * X, *, V: Hom(H, Y), U: Hom(X, Y), c: Y) -> Y:
    """A prediction from the first of two states in each direction of time: V h + U g + c."""
    h, _ = s
    g, _ = t
    return V @ h + U @ g + c
