"""Layers of images R(c, n, l), channels in front, and of signals R(c, n) (thesis section 4.2)."""

from derive import (
    R,
    average_pool,
    convolution,
    dims,
    layer,
    max_pool,
    per_channel,
    relu,
    tanh,
    transposed_convolution,
    vec,
)

o, c, n, l, p, q = dims("o c n l p q")  # noqa: E741 -- the thesis's letters
X, Y = R(c, n, l), R(o, n, l)


@layer
def thesis_cnn_layer(x: X, *, W: R(o, p, q)) -> R(o, (n - p + 1) // 2, (l - q + 1) // 2):
    """Phi(Psi(C(W, x))) (thesis (4.28)): filters meet the sum of the channels, 2 x 2 pools."""
    z = convolution(W, x)
    a = tanh(z)
    return max_pool(a, 2)


@layer
def convolutional(x: X, *, W: R(o, c, 3, 3), b: R(o)) -> Y:
    """A filter of 3 x 3 for every input channel, a bias, relu; the image keeps its size."""
    z = convolution(W, x, padding=1) + per_channel(b, Y)
    return relu(z)


@layer
def convolutional_pooled(x: X, *, W: R(o, c, 3, 3), b: R(o)) -> R(o, n // 2, l // 2):
    """The same with the largest of every 2 x 2 places; relu is monotone and comes after it."""
    z = convolution(W, x, padding=1) + per_channel(b, Y)
    return relu(max_pool(z, 2))


@layer
def depthwise(x: X, *, W: R(c, 1, 3, 3)) -> R(c, (n + 1) // 2, (l + 1) // 2):
    """Each channel with a filter of its own, at every second place (Howard et al. 2017)."""
    return convolution(W, x, stride=2, padding=1, groups=c)


@layer
def dilated(x: R(c, n), *, W: R(o, c, 3), b: R(o)) -> R(o, n):
    """A signal with filters whose taps are two places apart (van den Oord et al. 2016)."""
    z = convolution(W, x, padding=2, dilation=2) + per_channel(b, R(o, n))
    return tanh(z)


@layer
def upsampling(x: X, *, W: R(c, o, 2, 2)) -> R(o, 2 * n, 2 * l):
    """The adjoint of a convolution of stride 2: an image of twice the size."""
    return transposed_convolution(W, x, stride=2)


@layer
def max_pooling(x: X) -> R(c, n // 2, l // 2):
    """The largest of every 2 x 2 places (thesis (4.18))."""
    return max_pool(x, 2)


@layer
def overlapping_max_pooling(x: X) -> R(c, (n + 1) // 2, (l + 1) // 2):
    """The largest of 3 x 3 places at every second one; a tie is averaged (remark 4.2.5)."""
    return max_pool(x, 3, stride=2, padding=1, ties="average")


@layer
def average_pooling(x: X) -> R(c, n // 2, l // 2):
    """The mean of every 2 x 2 places."""
    return average_pool(x, 2)


@layer
def flattening(x: X) -> R(c * n * l):
    """vec(x): what stands between convolutions and a dense layer."""
    return vec(x)
