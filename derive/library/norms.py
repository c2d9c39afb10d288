"""Layers without a matrix: norms, means and products, composed from forms."""

from derive import (
    Hom,
    Mask,
    R,
    broadcast,
    dims,
    fixed,
    inner,
    layer,
    mean,
    norm,
    per_channel,
    scale,
    sigmoid,
    sqrt,
)

n, m, k, c, l = dims("n m k c l")  # noqa: E741 -- the thesis's letters
X, H, images = R(n), R(m), R(c, n, l)


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


@layer
def batch_norm(
    x: images, *, gamma: R(c), beta: R(c), mu: fixed(R(c)), sigma2: fixed(R(c))
) -> images:
    """gamma (x - mu) / sqrt(sigma2 + 1e-5) + beta in each channel, as in evaluation (Ioffe 2015).

    mu and sigma2 are the running mean and variance, which training keeps and no gradient changes.
    """
    a = gamma / sqrt(sigma2 + 1e-5)
    return per_channel(a, images) * (x - per_channel(mu, images)) + per_channel(beta, images)


@layer
def dropout(x: X, mask: Mask(X), *, keep: fixed(R())) -> X:
    """mask (.) x / keep for a given mask, whose entries are 1 with probability `keep`."""
    return scale(1 / keep, mask * x)
