"""What is derived of a recurrent network: its layers as problems, its steps, the point."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import count, product

import numpy as np
import sympy

from ...calculus.maps import variables_of
from ...evidence.checks.drawing import Point, draw, gram_values, unequal_sizes
from ...language.expressions import Node, Variable, variable
from ...language.names import unused
from ...language.reference import Value
from ...language.roles import MASK, THETA
from ...language.spaces import R, leaves
from ...language.walk import topological
from ...models.levels import BACKWARD, FORWARD, CellInstance, Level, Recurrent
from ...models.sharing import parted
from ..layers.claims import Difference, Equation
from ..layers.labels import Labels
from ..layers.problem import SEED, Problem
from ..layers.steps import Steps
from ..typesetting.letters import Letters, below, symbol
from .looks import Times, free_letter, loss_of, short_name, shortened
from .parts import Part
from .unrolled import ONE, Backward, Floor, Unrolled, every_cell

TRANSITIONS, PREDICTIONS = (("f", "f"), ("phi", r"\phi")), (("g", "g"), ("gamma", r"\gamma"))
ARROWS = {FORWARD: r"\rightarrow", BACKWARD: r"\leftarrow"}
MARKS = ("", "_dot", "_bar")
WEIGHTS = ("omega", "kappa", "varpi")


@dataclass(eq=False)
class NetworkProblem:
    """A recurrent network in short names.

    uses        the parameter of each further use of a shared one, by the name of the use
    i, length   the letters of a time and of the number of times
    words       the names that the network uses
    """

    network: Recurrent

    def __post_init__(self) -> None:
        self.network, uses = parted(self.network)
        self.levels, self.new_sizes = shortened(self.network)
        short = dict(zip(_theta(self.network.levels), _theta(self.levels), strict=True))
        self.uses = {short[use]: short[name] for use, name in uses.items()}
        words = {w for level in self.levels for p in level.places for w in p.function.words}
        words |= {a.name for a in self.network.targets}
        names = (_free(pool, words) for pool in (TRANSITIONS, PREDICTIONS))
        f, g = names
        self.floors = [
            Floor(
                tuple(self._part(cell, f, True) for cell in level.cells),
                self._part(level.prediction, g, False),
            )
            for level in self.levels
        ]
        loss = loss_of(self.network, self.new_sizes, words)
        made = (
            None
            if loss is None
            else Problem(
                loss, first=[loss.arguments[0].name], cotangent=ONE, result=unused("J", loss.words)
            )
        )
        self.loss = None if made is None else Part(CellInstance("loss", made.layer), made, r"\ell")
        self.words = words
        self.weight = variable(free_letter(WEIGHTS, words), R())
        self.i = free_letter(("i", "t", "s", "j"), words)
        self.length = free_letter(("L", "T", "N"), words)

    def _part(self, place: CellInstance, f: str, is_cell: bool) -> Part:
        script = self.script(place)
        wanted = f"{place.state.name}_next" if is_cell else "y_hat"
        result = unused(wanted, place.function.words)
        look = below(f, script) if script else f
        return Part(place, Problem(place.function, result=result), look, is_cell)

    # --- letters

    def script(self, place: CellInstance) -> str:
        """The mark of a layer among others of its kind: the level's number, an arrow for time."""
        number = self._level(place)
        level = self.levels[number - 1]
        several = len(self.levels) > 1
        arrow = ARROWS[place.direction] if len(level.cells) > 1 else ""
        shown = [str(number) if several else "", arrow if place in level.cells else ""]
        return ",".join(x for x in shown if x)

    def _level(self, place: CellInstance) -> int:
        """The number of a layer's level, from 1 on."""
        return next(k for k, level in enumerate(self.levels, 1) if place in level.places)

    @cached_property
    def letters(self) -> Letters:
        """The symbols of the names: the targets, then layer by layer."""
        looks = {a.name: symbol(a.name) for a in self.network.targets}
        for part in self.parts:
            for name, mark in product(part.names(), MARKS):
                look = self._look(part, name, mark)
                if look not in looks.values():
                    looks.setdefault(f"{name}{mark}", look)
        return Letters(looks)

    def _look(self, part: Part, name: str, mark: str) -> str:
        """What a name of a part looks like, with a mark."""
        place, short = part.place, short_name(part.place, name)
        look = symbol(f"{short}{mark}")
        if name not in place.function.words and name not in self._leaves(part):
            return look  # a line without a name of the user's: `times` distinguishes them
        script = self._script_of(part, name)
        if not script and short != name:
            script = self.script(place) or part.f
        return below(look, script) if script else look

    def _leaves(self, part: Part) -> set[str]:
        return {x.name for a in part.place.function.arguments for x in part.leaves(a.name)}

    def _script_of(self, part: Part, name: str) -> str:
        """The subscript of a name that other layers may use too; that of an input is its level."""
        inputs = {x.name for x in part.inputs}
        inputs |= {a.name for a in part.place.function.arguments[1:] if a.role not in THETA}
        sizes = map(str, part.place.function.sizes)
        if part is self.loss or name in sizes:
            return ""
        if part.is_cell and name in inputs:
            number = self._level(part.place)
            return str(number) if number > 1 else ""
        return self.script(part.place)

    @cached_property
    def times(self) -> Times:
        """Variables at times."""
        scripts = {p.label: p.f if p is self.loss else self.script(p.place) for p in self.parts}
        several = any(scripts[cell.label] for _, _, cell in self.cells)
        own = {k: script or self.floors[-1].prediction.f for k, script in scripts.items()}
        scripted = {
            f"{name}{mark}"
            for part in self.parts
            for name, mark in product(part.names(), MARKS)
            if name in part.place.function.words | self._leaves(part)
        }
        made = Times(self.letters, own, scripted if several else (), several)
        for a in self.network.targets:
            made(a.variable, self.i)
        return made

    def labels(self, part: Part) -> Labels:
        """The labels of a part's maps."""
        return Labels(part.place.function, part.f, self.letters)

    def steps(self, part: Part) -> Steps:
        """The four steps of a part."""
        return Steps(part.problem, self.labels(part))

    # --- parts

    @property
    def parts(self) -> tuple[Part, ...]:
        """The cells and predictions level by level, then the loss."""
        own = [p for floor in self.floors for p in (*floor.cells, floor.prediction)]
        return (*own, *(() if self.loss is None else (self.loss,)))

    @property
    def cells(self) -> Iterator[tuple[Floor | None, Floor, Part]]:
        """Each cell, with the floor below it and its own floor."""
        return every_cell(self.floors)

    def before(self, cell: Part) -> str:
        """The time from which the step to time i starts."""
        return f"{self.i}-1" if cell.place.direction == FORWARD else f"{self.i}+1"

    def first(self, cell: Part) -> str:
        """The time of the initial state."""
        return "0" if cell.place.direction == FORWARD else f"{self.length}+1"

    # --- the steps

    @cached_property
    def sequence(self) -> Unrolled:
        """A few steps as expressions."""
        return Unrolled(self.floors, self.loss, self.weight)

    @cached_property
    def backward(self) -> Backward:
        """The recursion of BPTT over these steps."""
        return Backward(self.sequence)

    @cached_property
    def gradients(self) -> dict[Variable, Node]:
        """The gradient of J by all parameters and initial states, by the calculus as a whole."""
        s = self.sequence
        xs = [*dict.fromkeys(x for part in self.parts for x in part.parameters)]
        xs += [s.copy(x, s.first(cell)) for _, _, cell in self.cells for x in cell.states]
        return s.gradients(xs)

    # --- the point

    @cached_property
    def sizes(self) -> dict[sympy.Symbol, int]:
        """Unequal sizes."""
        chosen = unequal_sizes(self.network)
        return {new: chosen[old] for old, new in self.new_sizes.items() if old in chosen}

    def point(self, equations: Iterable[Equation]) -> Point:
        """Values of all variables of some equations, drawn with one seed."""
        random = np.random.default_rng(SEED)
        nodes = [side.meaning for e in equations for side in (e.left, e.right)]
        plain = [m.node if isinstance(m, Difference) else m for m in nodes]
        sizes = self._with_all(plain)
        values: dict[Variable, Value] = {}
        for part in self.parts:
            values.update(gram_values(random, part.place.function, sizes))
        for x in variables_of(*plain):
            if x not in values:
                values[x] = self._drawn(random, x, sizes)
        return Point(sizes, values)

    def _with_all(self, nodes: Iterable[Node]) -> dict[sympy.Symbol, int]:
        """The sizes, with a new one for every size that the network itself does not have."""
        sizes, numbers = dict(self.sizes), count(max(self.sizes.values(), default=2) + 1)
        for node in topological(*nodes):
            for leaf in leaves(node.space):
                for extent in leaf.shape:
                    for size in sorted(extent.free_symbols, key=str):
                        if size not in sizes:
                            sizes[size] = next(numbers)
        return sizes

    def _drawn(
        self, random: np.random.Generator, x: Variable, sizes: dict[sympy.Symbol, int]
    ) -> Value:
        value = draw(random, x.space, sizes)
        return (np.asarray(value) > 0).astype(np.float64) if x in self.masks else value

    @cached_property
    def masks(self) -> set[Variable]:
        """The masks and their copies in the steps."""
        own = {a.variable for p in self.parts for a in p.place.function.arguments if a.role == MASK}
        return own | {made for (x, _), made in self.sequence.copies.items() if x in own}


def _theta(levels: Iterable[Level]) -> list[str]:
    """The names of theta, layer by layer."""
    return [x.name for level in levels for place in level.places for x in place.theta]


def _free(pool: Iterable[tuple[str, str]], words: Iterable[str]) -> str:
    """The look of the first function whose name is free."""
    looks = dict(pool)
    return looks[free_letter(looks, words)]
