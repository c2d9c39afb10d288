"""The maps of the vanilla RNN of the thesis (theorems 5.2.1 and 5.2.2) against NumPy.

What is expected is written from the thesis, with Psi' as 1 - tanh^2.
"""

from functools import cache
from typing import Any

import numpy as np
import pytest
from points import close, draw_all

from derive import Layer, variable
from derive.evidence.checks.drawing import unequal_sizes
from derive.language.reference import value
from derive.library.rnn import readout, vanilla_rnn

# A map is one or two products of at most 5 numbers and a slope.
ROUNDING = 32

# --- theorem 5.2.1: the maps of f


@cache
def at_f() -> dict[str, np.ndarray]:
    """A point of f, and directions, by name."""
    sizes = unequal_sizes(vanilla_rnn)
    arguments = [a.variable for a in vanilla_rnn.arguments]
    directions = [variable(f"{x.name}_dot", x.space) for x in arguments]
    found = draw_all([*arguments, *directions, variable("u", vanilla_rnn.output.space)], sizes)
    return {x.name: v for x, v in found.items()}


def applied(layer: Layer, named: dict[str, np.ndarray], by: str, adjoint: bool = False) -> Any:
    """The map D_by or nabla_by of a layer, or its adjoint, applied to the direction."""
    made = layer.derivative(by)
    made = made.adjoint if adjoint else made
    direction = variable("u" if adjoint else f"{by}_dot", made.domain)
    values = {a.variable: named[a.name] for a in layer.arguments}
    return value(made @ direction, {**values, direction: named[direction.name]})


def slope(p: dict[str, np.ndarray]) -> np.ndarray:
    """Psi'(z) with z = W h + U x + b."""
    return 1 - np.tanh(p["W"] @ p["h"] + p["U"] @ p["x"] + p["b"]) ** 2


F = {  # (5.25) to (5.28), then (5.29) to (5.32): D Psi(z) . v is Psi'(z) (.) v
    ("h", False): lambda p: slope(p) * (p["W"] @ p["h_dot"]),
    ("W", False): lambda p: slope(p) * (p["W_dot"] @ p["h"]),
    ("U", False): lambda p: slope(p) * (p["U_dot"] @ p["x"]),
    ("b", False): lambda p: slope(p) * p["b_dot"],
    ("h", True): lambda p: p["W"].T @ (slope(p) * p["u"]),
    ("W", True): lambda p: np.outer(slope(p) * p["u"], p["h"]),
    ("U", True): lambda p: np.outer(slope(p) * p["u"], p["x"]),
    ("b", True): lambda p: slope(p) * p["u"],
}


@pytest.mark.parametrize(("by", "adjoint"), F)
def test_theorem_5_2_1(by: str, adjoint: bool) -> None:
    assert close(applied(vanilla_rnn, at_f(), by, adjoint), F[by, adjoint](at_f()), ROUNDING)


# --- theorem 5.2.2: the maps of g


@cache
def at_g() -> dict[str, np.ndarray]:
    """A point of g, and directions, by name."""
    sizes = unequal_sizes(readout)
    arguments = [a.variable for a in readout.arguments]
    directions = [variable(f"{x.name}_dot", x.space) for x in arguments]
    found = draw_all([*arguments, *directions, variable("u", readout.output.space)], sizes)
    return {x.name: v for x, v in found.items()}


G = {  # (5.33) to (5.35), then (5.36) to (5.38)
    ("h", False): lambda p: p["V"] @ p["h_dot"],
    ("V", False): lambda p: p["V_dot"] @ p["h"],
    ("c", False): lambda p: p["c_dot"],
    ("h", True): lambda p: p["V"].T @ p["u"],
    ("V", True): lambda p: np.outer(p["u"], p["h"]),
    ("c", True): lambda p: p["u"],
}


@pytest.mark.parametrize(("by", "adjoint"), G)
def test_theorem_5_2_2(by: str, adjoint: bool) -> None:
    assert close(applied(readout, at_g(), by, adjoint), G[by, adjoint](at_g()), ROUNDING)
