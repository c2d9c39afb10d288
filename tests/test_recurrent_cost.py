"""Costs of recurrent gradients: closed forms against the literature's, by hand, and against loops.

By hand, for one step of one sample, p = n + m + 1: a product of an r x s matrix with s columns is
2 r s flops for each column, and of every form the terms of highest degree are compared.
"""

import pytest
import sympy
from kernels import unequal
from test_cost import performed

from derive import library, recurrent
from derive.kernels.printing.cython.emit import emit
from derive.kernels.sequences.recurrent_cost import (
    BLOCK,
    bptt_cost,
    hybrid_cost,
    leading,
    rtrl_cost,
)
from derive.kernels.sequences.steps import Steps
from derive.models.programs import BATCH
from derive.recurrence.hybrid import TIMES, Hybrid
from derive.recurrence.influence import Influence
from derive.writing.describe import recurrent_gradients

n, m, upper, k = sympy.symbols("n m upper_n prediction_k")
block = sympy.Symbol("block")
q = n + m  # p but for the bias, which is of a lower degree


def form(text):
    """A closed form as an expression in the sizes above."""
    names = {"n": n, "m": m, "upper_n": upper, "prediction_k": k, "block": block}
    return sympy.expand(sympy.sympify(text.replace("^", "**"), locals=names))


def costs(name):
    """The methods of a library's cell or network by name."""
    return {cost.method: cost for cost in recurrent_gradients(library.layers()[name]).costs}


# forward; eps one step down; adjoints by parameters and the input; D f . J; the hybrid; J
LITERATURE = {
    "vanilla_rnn": (
        2 * n * q,
        2 * n**2,
        2 * n * q + 2 * n * m,
        2 * n**3 * q,
        2 * n**3 + 2 * n**2 * q + 2 * n**3 * q / block,
        n**2 * (q + 1),
    ),
    "lstm": (
        8 * n * q,
        8 * n**2,
        8 * n * q + 8 * n * m,
        16 * n**3 * q,
        8 * n**3 + 16 * n**2 * q + 32 * n**3 * q / block,
        8 * n**2 * (q + 1),
    ),
    "gru": (
        6 * n * q,
        6 * n**2,
        6 * n * q + 6 * n * m,
        6 * n**3 * q,
        2 * n**3 + 6 * n**2 * q + 6 * n**3 * q / block,
        3 * n**2 * (q + 1) + n**2,
    ),
    "gru_reset_before": (
        6 * n * q,
        6 * n**2,
        6 * n * q + 6 * n * m,
        6 * n**3 * q,
        # D f is formed with two products of matrices at most, Lambda has one
        6 * n**3 + 6 * n**2 * q + 6 * n**3 * q / block,
        3 * n**2 * (q + 1),
    ),
    # a diagonal cell: three numbers of J for each entry of U, and 2 n m of the gradient
    "independent_rnn": (
        2 * n * m,
        None,
        4 * n * m,
        3 * n * m,
        None,
        n * (m + 2),
    ),
}


@pytest.mark.parametrize("name", LITERATURE)
def test_the_leading_terms_are_those_of_the_literature(name):
    forward, down, adjoints, product, hybrid, J = LITERATURE[name]
    found = costs(name)
    parts = {part.part: part for cost in found.values() for part in cost.parts}
    assert form(found["forward"].leading) == sympy.expand(forward)
    assert form(parts["cell_adjoints"].leading) == sympy.expand(adjoints)
    assert form(parts["influence_product"].leading) == sympy.expand(product)
    assert form(found["rtrl"].numbers) == sympy.expand(J)
    if down is not None:
        assert form(parts["cell_backward"].leading) == sympy.expand(down)
        assert form(found["hybrid"].leading) == sympy.expand(hybrid)


def test_a_vanilla_step_by_hand_to_the_last_flop():
    """The sum starts from b, so that W h and U x are 2 n (n + m); resets and lengths select."""
    found = costs("vanilla_rnn")["forward"]
    assert form(found.flops) == sympy.expand(2 * n * q)
    assert form(found.calls) == n


def test_what_bptt_keeps_by_hand():
    """Three of the size of h: h, its cotangent, the error of the prediction.

    tanh'(z), h after a reset and the cotangent of z, which weights read; three masks.
    """
    assert form(costs("vanilla_rnn")["bptt"].numbers) == sympy.expand(3 * n + 3 * n + 3)


@pytest.mark.parametrize("name", ["vanilla_rnn", "lstm", "gru_reset_before", "rotation_rnn"])
def test_a_method_costs_what_its_loops_do(name):
    """The lowered steps gone through loop by loop, at numbers; a block of 4 steps."""
    steps = Steps(recurrent("net", library.layers()[name]))
    (t,) = steps.transitions.values()
    influence = Influence(t)
    lemma = Hybrid(influence)
    once = (lemma.start(), lemma.end(), influence.readout())
    bptt = (t.forward(saving=True), t.backward(), t.adjoints())
    made = {
        bptt_cost(steps.kernel, [t], []): (bptt, ()),
        rtrl_cost(steps.kernel, influence, []): ((influence.forward(), influence.readout()), ()),
        hybrid_cost(steps.kernel, lemma, []): ((*bptt, lemma.backward()), once),
    }
    at = {**unequal(steps.network), BATCH: 1, TIMES: 4, BLOCK: 4}
    names = {str(size): number for size, number in at.items()}
    for cost, (each, in_a_block) in made.items():
        count = [performed(steps.kernel(p).steps, at) for p in (*each, *in_a_block)]
        weights = [1] * len(each) + [sympy.Rational(1, 4)] * len(in_a_block)
        for text, number in ((cost.flops, 0), (cost.calls, 1)):
            value = sympy.sympify(text.replace("^", "**")).subs(names)
            assert value == sum(w * c[number] for w, c in zip(weights, count, strict=True))


def test_the_parts_are_the_whole():
    for cost in costs("lstm_classifier").values():
        assert form(cost.flops) == sympy.expand(sum(form(part.flops) for part in cost.parts))
        assert form(cost.calls) == sympy.expand(sum(form(part.calls) for part in cost.parts))


def test_leading_terms_stand_apart_for_each_power_of_the_block():
    terms = n**3 + n**2 + BLOCK * n + BLOCK + n**4 / BLOCK + m / BLOCK
    assert leading(terms) == n**3 + BLOCK * n + n**4 / BLOCK
    assert leading(sympy.S.Zero) == 0


def test_a_network_adds_its_prediction_and_its_loss():
    """g = V h + c is 2 n k; J and its gradient are V h, V* e and e h^T: 6 n k."""
    cell, network = costs("vanilla_rnn"), costs("elman")
    more = form(network["forward"].flops) - form(cell["forward"].flops)
    assert more == 2 * n * k
    observed = next(p for p in network["bptt"].parts if p.part == "observe")
    assert form(observed.leading) == 6 * n * k


def test_networks_that_need_the_future_have_no_rtrl():
    assert list(costs("bidirectional_rnn")) == ["forward", "bptt"]
    assert list(costs("elman")) == ["forward", "bptt", "rtrl", "hybrid"]


def test_the_kernels_over_sequences_say_what_their_steps_cost():
    text = emit(library.layers()["elman"]).pyx
    cost = costs("elman")["forward"].parts[0]
    assert f"cost of cell_transition: {cost.flops} flops and n calls" in text
    assert "cost of cell_influence: " in text and "cost of cell_block_end: " in text
