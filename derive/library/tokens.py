"""Layers of rows: a table looked up at class indices, softmax, attention over a short axis."""

import sympy

from derive import Hom, Index, R, dims, entry, form, indices, layer, softmax

n, m, t, v = dims("n m t v")
X, H = R(m), R(n)
i, j, s, r = indices("i j s r")


@layer
def embedding_lookup(k: Index(v, t), *, E: R(v, m)) -> R(t, m):
    """The rows of a table at t class indices; a row may be asked for twice."""
    return entry(E, k)


@layer
def softmax_layer(x: X) -> X:
    """sigma(x), the softmax of thesis (2.15), as a layer of its own."""
    return softmax(x)


@layer
def self_attention(x: R(t, m), *, Q: Hom(X, H), K: Hom(X, H), V: Hom(X, X)) -> R(t, m):
    """softmax(q k* / sqrt(n)) v over a short axis of t rows (Vaswani et al. 2017)."""
    apply = form("apply", A=(i, j), x=(s, j), to=(s, i))
    pairs = form("pairs", q=(s, i), k=(r, i), to=(s, r))
    weigh = form("weigh", a=(s, r), v=(r, j), to=(s, j))
    a = softmax(pairs(apply(Q, x), apply(K, x)) / sympy.sqrt(n))
    return weigh(a, apply(V, x))
