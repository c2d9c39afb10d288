"""Converters of ONNX's recurrent networks, every step of a sequence written out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import sympy
from onnx_cases import Case, NotExpressible, Pairs, converts

from derive import R, elementwise_function, relu, sigmoid, tanh
from derive.language.expressions import Node, zero
from derive.language.roles import PARAMETER, STATE

State = tuple[Node, ...]
GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
ACTIVATIONS: dict[str, Callable[..., Node]] = {
    "Tanh": tanh,
    "Sigmoid": sigmoid,
    "Relu": relu,
    "Softsign": elementwise_function("softsign", lambda t: t / (1 + sympy.Abs(t))),
}
DEFAULT = {"RNN": ("Tanh",), "GRU": ("Sigmoid", "Tanh"), "LSTM": ("Sigmoid", "Tanh", "Tanh")}


class Direction:
    """One direction of a network: its weights by gate, and its step."""

    def __init__(self, case: Case, number: int) -> None:
        self.case, self.number = case, number
        self.hidden = int(case.attribute("hidden_size"))
        self.W, self.U = self.by_gate(1, "W"), self.by_gate(2, "U")
        count = GATES[case.operator]
        biases = self.by_gate(3, "b") if case.has(3) else [None] * (2 * count)
        self.b, self.r = biases[:count], biases[count:]
        self.p = self.by_gate(7, "p") if case.has(7) else [None] * 3
        names = case.attribute("activations") or DEFAULT[case.operator] * 2
        words = [w.decode() if isinstance(w, bytes) else w for w in names]
        each = len(DEFAULT[case.operator])
        self.psi = [ACTIVATIONS[w] for w in words[number * each : (number + 1) * each]]

    def by_gate(self, place: int, name: str) -> list[Any]:
        """A direction's part of an input, gate by gate."""
        array = np.asarray(self.case.inputs[place])[self.number]
        parts = np.split(array, len(array) // self.hidden)
        return [
            self.case.read(part, PARAMETER, f"{name}{self.number}_{k}")
            for k, part in enumerate(parts)
        ]

    def before(self, x: Node, h: Node, gate: int) -> Node:
        """W x + U h + b of a gate."""
        y = self.W[gate] @ x + self.U[gate] @ h
        for bias in (self.b[gate], self.r[gate]):
            y = y + bias if bias is not None else y
        return y

    def step(self, x: Node, state: State) -> State:
        made: State = getattr(self, self.case.operator.lower())(x, *state)
        return made

    def rnn(self, x: Node, h: Node) -> State:
        return (self.psi[0](self.before(x, h, 0)),)

    def gru(self, x: Node, h: Node) -> State:
        """Gates z, r, h; the reset is applied behind the recurrent weights or before them."""
        z, r = (self.psi[0](self.before(x, h, gate)) for gate in range(2))
        if self.case.attribute("linear_before_reset", 0):
            inner = self.U[2] @ h
            inner = inner + self.r[2] if self.r[2] is not None else inner
            new = self.W[2] @ x + r * inner
            new = new + self.b[2] if self.b[2] is not None else new
        else:
            new = self.before(x, r * h, 2)
        return ((1 - z) * self.psi[1](new) + z * h,)

    def lstm(self, x: Node, h: Node, c: Node) -> State:
        """Gates i, o, f, c; the output gate sees the new cell through its peephole."""
        i, o, f, g = (self.before(x, h, gate) for gate in range(4))
        peep_i, peep_o, peep_f = self.p
        i = i + peep_i * c if peep_i is not None else i
        f = f + peep_f * c if peep_f is not None else f
        c_next = self.psi[0](f) * c + self.psi[0](i) * self.psi[1](g)
        o = o + peep_o * c_next if peep_o is not None else o
        return self.psi[0](o) * self.psi[2](c_next), c_next

    def start(self) -> State:
        """The given states of the first step, else zero."""
        places = (5, 6) if self.case.operator == "LSTM" else (5,)
        return tuple(
            self.case.read(by_time(self.case, place)[self.number], STATE, f"s{place}_{self.number}")
            if self.case.has(place)
            else zero(R(self.hidden))
            for place in places
        )


def by_time(case: Case, place: int) -> Any:
    """An input with the axis of time, or of the direction, first."""
    array = np.asarray(case.inputs[place])
    return np.swapaxes(array, 0, 1) if case.attribute("layout", 0) else array


@converts("RNN", "GRU", "LSTM")
def recurrent_network(case: Case) -> Pairs:
    xs = by_time(case, 0)
    if case.has(4) and not (np.asarray(case.inputs[4]) == len(xs)).all():
        raise NotExpressible("sequences of unequal lengths in one expression")
    steps = [case.read(x, STATE, f"x{t}") for t, x in enumerate(xs)]
    kind = case.attribute("direction", "forward")
    pairs: Pairs = []
    for number in range(2 if kind == "bidirectional" else 1):
        backwards = kind == "reverse" or number == 1
        pairs += one_direction(case, number, steps[::-1] if backwards else steps, backwards)
    return pairs


def one_direction(case: Case, number: int, steps: list[Node], backwards: bool) -> Pairs:
    """Y, Y_h, Y_c where they are asked for; Y keeps the order of the input."""
    direction = Direction(case, number)
    states = [direction.start()]
    for x in steps:
        states.append(direction.step(x, states[-1]))
    last, every = states[-1], states[1:][::-1] if backwards else states[1:]
    axis = 2 if case.attribute("layout", 0) else 1  # of the direction, in Y
    pairs: Pairs = []
    for expected in case.outputs:
        expected = np.asarray(expected)
        if expected.ndim == 4:
            time = 1 if axis == 2 else 0
            of_time = np.moveaxis(np.take(expected, number, axis), time, 0)
            pairs += [(h, of_time[t]) for t, (h, *_) in enumerate(every)]
    finals = [np.asarray(e) for e in case.outputs if np.ndim(e) == 3]
    pairs += [(state, np.take(e, number, axis - 1)) for state, e in zip(last, finals, strict=False)]
    return pairs
