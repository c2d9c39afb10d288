"""A lifted expression's value is the stack of single values; its adjoints are sums over them."""

import numpy as np
import pytest
import sympy
from formulas import FORMULAS, SIZES, H, W, X, b, x
from points import close, draw, draw_all

from derive import Index, SpaceError, tanh, uninterpreted, variable
from derive.calculus.calculus import tangent, transpose
from derive.calculus.lift import lift, lift_space, repeated
from derive.calculus.maps import variables_of
from derive.language.expressions import Contraction, tuple_of
from derive.language.reference import flat_arrays, value
from derive.language.spaces import Indices
from derive.language.walk import topological

BATCH = sympy.Symbol("batch", integer=True, nonnegative=True)
SEVERAL = (3, 1, 0)
# Both sides do the same sums and products in another order of at most 100 terms: 100 EPS relative
# to the largest entry, ten times that where a difference of such sums is taken.
ROUNDING = 1000

every = pytest.mark.parametrize("node", FORMULAS.values(), ids=FORMULAS)
chosen = pytest.mark.parametrize("chosen", [slice(None), slice(1), slice(1, None)], ids=str)


def family(node, lifted, count, seed=0):
    """`count` points that agree in the variables that are not lifted, and all of them as one."""
    shared = draw_all([node], SIZES, seed)
    rng = np.random.default_rng([seed, 7])
    points = [shared | {v: draw(v.space, SIZES, rng) for v in lifted} for _ in range(count)]
    return shared, points, {v: stack([point[v] for point in points], v.space) for v in lifted}


def stack(values, space):
    """The values along one new axis in front."""
    if isinstance(space, Indices) or not hasattr(space, "factors"):
        empty = np.zeros((0, *draw_shape(space)), int if isinstance(space, Indices) else float)
        return np.stack(values) if values else empty
    parts = range(len(space.factors))
    return tuple(stack([value_[k] for value_ in values], space.factors[k]) for k in parts)


def draw_shape(space):
    return np.shape(draw(space, SIZES, np.random.default_rng(0)))


def lifted_values(roots, lifted, point, shared, count):
    tops, new = lift(roots, lifted, BATCH)
    at = {new.get(v, v): point.get(v, array) for v, array in shared.items()}
    at = {v: array for v, array in at.items() if v in variables_of(*tops)}
    return [value(top, at, {**SIZES, BATCH: count}) for top in tops]


@every
@chosen
@pytest.mark.parametrize("count", SEVERAL)
def test_the_value_is_the_stack_of_values(node, chosen, count) -> None:
    lifted = variables_of(node)[chosen]
    shared, points, together = family(node, lifted, count)
    (found,) = lifted_values([node], lifted, together, shared, count)
    assert close(found, stack([value(node, p, SIZES) for p in points], node.space), ROUNDING)


@every
def test_lifting_and_differentiating_commute(node) -> None:
    """The tangent of the lifted expression is the lifted tangent."""
    lifted = variables_of(node)[:1]
    if isinstance(lifted[0].space, Indices):
        pytest.skip("a class index has no direction")
    dot = variable("v", lifted[0].space)
    (top,), new = lift([node], lifted, BATCH)
    first = tangent(top, {new[lifted[0]]: variable("v", lift_space(dot.space, BATCH))})
    shared, _, together = family(tangent(node, {lifted[0]: dot}), [*lifted, dot], 3)
    point = {new.get(v, variable("v", lift_space(dot.space, BATCH))): together[v] for v in together}
    rest = {v: shared[v] for v in variables_of(first) if v not in point}
    at = {v: a for v, a in (point | rest).items() if v in variables_of(first)}
    (found,) = lifted_values([tangent(node, {lifted[0]: dot})], [*lifted, dot], together, shared, 3)
    assert close(value(first, at, {**SIZES, BATCH: 3}), found, ROUNDING)


@every
def test_the_adjoint_of_what_is_shared_is_the_sum_over_the_family(node) -> None:
    everything = [v for v in variables_of(node) if not isinstance(v.space, Indices)]
    shared_one, lifted = everything[-1], [v for v in variables_of(node) if v is not everything[-1]]
    dot, u = variable("v", shared_one.space), variable("y_bar", node.space)
    single = transpose(tangent(node, {shared_one: dot}), u, [dot])[dot]
    (top,), new = lift([node], lifted, BATCH)
    all_u = variable("y_bar", top.space)
    whole = transpose(tangent(top, {shared_one: dot}), all_u, [dot])[dot]
    shared, points, together = family(tuple_of((single, u, node)), [*lifted, u], 3)
    at = {new.get(v, v): together.get(v, a) for v, a in shared.items()} | {all_u: together[u]}
    at = {v: a for v, a in at.items() if v in variables_of(whole)}
    singles = [value(single, {v: p[v] for v in variables_of(single)}, SIZES) for p in points]
    total = [sum(each) for each in zip(*map(flat_arrays, singles), strict=True)]
    found = value(whole, at, {**SIZES, BATCH: 3})
    assert close(tuple(flat_arrays(found)), tuple(total), ROUNDING)


def test_the_weight_gradient_is_one_product_over_the_family() -> None:
    """nabla*_W of the lifted W x: one contraction that sums over the batch, no sum of products."""
    (top,), new = lift([W @ x + b], [x], BATCH)
    dot, u = variable("v", W.space), variable("u", top.space)
    gradient = transpose(tangent(top, {W: dot}), u, [dot])[dot]
    assert isinstance(gradient, Contraction) and set(gradient.filled) == {u, new[x]}
    assert [gradient.form.extent(index) for index in gradient.summed] == [BATCH]


def test_what_does_not_depend_on_the_family_is_computed_once() -> None:
    (top,), _ = lift([tanh(W @ x) + tanh(b)], [x], BATCH)
    assert tanh(b) in topological(top)
    assert lift([tanh(b)], [x], BATCH)[0][0] is repeated(tanh(b), BATCH)


def test_what_has_no_batched_form_says_so() -> None:
    f = uninterpreted("f", X, H)
    with pytest.raises(SpaceError, match="Jet has no batched form: it is uninterpreted"):
        lift([f(x)], [x], BATCH)
    with pytest.raises(SpaceError, match=r"a family of one Index\(n\) can't be made"):
        repeated(variable("c", Index(H.shape[0])), BATCH)
