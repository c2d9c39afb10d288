"""The description of a layer: what it tells is so, and maps that are zero share a line."""

import dataclasses
from functools import cache

import pytest
from declared import LAYERS
from shipped import SINGLE

from derive import library
from derive.kernels.lowering.cost import cost
from derive.kernels.lowering.lower import lower
from derive.models.cells import Cell
from derive.models.programs import programs
from derive.writing.describe import RecurrentText, describe, lines, recurrent_gradients

ALL = LAYERS | SINGLE


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


def test_what_is_fixed_is_told_and_has_no_map() -> None:
    found = describe(ALL["evaluated"])
    assert [(a.name, a.role) for a in found.arguments] == [
        *[("x", "state"), ("gamma", "parameter"), ("mu", "fixed"), ("beta", "parameter")],
        ("sigma", "fixed"),
    ]
    assert "    mu in R(m), fixed" in list(lines(found))
    assert len(found.maps) == 2 * 3 + 3**2
    assert not [m.name for m in found.maps if "mu" in m.symbol or "sigma" in m.symbol]


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


# --- recurrent gradients: what is expected is read off the cells by hand

FORMS = {
    "vanilla_rnn": "full",
    "leaky_rnn": "full",
    "lstm": "full",
    "peephole_lstm": "full",
    "gru": "full",
    "gru_reset_before": "full",
    "deep_rnn": "full",
    "independent_rnn": "compressed",
    "rotation_rnn": "compressed",
}
BLOCKS = {
    "vanilla_rnn": ["dense"],
    "independent_rnn": ["diagonal"],
    # h and c by h through the gates; both by c through the memory, unit by unit
    "lstm": ["dense", "diagonal", "dense", "diagonal"],
    # the lower state does not see the upper one
    "deep_rnn": ["dense", "zero", "dense", "dense"],
    "rotation_rnn": ["diagonal"] * 4,
}
IMMEDIATE = {
    ("vanilla_rnn", "h", "W"): "row-sparse: diag(d) (x) a",
    ("vanilla_rnn", "h", "b"): "diagonal: diag(d)",
    ("leaky_rnn", "h", "alpha"): "dense: one column d",
    # V (r (.) h): the reset's weights reach every unit through V, the update's and V their own
    ("gru_reset_before", "h", "W"): "row-sparse: diag(d) (x) a at W[1]; dense: Q (x) a at W[0]",
    ("gru_reset_before", "h", "b"): "diagonal: diag(d) at b[1], b[2]; dense: Q at b[0]",
    ("gru_reset_before", "h", "V"): "row-sparse: diag(d) (x) a",
    # the memory does not see the output gate
    ("lstm", "s[1]", "W"): "row-sparse: diag(d) (x) a at W[0], W[1], W[2]",
    ("lstm", "s[0]", "b"): "diagonal: diag(d) at b[0], b[1], b[2], b[3]",
    ("deep_rnn", "state[0]", "upper_W"): "zero",
    ("deep_rnn", "state[1]", "lower_W"): "dense: Q (x) a",
    ("rotation_rnn", "s[0]", "U[1]"): "zero",
}


@cache
def told(name: str) -> RecurrentText:
    """What is told of a cell's or network's gradients."""
    found = recurrent_gradients(library.layers()[name])
    assert found is not None
    return found


def test_every_cell_and_no_other_layer_has_recurrent_gradients() -> None:
    cells = [name for name, layer in library.layers().items() if isinstance(layer, Cell)]
    assert sorted(cells) == sorted(FORMS)
    assert describe(ALL["dense"]).recurrent is describe(ALL["mlp"]).recurrent is None


@pytest.mark.parametrize("name", FORMS)
def test_the_form_of_rtrl(name) -> None:
    forms = told(name).forms
    assert forms.form == FORMS[name]
    assert {s.form for s in forms.influence} == {FORMS[name]}


@pytest.mark.parametrize("name", BLOCKS)
def test_the_blocks_of_the_derivative(name) -> None:
    assert [block.form for block in told(name).forms.blocks] == BLOCKS[name]


@pytest.mark.parametrize(("name", "row", "parameter"), IMMEDIATE)
def test_the_immediate_derivative(name, row, parameter) -> None:
    found = {(i.row, i.parameter): i.form for i in told(name).forms.immediate}
    assert found[row, parameter] == IMMEDIATE[name, row, parameter]


def test_how_the_influence_is_stored_and_why() -> None:
    shown = "\n".join(lines(describe(ALL["vanilla_rnn"])))
    assert "RTRL is full: D_h of h is not diagonal: an entry of a parameter reaches every" in shown
    assert "J: n^2*(m + n + 1) numbers" in shown
    assert "influence_W_U_b, h by W, U, b: full, (n, n*(m + n + 1))" in shown
    assert "side by side: one product with D f" in shown
    shown = "\n".join(lines(describe(ALL["independent_rnn"])))
    assert (
        "RTRL is compressed: D f is diagonal: an entry of a parameter reaches its own unit" in shown
    )
    assert "influence_U, h by U: compressed, (n, m)" in shown
    assert "m*n numbers, in place of m*n^2: axis 0 of U is axis 0 of h" in shown
    assert "D f is block-diagonal, 2x2 for each unit" in told("rotation_rnn").forms.why


def test_a_network_tells_its_methods_or_why_one_does_not_apply() -> None:
    shown = "\n".join(lines(describe(library.layers()["elman"])))
    assert "\nrecurrent gradients:\n    RTRL is full: " in shown
    assert "\ncost of one step and one sample:\n    forward: " in shown
    assert "\nkernels:" not in shown and "\nfirst order:" not in shown
    both = told("bidirectional_rnn")
    assert both.forms is None and "depends on the whole future" in both.why_offline
    assert [cost.method for cost in both.costs] == ["forward", "bptt"]
    shown = "\n".join(lines(describe(library.layers()["bidirectional_rnn"])))
    assert f"    no RTRL: {both.why_offline}" in shown


def test_a_description_is_a_value() -> None:
    assert describe(ALL["dense"]) == describe(ALL["dense"])
    assert dataclasses.asdict(describe(ALL["dense"]))["declared"]["line"] > 1
