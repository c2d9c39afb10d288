"""The generic results of the thesis, chapter 3, derived from functions of which nothing is known.

F = omega_{i+1} . f_i . alpha_{i-1}, with head, layer and tail uninterpreted, stands for any network
at any layer, so its derivation holds for all of them.  The last equation of each theorem is that of
the thesis, written by hand and checked against the derivation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ...calculus.calculus import tangent
from ...language.expressions import Node, constant, variable
from ...language.spaces import R
from ...language.walk import jet
from ...vocabulary.abstract import uninterpreted
from ...vocabulary.linear import inner
from ...vocabulary.rows import log_softmax, softmax
from ..layers.problem import Problem
from .theorem import E1, EI, EL, ENEXT, HI, SPACES, Theorem, layer_of

alpha, f, omega, F = (uninterpreted(k, *SPACES[k]) for k in ("alpha", "f_i", "omega", "F"))
MARKS = {
    "": "{}",
    "_dot": r"\dot {}",
    "_bar": r"\bar {}",
    "_delta": r"\delta {}",
    "_dot_delta": r"\delta\dot {}",
    "_bar_dot": r"\dot{{\bar {}}}",
}
SYMBOLS = {"alpha": r"\alpha_{i-1}", "omega": r"\omega_{i+1}", "n_next": "n_{i+1}"} | {
    f"x_next{suffix}": f"{mark.format('x')}_{{i+1}}" for suffix, mark in MARKS.items()
}


# --- what is derived

x, x_i, theta, y = (
    variable("x", E1),
    variable("x_i", EI),
    variable("theta_i", HI),
    variable("y", EL),
)
v, beta, w = variable("v", E1), variable("beta", EL), variable("w", EL)
AT, NEXT = alpha(x), f(alpha(x), theta)
ONE = constant(1, R())
NETWORK = (
    r"$F(x;\theta) = (\omega_{i+1}\circ f_i\circ\alpha_{i-1})(x)$, and only $f_i$ depends on "
    r"$\theta_i$"
)


# --- the maps of single layers, by hand


def df(at: Node, direction: Node) -> Node:
    """D f_i(at; theta_i) . direction"""
    return jet("f_i", ENEXT, (at, theta), ((0, direction),))


def df_adjoint(at: Node, u: Node, *directions: Node) -> Node:
    """D* f_i(at; theta_i) . u; with a direction (direction _| D^2 f_i)* . u"""
    return jet("f_i", EI, (at, theta), [(0, d) for d in directions], 0, u)


def nabla_f_adjoint(at: Node, u: Node, *directions: Node) -> Node:
    """nabla* f_i(at; theta_i) . u; with a direction (direction _| D nabla f_i)* . u"""
    return jet("f_i", HI, (at, theta), [(0, d) for d in directions], 1, u)


def back(u: Node, *directions: Node) -> Node:
    """D* omega_{i+1}(x_{i+1}) . u; with a direction (direction _| D^2 omega_{i+1})* . u"""
    return jet("omega", ENEXT, (x_next,), [(0, d) for d in directions], 0, u)


# --- the theorems

x_next, y_hat = variable("x_next", ENEXT), variable("y_hat", EL)
POINTS = {AT: "x_i", NEXT: "x_next", omega(NEXT): "y_hat"}


def _nabla_adjoint(problem: Problem, u: Node) -> Node:
    """nabla* of the whole, by the calculus."""
    return problem.layer.nabla("theta_i").adjoint @ u


def parameter_gradient() -> Theorem:
    """Lemma 3.2.1."""
    layer = layer_of("F", omega(NEXT), {AT: "x_i", NEXT: "x_next"})
    return Theorem(
        "3.5",
        "The derivative with respect to the parameters of one layer",
        "F",
        f"{NETWORK}; $x_i$ and $x_{{i+1}}$ are the states before and after that layer.",
        Problem(layer, first=["theta_i"], cotangent=w),
        lambda p: (
            r"\nabla^{*}_{\theta_i}F(x;\theta)\cdot w",
            _nabla_adjoint(p, w),
            nabla_f_adjoint(x_i, back(w)),
        ),
    )


def _loss(
    number: str, title: str, name: str, said: str, loss: Node, error: Node, **more: Any
) -> Theorem:
    """A loss of y_hat = F(x; theta): its gradient is nabla* f_i . D* omega_{i+1} . error."""
    layer = layer_of("J", loss, POINTS, "y")
    label = rf"\nabla_{{\theta_i}} {name}(x, y;\theta)"
    return Theorem(
        number,
        title,
        name,
        f"{NETWORK}. {said}",
        Problem(layer, first=["theta_i"], cotangent=ONE),
        lambda p: (label, _nabla_adjoint(p, ONE), nabla_f_adjoint(x_i, back(error))),
        **more,
    )


def regression() -> Theorem:
    """Theorem 3.2.2."""
    e = omega(NEXT) - y
    said = r"The loss is $J_R = \frac12\|\hat y - y\|^2$ with $\hat y = F(x;\theta)$ (3.6)."
    title = "The gradient of the squared loss"
    return _loss("3.7", title, "J_R", said, inner(e, e) / 2, y_hat - y)


def classification() -> Theorem:
    """Theorem 3.2.4; the target's entries sum to 1."""
    said = (
        r"The loss is $J_C = -\langle y, \log\sigma(\hat y)\rangle$ with "
        r"$\hat y = F(x;\theta)$ (3.9), $\sigma$ the softmax function, "
        "shifted by the largest entry, on which it does not depend."
    )
    title = "The gradient of the cross-entropy loss"
    loss = -inner(y, log_softmax(omega(NEXT)))
    reason = r"$\langle\mathbf 1, y\rangle = 1$"
    error = variable("p", EL) - y
    made = _loss("3.10", title, "J_C", said, loss, error, reason=reason, distribution=True)
    return replace(made, named={variable("p", EL): softmax(y_hat)})


def backpropagation() -> Theorem:
    """Theorem 3.2.5."""
    layer = layer_of("omega_i", omega(f(x_i, theta)), {f(x_i, theta): "x_next"})
    return Theorem(
        "3.11",
        "Backpropagation",
        r"\omega_i",
        r"The tail is $\omega_i = \omega_{i+1}\circ f_i$ (3.4).",
        Problem(layer, first=["x_i"], cotangent=w),
        lambda p: (r"D^{*}\omega_i(x_i)\cdot w", p.layer.D().adjoint @ w, df_adjoint(x_i, back(w))),
    )


def tangent_loss() -> Theorem:
    """Theorem 3.3.1."""
    e = tangent(F(x, theta), {x: v}) - beta
    layer = layer_of("R", inner(e, e) / 2, {e: "e"}, "v", "beta")
    error = variable("e", EL)
    return Theorem(
        "3.15",
        "The gradient of the higher-order loss",
        "R",
        r"The loss is $R = \frac12\|DF(x;\theta)\cdot v - \beta\|^2$ (3.12). Second derivatives "
        r"are symmetric, so that $(\nabla DF \llcorner v) = (v \lrcorner D\nabla F)$.",
        Problem(layer, first=["theta_i"], cotangent=ONE),
        lambda p: (
            r"\nabla_{\theta_i}R(x;\theta)",
            _nabla_adjoint(p, ONE),
            jet("F", HI, (x, theta), ((0, v),), 1, error),
        ),
    )


def tangent_backpropagation() -> Theorem:
    """Theorem 3.3.3."""
    layer = layer_of("omega_i", omega(f(x_i, theta)), {f(x_i, theta): "x_next"})
    v_i = variable("v", EI)
    return Theorem(
        "3.16",
        "Tangent backpropagation",
        r"\omega_i",
        r"The tail is $\omega_i = \omega_{i+1}\circ f_i$ (3.4), and $v$ stands for the tangent "
        r"$D\alpha_{i-1}(x)\cdot v$ of the input, so that $Df_i\cdot v$ is "
        r"$D\alpha_i(x)\cdot v$ (lemma 3.3.2).",
        Problem(layer, first=["x_i"], second=["x_i"], cotangent=w),
        lambda p: (
            r"(v \lrcorner D^{2}\omega_i(x_i))^{*}\cdot w",
            p.layer.D2().hook(v_i).adjoint @ w,
            df_adjoint(x_i, back(w, df(x_i, v_i))) + df_adjoint(x_i, back(w), v_i),
        ),
        order=2,
    )


def mixed() -> Theorem:
    """Theorem 3.3.4."""
    layer = layer_of("F", omega(NEXT), {AT: "x_i", NEXT: "x_next"})
    v_i = tangent(alpha(x), {x: v})
    return Theorem(
        "3.21",
        "The mixed second derivative",
        "F",
        f"{NETWORK}.",
        Problem(layer, first=["x"], second=["theta_i"], cotangent=w),
        lambda p: (
            r"(v \lrcorner D\nabla_{\theta_i}F(x;\theta))^{*}\cdot w",
            p.layer.D_nabla("theta_i").hook(v).adjoint @ w,
            nabla_f_adjoint(x_i, back(w, df(x_i, v_i))) + nabla_f_adjoint(x_i, back(w), v_i),
        ),
        order=2,
    )


THEOREMS: tuple[Callable[[], Theorem], ...] = (
    parameter_gradient,
    regression,
    classification,
    backpropagation,
    tangent_loss,
    tangent_backpropagation,
    mixed,
)
