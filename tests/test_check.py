"""`check` and `derive check`: what they find of layers that hold and of one that does not."""

from pathlib import Path

import numpy as np
import pytest
import sympy
from mpmath import mp, mpf

import derive.evidence.checks.check as check_module
from derive import (
    AccuracyWarning,
    Gram,
    Hom,
    Index,
    R,
    dims,
    elementwise_function,
    exp,
    form,
    indices,
    inner,
    layer,
    library,
    log,
    norm,
    relu,
    sqrt,
    tanh,
    variable,
)
from derive.evidence.checks.accuracy import errors
from derive.evidence.checks.accuracy import findings as value_findings
from derive.evidence.checks.check import check, proof_findings, table
from derive.evidence.checks.drawing import NoPoint, Point, equal_sizes, gram_values, unequal_sizes
from derive.evidence.checks.findings import Finding, worst
from derive.evidence.checks.kinks import kink_values
from derive.evidence.checks.oracles import STEP, quotients
from derive.evidence.checks.sampling import MARGIN, point_of
from derive.evidence.proofs.proof import Verdict
from derive.kernels.interpreting import plain_edge
from derive.kernels.interpreting.evaluated import evaluated_module
from derive.models.programs import BATCH
from derive.tools import cli

n, m = dims("n m")
H, X = R(n), R(m)
i, j = indices("i j")
window = form("window", x=(i + j,), y=(j,), to=(i,), ranges={i: n - m})
SOFTPLUS_GATE = """
from derive import Hom, R, dims, layer, sigmoid, softplus

n, m = dims("n m")
X, H = R(n), R(m)


@layer
def softplus_gate(x: X, *, A: Hom(X, H), B: Hom(X, H), c: H) -> H:
    return softplus(A @ x) * sigmoid(B @ x + c)
"""
WRONG = """
from derive import R, dims, layer
from derive.language.expressions import held

n = dims("n")


@layer
def wrong(x: R(n)) -> R(n):
    return held(x) * x  # its derivative is not the derivative of its value


@layer
def right(x: R(n)) -> R(n):
    return x * x
"""


@layer
def roots(x: X, *, W: Hom(X, H)) -> H:
    return sqrt(W @ x) + log(W @ x)


@layer
def kinked(x: H, *, b: H) -> H:
    return relu(x - b)


def random() -> np.random.Generator:
    return np.random.default_rng(0)


# --- the command


def test_a_users_file_goes_through_all_checks(tmp_path: Path, capsys) -> None:
    file = tmp_path / "mine.py"
    file.write_text(SOFTPLUS_GATE)
    assert cli.main(["check", str(file), "--all", "--out", str(tmp_path / "kernels")]) == 0
    shown = capsys.readouterr().out
    laws = {line[len("softplus_gate") :].strip().split("  ")[0] for line in shown.splitlines()[1:]}
    assert {"adjoint", "symmetry", "remainder 2", "remainder 3", "difference"} <= laws
    assert {"difference of the adjoint", "complex step", "lift", "program", "kernel"} <= laws
    assert {"memory", "asked", "batch", "nan", "edges", "values", "proof"} <= laws
    assert "FAIL" not in shown and (tmp_path / "kernels" / "softplus_gate.pyx").exists()


def test_a_layer_that_does_not_hold_ends_in_status_1(tmp_path: Path, capsys) -> None:
    file = tmp_path / "mine.py"
    file.write_text(WRONG)
    assert cli.main(["check", f"{file}:wrong"]) == 1
    failed = [line for line in capsys.readouterr().out.splitlines() if "FAIL" in line]
    assert any("difference" in line for line in failed)


def test_a_name_that_is_none_is_said(capsys) -> None:
    assert cli.main(["check", "dance"]) == 1
    assert "the library has no layer 'dance'" in capsys.readouterr().err


# --- findings


@pytest.mark.parametrize("name", ["dense", "cross_entropy_index", "layer_norm"])
def test_the_library_holds(name: str) -> None:
    """Maps, programs and values; `derive check --all` does it with kernels for every layer."""
    assert [found for found in check(library.layers()[name]) if not found.ok] == []


def test_a_norm_at_zero_has_a_tolerance() -> None:
    """The slope of the root is infinite there, and what it would carry is exact."""

    @layer
    def f(x: R(n), y: R(n)) -> R():
        return norm(x) + inner(x, y)

    found = check(f, evaluated_module(f, plain_edge))
    assert all(finding.ok for finding in found)
    assert not any(np.isnan(finding.tolerance) for finding in found)


def test_a_finding_that_is_no_number_fails() -> None:
    assert not Finding("l", "law", "g", np.nan, 1.0).ok
    assert Finding("l", "law", "g", 0.0, 0.0).ok and not Finding("l", "law", "g", 1.0, 0.0).ok


def test_the_worst_finding_of_a_law_is_the_one_furthest_beyond_its_tolerance() -> None:
    near, beyond = Finding("l", "a", "g", 1e-3, 1.0), Finding("l", "a", "h", 1e-6, 1e-9)
    nan, other = Finding("l", "a", "i", np.nan, 1.0), Finding("l", "b", "g", 0.0, 0.0)
    assert worst([near, beyond, other]) == [beyond, other]
    assert worst([near, nan, beyond])[0] is nan
    vague, off = Finding("l", "a", "j", 0.0, np.nan), Finding("l", "a", "k", 1e9, np.nan)
    assert worst([vague, near, beyond])[0] is beyond and worst([near, off])[0] is off
    head, row, _ = table([near, beyond, other])
    assert head.split()[:3] == ["layer", "check", "worst"] and "FAIL" in row


def test_the_proof_is_one_finding_and_an_open_verdict_fails(monkeypatch) -> None:
    affine = library.layers()["affine"]
    (found,) = proof_findings(affine)
    assert found.ok and found.group.endswith("maps proved")
    open_ = [Verdict("D_x", "n=2", None), Verdict("nabla_W", "n=2", 1)]
    monkeypatch.setattr(check_module, "prove", lambda layer_, seed: open_)
    (found,) = proof_findings(affine)
    assert not found.ok and found.group == "1 of 2 maps proved, nabla_W"


def test_the_same_seed_gives_the_same_findings() -> None:
    dense = library.layers()["dense"]
    assert check(dense, seed=3) == check(dense, seed=3) != check(dense, seed=4)


# --- points


def test_sizes_are_unequal_and_leave_no_extent_empty() -> None:
    @layer
    def difference(x: R(n), y: R(m)) -> R(n - m):
        return window(x, y)

    assert sorted(unequal_sizes(roots).values()) == [3, 4]
    assert unequal_sizes(difference)[n] > unequal_sizes(difference)[m] >= 3
    assert equal_sizes(difference, 1) is None and equal_sizes(roots, 1) == {m: 1, n: 1}


def test_log_and_sqrt_are_met_at_positive_arguments() -> None:
    point = point_of(roots.batched(BATCH), {BATCH: 4, **unequal_sizes(roots)}, random())
    assert all((np.asarray(value) > 0).all() for value in point.values.values())


def test_points_are_away_from_kinks() -> None:
    for seed in range(20):
        generator = np.random.default_rng(seed)
        point = point_of(kinked, unequal_sizes(kinked), generator)
        assert all((abs(kink) >= MARGIN).all() for kink in kink_values(kinked.output, point))


def test_each_argument_may_be_real_in_a_range_of_its_own() -> None:
    @layer
    def apart(x: H, y: H) -> H:
        return log(x - 2) + log(-y)

    values = point_of(apart, unequal_sizes(apart), random()).values
    assert all((v > 2).all() if x.name == "x" else (v < 0).all() for x, v in values.items())


@pytest.mark.parametrize("slope", [1, -100, 1000])
def test_the_quotients_bound_is_that_of_the_third_derivative(slope) -> None:
    """exp(a x) at 1/4: off by h^2/6 a^3 exp(a x), to 1 % where a h is below 0.01.

    The bound is at most 4 times that with the roundings, and the 100 h^2 of smooth functions.
    """
    x, v = variable("x", R()), variable("v", R())
    point = Point({}, {x: np.array(0.25), v: np.array(1.0)})
    ((quotient, bound),) = quotients([exp(slope * x)], point, {x: point.values[v]})
    exact = float(slope * mp.exp(mpf(slope) / 4))
    truncation = STEP**2 / 6 * abs(slope**2 * exact)
    rounding = (8 + abs(slope) + 2) * 2**-52 / STEP * max(abs(exact), abs(exact / slope))
    assert abs(quotient[0] - exact) <= bound
    assert bound <= 4 * truncation + 2 * rounding + 100 * STEP**2 * abs(exact)


def test_a_layer_that_is_nowhere_finite_is_said() -> None:
    @layer
    def nowhere(x: H) -> H:
        return log(-1 - x * x)

    with pytest.raises(NoPoint, match="layer nowhere: no point found"):
        check(nowhere)


def test_gram_matrices_and_their_inverses_are_exact() -> None:
    @layer
    def weighted(x: R(n, gram=Gram("G"))) -> R(n, gram=Gram("G")):
        return 2 * x

    pair = gram_values(random(), weighted, {n: 5})
    gram, inverse = pair.values()
    np.testing.assert_array_equal(gram @ inverse, np.eye(5))
    assert (np.linalg.eigvalsh(gram) > 0).all() and not np.array_equal(gram, np.eye(5))


def test_every_entry_is_a_number_of_float32() -> None:
    point = point_of(roots, unequal_sizes(roots), random())
    assert all(np.array_equal(v, np.float32(v)) for v in point.values.values())


# --- elementwise values


def test_values_are_within_4_ulp_and_worse_ones_are_seen() -> None:
    x = variable("x", H)
    assert all(found.ok for found in value_findings("l", [tanh(x)]))
    with pytest.warns(AccuracyWarning, match="lossy: at t = .* loses its digits"):
        lossy = elementwise_function("lossy", lambda t: t - sympy.sin(t))(x)
    assert any(not found.ok for found in value_findings("l", [lossy]))


def test_errors_are_counted_in_ulp() -> None:
    """2 + 2^-51 is the float after 2."""
    psi, values = tanh(variable("x", H)).operation, np.array([1.0, 2 + 2**-51])
    assert errors(psi, [values], [mpf(1), mpf(2)], values).tolist() == [0, 1]


def test_indices_are_in_their_range() -> None:
    @layer
    def chosen(x: H, k: Index(n, 40)) -> H:
        return tanh(x)

    point = point_of(chosen, unequal_sizes(chosen), random())
    k = point.values[chosen.arguments[1].variable]
    assert k.min() == 0 and k.max() == unequal_sizes(chosen)[n] - 1
