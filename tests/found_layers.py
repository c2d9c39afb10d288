"""What `random_layers.py` ever found, shrunk: each layer with its oracle, always run.

Paste here what the command prints, under a name that says what was wrong.
"""

# ruff: noqa: F403, F405 -- declared as a user's file is

import sympy

from derive import *

n, m, k = dims("n m k")
i, j, h = indices("i j h")


@layer
def a_size_that_no_array_has(*, w0: R(k, 5)) -> R(k, 5):
    """The kernels divided by a size that was none of their arguments."""
    return w0 / n


def a_size_that_no_array_has_torch(torch, noisy, w0, *, n, m, k):
    return noisy(w0 / n)


@layer
def a_mean_with_a_gradient(x0: R(n)) -> R():
    """1 / (n max(1, batch)) was printed as 1 / max(1, batch) * n: n^2 times the gradient."""
    t1 = mean(x0)
    return t1


def a_mean_with_a_gradient_torch(torch, noisy, x0, *, n, m, k):
    return noisy(x0.mean())


@layer
def a_number_over_a_size(x0: R()) -> R():
    """The same for a size that the layer has in no array."""
    t1 = x0 / n
    return t1


def a_number_over_a_size_torch(torch, noisy, x0, *, n, m, k):
    return noisy(x0 / n)


@layer
def a_root_over_the_batch(x0: R(n)) -> R():
    """The gradient's coefficient sqrt(2) / max(1, batch) was refused where it is emitted."""
    t1 = sympy.sqrt(2) * inner(x0, x0)
    return t1 * 1 + norm(x0)


def a_root_over_the_batch_torch(torch, noisy, x0, *, n, m, k):
    return noisy(2**0.5 * (x0 * x0).sum() + torch.sqrt((x0 * x0).sum()))
