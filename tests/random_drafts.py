"""A random layer as a list of statements: drawn from a seed, printed as the user would write it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import random_scalars
import sympy
from random_rules import COEFFICIENTS, GROUPS, Rule, Shape

from derive import dims

SIZES = {dims("n"): 3, dims("m"): 4, dims("k"): 2}
NUMBER = {str(size): count for size, count in SIZES.items()}
TWO = sympy.Integer(2)


@dataclass(frozen=True)
class Argument:
    """An argument of the layer: its annotation, its role, the shape that statements read."""

    name: str
    annotation: str
    role: str  # "state" stands left of the bare *, "parameter" right of it
    shape: Shape
    is_term: bool = True  # something that any constructor may take


@dataclass(frozen=True)
class Statement:
    """`name = text`, in both languages, with {0}, {1}, .. for the operands.

    `functions` are the elementwise functions that it calls: name, arguments, formula in both.
    """

    name: str
    layerwise: str
    torch: str
    operands: tuple[str, ...]
    shape: Shape
    kind: str
    positive: bool = False
    functions: tuple[tuple[str, tuple[str, ...], random_scalars.Scalar], ...] = ()


@dataclass(frozen=True)
class Draft:
    """A layer that is not declared yet."""

    name: str
    arguments: tuple[Argument, ...]
    statements: tuple[Statement, ...]
    outputs: tuple[str, ...]

    @property
    def kinds(self) -> set[str]:
        return {statement.kind for statement in self.statements}

    def shape(self, name: str) -> Shape:
        return next(x.shape for x in (*self.arguments, *self.statements) if x.name == name)

    def trimmed(self) -> Draft:
        """Without the statements and the arguments that no output depends on."""
        read, kept = set(self.outputs), []
        for statement in reversed(self.statements):
            if statement.name in read:
                kept.append(statement)
                read.update(statement.operands)
        arguments = tuple(a for a in self.arguments if a.name in read)
        return Draft(self.name, arguments, tuple(reversed(kept)), self.outputs).differentiable()

    def differentiable(self) -> Draft:
        """With one argument at least that derivatives are taken by."""
        terms = [a for a in self.arguments if a.is_term]
        data = all(a.annotation.startswith(("given", "Mask", "fixed")) for a in terms)
        if not (terms and data):
            return self
        plain = replace(terms[0], annotation=space_of(terms[0].shape))
        arguments = tuple(plain if a is terms[0] else a for a in self.arguments)
        return replace(self, arguments=arguments)


# --- as text


def space_of(shape: Shape) -> str:
    return f"R({', '.join(map(str, shape))})"


def put(text: str, operands: tuple[str, ...]) -> str:
    """The text with the names of the operands in their places; other braces are Python's."""
    for place, name in enumerate(operands):
        text = text.replace(f"{{{place}}}", name)
    return text


def declaration(draft: Draft) -> str:
    """The layer as the user writes it."""
    left = [f"{a.name}: {a.annotation}" for a in draft.arguments if a.role == "state"]
    right = [f"{a.name}: {a.annotation}" for a in draft.arguments if a.role == "parameter"]
    signature = ", ".join([*left, *(["*", *right] if right else [])])
    spaces = " * ".join(space_of(draft.shape(name)) for name in draft.outputs)
    lines = [f"@layer\ndef {draft.name}({signature}) -> {spaces}:"]
    lines += [f"    {s.name} = {put(s.layerwise, s.operands)}" for s in draft.statements]
    return "\n".join([*_functions(draft), *lines, f"    return {', '.join(draft.outputs)}", ""])


def _functions(draft: Draft) -> Iterator[str]:
    for statement in draft.statements:
        for name, arguments, formula in statement.functions:
            body = f"lambda {', '.join(arguments)}: {formula.sympy}"
            yield f'{name} = elementwise_function("{name}", {body})\n\n'


def oracle(draft: Draft) -> str:
    """The same layer in PyTorch: a function of (torch, noisy), its arguments and the sizes."""
    names = ", ".join(a.name for a in draft.arguments)
    lines = [f"def {draft.name}_torch(torch, noisy, {names}, *, {', '.join(NUMBER)}):"]
    for s in draft.statements:
        for name, arguments, formula in s.functions:
            lines.append(f"    def {name}({', '.join(arguments)}):\n        return {formula.torch}")
        lines.append(f"    {s.name} = noisy({put(s.torch, s.operands)})")
    return "\n".join([*lines, f"    return {', '.join(draft.outputs)}", ""])


def source(drafts: Iterable[Draft]) -> str:
    """A file that declares the layers, each with its oracle."""
    parts = [text for draft in drafts for text in (declaration(draft), oracle(draft))]
    return "\n\n".join([HEAD, *parts])


HEAD = """\
import sympy
from random_scalars import larger, smaller
from sympy import floor

from derive import *
from derive.expressions import held

n, m, k = dims("n m k")
i, j, h = indices("i j h")
"""


# --- drawn


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


def _any_positive(drawing: Drawing, shapes: list[Shape]) -> str | None:
    found = drawing.terms(lambda shape: True, positive=True)
    return drawing.one(found) if found else None


def _positive_like(drawing: Drawing, shapes: list[Shape]) -> str | None:
    found = drawing.terms(lambda shape: shape == shapes[0], positive=True)
    return drawing.one(found) if found else None


def _ranked(rank: int) -> Callable[[Drawing, list[Shape]], str]:
    def take(drawing: Drawing, shapes: list[Shape]) -> str:
        return drawing.term(
            lambda shape: len(shape) == rank, lambda: tuple(drawing.size() for _ in range(rank))
        )

    return take


def _cut(drawing: Drawing, shapes: list[Shape]) -> str:
    """An array whose first axis is a number of 2 or more, sometimes declared as a power."""
    rest = drawing.size()
    if drawing.rng.random() < 0.3:
        return drawing.argument((TWO, rest), f"R({rest}) ** 2")
    return drawing.term(
        lambda shape: bool(shape) and shape[0].is_Integer and shape[0] > 1, lambda: (TWO, rest)
    )


def _square(drawing: Drawing, shapes: list[Shape]) -> str:
    size = drawing.size()
    fits = lambda shape: len(shape) == 2 and shape[0] == shape[1]  # noqa: E731
    return drawing.term(fits, lambda: (size, size))


def _index(*shapes: Shape) -> Callable[[Drawing, list[Shape]], str]:
    """Class indices on the first axis, of one of these shapes."""

    def take(drawing: Drawing, found: list[Shape]) -> str:
        shape = drawing.one(shapes)
        text = f"Index({', '.join(map(str, (found[0][0], *shape)))})"
        role, text = ("state", text) if drawing.with_states else ("parameter", f"fixed({text})")
        return drawing.argument(shape, text, role, is_term=False)

    return take


def _hom(drawing: Drawing, shapes: list[Shape]) -> str | None:
    """A linear map from the first operand's space, a parameter."""
    made = tuple(drawing.size() for _ in range(drawing.rng.integers(1, 3)))
    if len(shapes[0]) > 2:
        return None
    text = f"Hom({space_of(shapes[0])}, {space_of(made)})"
    return drawing.argument((*made, *shapes[0]), text, "parameter")


def _hom_of_pair(drawing: Drawing, shapes: list[Shape]) -> str:
    """A linear map from the direct product of the two first operands' spaces."""
    made = (drawing.size(),)
    domain = " * ".join(map(space_of, shapes))
    text = f"Hom({domain}, {space_of(made)})"
    return drawing.argument(made, text, "parameter", is_term=False)


def _image(rank: int) -> Callable[[Drawing, list[Shape]], str]:
    """Channels, and axes of four entries and more."""

    def take(drawing: Drawing, shapes: list[Shape]) -> str:
        axes = tuple(sympy.Integer(extent) for extent in (5, 4)[: rank - 1])
        return drawing.term(
            lambda shape: (
                len(shape) == rank and all(e.is_Integer and 4 <= e < 12 for e in shape[1:])
            ),
            lambda: (drawing.size(), *axes),
        )

    return take


def _filters(drawing: Drawing, shapes: list[Shape]) -> str:
    window = [sympy.Integer(int(drawing.rng.integers(1, 4))) for _ in shapes[0][1:]]
    return drawing.of_shape((drawing.size(), shapes[0][0], *window))


def _filters_back(drawing: Drawing, shapes: list[Shape]) -> str:
    return drawing.of_shape((shapes[0][0], drawing.size(), TWO))


TAKES: dict[str, Callable[[Drawing, list[Shape]], str | None]] = {
    "any": lambda d, shapes: d.term(lambda s: True, lambda: d.one([(), (d.size(),)])),
    "like": lambda d, shapes: d.of_shape(shapes[0]),
    "positive": _any_positive,
    "positive like": _positive_like,
    "scalar": lambda d, shapes: d.of_shape(()),
    "sizes": lambda d, shapes: "",
    "row": lambda d, shapes: d.term(bool, lambda: (d.size(),)),
    "vector": _ranked(1),
    "matrix": _ranked(2),
    "cut": _cut,
    "square": _square,
    "next matrix": lambda d, shapes: d.of_shape((shapes[0][1], d.size())),
    "like rows": lambda d, shapes: d.of_shape(shapes[0][:1]),
    "like columns": lambda d, shapes: d.of_shape(shapes[0][1:]),
    "class": _index(()),
    "index": _index((), (dims("k"),)),
    "hom": _hom,
    "hom of pair": _hom_of_pair,
    "signal": _image(2),
    "image": _image(3),
    "filters": _filters,
    "filters back": _filters_back,
}


def drawn(seed: int, number: int, without: frozenset[str] = frozenset()) -> Draft:
    """The layer of that number in the run of a seed: 2 to 8 statements, trimmed."""
    rng = np.random.default_rng((seed, number))
    drawing = Drawing(rng, f"random_{seed}_{number}", without)
    return drawing.draft(int(rng.integers(2, 9))).trimmed()
