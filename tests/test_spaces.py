"""Spaces: shapes, direct products, Hom and Gram matrices, and the sentences of their errors."""

import pytest
import sympy

from derive import Gram, Hom, Index, R, SpaceError, dims
from derive.language.sizes import size
from derive.language.spaces import Product, Real, codomain_of, leaves, substitute

n, m, k = dims("n m k")
X, H, Y = R(m), R(n), R(k)
G = R(n, gram=Gram("G"))


def test_dims_are_positive_integers() -> None:
    assert dims("n") == dims("n m")[0] == n
    assert n.is_integer and n.is_positive
    for wrong in (" ", "n n", "n, m"):
        with pytest.raises(ValueError, match=r"as in dims\('n m'\)"):
            dims(wrong)


def test_a_size_is_whole_for_every_value_of_its_symbols() -> None:
    assert R(sympy.floor(n / 2)).shape == (sympy.floor(n / 2),)
    for wrong in (n / 2, -n, sympy.Symbol("n"), sympy.Symbol("n", integer=True)):
        with pytest.raises(SpaceError, match="a size must be a whole number of at least 1"):
            R(wrong)


@pytest.mark.parametrize(
    ("space", "dimension"),
    [
        (R(), 1),
        (X, m),
        (R(n, m), n * m),
        (H * X, n + m),
        (H**4, 4 * n),
        (Hom(X, H * Y), m * (n + k)),
    ],
)
def test_dimension(space, dimension) -> None:
    assert sympy.expand(space.dimension - dimension) == 0


def test_spaces_of_equal_shape_are_equal() -> None:
    assert R(n + n) == R(2 * n) and R(2) == R(sympy.Integer(2)) and H != X
    assert R(n, gram=Gram("G")) == G and G != H
    assert {R(n): 1}[R(n)] == 1


def test_direct_products_are_flat_and_powers_are_arrays() -> None:
    assert H * X * H == Product((H, X, H)) == H * (X * H)
    assert R(4, n) == H**4 and H * X != X * H
    assert Real((size(2), n), (None, Gram("G"))) == G**2


def test_hom_of_arrays_has_the_codomain_in_front() -> None:
    assert Hom(X, H) == R(n, m)
    assert Hom(R(m, k), H) == R(n, m, k)
    assert Hom(R(), H) == H == Hom(H, R())


def test_hom_of_products_is_the_product_of_the_homs() -> None:
    assert Hom(X * H, Y) == R(k, m) * R(k, n)
    assert Hom(Y, X * H) == R(m, k) * R(n, k)
    assert Hom(X * H, X * H) == Product((Hom(X * H, X), Hom(X * H, H)))
    assert list(leaves(Hom(X * H, X * H))) == [R(m, m), R(m, n), R(n, m), R(n, n)]


def test_hom_has_the_inverse_gram_matrix_on_its_domain() -> None:
    assert Hom(G, X).grams == (None, Gram("G", inverted=True))
    assert Hom(X, G).grams == (Gram("G"), None)
    assert Hom(Hom(G, R()), R()) == G  # the dual of the dual
    assert str(Hom(G, G)) == "R(n, gram=G, n, gram=G^-1)"


SPACES = {"X": X, "R()": R(), "matrix": R(n, m), "gram": G, "X*H": X * H, "H**4": H**4}


@pytest.mark.parametrize("domain", SPACES.values(), ids=SPACES)
@pytest.mark.parametrize("codomain", [*SPACES.values(), X * (H * X)], ids=[*SPACES, "X*H*X"])
def test_the_codomain_of_hom_is_found(domain, codomain) -> None:
    assert codomain_of(Hom(domain, codomain), domain) == codomain


@pytest.mark.parametrize(
    ("operator", "domain"),
    [(R(n, m), H), (H, R(n, m)), (R(n, m), X * H), (R(k, m) * R(n, n), X * H), (X * H, X * H * X)],
)
def test_what_is_no_map_on_the_domain_has_no_codomain(operator, domain) -> None:
    assert codomain_of(operator, domain) is None


def test_substituting_sizes() -> None:
    sizes = {n: sympy.Integer(3), m: n}
    assert substitute(Hom(X, H) * G, sizes) == R(3, n) * R(3, gram=Gram("G"))
    assert substitute(Index(m, k), sizes) == Index(n, k)


@pytest.mark.parametrize(
    "wrong", [0, -1, 0.5, 2.0, "n", True, None, sympy.Rational(1, 2), n / n - 1]
)
def test_a_size_is_a_whole_number_of_at_least_one(wrong) -> None:
    with pytest.raises(SpaceError, match="a size must be"):
        R(wrong)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: H * 3, r"R\(n\) \* 3: the direct product needs a space on both sides"),
        (
            lambda: (H * X) ** 2,
            r"\(R\(n\) \* R\(m\)\)\*\*2: only an array space has a power; use \*",
        ),
        (lambda: R(n, m, gram=Gram("G")), "gram=G belongs to a space of one axis, got 2 axes"),
        (
            lambda: Hom(Index(n), H),
            r"Hom\(Index\(n\), R\(n\)\): class indices are not a vector space",
        ),
        (lambda: H ** (-1), "a size must be a whole number of at least 1, got -1"),
    ],
)
def test_errors_are_sentences_with_the_spaces(make, sentence) -> None:
    with pytest.raises(SpaceError, match=sentence):
        make()
