"""Networks: compositions of layers under qualified parameter names (thesis section 3.1).

    mlp = network("mlp", hidden=dense, output=affine)
    F(x; hidden_W, hidden_b, output_W, output_b) = output(hidden(x))

A network is a layer, so that all that is done with a layer is done with it, and it may be a layer
of another network.  What it consists of is named by these rules:

* the state of each layer is the output of the one before: the sizes of that state are bound to
  those of that output (plain sizes are bound, numbers and expressions compared);
* the sizes of the first layer's states and givens keep their names, every other size that is not
  bound is called {layer}_{size}: m, hidden_n, output_n;
* states and givens of the first layer keep their names, those of later layers, all parameters and
  all that is fixed are called {layer}_{name}, and so are local names: hidden_W, hidden_z;
* arguments come in the order of the layers, states and givens first, then parameters and what is
  fixed;
* the target of a loss keeps its name, or is called {loss}_{name} where that is taken;
* a Gram matrix has one name and one size in the whole network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeVar

import sympy

from ..language.expressions import variable
from ..language.mistakes import called
from ..language.names import checked
from ..language.roles import FIXED, GIVEN, STATE, Argument
from ..language.sizes import Size
from ..language.spaces import R, SpaceError
from .layers import Layer, require_layer
from .parameter_trees import Composed
from .resize import resized_layer, sizes_of
from .stages import Path, Stage, chained, check_grams, data_of, identity, input_of, stage_sizes

L = TypeVar("L", bound=Layer)


@dataclass(frozen=True, eq=False, repr=False)
class Network(Composed):
    """F = f_L . .. . f_1 (thesis (3.1)), and the loss of one point where there is one."""

    stages: tuple[Stage, ...] = ()
    loss: Stage | None = None

    def with_loss(self, loss: Layer, *, target: str = "given") -> Network:
        """The network with a loss of one point: a layer f(x, ..) -> R() of the output F(x; theta).

        With target="input" what the loss compares the output with is the network's own input: J(x;
        theta) = loss(F(x; theta), x), as an auto-encoder has it (thesis (4.45), (4.46)). Raises
        SpaceError where something stands right of the loss's semicolon, where it is not a scalar or
        does not take the output, or where its target is not of the input's space.
        """
        if target not in ("given", "input"):
            raise ValueError(
                f"network {self.name}: expected target='given' or 'input', got {target!r}"
            )
        made = _loss_stage(self, loss)
        of_input = target == "input"
        return composed(self.name, self.stages, _of_input(self, made) if of_input else made)

    def with_roles(self, roles: Mapping[str, str]) -> Network:
        """The network with other roles for some arguments, in the layers, too."""
        stages = tuple(
            replace(stage, function=stage.function.with_roles(roles)) for stage in self.stages
        )
        return replace(super().with_roles(roles), stages=stages)

    @cached_property
    def loss_layer(self) -> Layer:
        """J(x, y; theta) = loss(F(x; theta), y), a layer.  Raises SpaceError without a loss."""
        if self.loss is None:
            raise SpaceError(f"network {self.name} has no loss; add one by with_loss(squared_loss)")
        return chained(f"{self.name}_loss", (*self.stages, self.loss))

    def head(self, i: int) -> Layer:
        """alpha_i = f_i . .. . f_1 : E_1 -> E_{i+1}, and alpha_0 = id (thesis (3.2)).

        Raises IndexError beyond 0 <= i <= L, SpaceError for i = 0 where x is a class index.
        """
        self._check_index("head", i, 0)
        if i == 0:
            x = next(a for a in self.arguments if a.variable is self.stages[0].input)
            return identity(f"{self.name}_head_0", x)
        return chained(f"{self.name}_head_{i}", self.stages[:i])

    def tail(self, i: int) -> Layer:
        """omega_i = f_L . .. . f_i : E_i -> E_{L+1}, and omega_{L+1} = id (thesis (3.3)).

        Raises IndexError beyond 1 <= i <= L + 1.
        """
        self._check_index("tail", i, 1)
        if i == len(self.stages) + 1:
            y = variable(f"{self.name}_y", self.output.space)
            return identity(f"{self.name}_tail_{i}", Argument(y, STATE))
        return chained(f"{self.name}_tail_{i}", self.stages[i - 1 :])

    def _check_index(self, what: str, i: int, first: int) -> None:
        last = first + len(self.stages)
        if i not in range(first, last + 1):
            raise IndexError(f"network {self.name}: {what}({i}): expected {first} <= i <= {last}")

    @property
    def paths(self) -> tuple[Path, ...]:
        """Where each array of theta hangs in the tree: parameters and what is fixed, in order."""
        pairs = [
            pair
            for stage in self.stages
            for pair in zip(stage.function.theta, stage.paths, strict=True)
        ]
        return tuple(dict(reversed(pairs))[x] for x in self.theta)


@called
def network(name: str, /, *, loss: Layer | None = None, **layers: Layer) -> Network:
    """The composition of layers, the first one first.

    Raises SpaceError, naming both layers, both spaces and the fix, where a layer does not take the
    output of the one before.

    >>> from derive.library.dense import affine, dense
    >>> mlp = network("mlp", hidden=dense, output=affine)
    >>> print(mlp.signature, *mlp.sizes)
    mlp(x; hidden_W, hidden_b, output_W, output_b) m hidden_n output_n
    """
    if not layers:
        raise SpaceError(f"network {name}: expected at least one layer, as in hidden=dense")
    stages: list[Stage] = []
    for label, layer in layers.items():
        stages.append(_stage(name, label, layer, stages))
    made = composed(name, tuple(stages))
    return made if loss is None else made.with_loss(loss)


@called
def with_sizes(layer: Layer, sizes: Mapping[sympy.Symbol | str, object]) -> Layer:
    """The layer, or network, with some of its sizes fixed or replaced, by symbol or name.

    Raises SpaceError where the layer has no such size, or the new one is below 1.

    >>> from derive.library.dense import dense
    >>> print(with_sizes(dense, {"n": 32}).output.space)
    R(32)
    """
    replaced = sizes_of(layer, sizes)
    if not isinstance(layer, Network):
        return resized_layer(layer, replaced)
    stages = tuple(_resized_stage(stage, replaced) for stage in layer.stages)
    return composed(layer.name, stages, layer.loss and _resized_stage(layer.loss, replaced))


@called
def with_fixed(layer: L, *names: str) -> L:
    """The layer, cell or network with parameters of these names fixed: no longer derived by.

    Those of a network go by their qualified names.  All else stays, the order of the arguments too.
    Raises SpaceError, naming the parameters there are, for a name that none of them has.

    >>> from derive.library.dense import dense
    >>> half = with_fixed(dense, "W")
    >>> print(half, *half.parameters)
    dense(x; W, b) in R(n) b
    """
    require_layer("with_fixed", layer)
    known = [p.name for p in layer.parameters]
    for name in names:
        if name not in known:
            found = ", ".join(known) or "none"
            raise SpaceError(f"{layer.signature} has no parameter {name!r} to fix; it has {found}")
    return layer.with_roles(dict.fromkeys(names, FIXED))


# --- composing


def composed(name: str, stages: tuple[Stage, ...], loss: Stage | None = None) -> Network:
    """The network of some stages and a loss."""
    check_grams(name, [stage.function.output for stage in stages])
    f = chained(name, stages)
    doc = f"{name} = {' . '.join(stage.name for stage in reversed(stages))}"
    return Network(name, f.arguments, f.output, f.names, doc, stages, loss)


def _resized_stage(stage: Stage, sizes: Mapping[sympy.Symbol, Size]) -> Stage:
    return Stage(stage.name, resized_layer(stage.function, sizes), stage.paths)


def _stage(where: str, label: str, layer: Layer, before: Sequence[Stage]) -> Stage:
    """A layer as the stage behind those before it."""
    if not isinstance(layer, Layer):
        raise SpaceError(f"network {where}: {label} must be a layer, got {type(layer).__name__}")
    if isinstance(layer, Network) and layer.loss is not None:
        raise SpaceError(f"network {where}: {label} has a loss of its own; give it to {where}")
    checked(label, f"network {where}: layer")
    sizes = stage_sizes(where, label, layer, before)
    kept = () if before else data_of(layer)
    names = {a.name: f"{label}_{a.name}" for a in layer.arguments if a not in kept}
    f = resized_layer(layer, sizes, name=label, renamed=names, prefix=f"{label}_")
    inner = layer.paths if isinstance(layer, Network) else [(x.name,) for x in layer.theta]
    return Stage(label, f, tuple((label, *path) for path in inner))


def _loss_stage(network_: Network, loss: Layer) -> Stage:
    """The loss as a stage behind the last one, its target under its own name."""
    if not isinstance(loss, Layer) or loss.theta or loss.output.space != R():
        raise SpaceError(
            f"network {network_.name}: a loss is a layer without parameters and with an output of "
            f"R(), got {getattr(loss, 'signature', repr(loss))}"
        )
    sizes = stage_sizes(network_.name, loss.name, loss, network_.stages)
    taken = {a.name for a in network_.arguments} | {str(size) for size in network_.sizes}
    taken.add(input_of(loss).name)
    names = {a.name: f"{loss.name}_{a.name}" for a in loss.arguments if a.name in taken}
    return Stage(loss.name, resized_layer(loss, sizes, renamed=names, prefix=f"{loss.name}_"))


def _of_input(network_: Network, loss: Stage) -> Stage:
    """The loss with the network's input as its target."""
    x, f = network_.stages[0].input, loss.function
    given = [a.variable for a in f.arguments if a.role == GIVEN]
    if len(given) != 1 or given[0].space != x.space:
        found = ", ".join(f"{y.name} of {y.space}" for y in given) or "nothing"
        raise SpaceError(
            f"network {network_.name}: with target='input' the loss compares the output with the "
            f"input {x.name} of {x.space}, but {loss.name} is given {found}; use a loss with one "
            "given argument, and an output of the input's space"
        )
    output = variable(f"{loss.name}_{loss.input.name}", loss.input.space)
    arguments = (Argument(output, STATE), Argument(x, STATE))
    return Stage(loss.name, f.with_values({loss.input: output, given[0]: x}, arguments))
