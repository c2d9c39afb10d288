"""Layers without a matrix: norms, means and products, composed from forms."""

from derive import Hom, R, broadcast, dims, inner, layer, mean, norm, scale, sigmoid, sqrt

n, m, k = dims("n m k")
X, H = R(n), R(m)


@layer
def normalise(x: X, *, alpha: R()) -> X:
    """alpha x / |x|: a direction with a learned length."""
    return scale(alpha / norm(x), x)


@layer
def layer_norm(x: X, *, gamma: X, beta: X) -> X:
    """gamma (.) (x - mean) / sqrt(variance + 1e-5) + beta (Ba, Kiros, Hinton 2016)."""
    centred = x - broadcast(mean(x), X)
    spread = sqrt(mean(centred * centred) + 1e-5)
    return gamma * scale(1 / spread, centred) + beta


@layer
def gated(x: X, *, A: Hom(X, H), B: Hom(X, H), c: H) -> H:
    """A gated linear unit: A x (.) sigmoid(B x + c) (Dauphin et al. 2017)."""
    a = A @ x
    z = B @ x + c
    return a * sigmoid(z)


@layer
def bilinear(x: X, y: H, *, W: Hom(X, Hom(H, R(k)))) -> R(k):
    """A bilinear layer: (W x) y."""
    return (W @ x) @ y


@layer
def cosine(x: X, y: X) -> R():
    """The cosine of the angle between two vectors."""
    return inner(x, y) / (norm(x) * norm(y))


@layer
def rms_norm(x: X, *, gamma: X) -> X:
    """gamma (.) x / sqrt(mean square + 1e-5): a layer norm without the mean (Zhang 2019)."""
    spread = sqrt(mean(x * x) + 1e-5)
    return gamma * scale(1 / spread, x)
