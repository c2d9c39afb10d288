"""A layer's forms are called as its own formula calls them, whatever else the process declares."""

import gc
import os
import pickle
import subprocess
import sys
import weakref
from collections.abc import Callable

import pytest

from derive import Layer, R, derivation, dims, form, indices, layer, network, variable
from derive.calculus.maps import LinearMap
from derive.language.expressions import is_zero
from derive.language.form_names import FormNames, names_of
from derive.language.forms import FormName, make_form
from derive.library.dense import affine
from derive.tools.fingerprint import fingerprint
from derive.writing.typesetting.writer import latex_writer

n, m = dims("n m")
i, j = indices("i j")


def shifted(word: str) -> Callable:
    return form(word, x=(i + 1,), to=(i,), ranges={i: m - 1})


def by_formula(word: str) -> Layer:
    cut = shifted(word)

    @layer
    def f(x: R(m)) -> R(m - 1):
        return cut(x)

    return f


def by_function(word: str) -> Layer:
    cut = shifted(word)
    return Layer.of("f", state={"x": R(m)}, output=lambda x: cut(x))


def by_expression(word: str) -> Layer:
    return Layer.of("f", state={"x": R(m)}, output=shifted(word)(variable("x", R(m))))


def by_class(word: str) -> Layer:
    f = by_function(word)
    return Layer("f", f.arguments, f.output)


def by_composition(word: str) -> Layer:
    return network("f", cut=by_formula(word))


def by_use(word: str) -> Layer:
    cut = by_formula(word)
    return Layer.of("f", state={"x": R(m)}, output=lambda x: cut(x))


MADE = [by_formula, by_function, by_expression, by_class, by_composition, by_use]


def written(f: Layer) -> str:
    return latex_writer(f.names, form_names=f.form_names).formula(f.output)


def looks(word: str) -> str:
    return rf"\operatorname{{{word}}}(x)"


@pytest.mark.parametrize("second", MADE)
@pytest.mark.parametrize("first", MADE)
def test_two_layers_call_one_form_by_two_names(first, second) -> None:
    many = [by_formula(f"word{k}") for k in range(20)]
    one, other = first("one"), second("other")
    assert written(one) == looks("one") and written(other) == looks("other")
    assert [written(f) for f in many] == [looks(f"word{k}") for k in range(20)]
    assert names_of(one.output).get(one.output.form) == FormName("one")


@pytest.mark.parametrize("made", MADE)
def test_what_a_layer_is_shown_by_has_its_names(made) -> None:
    """The document, a map in a notebook, a family of points, a pickle."""
    one, other = made("one"), made("other")
    for f, own, foreign in ((one, "one", "other"), (other, "other", "one")):
        document = derivation(f).tex
        assert own in document and rf"\operatorname{{{foreign}}}" not in document
        assert own in f.D().adjoint._repr_latex_() and own in f._repr_latex_()
        assert own in latex_writer({}).formula(f.batched(n).output)
        assert written(pickle.loads(pickle.dumps(f))) == looks(own)


def test_names_are_no_part_of_what_is_computed() -> None:
    one, other = by_formula("one"), by_formula("other")
    assert one.output.form == other.output.form
    assert hash(one.output.form) == hash(other.output.form)
    assert str(one.output) == str(other.output)
    assert fingerprint(one) == fingerprint(other)


def test_one_formula_calls_equal_expressions_once() -> None:
    one, other = shifted("one"), shifted("other")
    f = Layer.of("f", state={"x": R(m)}, output=lambda x: one(x) * other(x) - other(x) * one(x))
    assert is_zero(f.output)
    both = Layer.of("f", state={"x": R(m)}, output=lambda x: one(x) * other(x))
    assert written(both) == rf"{looks('one')} \odot {looks('one')}"


def test_a_form_without_a_name_is_found_by_its_value() -> None:
    named = make_form([(i + 1,), (i,)], {i: m - 1}, name=FormName("cut"))
    plain = make_form([(j + 1,), (j,)], {j: m - 1})
    longer = make_form([(j + 1,), (j,)], {j: m})
    names = FormNames(((named, FormName("cut")),))
    assert names.get(plain) == FormName("cut") and names.get(longer) == FormName("cut")
    assert names.get(make_form([(i,), (i + 1,)], {i: m - 1})) is None


def test_the_first_of_two_names_counts() -> None:
    made = make_form([(i + 1,), (i,)], {i: m - 1})
    assert FormNames(((made, FormName("a")), (made, FormName("b")))).get(made) == FormName("a")


def test_what_remains_beside_ones_says_which_slots_they_fill() -> None:
    """C(K, x, b) read at K = 1, then at b = 1: the third slot of C, not the second of the rest."""
    whole = make_form([(i,), (i, j), (j,), (i,)], {i: n, j: m}, name=FormName("C"))
    names = FormNames(((whole, FormName("C")),))
    rest = make_form([(i, j), (i,)], {i: n, j: m})
    assert names.get(rest) == FormName("C", (0, 2))
    assert FormName("C", (0,)).with_ones(1, 3) == FormName("C", (0, 2))


def test_a_sum_of_a_network_has_the_names_of_its_layers() -> None:
    f = network("f", cut=by_formula("one"), map=affine)
    assert r"\operatorname{one}" in latex_writer({}, form_names=f.form_names).formula(f.output)


def alive(kind: type) -> int:
    gc.collect()
    return sum(isinstance(x, kind) for x in gc.get_objects())


def test_names_go_with_their_layers() -> None:
    by_formula("before")
    before = {kind: alive(kind) for kind in (Layer, FormNames, FormName)}
    gone = [weakref.ref(by_formula(f"word{k}")) for k in range(50)]
    after = {kind: alive(kind) for kind in before}
    assert all(f() is None for f in gone)
    assert after == before


def test_a_form_from_a_pickle_is_found_in_any_process() -> None:
    """Text is hashed otherwise in every process, and a form keeps its hash."""
    made = make_form([(i + 1,), (i,)], {i: m - 1}, name=FormName("cut"))
    hash(made)
    read = (
        "import pickle, sys; from derive.language.forms import make_form; from derive import dims, "
        "indices; form = pickle.load(sys.stdin.buffer); i, m = indices('i')[0], dims('m'); "
        "own = make_form([(i + 1,), (i,)], {i: m - 1}); "
        "print(form == own, hash(form) == hash(own), form.name.word)"
    )
    run = subprocess.run(
        [sys.executable, "-c", read],
        input=pickle.dumps(made),
        env={**os.environ, "PYTHONHASHSEED": "7"},
        capture_output=True,
        check=True,
    )
    assert run.stdout.decode().split() == ["True", "True", "cut"]


def test_a_map_of_the_users_own_shows_the_words_it_was_written_by() -> None:
    x = variable("x", R(m))
    assert r"\operatorname{one}" in LinearMap("L", x, shifted("one")(x))._repr_latex_()
