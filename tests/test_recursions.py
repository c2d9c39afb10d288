"""The written recursions of recurrent networks, every equation asserted: BPTT, RTRL, hybrid."""

import re
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from derived import derived
from recurrent_networks import NETWORKS
from test_derivation import claims, wrong

from derive import derivation, library
from derive.calculus import calculus, structure
from derive.language.expressions import linear_combination
from derive.language.reference import values_of
from derive.language.scalars.operations import Operation
from derive.language.spaces import leaves
from derive.models.levels import BACKWARD
from derive.models.sharing import parted
from derive.recurrence.blocks import identity
from derive.writing.layers.claims import FalseEquation, check
from derive.writing.sequences.backward_section import BackwardSection
from derive.writing.sequences.hybrid_section import HybridSection
from derive.writing.sequences.network_problem import NetworkProblem
from derive.writing.sequences.onestep import OneStep
from derive.writing.sequences.online_section import OnlineSection
from derive.writing.sequences.parts import Part
from derive.writing.sequences.recursions import FUTURE, LEVELS, NOTHING, UNOBSERVED, equations_of
from derive.writing.theorems import generic_recurrent as chapter5
from derive.writing.theorems.theorem import meant

SLOW = {"lstm_on_gru", "peephole_lstm"}  # 30 s and 13 s, and nothing that the others have not
SHORT = [name for name in NETWORKS if name not in SLOW]
ELMAN = library.layers()["elman"]


@cache
def document(name):
    """The document of a network of the tests or of the library."""
    return derived(NETWORKS[name] if name in NETWORKS else library.layers()[name])


def sections(network):
    """Backpropagation, and where they apply RTRL and the hybrid, as they are asserted."""
    problem = NetworkProblem(network)
    backward = BackwardSection(problem)
    yield problem, equations_of([*backward.errors(), *backward.blocks()])
    if network.is_online:
        online = OnlineSection(backward)
        yield problem, equations_of(list(online.blocks()))
        yield problem, equations_of(list(HybridSection(online).blocks()))


@pytest.mark.parametrize("name", SHORT)
def test_every_network_has_its_recursions(name) -> None:
    """Each is derived, which asserts all of its equations, and has the sections that apply."""
    network, tex = NETWORKS[name], document(name).tex
    if network.loss is None:
        assert UNOBSERVED in tex and r"\section*{Backpropagation through time}" not in tex
        return
    assert r"\section*{Backpropagation through time}" in tex
    is_carried = network.is_online and (network.learned or bool(network.cells[0].parameters))
    assert (r"\section*{The exact hybrid of both}" in tex) == is_carried
    assert (NOTHING in tex) == (network.is_online and not is_carried)
    if not network.is_online:
        backward = any(cell.direction == BACKWARD for cell in network.cells)
        assert (FUTURE if backward else LEVELS) in tex
    whole, uses = parted(network)  # a gradient for every use of what is shared
    arrays = sum(len(list(leaves(x.space))) for x in whole.parameters)
    assert tex.count("one array that is used twice") == len(uses)
    if network.learned:
        arrays += len(list(leaves(network.cells[0].state.space)))
    assert len(re.findall(r"\\nabla_\{.*\} \\mathcal\{J\} &= ", tex)) == arrays


# --- what is fixed


def test_what_is_fixed_is_told_and_stands_in_the_transition() -> None:
    tex = document("leaking").tex
    assert r"h_{i} &= f(h_{i-1}, x_{i}; W, \mathrm{rate}, U, b)" in tex
    assert (
        r"Parameters: $W \in \mathbb{R}^{n \times n}$, $U \in \mathbb{R}^{n \times m}$, "
        r"$V \in \mathbb{R}^{k \times n}$. Fixed: $\mathrm{rate} \in \mathbb{R}^{n}$, "
        r"$b \in \mathbb{R}^{n}$, $c \in \mathbb{R}^{k}$; "
        "there is no derivative with respect to these."
    ) in tex
    assert r"\nabla_{\mathrm{rate}}" not in tex and r"\nabla_{c}" not in tex


def test_a_reservoir_carries_nothing_forward() -> None:
    assert NOTHING in document("reservoir").tex


# --- what is said of some cells, by hand


def lines(name) -> str:
    return document(name).tex


def test_the_vanilla_network_is_the_thesiss() -> None:
    """(5.39) with its gradients, (5.43) in matrices, (5.46)."""
    tex = lines("elman")
    for line in (
        r"\varepsilon_{i-1} &= W^{\mathsf T} \bar{z}_{i} + V^{\mathsf T} e_{i-1} = "
        r"W^{\mathsf T} (\tanh'(z_{i}) \odot \varepsilon_{i}) + V^{\mathsf T} e_{i-1}",
        r"\nabla_{W} \mathcal{J} &= \sum_{i=1}^{L} \bar{z}_{i}\,h_{i-1}^{\mathsf T}",
        r"\nabla_{U} \mathcal{J} &= \sum_{i=1}^{L} \bar{z}_{i}\,x_{i}^{\mathsf T}",
        r"\nabla_{V} \mathcal{J} &= \sum_{i=1}^{L} e_{i}\,h_{i}^{\mathsf T}",
        r"e_{i} &= \omega_{i} (\hat{y}_{i} - y_{i})",
        r"{D f_{i}} &= \operatorname{diag}(\tanh'(z_{i}))\,W",
        r"J^{W}_{i} &= {D f_{i}}\,J^{W}_{i-1} + \operatorname{diag}(\tanh'(z_{i})) \otimes h_{i-1}",
        r"J^{b}_{i} &= {D f_{i}}\,J^{b}_{i-1} + \operatorname{diag}(\tanh'(z_{i}))",
        r"\nabla_{W} \mathcal{J}_{i} &= (J^{W}_{i})^{*}\,V^{\mathsf T} e_{i}",
        r"\Lambda_{i-1} &= \Lambda_{i}\,{D f_{i}}",
    ):
        assert line in tex, line


def test_the_lstm_has_two_by_two_blocks_and_one_recursion_for_all_parameters() -> None:
    tex = lines("lstm_classifier")
    for line in (
        r"{D_{c} \phi_{c,t}} &= \operatorname{diag}(\operatorname{sigmoid}(f_{t}))",
        r"\operatorname{diag}(\tanh'(c_{\mathrm{next},t}) \odot \operatorname{sigmoid}(o_{t}))\,"
        r"{D_{h} \phi_{c,t}}",
        r"{\nabla_{\pi_{2} W} \phi_{c,t}} &= \operatorname{diag}(\operatorname{sigmoid}'(f_{t}) "
        r"\odot c_{t-1}) \otimes h_{t-1}",
        r"J^{\theta}_{c,t} &= {D_{h} \phi_{c,t}}\,J^{\theta}_{h,t-1} + "
        r"{D_{c} \phi_{c,t}}\,J^{\theta}_{c,t-1} + {\nabla_{\theta} \phi_{c,t}}",
        r"\Lambda_{h c,t-1} &= \Lambda_{h h,t}\,{D_{c} \phi_{h,t}} + "
        r"\Lambda_{h c,t}\,{D_{c} \phi_{c,t}}",
    ):
        assert line in tex, line


def test_a_diagonal_cell_keeps_its_influence_compressed() -> None:
    tex = lines("independent_rnn")
    assert r"{D f_{i}} &= \operatorname{diag}(w \odot \tanh'(z_{i}))" in tex
    assert r"J^{w}_{i} &= w \odot \tanh'(z_{i}) \odot J^{w}_{i-1} + h_{i-1} \odot" in tex
    assert r"$J^{U}_{i}$ $\in \mathbb{R}^{n \times m}$" in tex


def test_reset_weights_are_a_matrix_times_a_vector() -> None:
    tex = lines("gru_reset_before")
    assert r"J^{\pi_{1} W}_{i} &= {D f_{i}}\,J^{\pi_{1} W}_{i-1} + Q_{i} \otimes h_{i-1}" in tex
    assert r"(\Lambda_{i} Q_{i}) \otimes h_{i-1}" in tex


def test_a_cell_that_runs_backward_goes_up_in_time() -> None:
    tex = lines("bidirectional_rnn")
    assert r"\varepsilon_{\leftarrow,i+1} &= W_{\leftarrow}^{\mathsf T}" in tex
    assert r"\bar{z}_{\leftarrow,i}\,h_{\leftarrow,i+1}^{\mathsf T}" in tex
    assert FUTURE in tex


def test_what_is_sent_down_a_level() -> None:
    tex = lines("deep_bidirectional_lstm")
    sent = r"e_{1,t} &= U_{2,\rightarrow}^{*} \bar{z}_{2,\rightarrow,t} + "
    assert sent + r"U_{2,\leftarrow}^{*} \bar{z}_{2,\leftarrow,t}" in tex


def test_a_learned_initial_state_has_its_gradient_and_its_influence() -> None:
    tex = lines("vanilla_rnn")
    assert r"\nabla_{h_{0}} \mathcal{J} &= \varepsilon_{0}" in tex
    assert r"J^{h_{0}}_{i} &= {D f_{i}}\,J^{h_{0}}_{i-1} &&" in tex


# --- against the thesis's algorithm, by hand


def test_the_sums_are_those_of_algorithm_5_2_1() -> None:
    """BPTT of the vanilla network in NumPy, at the point where its equations are asserted."""
    problem = NetworkProblem(ELMAN)
    (cell,), g = problem.floors[0].cells, problem.floors[0].prediction
    equations = next(sections(ELMAN))[1]
    found = {x.name: problem.backward.of_cell(cell, None, x) for x in cell.parameters}
    found |= {x.name: problem.backward.of_prediction(problem.floors[0], x) for x in g.parameters}
    point = problem.point(equations)
    values = dict(
        zip(found, values_of(list(found.values()), point.values, point.sizes), strict=True)
    )
    expected = by_hand({x.name: value for x, value in point.values.items()})
    for name, value in values.items():
        # some 50 roundings on the way to an entry, each eps/2 of terms as large as the largest one
        assert abs(value - expected[name]).max() <= 100 * 2.3e-16 * abs(expected[name]).max()


def by_hand(v, steps=3):
    """Algorithm 5.2.1 for the squared loss, each loss with its weight."""
    W, U, b, V, c = (v[name] for name in ("W", "U", "b", "V", "c"))
    h = [v["h_step0"]]
    for t in range(1, steps + 1):
        h.append(np.tanh(W @ h[-1] + U @ v[f"x_step{t}"] + b))
    sums = {name: np.zeros_like(v[name]) for name in ("W", "U", "b", "V", "c")}
    eps = np.zeros_like(h[0])
    for t in range(steps, 0, -1):
        e = v[f"omega_step{t}"] * (V @ h[t] + c - v[f"y_step{t}"])
        eps = eps + V.T @ e
        d = (1 - h[t] ** 2) * eps
        for name, share in (
            ("V", np.outer(e, h[t])),
            ("c", e),
            ("W", np.outer(d, h[t - 1])),
            ("U", np.outer(d, v[f"x_step{t}"])),
            ("b", d),
        ):
            sums[name] = sums[name] + share
        eps = W.T @ d
    return sums


# --- nothing false is written


@pytest.mark.parametrize("name", ["vanilla_rnn", "independent_rnn", "rotation_rnn", "two_ways"])
@pytest.mark.parametrize("side", ["left", "right"])
def test_an_equation_that_is_off_by_a_thousandth_is_refused(name, side) -> None:
    refused = 0
    for problem, equations in sections(NETWORKS[name]):
        for equation in equations:
            one = getattr(equation, side)
            damaged = replace(equation, **{side: replace(one, meaning=wrong(one.meaning))})
            point = problem.point([damaged])
            if equation.reason == "vanishes":  # a thousandth more than zero is zero
                continue
            with pytest.raises(FalseEquation, match="nothing is written"):
                check(name, [damaged], point)
            refused += 1
    assert refused > 10


def doubled_derivative(monkeypatch) -> None:
    original = Operation.derivative
    monkeypatch.setattr(Operation, "derivative", lambda psi, k=0: original(original(psi, k), k))


def opened_twice(monkeypatch) -> None:
    original = calculus.opened
    twice = lambda node, position, u: linear_combination([(2, original(node, position, u))])  # noqa: E731
    monkeypatch.setattr(calculus, "opened", twice)


def doubled_slope(monkeypatch) -> None:
    """The chain rule of the structured derivative with a factor too many."""
    original = structure.elementwise
    twice = lambda psi, *z: linear_combination([(2, original(psi, *z))])  # noqa: E731
    monkeypatch.setattr(structure, "elementwise", twice)


def forgotten_operand(monkeypatch) -> None:
    """The product rule of the structured derivative without what moves the first operand."""
    original = structure._through
    monkeypatch.setattr(
        structure, "_through", lambda node, k, term: original(node, k, term) if k else []
    )


def tied_too_much(monkeypatch) -> None:
    """The influence compressed though D f is dense."""
    monkeypatch.setattr(OneStep, "influence_ties", lambda self: self.nabla.ties)


def identity_kept(monkeypatch) -> None:
    """Lambda compressed as the identity is."""
    monkeypatch.setattr(OneStep, "lambda_ties", lambda self: identity(self.D.rows).ties)


def scaled_adjoint(monkeypatch) -> None:
    """What a part pulls back a little too large."""
    original = Part.pulled

    def pulled(self, leaf):
        found = original(self, leaf)
        return None if found is None else linear_combination([(1.001, found)])

    monkeypatch.setattr(Part, "pulled", pulled)


DAMAGES = [
    doubled_derivative,
    opened_twice,
    doubled_slope,
    forgotten_operand,
    tied_too_much,
    identity_kept,
    scaled_adjoint,
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_rule_writes_nothing(damage, monkeypatch) -> None:
    damage(monkeypatch)
    with pytest.raises(FalseEquation, match="nothing is written"):
        derivation(ELMAN)


# --- the generic results of chapter 5

theorems = pytest.mark.parametrize("make", chapter5.THEOREMS, ids=lambda make: make.__name__)


@theorems
def test_a_generic_result_is_the_thesiss(make) -> None:
    theorem = make()
    check(theorem.number, claims(theorem), theorem.point())


@theorems
def test_another_formula_than_the_thesiss_is_refused(make) -> None:
    theorem = make()
    own = theorem.result

    def off(problem):
        left, meaning, right = own(problem)
        return left, meaning, linear_combination([(1.001, right)])

    damaged = replace(theorem, result=off)
    with pytest.raises(FalseEquation):
        check(damaged.number, claims(damaged), damaged.point())


def test_the_error_at_the_start_of_a_block_has_no_loss_of_its_own() -> None:
    """With the loss of the block before, the gradient of the block would count it twice."""
    theorem = chapter5.block_gradient()
    more = theorem.named[chapter5.eps_0] + chapter5.worth("loss_1", chapter5.h_i)
    damaged = replace(theorem, named={**theorem.named, chapter5.eps_0: more})
    with pytest.raises(FalseEquation):
        check(damaged.number, [meant(e) for e in damaged._result()], damaged.point())
