"""Emitted modules: they compile, they compute what is declared, and their text depends on nothing
but the declaration."""

import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from declared import LAYERS
from kernels import DTYPES, Runner, filled, least, unequal
from points import pairing
from shipped import RECURRENT, SINGLE

from derive import (
    Hom,
    R,
    SpaceError,
    dims,
    elementwise_function,
    form,
    indices,
    sigmoid,
    softmax,
    tanh,
    variable,
)
from derive.kernels.printing.cython.emit import HEADER, emit
from derive.language.names import RESERVED
from derive.models.layers import Layer

HERE = Path(__file__).resolve().parent
n, m = dims("n m")
every = pytest.mark.parametrize("name", LAYERS)
BATCHES = [(unequal, 4), (unequal, 1), (unequal, 0), (least, 4), (least, 1)]


# --- kernels compute what is declared


@every
def test_kernels_equal_the_reference_at_all_sizes_and_in_both_dtypes(compiled, name):
    for sizes, batch in BATCHES:
        for dtype in DTYPES:
            runner = Runner(compiled[name], LAYERS[name], sizes(LAYERS[name]), batch, dtype)
            for kernel in runner.programs:
                assert runner.errors(kernel) <= 1, (kernel, sizes.__name__, batch, dtype)


@every
def test_derivatives_are_differences_and_adjoints_are_adjoints(compiled, name):
    """Kernels against kernels: no derived map has a part in what is expected.

    A central difference with step 1e-6 is off by 1e-12/6 |f'''| + eps |f| / 1e-6: less than 1e-8
    of values and derivatives, whichever are larger, for third derivatives of 50000 times that.
    """
    runner = Runner(compiled[name], LAYERS[name], unequal(LAYERS[name]), 2, np.float64)
    here = runner.point("tangent_backward")
    plus, minus = (moved(here, sign * STEP) for sign in (1, -1))
    y_dot = runner.call("tangent", here)
    assert close_difference(*(runner.call("forward", there) for there in (plus, minus)), y_dot)

    bars = [runner.results("backward", there) for there in (plus, minus, here)]
    bar_dots = runner.results("tangent_backward", here)
    for above, below, bar_dot in zip(*bars[:2], bar_dots, strict=True):
        assert close_difference(above, below, bar_dot)

    dots = {x.name: value for x, value in here.items()}
    names = [result.name for result in runner.programs["backward"].results]
    pairs = zip(bars[2], names, strict=True)
    pulled = sum(pairing(bar, dots[name.removesuffix("_bar") + "_dot"]) for bar, name in pairs)
    (y_bar,) = (x for x in here if x.name == f"{runner.programs['forward'].results[0].name}_bar")
    assert abs(pulled - pairing(y_dot, here[y_bar])) <= 1e-12 * (1 + largest(bars) + largest(y_dot))


STEP, DIFFERENCE = 1e-6, 1e-8


def moved(here, step):
    """The point moved along its own tangents and the cotangent's derivative."""
    direction = {x.name: value for x, value in here.items()}
    return {x: shifted(v, direction.get(f"{x.name}_dot"), step) for x, v in here.items()}


def shifted(value, direction, step):
    if isinstance(value, tuple):
        pairs = zip(value, direction, strict=True) if direction else ((v, None) for v in value)
        return tuple(shifted(v, d, step) for v, d in pairs)
    return value if direction is None else value + step * direction


def close_difference(above, below, expected):
    quotient = (flat(above) - flat(below)) / (2 * STEP)
    size = max(largest(above), largest(expected))
    return np.abs(quotient - flat(expected)).max(initial=0.0) <= DIFFERENCE * size


def largest(value):
    return np.abs(flat(value)).max(initial=0.0)


def flat(value):
    """All entries of arrays in lists and tuples."""
    if isinstance(value, (list, tuple)):
        return np.concatenate([flat(part) for part in value])
    return np.ravel(value)


# --- what a call takes: no batch axis, tuples, what is asked for


@pytest.mark.parametrize("name", [name for name in LAYERS if name != "bias"])
def test_a_call_without_the_batch_axis_is_a_batch_of_one(compiled, name):
    runner = Runner(compiled[name], LAYERS[name], unequal(LAYERS[name]), 1, np.float64)
    for kernel in ("forward", "tangent"):
        arguments = runner.arguments(kernel, runner.point(kernel))
        program = runner.programs[kernel]
        pairs = zip(program.arguments, arguments, strict=True)
        alone = [v if a.name in shared(program) else row(v) for a, v in pairs]
        sizes = {
            s: runner.named_sizes()[s] for s in getattr(compiled[name], kernel).declaration.asked
        }
        whole, one = (getattr(compiled[name], kernel)(*v, **sizes) for v in (arguments, alone))
        assert np.array_equal(flat(row(whole)), flat(one))


def shared(program):
    """The arguments of a program without batch axis: parameters, their tangents, what is fixed."""
    names = [x.name for x in program.layer.theta]
    return {*names, *(f"{name}_dot" for name in names)}


def row(value):
    return tuple(map(row, value)) if isinstance(value, tuple) else value[0]


def test_an_element_of_a_direct_product_is_a_tuple_of_arrays(compiled):
    runner = Runner(compiled["blocks"], LAYERS["blocks"], unequal(LAYERS["blocks"]), 2, np.float64)
    values = runner.point("forward")
    s, W, V = runner.arguments("forward", values)
    y = compiled["blocks"].forward(s, W, V)
    assert isinstance(y, tuple) and [part.shape for part in y] == [(2, 3), (2, 4)]
    with pytest.raises(
        TypeError, match=r"blocks.forward: s must be a tuple of 2 arrays \(s_0, s_1\)"
    ):
        compiled["blocks"].forward(s[0], W, V)
    with pytest.raises(ValueError, match=r"blocks.forward: s_1 has shape \(1, 4\), expected"):
        compiled["blocks"].forward((s[0], s[1][:1]), W, V)


@every
def test_what_is_not_asked_for_is_none_and_changes_nothing(compiled, name):
    runner = Runner(compiled[name], LAYERS[name], unequal(LAYERS[name]), 3, np.float64)
    for kernel in ("backward", "tangent_backward"):
        values = runner.point(kernel)
        whole = runner.results(kernel, values)
        for position, expected in enumerate(whole):
            out = [None] * len(whole)
            out[position] = filled(expected, 0.0, np.float64)
            found = runner.results(kernel, values, tuple(out))
            assert np.array_equal(flat(found[position]), flat(expected))
            assert all(f is None or flat_is_none(f) for k, f in enumerate(found) if k != position)


def flat_is_none(value):
    return isinstance(value, tuple) and all(part is None for part in value)


def test_forward_writes_the_same_whether_it_saves_or_not(compiled):
    runner = Runner(compiled["gate"], LAYERS["gate"], unequal(LAYERS["gate"]), 3, np.float64)
    values = runner.point("forward")
    arguments = runner.arguments("forward", values)
    saved = np.empty(compiled["gate"].forward.saved_size(**runner.named_sizes()))
    both = [compiled["gate"].forward(*arguments, saved=given) for given in (None, saved)]
    assert np.array_equal(*both)


def test_class_indices_are_checked_and_may_be_of_any_integer_dtype(compiled):
    E, k = np.eye(3, 4), np.array([[2, 0, 2, 1, 1]])
    y = compiled["embedding"].forward(k, E)
    for dtype in (np.int32, np.uint8):
        assert np.array_equal(compiled["embedding"].forward(k.astype(dtype), E), y)
    with pytest.raises(ValueError, match=r"embedding.forward: k has index 3 at place 1"):
        compiled["embedding"].forward(np.array([[2, 3, 2, 1, 1]]), E)


def test_what_is_fixed_has_no_batch_axis_no_tangent_and_no_gradient(compiled):
    """Its role is told, its place is that of the declaration; nothing is called after it."""
    module = compiled["evaluated"]
    names = ["x", "gamma", "mu", "beta", "sigma"]
    assert [a.name for a in module.forward.arguments] == names
    roles = {a.name: a.role for a in module.forward.arguments}
    assert [name for name in names if roles[name] == "fixed"] == ["mu", "sigma"]
    for kernel in (module.tangent, module.backward, module.tangent_backward):
        found = [a.name for a in (*kernel.arguments, *kernel.results)]
        assert names == found[:5]
        assert not [n for n in found[5:] if n.startswith(("mu", "sigma"))]
    assert "mu: (m), fixed" in module.forward.__doc__
    text = emit(LAYERS["evaluated"]).pyx
    assert "#     sigma: (m), fixed\n" in text and 'Argument("mu", "fixed", ' in text


def test_what_is_fixed_is_checked_as_all_arguments_are(compiled):
    forward, x, g, f = compiled["evaluated"].forward, np.ones((2, 3)), np.ones(3), np.ones(3)
    expected = (1 - 1) / np.sqrt(2) + 1 + 0 * x
    assert np.array_equal(forward(x, g, f, g, f), expected)
    refused = {
        r"mu has shape \(2, 3\), 2 axes, expected 1: \(m,\)": (np.ones((2, 3)), f),
        r"sigma has shape \(4,\), expected \(m,\) = \(3,\)": (f, np.ones(4)),
        "mu has dtype float32, expected float64": (np.ones(3, "f4"), f),
        "sigma is None, expected an array": (f, None),
    }
    for sentence, (mu, sigma) in refused.items():
        with pytest.raises((TypeError, ValueError), match=f"evaluated.forward: {sentence}"):
            forward(x, g, mu, g, sigma)
    shared_array = np.ones(6)
    with pytest.raises(ValueError, match=r"evaluated\.forward: .*mu"):
        forward(x, g, shared_array[:3], g, f, out=shared_array.reshape(2, 3))


def test_fixed_class_indices_are_one_for_all_points(compiled):
    rng = np.random.default_rng(0)
    x, W, b, d = rng.normal(size=(5, 3)), rng.normal(size=(2, 3)), np.ones(2), rng.normal(size=3)
    order = np.array([2, 0, 2])
    y = compiled["permuted"].forward(x, order, W, (b, d))
    assert np.allclose(y, np.tanh((x[:, order] * d) @ W.T + b), rtol=0, atol=1e-14)
    with pytest.raises(ValueError, match=r"permuted.forward: order has index 3 at place 1"):
        compiled["permuted"].forward(x, np.array([2, 3, 0]), W, (b, d))


def test_a_batch_that_no_array_shows_is_given_by_keyword_or_is_one_point(compiled):
    b = np.array([1.0, 2.0])
    assert np.array_equal(compiled["bias"].forward(b, batch=3), np.tile(np.exp(b) + b, (3, 1)))
    assert np.array_equal(compiled["bias"].forward(b), np.exp(b) + b)


# --- the text depends on nothing but the declaration

ALL = LAYERS | SINGLE
OTHER_HISTORY = """
from derive import *
import formulas, sympy, test_operations
n, m, k = dims("m n q")
f = elementwise_function("wiggle", lambda e, t: sympy.cos(e) * t)
x = f(variable("x", R(n)), variable("y", R(n))) + tanh(variable("z", R(n)))
layers_before = [layer_.D().adjoint for layer_ in reversed(list(library.layers().values()))
                 if layer_.state]
"""
PRINT = """
import sys, hashlib
sys.path.insert(0, {tests!r})
from derive import library
{before}
from declared import LAYERS
from derive.kernels.printing.cython.emit import emit
chosen = list((LAYERS | dict(library.layers())).values())
made = {{}}
for layer_ in {order}(chosen):
    emitted = emit(layer_)
    made[layer_.name] = hashlib.sha256((emitted.pyx + emitted.pxd).encode()).hexdigest()
for name in sorted(made):
    print(name, made[name])
"""


def started(seed: str, before: str, order: str) -> subprocess.Popen:
    program = PRINT.format(tests=str(HERE), before=before, order=order)
    variables = {**os.environ, "PYTHONHASHSEED": seed}
    arguments = [sys.executable, "-c", program]
    return subprocess.Popen(arguments, env=variables, stdout=subprocess.PIPE, text=True)


def test_the_text_is_the_same_from_run_to_run_and_after_any_history():
    """Against a process with another hash seed, another past and another order."""
    run = started("2", OTHER_HISTORY, "reversed")
    here = {name: emit(declared) for name, declared in (ALL | RECURRENT).items()}
    lines = [
        f"{name} {hashlib.sha256((here[name].pyx + here[name].pxd).encode()).hexdigest()}"
        for name in sorted(here)
    ]
    printed, _ = run.communicate()
    assert run.returncode == 0 and printed.splitlines() == lines


def once_and_twice():
    """The same layers with numbers for sizes, and with twice these; none gets another digit."""
    i, s = indices("i s")

    def made(count):
        X, H = R(count), R(2 * count)
        x, W, b = variable("x", X), variable("W", Hom(X, H)), variable("b", H)
        window = form("window", x=(2 * i + s - 1,), to=(i,), ranges={i: count // 2, s: count})
        parameters = {"W": Hom(X, H), "b": H}
        yield Layer.of("f", state={"x": X}, parameters=parameters, output=softmax(W @ x + b))
        yield Layer.of("f", state={"x": X}, output=tanh(window(tanh(x))))

    return list(zip(made(200), made(400), strict=True))


@pytest.mark.parametrize(("small", "large"), once_and_twice())
def test_the_text_does_not_grow_with_any_size(small, large):
    texts = [emit(declared) for declared in (small, large)]
    assert texts[0] != texts[1]
    assert len({len(text.pyx.splitlines()) for text in texts}) == 1
    assert len({len(text.pxd) for text in texts}) == 1


@every
def test_a_module_says_what_it_is_and_nothing_of_where_and_when(name):
    declared, emitted = LAYERS[name], emit(LAYERS[name])
    for text in (emitted.pyx, emitted.pxd):
        assert text.startswith(HEADER + "\n")
        assert text.endswith("\n") and not text.endswith("\n\n")
        assert str(HERE.parent) not in text and str(Path.home()) not in text
        assert not re.search(r"20\d\d-\d\d|\d\d:\d\d:\d\d|0x[0-9a-f]{6}", text)
    assert f"# {declared.signature}\n" in emitted.pyx
    for argument in declared.arguments:
        assert f"# {argument.name} in {argument.variable.space}, {argument.role}\n" in emitted.pyx
    kernels = ("forward", "tangent", "backward", "tangent_backward")
    assert all(f"\n{kernel} = Kernel(\n" in emitted.pyx for kernel in kernels)
    assert emitted.pyx.count("# cost: ") == emitted.pyx.count("= Kernel(") >= len(kernels)


# --- names


@pytest.mark.parametrize("word", ["double", "cdef", "register", "restrict", "NULL", "real", "gemm"])
def test_a_word_of_c_or_cython_is_no_name(word):
    assert word in RESERVED
    for state, size, name in (
        ({word: n}, n, "f"),
        ({"x": n}, dims(word), "f"),
        ({"x": n}, n, word),
    ):
        spaces = {key: R(size) for key in state}
        with pytest.raises(ValueError, match=f"{word!r} is a word of Python, Cython or C"):
            Layer.of(name, state=spaces, output=lambda **x: next(iter(x.values())))


@pytest.mark.parametrize("word", ["size", "array", "out", "saved", "workspace", "batch", "x_dot"])
def test_a_name_that_kernels_make_is_no_argument_and_no_size(word):
    for state in ({word: R(n)}, {"x": R(dims(word))}):
        with pytest.raises(ValueError, match="choose another"):
            Layer.of("f", state=state, output=lambda **x: next(iter(x.values())))


@pytest.mark.parametrize(
    ("name", "formula"),
    [
        ("double", lambda t: t**2),
        ("forward", lambda t: t**2),
        ("square_d1", lambda t: t**2),
        ("f", lambda cdef: cdef**2),
    ],
)
def test_an_operation_that_can_be_no_function_is_refused(name, formula):
    psi = elementwise_function(name, formula)
    with pytest.raises(ValueError, match=r"layer f: operation.*choose another name"):
        Layer.of("f", state={"x": R(n)}, output=lambda x: psi(x))


def test_two_operations_of_one_name_are_refused():
    cube = elementwise_function("sigmoid", lambda t: t**3)
    with pytest.raises(SpaceError, match=r"layer f: operation 'sigmoid'.*rename one"):
        Layer.of("f", state={"x": R(n)}, output=lambda x: cube(x) + sigmoid(x))
    other = elementwise_function("tanh", lambda t: t**3)
    with pytest.raises(SpaceError, match="'tanh' is the name of another function"):
        Layer.of("f", state={"x": R(n)}, output=lambda x: other(x))


@every
def test_every_name_of_a_kernel_means_one_thing(name):
    """Pointers, indices and scalars of a function are declared once each."""
    for function in re.findall(r"cdef void \w+\((.*?)\n\n", emit(LAYERS[name]).pyx, re.S):
        head, body = function.split(") noexcept nogil:", 1)
        declared = re.findall(r"(?:Py_ssize_t|real\*|int64_t\*) (\w+)", head)
        for line in re.findall(r"^    cdef (.*)$", body, re.M):
            names = line.split(" = ")[0].removeprefix("const ").split(" ", 1)[1]
            declared += [found.strip() for found in names.split(",")]
        assert len(set(declared)) == len(declared)
        assert not set(declared) & RESERVED
