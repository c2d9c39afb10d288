"""Checks and proofs at zeros, at equalities and far out see what random points do not."""

import mpmath as mp
import numpy as np
import pytest
import sympy
from shipped import SINGLE

from derive import (
    Gram,
    Hom,
    Index,
    Layer,
    Mask,
    R,
    broadcast,
    dims,
    elementwise_function,
    entry,
    exp,
    inner,
    layer,
    log_sum_exp,
    norm,
    prove,
    relu,
    scale,
    sqrt,
    total_sum,
    variable,
)
from derive.evidence.checks.check import check, edge_findings
from derive.evidence.checks.edge_laws import AtPoint, EdgeLaws
from derive.evidence.checks.findings import Finding
from derive.evidence.proofs.edge_points import (
    differing,
    edge_points,
    exactly,
    local,
    special_numbers,
)
from derive.evidence.proofs.proof import small_sizes
from derive.language.expressions import Variable
from derive.models.programs import programs

n, m = dims("n m")
X, H = R(n), R(m)
beyond_two = elementwise_function("beyond_two", lambda t: sympy.Piecewise((t, t > 2), (2, True)))

grow = elementwise_function("grow", sympy.exp, derivatives={1: sympy.exp})


@layer
def overflowing(x: X) -> X:
    """exp(x), but infinity times 0 far out; no law looks into what is said by hand."""
    return grow(2 * x) * grow(-x)


@layer
def exponential(x: X) -> X:
    """Beyond all numbers at one entry, next to zero at the other."""
    return exp(x)


@layer
def lossy(x: X) -> X:
    """x, but far out the digits are lost beside a large number."""
    large, again = total_sum(exp(x)), exp(log_sum_exp(x))
    return (x + broadcast(large, X)) - broadcast(again, X)


@layer
def halves(x: X) -> X:
    """x, whose derivative at 0 is 1; that of each half is 0 by convention."""
    return relu(x) - relu(-x)


@layer
def at_two(x: X) -> X:
    """The same at 2: x - 2 in two halves."""
    return beyond_two(x) - beyond_two(4 - x)


@layer
def conventions(x: X, k: Index(n), q: Mask(X), *, W: Hom(X, H)) -> H:
    """Kinks and poles are not mistakes: where there is no derivative, none is compared."""
    return relu(W @ (q * x)) + broadcast(norm(x) + total_sum(sqrt(x * x)) + entry(x, k), H)


def failed(f: Layer) -> list[Finding]:
    return [found for found in edge_findings(f, programs(f)) if not found.ok]


@pytest.mark.parametrize("f", [overflowing, lossy], ids=str)
def test_far_out_is_seen(f: Layer) -> None:
    """Of all laws only this one fails: at random points the layer is right."""
    found = [finding for finding in check(f) if not finding.ok]
    assert {finding.law for finding in found} == {"edges"}
    assert any("forward" in finding.group and "800" in finding.group for finding in found)


def test_an_entry_beyond_all_numbers_allows_nothing() -> None:
    """exp(800) is infinite; that exp(-800) comes out as 5 is seen beside it."""
    law = EdgeLaws(exponential, programs(exponential))
    (far,) = (p for p in edge_points(law.batched, law._sizes) if p.label == "some 800")
    right = law._by_reference
    law.runs = [(np.float64, lambda p, v: [np.where(np.isinf(u), u, u + 5) for u in right(p, v)])]
    found = {f.group.split(",")[0]: f.ok for f in AtPoint(law, far).findings()}
    assert found["forward"] is False and found["tangent"] is False
    law.runs = [(np.float64, right)]
    assert all(f.ok for f in AtPoint(law, far).findings())


def probe(output) -> tuple[Layer, Variable, dict]:
    f = Layer.of("f", state={"x": X}, output=output)
    return f, f.differentiable[0], small_sizes(f)[0]


@pytest.mark.parametrize(("f", "number"), [(halves, 0), (at_two, 2)], ids=["0", "2"])
def test_a_derivative_that_is_another_at_an_equality_is_seen(f: Layer, number: int) -> None:
    assert number in special_numbers(f.output)
    found = {finding.group.split(",")[0] for finding in failed(f)}
    assert found == {"tangent", "backward"}
    refuted = [verdict.map_name for verdict in prove(f) if not verdict.proved]
    assert set(refuted) == {f.D().name}


def test_a_derivative_without_curvature_is_no_mistake() -> None:
    """Those of t sqrt|t| and t |t|^(1/4) are 0 at 0: the quotient's gap is a root of its step."""
    for power in (sympy.Rational(1, 2), sympy.Rational(1, 4)):
        flat = elementwise_function("flat", lambda t, power=power: t * sympy.Abs(t) ** power)
        assert differing(*probe(lambda x, flat=flat: flat(x))) is None


def test_a_derivative_that_is_no_number_is_seen() -> None:
    """|x|^2 as the root of a sum of fourth powers is smooth at 0, and its formula's D is 0/0."""
    assert differing(*probe(lambda x: sqrt(total_sum(x**4)))) == 0
    assert differing(*probe(lambda x: inner(x, x))) is None
    assert differing(*probe(lambda x: scale(norm(x), x))) is None  # 0 by convention, and it is 0


def test_a_convention_is_no_mistake() -> None:
    assert failed(conventions) == []
    assert all(verdict.proved for verdict in prove(conventions))


@pytest.mark.parametrize("name", ["dense_softmax", "cross_entropy", "gated", "gru", "cosine"])
def test_the_library_holds_at_its_edges(name: str) -> None:
    found = list(edge_findings(SINGLE[name], programs(SINGLE[name])))
    assert [finding for finding in found if not finding.ok] == []
    assert {finding.group.split(", ")[-1] for finding in found} == {
        *("zero", "whole numbers", "some 30", "some 800")
    }


def test_the_points_are_where_they_are_said_to_be() -> None:
    points = list(edge_points(conventions, {n: 3, m: 4}))
    values = {p.label: {x.name: np.asarray(v) for x, v in p.values.items()} for p in points}
    assert not values["zero"]["x"].any() and not values["zero"]["W"].any()
    assert set(values["whole numbers"]["x"]) == {-1, 0, 1}
    for label, least, most in (("some 30", 27, 30), ("some 800", 720, 800)):
        x = values[label]["x"]
        assert (abs(x) >= least).all() and (abs(x) <= most).all() and len(set(np.sign(x))) == 2
    assert set(values["zero"]["q"]) == {0, 1} and values["zero"]["k"] < 3
    assert all(np.array_equal(v, np.float32(v)) for each in values.values() for v in each.values())


def test_a_gram_matrix_is_the_identity_there() -> None:
    E = R(n, gram=Gram("G"))
    f = Layer.of("f", state={"x": E}, output=lambda x: scale(norm(x), x))
    assert failed(f) == []


def test_exact_values_keep_what_floats_lose() -> None:
    """exp(-1000) and its derivative: 435 digits behind the point."""
    x = variable("x", R(2))
    at = {x: np.array([-1000.0, 0.0])}
    with mp.workdps(50):
        (found,) = exactly([exp(x)], at, {})
        assert abs(found[0] / mp.exp(-1000) - 1) < mp.mpf(10) ** -45 and found[1] == 1
        slope = local(exp(x), at, {}, {x: np.array([1.0, 2.0])}).slope
        assert abs(slope[0] / mp.exp(-1000) - 1) < mp.mpf(10) ** -30
        assert abs(slope[1] - 2) < mp.mpf(10) ** -30


def test_where_the_sides_differ_there_is_no_derivative() -> None:
    x = variable("x", R(3))
    point, along = {x: np.array([-1.0, 0.0, 1.0])}, {x: np.ones(3)}
    first, kink, last = local(relu(x), point, {}, along).slope
    assert (first, last) == (0, 1) and mp.isnan(kink)
