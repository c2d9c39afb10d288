"""The letters of the results of chapter 5: functions of which nothing is known, and variables."""

from __future__ import annotations

from ...language.expressions import Node, constant, variable
from ...language.spaces import R
from ...language.walk import jet
from ...vocabulary.abstract import uninterpreted
from ..layers.problem import Problem
from .generic import MARKS
from .theorem import EH, EY, HP, HT, SPACES

TIMES = {"h_i": "i", "h_before": "i-1", "h_next": "i+1"}
SYMBOLS = {
    "flow": r"\alpha_{i}",
    "flow_before": r"\alpha_{i-1}",
    "mu": r"\mu_{j,i+2}",
    "f_next": "f_{i+1}",
    "rest": r"\mathcal{J}_{>i}",
    "loss_1": r"\ell_{1}",
    "loss_2": r"\ell_{2}",
    "eps_next": r"\varepsilon_{i+1}",
    **{f"eps_{k}": rf"\varepsilon_{{{k}}}" for k in range(3)},
} | {
    f"{name}{suffix}": f"{mark.format('h')}_{{{time}}}"
    for name, time in TIMES.items()
    for suffix, mark in MARKS.items()
}

flow, flow_before, mu, f, f_next, g, rest = (
    uninterpreted(name, *SPACES[name])
    for name in ("flow", "flow_before", "mu", "f", "f_next", "g", "rest")
)
f_1, f_2, f_3, loss_1, loss_2 = (
    uninterpreted(name, *SPACES[name]) for name in ("f_1", "f_2", "f_3", "loss_1", "loss_2")
)
h, h_i, h_before, h_next, h_1, h_2 = (
    variable(name, EH) for name in ("h", "h_i", "h_before", "h_next", "h_1", "h_2")
)
theta, zeta = variable("theta", HT), variable("zeta", HP)
y, y_hat, p = (variable(name, EY) for name in ("y", "y_hat", "p"))
eps_0, eps_1, eps_2, eps_next = (
    variable(name, EH) for name in ("eps_0", "eps_1", "eps_2", "eps_next")
)
u, v, w = variable("u", HT), variable("v", EH), variable("w", EH)
ONE = constant(1, R())
SQUARED = r"The loss of a step is $J_R = \frac12\|\hat y - y\|^2$ (5.5)"
SHARED = r"Every step has the same parameters $\theta$"


def along(name: str, at: Node, direction: Node, slot: int = 0) -> Node:
    """D f(at; theta) . direction, or nabla f . direction for the slot 1."""
    return jet(name, EH, (at, theta), ((slot, direction),))


def adjoint(name: str, at: Node, cotangent: Node, slot: int = 0) -> Node:
    """D* f(at; theta) . cotangent, or nabla* f . cotangent for the slot 1."""
    return jet(name, HT if slot else EH, (at, theta), (), slot, cotangent)


def g_adjoint(error: Node, slot: int = 0) -> Node:
    """D* g(h_i; zeta) . e, or nabla* g . e for the slot 1."""
    return jet("g", HP if slot else EH, (h_i, zeta), (), slot, error)


def worth(name: str, at: Node) -> Node:
    """The gradient of a number with respect to the state."""
    return jet(name, EH, (at,), (), 0, ONE)


def nabla(problem: Problem, name: str, cotangent: Node) -> Node:
    return problem.layer.nabla(name).adjoint @ cotangent
