"""Costs: the formulas against counts by hand, and against the loops run through one by one."""

import pytest
import sympy
from declared import LAYERS
from kernels import every, kernels_of, unequal
from shipped import SINGLE

from derive.kernels.lowering.cost import cost, count
from derive.kernels.statements.loops import (
    Accumulate,
    Asked,
    Commented,
    For,
    Gemm,
    Largest,
    Let,
    Store,
)
from derive.kernels.statements.scalars import Apply, Inside, Sum, Times
from derive.models.programs import BATCH

B = BATCH
ALL = LAYERS | SINGLE


def counted(name, kernel):
    """Flops and calls with the sizes n, m, k by their names."""
    flops, calls = count(kernels_of(ALL[name])[kernel])
    return sympy.expand(flops), sympy.expand(calls)


def sizes(name):
    return {str(size): size for size in ALL[name].sizes}


def test_dense_by_hand():
    """W x is n m products and as many additions for each sample; so is each adjoint."""
    n, m = (sizes("dense")[key] for key in "nm")
    product = 2 * B * n * m
    by_hand = {
        "forward": (product + B * n, 2 * B * n),  # z = W x + b; tanh, tanh'
        # W_dot x + W x_dot + b_dot and W x, + b; tanh'(z) z_dot
        "tangent": (3 * product + 2 * B * n, B * n),
        # tanh'(z) y_bar; W^T z_bar, z_bar x^T; + z_bar
        "backward": (2 * product + 2 * B * n, 0),
        # z and z_dot as before; tanh'' z_dot y_bar + tanh' y_bar_dot (4), tanh' y_bar (1);
        # two products into each of x and W, + z_bar_dot
        "tangent_backward": (7 * product + 7 * B * n, 2 * B * n),
    }
    for kernel, (flops, calls) in by_hand.items():
        assert counted("dense", kernel) == (sympy.expand(flops), sympy.expand(calls)), kernel


def test_other_layers_by_hand():
    (n,) = sizes("squared_loss").values()
    # e = x - y (1), e^2 (1), added (1); halved; e once more where it is saved
    assert counted("squared_loss", "forward") == (sympy.expand(B * (3 * n + 1 + n)), 0)
    k, n, m = (sizes("bilinear")[key] for key in "knm")
    # W x: k m rows of n; times y: k rows of m
    assert counted("bilinear", "forward") == (sympy.expand(2 * B * (k * m * n + k * m)), 0)
    n, m = (sizes("affine")[key] for key in "nm")
    # the sums start from b: m products and m additions for each entry
    assert counted("affine", "forward") == (sympy.expand(B * n * 2 * m), 0)
    k, n, m, p = (sizes("conv2d")[key] for key in "knmp")
    # nine taps of k channels for each of p n m places: a product and an addition; + b
    flops, calls = counted("conv2d", "forward")
    assert flops == sympy.expand(B * p * n * m * (2 * 9 * k + 1)) and calls == 2 * B * p * n * m


def test_the_bytes_are_those_of_arguments_results_and_saved_values():
    n, m = (sizes("dense")[key] for key in "nm")
    lines = cost(kernels_of(ALL["dense"])["forward"])
    (shown,) = (line.split(" bytes")[0] for line in lines if "bytes" in line)
    entries = B * m + n * m + n + B * n + B * n  # x, W, b, y and tanh'(z) saved
    formula = sympy.sympify(shown.replace("^", "**"), locals={"batch": B, "n": n, "m": m})
    assert sympy.expand(formula - 8 * entries) == 0


@pytest.mark.parametrize("name", ALL)
def test_the_formulas_are_what_the_loops_do(name):
    """The statements of each kernel are gone through loop by loop, at numbers."""
    at = {BATCH: 2} | unequal(ALL[name])
    kernels = kernels_of(ALL[name])  # not before: whoever collects the tests need not lower
    assert {"forward", "tangent", "backward", "tangent_backward"} <= kernels.keys()
    for kernel, lowered in kernels.items():
        expected = [sympy.sympify(part).subs(at) for part in count(lowered)]
        assert performed(lowered.steps, at) == tuple(expected), kernel


def performed(statements, at):
    flops = calls = 0
    for statement in statements:
        if isinstance(statement, (Commented, Asked)):
            more = performed(statement.body, at)
        elif isinstance(statement, For):
            times = int(statement.extent.subs(at))
            more = tuple(times * part for part in performed(statement.body, at))
        elif isinstance(statement, Gemm):
            more = (2 * int((statement.M * statement.N * statement.K).subs(at)), 0)
        elif isinstance(statement, Largest):
            once = performed((*statement.lets, Let("", statement.value)), at)
            count = int(sympy.Mul(*statement.extents).subs(at))
            more = tuple(count * part for part in once)
        else:
            more = arithmetic(statement)
        flops, calls = flops + more[0], calls + more[1]
    return flops, calls


def arithmetic(statement):
    """Additions and products one each; a weight of one or minus one, and a selection, are free."""
    adds = isinstance(statement, Accumulate) or (isinstance(statement, Store) and statement.add)
    sums = list(every(statement, Sum))
    weights = [w for total in sums for w, _ in total.terms if w not in (1, -1)]
    flops = sum(len(total.terms) - 1 for total in sums) + len(weights)
    flops += sum(len(product.factors) - 1 for product in every(statement, Times))
    assert not any(isinstance(inside, Sum) for inside in every(statement, Inside))
    return flops + int(adds), sum(not a.operation.linear for a in every(statement, Apply))
