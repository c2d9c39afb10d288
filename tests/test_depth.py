"""No walk over an expression goes down it by recursion, and work grows with it in proportion.

Chains of 2,000 operations go through the stages under Python's own limit of 1,000 frames; growth is
counted (nodes, statements, characters), never timed.
"""

import itertools
import re
import sys
from collections.abc import Callable
from functools import reduce

import numpy as np
import pytest
import sympy
from growth import calls_of

from derive import (
    Hom,
    R,
    cell,
    dims,
    elementwise_function,
    layer,
    norm,
    recurrent,
    sqrt,
    tanh,
    variable,
)
from derive.evidence.proofs.components import to_sympy
from derive.evidence.proofs.proof import Undecided, prove
from derive.kernels.interpreting.interpret import Interpreted
from derive.kernels.lowering.lower import lower
from derive.kernels.printing.cython.emit import emit
from derive.kernels.statements.instances import instances
from derive.kernels.statements.loops import Let
from derive.language.abbreviations import DEPTH, LENGTH, abbreviated
from derive.language.reference import value
from derive.language.scalars.operations import OperationError
from derive.language.spaces import SpaceError
from derive.language.walk import rewrite, topological
from derive.library.losses import squared_loss
from derive.library.rnn import readout
from derive.models.layers import Layer
from derive.models.programs import programs
from derive.writing.documents.document import derivation
from derive.writing.layers.algorithm import assignments
from derive.writing.layers.definitions import Definition, derived

n = dims("n")
LONG = 2000


def composed(count: int) -> Layer:
    """tanh after tanh, none with a name."""

    @layer
    def chain(x: R(n)) -> R(n):
        return reduce(lambda h, _: tanh(h), range(count), x)

    return chain


def horner(count: int) -> Layer:
    """h x + 1, again and again."""

    @layer
    def steps(x: R(n), *, w: R(n)) -> R(n):
        return reduce(lambda h, _: h * x + 1, range(count), w)

    return steps


def summed(count: int) -> Layer:
    """A sum of as many terms, two by two."""

    @layer
    def terms(x: R(n)) -> R(n):
        return reduce(lambda h, k: h + tanh((k + 1) * x), range(count), x)

    return terms


def affine(count: int) -> Layer:
    """tanh(W h + b), again and again."""

    @layer
    def deep(x: R(n), *, W: Hom(R(n), R(n)), b: R(n)) -> R(n):
        return reduce(lambda h, _: tanh(W @ h + b), range(count), x)

    return deep


def named(count: int) -> Layer:
    """The same local bound again and again."""

    @layer
    def loop(x: R(n)) -> R(n):
        h = x
        for _ in range(count):
            h = tanh(h)
        return h

    return loop


def doubled(count: int) -> Layer:
    """Each step reads the one before twice: written out, its text would double."""

    @layer
    def product(x: R(n), *, w: R(n)) -> R(n):
        return reduce(lambda h, _: h * tanh(w * h), range(count), x)

    return product


def squared_roots(count: int) -> Layer:
    """What is rewritten before it is derived, again and again."""

    @layer
    def roots(x: R(n)) -> R():
        return reduce(lambda h, _: sqrt(1 + h * h), range(count), norm(x))

    return roots


KINDS: dict[str, Callable[[int], Layer]] = {
    f.__name__: f for f in (composed, horner, summed, affine, named, doubled)
}
DERIVED = {**KINDS, "squared_roots": squared_roots}


@pytest.mark.parametrize("kind", ["composed", "horner", "summed", "named"])
def test_long_chains_are_derived_and_printed(kind: str) -> None:
    assert sys.getrecursionlimit() == 1000
    f = KINDS[kind](LONG)
    derivative = f.D()
    for item in (f.output, derivative.body, derivative.adjoint.body):
        assert str(item)
    assert f.D2().hook().adjoint.body.space == R(n)


@pytest.mark.parametrize("kind", ["composed", "horner", "named"])
def test_forward_of_a_long_chain_is_lowered(kind: str) -> None:
    forward = programs(KINDS[kind](LONG))[0]
    assert len(list(instances(lower(forward).steps, Let))) >= LONG // DEPTH


@pytest.mark.parametrize("kind", KINDS)
def test_work_grows_in_proportion(kind: str) -> None:
    """Twice the operations are at most 2.2 times the nodes, statements and characters."""
    sizes = []
    for count in (40, 80):
        f = KINDS[kind](count)
        made = programs(f)
        nodes = len(topological(*(r.node for p in made for r in p.results)))
        kernels = [lower(p) for p in made]
        parts = sum(len(list(instances(k.steps, object))) for k in kernels)
        sizes.append((nodes, parts, len(emit(f, made[:2]).pyx)))
    assert all(long <= 2.2 * short for short, long in zip(*sizes, strict=True)), sizes


@pytest.mark.parametrize("kind", KINDS)
def test_deep_kernels_compute_what_the_formula_says(kind: str) -> None:
    """Interpreted, 150 operations; the chain itself by a loop in NumPy.

    Each step is off by a few eps and none of them makes errors larger here: |x| <= 1/2.
    """
    count, random = 150, np.random.default_rng(3)
    x, w, b = (random.uniform(-0.5, 0.5, 3) for _ in range(3))
    W = random.uniform(-0.3, 0.3, (3, 3))
    expected = {"summed": x, "horner": w}.get(kind, x)
    for k in range(count):
        expected = {
            "horner": lambda h: h * x + 1,
            "summed": lambda h, k=k: h + np.tanh((k + 1) * x),
            "affine": lambda h: np.tanh(W @ h + b),
            "doubled": lambda h: h * np.tanh(w * h),
        }.get(kind, np.tanh)(expected)
    f = KINDS[kind](count)
    given = {a.name: {"x": x[None], "w": w, "W": W, "b": b}[a.name] for a in f.arguments}
    made = Interpreted(lower(programs(f)[0]))(**given)
    found = np.asarray(made[0] if isinstance(made, tuple) else made).reshape(3)
    tolerance = 4 * count * np.finfo(float).eps
    assert np.max(abs(found - expected)) <= tolerance * np.max(abs(expected))


@pytest.mark.parametrize("kind", DERIVED)
def test_the_derivation_is_written(kind: str) -> None:
    """Every equation asserted; twice the operations are at most 2.4 times the text: names, which
    are numbered, get longer."""
    short, long = (len(derivation(DERIVED[kind](count)).tex) for count in (20, 40))
    assert long <= 2.4 * short


def _lines(count: int) -> list[Definition]:
    x = [variable(f"x_{k}", R(n)) for k in range(count)]
    return [Definition(z, tanh(y)) for y, z in itertools.pairwise(x)]


def test_lines_are_derived_and_assigned_by_work_in_proportion() -> None:
    """Twice the lines are at most 2.2 times the calls: no line goes over those before it."""
    v = variable("v", R(n))
    lines = [_lines(count) for count in (200, 400)]
    short, long = (
        calls_of(lambda x=x: derived(x, {x[0].expression.operands[0]: v}, "d")) for x in lines
    )
    assert long <= 2.2 * short
    backward = [lower(programs(composed(count))[2]) for count in (200, 400)]
    short, long = (calls_of(lambda k=k: list(assignments(k))) for k in backward)
    assert long <= 2.2 * short


def test_the_derivation_of_a_network_with_a_deep_cell_is_written() -> None:
    """What is too deep for a line is written with names for its parts, in all three algorithms."""

    @cell
    def deep(h: R(n), x: R(n), *, b: R(n)) -> R(n):
        return reduce(lambda g, _: tanh(b * g), range(64), h + x)

    network = recurrent("network", deep, prediction=readout, loss=squared_loss)
    text = derivation(network).tex
    named = re.findall(r"^\\quad (t_\{[^}]*\}) &=", text, re.MULTILINE)
    assert len(named) == len(set(named)) > 12
    assert all(name.endswith("i}") for name in named), "each at the time of what it is part of"


def test_what_is_kept_under_a_name_is_introduced_by_it() -> None:
    """What backward reads by name, since it is too long to be written there, forward keeps so."""
    text = derivation(doubled(12)).tex
    algorithms = text.partition("The compiled algorithm")[2]
    used = set(re.findall(r"saved\\_t\\_\d+", algorithms))
    kept = set(re.findall(r"keep \}\\mathrm\{(saved\\_t\\_\d+)\}", algorithms))
    assert used == kept and len(used) > 1


def test_ten_thousand_operations() -> None:
    f = composed(10_000)
    derivative = f.D()
    assert len(topological(derivative.adjoint.body)) > 10_000
    assert str(f.output).count("tanh") == 10_000
    x = np.array([0.3, -0.2])
    expected = reduce(lambda h, _: np.tanh(h), range(10_000), x)
    found = value(f.output, {f.state[0]: x}, {n: 2})
    # each of the steps is off by at most an eps of its value, and tanh makes no error larger
    assert np.max(abs(found - expected)) <= 1e4 * np.finfo(float).eps * np.max(abs(expected))


def test_the_proof_says_that_it_is_too_deep() -> None:
    with pytest.raises(Undecided, match="100 nested operations"):
        prove(composed(100))
    with pytest.raises(SpaceError, match="too deep for SymPy's recursion"):
        to_sympy(composed(LONG), {n: 1})


@pytest.mark.parametrize("count", [100, 1000])
def test_a_scalar_formula_that_is_too_deep_is_refused_in_words(count: int) -> None:
    with pytest.raises(OperationError, match="write the steps in the layer"):
        elementwise_function("f", lambda t: reduce(lambda h, _: sympy.sin(h) + 1, range(count), t))


def test_names_bound_depth_and_length() -> None:
    """Between two names there are at most DEPTH operations, also where h h doubles each time."""
    x = variable("x", R(n))
    deep = reduce(lambda h, _: tanh(h), range(500), x)
    wide = reduce(lambda h, _: h * h, range(60), x)
    for root in (deep, wide):
        names = abbreviated((root,), {}, {"t"})
        depth: dict[object, int] = {}
        for node in topological(root):
            depth[node] = 1 + max((depth[y] for y in node.operands), default=-1)
            assert depth[node] <= DEPTH
            depth[node] = 0 if node in names else depth[node]
        assert len(set(names.values())) == len(names) and "t" not in names.values()
        pieces = len(names) + 1  # each of two operands that are shorter than LENGTH
        assert len(str(root)) <= pieces * 2 * LENGTH * len("t_99 (.) ")


def test_rewriting_leaves_out_what_is_below() -> None:
    """Replacing all but the top of a chain does not go down it."""
    x, y = variable("x", R(n)), variable("y", R(n))
    below = reduce(lambda h, _: tanh(h), range(50), x)
    new = rewrite([tanh(below)], {below: y}.get)
    assert new == {below: y, tanh(below): tanh(y)}
