"""How the names of a recurrent network look: short if unambiguous, and with a time as subscript.

A layer of the network calls its parameters {label}_{name}; a document prints the bare names, with
the number of the level and an arrow for the direction of time as subscripts if there are several.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import sympy

from ...calculus.maps import free_name
from ...language.expressions import Variable, variable
from ...language.sizes import dims
from ...models.layers import Layer
from ...models.levels import CellInstance, Level, Recurrent
from ...models.resize import resized_layer
from ..typesetting.letters import Letters, below


def words_of(place: CellInstance) -> Iterator[str]:
    """The names of arguments, sizes and locals."""
    yield from sorted(place.function.words)


def short_name(place: CellInstance, name: str) -> str:
    """The name without the label of its layer."""
    short = name
    for word in place.label.split("."):
        short = short.removeprefix(f"{word}_")
    return short if short.isidentifier() else name


def shortened(network: Recurrent) -> tuple[tuple[Level, ...], dict[sympy.Symbol, sympy.Symbol]]:
    """The levels under short names, and the new sizes by the old ones."""
    own = [_with_names_of_cells(level) for level in network.levels]
    cells = [cell for level in own for cell in level.cells]
    places = [*cells, *(level.prediction for level in own)]
    names: dict[str, str] = {}
    taken = {a.name for a in network.targets}
    for place in places:
        for name in (word for word in words_of(place) if word not in names):
            short = short_name(place, name)
            names[name] = short if short not in taken else name
            taken.add(names[name])
    levels = tuple(
        Level(
            tuple(_renamed(cell, names) for cell in level.cells), _renamed(level.prediction, names)
        )
        for level in own
    )
    every = (s for place in places for s in place.function.sizes)
    return levels, {s: dims(names.get(str(s), str(s))) for s in every}


def _with_names_of_cells(level: Level) -> Level:
    """The level, whose prediction names the components of a state as the cell does."""
    names = {node: name for cell in level.cells for node, name in cell.function.names.items()}
    g = level.prediction.function
    same = {node: names.get(node, name) for node, name in g.names.items()}
    return Level(level.cells, replace(level.prediction, function=replace(g, names=same)))


def _renamed(place: CellInstance, names: Mapping[str, str]) -> CellInstance:
    f = place.function
    sizes = {s: dims(names.get(str(s), str(s))) for s in f.sizes}
    made = resized_layer(f, sizes, renamed=names)
    local = {node: names.get(name, name) for node, name in made.names.items()}
    return CellInstance(place.label, replace(made, names=local), place.direction)


def loss_of(
    network: Recurrent, sizes: Mapping[sympy.Symbol, sympy.Symbol], words: Container[str]
) -> Layer | None:
    """The loss in the new sizes; its locals lose the prefix, the prediction becomes y_hat."""
    if network.loss is None:
        return None
    f = network.loss.function
    first = f.arguments[0].name
    renamed = {first: "y_hat"} if "y_hat" not in f.words else {}
    made = resized_layer(f, {s: sizes.get(s, s) for s in f.sizes}, renamed=renamed)
    local = {node: _without(f"{f.name}_", name, words) for node, name in made.names.items()}
    return replace(made, names=local)


def _without(prefix: str, name: str, words: Container[str]) -> str:
    short = name.removeprefix(prefix)
    return short if short.isidentifier() and short not in words else name


@dataclass(eq=False)
class Times:
    """Variables at times, as printed: z of a layer at time i is z_{i}.

    `scripts` tells places apart where they call something alike, or always, but for names that are
    `scripted`; `symbols` has the look of every name that was made, `times` its time.
    """

    letters: Letters
    scripts: Mapping[str, str]
    scripted: Container[str] = ()
    always: bool = False
    symbols: dict[str, str] = field(default_factory=dict)
    times: dict[str, str] = field(default_factory=dict)
    _owners: dict[str, str] = field(default_factory=dict)
    _made: dict[tuple[Variable, str, str], Variable] = field(default_factory=dict)

    def __call__(self, x: Variable, time: str, place: str = "") -> Variable:
        """The variable of that layer at a time."""
        if (x, time, place) not in self._made:
            look, script = self.letters(x.name), self.scripts.get(place, "")
            other = self._owners.setdefault(look, place) != place
            if script and x.name not in self.scripted and (self.always or other):
                look = below(look, script)
            self._made[x, time, place] = self.named(x, below(look, time))
            self.times[self._made[x, time, place].name] = time
        return self._made[x, time, place]

    def named(self, x: Variable, look: str) -> Variable:
        """A variable of the same space that looks so."""
        name = free_name(f"{x.name}_shown", (), self.symbols)
        self.symbols[name] = look
        return variable(name, x.space)


def free_letter(letters: Iterable[str], taken: Iterable[str]) -> str:
    """The first letter that is not taken."""
    used = set(taken)
    return next(letter for letter in letters if letter not in used)
