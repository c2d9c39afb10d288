"""Whatever the user calls things, a derivation keeps them apart from what it adds."""

import re

import declared
import pytest
from derived import derived

from derive import (
    Gram,
    Hom,
    Layer,
    R,
    SpaceError,
    derivation,
    dims,
    given,
    inner,
    layer,
    library,
    relu,
    sigmoid,
    tanh,
    total_sum,
    uninterpreted,
)
from derive.writing.layers import pullback, steps
from derive.writing.layers.claims import FalseEquation

n, m = dims("n m")
X, H = R(n), R(m)
ODD = {name: value for name, value in vars(declared).items() if isinstance(value, Layer)}
LAYERS = {**library.layers(), **ODD}


def rows(made: Layer) -> list[str]:
    """The rows of all displays."""
    tex = derivation(made).tex
    found = re.findall(r"\\begin\{flalign\*\}(.*?)\\end\{flalign\*\}", tex, flags=re.DOTALL)
    lines = [line.strip().removeprefix(r"\quad ") for each in found for line in each.splitlines()]
    return [line for line in lines if line]


@layer
def local_w(x: X, *, A: Hom(X, H), B: Hom(H, X)) -> X:
    w = tanh(A @ x)
    return B @ w


@layer
def returned_w(x: X, *, A: Hom(X, H)) -> H:
    w = A @ x
    return tanh(w)


@layer
def local_v(x: X, *, b: X) -> X:
    v = x * b
    u = tanh(v)
    return u * v


@layer
def local_y(x: X) -> X:
    y = tanh(x)
    z = tanh(y)
    return z * y


@layer
def local_marks(x: X, *, b: X) -> X:
    z = x * b
    z_dot = tanh(z)
    z_bar = sigmoid(z_dot) * z
    x_dot = z_bar * z_dot
    return x_dot * x


@layer
def second_letter(x: X, *, delta: X) -> X:
    z = delta * x
    return tanh(z) * delta


@layer
def state_of_two(s: X * H, *, W: Hom(X, H)) -> H:
    a, b = s
    return tanh(W @ a + b)


NAMED = [local_w, returned_w, local_v, local_y, local_marks, second_letter, state_of_two]


@pytest.mark.parametrize("made", NAMED, ids=lambda made: made.name)
def test_names_do_not_collide(made) -> None:
    """Everything that is printed is checked, including the algorithm's lines."""
    assert len(rows(made)) > 20


def test_the_cotangent_is_not_the_users_w() -> None:
    found = rows(local_w)
    assert r"\nabla^{*}_{B} f\cdot w_{2} &= w_{2}" in "\n".join(found)
    assert "w -> w w^T" not in str(local_w.nabla("B").adjoint.variable)
    assert local_w.nabla("B").adjoint.variable.name == "w2"
    assert local_v.D().variable.name == "v2" and local_v.nabla("b").variable.name == "u2"


def test_names_that_look_alike_are_told_apart_everywhere() -> None:
    @layer
    def alike(x1: X, x_1: X) -> X:
        return tanh(x1) * x_1

    tex = derivation(alike).tex
    assert r"States: $x_{1} \in \mathbb{R}^{n}$, $\mathit{x\_1} \in \mathbb{R}^{n}$." in tex
    assert r"D_{x_{1}} f\cdot v &=" in tex and r"D_{\mathit{x\_1}} f\cdot v &=" in tex


def test_the_parts_of_a_direct_product_are_introduced() -> None:
    assert any(row.startswith("s &= (a, b)") for row in rows(state_of_two))
    tex = derivation(state_of_two).tex
    assert r"\bar{a} &\mathrel{+}=" in tex and r"\bar{b} &\mathrel{+}=" in tex


def test_delta_is_not_the_second_direction_where_it_is_an_argument() -> None:
    tex = derivation(second_letter).tex
    assert r"\hat{x}" in tex and r"\delta\dot" not in tex


# --- what is said in a sentence is asserted, too


def test_no_second_order_where_it_exists() -> None:
    @layer
    def kinked(x: X) -> X:
        return relu(x)

    assert "The second derivatives vanish wherever they exist." in derivation(kinked).tex


def test_nothing_to_derive_by() -> None:
    @layer
    def fixed(y: given(X)) -> X:
        return tanh(y)

    tex = derivation(fixed).tex
    assert "There are no derivatives to take" in tex and "Second order" not in tex


def test_a_second_order_that_is_left_out_is_refused(monkeypatch) -> None:
    monkeypatch.setattr(steps, "is_zero", lambda node: True)
    with pytest.raises(FalseEquation):
        derivation(library.layers()["dense"])


def test_second_tangents_that_are_left_out_are_refused(monkeypatch) -> None:
    monkeypatch.setattr(pullback, "seeds_of", lambda *_: [])
    monkeypatch.setattr("derive.writing.layers.problem.seeds_of", lambda *_: [])
    with pytest.raises(FalseEquation):
        derivation(library.layers()["dense"])


def test_an_inner_product_of_its_own_is_said() -> None:
    @layer
    def weighted(x: R(n, gram=Gram("G"))) -> R():
        return total_sum(x * x) + inner(x, x)

    tex = derivation(weighted).tex
    assert r"$\langle x, y\rangle_G = \langle Gx, y\rangle$" in tex
    assert r"D^{*} f\cdot w &= " in tex and "G^{-1}" in tex


def test_an_unknown_function_has_no_point() -> None:
    g = uninterpreted("g", X, H)

    @layer
    def unknown(x: X) -> H:
        return tanh(g(x))

    with pytest.raises(SpaceError, match=r"layer unknown: g is uninterpreted, so that no equation"):
        derivation(unknown)


@pytest.mark.parametrize("name", LAYERS)
def test_brackets_balance_in_every_display(name) -> None:
    tex = derived(LAYERS[name]).tex
    for display in re.findall(r"\\begin\{flalign\*\}(.*?)\\end\{flalign\*\}", tex, re.DOTALL):
        assert display.count(r"\langle") == display.count(r"\rangle")
        plain = re.sub(r"\\text\{.*?\}|\\reason\{.*?\}", "", display)
        assert plain.count("(") == plain.count(")")
