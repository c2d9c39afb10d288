"""The written derivation: every printed equation holds, and none that does not is printed."""

from dataclasses import replace

import declared
import numpy as np
import pytest

from derive import (
    Hom,
    Layer,
    R,
    SpaceError,
    dims,
    elementwise_function,
    exp,
    layer,
    library,
    log,
    sigmoid,
    sqrt,
    tanh,
    variable,
)
from derive.calculus import calculus
from derive.evidence.checks.cases import Cases
from derive.evidence.checks.findings import vector
from derive.kernels.lowering.lower import lower
from derive.language.expressions import Elementwise, LinearCombination, linear_combination
from derive.language.reference import values_of
from derive.language.scalars.operations import Operation
from derive.language.walk import topological
from derive.models.programs import programs
from derive.writing.documents.document import derivation
from derive.writing.layers import algorithm
from derive.writing.layers.blocks import Display
from derive.writing.layers.claims import Difference, Equation, FalseEquation, Side, check
from derive.writing.layers.definitions import definitions
from derive.writing.layers.problem import Problem
from derive.writing.layers.sections import Sections
from derive.writing.layers.steps import Steps
from derive.writing.theorems import generic
from derive.writing.theorems.theorem import meant
from derive.writing.typesetting.letters import symbol

n = dims("n")
ODD = {name: value for name, value in vars(declared).items() if isinstance(value, Layer)}
LAYERS = {**library.layers(), **ODD}
layers = pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)


def equations(problem) -> list[Equation]:
    """All equations of both orders."""
    steps = Steps(problem)
    blocks = [*steps.formula(), *steps.first_order(), *steps.second_order()]
    return [e for block in blocks if isinstance(block, Display) for e in block.equations]


@layers
def test_every_equation_holds(layer) -> None:
    problem = Problem(layer)
    found = equations(problem)
    check(layer.name, found, problem.point)
    assert len(found) >= 3


def test_what_is_fixed_is_told_and_nothing_is_derived_by_it() -> None:
    tex = derivation(declared.evaluated).tex
    said = (
        "Fixed: $\\mu \\in \\mathbb{R}^{m}$, $\\sigma \\in \\mathbb{R}^{m}$. Fixed arguments are "
    )
    assert said + "constant: the same for all points of a batch, with no derivative." in tex
    assert r"Parameters: $\gamma" in tex and r"f(x; \gamma, \mu, \beta, \sigma)" in tex
    assert r"\nabla_{\gamma}" in tex
    assert r"\nabla_{\mu}" not in tex and r"\nabla_{\sigma}" not in tex


@layers
def test_the_lines_are_the_layer(layer) -> None:
    """The definitions, put together, are the layer's output."""
    problem = Problem(layer)
    whole = problem.closing(problem.output)
    pair = [whole, problem.opened(layer.output)]
    ours, theirs = values_of(pair, problem.point.values, problem.point.sizes)
    np.testing.assert_array_equal(vector(ours), vector(theirs))


@layers
def test_what_a_function_is_applied_to_has_a_name(layer) -> None:
    """A variable, a number, a multiple or a part of one: the chain rule is one line a name."""
    for line in definitions(layer, "out").lines:
        for node in topological(line.expression):
            arguments = node.arguments if isinstance(node, Elementwise) else ()
            assert not any(isinstance(z, Elementwise) for z in arguments)
            assert not any(isinstance(z, LinearCombination) and len(z.terms) > 1 for z in arguments)


def wrong(meaning):
    """Off by a thousandth; a difference quotient along directions that are longer by as much."""
    if isinstance(meaning, Difference):
        return replace(meaning, node=linear_combination([(1.001, meaning.node)]))
    return linear_combination([(1.001, meaning)])


@pytest.mark.parametrize("name", ["dense", "layer_norm", "lstm_step", "conv1d"])
@pytest.mark.parametrize("side", ["left", "right"])
def test_an_equation_that_is_off_by_a_thousandth_is_refused(name, side) -> None:
    problem = Problem(LAYERS[name])
    for equation in equations(problem):
        one = getattr(equation, side)
        damaged = replace(equation, **{side: Side(one.shown, wrong(one.meaning))})
        with pytest.raises(FalseEquation, match=f"{name}: equation 1 .* is off by"):
            check(name, [damaged], problem.point)


def doubled_derivative(monkeypatch) -> None:
    original = Operation.derivative
    monkeypatch.setattr(Operation, "derivative", lambda psi, k=0: original(original(psi, k), k))


def transposed_twice(monkeypatch) -> None:
    original = calculus.opened

    def opened(node, position, u):
        return linear_combination([(2, original(node, position, u))])

    monkeypatch.setattr(calculus, "opened", opened)


def forgotten_factor(monkeypatch) -> None:
    """The product rule without its last term."""
    original = calculus.sum_like

    def total(like, terms):
        terms = list(terms)
        return original(like, terms[:-1] if len(terms) > 1 else terms)

    monkeypatch.setattr(calculus, "sum_like", total)


@pytest.mark.parametrize("damage", [doubled_derivative, transposed_twice, forgotten_factor])
def test_a_damaged_rule_writes_nothing(damage, monkeypatch) -> None:
    damage(monkeypatch)
    with pytest.raises(FalseEquation, match="nothing is written"):
        derivation(library.layers()["dense"])


# --- the algorithm


@layers
def test_the_algorithm_computes_the_results_as_it_is_printed(layer) -> None:
    sections = Sections(Problem(layer), symbol)
    assert len(list(sections.algorithms())) == 2 + len(programs(layer))


@pytest.mark.parametrize("name", ["dense", "gated"])
def test_a_line_that_is_left_out_of_the_algorithm_is_refused(name, monkeypatch) -> None:
    layer = LAYERS[name]
    made = programs(layer)
    case, original = Cases(layer, made, 0).four, algorithm.assignments
    for kernel in map(lower, made):
        lines = list(original(kernel))
        for k, line in enumerate(lines):
            if line.saved:
                continue
            rest = [*lines[:k], *lines[k + 1 :]]
            monkeypatch.setattr(algorithm, "assignments", lambda _, rest=rest: rest)
            with pytest.raises((FalseEquation, TypeError)):
                algorithm.check(kernel, case)


# --- the generic results

theorems = pytest.mark.parametrize("make", generic.THEOREMS, ids=lambda make: make.__name__)


def claims(theorem) -> list[Equation]:
    """The equations of a theorem, with functions put in for the unknown ones."""
    found = [e for b in theorem.blocks() if isinstance(b, Display) for e in b.equations]
    return [meant(equation) for equation in found]


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


def test_a_local_that_is_called_like_a_made_up_name() -> None:
    """t and W_x are what a kernel would call its own arrays."""

    @layer
    def highway(x: R(n), *, W: Hom(R(n), R(n)), V: Hom(R(n), R(n))) -> R(n):
        t = sigmoid(W @ x)
        W_x = tanh(V @ x) * t
        return W_x + x * (1 - t)

    derivation(highway)


def test_a_square_matrix_is_divided_by_on_paper() -> None:
    """The calculus' own powers are entry by entry; only a user's A**-1 may mean an inverse."""
    A, B = variable("A", R(n, n)), variable("B", R(n, n))
    f = Layer.of("f", state={"A": A.space, "B": B.space}, output=B / A + log(A * A + 1) + 1 / A)
    tex = derivation(f).tex
    assert r"2 (B \oslash A^{\odot 3}) \odot v \odot w" in tex
    assert r"2 A^{\odot(-3)} \odot v \odot w" in tex
    with pytest.raises(SpaceError, match="not an inverse"):
        A**-1


x = variable("x", R(n))
STEEP_OR_FAR = {
    "steep": exp(-100 * x),
    "power of itself": elementwise_function("p", lambda a, b: a**b)(x, x),
    "above 2": log(x - 2),
    "above 1": sqrt(log(x)),
    "below 0": log(-x),
    "far": sqrt(x - 10**5),
}


@pytest.mark.parametrize("name", STEEP_OR_FAR)
def test_a_right_layer_is_written(name) -> None:
    """Whatever its third derivative is, and wherever it is real."""
    f = Layer.of("f", state={"x": x.space}, output=STEEP_OR_FAR[name])
    assert r"\end{document}" in derivation(f).tex


def test_a_named_sum_that_is_returned_twice_is_written() -> None:
    """The second result is a line of its own, in the kernel and in the document."""
    m = dims("m")

    @layer
    def twice(x: R(n), *, W: Hom(R(n), R(m)), b: R(m)) -> R(m) * R(m) * R(m):
        z = W @ x + b
        return z, tanh(z), z

    forward = next(p for p in programs(twice) if p.name == "forward")
    assert "y_2 = z" in lower(forward).lines
    assert derivation(twice).tex
