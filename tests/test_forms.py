"""Forms: indices by place and not by name, extents from the operands, and what a slot shows."""

import pytest
import sympy

from derive import R, SpaceError, dims, form, indices, variable
from derive.language.forms import canonical_index, extents_of, make_form

n, m, r = dims("n m r")
i, j, s = indices("i j s")
i0, i1, i2 = (canonical_index(k) for k in range(3))
A, x = variable("A", R(n, m)), variable("x", R(m))


def test_indices_are_known_by_their_place() -> None:
    """Renaming the indices gives the same form, also onto the names that forms use."""
    product = make_form([(i, j), (j,), (i,)], {i: n, j: m})
    assert product == make_form([(j, i), (i,), (j,)], {j: n, i: m})
    assert product == make_form([(i1, i0), (i0,), (i1,)], {i1: n, i0: m})
    assert product.slots == ((i0, i1), (i1,), (i0,))
    assert product.extents == ((i0, n), (i1, m))
    assert product != make_form([(i, j), (i,), (j,)], {i: n, j: m})


def test_an_index_in_no_access_is_kept() -> None:
    summed = make_form([(i,), (i,)], {i: n, j: m})
    assert summed.extents == ((i0, n), (i1, m)) and summed.summed(1) == (i1,)


def test_what_an_open_slot_sums_over() -> None:
    product, shapes = make_form([(i, j), (j,), (i,)], {i: n, j: m}), [(n, m), (m,), (n,)]
    assert [product.summed(slot) for slot in range(3)] == [(), (i0,), (i1,)]
    assert [product.is_pointwise(slot, s) for slot, s in enumerate(shapes)] == [True, False, False]


def test_a_plain_slot_meets_every_entry_once() -> None:
    window = make_form([(2 * i + s - 1,), (s,), (i,)], {i: n, s: r})
    assert [window.is_plain(slot) for slot in range(3)] == [False, True, True]
    assert not make_form([(i, i), ()], {i: n}).is_plain(0)
    assert not make_form([(sympy.Integer(0), i), (i,)], {i: n}).is_plain(0)


def test_a_part_of_an_axis_is_not_all_of_it() -> None:
    head = make_form([(i,), (i,)], {i: n})
    assert head.covers(0, (n,)) and not head.covers(0, (2 * n,)) and head.is_plain(0)
    assert head.is_pointwise(1, (n,)) and not head.is_pointwise(1, (2 * n,))


def test_a_bound_index_does_not_run() -> None:
    chosen = make_form([(j, i), (i,)], {i: n, j: m}, [(j, ())])
    assert chosen.free == (i1,) and chosen.bound == ((i0, ()),)
    assert not chosen.is_plain(0)


def test_extents_come_from_plain_entries() -> None:
    found = extents_of("f", [("K", (i, s), (n, r)), ("x", (2 * j + s,), (m,))], {j: m - r})
    assert found == {i: n, s: r, j: m - r}


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: form("f", A=(i,), to=(i,))(A), r"f: A has shape \(n, m\).* 1 entries; write one"),
        (
            lambda: form("f", A=(i, i), to=(i,))(A),
            "f: index i runs over n elsewhere and over m in A",
        ),
        (
            lambda: form("f", A=(i, j), x=(i,), to=(j,))(A, x),
            "index i runs over n elsewhere and over m in x; give the two axes the same size",
        ),
        (
            lambda: form("f", x=(i + s,), to=(i,))(x),
            "f: the range of index i is not known.*give it as ranges={i: size}",
        ),
        (
            lambda: form("f", x=(i,), to=(i + 1,))(x),
            "f: the result's access i \\+ 1 is not a plain index; give its shape as shape=",
        ),
        (lambda: form("f", x=(i,), to=(i,))(x, x), "f: expected \\['x'\\], got 2 operands"),
        (
            lambda: form("f", x=(i,), to=(i,))(variable("p", R(n) * R(m))),
            "f: x: expected an .* array",
        ),
        (lambda: form("f", x=(i * j,), to=(i,), ranges={i: n, j: m}), r"i\*j is not affine"),
        (lambda: form("f", x=(i**2,), to=(i,), ranges={i: n}), r"i\*\*2 is not affine"),
        (lambda: form("f", x=(i / 2,), to=(i,), ranges={i: n}), "i/2 is not affine"),
        (lambda: form("f", x=(sympy.floor(i / 2),), to=(i,), ranges={i: n}), "not affine"),
    ],
)
def test_errors_are_sentences_with_the_fix(make, sentence) -> None:
    with pytest.raises(SpaceError, match=sentence):
        make()


def test_an_affine_access_may_have_sizes() -> None:
    backwards = form("backwards", x=(m - 1 - i,), to=(i,), ranges={i: m})
    assert backwards(x).space == R(m)
    assert form("strided", x=(r * i,), to=(i,), ranges={i: n})(x).space == R(n)
