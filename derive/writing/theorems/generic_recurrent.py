r"""The generic results of the thesis, chapter 5, derived from functions of which nothing is known.

The flow \alpha_i, the transitions f_i, the prediction g and the losses as functions of a state are
uninterpreted, so the derivations hold for every recurrent network.  Sums over time are derived for
the first few steps; lemma 5.1.2 leads from one step to the next.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...language.expressions import Node
from ...vocabulary.linear import inner
from ...vocabulary.rows import log_softmax, softmax
from ..layers.problem import Problem
from .recurrent_letters import (
    ONE,
    SHARED,
    SQUARED,
    adjoint,
    along,
    eps_0,
    eps_1,
    eps_2,
    eps_next,
    f,
    f_1,
    f_2,
    f_3,
    f_next,
    flow,
    flow_before,
    g,
    g_adjoint,
    h,
    h_1,
    h_2,
    h_before,
    h_i,
    h_next,
    loss_1,
    loss_2,
    mu,
    nabla,
    p,
    rest,
    theta,
    u,
    v,
    w,
    worth,
    y,
    y_hat,
    zeta,
)
from .theorem import Theorem, layer_of


def _prediction(name: str, said: str, loss: Node, error: Node, **more: Any) -> Theorem:
    """Theorem 5.1.1 for one of the losses."""
    layer = layer_of("J", loss, {g(h_i, zeta): "y_hat"}, "y")
    return Theorem(
        "5.8",
        "The gradient with respect to the parameters of the prediction",
        name,
        rf"{said} with $\hat y = g(h_i;\zeta)$ (5.3), and $h_i$ does not depend on $\zeta$.",
        Problem(layer, first=["zeta"], cotangent=ONE),
        lambda q: (rf"\nabla_{{\zeta}} {name}", nabla(q, "zeta", ONE), g_adjoint(error, 1)),
        **more,
    )


def squared_prediction() -> Theorem:
    """Theorem 5.1.1, the squared loss (5.5)."""
    e = g(h_i, zeta) - y
    return _prediction("J_R", SQUARED, inner(e, e) / 2, y_hat - y)


def classified_prediction() -> Theorem:
    """Theorem 5.1.1, the cross-entropy loss (5.6); the target's entries sum to 1."""
    said = r"The loss of a step is $J_C = -\langle y, \log\sigma(\hat y)\rangle$ (5.6)"
    loss, more = -inner(y, log_softmax(g(h_i, zeta))), {"distribution": True}
    reason, named = r"$\langle\mathbf 1, y\rangle = 1$", {p: softmax(y_hat)}
    return _prediction("J_C", said, loss, p - y, reason=reason, named=named, **more)


def influence() -> Theorem:
    """Lemma 5.1.2."""
    before = flow_before(h, theta)
    layer = layer_of("alpha_i", f(before, theta), {before: "h_before"})
    return Theorem(
        "5.10",
        "The influence after one more step",
        r"\alpha_i",
        rf"{SHARED}: $\alpha_i = f\circ\alpha_{{i-1}}$ (5.1) depends on them through both maps.",
        Problem(layer, first=["theta"], cotangent=w),
        lambda q: (
            r"\nabla^{*}_{\theta}\alpha_i(h)\cdot w",
            nabla(q, "theta", w),
            adjoint("flow_before", h, adjoint("f", h_before, w), 1) + adjoint("f", h_before, w, 1),
        ),
    )


def online() -> Theorem:
    """Theorem 5.1.3."""
    at = flow(h, theta)
    e = g(at, zeta) - y
    layer = layer_of("J", inner(e, e) / 2, {at: "h_i", g(at, zeta): "y_hat"}, "y")
    return Theorem(
        "5.12",
        "Real-time recurrent learning",
        "J_R",
        rf"{SQUARED} with $\hat y = g(h_i;\zeta)$ and $h_i = \alpha_i(h)$.",
        Problem(layer, first=["theta"], cotangent=ONE),
        lambda q: (
            r"\nabla_{\theta} J_R",
            nabla(q, "theta", ONE),
            adjoint("flow", h, g_adjoint(y_hat - y), 1),
        ),
    )


def later_state() -> Theorem:
    """Lemma 5.1.4."""
    layer = layer_of("mu", mu(f_next(h_i, theta), theta), {f_next(h_i, theta): "h_next"})
    return Theorem(
        "5.13",
        "The derivative of a later state",
        r"\mu_{j,i+1}",
        r"The evolution from $h_i$ to $h_j$ is $\mu_{j,i+1} = \mu_{j,i+2}\circ f_{i+1}$ (5.2); "
        r"$\mu_{i,i+1}$ is the identity.",
        Problem(layer, first=["h_i"], cotangent=w),
        lambda q: (
            r"D\mu_{j,i+1}(h_i)\cdot v",
            q.layer.D() @ v,
            along("mu", h_next, along("f_next", h_i, v)),
        ),
    )


def backpropagation() -> Theorem:
    """Theorem 5.1.5."""
    e, after = g(h_i, zeta) - y, f_next(h_i, theta)
    names = {after: "h_next", g(h_i, zeta): "y_hat"}
    layer = layer_of("J", inner(e, e) / 2 + rest(after), names, "y")
    return Theorem(
        "5.14",
        "Backpropagation through time",
        r"\mathcal{J}",
        r"Of the losses, only the one at time $i$, $\frac12\|\hat y - y\|^2$ with "
        r"$\hat y = g(h_i;\zeta)$, and the later ones, $\mathcal{J}_{>i}$ as a function of "
        r"$h_{i+1}$, depend on $h_i$.",
        Problem(layer, first=["h_i"], cotangent=ONE),
        lambda q: (
            r"D_{h_i}\mathcal{J}",
            q.layer.D("h_i").adjoint @ ONE,
            adjoint("f_next", h_i, eps_next) + g_adjoint(y_hat - y),
        ),
        named={eps_next: worth("rest", h_next)},
    )


def summed_influence() -> Theorem:
    """Lemma 5.1.6 for k = 3."""
    first = f_1(h, theta)
    second = f_2(first, theta)
    layer = layer_of("alpha_3", f_3(second, theta), {first: "h_1", second: "h_2"})
    third = along("f_3", h_2, along("f_2", h_1, along("f_1", h, u, 1)))
    return Theorem(
        "5.21",
        "The influence as a sum",
        r"\alpha_3",
        rf"{SHARED}; here $k = 3$, $\alpha_3 = f_3\circ f_2\circ f_1$, and (5.10) extends it from "
        r"$k$ to $k+1$. $D\mu_{3,4}$ is the identity, $D\mu_{3,3} = Df_3$, "
        r"$D\mu_{3,2} = Df_3\cdot Df_2$.",
        Problem(layer, first=["theta"], cotangent=w),
        lambda q: (
            r"\nabla_{\theta}\alpha_3(h)\cdot u",
            q.layer.nabla("theta") @ u,
            along("f_3", h_2, u, 1) + along("f_3", h_2, along("f_2", h_1, u, 1)) + third,
        ),
    )


LOSSES = (
    r"$\ell_i$ is the loss at time $i$ as a function of $h_i$, so that $D^{*}\ell_i\cdot 1$ is "
    r"$D^{*}g(h_i)\cdot e_i$ by the chain rule and (5.9)"
)


def _two_steps(start: Node) -> tuple[Node, Node, Node]:
    """The losses of two steps from a state, and the states after them."""
    first, second = f_1(start, theta), f_2(f_1(start, theta), theta)
    return loss_1(first) + loss_2(second), first, second


EPS = {
    eps_2: worth("loss_2", h_2),
    eps_1: adjoint("f_2", h_1, eps_2) + worth("loss_1", h_1),
}


def summed_gradient() -> Theorem:
    """Theorem 5.1.7 for L = 2."""
    whole, first, second = _two_steps(h)
    layer = layer_of("J", whole, {first: "h_1", second: "h_2"})
    return Theorem(
        "5.22",
        "The gradient as a sum",
        r"\mathcal{J}",
        rf"{SHARED}; here $L = 2$. {LOSSES}.",
        Problem(layer, first=["theta"], cotangent=ONE),
        lambda q: (
            r"\nabla_{\theta}\mathcal{J}",
            nabla(q, "theta", ONE),
            adjoint("f_1", h, eps_1, 1) + adjoint("f_2", h_1, eps_2, 1),
        ),
        named=EPS,
    )


def block_influence() -> Theorem:
    """The sum of lemma 5.1.6 split at the start of a block of two steps (Schmidhuber 1992)."""
    start = flow(h, theta)
    first = f_1(start, theta)
    layer = layer_of("alpha", f_2(first, theta), {start: "h_i", first: "h_1"})
    carried = along("f_2", h_1, along("f_1", h_i, along("flow", h, u, 1)))
    return Theorem(
        "5.21, split at a block",
        "The influence over a block",
        r"(f_2\circ f_1\circ\alpha_i)",
        rf"{SHARED}; a block of two steps $f_1$, $f_2$ begins at $h_i = \alpha_i(h)$. The first "
        r"term is $D\mu\cdot\nabla\alpha_i$ over the block, the others are (5.21) from its start.",
        Problem(layer, first=["theta"], cotangent=w),
        lambda q: (
            r"\nabla_{\theta}(f_2\circ f_1\circ\alpha_i)(h)\cdot u",
            q.layer.nabla("theta") @ u,
            carried + along("f_2", h_1, along("f_1", h_i, u, 1)) + along("f_2", h_1, u, 1),
        ),
    )


def block_gradient() -> Theorem:
    """The gradient of the losses of a block: BPTT within it, the influence at its start."""
    start = flow(h, theta)
    whole, first, second = _two_steps(start)
    layer = layer_of("J", whole, {start: "h_i", first: "h_1", second: "h_2"})
    within = adjoint("f_1", h_i, eps_1, 1) + adjoint("f_2", h_1, eps_2, 1)
    return Theorem(
        "5.22, split at a block",
        "The gradient of a block",
        r"\mathcal{J}'",
        rf"{SHARED}; a block of two steps begins at $h_i = \alpha_i(h)$. {LOSSES}. $\varepsilon$ "
        r"accounts only for the losses of the block: $\varepsilon_0$ has no term of its own loss.",
        Problem(layer, first=["theta"], cotangent=ONE),
        lambda q: (
            r"\nabla_{\theta}\mathcal{J}'",
            nabla(q, "theta", ONE),
            within + adjoint("flow", h, eps_0, 1),
        ),
        named={**EPS, eps_0: adjoint("f_1", h_i, eps_1)},
    )


THEOREMS: tuple[Callable[[], Theorem], ...] = (
    squared_prediction,
    classified_prediction,
    influence,
    online,
    later_state,
    backpropagation,
    summed_influence,
    summed_gradient,
    block_influence,
    block_gradient,
)
