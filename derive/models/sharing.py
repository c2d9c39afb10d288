"""Weight sharing: parameters that are linear images of others (thesis section 4.3.1).

A parameter of one layer is tau of the parameters of other layers, in any network:

    with_shared(network, decoder_W=lambda encoder_W: transpose(encoder_W))

The layer is then f(x; tau(W), ..) as a layer of W (thesis (4.35)), so that tau* and the sum over
all uses of W are results of the calculus (lemmas 4.3.2 to 4.3.4, theorem 4.3.5).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar, cast

import sympy

from ..calculus.calculus import NotLinear, transpose
from ..language.expressions import Node, Variable, variable
from ..language.mistakes import called
from ..language.roles import Argument
from ..language.sizes import Size
from ..language.spaces import Space, SpaceError, leaves
from .composing import of_levels
from .layers import Layer
from .levels import CellInstance, Level, Recurrent
from .networks import Network, composed, with_sizes
from .parameter_trees import Composed
from .resize import resized_layer
from .stages import Path, Stage
from .user_formulas import formula_of

Tau = Callable[..., Node]
N = TypeVar("N", bound=Composed)


@called
def with_shared(network: N, /, **shared: Tau) -> N:
    """The network in which each named parameter is a linear function of other parameters.

    `name=tau`: tau takes parameters of the network by the names of its arguments and returns an
    expression of the space of the parameter `name`, which is then no parameter any more.  Sizes
    that the two spaces make equal become one: the outer ones of a tied auto-encoder.

    Raises SpaceError where there is no such parameter, tau is not linear, takes what is itself
    shared, or returns another space than that of the parameter.

    >>> from derive import network, transpose
    >>> from derive.library.dense import affine, dense
    >>> untied = network("tied", code=dense, decode=affine)
    >>> tied = with_shared(untied, decode_W=lambda code_W: transpose(code_W))
    >>> print(tied.signature, *tied.sizes)
    tied(x; code_W, code_b, decode_b) m code_n
    """
    if not isinstance(network, Composed):
        raise SpaceError(f"with_shared: expected a network, got {type(network).__name__}")
    for name, tau in shared.items():
        network = _shared(network, name, tau)
    return network


def _shared(network: N, name: str, tau: Tau) -> N:
    """The network with one parameter given by tau; sizes are made equal one by one."""
    where = f"network {network.name}: {name} = tau(..)"
    names = _sources(where, network, name, tau)
    wanted, got = _parameter(network, name).space, None
    for _ in range(len(network.sizes) + 1):
        target, *sources = (_parameter(network, key) for key in (name, *names))
        value = formula_of(where, tau, (), {x.name: x for x in sources})
        _check_linear(where, value, sources)
        got = got or value.space
        sizes = _equal(target.space, value.space)
        if sizes is None:
            return _replaced(network, target, value, sources)
        if not sizes:
            break
        network = _resized(network, sizes)
    raise SpaceError(
        f"{where}: tau must return an expression of {wanted}, the space of {name}, got {got}"
    )


def _sources(where: str, network: Composed, name: str, tau: Tau) -> list[str]:
    """The names of the parameters that tau takes."""
    known = [p.name for p in network.parameters]
    if name not in known:
        raise SpaceError(f"network {network.name} has no parameter {name}; it has {known}")
    if isinstance(tau, Node) or not callable(tau):
        raise SpaceError(f"{where}: tau must be a function of parameters, got {tau!r}")
    names = list(inspect.signature(tau).parameters)
    if not names or name in names or not set(names) <= set(known):
        raise SpaceError(
            f"{where}: tau takes {names or 'nothing'}; its arguments must be called like other "
            f"parameters that are not shared themselves, some of {[k for k in known if k != name]}"
        )
    return names


def _parameter(network: Composed, name: str) -> Variable:
    return next(p for p in network.parameters if p.name == name)


def _check_linear(where: str, value: Node, sources: Sequence[Variable]) -> None:
    try:
        transpose(value, variable("u", value.space), sources)
    except NotLinear as error:
        raise SpaceError(f"{where}: tau must be linear in {sources}: {error}") from error


def _equal(target: Space, value: Space) -> dict[sympy.Symbol, Size] | None:
    """A size to replace so that the spaces become equal; {} if none helps, None if they are."""
    if target == value:
        return None
    for own, other in zip(leaves(target), leaves(value), strict=False):
        for extents in zip(own.shape, other.shape, strict=False):
            for symbol, extent in (extents, extents[::-1]):
                if symbol.is_Symbol and symbol not in extent.free_symbols:
                    return {symbol: extent}
    return {}


def _resized(network: N, sizes: dict[sympy.Symbol, Size]) -> N:
    """The network with a size replaced everywhere."""
    if isinstance(network, Network):
        made: Layer = with_sizes(network, sizes)
    else:
        made = _rebuilt(
            network, lambda place: replace(place, function=resized_layer(place.function, sizes))
        )
    return cast(N, made)


def _replaced(network: N, target: Variable, value: Node, sources: Sequence[Variable]) -> N:
    """The network whose layers read the value where they read the parameter."""
    roles = {a.variable: a for a in network.arguments}
    put_in = [roles[x] for x in sources]
    if isinstance(network, Network):
        paths = dict(zip(network.theta, network.paths, strict=True))
        stages = tuple(_stage_of(stage, target, value, put_in, paths) for stage in network.stages)
        made: Layer = composed(network.name, stages, network.loss)
    else:
        made = _rebuilt(
            network,
            lambda place: replace(place, function=_of(place.function, target, value, put_in)),
        )
    return cast(N, made)


def _rebuilt(network: Composed, change: Callable[[CellInstance], CellInstance]) -> Recurrent:
    """A recurrent network of changed cells and predictions."""
    assert isinstance(network, Recurrent)
    levels = tuple(
        Level(tuple(map(change, level.cells)), change(level.prediction)) for level in network.levels
    )
    return of_levels(network.name, levels, network.loss and change(network.loss), network.learned)


def _stage_of(
    stage: Stage,
    target: Variable,
    value: Node,
    sources: Sequence[Argument],
    paths: Mapping[Variable, Path],
) -> Stage:
    made = _of(stage.function, target, value, sources)
    own = {**paths, **dict(zip(stage.function.theta, stage.paths, strict=True))}
    return Stage(stage.name, made, tuple(own[x] for x in made.theta))


def _of(f: Layer, target: Variable, value: Node, sources: Sequence[Argument]) -> Layer:
    """f(x; tau(W), ..) as a layer of W; f itself where it has no such parameter."""
    if target not in f.parameters:
        return f
    moved = (sources if a.variable is target else [a] for a in f.arguments)
    arguments = dict.fromkeys(argument for group in moved for argument in group)
    return f.with_values({target: value}, arguments)


def parted(network: Recurrent) -> tuple[Recurrent, dict[str, str]]:
    """The network with a parameter for every use of a shared one, and what each of these is.

    >>> from derive import recurrent, transpose
    >>> from derive.library.rnn import readout, vanilla_rnn
    >>> rnn = recurrent("rnn", vanilla_rnn, prediction=readout)
    >>> tied = with_shared(rnn, prediction_V=lambda cell_U: transpose(cell_U))
    >>> parted(tied)[1]
    {'prediction_cell_U': 'cell_U'}
    """
    uses: dict[str, str] = {}

    def change(place: CellInstance) -> CellInstance:
        own = place.prefix
        shared = (x.name for x in place.theta if network.owner(x) is not place)
        new = {name: f"{own}{name}" for name in shared}
        uses.update({renamed: name for name, renamed in new.items()})
        return replace(place, function=resized_layer(place.function, {}, renamed=new))

    made = _rebuilt(network, lambda place: place if place is network.loss else change(place))
    return (made if uses else network), uses
