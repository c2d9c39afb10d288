"""What `random_layers.py` ever found, shrunk: each layer with its oracle, always run.

Paste here what the command prints, under a name that says what was wrong.
"""

# ruff: noqa: F403, F405 -- declared as a user's file is

from derive import *

n, m, k = dims("n m k")
i, j, h = indices("i j h")


@layer
def a_size_that_no_array_has(*, w0: R(k, 5)) -> R(k, 5):
    """The kernels divided by a size that was none of their arguments."""
    return w0 / n


def a_size_that_no_array_has_torch(torch, noisy, w0, *, n, m, k):
    return noisy(w0 / n)
