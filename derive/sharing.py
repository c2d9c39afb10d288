"""Weight sharing: parameters that are linear images of others (thesis section 4.3.1).

A parameter of one layer is tau of the parameters of other layers, in any network:

    with_shared(network, decoder_W=lambda encoder_W: transpose(encoder_W))

The layer is then f(x; tau(W), ..) as a layer of W (thesis (4.35)), so that tau* and the sum over
all uses of W are results of the calculus (lemmas 4.3.2 to 4.3.4, theorem 4.3.5).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import replace

import sympy

from .calculus import NotLinear, transpose
from .expressions import Node, Variable, variable
from .layers import Layer, formula_of
from .networks import Network, composed, with_sizes
from .roles import Argument
from .spaces import Size, Space, SpaceError, leaves
from .stages import Path, Stage
from .walk import rewrite

Tau = Callable[..., Node]


def with_shared(network: Network, /, **shared: Tau) -> Network:
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
    if not isinstance(network, Network):
        raise SpaceError(f"with_shared: expected a network(..), got {type(network).__name__}")
    for name, tau in shared.items():
        network = _shared(network, name, tau)
    return network


def _shared(network: Network, name: str, tau: Tau) -> Network:
    """The network with one parameter given by tau; sizes are made one by one the same."""
    where = f"network {network.name}: {name} = tau(..)"
    names = _sources(where, network, name, tau)
    for _ in range(len(network.sizes) + 1):
        target, *sources = (_parameter(network, key) for key in (name, *names))
        value = formula_of(where, tau, (), {x.name: x for x in sources})
        _check_linear(where, value, sources)
        sizes = _equal(target.space, value.space)
        if sizes is None:
            return _replaced(network, target, value, sources)
        if not sizes:
            break
        network = _resized(network, sizes)
    raise SpaceError(
        f"{where}: tau must return an expression of {target.space}, the space of {name}, got "
        f"{value.space}"
    )


def _sources(where: str, network: Network, name: str, tau: Tau) -> list[str]:
    """The names of the parameters that tau takes."""
    known = [p.name for p in network.parameters]
    if name not in known:
        raise SpaceError(f"network {network.name} has no parameter {name}; it has {known}")
    if not callable(tau):
        raise SpaceError(f"{where}: tau must be a function of parameters, got {tau!r}")
    names = list(inspect.signature(tau).parameters)
    if not names or name in names or not set(names) <= set(known):
        raise SpaceError(
            f"{where}: tau takes {names or 'nothing'}; its arguments must be called like other "
            f"parameters that are not shared themselves, some of {[k for k in known if k != name]}"
        )
    return names


def _parameter(network: Network, name: str) -> Variable:
    return next(p for p in network.parameters if p.name == name)


def _check_linear(where: str, value: Node, sources: Sequence[Variable]) -> None:
    try:
        transpose(value, variable("u", value.space), sources)
    except NotLinear as error:
        raise SpaceError(f"{where}: tau must be linear in {sources}: {error}") from error


def _equal(target: Space, value: Space) -> dict[sympy.Symbol, Size] | None:
    """A size to replace so that the spaces become one; none where nothing helps, None if equal."""
    if target == value:
        return None
    for own, other in zip(leaves(target), leaves(value), strict=False):
        for extents in zip(own.shape, other.shape, strict=False):
            for symbol, extent in (extents, extents[::-1]):
                if symbol.is_Symbol and symbol not in extent.free_symbols:
                    return {symbol: extent}
    return {}


def _resized(network: Network, sizes: dict[sympy.Symbol, Size]) -> Network:
    made = with_sizes(network, sizes)
    assert isinstance(made, Network)
    return made


def _replaced(
    network: Network, target: Variable, value: Node, sources: Sequence[Variable]
) -> Network:
    """The network whose stages read the value where they read the parameter."""
    paths = dict(zip((x.name for x in network.theta), network.paths, strict=True))
    stages = tuple(
        _stage_of(stage, target, value, [(x, paths[x.name]) for x in sources])
        if target in stage.function.parameters
        else stage
        for stage in network.stages
    )
    return composed(network.name, stages, network.loss)


def _stage_of(
    stage: Stage, target: Variable, value: Node, sources: Sequence[tuple[Variable, Path]]
) -> Stage:
    """f(x; tau(W), ..) as a layer of W."""
    f = stage.function
    put_in: dict[Node, Node] = {target: value}
    new = rewrite([f.output], put_in.get)
    arguments: dict[Variable, Argument] = {}
    paths: dict[Variable, Path] = {}
    own = dict(zip(f.theta, stage.paths, strict=True))
    for argument in f.arguments:
        x = argument.variable
        for v, path in sources if x is target else [(x, own.get(x))]:
            arguments.setdefault(v, replace(argument, variable=v))
            if path is not None:
                paths.setdefault(v, path)
    names = {new[node]: local for node, local in f.names.items() if node in new}
    made = Layer(f.name, tuple(arguments.values()), new[f.output], names, f.doc, called=f.called)
    return Stage(stage.name, made, tuple(paths[x] for x in made.theta))
