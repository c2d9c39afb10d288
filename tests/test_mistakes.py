"""Mistakes of a new user, by kind: each ends in a sentence with the fix, and no raw word."""

import math
import re

import numpy as np
import pytest
import sympy

import derive
from derive import (
    Gram,
    Hom,
    Index,
    Layer,
    Mask,
    R,
    SpaceError,
    convolution,
    crop,
    derivation,
    dims,
    elementwise_function,
    embed,
    entry,
    exp,
    fixed,
    form,
    given,
    indices,
    inner,
    layer,
    log,
    log_sum_exp,
    max_pool,
    mean,
    network,
    norm,
    prove,
    softmax,
    sqrt,
    tanh,
    to_sympy,
    total_sum,
    uninterpreted,
    variable,
    with_fixed,
    with_shared,
    with_sizes,
)
from derive.calculus import calculus
from derive.language.scalars.operations import OperationError
from derive.library.dense import dense
from derive.library.networks import mlp

n, m = dims("n m")
i, j = indices("i j")
x, y, z = variable("x", R(n)), variable("y", R(n)), variable("z", R(m))
A, W, q = variable("A", R(n, n)), variable("W", Hom(R(m), R(n))), variable("q", R(4))
k, s, pair = variable("k", Index(n)), variable("s", R()), variable("pair", R(n) * R(m))
image, filters = variable("image", R(3, 8, 8)), variable("filters", R(2, 3, 3, 3))
E = elementwise_function
SIZES = {"m": 2, "hidden_n": 3, "output_n": 3}
RAW = re.compile(
    r"'\w+' object|__\w+__|Symbol|Sympify|Relational|NoneType' |ufunc|positional-only|<lambda>\(\)"
)
"""Words of Python's, NumPy's and SymPy's own errors."""


def said(tried, kind=SpaceError) -> str:
    with pytest.raises(kind) as caught:
        tried()
    assert not RAW.search(str(caught.value)), caught.value
    return str(caught.value)


# --- calls


CALLS = {
    "axis": (lambda: softmax(x, axis=-1), r"softmax: got an unexpected .*'axis'; call it as softm"),
    "axis's fix": (lambda: mean(x, axis=0), r"an axis is chosen by a form, as in i, j = indices"),
    "axis of psi": (lambda: tanh(x, axis=0), r"tanh: got an unexpected keyword argument 'axis'"),
    "dim": (lambda: total_sum(x, dim=1), r"'dim'; call it as total_sum\(x\); an axis is"),
    "too many": (lambda: norm(x, 2), r"norm: takes 1 positional argument but 2 .* norm\(x\)$"),
    "too few": (lambda: inner(x), r"inner: missing 1 required .*'y'; call it as inner\(x, y\)$"),
    "none at all": (lambda: tanh(), r"tanh: expected t, got 0 arguments"),
    "two for one": (lambda: tanh(x, y), r"tanh: expected t, got 2 arguments"),
    "by name": (lambda: form("f", x=(i,), to=(i,))(x=x), r"f: got an unexpected keyword .*'x'"),
    "text": (lambda: tanh("x"), r"tanh: expected an expression, got 'x' of type str"),
    "None": (lambda: tanh(None), r"tanh: expected an expression, got None"),
    "array": (lambda: tanh(np.ones(3)), r"an array is data: declare an argument for it, c: given"),
    "inner, array": (lambda: inner(x, np.ones(3)), r"inner: expected an expression of an array sp"),
    "norm, number": (lambda: norm(3), r"norm: expected an expression of an array space, got 3"),
    "softmax, scalar": (lambda: softmax(s), r"softmax: expected a space of one axis at least"),
    "log-sum-exp": (lambda: log_sum_exp(pair), r"log_sum_exp: expected an expression of an array"),
    "dims in words": (lambda: dims("n", "m"), r"dims: takes 1 .*; call it as dims\(names\)"),
    "dims of a list": (lambda: dims(["n"]), r"dims: expected one text of names, as in dims\('n m'"),
    "indices, comma": (lambda: indices("i,j"), r"indices: expected different names separated by"),
    "indices, twice": (lambda: indices("i i"), r"indices: expected different names"),
    "variable turned": (lambda: variable(R(n), "x"), r"as in variable\('x', R\(n\)\), got R\(n\)"),
    "variable of a size": (lambda: variable("x", n), r"expected a name and a space"),
    "Hom of one": (lambda: Hom(R(n)), r"Hom: missing .*; call it as Hom\(domain, codomain\)"),
    "given a size": (lambda: given(n), r"given: expected a space, as in given\(R\(n\)\), got n"),
    "Mask of 3": (lambda: Mask(3), r"Mask: expected a space"),
    "fixed text": (lambda: fixed("R(n)"), r"fixed: expected a space"),
    "uninterpreted": (lambda: uninterpreted("f"), r"uninterpreted: expected a name, the spaces of"),
    "conv's bias": (lambda: convolution(filters, image, bias=x), r"convolution: .*'bias'; call it"),
    "pool": (lambda: max_pool(image), r"max_pool: missing .* 'window'; call it as max_pool\(x, wi"),
    "entry of 0": (lambda: entry(x, 0), r"entry: expected an argument declared as Index"),
}


@pytest.mark.parametrize(("tried", "sentence"), CALLS.values(), ids=CALLS)
def test_a_wrong_call_says_how_to_call(tried, sentence):
    assert re.search(sentence, said(tried))


VOCABULARY = [
    getattr(derive, name)
    for name in derive.__all__
    if getattr(getattr(derive, name), "__wrapped__", None) is not None
]


@pytest.mark.parametrize("function", VOCABULARY, ids=lambda f: f.__name__)
def test_every_word_of_the_language_says_how_to_call_it(function):
    said_ = said(lambda: function(no_such_name=1)) if function.__name__ != "form" else None
    assert said_ is None or said_.startswith(f"{function.__name__}: ")
    assert "call it as" in (said_ or "call it as")


def test_the_language_of_formulas_is_all_of_it():
    names = {function.__name__ for function in VOCABULARY}
    assert {"R", "Hom", "Index", "dims", "indices", "form", "softmax", "tanh", "crop"} <= names
    assert {"layer", "cell", "network", "prove", "derivation", "max_pool", "recurrent"} <= names


def test_a_type_error_within_a_call_stays_what_it_is():
    with pytest.raises(TypeError, match="mine"):
        layer(raising)


def raising(x: R(n)) -> R(n):
    raise TypeError("mine")


# --- scalar formulas


SCALARS = {
    "math": (lambda t: math.exp(t), r"e: the formula uses a function of math or NumPy; use those"),
    "NumPy": (lambda t: np.exp(t), r"e: the formula uses a function of math or NumPy"),
    "math itself": (math.exp, r"e: the formula uses a function of math or NumPy"),
    "round": (lambda t: round(t), r"e: the formula uses a function of math or NumPy"),
    "if": (lambda t: 1 if t > 0 else 0, r"e: the formula decides by a comparison .*Piecewise"),
    "max": (lambda t: max(t, 0), r"decides by a comparison .*sympy\.Max\(t, 0\)"),
    "where": (lambda t: np.where(t > 0, t, 0), r"decides by a comparison"),
    "matmul": (lambda t: t @ t, r"e: the formula can't be taken of a symbol; write it with \+"),
    "text": (lambda t: t ** "2", r"can't be taken of a symbol"),
    "a method": (lambda t: t.foo(), r"can't be taken of a symbol"),
    "named": (lambda t, **more: t, r"\*\*more is not one of them; remove it"),
    "None": (lambda t: None, r"expected a SymPy expression, got .*None"),
    "nan": (lambda t: t + float("nan"), r"e: expected finite values, got nan"),
    "inf": (lambda t: float("inf"), r"e: expected finite values, got oo"),
    "imaginary": (lambda t: 1j * t, r"expected a real-valued formula"),
}


@pytest.mark.parametrize(("formula", "sentence"), SCALARS.values(), ids=SCALARS)
def test_a_scalar_formula_that_takes_no_symbol_is_a_sentence(formula, sentence):
    assert re.search(sentence, said(lambda: E("e", formula), OperationError))


def test_a_name_that_is_not_defined_is_pythons_own_word():
    with pytest.raises(NameError, match="'no_such' is not defined"):
        E("e", lambda t: no_such(t))  # noqa: F821


def test_a_default_value_of_a_formula_is_kept():
    by = [E(f"times_{c}", lambda t, c=c: c * t) for c in (2, 3)]
    assert [psi(1.5) for psi in by] == [3.0, 4.5]


def test_functions_of_numbers_are_numbers_and_of_sizes_factors():
    assert log(2 * np.pi) == pytest.approx(math.log(2 * math.pi), rel=1e-15)
    assert exp(1) == pytest.approx(math.e, rel=1e-15) and sqrt(4) == 2.0
    assert x / sqrt(n) is x * (1 / sympy.sqrt(n)) and log(n) * x is x * sympy.log(n)
    assert (
        E("e", lambda t: t * exp(-t))(x).operation.body
        == E("e", lambda t: t * sympy.exp(-t))(x).operation.body
    )
    for tried in (lambda: log(0), lambda: log(-1.0), lambda: exp(1e9)):
        assert re.search(r"^(log|exp)\(.*\) is .*not a finite number$", said(tried))


# --- expressions


EXPRESSIONS = {
    "len": (lambda: len(x), r"can't be taken apart along an axis of n: positions are numbers"),
    "// 2": (lambda: x // 2, r"// is not defined for an expression of R\(n\); what is rounded"),
    "2 % x": (lambda: 2 % x, r"% is not defined .* what is rounded has no derivative"),
    "x & y": (lambda: x & y, r"& is not defined .* mask: Mask\(R\(n\)\), and multiply"),
    "~x": (lambda: ~x, r"~ is not defined"),
    "x << 1": (lambda: x << 1, r"<< is not defined"),
    "round": (lambda: round(x), r"round is not defined"),
    "int": (lambda: int(x), r"int is not defined .*; use tanh, sigmoid"),
    "trunc": (lambda: math.trunc(x), r"math\.trunc is not defined"),
    "range(x)": (lambda: range(x), r"a use as a whole number .*k: Index\(n\), read by entry"),
    "call": (lambda: W(z), r"a call, \(\.\.\) is not defined .* applied by W @ x"),
    "3 @ x": (lambda: 3 @ x, r"@ is not defined .*write W @ x"),
    "x[0] = 1": (lambda: x.__setitem__(0, 1), r"an assignment to a part.* expressions are values"),
    "array": (lambda: np.ones(3) * x, r"an array is data: declare an argument for it"),
    "list": (lambda: [1, 2] * x, r"an array is data: declare an argument for it"),
    "bool": (lambda: x * True, r"expected a number or an expression of the same space, got True"),
    "-k": (lambda: -k, r"Index\(n\) has no arithmetic; class indices only select entries"),
    "2 * k": (lambda: 2 * k, r"Index\(n\) has no arithmetic"),
    "A**-1": (
        lambda: A**-1,
        r"to the power -1: a power is entry by entry, not an inverse; write 1 / A",
    ),
    "A**2 @ x": (lambda: A**2 @ x, r"the map is A\*\*p, a power entry by entry; write A @ \(A @ x"),
    "x ** y": (
        lambda: x**y,
        r"an exponent is a number; .*elementwise_function\('power', lambda a, b",
    ),
    "A @ A @ x": (
        lambda: A @ A @ x,
        r"write scale\(s, x\); .*<A, B>, and one map after the other is A @ \(B",
    ),
    "x @ V": (lambda: x @ variable("V", Hom(R(n), R(3))), r"a map stands on the left: A @ x"),
    "concatenate": (lambda: np.concatenate([x, y]), r"numpy\.concatenate .*; return a tuple"),
    "einsum": (lambda: np.einsum("i,i", x, x), r"numpy\.einsum .*; write form\("),
}


@pytest.mark.parametrize(("tried", "sentence"), EXPRESSIONS.values(), ids=EXPRESSIONS)
def test_what_an_expression_does_not_do_is_a_sentence(tried, sentence):
    assert re.search(sentence, said(tried))


ATTRIBUTES = {
    "sum": r"has no \.sum; write total_sum\(x\), or a form",
    "mean": r"has no \.mean; write mean\(x\) with mean from derive",
    "shape": r"has no \.shape; its sizes are those of its space, x\.space\.shape",
    "reshape": r"has no \.reshape; write vec\(x\), crop, embed, or a form",
    "exp": r"has no \.exp; write exp\(x\)",
    "backward": r"has no \.backward; derive a layer, f\.D\(\)\.adjoint",
    "dtype": r"has no \.dtype; an expression stands for every value",
    "no_such": r"has no \.no_such; formulas are written with \+, -,",
}


@pytest.mark.parametrize(("name", "sentence"), ATTRIBUTES.items(), ids=ATTRIBUTES)
def test_an_attribute_of_arrays_is_a_sentence_and_is_not_there(name, sentence):
    assert re.search(sentence, said(lambda: getattr(x, name)))
    assert not hasattr(x, name) and getattr(x, name, 3) == 3


def test_a_plus_in_front_is_nothing_and_a_member_is_a_part():
    assert +x is x and q[1] in q and x not in q and 3 not in q and len(pair) == 2 and len(q) == 4
    assert np.array(2.0) * x is 2 * x and x - np.array(1) is x - 1
    assert (A * A) @ x is (A * A) @ x and (1 / A).space == A.space and A**0.5 is A**0.5


# --- spaces and forms


SPACES = {
    "gram of an expression": (lambda: R(n, gram=tanh(x)), r"gram=.* as in R\(n, gram=Gram\('G'\)"),
    "gram in words": (lambda: R(n, gram="G"), r"gram='G': expected the name of a matrix"),
    "gram array": (lambda: R(n, gram=np.eye(3)), r"expected the name of a matrix that is given"),
    "Gram of 3": (lambda: Gram(3), r"Gram: expected the name of a matrix .* got 3"),
    "3 * R": (lambda: 3 * R(n), r"\* is not defined for the space R\(n\); .* a power R\(n\)\*\*4"),
    "R * 3": (lambda: R(n) * 3, r"needs a space on both sides; copies of one space are a power"),
    "R + R": (lambda: R(n) + R(m), r"\+ is not defined for the space R\(n\); the direct product"),
    "R | R": (lambda: R(n) | R(m), r"\| is not defined for the space"),
    "R[0]": (lambda: R(n)[0], r"an index, \[\.\.\] is not defined for the space .*space\.shape"),
    "R(x)": (lambda: R(n)(x), r"a call, .* is an argument of a layer, or variable\('x', R\(n\)\)"),
    "einsum": (
        lambda: form("f", A="ij", x="j", to="i"),
        r"f: the access A='ij' .*make them by i, j",
    ),
    "None": (lambda: form("f", A=None, to=(i,)), r"f: the access A=None has None, expected indic"),
    "ranges, text": (
        lambda: form("f", x=(2 * i,), to=(i,), ranges={"i": 3}),
        r"by index of indices",
    ),
    "ranges, list": (
        lambda: form("f", x=(2 * i,), to=(i,), ranges=[(i, 3)]),
        r"expected ranges=\{i",
    ),
    "form's name": (lambda: form(3, x=(i,), to=(i,)), r"form: expected its name first, .* got 3"),
    "direction": (
        lambda: calculus.tangent(W @ z, {z: x}),
        r"direction of z is of R\(m\), got R\(n",
    ),
    "of a jet": (
        lambda: calculus.tangent(uninterpreted("f", R(n), R(m))(x), {x: z}),
        r"a direction of x is of R\(n\), got R\(m\)",
    ),
    "direction, array": (lambda: calculus.tangent(x, {x: np.ones(3)}), r"is of R\(n\), got array"),
    "cotangent": (
        lambda: calculus.transpose(2 * x, z, [x]),
        r"of R\(n\) must be of that space, got R\(m\)",
    ),
}


@pytest.mark.parametrize(("tried", "sentence"), SPACES.values(), ids=SPACES)
def test_spaces_and_forms_refuse_where_they_are_written(tried, sentence):
    assert re.search(sentence, said(tried))


def test_a_lone_index_is_an_access_and_a_lone_place_one_of_the_last_axis():
    both = [form("f", A=(i, j), x=b, to=a)(A, x) for a, b in ((i, j), ((i,), (j,)))]
    assert both[0] is both[1]
    double = variable("double", R(2 * n))
    assert crop(double, n, n) is crop(double, (n,), (n,)) and crop(image, 1, 3).space == R(3, 8, 3)
    assert embed(q, 1, 8) is embed(q, (1,), (8,))


# --- layers, maps and networks


def of_sizes(x: R(n)) -> R(n):
    return sum(x[a] for a in range(n)) * x


def of_state(output, **more):
    return Layer.of("f", state={"x": R(n)}, output=output, **more)


LAYERS = {
    "loop over a size": (lambda: layer(of_sizes), r"layer of_sizes: a size such as n is a symbol"),
    "no function": (lambda: of_state(3), r"layer f: output: expected an expression, or a function"),
    "other names": (lambda: of_state(lambda y: y), r"layer f: its formula is a function of x; got"),
    "too few": (lambda: of_state(lambda: 3), r"layer f: its formula is a function of x; got an un"),
    "state, list": (
        lambda: Layer.of("f", state=["x"], output=x),
        r"layer f: state: expected spaces by name, as in \{'x': R\(n\)\}, got \['x'\]",
    ),
    "kernels": (
        lambda: dense.backward,
        r"layer dense has no \.backward; kernels are those of f\.c",
    ),
    "of networks": (lambda: dense.initial, r"layer dense has no \.initial; that of a network"),
    "f + f": (lambda: dense + dense, r"\+ is not defined for the layer dense; apply it, f\(x"),
    "f @ x": (lambda: dense @ x, r"@ is not defined for the layer dense"),
    "map(x)": (lambda: dense.D()(x), r"a call, \(\.\.\) is not defined for the map D_x .*, L @ x"),
    "map + map": (lambda: dense.D() + dense.D(), r"\+ is not defined for the map D_x dense"),
    "map.T": (lambda: dense.D().T, r"the map D_x .* has no \.T; its adjoint is L\.adjoint"),
    "bilinear @ x": (lambda: dense.D2() @ x, r"@ is not defined for the map D\^2.* by its hooks"),
    "hook(3)": (lambda: dense.D2().hook(3), r"D\^2.*: expected v1 of R\(m\), got 3"),
    "prove(3)": (lambda: prove(3), r"prove: expected a layer, declared by @layer, got 3"),
    "derivation": (lambda: derivation("dense"), r"derivation: expected a layer, .* got 'dense'"),
    "with_sizes(3)": (lambda: with_sizes(3, {"n": 3}), r"sizes: expected a layer"),
    "sizes, list": (
        lambda: with_sizes(dense, ["n"]),
        r"expected sizes by name, \{'m': 3, 'n': 3\}",
    ),
    "sizes, text": (
        lambda: with_sizes(dense, {"n": "3"}),
        r"a size must be an integer or made fro",
    ),
    "with_fixed(3)": (lambda: with_fixed(3, "W"), r"with_fixed: expected a layer"),
    "with_shared(3)": (lambda: with_shared(3, W=tanh), r"with_shared: expected a network"),
    "to_sympy(3)": (lambda: to_sympy(3, {}), r"to_sympy: expected an expression, a map or a layer"),
    "space's": (lambda: R(n).no_such, r"the space Real has no \.no_such; an array space has shape"),
    "unnamed": (lambda: network("f", dense), r"network: takes 1 .*; call it as network\(name, /"),
}


@pytest.mark.parametrize(("tried", "sentence"), LAYERS.values(), ids=LAYERS)
def test_what_layers_and_maps_do_not_do_is_a_sentence(tried, sentence):
    assert re.search(sentence, said(tried))


def fitted(kernel=print, batches=(), optimiser=None, parameters=None):
    return derive.fit(kernel, parameters or {"a": np.ones(1)}, batches, optimiser or derive.Adam())


FIT = {
    "no kernel": (lambda: fitted(kernel=3), r"fit: expected a kernel, as kernels\.gradient, got 3"),
    "one number": (
        lambda: fitted(batches=3),
        r"fit: expected batches, as \[\(x, y\), \.\.\], got 3",
    ),
    "no batch": (
        lambda: fitted(batches=[np.ones(2)]),
        r"fit: expected each batch as \(x, y\), got",
    ),
    "Adam's name": (
        lambda: fitted(optimiser="adam"),
        r"fit: expected an optimiser, as Adam\(0\.001",
    ),
    "a path": (lambda: derive.load(3), r"load\(path\): expected a path, got int"),
}


@pytest.mark.parametrize(("tried", "sentence"), FIT.values(), ids=FIT)
def test_a_call_of_the_training_with_something_else_is_a_sentence(tried, sentence):
    assert re.search(sentence, said(tried, TypeError))


def test_parameters_that_cannot_be_trained_are_a_sentence():
    with pytest.raises(ValueError, match="fit: expected parameters to train, got none of a floati"):
        fitted(parameters={"a": np.ones(1, int)})


INITIAL = {
    "seed": (
        lambda: mlp.initial(0, SIZES),
        r"initial: expected a generator first, as numpy\.rando",
    ),
    "text": (
        lambda: mlp.initial(RNG, {**SIZES, "m": "2"}),
        r"a size must be an integer or made fr",
    ),
    "float": (
        lambda: mlp.initial(RNG, {**SIZES, "m": 2.0}),
        r"a size must be an integer or made f",
    ),
    "symbol": (lambda: mlp.initial(RNG, {**SIZES, "m": n}), r"size m is n: expected a number"),
    "list": (lambda: mlp.initial(RNG, [2, 3, 3]), r"expected sizes by name, \{'m': 3, 'hidden_n'"),
    "None": (lambda: mlp.initial(RNG, None), r"expected sizes by name"),
    "unknown": (
        lambda: mlp.initial(RNG, {**SIZES, "q": 3}),
        r"has no size 'q'; it has m, hidden_n",
    ),
    "names": (lambda: mlp.initial(RNG, m=2), r"initial: .*'m'; call it as initial\(rng, sizes"),
    "int": (lambda: mlp.initial(RNG, SIZES, int), r"expected the dtype float64 or float32"),
    "no dtype": (lambda: mlp.initial(RNG, SIZES, "foo"), r"expected the dtype .*, got 'foo'"),
}
RNG = np.random.default_rng(0)


@pytest.mark.parametrize(("tried", "sentence"), INITIAL.values(), ids=INITIAL)
def test_sizes_and_generators_that_are_none_are_a_sentence(tried, sentence):
    assert re.search(sentence, said(tried))


def test_sizes_are_given_by_name_too():
    assert to_sympy(2 * x, {"n": 2}) == to_sympy(2 * x, {n: 2})


def test_a_size_may_be_a_number_of_numpy():
    assert R(np.int64(3)) == R(3) and R(np.uint8(3), n) == R(3, n)
    assert mlp.initial(RNG, {**SIZES, "m": np.int32(4)})["hidden"]["W"].shape == (3, 4)
