"""D is the derivative, the transpose is the adjoint, at every order; against the reference."""

import numpy as np
import pytest
from formulas import ANALYTIC, FORMULAS, HELD, KINKED, SIZES, X, Y, h, x, x2
from points import EPS, close, draw, draw_all, moved, pairing

from derive import tanh, variable
from derive.calculus.calculus import NotLinear, opened, tangent, tangents, transpose
from derive.calculus.maps import variables_of
from derive.evidence.proofs.equality import ONE_FORM, equal
from derive.language.expressions import Contraction, Elementwise, held, is_zero, tuple_of, zero
from derive.language.reference import value
from derive.language.spaces import Indices
from derive.language.walk import topological

# Each formula takes fewer than 300 roundings of EPS/2 each from an input to an output, and no sum
# of it cancels by more than a factor 10: 1500 EPS, relative to the largest entry of the group.
ROUNDING = 1500
# A central difference with step 1e-5 has the error 1e-10/6 |f'''| + EPS |f| / 1e-5; for values and
# third derivatives below 30, as here, that is below 1e-9.
STEP, DIFFERENCE = 1e-5, 1e-9


def directions(node):
    """A direction for every variable that can be differentiated."""
    smooth = (v for v in variables_of(node) if not isinstance(v.space, Indices))
    return {v: variable(f"{v.name}_dot", v.space) for v in smooth}


def linearised(node):
    """An expression's tangent in all its variables, with their directions."""
    dots = directions(node)
    return tangent(node, dots), dots


def at(node, seed=0):
    """A point, and the point moved along its own directions by a step."""
    along, dots = linearised(node)
    here = draw_all([node, along], SIZES, seed)
    here |= {dot: draw(dot.space, SIZES, np.random.default_rng([seed, 1])) for dot in dots.values()}

    def there(step):
        return here | {v: moved(here[v], here[dot], step) for v, dot in dots.items()}

    return here, there


def values(node, point):
    return value(node, point, SIZES)


def imaginary(node):
    return tuple(map(imaginary, node)) if isinstance(node, tuple) else np.imag(node)


analytic = pytest.mark.parametrize("node", ANALYTIC.values(), ids=ANALYTIC)
every = pytest.mark.parametrize("node", FORMULAS.values(), ids=FORMULAS)
kinked = pytest.mark.parametrize("node", KINKED.values(), ids=KINKED)


@analytic
@pytest.mark.parametrize("seed", range(2))
def test_tangents_are_complex_steps(node, seed) -> None:
    """D f . v = Im f(x + i s v) / s, without cancellation, for any s below sqrt(EPS)."""
    here, there = at(node, seed)
    found = values(linearised(node)[0], here)
    step = imaginary(values(node, there(1e-30j)))
    assert close(found, moved(step, step, 1e30 - 1), ROUNDING)


@kinked
def test_tangents_are_central_differences_away_from_kinks(node) -> None:
    here, there = at(node)
    found = values(linearised(node)[0], here)
    difference = (values(node, there(STEP)) - values(node, there(-STEP))) / (2 * STEP)
    assert np.any(found) and np.all(np.abs(found - difference) <= DIFFERENCE)


@every
@pytest.mark.parametrize("seed", range(2))
def test_the_transpose_is_the_adjoint(node, seed) -> None:
    """<u, D f . v> = <D* f . u, v>, with all arguments moved at once."""
    along, dots = linearised(node)
    u = variable("y_bar", node.space)
    pulled = transpose(along, u, dots.values())
    point = draw_all([along, u, *dots.values()], SIZES, seed)
    left = pairing(point[u], values(along, point))
    shares = [pairing(values(pulled[dot], point), point[dot]) for dot in dots.values()]
    assert left != 0
    assert abs(left - sum(shares)) <= ROUNDING * EPS * max(map(abs, [left, *shares]))


@every
def test_transposing_twice_is_the_map_itself(node) -> None:
    """Opening the other slot and then the first again gives the same expressions."""
    for v in directions(node):
        dot = variable("v", v.space)
        along = tangent(node, {v: dot})
        u, w = variable("y_bar", node.space), variable("w", v.space)
        back = transpose(transpose(along, u, [dot])[dot], w, [u])[u]
        assert equal(back, tangent(node, {v: w})) == ONE_FORM


@every
def test_opening_a_slot_and_the_first_again_gives_the_contraction(node) -> None:
    u = {space: variable("u", space) for space in {inner.space for inner in topological(node)}}
    contractions = [inner for inner in topological(node) if isinstance(inner, Contraction)]
    for inner in contractions:
        for position, operand in enumerate(inner.filled):
            other = opened(inner, position, u[inner.space])
            if isinstance(other, Contraction) and len(other.filled) == len(inner.filled):
                place = other.slots.index(inner.opened)
                assert opened(other, place, operand) is inner


@analytic
def test_the_derivative_of_the_adjoint(node) -> None:
    """D (D* f . u) . v by complex steps of the adjoint: wrong where psi'' or a product rule is."""
    along, dots = linearised(node)
    u = variable("y_bar", node.space)
    pulled = tuple_of(transpose(along, u, dots.values())[dot] for dot in dots.values())
    second = tangent(pulled, dots)
    here, there = at(node)
    here[u] = draw(u.space, SIZES, np.random.default_rng(5))
    step = imaginary(values(pulled, there(1e-30j) | {u: here[u]}))
    assert close(values(second, here), moved(step, step, 1e30 - 1), ROUNDING)


@analytic
def test_second_derivatives_are_symmetric(node) -> None:
    first, dots = linearised(node)
    others = {v: variable(f"{v.name}_two", v.space) for v in dots}
    here = draw_all([first, *others.values()], SIZES)
    swapped = (
        here | {dots[v]: here[others[v]] for v in dots} | {others[v]: here[dots[v]] for v in dots}
    )
    second = tangent(first, others)
    assert close(values(second, here), values(second, swapped), ROUNDING)


@every
def test_tangents_are_linear_as_expressions(node) -> None:
    """In the direction 0 the tangent is zero, and it is transposed without complaint."""
    along, dots = linearised(node)
    assert is_zero(tangent(node, {v: zero(v.space) for v in dots}))
    assert set(transpose(along, variable("u", node.space), dots.values())) == set(dots.values())


def test_what_a_variable_does_not_reach_has_derivative_zero() -> None:
    other = variable("other", X)
    for node in FORMULAS.values():
        assert is_zero(tangent(node, {other: variable("v", X)}))
    along = tangents([tanh(x) * x2], {x2: variable("v", X)})
    assert is_zero(along[tanh(x)]) and not is_zero(along[tanh(x) * x2])


def test_a_held_value_has_no_derivative() -> None:
    v = variable("v", X)
    assert tangent(HELD, {x: v}) is v * held(tanh(x)) and is_zero(tangent(held(x), {x: v}))


def test_one_derivative_of_each_operation_is_shared() -> None:
    """tanh'(z) is one node in the tangents of all arguments and in the adjoint."""
    node = FORMULAS["dense"]
    along, dots = linearised(node)
    pulled = transpose(along, variable("y_bar", node.space), dots.values())
    used = [n for n in topological(along, *pulled.values()) if isinstance(n, Elementwise)]
    assert [n.operation.name for n in used] == ["tanh_d1"]


NOT_LINEAR = {
    "elementwise": tanh(x),
    "twice in a product": x * x,
    "two variables in a product": x * x2,
    "affine": x + 1,
    "affine by another variable": 2 * x + variable("y", X),
    "affine in a part": tuple_of((x, h)),
    "held": held(x),
}


@pytest.mark.parametrize("node", NOT_LINEAR.values(), ids=NOT_LINEAR)
def test_what_is_not_linear_has_no_transpose(node) -> None:
    with pytest.raises(NotLinear):
        transpose(node, variable("u", node.space), [x, x2])


def test_a_tuple_with_a_zero_is_linear() -> None:
    u = variable("u", X * Y)
    assert transpose(tuple_of((3 * x, zero(Y))), u, [x])[x] is 3 * u[0]
