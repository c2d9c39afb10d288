"""The scalar functions of a layer, as printed, including one that is itself a derivative."""

from dataclasses import replace

import pytest

import derive
from derive import Hom, Layer, R, derivation, dims, network, total_sum
from derive.calculus import calculus
from derive.evidence.checks.drawing import Point
from derive.library.dense import dense
from derive.writing.layers.claims import FalseEquation, check
from derive.writing.layers.entrywise import equations, points
from derive.writing.layers.problem import Problem
from derive.writing.typesetting.scalar_functions import value

n, m = dims("n m")
NAMES = ["tanh", "sigmoid", "softplus", "gelu", "elu", "relu"]


def moved(name: str, also_plain: bool) -> Layer:
    """The derivative of psi(W x + b) along v, summed; with psi itself beside it or without."""
    psi = getattr(derive, name)

    def formula(x, v, W, b):
        y = psi(W @ x + b)
        along = calculus.tangent(y, {x: v})
        return total_sum(along * y if also_plain else along)

    spaces = {"W": Hom(R(m), R(n)), "b": R(n)}
    return Layer.of(
        f"moved_{name}", state={"x": R(m), "v": R(m)}, parameters=spaces, output=formula
    )


@pytest.mark.parametrize("also_plain", [False, True], ids=["psi'", "psi and psi'"])
@pytest.mark.parametrize("name", NAMES)
def test_a_layer_that_holds_a_derivative_prints_each_definition_once(name, also_plain):
    layer = moved(name, also_plain)
    defined = [str(equation.left.shown) for equation in equations(layer)]
    psi = getattr(derive, name)(derive.variable("t", R())).operation
    assert len(set(defined)) == len(defined) and value(psi.derivative()) in defined
    problem = Problem(layer)
    values = {**problem.point.values, **points(problem)}
    check(layer.name, tuple(equations(layer)), Point(problem.point.sizes, values))


def test_a_wrong_definition_is_refused():
    layer = moved("tanh", False)
    wrong = [
        replace(e, right=replace(e.right, meaning=2 * e.right.meaning)) for e in equations(layer)
    ]
    problem = Problem(layer)
    values = {**problem.point.values, **points(problem)}
    with pytest.raises(FalseEquation, match=r"\\tanh'\(t\), by definition\) is off by"):
        check(layer.name, wrong[:1], Point(problem.point.sizes, values))


def test_the_derivative_of_a_network_is_a_part_of_a_layer():
    """The loss of higher order: the derivative of a network along a direction."""
    net = network("net", hidden=dense)

    def formula(x, v, **theta):
        return derive.norm(calculus.tangent(net(x, **theta), {x: v}))

    spaces = {p.name: p.space for p in net.parameters}
    layer = Layer.of("higher", state={"x": R(m), "v": R(m)}, parameters=spaces, output=formula)
    assert derivation(layer).tex.count(r"\tanh'(t) &=") == 1
