"""The theorems of the thesis, chapters 2 and 3, come out of the calculus for functions unknown.

Left is what the calculus derives, right the formula of the thesis, written by hand with the maps of
single functions; both are expressions, and equal ones are one object.
"""

import pytest

from derive import Layer, R, dims, uninterpreted, variable
from derive.calculus.calculus import tangent, transpose
from derive.language.expressions import is_zero, zero
from derive.language.normal_form import normal
from derive.language.walk import jet, rewrite

SIZES = dims("n1 n2 n3 n4")
E1, E2, E3, E4 = (R(n) for n in SIZES)
H1, H2, H3 = (R(p) for p in dims("p1 p2 p3"))
f1, f2, f3 = (
    uninterpreted("f1", E1, H1, E2),
    uninterpreted("f2", E2, H2, E3),
    uninterpreted("f3", E3, H3, E4),
)
LAYERS = [f1, f2, f3]
STATES, PARAMETERS = [E1, E2, E3, E4], [H1, H2, H3]
L = range(1, 4)
x, v, e = variable("x", E1), variable("v", E1), variable("e", E4)
theta = [variable(f"theta{i}", space) for i, space in zip(L, PARAMETERS, strict=True)]
states = [variable(f"x{i}", space) for i, space in enumerate(STATES, 1)]

layers = pytest.mark.parametrize("i", L)


def same(left, right) -> bool:
    """One normal form."""
    new = normal(left, right)
    return new[left] is new[right]


# --- the network, its heads and tails


def f(i, at):
    """f_i(x_i; theta_i)."""
    return LAYERS[i - 1](at, theta[i - 1])


def alpha(i, at=x):
    """alpha_i = f_i . .. . f_1 (3.2)."""
    return at if i == 0 else f(i, alpha(i - 1, at))


def omega(i, at):
    """omega_i = f_L . .. . f_i (3.3)."""
    return at if i == 4 else omega(i + 1, f(i, at))


F = alpha(3)

# --- maps by the calculus, of any expression


def D(expression, at, direction):
    """D e(at) . direction, the derivative by a variable."""
    return tangent(expression, {at: direction})


def D_adjoint(expression, at, cotangent):
    """D* e(at) . cotangent."""
    dot = variable("dot", at.space)
    return transpose(D(expression, at, dot), cotangent, [dot])[dot]


def hooked_adjoint(expression, at, direction, cotangent, by=None):
    """(direction _| D^2 e(at))* . cotangent; with another variable (direction _| D nabla_by e)*."""
    by = at if by is None else by
    dot = variable("dot", by.space)
    second = D(D(expression, by, dot), at, direction)
    return transpose(second, cotangent, [dot])[dot]


# --- the same maps of one function by hand: STATE and PARAMETER are the slots of f_i(x; theta)

STATE, PARAMETER = 0, 1


def by_hand(i, at, *directions):
    """D^k f_i(at; theta_i) . (directions), each with its slot."""
    return jet(f"f{i}", STATES[i], (at, theta[i - 1]), directions)


def adjoint_by_hand(i, at, cotangent, *directions, slot=STATE):
    """((directions) _| D^k+1 f_i(at; theta_i))* . cotangent, the slot of the result open."""
    space = (STATES if slot == STATE else PARAMETERS)[i - 1]
    return jet(f"f{i}", space, (at, theta[i - 1]), directions, slot, cotangent)


def put(expression, **values):
    """The expression at other values of its variables."""
    named = {variable(name, node.space): node for name, node in values.items()}
    return rewrite([expression], named.get)[expression]


def test_one_function() -> None:
    """D f, D* f, nabla f, nabla* f and the four second-order adjoints are jets as they stand."""
    state, parameter = states[0], theta[0]
    u, w = variable("u", H1), variable("w", E2)
    assert D(f(1, state), state, v) is by_hand(1, state, (STATE, v))
    assert D(f(1, state), parameter, u) is by_hand(1, state, (PARAMETER, u))
    assert D_adjoint(f(1, state), state, w) is adjoint_by_hand(1, state, w)
    assert D_adjoint(f(1, state), parameter, w) is adjoint_by_hand(1, state, w, slot=PARAMETER)
    along = {state: (STATE, v), parameter: (PARAMETER, u)}
    for at, (slot, direction) in along.items():
        for by, (other, _) in along.items():
            found = hooked_adjoint(f(1, state), at, direction, w, by=by)
            assert found is adjoint_by_hand(1, state, w, (slot, direction), slot=other)


def test_second_derivatives_are_symmetric() -> None:
    """D^2 f . (v1, v2) = D^2 f . (v2, v1), and nabla D = D nabla (section 2.3.2)."""
    v1, v2, u = variable("v1", E1), variable("v2", E1), variable("u", H1)
    once = f(1, x)
    assert D(D(once, x, v1), x, v2) is D(D(once, x, v2), x, v1)
    assert D(D(once, x, v1), theta[0], u) is D(D(once, theta[0], u), x, v1)


def test_chain_rule() -> None:
    """D(f2 . f1)(x) . v = D f2(f1(x)) . D f1(x) . v (2.3)."""
    assert D(alpha(2), x, v) is by_hand(2, f(1, x), (STATE, by_hand(1, x, (STATE, v))))


def test_chain_rule_for_parameters() -> None:
    """nabla(g . f)(x; theta) = D g(f(x; theta)) . nabla f(x; theta) (2.8)."""
    u = variable("u", H1)
    inner = by_hand(1, x, (PARAMETER, u))
    assert D(alpha(2), theta[0], u) is by_hand(2, f(1, x), (STATE, inner))


def test_lemma_2_2_1() -> None:
    """D^2(f2 . f1) . (v1, v2) = D^2 f2 . (D f1 . v1, D f1 . v2) + D f2 . D^2 f1 . (v1, v2)."""
    v1, v2 = variable("v1", E1), variable("v2", E1)
    left = D(D(alpha(2), x, v2), x, v1)
    moved1, moved2 = by_hand(1, x, (STATE, v1)), by_hand(1, x, (STATE, v2))
    curved = by_hand(1, x, (STATE, v1), (STATE, v2))
    right = by_hand(2, f(1, x), (STATE, moved1), (STATE, moved2)) + by_hand(
        2, f(1, x), (STATE, curved)
    )
    assert same(left, right)


def test_lemma_2_2_2() -> None:
    """D(D* g(f(x)) . w) . v = ((D f(x) . v) _| D^2 g(f(x)))* . w, g = f2 and f = f1."""
    w = variable("w", E3)
    left = D(put(D_adjoint(f(2, states[1]), states[1], w), x2=f(1, x)), x, v)
    right = adjoint_by_hand(2, f(1, x), w, (STATE, by_hand(1, x, (STATE, v))))
    assert left is right


def test_lemma_2_3_2() -> None:
    """D(nabla* g . w) . v = (nabla D g |_ v)* . w = (v _| D nabla g)* . w."""
    w, dot = variable("w", E2), variable("dot", H1)
    left = D(D_adjoint(f(1, x), theta[0], w), x, v)
    right_hook = transpose(D(D(f(1, x), x, v), theta[0], dot), w, [dot])[dot]
    left_hook = hooked_adjoint(f(1, x), x, v, w, by=theta[0])
    assert left is right_hook is left_hook is adjoint_by_hand(1, x, w, (STATE, v), slot=PARAMETER)


@layers
def test_lemma_3_2_1(i) -> None:
    """nabla*_{theta_i} F(x; theta) = nabla* f_i(x_i) . D* omega_{i+1}(x_{i+1}) (3.5)."""
    left = D_adjoint(F, theta[i - 1], e)
    after = states[i]
    error = put(D_adjoint(omega(i + 1, after), after, e), **{after.name: alpha(i)})
    assert left is adjoint_by_hand(i, alpha(i - 1), error, slot=PARAMETER)


@layers
def test_backpropagation(i) -> None:
    """D* omega_i(x_i) = D* f_i(x_i) . D* omega_{i+1}(x_{i+1}) (3.11), down from the identity."""
    at, after = states[i - 1], states[i]
    left = D_adjoint(omega(i, at), at, e)
    error = put(D_adjoint(omega(i + 1, after), after, e), **{after.name: f(i, at)})
    assert left is adjoint_by_hand(i, at, error)
    assert D_adjoint(omega(4, states[3]), states[3], e) is e


@layers
def test_forward_propagation_of_tangents(i) -> None:
    """D alpha_i(x) = D f_i(x_i) . D alpha_{i-1}(x) (lemma 3.3.2)."""
    before = D(alpha(i - 1), x, v)
    assert D(alpha(i), x, v) is by_hand(i, alpha(i - 1), (STATE, before))


def tail_hooked(i, cotangent):
    """((D alpha_{i-1}(x) . v) _| D^2 omega_i(x_i))* . cotangent, at x_i = alpha_{i-1}(x)."""
    at, direction = states[i - 1], variable("direction", STATES[i - 1])
    found = hooked_adjoint(omega(i, at), at, direction, cotangent)
    return put(found, **{at.name: alpha(i - 1), "direction": D(alpha(i - 1), x, v)})


def tail_adjoint(i, cotangent):
    """D* omega_i(x_i) . cotangent at x_i = alpha_{i-1}(x)."""
    at = states[i - 1]
    return put(D_adjoint(omega(i, at), at, cotangent), **{at.name: alpha(i - 1)})


@layers
def test_tangent_backpropagation(i) -> None:
    """((D alpha_{i-1} . v) _| D^2 omega_i)* = D* f_i . ((D alpha_i . v) _| D^2 omega_{i+1})*
    + ((D alpha_{i-1} . v) _| D^2 f_i)* . D* omega_{i+1} (3.16)."""
    at, moved = alpha(i - 1), D(alpha(i - 1), x, v)
    high = tail_hooked(i + 1, e)
    right = adjoint_by_hand(i, at, high) + adjoint_by_hand(
        i, at, tail_adjoint(i + 1, e), (STATE, moved)
    )
    assert same(tail_hooked(i, e), right)
    assert not is_zero(right) and is_zero(high) == (i == 3)


def test_the_last_tangent_error_is_zero() -> None:
    """((D alpha_L(x) . v) _| D^2 omega_{L+1}(x_{L+1}))* = 0 (3.17)."""
    assert tail_hooked(4, e) is zero(E4)


@layers
def test_theorem_3_3_4(i) -> None:
    """(nabla_{theta_i} D F |_ v)* = nabla* f_i . ((D alpha_i . v) _| D^2 omega_{i+1})*
    + ((D alpha_{i-1} . v) _| D nabla f_i)* . D* omega_{i+1} (3.21)."""
    dot = variable("dot", PARAMETERS[i - 1])
    left = transpose(D(D(F, x, v), theta[i - 1], dot), e, [dot])[dot]
    at, moved = alpha(i - 1), D(alpha(i - 1), x, v)
    first = adjoint_by_hand(i, at, tail_hooked(i + 1, e), slot=PARAMETER)
    second = adjoint_by_hand(i, at, tail_adjoint(i + 1, e), (STATE, moved), slot=PARAMETER)
    assert same(left, first + second)
    assert not same(left, first - second) and same(left, second) == (i == 3)


def test_uninterpreted_layers_are_declared_like_others() -> None:
    """The maps of a network of unknown layers, by the same doors as those of a known one."""
    network = Layer.of(
        "F",
        state={"x": E1},
        parameters={t.name: t.space for t in theta},
        output=lambda x, theta1, theta2, theta3: f3(f2(f1(x, theta1), theta2), theta3),
    )
    assert network.output is F
    for i in L:
        gradient = network.nabla(f"theta{i}").adjoint
        assert (gradient.domain, gradient.codomain) == (E4, PARAMETERS[i - 1])
        assert gradient @ e is D_adjoint(F, theta[i - 1], e)
    assert network.D_nabla("theta2").hook(v).adjoint @ e is hooked_adjoint(F, x, v, e, by=theta[1])
