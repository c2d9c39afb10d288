"""What is equal by the laws of sums and products is one expression, written as it was first."""

import os
import subprocess
import sys

import numpy as np
import pytest
import sympy
from growth import calls_of

from derive import (
    Hom,
    Index,
    Layer,
    R,
    dims,
    elementwise_function,
    entry,
    equal,
    exp,
    form,
    indices,
    inner,
    largest,
    layer,
    log,
    log_softmax,
    norm,
    outer,
    relu,
    scale,
    softmax,
    tanh,
    total_sum,
    transpose,
    uninterpreted,
    variable,
)
from derive.calculus.maps import BilinearMap
from derive.evidence.proofs.equality import DIFFERS, ONE_FORM, OTHER_SPACES, PROVED, UNDECIDED
from derive.kernels.printing.cython.emit import emit
from derive.language.expressions import (
    Gradient,
    held,
    linear_combination,
    potential,
    projection,
    tuple_of,
    zero,
)
from derive.language.mistakes import SpaceError
from derive.language.normal_form import FACTORS, TERMS, normal, normalised
from derive.language.ordered_forms import ordered_form
from derive.language.reference import values_of
from derive.language.walk import jet, topological

n, m = dims("n m")
i, j, k = indices("i j k")
a, b, c, d = (variable(name, R(n)) for name in "abcd")
A, B, s = variable("A", R(n, n)), variable("B", R(n, n)), variable("s", R())
at = variable("at", Index(n))
product = form("product", A=(i, j), B=(j, k), to=(i, k))
turned = form("turned", B=(i, k), A=(j, i), to=(j, k))
trace = form("tr", A=(i, i), to=())
shifted = form("shifted", x=(i - 1,), to=(i,), ranges={i: n})
f = uninterpreted("f", R(n), R(n))
pair = variable("pair", R(n) * R(n))
EPS = np.finfo(float).eps

SAME = {
    "two factors": (a * c, c * a),
    "three factors": ((a * b) * c, c * (b * a)),
    "inner product": (inner(a, b), inner(b, a)),
    "numbers in front": ((a * 2) * (b / 3), 2 * (b * a) / 3),
    "numbers of sizes": ((a / n) * b, (b * a) / n),
    "terms": ((a + b) + c, c + (b + a)),
    "terms cancel": ((a + b) - a, b),
    "all terms cancel": ((a + b) - b - a, zero(R(n))),
    "like terms": ((a * b) * c + c * (b * a), 2 * (b * (a * c))),
    "numbers": ((a + 1) + 2, 3 + a),
    "within a function": (tanh(a * b + c), tanh(c + b * a)),
    "operands of a form": (product(A, B), turned(B, A)),
    "one operand twice": (product(A, A), turned(A, A)),
    "the second factor": (A @ (b * a), A @ (a * b)),
    "a transpose of a transpose": (transpose(transpose(A)), A),
    "a transposed product": (transpose(product(A, B)), product(transpose(B), transpose(A))),
    "an outer product": (outer(a, b), transpose(outer(b, a))),
    "a scalar": (scale(s, a) * b, scale(s, a * b)),
    "a trace": (trace(product(transpose(A), A)), inner(A, A)),
    "a sum of a diagonal": (total_sum(a * b), inner(b, a)),
    "a selected entry": (entry(a * b, at), entry(b * a, at)),
    "held": (held(a * b), held(b * a)),
    "components": (tuple_of((a * b, c)), tuple_of((b * a, c))),
    "a component": (projection(pair, 0) * a, a * projection(pair, 0)),
    "arguments of what is uninterpreted": (f(a * b), f(b * a)),
    "directions of a jet": (
        jet("f", R(n), (a,), [(0, b * c), (0, d)]),
        jet("f", R(n), (a,), [(0, d), (0, c * b)]),
    ),
}  # fmt: skip
DIFFERENT = {
    "order of matrices": (product(A, B), product(B, A)),
    "a transpose": (A, transpose(A)),
    "a matrix and its transpose": (A @ a, transpose(A) @ a),
    "a square": (a * a, a * b),
    "read outside": (shifted(a) * shifted(b), shifted(a) * b),
    "read outside a product": (shifted(a * b + 1), shifted(a * b) + 1),
    "of another factor": (trace(product(A, A)), inner(A, A)),
    "held and not": (held(a) * b, a * b),
    "a number": (2 * a, 3 * a),
    "multiplied out": ((a + b) * c, a * c + b * c),
}


def one(left, right) -> bool:
    new = normal(left, right)
    return new[left] is new[right]


@pytest.mark.parametrize("name", SAME)
def test_equal_expressions_are_the_one_that_was_written_first(name: str) -> None:
    left, right = SAME[name]
    assert one(left, right) and one(right, left)
    assert normal(left, right)[left] is normalised(left)


@pytest.mark.parametrize("name", DIFFERENT)
def test_other_expressions_are_two(name: str) -> None:
    assert not one(*DIFFERENT[name])


@pytest.mark.parametrize("name", [*SAME, *DIFFERENT])
def test_the_normal_form_has_the_same_value(name: str) -> None:
    """20 roundings of sums of 9 products at most: 200 eps; 10 eps where numbers near one cancel."""
    random, (left, right) = np.random.default_rng(0), (SAME | DIFFERENT)[name]
    if any(type(node).__name__ == "Jet" for node in topological(left, right)):
        return
    values = {x: random.uniform(0.5, 1.5, 3) for x in (a, b, c, d)}
    values |= {x: random.uniform(0.5, 1.5, (3, 3)) for x in (A, B)}
    values |= {s: np.array(0.7), at: np.array(2)}
    values[pair] = (random.uniform(0.5, 1.5, 3), random.uniform(0.5, 1.5, 3))
    for node in (left, right):
        found, expected = values_of([normal(left, right)[node], node], values, {n: 3})
        np.testing.assert_allclose(found, expected, rtol=200 * EPS, atol=10 * EPS)


def test_the_users_order_is_kept() -> None:
    z = c * a + a
    assert str(normalised(z)) == "c (.) a + a"
    assert normalised(z) is z
    assert str(normalised(z + a * c)) == "c (.) a + a + c (.) a"


@pytest.mark.parametrize("name", SAME)
def test_a_second_time_changes_nothing(name: str) -> None:
    left, right = SAME[name]
    new = normal(left, right)
    assert normal(new[left], new[right])[new[left]] is new[left]


def test_an_order_of_a_form_does_not_depend_on_how_it_was_written() -> None:
    """Every order of the operands of A_ij A_jk B_ki has one form."""
    from itertools import permutations

    from derive.language.forms import make_form

    slots = [(i, j), (j, k), (k, i)]
    found = set()
    for order in permutations(range(3)):
        ranks = tuple(int(place == 2) for place in order)
        made = make_form([*(slots[place] for place in order), ()], {i: n, j: n, k: n})
        found.add(ordered_form(made, ranks, ())[0])
    assert len(found) == 1


def test_long_products_and_sums_have_a_class_each_and_the_right_value() -> None:
    """Beyond the limits parentheses count; what is one expression still is one."""
    xs = [variable(f"x{number}", R(n)) for number in range(2 * TERMS)]
    total = linear_combination([(1, x) for x in xs])
    backward = linear_combination([(1, x) for x in reversed(xs)])
    assert one(total, backward)
    left = xs[0]
    for x in xs[1 : 2 * FACTORS]:
        left = left * x
    assert normalised(left) is left


# --- (4.8), layers, kernels


def test_the_derivative_of_an_elementwise_function_is_self_adjoint() -> None:
    """Thesis (4.8): D Psi . w and D* Psi . w print alike, and are one expression."""
    psi = Layer.of("psi", state={"x": R(n)}, output=lambda x: tanh(x))
    w = variable("w", R(n))
    assert str(psi.D() @ w) == str(psi.D().adjoint @ w)
    assert one(psi.D() @ w, psi.D().adjoint @ w)
    assert equal(psi.D(), psi.D().adjoint) == ONE_FORM
    hessian = inner(tanh(a), tanh(a))
    second = Layer.of("second", state={"a": R(n)}, output=hessian).D2()
    assert equal(second, BilinearMap("B", second.right, second.left, second.body))


@layer
def gates(x: R(n), y: R(n), *, W: Hom(R(n), R(n))) -> R(n):
    """One product, written in two ways."""
    p = x * y
    q = y * x
    return exp(W @ p) + tanh(W @ q) * p


def test_a_layers_formula_is_in_normal_form_with_the_first_names() -> None:
    assert "q" not in gates.names.values() and "p" in gates.names.values()
    assert sum(node in gates.names for node in topological(gates.output)) == 1
    assert "p = x (.) y" in emit(gates).pyx.replace("# ", "")


def test_a_kernel_computes_equal_products_once() -> None:
    forward = emit(gates).pyx.partition("cdef void gates_forward_float64")[0]
    assert forward.count(" gemm(") == 1 and forward.count("x[s*n + i]*y[s*n + i]") == 1


def test_the_expressions_of_a_process_do_not_decide() -> None:
    """What was made before, and in which order, leaves the normal form and its text as they are."""
    code = (
        "from derive import R, dims, variable\n"
        "from derive.language.normal_form import normalised\n"
        "n = dims('n')\n"
        "a, b, c = (variable(x, R(n)) for x in 'abc')\n"
        "kept = [{0}]\n"
        "print(normalised((b * a) * c + a * (c * b) - a * b))\n"
    )
    texts = {
        subprocess.run(
            [sys.executable, "-c", code.format(before)],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout
        for before, seed in (("", "1"), ("a * b, c * b, a * c", "2"), ("c * (b * a)", "3"))
    }
    assert len(texts) == 1 and "b (.) a" in texts.pop()


def test_the_work_is_linear_and_no_depth_is_too_large() -> None:
    """Chains of 10,000 operations; four times as many take at most 4.4 times the calls."""

    def calls(count: int, step) -> int:
        h = a
        for _ in range(count):
            h = step(h)
        return calls_of(lambda: normal(h))

    for step in (lambda h: tanh(h) + b * h, lambda h: h * b, lambda h: A @ h):
        short, long = calls(2500, step), calls(10_000, step)
        assert long < 4.4 * short


def test_a_potential_is_not_its_value_held() -> None:
    """Its derivative is its gradient's, and that of what is held is zero."""
    value = total_sum(a * a)
    one, other = (Gradient(name, lambda x, s, k=k: k * x) for k, name in ((2, "two"), (3, "three")))
    kept, twice, thrice = held(value), potential(value, a, one), potential(value, a, other)
    new = normal(kept, twice, thrice)
    assert len({new[kept], new[twice], new[thrice]}) == 3
    assert normal(potential(value, b, one), twice)[twice] is twice
    same = potential(total_sum(a * a) * 1, a, one)
    assert normal(twice, same)[same] is twice


# --- equal


def test_equal_says_how_it_knows() -> None:
    assert equal(a * b, b * a) == ONE_FORM and str(equal(a, a)) == "equal: one normal form"
    assert equal((a + b) * c, a * c + b * c) == PROVED
    assert equal(log(exp(a)), a) == PROVED
    assert equal(a * b, a + b) == DIFFERS and not equal(a * b, a + b)
    assert str(DIFFERS) == "not equal: differs at a point"
    assert str(UNDECIDED) == "not known to be equal: not decided"
    assert equal(tanh(a), tanh(b)) == DIFFERS
    assert equal(a, A) == OTHER_SPACES
    assert equal(f(a), f(b)) == UNDECIDED
    sine = elementwise_function("sine", sympy.sin)
    double = elementwise_function("double", lambda t: 2 * sympy.sin(t / 2) * sympy.cos(t / 2))
    assert equal(sine(a), double(a)) in (PROVED, UNDECIDED)


hexagon = elementwise_function("hexagon", lambda t: sympy.Min(sympy.Max(t, 0), 6))
huber = elementwise_function(
    "huber_of_ten",
    lambda t: sympy.Piecewise((t * t / 2, abs(t) <= 10), (10 * abs(t) - 50, True)),
)
last, first = (form(name, x=(at_,), to=()) for name, at_ in (("last", n - 1), ("first", 0)))
OTHER = {
    "a kink elsewhere": (relu(a - 2), 0 * a),
    "a kink far out": (relu(a), hexagon(a)),
    "a branch far out": (huber(a), a * a / 2),
    "one class index": (entry(a, at), last(a)),
    "one place of an argmax": (largest(a), first(a)),
    "logarithms of negative numbers": (log(a * a), 2 * log(a)),
    "a value where the other has none": (exp(log(a)), a),
    "negative numbers": (relu(a), a),
}


@pytest.mark.parametrize("label", OTHER)
def test_other_functions_are_never_equal(label: str) -> None:
    left, right = OTHER[label]
    assert equal(left, right) == DIFFERS and equal(right, left) == DIFFERS


def test_what_points_do_not_show_is_not_decided() -> None:
    """Branches and domains that begin beyond all points; what is deep; an argmax by its places."""
    assert equal(relu(a - 500), 0 * a) == UNDECIDED
    assert equal(exp(log(a + 500)), a + 500) == UNDECIDED
    assert equal(relu(-a) + a, relu(a)) == UNDECIDED  # true, but of branches
    left, right = a, b
    for _ in range(400):
        left, right = tanh(left), tanh(right)
    assert equal(left * (a + b), left * a + left * b) == UNDECIDED
    assert not equal(left, right)


def test_a_maximum_that_cancels_is_no_branch() -> None:
    """Softmax is shifted by its largest entry: the place is another node on the other side."""
    assert equal(softmax(a), softmax(a + 1)) == PROVED
    assert equal(log_softmax(a), log(softmax(a))) == PROVED
    assert equal(softmax(a), softmax(2 * a)) == DIFFERS
    assert equal(largest(a + 500), form("second", x=(1,), to=())(a + 500)) == DIFFERS


def test_all_class_indices_are_tried() -> None:
    square = entry(a + b, at) * entry(a + b, at)
    parts_ = entry(a, at) * entry(a, at) + 2 * entry(a, at) * entry(b, at) + entry(b * b, at)
    assert equal(square, parts_) == PROVED


@pytest.mark.parametrize("call", [lambda: equal(a, 3), lambda: equal(a), lambda: equal("a", a)])
def test_a_wrong_call_of_equal_is_a_sentence(call) -> None:
    with pytest.raises(SpaceError, match=r"^equal: "):
        call()


def test_maps_are_equal_where_they_are_at_every_direction() -> None:
    dense = Layer.of(
        "dense", state={"x": R(n)}, parameters={"W": R(n, n)}, output=lambda x, W: tanh(W @ x)
    )
    assert equal(dense.D(), dense.D()) == ONE_FORM
    assert equal(dense.D(), dense.D().adjoint) == DIFFERS
    assert equal(dense.D().adjoint.adjoint, dense.D()) == ONE_FORM
    assert equal(dense.D(), dense.nabla()) == OTHER_SPACES
    assert equal(norm(a), a * a) == OTHER_SPACES
