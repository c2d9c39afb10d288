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


@layer
def a_difference_that_cancels(x2: R()) -> R():
    """Its second derivative is one of 1/r and x^2/r^3: the pairing was held to its own size."""
    t1 = sqrt(x2 * x2 + 1e-12) - x2
    return t1


def a_difference_that_cancels_torch(torch, noisy, x2, *, n, m, k):
    return noisy(torch.sqrt(x2 * x2 + 1e-12) - x2)


lambda_half = elementwise_function("lambda_half", lambda t: sympy.cos(t - sympy.Rational(1, 2)))
lambda_log = elementwise_function("lambda_log", lambda t: sympy.log(1 + sympy.log(1 + t**2) ** 2))


@layer
def a_logarithm_of_nearly_one(*, w: R(2)) -> R(2):
    """The formula keeps its digits, log(1 + u) of the oracle did not."""
    return lambda_log(w / 20)


def a_logarithm_of_nearly_one_torch(torch, noisy, w, *, n, m, k):
    return noisy(torch.log1p(torch.log1p((w / 20) ** 2) ** 2))


@layer
def a_norm_of_numbers_whose_squares_are_subnormal(*, W: R(n, m)) -> R():
    """In float32, where no digits are left, the root's second derivative overflows."""
    t1 = norm(vec(W / ((10**20 + 1) / 3)))
    return t1


def a_norm_of_numbers_whose_squares_are_subnormal_torch(torch, noisy, W, *, n, m, k):
    return noisy(torch.sqrt(((W / ((10**20 + 1) / 3)) ** 2).sum()))


@layer
def a_sum_that_is_mapped_and_added(x: R(n), *, A: Hom(R(n), R(n)), b: R(n)) -> R(n):
    """The gradient by b read A where no loop ran: the sum of x_bar was made nowhere."""
    h = x + b
    return A @ h + h


def a_sum_that_is_mapped_and_added_torch(torch, noisy, x, A, b, *, n, m, k):
    h = x + b
    return noisy(A @ h + h)


@layer
def a_sum_that_is_mapped_and_added_nonlinearly(x: R(n), *, A: Hom(R(n), R(n)), b: R(n)) -> R(n):
    """The same behind a function."""
    h = x + b
    return tanh(A @ h) + h


def a_sum_that_is_mapped_and_added_nonlinearly_torch(torch, noisy, x, A, b, *, n, m, k):
    h = x + b
    return noisy(torch.tanh(A @ h) + h)


@layer
def a_difference_of_states(x: R(n), z: R(n), *, A: Hom(R(n), R(n))) -> R(n):
    """The same, both states, as a gate."""
    h = x - z
    return sigmoid(A @ h) * h


def a_difference_of_states_torch(torch, noisy, x, z, A, *, n, m, k):
    h = x - z
    return noisy(torch.sigmoid(A @ h) * h)


@layer
def a_sum_beyond_the_border(x: R(m)) -> R():
    """tanh was taken of what is read beyond the array, before the guard."""
    return form("beyond", x=(i,), to=(), ranges={i: m + 1})(tanh(x))


def a_sum_beyond_the_border_torch(torch, noisy, x, *, n, m, k):
    return noisy(torch.tanh(x).sum())


@layer
def a_part_of_an_array_under_a_law(*, w0: R(m)) -> R(2):
    """sigmoid(h) - 1/2 is tanh(h/2)/2: the head of w0 was taken for w0 itself."""
    return lambda_half(sigmoid(form("head", x=(i,), to=(i,), ranges={i: 2})(w0)))


def a_part_of_an_array_under_a_law_torch(torch, noisy, w0, *, n, m, k):
    return noisy(torch.cos(torch.sigmoid(w0[:2]) - 0.5))


@layer
def a_root_of_squares_of_a_part(x0: R(m)) -> R(2):
    """The same for a power of a power: this is |head of x0|, and not |x0|."""
    return sqrt(form("heads", x=(i,), y=(i,), to=(i,), ranges={i: 2})(x0, x0))


def a_root_of_squares_of_a_part_torch(torch, noisy, x0, *, n, m, k):
    return noisy(torch.abs(x0[:2]))


@layer
def a_logarithm_of_what_float32_can_not_square(x0: R(n)) -> R(n):
    """-1/u^2 is below the numbers of float32, and is not compared in it."""
    t1 = (-1e15 / 7) * x0
    return log(1 + t1 * t1)


def a_logarithm_of_what_float32_can_not_square_torch(torch, noisy, x0, *, n, m, k):
    t1 = noisy((-1e15 / 7) * x0)
    return noisy(torch.log1p(t1**2))
