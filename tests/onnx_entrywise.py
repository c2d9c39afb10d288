"""Converters of ONNX's elementwise operators, softmax, matrix products and losses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import sympy
from onnx_cases import Case, NotExpressible, Pairs, converts

from derive import (
    elementwise_function,
    elu,
    exp,
    form,
    gelu,
    leaky_relu,
    log,
    log_softmax,
    relu,
    sigmoid,
    softmax,
    softplus,
    sqrt,
    tanh,
)
from derive.language.expressions import Node, axes

# --- one argument; what the library ships, else the formula of ONNX's operator


def declared(case: Case, formula: Callable[..., Any], mark: str = "psi") -> Callable[..., Node]:
    """An elementwise function under a name of the case's own: many are in one module."""
    return elementwise_function(f"{case.name.removeprefix('test_')}_{mark}", formula)


def number(value: float) -> sympy.Expr:
    """The shortest decimal of an attribute, which is a float32: 1e-5, not 9.99999975e-06."""
    return sympy.Rational(str(np.float32(value)))


SHIPPED = {"Relu": relu, "Sigmoid": sigmoid, "Tanh": tanh, "Exp": exp, "Log": log, "Sqrt": sqrt,
           "Softplus": softplus, "Neg": lambda x: -x, "Reciprocal": lambda x: 1 / x}  # fmt: skip
FUNCTIONS = {
    "Abs": sympy.Abs, "Acos": sympy.acos, "Acosh": sympy.acosh, "Asin": sympy.asin,
    "Asinh": sympy.asinh, "Atan": sympy.atan, "Atanh": sympy.atanh, "Ceil": sympy.ceiling,
    "Cos": sympy.cos, "Cosh": sympy.cosh, "Erf": sympy.erf, "Floor": sympy.floor,
    "Sign": sympy.sign, "Sin": sympy.sin, "Sinh": sympy.sinh,
    "Tan": lambda t: sympy.sin(t) / sympy.cos(t),
}  # fmt: skip
PARAMETRIC: dict[str, tuple[dict[str, float], Callable[..., Any]]] = {
    "Celu": (
        {"alpha": 1.0},
        lambda t, a: sympy.Max(0, t) + sympy.Min(0, a * (sympy.exp(t / a) - 1)),
    ),
    "HardSigmoid": (
        {"alpha": 0.2, "beta": 0.5},
        lambda t, a, b: sympy.Max(0, sympy.Min(1, a * t + b)),
    ),
    "HardSwish": ({}, lambda t: t * sympy.Max(0, sympy.Min(1, t / 6 + sympy.Rational(1, 2)))),
    "Mish": ({}, lambda t: t * sympy.tanh(sympy.log(1 + sympy.exp(t)))),
    "Selu": (
        {"alpha": 1.67326319217681884765625, "gamma": 1.05070102214813232421875},
        lambda t, a, c: sympy.Piecewise((c * t, t > 0), (c * a * (sympy.exp(t) - 1), True)),
    ),
    "Shrink": (
        {"bias": 0.0, "lambd": 0.5},
        lambda t, b, c: sympy.Piecewise((t + b, t < -c), (t - b, t > c), (0, True)),
    ),
    "Softsign": ({}, lambda t: t / (1 + sympy.Abs(t))),
    "Swish": ({"alpha": 1.0}, lambda t, a: t / (1 + sympy.exp(-a * t))),
    "ThresholdedRelu": ({"alpha": 1.0}, lambda t, a: sympy.Piecewise((t, t > a), (0, True))),
}  # fmt: skip


@converts(*SHIPPED)
def shipped(case: Case) -> Pairs:
    return [(SHIPPED[case.operator](case.one(0)), case.outputs[0])]


@converts(*FUNCTIONS)
def function(case: Case) -> Pairs:
    psi = declared(case, lambda t: FUNCTIONS[case.operator](t))
    return [(psi(case.one(0)), case.outputs[0])]


@converts(*PARAMETRIC)
def parametric(case: Case) -> Pairs:
    defaults, formula = PARAMETRIC[case.operator]
    numbers = [number(case.attribute(name, value)) for name, value in defaults.items()]
    return [(declared(case, lambda t: formula(t, *numbers))(case.one(0)), case.outputs[0])]


@converts("Elu")
def elu_of(case: Case) -> Pairs:
    alpha = number(case.attribute("alpha", 1.0))
    psi = declared(case, lambda t: sympy.Piecewise((alpha * (sympy.exp(t) - 1), t <= 0), (t, True)))
    return [((elu if alpha == 1 else psi)(case.one(0)), case.outputs[0])]


@converts("LeakyRelu")
def leaky_relu_of(case: Case) -> Pairs:
    slope = number(case.attribute("alpha", 0.01))
    psi = declared(case, lambda t: sympy.Piecewise((slope * t, t <= 0), (t, True)))
    shown = leaky_relu if abs(float(slope) - 0.01) < 1e-9 else psi
    return [(shown(case.one(0)), case.outputs[0])]


@converts("Gelu")
def gelu_of(case: Case) -> Pairs:
    def by_tanh(t: sympy.Symbol) -> sympy.Expr:
        return t / 2 * (1 + sympy.tanh(sympy.sqrt(2 / sympy.pi) * (t + number(0.044715) * t**3)))

    exact = case.attribute("approximate", "none") == "none"
    return [((gelu if exact else declared(case, by_tanh))(case.one(0)), case.outputs[0])]


@converts("Clip")
def clip(case: Case) -> Pairs:
    low, high = (np.asarray(case.inputs[k]) if case.has(k) else None for k in (1, 2))
    x = case.one(0)
    if low is not None:
        x = declared(case, lambda t: sympy.Max(number(float(low)), t), "above")(x)
    if high is not None:
        x = declared(case, lambda t: sympy.Min(number(float(high)), t), "below")(x)
    return [(x, case.outputs[0])]


# --- two arguments and more, broadcast as NumPy does


def spread(x: Node, shape: tuple[int, ...]) -> Node:
    """x as NumPy broadcasts it to a shape, by a form."""
    own = tuple(map(int, x.space.shape))
    if own == shape:
        return x
    to = axes(0, len(shape))
    behind = to[len(shape) - len(own) :]
    read = [index if extent > 1 else 0 for index, extent in zip(behind, own, strict=True)]
    ranges = dict(zip(to, shape, strict=True))
    ranges = {i: extent for i, extent in ranges.items() if i not in read}
    return form("spread", x=tuple(read), to=to, ranges=ranges)(x)


BINARY = {
    "Add": lambda a, b: a + b, "Sub": lambda a, b: a - b, "Mul": lambda a, b: a * b,
    "Div": lambda a, b: a / b, "Sum": lambda a, b: a + b, "Mean": lambda a, b: a + b,
    "Max": elementwise_function("larger", lambda s, t: sympy.Max(s, t)),
    "Min": elementwise_function("smaller", lambda s, t: sympy.Min(s, t)),
    "Pow": elementwise_function("to_the", lambda s, t: s**t),
    "PRelu": elementwise_function(
        "prelu", lambda t, slope: sympy.Piecewise((slope * t, t <= 0), (t, True))
    ),
}  # fmt: skip


@converts(*BINARY)
def binary(case: Case) -> Pairs:
    shape = tuple(np.shape(case.outputs[0]))
    first, *others = (spread(case.one(k), shape) for k in range(len(case.inputs)))
    for other in others:
        first = BINARY[case.operator](first, other)
    count = len(case.inputs) if case.operator == "Mean" else 1
    return [(first / count, case.outputs[0])]


# --- along one axis


def moved(x: Node, axis: int, to: int) -> Node:
    """The array with one axis at another place."""
    order = list(axes(0, x.space.rank))
    order.insert(to % len(order), order.pop(axis))
    return form("moved", x=axes(0, x.space.rank), to=tuple(order))(x)


@converts("Softmax", "LogSoftmax")
def softmax_of(case: Case) -> Pairs:
    x = case.one(0)
    axis = case.attribute("axis", -1) % x.space.rank
    psi = softmax if case.operator == "Softmax" else log_softmax
    return [(moved(psi(moved(x, axis, -1)), -1, axis), case.outputs[0])]


@converts("MatMul")
def matmul(case: Case) -> Pairs:
    shapes = [np.shape(x) for x in case.inputs]
    if min(map(len, shapes)) < 1:
        raise NotExpressible("matrix products of numbers")
    a, b = case.one(0), case.one(1)
    front = np.broadcast_shapes(*(shape[:-2] for shape in shapes))
    batch, (i, j, h) = axes(0, len(front)), axes(20, 23)
    if len(shapes[0]) > 1:
        a = spread(a, (*front, *shapes[0][-2:]))
    if len(shapes[1]) > 1:
        b = spread(b, (*front, *shapes[1][-2:]))
    left = (*batch, i, j) if len(shapes[0]) > 1 else (j,)
    right = (*batch, j, h) if len(shapes[1]) > 1 else (j,)
    to = (*batch, *([i] if len(shapes[0]) > 1 else []), *([h] if len(shapes[1]) > 1 else []))
    return [(form("product", A=left, B=right, to=to)(a, b), case.outputs[0])]


@converts("Gemm")
def gemm(case: Case) -> Pairs:
    i, j, h = axes(0, 3)
    a = (j, i) if case.attribute("transA", 0) else (i, j)
    b = (h, j) if case.attribute("transB", 0) else (j, h)
    y = form("product", A=a, B=b, to=(i, h))(case.one(0), case.one(1))
    y = number(case.attribute("alpha", 1.0)) * y
    if case.has(2):
        y = y + number(case.attribute("beta", 1.0)) * spread(case.one(2), case.outputs[0].shape)
    return [(y, case.outputs[0])]


# --- losses: the classes as data, a one beside each


def _loss(case: Case, log_probabilities: Node, weights: Node | None, expected: Any) -> Node:
    """The sum or mean of -w log p over the classes that are given; R(N, C, ..) is one point."""
    x, labels = np.asarray(case.inputs[0]), np.asarray(case.inputs[1])
    ignored = case.attribute("ignore_index")
    hot = np.zeros(x.shape)
    valid = labels != ignored if ignored is not None else np.ones(labels.shape, bool)
    np.put_along_axis(hot, np.where(valid, labels, 0)[:, None], valid[:, None].astype(float), 1)
    weight = case.data(hot[None], "hot")
    every = axes(0, x.ndim)
    if weights is not None:
        weight = form("weighted", h=every, w=every[1:2], to=every)(weight, weights)
    to = (every[0], *every[2:])
    each = form("chosen", w=every, p=every, to=to)(weight, -log_probabilities)
    if case.attribute("reduction", "mean") == "none":
        return each
    total = form("total", x=axes(0, len(to)))(each)
    if case.attribute("reduction", "mean") == "sum":
        return total
    return total / form("total", w=every)(weight)


@converts("NegativeLogLikelihoodLoss")
def negative_log_likelihood(case: Case) -> Pairs:
    weights = case.shared(2) if case.has(2) else None
    return [(_loss(case, case.one(0), weights, case.outputs[0]), case.outputs[0])]


@converts("SoftmaxCrossEntropyLoss")
def softmax_cross_entropy(case: Case) -> Pairs:
    x = case.one(0)
    log_probabilities = moved(log_softmax(moved(x, 1, -1)), -1, 1)
    weights = case.shared(2) if case.has(2) else None
    pairs = [(_loss(case, log_probabilities, weights, case.outputs[0]), case.outputs[0])]
    return [*pairs, *((log_probabilities, e) for e in case.outputs[1:])]
