"""Running sums: every law holds of layers with them, and what they cost is linear in the axis."""

import shutil

import mpmath
import numpy as np
import pytest
import sympy
from conftest import QUICK, built
from kernels import ROUNDING, Runner, every, kernels_of, relative
from points import EPS, close, draw_all, moved, pairing
from structured import ROUNDING as OF_TERMS
from structured import errors

from derive import (
    Gram,
    Hom,
    Index,
    Layer,
    R,
    SpaceError,
    cell,
    cumsum,
    derivation,
    dims,
    exp,
    layer,
    prove,
    recurrent,
    sigmoid,
    tanh,
    to_sympy,
    total_sum,
    variable,
    with_sizes,
)
from derive.calculus.calculus import NotLinear, tangent, transpose
from derive.calculus.lift import lift
from derive.evidence.checks.check import check
from derive.evidence.checks.rounding import values_and_bounds
from derive.kernels.lowering.cost import count
from derive.kernels.statements.loops import For
from derive.language.expressions import RunningSum, zero
from derive.language.normal_form import normal, normalised
from derive.language.reference import value
from derive.library.losses import squared_loss
from derive.library.rnn import readout
from derive.models.programs import BATCH
from derive.tools.build import load_kernels, texts
from derive.tools.pdf import write_pdf

n, m, k = dims("n m k")
H, X = R(n), R(m)
G = Gram("G")
SIZES = {n: 3, m: 4, k: 5}


@layer
def vector(x: H) -> H:
    """y_k = x_1 + .. + x_k."""
    return cumsum(x)


@layer
def rows(A: R(n, m), *, B: R(n, m)) -> R(n, m):
    """Along the last axis of a matrix."""
    return tanh(cumsum(A * B)) - 2 * cumsum(B)


@layer
def reversed_(x: X, *, b: X) -> X:
    """From the end, weighed and beside another term."""
    return 3 * cumsum(tanh(x) * b, reverse=True) - x * b


@layer
def twice(x: H) -> H:
    """Running sums of running sums, with a function between and without."""
    return cumsum(sigmoid(cumsum(cumsum(x), reverse=True)))


@layer
def shares(x: X) -> X:
    """Each entry's share of those up to it."""
    e = exp(x)
    return e / cumsum(e)


@layer
def paired(x: R(n, gram=G), *, b: R(n, gram=G)) -> R(n, gram=G):
    """In the inner product of a Gram matrix."""
    return cumsum(x * b)


@cell
def ranked(h: H, x: X, *, W: Hom(H, H), U: Hom(X, H), b: H) -> H:
    """Every unit sees those before it, and those behind it."""
    return tanh(cumsum(W @ h) + U @ x + cumsum(b * h, reverse=True))


NETWORK = recurrent("ranks", ranked, prediction=readout, loss=squared_loss)
LAYERS = {f.name: f for f in (vector, rows, reversed_, twice, shares, paired)}
PLAIN = {name: f for name, f in LAYERS.items() if f is not paired}
layers = pytest.mark.parametrize("name", LAYERS)
plain = pytest.mark.parametrize("name", PLAIN)


# --- NumPy, written out in loops


def summed(x: np.ndarray, reverse: bool = False) -> np.ndarray:
    """Each entry as a sum of its own: nothing runs."""
    places = range(x.shape[-1])
    parts = [x[..., p:] if reverse else x[..., : p + 1] for p in places]
    return np.stack([part.sum(axis=-1) for part in parts], axis=-1)


BY_HAND = {
    "vector": lambda x: summed(x),
    "rows": lambda A, B: np.tanh(summed(A * B)) - 2 * summed(B),
    "reversed_": lambda x, b: 3 * summed(np.tanh(x) * b, reverse=True) - x * b,
    "twice": lambda x: summed(1 / (1 + np.exp(-summed(summed(x), reverse=True)))),
    "shares": lambda x: np.exp(x) / summed(np.exp(x)),
    "paired": lambda x, b: summed(x * b),
}


@layers
def test_the_value_is_numpys(name) -> None:
    f = LAYERS[name]
    point = draw_all([f.output], SIZES, 1)
    expected = BY_HAND[name](*(point[a.variable] for a in f.arguments))
    assert close(value(f.output, point, SIZES), expected, ROUNDING)


def test_numbers_of_many_digits_are_summed_exactly() -> None:
    x, third = variable("x", R(3)), mpmath.mpf(1) / 3
    with mpmath.workdps(50):
        given = np.array([third, third / 7, -third], dtype=object)
        found = value(cumsum(x), {x: given})
    assert list(found) == [given[0], given[0] + given[1], given[0] + given[1] + given[2]]


def test_components_are_sums() -> None:
    x, (a, b, c) = variable("x", H), sympy.symbols("x_0:3", real=True)
    assert list(to_sympy(cumsum(x), {n: 3})) == [a, a + b, a + b + c]
    assert list(to_sympy(cumsum(x, reverse=True), {n: 3})) == [a + b + c, b + c, c]


# --- the maps


def direction_of(f: Layer, mark: str) -> dict:
    return {x: variable(f"{x.name}_{mark}", x.space) for x in f.differentiable}


@plain
def test_the_tangent_is_the_complex_steps(name) -> None:
    f, step = PLAIN[name], 1e-30j
    dots = direction_of(f, "dot")
    moving = tangent(f.output, dots)
    point = draw_all([f.output, moving], SIZES, 2)
    stepped = {x: moved(point[x], point[v], step) for x, v in dots.items()}
    expected = value(f.output, stepped, SIZES).imag / step.imag
    assert close(value(moving, point, SIZES), expected, ROUNDING)


@plain
def test_the_adjoint_law(name) -> None:
    f = PLAIN[name]
    dots, u = direction_of(f, "dot"), variable("u", f.output.space)
    moving = tangent(f.output, dots)
    back = transpose(moving, u, dots.values())
    point = draw_all([moving, u, *back.values()], SIZES, 3)
    left = pairing(value(moving, point, SIZES), point[u])
    right = sum(pairing(point[v], value(share, point, SIZES)) for v, share in back.items())
    assert left != 0 and abs(left - right) <= ROUNDING * EPS * (abs(left) + abs(right))


@plain
def test_the_second_order_is_the_complex_steps(name) -> None:
    """The derivative of the adjoint along a second direction."""
    f, step = PLAIN[name], 1e-30j
    dots, deltas, u = (
        direction_of(f, "dot"),
        direction_of(f, "delta"),
        variable("u", f.output.space),
    )
    for share in transpose(tangent(f.output, dots), u, dots.values()).values():
        second = tangent(share, deltas)
        point = draw_all([share, second, u, *deltas, *deltas.values()], SIZES, 4)
        stepped = {x: moved(point[x], point[v], step) for x, v in deltas.items()}
        expected = value(share, point | stepped, SIZES)
        expected = expected.imag / step.imag if np.iscomplexobj(expected) else 0 * expected
        assert close(value(second, point, SIZES), expected, ROUNDING)


def test_the_adjoint_runs_from_the_other_end() -> None:
    x, v, u = (variable(name, R(n, m)) for name in "xvu")
    for reverse in (False, True):
        moving = tangent(cumsum(x, reverse=reverse), {x: v})
        assert moving is cumsum(v, reverse=reverse)
        assert transpose(moving, u, [v])[v] is cumsum(u, reverse=not reverse)


def test_a_sum_of_what_is_not_linear_has_no_adjoint() -> None:
    v, u = variable("v", H), variable("u", H)
    with pytest.raises(NotLinear, match="more than one slot"):
        transpose(cumsum(v * v), u, [v])


@layers
def test_it_is_proved(name) -> None:
    verdicts = prove(LAYERS[name])
    assert verdicts and all(verdict.proved for verdict in verdicts)


@layers
def test_the_terms_of_the_structured_derivative_are_the_tangent(name) -> None:
    found = list(errors(LAYERS[name]))
    assert found and all(error <= OF_TERMS for _, error in found)


# --- batches, sizes, one expression for what is one by the laws


@plain
def test_a_batch_is_its_samples(name) -> None:
    f = PLAIN[name]
    own = [a.variable for a in f.arguments]
    (lifted,), _ = lift([f.output], own, BATCH)
    point = draw_all([lifted], {**SIZES, BATCH: 2}, 5)
    by_name = {x.name: array for x, array in point.items()}
    samples = [value(f.output, {x: by_name[x.name][s] for x in own}, SIZES) for s in range(2)]
    assert close(value(lifted, point, {**SIZES, BATCH: 2}), np.stack(samples), ROUNDING)


def test_sizes_are_replaced() -> None:
    x = variable("x", R(7))
    assert with_sizes(vector, {"n": 7}).output is cumsum(x)
    assert with_sizes(vector, {"n": 7}).output.space == R(7)


def test_numbers_come_in_front_and_zero_is_zero() -> None:
    x = variable("x", H)
    assert cumsum(2 * x) is 2 * cumsum(x) and cumsum(zero(H)) is zero(H)
    assert cumsum(x) - cumsum(x) is zero(H)
    assert cumsum(x) is not cumsum(x, reverse=True)


def test_what_is_one_by_the_laws_of_products_is_one_running_sum() -> None:
    a, b = variable("a", H), variable("b", H)
    new = normal(cumsum(a * b), cumsum(b * a), cumsum(b * a, reverse=True))
    assert new[cumsum(b * a)] is cumsum(a * b)
    assert new[cumsum(b * a, reverse=True)] is cumsum(a * b, reverse=True)
    assert normalised(cumsum(a * b) - cumsum(b * a)) is zero(H)


# --- kernels


@pytest.fixture(scope="module")
def kernels(request: pytest.FixtureRequest):
    """The kernels of every layer here, and of the network."""
    every_one = {**LAYERS, NETWORK.name: NETWORK}
    folder = built(request, "cumsum", lambda: texts(every_one), QUICK)
    return {name: load_kernels(name, folder) for name in every_one}


@layers
def test_every_check_passes(kernels, name) -> None:
    """Maps, programs, proofs, kernels: interpreted, compiled, at edges.

    Shares of exp(x) are inf/inf where x is 800, with running sums or without.
    """
    found = check(LAYERS[name], kernels[name])
    known = {"edges"} if name == "shares" else set()
    assert len(found) > 30 and [f for f in found if not f.ok and f.law not in known] == []


@plain
@pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=lambda dtype: dtype.__name__)
def test_the_compiled_kernel_is_numpy(kernels, name, dtype) -> None:
    runner = Runner(kernels[name], PLAIN[name], {s: SIZES[s] for s in PLAIN[name].sizes}, 2, dtype)
    point = runner.point("forward", 6)
    (found,) = runner.results("forward", point)
    families = {a.variable.name: point[a.variable] for a in runner.programs["forward"].arguments}
    samples = [
        BY_HAND[name](*(a[s] if a.ndim > x.variable.space.rank else a for x, a in given))
        for s in range(2)
        for given in [[(x, families[x.name]) for x in PLAIN[name].arguments]]
    ]
    assert relative([found], [np.stack(samples)]) <= ROUNDING * np.finfo(dtype).eps


@pytest.mark.parametrize("name", ["vector", "twice", "shares"])
def test_the_cost_is_linear_in_the_axis(name) -> None:
    """No loop over the axis stands in another one, and flops are a multiple of the entries."""
    (size,) = LAYERS[name].sizes
    for kernel in kernels_of(LAYERS[name]).values():
        for work in count(kernel):
            assert sympy.degree(sympy.expand(work), size) <= 1
        for loop in every(kernel.steps, For):
            within = [inner for inner in every(loop.body, For) if inner.extent == size]
            assert loop.extent != size or not within


def test_one_addition_an_entry() -> None:
    flops, calls = count(kernels_of(vector)["forward"])
    assert (flops, calls) == (BATCH * n, 0)


def test_rounding_errors_are_bounded() -> None:
    """In single precision against double, of long sums that do and do not cancel."""
    x, rng = variable("x", H), np.random.default_rng(7)
    for given in (rng.normal(size=500), np.abs(rng.normal(size=500))):
        given = given.astype(np.float32).astype(np.float64)
        for reverse in (False, True):
            ((exact, bound),) = values_and_bounds(
                [cumsum(x, reverse=reverse)], {x: given}, {n: 500}
            )
            step = -1 if reverse else 1
            single = np.cumsum(given.astype(np.float32)[::step])[::step]
            off = np.abs(single - exact) / np.finfo(np.float32).eps
            assert np.all(off <= bound) and np.all(
                bound <= 500 * summed(np.abs(given), reverse) + 1
            )


# --- over time


def test_rtrl_is_bptt_in_a_cell(kernels) -> None:
    run, rng = kernels["ranks"].recurrence, np.random.default_rng(8)
    theta = NETWORK.flat(NETWORK.initial(rng, {"n": 4, "m": 3, "prediction_k": 2}))
    theta = {name: rng.normal(size=np.shape(a)) / 3 for name, a in theta.items()}
    x, y = rng.normal(size=(6, 2, 3)), rng.normal(size=(6, 2, 2))
    exact = run.gradient(theta, x, y)
    for method in ({"method": "rtrl"}, {"method": "hybrid", "block": 4}):
        same = run.gradient(theta, x, y, **method)
        for name in ("cell_W", "cell_U", "cell_b"):
            assert np.any(exact.by[name]) and close(same.by[name], exact.by[name], ROUNDING)
    step = 1e-6  # central differences: off by step^2 and eps / step
    for name in ("cell_W", "cell_b"):
        v = rng.normal(size=np.shape(theta[name]))
        both = (theta | {name: theta[name] + s * v} for s in (step, -step))
        above, below = (run.gradient(at, x, y).loss for at in both)
        assert np.isclose((above - below) / (2 * step), pairing(exact.by[name], v), rtol=1e-7)


# --- how it is written, and what is refused


def test_the_text() -> None:
    x, A = variable("x", H), variable("A", Hom(H, H))
    assert repr(cumsum(A @ x)) == "cumsum(A x)"
    assert repr(-3 * cumsum(x, reverse=True)) == "-3 cumsum(x, reverse)"


def test_latex_says_what_runs_where() -> None:
    tex = derivation(vector).tex
    assert r"D f\cdot v &= \operatorname{cumsum}(v)" in tex
    assert r"D^{*} f\cdot w &= \operatorname{cumsum}^{\mathsf T}(w)" in tex
    assert "the adjoint sums from the other end" in tex
    assert tex.count("running sums along the last axis") == 1


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex")
@pytest.mark.parametrize("name", ["rows", "twice", "paired"])
def test_latex_compiles(name, tmp_path) -> None:
    pdf = write_pdf(derivation(LAYERS[name]), tmp_path)
    assert pdf.path.read_bytes().startswith(b"%PDF") and not pdf.overfull


def test_refusals() -> None:
    x, i = variable("x", H), variable("i", Index(n, m))
    with pytest.raises(
        SpaceError, match=r"cumsum: expected a space of one axis at least, got R\(\)"
    ):
        cumsum(total_sum(x))
    with pytest.raises(SpaceError, match=r"cumsum: expected an expression of an array space"):
        cumsum(i)
    with pytest.raises(SpaceError, match=r"cumsum: expected an expression of an array space"):
        cumsum(1.0)
    with pytest.raises(SpaceError, match=r"cumsum: reverse is True or False, got 1"):
        cumsum(x, reverse=1)
    with pytest.raises(SpaceError, match=r"cumsum: .*call it as cumsum\(x"):
        cumsum(x, axis=0)


def test_it_is_one_node() -> None:
    x = variable("x", H)
    assert type(cumsum(x)) is RunningSum and cumsum(x) is cumsum(x) and cumsum(x).operands == (x,)
