"""Losses of one point (thesis section 3.2): squared, and cross-entropy by kind of target."""

from derive import Index, R, dims, expectation, given, inner, layer, log_softmax, log_softmax_entry

n = dims("n")
Y = R(n)


@layer
def squared_loss(x: Y, y: given(Y)) -> R():
    """J_R = 1/2 |x - y|^2 (thesis (3.6))."""
    e = x - y
    return inner(e, e) / 2


@layer
def cross_entropy(x: Y, y: given(Y)) -> R():
    """J_C = -<y, Log(softmax(x))> (thesis (3.9)); y is one-hot or any distribution.

    What the target gives no weight is left out: a logit of -inf there makes no NaN.
    """
    return -expectation(y, log_softmax(x))


@layer
def cross_entropy_index(x: Y, k: Index(n)) -> R():
    """J_C for a target that is a class index k: -Log(softmax(x))_k, no digits lost to a large x."""
    return -log_softmax_entry(x, k)
