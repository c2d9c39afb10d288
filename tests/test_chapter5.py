"""The theorems of the thesis, section 5.1, come out of the calculus for f and g unknown.

Left is what the calculus derives of the unrolled network, right the formula of the thesis, written
by hand with the maps of single functions; both are expressions, and equal ones are one object.
"""

import numpy as np
import pytest
from points import EPS
from unknown_rnn import (
    ONE,
    TOTAL,
    D,
    Df,
    Df_adjoint,
    Dg_error,
    Dmu,
    Ey,
    L,
    U,
    added,
    adjoint,
    alpha,
    f,
    h,
    loss,
    losses,
    mu,
    mu_adjoint,
    nabla_f,
    nabla_f_adjoint,
    nabla_g_error,
    put,
    same,
    same_by_linearity,
    states,
    theta,
    v,
    w,
    zeta,
)

from derive import inner, log_softmax, variable
from derive.language.expressions import Node
from derive.language.reference import value

layers = pytest.mark.parametrize("i", range(1, L + 1))
blocks = pytest.mark.parametrize(
    ("t0", "k"), [(t0, k) for t0 in range(L) for k in range(1, L + 1 - t0)]
)


# --- losses and prediction parameters


def test_the_error_of_the_squared_loss() -> None:
    """e = y^ - y (5.9) for J_R (5.5)."""
    target, predicted = variable("y", Ey), variable("y_hat", Ey)
    off = target - predicted
    assert same(adjoint(inner(off, off) / 2, predicted, ONE), predicted - target)


def test_the_error_of_the_cross_entropy() -> None:
    """e = softmax(y^) - y (5.9) for J_C (5.6) and a target whose entries sum to 1."""
    target, predicted = variable("y", Ey), variable("y_hat", Ey)
    error = adjoint(-inner(target, log_softmax(predicted)), predicted, ONE)
    rng = np.random.default_rng(1)
    at = {target: rng.dirichlet(np.ones(5)), predicted: rng.normal(size=5)}
    exponentials = np.exp(at[predicted])
    expected = exponentials / exponentials.sum() - at[target]
    # a softmax of 5 numbers and a difference: 20 roundings of numbers below 1
    assert np.abs(value(error, at) - expected).max() <= 20 * EPS


@layers
def test_theorem_5_1_1(i: int) -> None:
    """nabla_zeta J(y_i, y^_i) = nabla*_zeta g(h_i) . e_i (5.8)."""
    assert adjoint(loss(i, alpha(i)), zeta, ONE) is nabla_g_error(i, alpha(i))


def test_the_gradient_by_the_prediction_parameters() -> None:
    """nabla_zeta of the whole loss is the sum over the steps (5.7)."""
    right = added(nabla_g_error(i, alpha(i)) for i in range(1, L + 1))
    assert same(adjoint(TOTAL, zeta, ONE), right)


# --- real-time recurrent learning


@layers
def test_lemma_5_1_2_before_the_adjoint(i: int) -> None:
    """nabla alpha_i(h) = nabla f_i(h_{i-1}) + D f_i(h_{i-1}) . nabla alpha_{i-1}(h) (5.11)."""
    before = alpha(i - 1)
    right = added([nabla_f(i, before, U), Df(i, before, D(before, theta, U))])
    assert same(D(alpha(i), theta, U), right)
    assert not same(D(alpha(i), theta, U), nabla_f(i, before, U)) or i == 1


@layers
def test_lemma_5_1_2(i: int) -> None:
    """nabla* alpha_i = nabla* alpha_{i-1} . D* f_i + nabla* f_i (5.10), from zero at i = 0."""
    before = alpha(i - 1)
    right = added([adjoint(before, theta, Df_adjoint(i, before, w)), nabla_f_adjoint(i, before, w)])
    assert same(adjoint(alpha(i), theta, w), right)


@layers
def test_theorem_5_1_3(i: int) -> None:
    """nabla_theta J(y_i, y^_i) = nabla* alpha_i(h) . D* g(h_i) . e_i (5.12)."""
    right = adjoint(alpha(i), theta, Dg_error(i, alpha(i)))
    assert same(adjoint(loss(i, alpha(i)), theta, ONE), right)


# --- backpropagation through time


@pytest.mark.parametrize(("i", "j"), [(i, j) for i in range(1, L) for j in range(i + 1, L + 1)])
def test_lemma_5_1_4(i: int, j: int) -> None:
    """D mu_{j,i+1}(h_i) = D mu_{j,i+2}(h_{i+1}) . D f_{i+1}(h_i) (5.13)."""
    at, after, moved = states[i], states[i + 1], variable("moved", h.space)
    tail = put(D(mu(j, i + 2, after), after, moved), after, f(i + 1, at))
    right = put(tail, moved, Df(i + 1, at, v))
    assert D(mu(j, i + 1, at), at, v) is right
    assert right is Dmu(j, i + 1, at, v)


@layers
def test_mu_down_to_itself_is_the_identity(i: int) -> None:
    assert mu(i, i + 1, states[i]) is states[i] and D(mu(i, i + 1, states[i]), states[i], v) is v


def by_state(i: int, last: int = L) -> Node:
    """D_{h_i} of the losses from i to the last one, by the calculus."""
    return adjoint(losses(i, last, states[i]), states[i], ONE)


@layers
def test_theorem_5_1_5(i: int) -> None:
    """D_{h_i} J = D* f_{i+1}(h_i) . D_{h_{i+1}} J + D* g(h_i) . e_i (5.14), zero at L + 1."""
    right = Dg_error(i, states[i])
    if i < L:
        after = put(by_state(i + 1), states[i + 1], f(i + 1, states[i]))
        right = added([Df_adjoint(i + 1, states[i], after), right])
    assert same(by_state(i), right)


@layers
def test_the_sum_of_theorem_5_1_5(i: int) -> None:
    """D_{h_i} J = sum over j >= i of D* mu_{j,i+1}(h_i) . D* g(h_j) . e_j (5.18)."""
    at = states[i]
    each = [mu_adjoint(j, i + 1, at, Dg_error(j, mu(j, i + 1, at))) for j in range(i, L + 1)]
    assert same_by_linearity(by_state(i), added(each))
    assert i == L or not same_by_linearity(by_state(i), added(each[:-1]))


@pytest.mark.parametrize("k", range(1, L + 1))
def test_lemma_5_1_6(k: int) -> None:
    """nabla alpha_k(h) = sum over j of D mu_{k,j+1}(h_j) . nabla f_j(h_{j-1}) (5.21)."""
    each = [Dmu(k, j + 1, alpha(j), nabla_f(j, alpha(j - 1), U)) for j in range(1, k + 1)]
    assert same_by_linearity(D(alpha(k), theta, U), added(each))


def test_theorem_5_1_7() -> None:
    """nabla_theta J = sum over i of nabla* f_i(h_{i-1}) . D_{h_i} J (5.22)."""
    each = [
        nabla_f_adjoint(i, alpha(i - 1), put(by_state(i), states[i], alpha(i)))
        for i in range(1, L + 1)
    ]
    assert same(adjoint(TOTAL, theta, ONE), added(each))
    assert not same(adjoint(TOTAL, theta, ONE), added(each[1:]))


def test_the_gradient_by_a_learned_initial_state() -> None:
    """D_{h_0} J = D* f_1(h_0) . D_{h_1} J: (5.14) at i = 0, where there is no loss."""
    right = Df_adjoint(1, h, put(by_state(1), states[1], f(1, h)))
    assert same(adjoint(TOTAL, h, ONE), right)


# --- the exact hybrid


@blocks
def test_the_influence_at_the_end_of_a_block(t0: int, k: int) -> None:
    """nabla alpha_{t0+k} = D mu . nabla alpha_{t0} + sum over j of D mu_{t0+k,j+1} . nabla f_j,
    which is (5.21) split at t0: mu = mu_{t0+k,t0+1} and j runs over the block.
    """
    end = t0 + k
    carried = Dmu(end, t0 + 1, alpha(t0), D(alpha(t0), theta, U))
    each = [Dmu(end, j + 1, alpha(j), nabla_f(j, alpha(j - 1), U)) for j in range(t0 + 1, end + 1)]
    assert same_by_linearity(D(alpha(end), theta, U), added([carried, *each]))


def block_gradient(t0: int, k: int, with_error: bool = False) -> Node:
    """sum over the block of nabla* f_j . eps_j + (nabla alpha_{t0})* . eps_{t0}.

    eps carries the losses of the block only: eps_{t0} is without D* g . e_{t0}.
    """
    end = t0 + k
    each = [
        nabla_f_adjoint(j, alpha(j - 1), put(by_state(j, end), states[j], alpha(j)))
        for j in range(t0 + 1, end + 1)
    ]
    after = put(by_state(t0 + 1, end), states[t0 + 1], alpha(t0 + 1))
    eps = Df_adjoint(t0 + 1, alpha(t0), after)
    if with_error:
        eps = added([eps, Dg_error(t0, alpha(t0))])
    return added([*each, adjoint(alpha(t0), theta, eps)])


@blocks
def test_the_gradient_of_the_losses_of_a_block(t0: int, k: int) -> None:
    block = added(loss(j, alpha(j)) for j in range(t0 + 1, t0 + k + 1))
    left = adjoint(block, theta, ONE)
    assert same_by_linearity(left, block_gradient(t0, k))
    if t0:  # the error at t0 belongs to the block before
        assert not same_by_linearity(left, block_gradient(t0, k, with_error=True))


@pytest.mark.parametrize("k", [1, 2, 3, L, L + 2])
def test_blocks_together_are_the_gradient(k: int) -> None:
    """Also where k does not divide L, or is longer."""
    parts = [block_gradient(t0, min(k, L - t0)) for t0 in range(0, L, k)]
    assert same_by_linearity(adjoint(TOTAL, theta, ONE), added(parts))
