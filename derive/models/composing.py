"""Recurrent networks of cells, predictions and a loss: sizes and names are settled here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import sympy

from ..language.expressions import Node, Variable
from ..language.mistakes import called
from ..language.names import checked
from ..language.roles import STATE, THETA, Argument
from ..language.sizes import Size, dims
from ..language.spaces import SpaceError, leaves
from .cells import Cell, inputs_of
from .layers import Layer
from .levels import BACKWARD, FORWARD, CellInstance, Level, Recurrent, shown_as
from .resize import bound_sizes, resized_layer


@called
def recurrent(
    name: str,
    /,
    cell: Layer,
    *,
    prediction: Layer | None = None,
    loss: Layer | None = None,
    initial: str = "fixed",
) -> Recurrent:
    """A recurrent network of one cell (thesis section 5.1): f, g and the loss of a step.

    Without a prediction g is the identity.  `initial` is "fixed" (the initial state is given) or
    "learned" (its gradient is wanted).  Raises SpaceError, naming both spaces, where the prediction
    does not take the state of the cell.

    >>> from derive.library.losses import squared_loss
    >>> from derive.library.rnn import readout, vanilla_rnn
    >>> print(recurrent("rnn", vanilla_rnn, prediction=readout, loss=squared_loss).signature)
    rnn(h, x; cell_W, cell_U, cell_b, prediction_V, prediction_c)
    """
    if initial not in ("fixed", "learned"):
        raise ValueError(
            f"recurrent {name}: expected initial='fixed' or 'learned', got {initial!r}"
        )
    level = _level(name, {"cell": (cell, FORWARD)}, prediction)
    made = of_levels(name, (level,), None, initial == "learned")
    return made if loss is None else made.with_loss(loss)


@called
def bidirectional(
    name: str,
    /,
    *,
    forward: Layer,
    backward: Layer,
    prediction: Layer,
    loss: Layer | None = None,
) -> Recurrent:
    """Two cells, one in each direction of time, and a prediction g(h, k; zeta) of both states.

    Source: thesis section 5.3.2.  Its gradient is that of BPTT; RTRL would need the future.
    Raises SpaceError where the prediction does not take the two states or the inputs differ.
    """
    cells = {"forward": (forward, FORWARD), "backward": (backward, BACKWARD)}
    made = of_levels(name, (_level(name, cells, prediction),), None, False)
    return made if loss is None else made.with_loss(loss)


@called
def deep(name: str, /, *, loss: Layer | None = None, **networks: Recurrent) -> Recurrent:
    """Recurrent networks one above the other: each takes the predictions of the one below.

    Source: thesis section 5.3.3; a chain of bidirectional networks of LSTM cells is the deep
    bidirectional LSTM.  The first one keeps its names; others, and all parameters, have the label
    in front.  Raises SpaceError where a network does not take the predictions of the one below, or
    has a loss of its own.
    """
    if not networks:
        raise SpaceError(f"deep {name}: expected at least one network, as in lower=a, upper=b")
    levels: list[Level] = []
    for label, part in networks.items():
        checked(label, f"deep {name}: network")
        if not isinstance(part, Recurrent) or part.loss is not None:
            raise SpaceError(
                f"deep {name}: {label} must be a recurrent network without a loss, got "
                f"{shown_as(part)}; give the loss to the whole, deep(.., loss=l)"
            )
        if part.learned:
            raise SpaceError(
                f"deep {name}: {label} has a learned initial state, which a network of several "
                "levels cannot have; declare it with initial='fixed' and give the states to each "
                "call"
            )
        for level in part.levels:
            levels.append(_raised(name, label, level, levels))
    made = of_levels(name, tuple(levels), None, False)
    return made if loss is None else made.with_loss(loss)


# --- one level, and levels one above the other


def _level(where: str, cells: Mapping[str, tuple[Layer, str]], prediction: Layer | None) -> Level:
    """Cells and a prediction in common sizes."""
    placed: list[CellInstance] = []
    for label, (cell, direction) in cells.items():
        if not isinstance(cell, Cell):
            raise SpaceError(
                f"recurrent {where}: {label} must be a cell, declared with @cell or made by "
                f"stack(..), got {shown_as(cell)}"
            )
        if not inputs_of(cell):
            raise SpaceError(
                f"recurrent {where}: {label}, {cell.signature}, has no input; declare one behind "
                "the state, x: R() where there is none"
            )
        placed.append(_cell(where, label, cell, direction, placed))
    states = [cell.function.arguments[0] for cell in placed]
    if prediction is None:
        g = Layer("prediction", (states[0],), states[0].variable)
        return Level(tuple(placed), CellInstance("prediction", g))
    return Level(tuple(placed), _prediction(where, prediction, placed))


def _cell(
    where: str, label: str, cell: Cell, direction: str, beside: Sequence[CellInstance]
) -> CellInstance:
    sizes: dict[sympy.Symbol, Size] = {s: s for s in cell.sizes}
    names = {x.name: f"{label}_{x.name}" for x in cell.theta}
    if beside:
        inputs, others = inputs_of(cell), inputs_of(beside[0].function)
        sizes = {s: dims(f"{label}_{s}") for s in cell.sizes}
        for own, other in zip(inputs, others, strict=False):
            sizes |= bound_sizes(own.variable.space, other.variable.space)
            names[own.name] = other.name
        names[cell.arguments[0].name] = f"{label}_{cell.arguments[0].name}"
        if len(inputs) != len(others):
            raise SpaceError(
                f"recurrent {where}: the cells must have the same inputs, got {_listed(others)} "
                f"and {_listed(inputs)}; use cells of the same inputs"
            )
    made = resized_layer(cell, sizes, name=label, renamed=names, prefix=f"{label}_")
    if beside:
        _check_same(where, inputs_of(made), inputs_of(beside[0].function))
    return CellInstance(label, made, direction)


def _check_same(where: str, inputs: Sequence[Argument], others: Sequence[Argument]) -> None:
    for own, other in zip(inputs, others, strict=True):
        if own.variable.space != other.variable.space:
            raise SpaceError(
                f"recurrent {where}: the cells of a level have one input, but {own.name} is of "
                f"{own.variable.space} in one and of {other.variable.space} in the other; use "
                "cells that take one space"
            )


def _prediction(where: str, g: Layer, cells: Sequence[CellInstance]) -> CellInstance:
    """The prediction with its states bound to those of the cells."""
    if not isinstance(g, Layer):
        raise SpaceError(f"recurrent {where}: the prediction must be a layer, got {shown_as(g)}")
    states = [a for a in g.arguments if a.role not in THETA]
    if len(states) != len(cells) or any(a.role != STATE for a in states):
        raise SpaceError(
            f"recurrent {where}: the prediction {g.signature} must take the state of every cell, "
            f"{', '.join(str(c.state.space) for c in cells)}, and nothing else left of the *"
        )
    sizes: dict[sympy.Symbol, Size] = {s: dims(f"prediction_{s}") for s in g.sizes}
    names = {x.name: f"prediction_{x.name}" for x in g.theta}
    for own, cell in zip(states, cells, strict=True):
        sizes |= bound_sizes(own.variable.space, cell.state.space)
        names[own.name] = cell.state.name
    made = resized_layer(g, sizes, name="prediction", renamed=names, prefix="prediction_")
    for x, cell in zip(made.state, cells, strict=True):
        if x.space != cell.state.space:
            raise SpaceError(
                f"recurrent {where}: the prediction takes {x.space}, but the state of "
                f"{cell.label} is of {cell.state.space}; use a prediction of that space"
            )
    return CellInstance("prediction", made)


def _raised(where: str, label: str, level: Level, below: Sequence[Level]) -> Level:
    """A level on top of others: its input bound to their predictions, all under its label."""
    given = below[-1].prediction.function.output.space if below else None
    inputs = inputs_of(level.cells[0].function)
    bound: dict[sympy.Symbol, Size] = {}
    if given is not None:
        if len(inputs) != 1:
            raise SpaceError(
                f"deep {where}: {label} must have one input, the predictions below, got "
                f"{_listed(inputs)}; use cells of one input"
            )
        bound = bound_sizes(inputs[0].variable.space, given)
    places = [
        _under(label, place, bound, kept=inputs if not below else ()) for place in level.places
    ]
    if given is not None and inputs_of(places[0].function)[0].variable.space != given:
        raise SpaceError(
            f"deep {where}: {label} takes {inputs_of(places[0].function)[0].variable.space}, but "
            f"the network below predicts {given}; use networks that fit"
        )
    return Level(tuple(places[:-1]), places[-1])


def _under(
    label: str, place: CellInstance, bound: Mapping[sympy.Symbol, Size], kept: Sequence[Argument]
) -> CellInstance:
    f = place.function
    first = {
        s
        for a in kept
        for leaf in leaves(a.variable.space)
        for e in leaf.shape
        for s in e.free_symbols
    }
    sizes = {s: bound.get(s, s if s in first else dims(f"{label}_{s}")) for s in f.sizes}
    names = {a.name: f"{label}_{a.name}" for a in f.arguments if a not in kept}
    made = resized_layer(f, sizes, name=f"{label}_{f.name}", renamed=names, prefix=f"{label}_")
    return CellInstance(f"{label}.{place.label}", made, place.direction)


def of_levels(
    name: str, levels: tuple[Level, ...], loss: CellInstance | None, learned: bool
) -> Recurrent:
    """The recurrent network of these levels; as a layer it is one step.

    A parameter that several cells or predictions share is one argument.
    """
    states: list[Argument] = []
    theta: list[Argument] = []
    names: dict[Node, str] = {}
    below: Node | None = None
    for level in levels:
        new: dict[Node, Node] = {}
        for cell in level.cells:
            states.append(cell.function.arguments[0])
            new[cell.state] = _call(cell, {} if below is None else {_input(cell): below})
        below = _call(level.prediction, new)
        theta += [a for p in level.places for a in p.function.arguments if a.role in THETA]
    assert below is not None
    first = inputs_of(levels[0].cells[0].function)
    arguments = (*states, *first, *dict.fromkeys(theta))
    doc = f"{name}: {', '.join(c.label for level in levels for c in level.places)}"
    return Recurrent(name, arguments, below, names, doc, levels=levels, loss=loss, learned=learned)


def _input(cell: CellInstance) -> Variable:
    return inputs_of(cell.function)[0].variable


def _call(place: CellInstance, values: Mapping[Node, Node]) -> Node:
    """The layer on expressions for some of its arguments."""
    arguments = {a.name: values.get(a.variable, a.variable) for a in place.function.arguments}
    return place.function(**arguments)


def _listed(arguments: Sequence[Argument]) -> str:
    return ", ".join(a.name for a in arguments) or "none"
