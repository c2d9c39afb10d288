"""A random layer as a list of statements, and as text: the user's declaration and its oracle."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import random_scalars
from random_rules import Shape

from derive import dims

SIZES = {dims("n"): 3, dims("m"): 4, dims("k"): 2}
NUMBER = {str(size): count for size, count in SIZES.items()}


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
from derive.language.expressions import held

n, m, k = dims("n m k")
i, j, h = indices("i j h")
"""
