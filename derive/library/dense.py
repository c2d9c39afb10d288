"""Fully connected layers (thesis section 4.1): Psi(W x + b) for the nonlinearities of table 4.1."""

from derive import (
    Hom,
    R,
    dims,
    elu,
    gelu,
    layer,
    leaky_relu,
    relu,
    sigmoid,
    softmax,
    softplus,
    tanh,
)

n, m = dims("n m")
H, X = R(n), R(m)


@layer
def affine(x: X, *, W: Hom(X, H), b: H) -> H:
    """An affine map, the last layer of a network for regression or classification."""
    return W @ x + b


@layer
def dense(x: X, *, W: Hom(X, H), b: H) -> H:
    """One layer of a multilayer perceptron (thesis (4.1)) with Psi = tanh."""
    z = W @ x + b
    return tanh(z)


@layer
def dense_sigmoid(x: X, *, W: Hom(X, H), b: H) -> H:
    """One layer of a multilayer perceptron with the logistic sigmoid."""
    z = W @ x + b
    return sigmoid(z)


@layer
def dense_relu(x: X, *, W: Hom(X, H), b: H) -> H:
    """One layer of a multilayer perceptron with the rectifier; its derivative at 0 is 0."""
    z = W @ x + b
    return relu(z)


@layer
def dense_leaky_relu(x: X, *, W: Hom(X, H), b: H) -> H:
    """One layer of a multilayer perceptron with the leaky rectifier."""
    z = W @ x + b
    return leaky_relu(z)


@layer
def dense_elu(x: X, *, W: Hom(X, H), b: H) -> H:
    """One layer of a multilayer perceptron with the exponential linear unit."""
    z = W @ x + b
    return elu(z)


@layer
def dense_softplus(x: X, *, W: Hom(X, H), b: H) -> H:
    """One layer of a multilayer perceptron with softplus, log(1 + exp(z))."""
    z = W @ x + b
    return softplus(z)


@layer
def dense_gelu(x: X, *, W: Hom(X, H), b: H) -> H:
    """One layer of a multilayer perceptron with the exact GELU."""
    z = W @ x + b
    return gelu(z)


@layer
def dense_softmax(x: X, *, W: Hom(X, H), b: H) -> H:
    """Multinomial logistic regression: class probabilities by softmax (thesis (2.15))."""
    z = W @ x + b
    return softmax(z)


@layer
def residual(x: X, *, W: Hom(X, X), b: X) -> X:
    """x + Psi(W x + b): what is added to the identity (He et al. 2016)."""
    z = W @ x + b
    return x + tanh(z)


@layer
def linear_layer(x: X, *, P: Hom(X, H)) -> H:
    """P x: onto a smaller space, where the rest of a network works; and back, by the adjoint."""
    return P @ x
