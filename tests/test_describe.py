"""The description of a layer: what it tells is so, and maps that are zero share a line."""

import dataclasses

import pytest
from declared import LAYERS

from derive import library
from derive.describe import describe, lines
from derive.kernels.cost import cost
from derive.kernels.lower import lower
from derive.programs import programs

ALL = LAYERS | dict(library.layers())


def second_order(name: str) -> list[str]:
    """The lines of that section, without their indent."""
    found = list(lines(describe(ALL[name])))
    start = found.index("second order, adjoint:") + 1
    return [line[4:] for line in found[start : found.index("", start)]]


def test_maps_of_second_order_that_are_zero_share_one_line() -> None:
    """(W x) y is linear in each of x, y, W: exactly its three pure second derivatives are zero."""
    section = second_order("bilinear")
    assert section[-1] == "zero: D^2_(x, x), D^2_(y, y), nabla^2_(W, W)"
    assert "    w -> 0" not in section
    assert [line for line in section if line.startswith("(")] == [
        "(v1 _| D^2_(x, y) bilinear(x, y; W))* : R(k) -> R(m)",
        "(v _| D nabla_(x, W) bilinear(x, y; W))* : R(k) -> R(k, m, n)",
        "(v1 _| D^2_(y, x) bilinear(x, y; W))* : R(k) -> R(n)",
        "(v _| D nabla_(y, W) bilinear(x, y; W))* : R(k) -> R(k, m, n)",
        "(u _| nabla D_(W, x) bilinear(x, y; W))* : R(k) -> R(n)",
        "(u _| nabla D_(W, y) bilinear(x, y; W))* : R(k) -> R(m)",
    ]


def test_a_layer_without_a_map_that_is_zero_has_no_such_line() -> None:
    assert not any(line.startswith("zero") for line in second_order("dense"))


@pytest.mark.parametrize(
    "name", ["dense", "affine", "mlp", "unused", "blocks", "cross_entropy_index"]
)
def test_each_map_is_told_once_and_those_that_are_zero_are_those_with_the_body_zero(name) -> None:
    found, layer = describe(ALL[name]), ALL[name]
    count = len(layer.differentiable)
    assert len(found.maps) == 2 * count + count**2
    assert len({m.name for m in found.maps if m.order == 2}) == count**2
    bodies = {m.body for m in found.maps if m.zero}
    assert all(set(body) <= set("(0, )") for body in bodies)
    shown = "\n".join(lines(found))
    for m in found.maps:
        if m.order == 1 or not m.zero:
            assert f"    {m.name} : {m.domain} -> {m.codomain}\n        {m.variable} -> " in shown
        else:
            assert f"{m.name} :" not in shown


@pytest.mark.parametrize("name", ["dense", "lstm_step"])
def test_the_cost_that_is_told_is_that_of_the_kernels(name) -> None:
    found = describe(ALL[name])
    assert [k.name for k in found.kernels] == [p.name for p in programs(ALL[name])]
    for kernel, program in zip(found.kernels, programs(ALL[name]), strict=True):
        assert kernel.cost.lines == cost(lower(program))
        assert kernel.law == program.law


def test_the_first_lines_are_the_declaration() -> None:
    assert list(lines(describe(ALL["dense"])))[:12] == [
        "dense(x; W, b)",
        "    One layer of a multilayer perceptron (thesis (4.1)) with Psi = tanh.",
        "",
        "spaces:",
        "    x in R(m), state",
        "    W in R(n, m), parameter",
        "    b in R(n), parameter",
        "    dense(x; W, b) in R(n)",
        "",
        "formula:",
        "    z = W x + b",
        "    dense(x; W, b) = tanh(z)",
    ]


def test_a_description_is_a_value() -> None:
    assert describe(ALL["dense"]) == describe(ALL["dense"])
    assert dataclasses.asdict(describe(ALL["dense"]))["declared"]["line"] > 1
