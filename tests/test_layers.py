"""Declaring: roles by place, names of locals, one sentence for each mistake, layers in layers."""

import re
import sys

import numpy as np
import pytest
import text_annotations
from formulas import SIZES, H, W, X, Y, b, h, k, m, n, x
from points import close, draw_all

from derive import (
    Gram,
    Hom,
    Index,
    Layer,
    Mask,
    R,
    SpaceError,
    broadcast,
    cell,
    dims,
    fixed,
    form,
    given,
    indices,
    inner,
    layer,
    sigmoid,
    tanh,
    total_sum,
    variable,
    with_fixed,
)
from derive.language.expressions import tuple_of
from derive.language.reference import value
from derive.language.roles import FIXED, GIVEN, MASK, PARAMETER, STATE
from derive.models.programs import BATCH, programs


@layer
def dense(x: X, *, W: Hom(X, H), b: H) -> H:
    """One layer."""
    z = W @ x + b
    return tanh(z)


@layer
def masked(s: H * X, y: given(H), c: Index(n), mask: Mask(H), *, U: Hom(X, H)) -> H:
    h, x = s
    z = U @ x
    z = z + h * mask
    e = z - y
    return e


@layer
def shifted(x: X, *, W: Hom(X, H), mu: fixed(X), b: H) -> H:
    """What is fixed between two parameters."""
    z = W @ (x - mu)
    return tanh(z + b)


# --- what is declared


def test_roles_by_place_and_annotation() -> None:
    assert [(a.name, a.role) for a in masked.arguments] == [
        ("s", STATE),
        ("y", GIVEN),
        ("c", GIVEN),
        ("mask", MASK),
        ("U", PARAMETER),
    ]
    assert [v.name for v in masked.state] == ["s"]
    assert [v.name for v in masked.differentiable] == ["s", "U"]
    assert masked.signature == "masked(s, y, c, mask; U)" and dense.signature == "dense(x; W, b)"
    assert dense.doc == "One layer." and dense.sizes == (m, n)
    assert dense.output is tanh(W @ x + b)


def test_locals_are_named_and_a_name_bound_twice_names_both() -> None:
    names = {
        name: [node for node, other in masked.names.items() if other == name]
        for name in ("z", "z_2", "h", "e", "y", "x")
    }
    h, x = variable("s", H * X)
    U, y, mask = variable("U", Hom(X, H)), variable("y", H), variable("mask", H)
    assert (names["z"], names["z_2"]) == ([U @ x], [U @ x + h * mask])
    assert (names["h"], names["x"]) == ([h], [x])
    assert names["e"] == [U @ x + h * mask - y] and names["y"] == []
    assert list(dense.names.values()) == ["z"]


def test_a_size_within_the_formula_is_a_size_of_the_layer() -> None:
    p = dims("p")

    @layer
    def interior(x: X) -> R():
        a = broadcast(total_sum(tanh(x)), R(p))
        return inner(a, a)

    assert interior.sizes == (m, p)


def test_an_argument_that_is_bound_again_is_another_value() -> None:
    @layer
    def twice(x: X, *, A: Hom(X, X)) -> X:
        x = tanh(A @ x)
        return x * x

    assert list(twice.names.values()) == ["x_2"]


def test_the_first_name_of_an_expression_stays() -> None:
    @layer
    def twice(x: X) -> X:
        a = 2 * x
        c = a
        return c + tanh(c)

    assert list(twice.names.values()) == ["a"]


def test_only_the_functions_own_locals_are_names() -> None:
    def helper(t):
        inside = tanh(t)
        return inside

    @layer
    def outside(x: X) -> X:
        y = helper(x)
        return y * y

    assert list(outside.names.values()) == ["y"]


def test_the_tracer_comes_back_also_after_an_error() -> None:
    def tracer(frame, event, argument):
        return None

    before = sys.gettrace()
    sys.settrace(tracer)
    try:
        with pytest.raises(SpaceError):

            @layer
            def broken(x: X) -> X:
                return x + b

        after_error = sys.gettrace()

        @layer
        def fine(x: X) -> X:
            return 2 * x

        after = sys.gettrace()
    finally:
        sys.settrace(before)
    assert after_error is tracer and after is tracer


# --- the typed core


def test_the_typed_core_declares_the_same() -> None:
    by_name = Layer.of(
        "dense",
        state={"x": X},
        parameters={"W": Hom(X, H), "b": H},
        output=lambda x, W, b: tanh(W @ x + b),
    )
    by_node = Layer.of(
        "dense", state={"x": X}, parameters={"W": Hom(X, H), "b": H}, output=tanh(W @ x + b)
    )
    for made in (by_name, by_node):
        assert made.output is dense.output and made.arguments == dense.arguments
        assert str(made.nabla("W").adjoint) == str(dense.nabla("W").adjoint)


def test_the_typed_core_has_all_roles() -> None:
    made = Layer.of(
        "masked",
        state={"s": H * X},
        given={"y": H, "c": Index(n), "mask": Mask(H)},
        parameters={"U": Hom(X, H)},
        output=lambda s, y, c, mask, U: U @ s[1] + s[0] * mask - y,
        doc="As above.",
    )
    assert made.arguments == masked.arguments and made.doc == "As above."
    assert made.output is masked.output


# --- what is fixed


def test_what_is_fixed_stands_right_of_the_semicolon_where_it_was_declared() -> None:
    assert shifted.signature == "shifted(x; W, mu, b)"
    assert [(a.name, a.role) for a in shifted.arguments][2] == ("mu", FIXED)
    for found, names in (
        (shifted.parameters, "W b"),
        (shifted.fixed, "mu"),
        (shifted.theta, "W mu b"),
        (shifted.differentiable, "x W b"),
    ):
        assert [v.name for v in found] == names.split()


def test_no_map_and_no_kernel_derives_by_what_is_fixed() -> None:
    for derive_by in (shifted.nabla, shifted.D, shifted.nabla2):
        with pytest.raises(SpaceError, match=r"no argument 'mu' to derive by; it has x, W, b"):
            derive_by("mu")
    found = [a.name for p in programs(shifted) for a in (*p.arguments, *p.results)]
    assert "W_bar" in found and "b_dot" in found
    assert {name for name in found if name.startswith("mu")} == {"mu"}


def test_what_is_fixed_is_no_family_over_a_batch() -> None:
    spaces = {a.name: a.variable.space for a in shifted.batched(BATCH).arguments}
    assert spaces["x"] == R(BATCH, m)
    assert (spaces["mu"], spaces["W"], spaces["b"]) == (X, Hom(X, H), H)


def test_what_is_fixed_is_put_in_by_name() -> None:
    V, c = variable("V", Hom(X, H)), variable("c", X)
    assert shifted(x, W=V, mu=c, b=b) is tanh(V @ (x - c) + b)
    with pytest.raises(SpaceError, match="argument mu is missing"):
        shifted(x, W=V, b=b)
    with pytest.raises(SpaceError, match="parameters are given by name"):
        shifted(x, c, W=V, b=b)


def test_a_parameter_that_is_fixed_is_as_if_it_were_declared_so() -> None:
    """All else is the layer's: order, output, names, maps by what is left, text, place."""
    made = with_fixed(dense, "W")
    assert [(a.name, a.role) for a in made.arguments] == [
        ("x", STATE),
        ("W", FIXED),
        ("b", PARAMETER),
    ]
    assert made.output is dense.output and made.names == dense.names
    assert (made.doc, made.place) == (dense.doc, dense.place)
    for name in ("x", "b"):
        assert made.derivative(name).adjoint.body is dense.derivative(name).adjoint.body
    assert [v.name for v in with_fixed(shifted, "b", "W").fixed] == ["W", "mu", "b"]
    assert [v.name for v in dense.parameters] == ["W", "b"]


def test_a_cell_with_a_parameter_that_is_fixed_is_a_cell() -> None:
    @cell
    def step(h: H, x: X, *, A: Hom(H, H), B: Hom(X, H)) -> H:
        return tanh(A @ h + B @ x)

    made = with_fixed(step, "A", "B")
    assert type(made) is type(step) and made.parameters == () and made.theta == step.parameters


@pytest.mark.parametrize("name", ["x", "Q", "mu"])
def test_what_is_no_parameter_can_t_be_fixed(name) -> None:
    with pytest.raises(SpaceError) as caught:
        with_fixed(shifted, "W", name)
    expected = f"shifted(x; W, mu, b) has no parameter {name!r} to fix; it has W, b"
    assert str(caught.value) == expected
    with pytest.raises(SpaceError, match="to fix; it has none"):
        with_fixed(with_fixed(shifted, "W", "b"), "W")


# --- composing


def test_calling_a_layer_puts_expressions_in() -> None:
    V, c = variable("V", Hom(H, Y)), variable("c", Y)

    @layer
    def two(x: X, *, W: Hom(X, H), b: H, V: Hom(H, Y), c: Y) -> Y:
        hidden = dense(x, W=W, b=b)
        return V @ hidden + c

    assert two.output is V @ tanh(W @ x + b) + c
    assert two.names[tanh(W @ x + b)] == "hidden"
    assert dense(x=x, W=W, b=b) is dense.output
    other = variable("W2", Hom(X, H))
    assert dense(2 * x, W=other, b=b) is tanh(other @ (2 * x) + b)


def test_arguments_are_put_in_at_once() -> None:
    @layer
    def swap(p: X, q: X) -> X:
        return p - 2 * q

    p, q = variable("p", X), variable("q", X)
    assert swap(q, p) is q - 2 * p
    assert swap(p=q, q=p) is q - 2 * p


def test_a_tuple_is_an_element_of_a_product() -> None:
    y, c, U = variable("y", H), variable("c", Index(n)), variable("U", Hom(X, H))
    found = masked((h, x), y, c, mask=b, U=U)
    assert found is U @ x + h * b - y


CALLS = {
    "wrong space": (lambda: dense(h, W=W, b=b), r"x is of R\(m\), got R\(n\)"),
    "a number": (lambda: dense(x, W=2, b=b), r"W is of R\(n, m\), got 2; give an expression"),
    "missing": (lambda: dense(x, W=W), r"dense\(x; W, b\): argument b is missing"),
    "unknown": (lambda: dense(x, W=W, b=b, d=b), r"dense\(x; W, b\) has no argument d"),
    "too many": (lambda: dense(x, W, b), "parameters are given by name, as in W=..."),
    "twice": (lambda: dense(x, x=x, W=W, b=b), "x is given twice; give it once"),
    "derivative": (lambda: dense.D("y"), "has no argument 'y' to derive by; it has x, W, b"),
    "derivative by a given": (
        lambda: masked.D("y"),
        "has no argument 'y' to derive by; it has s, U",
    ),
    "which parameter": (lambda: dense.nabla(), "name the parameter to derive by, one of W, b"),
}


@pytest.mark.parametrize(("make", "sentence"), CALLS.values(), ids=CALLS)
def test_wrong_calls_say_what_was_expected(make, sentence) -> None:
    with pytest.raises(SpaceError, match=sentence):
        make()


# --- what can't be declared


def declared(**wanted):
    """A layer y = 2 x with these annotations in place of x: X and -> X."""

    def doubled(x):
        return 2 * x

    doubled.__annotations__ = {"x": X, "return": X} | wanted
    return layer(doubled)


def named(*, name="f", state=("x",), parameters=(), sizes=None, output=None):
    """A layer of the typed core with these names."""
    space = R(dims(sizes)) if sizes else X
    output = variable(state[0], space) * 2 if output is None else output
    spaces = dict.fromkeys(state, space)
    return Layer.of(name, state=spaces, parameters=dict.fromkeys(parameters, space), output=output)


def returns(what, annotation=X):
    def f(x: X):
        return what

    f.__annotations__["return"] = annotation
    return layer(f)


def star(*x: X) -> X:
    return x[0]


def unannotated(x) -> X:
    return 2 * x


def indexed_parameter(x: X, *, c: Index(m)) -> X:
    return x


G1, G2 = R(n, gram=Gram("G")), R(m, gram=Gram("G"))
WRONG = {
    "text": (
        text_annotations.declare,
        "layer late: argument x: its space is the text 'R.n.'; remove",
    ),
    "text returned": (
        lambda: declared(**{"return": "X"}),
        "what it returns: its space is the text 'X'",
    ),
    "no space": (lambda: layer(unannotated), r"argument x: annotate it .* R\(n\), got nothing"),
    "a class": (lambda: declared(x=float), r"argument x: annotate it .*, got <class 'float'>"),
    "stars": (lambda: layer(star), r"argument x: \*args and \*\*kwargs have no space"),
    "index differentiated": (
        lambda: layer(indexed_parameter),
        "argument c: class indices are given",
    ),
    "index in a product": (lambda: declared(x=X * Index(n)), "layer doubled: "),
    "no return": (
        lambda: declared(**{"return": None}),
        r"annotate what it returns, -> R\(m\), got",
    ),
    "another return": (
        lambda: declared(**{"return": H}),
        r"declared to return R\(n\), but the formula is of R\(m\); correct",
    ),
    "returns a number": (lambda: returns(3), "must return an expression of its arguments, got 3"),
    "returns nothing": (lambda: returns(None), "must return an expression .* got None"),
    "returns an empty tuple": (lambda: returns(()), "layer f: a tuple of a direct product holds"),
    "returns a tuple of numbers": (lambda: returns((x, 1)), "layer f: a tuple of a direct product"),
    "returns another's variable": (
        lambda: returns(variable("t", X)),
        r"layer f: the formula has t of R\(m\), which is not an argument; declare it as",
    ),
    "formula": (lambda: returns_sum(), r"layer f: R\(m\) \+ R\(n\): the two sides must be of one"),
    "formula of the core": (
        lambda: named(output=lambda x: x @ x @ x),
        "layer f: .*the last axes of the map",
    ),
    "size and argument": (lambda: named(state=["a"], sizes="a"), "'a' is the name of two things"),
    "argument twice": (lambda: named(parameters=["x"]), "'x' is the name of two things"),
    "gram and argument": (
        lambda: Layer.of("f", state={"G": G1}, output=lambda G: G),
        "'G' is the name of two things",
    ),
    "inverse gram and argument": (
        lambda: Layer.of("f", state={"G_inverse": G1}, output=lambda G_inverse: G_inverse),
        "'G_inverse' is the name of two things",
    ),
    "gram of two axes": (
        lambda: Layer.of("f", state={"x": G1, "y": G2}, output=lambda x, y: x),
        "the Gram matrix G belongs to an axis of size n and to one of size m; use two names",
    ),
    "name of the layer": (lambda: named(name="for"), "layer: 'for' is a word of Python"),
    "name with a space": (lambda: named(name="a b"), "layer: 'a b' must be letters"),
    "name of an argument": (lambda: named(state=["double"]), "layer f: 'double' is a word of"),
    "name of a size": (lambda: named(sizes="int"), "size of layer f: 'int' is a word of"),
    "name of a tangent": (lambda: named(state=["x_dot"]), r"'x_dot' looks like a tangent"),
    "name of a cotangent": (lambda: named(parameters=["x_bar"]), "'x_bar' looks like"),
    "name of the edge": (
        lambda: named(state=["out"]),
        "'out' is an argument that every kernel has",
    ),
    "returns class indices": (
        lambda: Layer.of("f", state={"x": X}, given={"c": Index(k)}, output=lambda x, c: c),
        "it returns class indices",
    ),
}


def returns_sum():
    @layer
    def f(x: X, h: H) -> X:
        return x + h


@pytest.mark.parametrize(("make", "sentence"), WRONG.values(), ids=WRONG)
def test_a_mistake_is_a_sentence_at_the_declaration(make, sentence) -> None:
    with pytest.raises((SpaceError, ValueError), match=sentence) as raised:
        make()
    assert re.search(r"layer|size", str(raised.value))


# --- maps of a layer


def test_the_maps_have_the_spaces_of_the_thesis() -> None:
    assert str(dense.D()) == "D_x dense(x; W, b) : R(m) -> R(n)"
    assert (dense.nabla("W").domain, dense.nabla("W").codomain) == (Hom(X, H), H)
    assert dense.D2().left.space == dense.D2().right.space == X
    assert dense.nabla2("W", "b").hook().domain == H
    assert dense.nabla_D("W").hook().domain == X and dense.D_nabla("W").hook().domain == Hom(X, H)
    assert dense.nabla_D("b").left.space == H and dense.D_nabla("b").left.space == X


def test_a_batched_layer_is_the_layer_at_every_point() -> None:
    batch = dims("rows")
    many = masked.batched(batch)
    assert many.argument("s").space == R(batch, n) * R(batch, m)
    assert many.argument("U").space == Hom(X, H) and many.signature == masked.signature
    assert sorted(set(many.names.values())) == sorted(set(masked.names.values()))
    sizes = SIZES | {batch: 2}
    point = draw_all([many.output], sizes)
    s, y, mask = (point[a.variable] for a in many.arguments if a.name in ("s", "y", "mask"))
    for row in range(2):
        single = {
            v: {"s": (s[0][row], s[1][row]), "y": y[row], "mask": mask[row]}.get(
                v.name, point.get(v)
            )
            for v in (a.variable for a in masked.arguments)
            if v.name != "c"
        }
        whole = value(many.output, point, sizes)
        assert close(whole[row], value(masked.output, single, SIZES), 10)  # sums of 4 products


def test_a_loss_is_declared_like_a_layer() -> None:
    @layer
    def loss(x: X, y: given(X)) -> R():
        e = x - y
        return inner(e, e) / 2

    assert loss.output.space == R() and [v.name for v in loss.differentiable] == ["x"]
    assert loss.D().adjoint.codomain == X


def test_a_pair_is_returned_as_a_tuple() -> None:
    @layer
    def step(s: H * X, *, W: Hom(X, H)) -> H * X:
        h, x = s
        return sigmoid(W @ x) * h, x

    h, x = variable("s", H * X)
    assert step.output is tuple_of((sigmoid(W @ x) * h, x))


def test_a_size_that_only_a_number_or_an_access_has_is_a_size_of_the_layer() -> None:
    (i,) = indices("i")
    mirror = form("mirror", x=(n - 1 - i,), to=(i,), ranges={i: m})

    def declared(output):
        return Layer.of("f", state={"x": R(m)}, output=output)

    assert declared(lambda x: x / n).sizes == (m, n)
    assert declared(lambda x: x + n).sizes == (m, n)
    assert declared(lambda x: mirror(x)).sizes == (m, n)
    assert declared(lambda x: x).sizes == (m,)


def test_what_no_array_tells_is_asked_for() -> None:
    half = Layer.of("half", state={"x": R(m)}, output=lambda x: x / n).compile()
    assert half.forward(np.ones((1, 3)), n=2).tolist() == [[0.5, 0.5, 0.5]]
    with pytest.raises(TypeError, match="size n is not known, give it as n="):
        half.forward(np.ones((1, 3)))
