"""Every line of docs/edges.md on norms, sums, softmax, losses and pools: reference and kernels."""

import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from conftest import QUICK, built
from numpy import exp, inf, log, nan

import derive
from derive import (
    Index,
    R,
    dims,
    expectation,
    given,
    largest,
    layer,
    log_softmax,
    log_softmax_entry,
    log_sum_exp,
    max_pool,
    norm,
    softmax,
)
from derive.kernels.interpreting import plain_edge
from derive.kernels.interpreting.evaluated import evaluated_module
from derive.tools.build import load_kernels, texts

n, a, b = dims("n a b")
TABLE = Path(derive.__file__).parents[1] / "docs" / "edges.md"
SECTIONS = ("Norms, sums, softmax and losses", "Pooling")
OUTPUTS = ("softmax", "log_softmax", "log_sum_exp", "cross_entropy", "of_index", "largest")
POOLS = ("first", "average", "padded_first", "padded_average")
inside, beside = R(1, (a - 1) // 2, (b - 1) // 2), R(1, (a + 1) // 2, (b + 1) // 2)


@layer
def rows(x: R(n), p: given(R(n)), k: Index(n)) -> R(n) * R(n) * R() * R() * R() * R():
    """What is made of a row, all at once."""
    losses = -expectation(p, log_softmax(x)), -log_softmax_entry(x, k)
    return softmax(x), log_softmax(x), log_sum_exp(x), *losses, largest(x)


@layer
def length(x: R(n)) -> R():
    return norm(x)


@layer
def pools(x: R(1, a, b)) -> inside * inside * beside * beside:
    """Windows of 3 x 3 at every second place, a tie's first place or all; without padding, with."""
    found = (max_pool(x, 3, stride=2, ties=ties) for ties in ("first", "average"))
    padded = (max_pool(x, 3, stride=2, padding=1, ties=ties) for ties in ("first", "average"))
    return *found, *padded


LAYERS = (rows, length, pools)


class Run:
    """The kernels of these layers in one precision."""

    def __init__(self, kernels: dict[str, ModuleType], dtype: Any) -> None:
        self.kernels, self.dtype = kernels, dtype
        self.rounding = 40 * np.finfo(dtype).eps  # of ten operations or so, and four functions

    def row(self, x: Any, p: Any = None, k: int = 0) -> dict[str, Any]:
        """The outputs at one row, and by `'name` the gradient of the sum of its entries times w."""
        x = np.asarray(x, self.dtype)
        p = np.eye(x.size)[k] if p is None else p
        return self._all("rows", OUTPUTS, x, np.asarray(p, self.dtype), np.array(k))

    def length(self, x: Any) -> dict[str, Any]:
        """The norm of a vector, and its derivatives."""
        return self._all("length", ("norm",), np.asarray(x, self.dtype))

    def image(self, x: Any) -> dict[str, Any]:
        """The pools of one image, and their gradients."""
        found = self._all("pools", POOLS, np.asarray(x, self.dtype)[None])
        return {key: value[0] for key, value in found.items()}

    def _all(self, name: str, outputs: tuple[str, ...], *given: Any) -> dict[str, Any]:
        module, x, found = self.kernels[name], given[0], {}
        saved = self._saved(module, given)
        values = self._parts(module.forward(*given, saved=saved))
        v, w = (np.cos(np.arange(x.size) + s).reshape(x.shape).astype(x.dtype) for s in (0, 1))
        dots = self._parts(module.tangent(*given, v))
        for number, output in enumerate(outputs):
            y_bar = tuple(
                (np.cos(np.arange(y.size)) * (k == number)).reshape(y.shape).astype(x.dtype)
                for k, y in enumerate(map(np.asarray, values))
            )
            zero = tuple(np.zeros_like(y) for y in y_bar)
            found[output], found[f"{output} along v"] = values[number], dots[number]
            u, u_dot = (y_bar, zero) if len(y_bar) > 1 else (*y_bar, *zero)
            found[f"{output}'"] = module.backward(*given, u, saved=saved)
            found[f"{output}''"] = module.tangent_backward(*given, u, w, u_dot)
            pairing = np.sum(found[f"{output}'"] * v), np.sum(y_bar[number] * dots[number])
            if not np.isnan(x).any():
                self.close(*pairing)  # tangent and adjoint at every edge
        return found

    def _parts(self, values: Any) -> tuple[Any, ...]:
        return values if isinstance(values, tuple) else (values,)

    def _saved(self, module: ModuleType, given: tuple[Any, ...]) -> Any:
        names = ("n",) if given[0].ndim == 1 else ("a", "b")
        sizes = dict(zip(names, given[0].shape[-len(names) :], strict=True))
        return np.full(module.forward.saved_size(batch=1, **sizes), nan, self.dtype)

    def close(self, found: Any, expected: Any) -> None:
        """Equal to rounding, infinities and NaN at the same places."""
        np.testing.assert_allclose(found, expected, self.rounding, self.rounding)


@pytest.fixture(scope="module", params=["reference", "float64", "float32"])
def run(request: pytest.FixtureRequest) -> Run:
    if request.param == "reference":
        made = {f.name: evaluated_module(f, plain_edge) for f in LAYERS}
        return Run(made, np.dtype("float64"))
    folder = built(request, "edges", lambda: texts({f.name: f for f in LAYERS}), QUICK)
    return Run({f.name: load_kernels(f.name, folder) for f in LAYERS}, np.dtype(request.param))


V, W = np.cos(np.arange(4)), np.cos(np.arange(4) + 1)
NOTHING, ATTRACTED = np.full(4, -inf), np.array([1.0, inf, -2, -inf])
SOME = np.array([0.5, -inf, 1, -inf])
S = np.array([exp(0.5), 0, exp(1), 0]) / (exp(0.5) + exp(1))  # softmax(SOME)
ROW_EDGES: dict[str, Callable[[Run], None]] = {}
POOL_EDGES: dict[str, Callable[[Run], None]] = {}


def edge(label: str, edges: dict[str, Callable[[Run], None]] = ROW_EDGES) -> Callable[..., Any]:
    """The test of a line of the table, by what stands in its first column."""
    return lambda test: edges.setdefault(label, test)


# --- rows


@edge("`softmax(x)`, every entry -inf")
def softmax_of_nothing(run: Run) -> None:
    found = run.row(NOTHING)
    for key in ("softmax", "softmax'", "softmax along v", "softmax''"):
        assert not found[key].any()


@edge("`softmax(x)`, some entries -inf")
def softmax_of_some(run: Run) -> None:
    found = run.row(SOME)
    run.close(found["softmax"], S)
    run.close(found["softmax along v"], S * (V - S @ V))
    run.close(found["softmax'"], S * (V - S @ V))
    moved = S * (W - S @ W)
    run.close(found["softmax''"], moved * (V - S @ V) - S * (moved @ V))


@edge("`softmax(x)`, an entry +inf")
def softmax_at_infinity(run: Run) -> None:
    found = run.row(ATTRACTED)
    run.close(found["softmax"], [0, 1, 0, 0])
    for key in ("softmax'", "softmax along v", "softmax''"):
        assert not found[key].any()
    run.close(run.row([inf, 0, inf, 1])["softmax"], [0.5, 0, 0.5, 0])


@edge("`log_softmax(x)`, an entry -inf")
def log_softmax_of_some(run: Run) -> None:
    for x, s in ((SOME, S), (NOTHING, np.zeros(4))):
        found = run.row(x)
        with np.errstate(divide="ignore"):
            run.close(found["log_softmax"], log(s))
        run.close(found["log_softmax along v"], V - s @ V)
        run.close(found["log_softmax'"], V - s * V.sum())


@edge("`log_softmax(x)`, an entry +inf")
def log_softmax_at_infinity(run: Run) -> None:
    found = run.row(ATTRACTED)
    run.close(found["log_softmax"], [-inf, 0, -inf, -inf])
    run.close(found["log_softmax along v"], V - V[1])


@edge("`log_sum_exp(x)`, every entry -inf")
def log_sum_exp_of_nothing(run: Run) -> None:
    found = run.row(NOTHING)
    assert found["log_sum_exp"] == -inf
    assert not found["log_sum_exp'"].any() and not found["log_sum_exp''"].any()


@edge("`log_sum_exp(x)`, an entry +inf")
def log_sum_exp_at_infinity(run: Run) -> None:
    found = run.row(ATTRACTED)
    assert found["log_sum_exp"] == inf
    run.close(found["log_sum_exp'"], [0, 1, 0, 0])
    assert not found["log_sum_exp''"].any()


@edge("`log_sum_exp(x)`, some entries -inf")
def log_sum_exp_of_some(run: Run) -> None:
    found = run.row(SOME)
    run.close(found["log_sum_exp"], log(exp(0.5) + exp(1)))
    run.close(found["log_sum_exp'"], S)
    run.close(found["log_sum_exp''"], S * (W - S @ W))


@edge("`expectation(p, a)`, p_i = 0")
def expectation_leaves_out(run: Run) -> None:
    found = run.row(SOME, p=[0.25, 0, 0.75, 0])
    run.close(found["cross_entropy"], -0.25 * log(S[0]) - 0.75 * log(S[2]))
    run.close(found["cross_entropy'"], S - [0.25, 0, 0.75, 0])


@edge("`cross_entropy`, `cross_entropy_index`, a logit -inf that is no target")
def cross_entropy_of_another(run: Run) -> None:
    found = run.row(SOME, k=2)
    for loss in ("cross_entropy", "of_index"):
        run.close(found[loss], -log(S[2]))
        run.close(found[f"{loss}'"], S - [0, 0, 1, 0])
        run.close(found[f"{loss}''"], S * (W - S @ W))


@edge("`cross_entropy`, `cross_entropy_index`, the target's logit -inf")
def cross_entropy_of_the_impossible(run: Run) -> None:
    for x, s in ((SOME, S), (NOTHING, np.zeros(4))):
        found = run.row(x, k=1)
        for loss in ("cross_entropy", "of_index"):
            assert found[loss] == inf
            run.close(found[f"{loss}'"], s - [0, 1, 0, 0])


@edge("`largest(x)`, every entry -inf")
def largest_of_nothing(run: Run) -> None:
    found = run.row(NOTHING)
    assert found["largest"] == -inf
    assert found["largest'"].tolist() == [1, 0, 0, 0] and not found["largest''"].any()


@edge("`norm(x)`, x = 0")
def norm_at_zero(run: Run) -> None:
    found = run.length(np.zeros(4))
    for key in ("norm", "norm'", "norm along v", "norm''"):
        assert not found[key].any()


@edge("a NaN in a row")
def nan_in_a_row(run: Run) -> None:
    for x in ([0, nan, 1, 2], [-inf, nan, -inf, inf]):
        found = run.row(x)
        assert all(np.isnan(found[key]).all() for key in ("softmax", "log_softmax", "log_sum_exp"))


# --- pools: windows of 3 x 3 at every second place of an image of 3 x 3, or of 5 x 3


def gradient(places: list[tuple[int, int]], shape: tuple[int, int] = (3, 3)) -> np.ndarray:
    """The mean of the entries at these places, as an image."""
    found = np.zeros((1, *shape))
    for place in places:
        found[0][place] += 1 / len(places)
    return found


PLAIN = np.arange(9.0).reshape(1, 3, 3)


@edge("a window with some entries -inf", POOL_EDGES)
def pool_of_some(run: Run) -> None:
    x = PLAIN.copy()
    x[0, 1, 1] = -inf
    found = run.image(x)
    for ties in ("first", "average"):
        run.close(found[ties], [[[8]]])
        run.close(found[f"{ties}'"], gradient([(2, 2)]))
        run.close(found[f"padded_{ties}"], [[[3, 5], [7, 8]]])
        assert not found[f"{ties}''"].any()


@edge("a window with every entry -inf", POOL_EDGES)
def pool_of_nothing(run: Run) -> None:
    found = run.image(np.full((1, 3, 3), -inf))
    every = [(i, j) for i in range(3) for j in range(3)]
    run.close(found["first'"], gradient([(0, 0)]))
    run.close(found["average'"], gradient(every))
    for ties in ("first", "average"):
        assert found[ties].tolist() == [[[-inf]]]
        assert not found[f"{ties}''"].any()


@edge("a padded window with every entry inside -inf", POOL_EDGES)
def padded_pool_of_nothing(run: Run) -> None:
    found = run.image(np.full((1, 3, 3), -inf))
    corners = [[(i, j) for i in r for j in c] for r in ((0, 1), (1, 2)) for c in ((0, 1), (1, 2))]
    weights = np.cos(np.arange(4))
    for ties, count in (("first", 1), ("average", 4)):
        assert (found[f"padded_{ties}"] == -inf).all()
        shares = (w * gradient(at[:count]) for w, at in zip(weights, corners, strict=True))
        run.close(found[f"padded_{ties}'"], sum(shares))


@edge("a tie", POOL_EDGES)
def pool_of_a_tie(run: Run) -> None:
    for value in (7.0, inf):
        x = PLAIN.copy()
        x[0, 0, 1] = x[0, 2, 0] = x[0, 2, 1] = x[0, 2, 2] = value
        found = run.image(x)
        run.close(found["first'"], gradient([(0, 1)]))
        run.close(found["average'"], gradient([(0, 1), (2, 0), (2, 1), (2, 2)]))
        assert found["first"] == found["average"] == value


@edge("a window with a NaN", POOL_EDGES)
def pool_of_a_nan(run: Run) -> None:
    x = np.zeros((1, 5, 3))
    x[0, 4, 1] = nan
    found = run.image(x)
    for ties in ("first", "average"):
        assert np.isnan(found[ties]).ravel().tolist() == [False, True]
    v = np.cos(np.arange(15)).reshape(5, 3)
    run.close(found["first along v"], [[[v[0, 0]], [v[4, 1]]]])


EDGES = ROW_EDGES | POOL_EDGES


@pytest.mark.parametrize("label", EDGES)
def test_a_line_of_the_table(run: Run, label: str) -> None:
    EDGES[label](run)


@pytest.mark.parametrize(
    ("section", "edges"), [*zip(SECTIONS, (ROW_EDGES, POOL_EDGES), strict=True)]
)
def test_every_line_of_the_table_is_a_test(section: str, edges: dict[str, Any]) -> None:
    text = TABLE.read_text().split(f"## {section}\n")[1].split("\n## ")[0]
    lines = re.findall(r"^\| (.*?) \|", text, re.MULTILINE)
    assert lines[1:] == list(edges)
