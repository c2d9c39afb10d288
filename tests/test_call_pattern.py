"""One way to call every layer: saved_size, forward(saved=), backward(cotangent=, saved=)."""

from typing import Any

import numpy as np
import pytest
from drawn_calls import generated, known, sizes_of, whole_call
from shipped import SINGLE

from derive.kernels.interpreting import plain_edge
from derive.kernels.interpreting.evaluated import evaluated_module
from derive.runtime import edge
from derive.runtime.declare import Argument, Declaration, Leaf

NOTHING = "average_pooling"  # saves nothing


def gradients(kernels: Any, name: str, **named: Any) -> Any:
    """README's lines, with the arguments by keyword."""
    sizes = sizes_of(name)
    given = {
        a.name: whole_call(kernels, "forward", sizes)[a.name] for a in kernels.forward.arguments
    }
    asked = {size: sizes[size] for size in kernels.forward.declaration.asked}
    saved = np.empty(kernels.forward.saved_size(**known(kernels.forward, sizes)))
    y = kernels.forward(**given, **asked, saved=saved)
    more = {a.name for a in kernels.backward.arguments} - set(given)
    extra = {n: v for n, v in whole_call(kernels, "backward", sizes).items() if n in more}
    (own,) = [a.name for a in kernels.backward.arguments if a.role == "cotangent"]
    bar = np.ones_like(y) if not isinstance(y, tuple) else tuple(map(np.ones_like, y))
    extra.pop(own)
    asked = {size: sizes[size] for size in kernels.backward.declaration.asked}
    key = own if named.get("own") else "cotangent"
    return kernels.backward(**given, **extra, **asked, **{key: bar}, saved=saved)


def flat(value: Any) -> list[Any]:
    return [a for v in value for a in flat(v)] if isinstance(value, tuple) else [value]


@pytest.mark.parametrize("name", SINGLE)
def test_the_same_three_lines_for_every_layer(name: str) -> None:
    kernels = generated(name)
    found, own = gradients(kernels, name), gradients(kernels, name, own=True)
    assert all(a.tobytes() == b.tobytes() for a, b in zip(flat(found), flat(own), strict=True))
    assert any(a.any() for a in flat(found))


@pytest.mark.parametrize("beneath", [None, edge, plain_edge])
def test_a_layer_that_saves_nothing_takes_an_array_without_elements(beneath: Any) -> None:
    layer = SINGLE[NOTHING]
    kernels = generated(NOTHING) if beneath is None else evaluated_module(layer, beneath)
    sizes = sizes_of(NOTHING)
    call = whole_call(kernels, "forward", sizes)
    assert kernels.forward.saved_size(**known(kernels.forward, sizes)) == 0
    y = kernels.forward(**call, saved=np.empty(0))
    back = {**call, "cotangent": np.ones_like(y)}
    expected = kernels.backward(**back)
    assert np.array_equal(kernels.backward(**back, saved=np.empty(0)), expected)
    for saved in (np.empty(3), np.empty((0, 2)), 1.0, []):
        for kernel, given in ((kernels.forward, call), (kernels.backward, back)):
            with pytest.raises(
                TypeError, match=r"takes no saved values: saved_size is 0, so saved"
            ):
                kernel(**given, saved=saved)


def test_the_second_order_has_the_tangent_of_the_cotangent() -> None:
    kernels, sizes = generated("cosine"), sizes_of("cosine")
    call = whole_call(kernels, "tangent_backward", sizes)
    bar, bar_dot = (a.name for a in kernels.tangent_backward.arguments if a.role == "cotangent")
    renamed = {k: v for k, v in call.items() if k not in (bar, bar_dot)}
    renamed |= {"cotangent": call[bar], "cotangent_dot": call[bar_dot]}
    pairs = zip(
        flat(kernels.tangent_backward(**renamed)),
        flat(kernels.tangent_backward(**call)),
        strict=True,
    )
    assert all(np.array_equal(a, b) for a, b in pairs)


def test_a_cotangent_is_given_once_and_a_users_own_name_comes_first() -> None:
    dense = generated("dense")
    at = (np.ones((2, 3)), np.ones((4, 3)), np.ones(4))
    saved = np.zeros(8)
    for doubled in ({"cotangent": np.ones((2, 4)), "y_bar": np.ones((2, 4))},):
        with pytest.raises(TypeError, match=r"dense.backward: y_bar is given twice"):
            dense.backward(*at, **doubled, saved=saved)
    with pytest.raises(TypeError, match=r"dense.backward: y_bar is given twice"):
        dense.backward(*at, np.ones((2, 4)), cotangent=np.ones((2, 4)), saved=saved)
    with pytest.raises(TypeError, match="no argument or size is called 'cotangent'"):
        dense.forward(*at, cotangent=np.ones((2, 4)))
    own = Declaration(
        "f.backward",
        ("n",),
        tuple(
            Argument(name, role, (Leaf(name, ("n",)),))
            for name, role in (("cotangent", "state"), ("y_bar", "cotangent"))
        ),
        (),
        "overwrite",
        None,
    )
    assert own.ordered((), {"y_bar": 2, "cotangent": 1}) == ((1, 2), {})
