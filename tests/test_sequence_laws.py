"""The laws of recurrent networks over sequences: kept by what is derived, broken by any damage.

Damages are made in the program of one step, as a slip in a derivation by hand would: all kernels
are then evaluated by the reference, as they are written, and a row fails.
"""

from collections.abc import Callable, Collection
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from recurrent_networks import NETWORKS

from derive import recurrent
from derive.evidence.checks.check import check
from derive.evidence.checks.sequence_laws import SequenceLaws
from derive.kernels.interpreting.evaluated import EvaluatedKernel
from derive.kernels.lowering.kernel import Kernel
from derive.kernels.sequences.sequences import Made, sequences
from derive.language.expressions import linear_combination
from derive.library.losses import squared_loss
from derive.library.rnn import gru_reset_before, readout, vanilla_rnn
from derive.models.levels import Recurrent
from derive.models.programs import Program
from derive.runtime import edge
from derive.runtime.recurrence import Recurrence

VANILLA = recurrent("vanilla", vanilla_rnn, prediction=readout, loss=squared_loss)
LEARNED = recurrent("begun", vanilla_rnn, prediction=readout, loss=squared_loss, initial="learned")
GRU = recurrent("with_gates", gru_reset_before, prediction=readout, loss=squared_loss)
ROWS = [
    *["sequence kernel", "unrolled", "sequence difference", "samples", "lengths"],
    *["missing targets", "methods", "truncation", "influence", "pieces", "resets"],
]


def evaluated(network: Recurrent, made: Made) -> Recurrence:
    """Kernels over sequences by the reference."""
    kernels = {k.program.name: EvaluatedKernel(network.name, k, edge) for k in made.kernels}
    return Recurrence(network.name, kernels, **made.roles)


@cache
def sound(network: Recurrent) -> Made:
    """The kernels as they are derived."""
    return sequences(network)


METHODS = {"sequence kernel": "kernels", "sequence difference": "difference"}


def failing(network: Recurrent, made: Made, laws: Collection[str]) -> set[str]:
    """Those of the laws that fail."""
    own = SequenceLaws(network, evaluated(network, made), dtypes=(np.float64,))
    found = [finding for law in laws for finding in getattr(own, METHODS.get(law, law))()]
    return {finding.law for finding in found if not finding.ok}


# --- what is derived


@pytest.mark.parametrize(
    "name",
    [
        *["matrix_state", "unequal_product", "by_blocks", "reading"],
        *["leaking", "shuffling", "deep_reservoir", "peaked", "tied_readout"],
    ],
)
def test_networks_of_any_spaces_keep_all_laws(recurrent_kernels, name) -> None:
    found = check(NETWORKS[name], recurrent_kernels[name])
    assert {f.law for f in found} >= set(ROWS)
    assert [f for f in found if not f.ok] == []


def test_a_network_that_needs_the_future_keeps_the_laws_that_it_has(recurrent_kernels) -> None:
    found = check(NETWORKS["two_ways"], recurrent_kernels["two_ways"])
    assert {f.law for f in found} & set(ROWS) == set(ROWS[:6])
    assert [f for f in found if not f.ok] == []


def test_a_cell_with_nothing_to_learn_keeps_the_laws_and_has_no_influence(
    recurrent_kernels,
) -> None:
    found = check(NETWORKS["reservoir"], recurrent_kernels["reservoir"])
    assert set(ROWS) - {f.law for f in found} == {"influence"}
    assert [f for f in found if not f.ok] == []
    moved = {f.group for f in found if f.law == "sequence difference"}
    assert moved == {"prediction_V", "prediction_c", "start h_0", "input x"}


def test_fixed_arrays_on_several_levels_keep_the_laws(recurrent_kernels) -> None:
    found = check(NETWORKS["still_two_ways"], recurrent_kernels["still_two_ways"])
    assert {f.law for f in found} & set(ROWS) == set(ROWS[:6])
    assert [f for f in found if not f.ok] == []


def test_without_kernels_the_reference_keeps_the_laws() -> None:
    found = check(NETWORKS["linear"])
    assert {f.law for f in found} >= set(ROWS) and all(f.ok for f in found)


def test_a_network_without_a_loss_has_the_laws_of_its_states() -> None:
    found = check(recurrent("alone", vanilla_rnn))
    assert {f.law for f in found} >= {"sequence kernel", "unrolled"}
    assert not {f.law for f in found} & set(ROWS[2:]) and all(f.ok for f in found)


def test_another_seed_is_another_case() -> None:
    cases = [SequenceLaws(VANILLA, None, seed).case for seed in (0, 0, 1)]  # type: ignore[arg-type]
    first, same, other = (case.theta["cell_W"] for case in cases)
    assert np.array_equal(first, same) and not np.array_equal(first, other)


class Refusing:
    """A kernel whose call raises."""

    def __init__(self, kernel: EvaluatedKernel) -> None:
        self.sizes, self.arguments, self.results = kernel.sizes, kernel.arguments, kernel.results
        self.name, self.workspace_size = kernel.name, kernel.workspace_size

    def __call__(self, *given: object, **named: object) -> None:
        raise ValueError("refused")


def test_a_call_that_raises_is_a_row_that_fails() -> None:
    made = evaluated(VANILLA, sound(VANILLA))
    broken = replace(made, kernels={**made.kernels, "rtrl": Refusing(made.kernels["rtrl"])})
    found = SequenceLaws(VANILLA, broken, dtypes=(np.float64,)).findings()
    failed = {f.law: f.group for f in found if not f.ok}
    assert failed["methods"] == failed["influence"] == "ValueError: refused"
    assert {"sequence kernel", "pieces", "samples"} < failed.keys()


# --- damage


def damaged(network: Recurrent, name: str, change: Callable[[Program], Program]) -> Made:
    """The kernels with one step's program changed wherever it is called."""
    made = sound(network)
    called = f"{network.name}_{name}"

    def changed(kernel: Kernel) -> Kernel:
        if called not in kernel.callees:
            return kernel
        step = kernel.callees[called]
        other = replace(step, program=change(step.program))
        return replace(kernel, callees={**kernel.callees, called: other})

    assert any(called in kernel.callees for kernel in made.kernels)
    return replace(made, kernels=[changed(kernel) for kernel in made.kernels])


def scaled(result: str, factor: object) -> Callable[[Program], Program]:
    """A factor in front of one result."""

    def change(program: Program) -> Program:
        (place,) = (k for k, r in enumerate(program.results) if r.name == result)
        r = program.results[place]
        wrong = replace(r, node=linear_combination([(factor, r.node)]))
        results = (*program.results[:place], wrong, *program.results[place + 1 :])
        return replace(program, results=results)

    return change


def exchanged(one: str, other: str) -> Callable[[Program], Program]:
    """One argument read in place of another of the same space."""

    def change(program: Program) -> Program:
        nodes = {a.name: a.variable for a in program.arguments}
        assert nodes[one].space == nodes[other].space
        swap = {nodes[one]: nodes[other], nodes[other]: nodes[one]}
        arguments = tuple(
            replace(a, variable=swap.get(a.variable, a.variable)) for a in program.arguments
        )
        return replace(program, arguments=arguments)

    return change


DAMAGES = [
    # the influence, and so nothing but RTRL
    (VANILLA, "cell_influence", scaled("influence_W_U_b_next", 2), {"methods", "influence"}),
    (VANILLA, "cell_readout", scaled("gradient_W_U_b", 2), {"methods"}),
    # eps one step down
    (VANILLA, "cell_backward", scaled("h_bar_before", 2), {"sequence difference", "methods"}),
    # the adjoints of one parameter, of the input, of the state that resets begin from
    (VANILLA, "cell_adjoints", scaled("cell_U_bar", 2), {"sequence difference", "methods"}),
    (VANILLA, "cell_adjoints", scaled("x_bar", 2), {"sequence difference"}),
    (VANILLA, "cell_backward", scaled("h_reset_bar", 2), {"sequence difference"}),
    # Lambda
    (VANILLA, "cell_block_step", scaled("Lambda_before", 2), {"methods"}),
    (VANILLA, "cell_block_end", scaled("influence_W_U_b_next", 2), {"methods"}),
    # the forward step, in which all methods agree with one another
    (VANILLA, "cell_transition", scaled("h_next", 2), {"unrolled"}),
    (VANILLA, "observed_loss", scaled("losses", 2), {"unrolled", "sequence difference"}),
    # a reset that keeps what it should leave: the masks of resets and of lengths exchanged
    (VANILLA, "cell_influence", exchanged("reset", "active"), {"methods", "influence"}),
    # a state at the beginning where another one begins
    (LEARNED, "cell_influence", exchanged("h", "h_reset"), {"methods", "influence"}),
    (GRU, "cell_influence", scaled("influence_W_to_V_next", 2), {"methods", "influence"}),
]


@pytest.mark.parametrize("number", range(len(DAMAGES)))
def test_a_damaged_step_fails(number) -> None:
    network, name, change, expected = DAMAGES[number]
    laws = {"sequence kernel", *expected}
    assert failing(network, damaged(network, name, change), laws) == laws


@pytest.mark.parametrize("network", [VANILLA, LEARNED, GRU], ids=lambda network: network.name)
def test_without_damage_none_fails(network) -> None:
    laws = {"sequence kernel", *(law for *_, expected in DAMAGES for law in expected)}
    assert not failing(network, sound(network), laws)
