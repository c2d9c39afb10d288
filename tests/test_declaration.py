"""The decorator: where a layer was declared, the line of a mistake in it, and what it takes."""

import numpy as np
import pytest

from derive import Hom, Index, R, SpaceError, dims, fixed, given, layer, network, tanh
from derive.models.declaration import declarations
from derive.models.layers import Layer

n, m = dims("n m")
X, H = R(m), R(n)


@layer
def squares(x: X) -> X:
    return x * x


def lines() -> list[str]:
    with open(__file__, encoding="utf-8") as file:
        return [line.strip() for line in file]


def test_a_layer_knows_the_file_and_the_line_of_its_declaration() -> None:
    assert squares.place is not None and squares.place.file == __file__
    assert lines()[squares.place.line - 1 :][:2] == ["@layer", "def squares(x: X) -> X:"]
    assert squares.place.text == "@layer"
    assert str(squares.place) == f"test_declaration.py:{squares.place.line}"


def test_a_layer_that_no_decorator_declared_has_no_place() -> None:
    assert Layer.of("f", state={"x": X}, output=lambda x: x * x).place is None
    assert network("net", a=squares).place is None


def test_the_error_of_a_formula_has_a_note_of_its_line() -> None:
    with pytest.raises(SpaceError) as caught:

        @layer
        def f(x: X, y: H, *, W: Hom(X, H)) -> H:
            z = W @ x
            return z + x

    at = lines().index("return z + x") + 1
    assert str(caught.value).startswith("layer f: R(n) + R(m): the two sides must be of one space")
    assert caught.value.__notes__ == [f"test_declaration.py:{at}: return z + x"]


def doubled_root(x):
    return 2 * np.sqrt(x)  # a mistake, on purpose


def test_the_line_is_the_innermost_one_of_the_users_file() -> None:
    """Not that of the call in the formula, and not one of ours."""
    with pytest.raises(SpaceError) as caught:
        Layer.of("f", state={"x": X}, output=lambda x: x + doubled_root(x))
    (note,) = caught.value.__notes__
    assert note.endswith("return 2 * np.sqrt(x)  # a mistake, on purpose")


def test_layers_declared_within_are_collected_in_order_and_those_of_functions_are_not() -> None:
    def top_level(name: str) -> Layer:
        def f(x: X) -> X:
            return x * x

        f.__name__ = f.__qualname__ = name
        return layer(f)

    def factory() -> Layer:
        @layer
        def inner_one(x: X) -> X:
            return x * x

        return inner_one

    top_level("before")
    with declarations() as found:
        one, two = top_level("one"), top_level("two")
        with declarations() as inner:
            three = top_level("three")
        factory()
    top_level("after")
    assert found == [one, two] and inner == [three]


@pytest.mark.parametrize("given", ["f", 3, squares, len])
def test_what_is_no_function_is_refused(given) -> None:
    with pytest.raises(SpaceError, match=r"@layer stands above a function, as in @layer def f"):
        layer(given)


# --- what is fixed stands right of the semicolon


def left_of_the_semicolon():
    @layer
    def f(x: X, mu: fixed(X)) -> X:
        return x - mu


LEFT = {
    "declared": left_of_the_semicolon,
    "state": lambda: Layer.of("f", state={"x": X, "mu": fixed(X)}, output=lambda x, mu: x - mu),
    "given": lambda: Layer.of(
        "f", state={"x": X}, given={"mu": fixed(X)}, output=lambda x, mu: x - mu
    ),
}


@pytest.mark.parametrize("declare", LEFT.values(), ids=LEFT)
def test_what_is_fixed_left_of_the_semicolon_is_told_where_it_belongs(declare) -> None:
    with pytest.raises(SpaceError) as caught:
        declare()
    assert str(caught.value) == (
        "layer f: argument mu: fixed(R(m)) is the same for every point of a batch, as a parameter "
        "is; declare it right of the bare *, in Layer.of under fixed=, or say given(..) where "
        "every point has its own"
    )


def test_the_typed_core_takes_what_is_fixed_with_or_without_the_annotation() -> None:
    made = Layer.of(
        "f", state={"x": X}, fixed={"P": fixed(Hom(X, H)), "s": H * H}, output=lambda x, P, s: P @ x
    )
    assert made.signature == "f(x; P, s)" and [v.name for v in made.fixed] == ["P", "s"]
    assert not made.parameters


def test_class_indices_right_of_the_semicolon_are_fixed_or_refused() -> None:
    @layer
    def f(x: X, *, k: fixed(Index(m))) -> X:
        return tanh(x)

    assert [v.space for v in f.fixed] == [Index(m)]
    with pytest.raises(SpaceError, match=r"right of the \* as fixed\(Index\(...\)\)"):

        @layer
        def g(x: X, *, k: Index(m)) -> X:
            return tanh(x)


def test_what_is_annotated_by_no_space_is_refused_where_it_is_fixed() -> None:
    with pytest.raises(
        SpaceError, match=r"fixed: expected a space, as in fixed\(R\(n\)\), got Given"
    ):

        @layer
        def f(x: X, *, mu: fixed(given(X))) -> X:
            return x - mu
