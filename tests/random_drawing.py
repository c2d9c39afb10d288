"""A random layer drawn from a seed: constructors applied to what there is, or to new arguments."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import random_scalars
import sympy
from random_drafts import SIZES, Argument, Draft, Statement, space_of
from random_operands import TAKES, TWO
from random_rules import COEFFICIENTS, GROUPS, Rule, Shape

from derive import dims


class Drawing:
    """The terms that there are so far; a rule takes some of them and makes one more."""

    def __init__(self, rng: np.random.Generator, name: str, without: frozenset[str]) -> None:
        self.rng, self.name, self.without = rng, name, without
        self.with_states = rng.random() < 0.85
        self.arguments: list[Argument] = []
        self.statements: list[Statement] = []

    def one(self, options: Iterable):
        """One of them, each as likely."""
        options = list(options)
        return options[self.rng.integers(len(options))]

    def argument(
        self, shape: Shape, annotation: str = "", role: str = "", is_term: bool = True
    ) -> str:
        """A new argument; mostly a state where its space is a plain one."""
        roles = ["state", "parameter"] if self.with_states else ["parameter"]
        role = role or self.one(roles)
        plain = space_of(shape)
        if not annotation and self.rng.random() < 0.1:
            data = self.one(["given", "Mask"]) if role == "state" else "fixed"
            annotation = f"{data}({plain})"
        name = f"{'x' if role == 'state' else 'w'}{len(self.arguments)}"
        self.arguments.append(Argument(name, annotation or plain, role, shape, is_term))
        return name

    def terms(self, fits: Callable[[Shape], bool], positive: bool = False) -> list[str]:
        """The names of what fits, what came last more often."""
        found = [a.name for a in self.arguments if a.is_term and not positive and fits(a.shape)]
        made = [s for s in self.statements if fits(s.shape) and (s.positive or not positive)]
        return [*found, *(name for k, s in enumerate(made) for name in [s.name] * (k + 1) ** 2)]

    def term(self, fits: Callable[[Shape], bool], fresh: Callable[[], Shape]) -> str:
        """One of the terms that fit, or a new argument."""
        found = self.terms(fits)
        if found and self.rng.random() < 0.85:
            return self.one(found)
        return self.argument(fresh())

    def of_shape(self, shape: Shape) -> str:
        return self.term(lambda other: other == shape, lambda: shape)

    def shape_of(self, name: str) -> Shape:
        return next(x.shape for x in (*self.arguments, *self.statements) if x.name == name)

    def size(self) -> sympy.Expr:
        return self.one([*SIZES, TWO])

    def draft(self, length: int) -> Draft:
        """That many statements or a few less, one or two outputs, a number one time of three."""
        for _ in range(4 * length):
            if len(self.statements) < length:
                self.state_one()
        if self.rng.random() < 0.3 and self.shape_of(self.statements[-1].name):
            self.apply(self.one(rule for rule in GROUPS[5][4:8]), self.statements[-1].name)
        outputs = [self.statements[-1].name]
        if self.rng.random() < 0.2:
            outputs.append(self.one(self.statements).name)
        return Draft(self.name, tuple(self.arguments), tuple(self.statements), tuple(outputs))

    def state_one(self) -> None:
        """One more statement, where a rule that is drawn finds its operands."""
        if "branches" not in self.without and self.rng.random() < 0.08:
            self.apply_function(branches=True)
        elif self.rng.random() < 0.04:
            self.apply_function(branches=False)
        else:
            rules = [rule for rule in self.one(GROUPS) if rule.kind not in self.without]
            if rules:
                self.apply(self.one(rules))

    def apply_function(self, branches: bool) -> None:
        """An elementwise function of one argument or of two, declared for this layer alone."""
        names = ("s", "t") if self.rng.random() < 0.3 else ("t",)
        formula = random_scalars.drawn(self.rng, names, 3, branches)
        first = self.term(lambda shape: True, lambda: (self.size(),))
        operands = (first, *(self.of_shape(self.shape_of(first)) for _ in names[1:]))
        function = f"{self.name}_f{len(self.statements)}"
        places = [f"{{{k}}}" for k in range(len(names))]
        text = f"{function}({', '.join(places)})"
        kind = "branches" if branches else "entrywise"
        self.add(text, text, operands, self.shape_of(first), kind,
                 functions=((function, names, formula),))  # fmt: skip

    def apply(self, rule: Rule, first: str | None = None) -> None:
        """A statement of a rule; nothing where an operand is not to be had."""
        operands: list[str] = []
        shapes: list[Shape] = []
        for wanted in rule.takes:
            name = first if first and not operands else TAKES[wanted](self, shapes)
            if name is None:
                return
            operands.append(name)
            shapes.append(SIZED if name == "" else self.shape_of(name))
        if rule.layerwise == "{0} - {1}" and operands[0] == operands[1] and "zero" in self.without:
            return
        kind, *number = self.one(c for c in COEFFICIENTS if c[0] not in self.without)
        shape = rule.shape(*shapes)
        if len(shape) > 4 or any(extent.subs(SIZES) < 1 for extent in shape):
            return
        kind = kind if "{c}" in rule.layerwise else rule.kind
        filled = [
            text.format(*_places(operands), c=f"({value})", **_extents(shapes))
            for text, value in zip((rule.layerwise, rule.torch), number, strict=True)
        ]
        self.add(*filled, tuple(x for x in operands if x), shape, kind, rule.positive)

    def add(self, layerwise, torch, operands, shape, kind, positive=False, functions=()) -> None:
        name = f"t{len(self.statements) + 1}"
        self.statements.append(
            Statement(name, layerwise, torch, operands, shape, kind, positive, functions)
        )


SIZED = (dims("n"), dims("m"))
"""The shape behind an operand that only says sizes."""


def _places(operands: list[str]) -> Iterator[str]:
    """{0}, {1} for the operands, numbered anew without those that only say sizes."""
    count = 0
    for name in operands:
        yield f"{{{count}}}" if name else ""
        count += bool(name)


def _extents(shapes: list[Shape]) -> dict[str, str]:
    """{a0}, {b1}: the extents of the operands, and {n}, {m}."""
    named = {f"{'abc'[k]}{axis}": f"({extent})" if extent.is_Add else str(extent)
             for k, shape in enumerate(shapes) for axis, extent in enumerate(shape)}  # fmt: skip
    return {**named, "n": "n", "m": "m"}


def drawn(seed: int, number: int, without: frozenset[str] = frozenset()) -> Draft:
    """The layer of that number in the run of a seed: 2 to 8 statements, trimmed."""
    rng = np.random.default_rng((seed, number))
    drawing = Drawing(rng, f"random_{seed}_{number}", without)
    return drawing.draft(int(rng.integers(2, 9))).trimmed()
