"""The training loop on compiled kernels, for any optimiser."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from ..language.roles import FIXED
from .gradients import check_finite, clip_leaves
from .optimise import Optimiser
from .parameters import Array, Tree, leaves, map_tree, pruned


def fit(
    kernel: Callable[..., Any],
    parameters: Tree,
    batches: Iterable[Sequence[Any]],
    optimiser: Optimiser,
    *,
    clip_norm: float | None = None,
    clip_value: float | None = None,
    progress: Callable[[int, float], None] | None = None,
) -> list[float]:
    """Train the parameters in place, one step for each batch; the loss of each batch.

    `kernel(*batch, hidden_W=.., out=out)` adds the batch's loss to out["J"], of shape (), and its
    gradient to out["hidden_W_bar"], ..: the kernel defines J and averages over the batch.  The
    parameters are a tree as `Network.tree` makes it, or flat; the leaf hidden.W is the argument
    hidden_W.  Arguments that `kernel.arguments` declares as fixed are passed on unchanged: they
    have no gradient, no decay and no part in the optimiser's state.  A function of your own around
    a kernel should expose the kernel's `arguments`, so that this holds for it too.
    `progress(step, loss)` is called after each step, counted on from the optimiser's state.

    Raises NotFinite, naming the step and the parameter, if the loss or the gradient is not finite;
    the parameters are then those before that step.
    """
    _check_arguments(kernel, batches, optimiser)
    named = {_flat(name): array for name, array in leaves(parameters)}
    trained = _trained(kernel, parameters)
    grad = map_tree(np.zeros_like, trained)
    out = _sums(grad, named)
    update, gradients = optimiser.bound(trained, grad), leaves(grad)
    first = int(optimiser.state["step"]) if optimiser.state else 0
    losses = []
    for step, batch in enumerate(batches, first):
        losses.append(_loss(kernel, batch, named, out))
        check_finite(step, losses[-1], grad)
        clip_leaves(gradients, clip_norm, clip_value)
        update()
        if progress is not None:
            progress(step, losses[-1])
    return losses


def _check_arguments(kernel: object, batches: object, optimiser: object) -> None:
    _check_call("a kernel, as kernels.gradient", kernel, callable(kernel))
    _check_call("batches, as [(x, y), ..]", batches, isinstance(batches, Iterable))
    _check_call("an optimiser, as Adam(0.001)", optimiser, isinstance(optimiser, Optimiser))


def _sums(gradient: Any, named: dict[str, Array]) -> dict[str, Array]:
    """What a kernel adds to: J in the widest dtype of the parameters, and the gradient's arrays."""
    floating = [array for array in named.values() if array.dtype.kind == "f"]
    if not floating:
        raise ValueError("fit: expected parameters to train, got none of a floating dtype")
    bars = {f"{_flat(name)}_bar": array for name, array in leaves(gradient)}
    return bars | {"J": np.zeros((), np.result_type(*floating))}


def _loss(
    kernel: Callable[..., Any], batch: Sequence[Any], named: dict[str, Array], out: dict[str, Array]
) -> float:
    """The loss of a batch, its gradient in `out`."""
    _check_call("each batch as (x, y)", batch, isinstance(batch, Sequence))
    for array in out.values():
        array.fill(0.0)
    kernel(*batch, **named, out=out)
    return float(out["J"])


def _check_call(expected: str, found: object, fits: bool) -> None:
    if not fits:
        raise TypeError(f"fit: expected {expected}, got {found!r}")


def _flat(name: str) -> str:
    """The kernel's argument for a leaf of the tree."""
    return name.replace(".", "_")


def _trained(kernel: Callable[..., Any], parameters: Tree) -> Any:
    """The tree without what the kernel declares as fixed."""
    fixed = _fixed(kernel)
    return pruned(parameters, lambda name: _flat(name) not in fixed)


def _fixed(kernel: Callable[..., Any]) -> set[str]:
    """The arrays that a kernel declares as fixed; none if it declares nothing."""
    found = (a for a in getattr(kernel, "arguments", ()) if a.role == FIXED)
    return {name for a in found for name in array_names(a.name, len(a.leaves))}


def array_names(name: str, count: int) -> list[str]:
    """What `fit` calls the arrays of an argument: W, or W_0, W_1, .. of a direct product."""
    return [name] if count == 1 else [f"{name}_{k}" for k in range(count)]
