"""The derived maps of a layer at one point against the oracle: D or nabla, the adjoint, a second
derivative's hook and its adjoint, by arguments that are drawn."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import mpmath as mp
import numpy as np
from points import pairing
from random_drafts import SIZES
from random_points import NOISE, ROUNDINGS, TINY, Finding, distance, mapped, scales

from derive.language.reference import flat_arrays, value
from derive.language.roles import THETA
from derive.language.spaces import leaves
from derive.models.programs import COTANGENT, TANGENT

if TYPE_CHECKING:
    from random_trials import Trial

DIGITS = 60
_real = np.frompyfunc(mp.mpf, 1, 1)

Claim = tuple[str, list[Any], str, slice]  # a label, what was found, the program and its results


def findings(trial: Trial) -> Iterator[Finding]:
    """The maps that differ from the oracle by more than roundings."""
    rng = np.random.default_rng(trial.seed)
    names = [v.name for v in trial.layer.differentiable]
    x, y = (names[rng.integers(len(names))] for _ in range(2))
    values = one_direction(trial, x)
    expected, noisy = (trial.oracle(values, 1, noise) for noise in (0.0, NOISE))
    tiny, scale = TINY[np.float64], scales(expected)
    for label, found, program, place in claims(trial, values, x, y):
        group = [np.asarray(e) for e in expected[program][place]]
        found = [np.reshape(f, e.shape) for f, e in zip(found, group, strict=True)]
        moved = max(1.0, distance(noisy[program][place], group, scale[program], tiny) / NOISE)
        allowed = ROUNDINGS * 2**-52 * moved
        off = distance(found, group, scale[program], tiny)
        if not off <= allowed and all(np.isfinite(e).all() for e in group):
            yield Finding("maps", f"{label}: off by {off:.2g}, allowed {allowed:.2g}")
    yield from hooked_pairing(trial, x, y, scale["tangent_backward"])


def one_direction(trial: Trial, x: str) -> dict[str, Any]:
    """The first point of the batch, with a tangent of x and a cotangent alone."""
    found = {}
    families = {a.name for a in trial.layer.arguments if a.role in THETA}
    families |= {f"{name}_dot" for name in families}
    for name, drawn in trial.values.items():
        found[name] = drawn if name in families else mapped(lambda array: array[:1], drawn)
    for a in trial.programs["tangent_backward"].arguments:
        moves = a.role == TANGENT and a.name != f"{x}_dot"
        if moves or (a.role == COTANGENT and a.name.endswith("_dot")):
            found[a.name] = mapped(np.zeros_like, found[a.name])
    return found


def claims(trial: Trial, values: dict[str, Any], x: str, y: str) -> Iterator[Claim]:
    """Each map's value at the point, and where the oracle has it."""
    layer = trial.layer
    at = {a.variable: point_of(layer, a.name, values) for a in layer.arguments}
    dot = point_of(layer, x, values, "_dot")
    bar = cotangent(trial, values)
    first, second = layer.derivative(x), layer.second(x, y)
    hooked = second.hook()
    yield first.name, applied(first, at, dot), "tangent", slice(None)
    yield first.adjoint.name, applied(first.adjoint, at, bar), "backward", place(layer, x)
    moved = {**at, second.left: dot}
    pulled = applied(hooked.adjoint, moved, bar)
    yield hooked.adjoint.name, pulled, "tangent_backward", place(layer, y)


def hooked_pairing(trial: Trial, x: str, y: str, scale: float) -> Iterator[Finding]:
    """<w, (v _| B) . e> is <(v _| B)* . w, e>, in numbers of so many digits that none cancel."""
    layer, values = trial.layer, one_direction(trial, x)
    second = layer.second(x, y)
    hooked = second.hook()
    with mp.workdps(DIGITS):
        at = {a.variable: exact(point_of(layer, a.name, values)) for a in layer.arguments}
        at[second.left] = exact(point_of(layer, x, values, "_dot"))
        bar, e = exact(cotangent(trial, values)), exact(point_of(layer, y, trial.values, "_dot"))
        pushed, pulled = applied(hooked, at, e), applied(hooked.adjoint, at, bar)
        left, right = pairing(tuple(pushed), bar), pairing(tuple(pulled), e)
        terms = size(pushed, bar) + size(pulled, e) + scale * (total(bar) + total(e))
        # exact but for floats in a scalar formula, of which SymPy's products are rounded
        if not abs(left - right) <= terms * ROUNDINGS * 2**-52:
            yield Finding("maps", f"{hooked.name}: <w, B e> = {left}, <B* w, e> = {right}")


def exact(drawn: Any) -> Any:
    """A value in numbers of any number of digits, class indices as they are."""
    return mapped(lambda a: a if a.dtype.kind == "i" else np.asarray(_real(a), object), drawn)


def size(found: list[Any], other: Any) -> Any:
    """The sum of the products' absolute values."""
    pairs = zip(found, flat_arrays(other), strict=True)
    return sum(np.sum(np.abs(a * b)) for a, b in pairs)


def total(value_: Any) -> Any:
    """The sum of the absolute values of all entries."""
    return sum(np.sum(np.abs(part)) for part in flat_arrays(value_))


def cotangent(trial: Trial, values: dict[str, Any]) -> Any:
    """The cotangent of the output at the first point."""
    arguments = trial.programs["backward"].arguments
    name = next(a.name for a in arguments if a.role == COTANGENT)
    return mapped(lambda array: array[0], values[name])


def applied(map_: Any, at: Any, e: Any) -> list[Any]:
    """The arrays of the map's value on e."""
    return flat_arrays(value(map_.body, {**at, map_.variable: e}, SIZES))


def point_of(layer: Any, name: str, values: dict[str, Any], mark: str = "") -> Any:
    """An argument's value, or its direction's, at the first point of the batch."""
    role = next(a.role for a in layer.arguments if a.name == name)
    drawn = values[f"{name}{mark}"]
    return drawn if role in THETA else mapped(lambda array: array[0], drawn)


def place(layer: Any, name: str) -> slice:
    """Which arrays of backward's results are the argument's."""
    start = 0
    for v in layer.differentiable:
        count = len(list(leaves(v.space)))
        if v.name == name:
            return slice(start, start + count)
        start += count
    raise KeyError(name)
