"""The inner products of a form's result: kept, declared, or refused in words; and its adjoint."""

import numpy as np
import pytest

from derive import (
    Gram,
    Hom,
    R,
    SpaceError,
    average_pool,
    convolution,
    crop,
    dims,
    embed,
    form,
    indices,
    max_pool,
    per_channel,
    transpose,
    transposed_convolution,
    variable,
    vec,
)
from derive.calculus.maps import LinearMap, derivative_map, variables_of
from derive.language.reference import shape_of, values_of

n, m, k = dims("n m k")
i, j, s = indices("i j s")
G, H = Gram("G"), Gram("H")
X, Y = R(n, gram=G), R(m, gram=H)
x, y, plain = variable("x", X), variable("y", Y), variable("p", R(n))
A, square = variable("A", Hom(Y, X)), variable("S", Hom(X, X))  # A has G, then the inverse of H
image = variable("I", X**3)  # three channels, each in R(n, gram=G)


KEPT = {
    "an axis that is read whole": (form("f", x=(i,), to=(i,))(x), "R(n, gram=G)"),
    "the axes of a matrix": (transpose(A), "R(m, gram=H^-1, n, gram=G)"),
    "one of two": (form("f", A=(i, j), y=(j,), to=(i,))(A, y), "R(n, gram=G)"),
    "of what is summed nothing": (form("f", x=(i,), y=(i,), to=())(x, plain), "R()"),
    "at a number nothing": (form("f", A=(i, 0), to=(i,))(A), "R(n, gram=G)"),
    "of two that are one": (form("f", a=(i,), b=(i,), to=(i,))(x, x), "R(n, gram=G)"),
    "beside an axis of its own": (
        form("f", x=(i,), to=(i, s), ranges={s: k})(x),
        "R(n, gram=G, k)",
    ),
    "extents say no other": (form("f", x=(i,), to=(i,), shape=(n,))(x), "R(n, gram=G)"),
    "a vector is its own vec": (vec(x), "R(n, gram=G)"),
    "an axis that is not cropped": (crop(A[:, :], 0, m), "R(n, gram=G, m, gram=H^-1)"),
    "channels of a crop": (crop(transpose(image), 1, 2), "R(n, gram=G, 2)"),
    "channels of an embedding": (embed(transpose(image), 1, 5), "R(n, gram=G, 5)"),
    "channels of a pool": (max_pool(transpose(image), 3), "R(n, gram=G, 1)"),
    "of a pool of means": (average_pool(transpose(image), 3), "R(n, gram=G, 1)"),
    "of a pool with ties": (max_pool(transpose(image), 3, ties="average"), "R(n, gram=G, 1)"),
}


@pytest.mark.parametrize("case", KEPT)
def test_an_axis_of_the_result_that_is_one_of_an_operand_is_it(case) -> None:
    node, space = KEPT[case]
    assert str(node.space) == space


DECLARED = {
    "another for one": form("f", x=(i,), to=(i,), shape=R(n))(x),
    "one for none": form("f", p=(i,), to=(i,), shape=X)(plain),
    "where two differ": form("f", x=(i,), p=(i,), to=(i,), shape=X)(x, plain),
    "a part": form("f", x=(i + 1,), to=(i,), shape=R(n - 1, gram=H), ranges={i: n - 1})(x),
    "of an image's channels": per_channel(variable("b", R(3)), X**3),
}


@pytest.mark.parametrize("case", DECLARED)
def test_a_declared_space_is_the_results(case) -> None:
    spaces = (R(n), X, X, R(n - 1, gram=H), X**3)
    assert DECLARED[case].space == dict(zip(DECLARED, spaces, strict=True))[case]


LOST = {
    "two inner products": (
        lambda: form("f", x=(i,), p=(i,), to=(i,))(x, plain),
        r"f: x is of R\(n, gram=G\), and the result, of R\(n\), would lose the Gram matrix G; say "
        r"in form\(\.\.\) which space the result is of, as shape=R\(n\), or give x with the "
        r"standard inner product: form\('plain', x=\(i,\), to=\(i,\), shape=R\(n\)\)",
    ),
    "a diagonal": (
        lambda: form("f", S=(i, i), to=(i,))(square),
        "S is of .* lose the Gram matrix G",
    ),
    "on a diagonal": (lambda: form("f", x=(i,), to=(i, i))(x), r"of R\(n, n\), would lose"),
    "a part": (lambda: form("f", x=(i + 1,), to=(i,), ranges={i: n - 1})(x), "would lose"),
    "a longer axis": (lambda: form("f", x=(i,), to=(i,), ranges={i: n + 1})(x), "would lose"),
    "mixed axes": (lambda: vec(A), r"vec: x is of R\(n, gram=G, m, gram=H\^-1\).*to=\(i, j\)"),
    "a crop": (lambda: crop(x, 1, 1), "crop: x is of"),
    "an embedding": (lambda: embed(x, 1, n + 1), "embed: y is of"),
    "windows": (lambda: max_pool(image, 2), "max_pool: x is of"),
    "windows of means": (lambda: average_pool(image, 2), "total: x is of"),
    "an image": (lambda: convolution(variable("W", R(2, 3, 2)), image), "C: x is of"),
    "its adjoint": (
        lambda: transposed_convolution(variable("W", R(3, 2, 2)), image),
        "transposed_convolution: y is of",
    ),
}


@pytest.mark.parametrize("case", LOST)
def test_no_inner_product_is_lost_in_silence(case) -> None:
    make, sentence = LOST[case]
    with pytest.raises(SpaceError, match=sentence):
        make()


def test_what_the_refusal_says_to_write_is_taken() -> None:
    standard = form("plain", x=(i, j), to=(i, j), shape=R(n, m))(A)
    assert vec(standard).space == R(n * m)


@pytest.mark.parametrize("shape", [R(n, m), "n", 3, X * X])
def test_a_shape_that_is_none_is_refused(shape) -> None:
    with pytest.raises(SpaceError, match="f: "):
        form("f", x=(i,), to=(i,), shape=shape)(x)


# --- the adjoint, in the inner products

SIZES = {n: 3, m: 4, k: 5}


def positive(count: int, rng: np.random.Generator) -> np.ndarray:
    root = rng.normal(size=(count, count))
    return root @ root.T + count * np.eye(count)


def paired(left, right, space, grams) -> float:
    """<left, right> in the space, by its definition: a Gram matrix on every axis that has one."""
    for number, gram in enumerate(space.grams):
        if gram is not None:
            matrix = np.linalg.inv(grams[gram.name]) if gram.inverted else grams[gram.name]
            right = np.moveaxis(np.tensordot(matrix, right, (1, number)), 0, number)
    return float((left * right).sum())


MAPS = {
    "kept": (x, KEPT["of two that are one"][0]),
    **{name: (x, DECLARED[name]) for name in ("another for one", "where two differ", "a part")},
    "one for none": (plain, DECLARED["one for none"]),
    "transposed": (A, transpose(A)),
    "applied": (A, KEPT["one of two"][0]),
    "at the argument": (y, KEPT["one of two"][0]),
    "at a number": (A, KEPT["at a number nothing"][0]),
    "summed": (x, KEPT["of what is summed nothing"][0]),
    "beside another": (x, KEPT["beside an axis of its own"][0]),
    "cropped": (image, crop(transpose(image), 1, 2)),
    "embedded": (image, embed(transpose(image), 1, 5)),
}


@pytest.mark.parametrize("case", MAPS)
def test_the_adjoint_is_that_of_the_inner_products(case) -> None:
    """<D f . v, w> = <v, D* f . w> for random Gram matrices, each pairing by its definition."""
    at, output = MAPS[case]
    D = derivative_map("D", output, at, "v")
    v, w, rng = D.variable, D.adjoint.variable, np.random.default_rng(3)
    grams = {"G": positive(3, rng), "H": positive(2 if case == "a part" else 4, rng)}
    matrices = grams | {f"{name}_inverse": np.linalg.inv(G) for name, G in grams.items()}
    given = {
        a: matrices[a.name] if a.name in matrices else rng.normal(size=shape_of(a.space, SIZES))
        for a in {v, w, *variables_of(D.body, D.adjoint.body)}
    }
    moved, pulled = values_of([D.body, D.adjoint.body], given, SIZES)
    left = paired(moved, given[w], D.codomain, grams)
    assert left == pytest.approx(paired(given[v], pulled, D.domain, grams), rel=1e-12)


def test_an_adjoint_by_hand() -> None:
    """x -> (x_1, x_2) from three axes: G^-1 P^T H w, with G diagonal and w = (1, 2)."""
    f = LinearMap("f", x, DECLARED["a part"])
    u = f.adjoint.variable
    G_inverse, H_ = np.diag([1 / 2, 1 / 4, 1 / 5]), np.array([[3.0, 1.0], [1.0, 2.0]])
    given = {a: {"G_inverse": G_inverse, "H": H_}.get(a.name) for a in variables_of(f.adjoint.body)}
    (pulled,) = values_of([f.adjoint.body], given | {u: np.array([1.0, 2.0])}, SIZES)
    np.testing.assert_array_equal(pulled, [0, 5 / 4, 1])
