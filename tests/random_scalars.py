"""Random scalar formulas, each as SymPy's text and as PyTorch's: branches, nested conditions.

PyTorch's text states the conventions of the library at ties, where its own differ: of two equal
arguments the first is the largest, and |.| has slope 0 at 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Scalar:
    """A formula in both languages, and the formulas that a smaller one may be among."""

    sympy: str
    torch: str
    parts: tuple[Scalar, ...] = ()


SMOOTH = (
    ("sympy.tanh({0})", "torch.tanh({0})"),
    ("sympy.sin({0})", "torch.sin({0})"),
    ("sympy.cos({0})", "torch.cos({0})"),
    ("sympy.atan({0})", "torch.atan({0})"),
    ("sympy.erf({0})", "torch.erf({0})"),
    ("sympy.exp(-({0})**2)", "torch.exp(-({0})**2)"),
    ("sympy.log(1 + ({0})**2)", "torch.log1p(({0})**2)"),
    ("sympy.sqrt(1 + ({0})**2)", "torch.sqrt(1 + ({0})**2)"),
    ("1/(1 + ({0})**2)", "1/(1 + ({0})**2)"),
    ("({0})**2", "({0})**2"),
    ("({0})/3", "({0})/3"),
    ("({0}) - sympy.Rational(1, 2)", "({0}) - 0.5"),
    ("1.0507009873554805*({0})", "1.0507009873554805*({0})"),
    ("({0})/(1 + sympy.exp(-({0})))", "({0})*torch.sigmoid({0})"),
)
PAIRS = (
    ("({0}) + ({1})", "({0}) + ({1})"),
    ("({0}) - 2*({1})", "({0}) - 2*({1})"),
    ("({0})*({1})", "({0})*({1})"),
    ("({0})/(2 + ({1})**2)", "({0})/(2 + ({1})**2)"),
)
KINKED = (
    ("sympy.Abs({0})", "torch.abs({0})"),
    ("sympy.Max({0}, {1})", "larger(torch, {0}, {1})"),
    ("sympy.Min({0}, {1})", "smaller(torch, {0}, {1})"),
    ("sympy.sign({0})*({1})", "torch.sign({0})*({1})"),
)


def larger(torch, a, b):
    """The first of the larger ones, as the library has it; torch.maximum takes half of either."""
    return torch.where(a >= b, a, b)


def smaller(torch, a, b):
    """The first of the smaller ones."""
    return torch.where(a <= b, a, b)


COMPARED = ("<", "<=", ">", ">=")
THRESHOLDS = (("1", "1."), ("sympy.Rational(1, 3)", "(1/3)"), ("-0.25", "-0.25"))


def drawn(rng: np.random.Generator, names: tuple[str, ...], depth: int, branches: bool) -> Scalar:
    """A formula of these arguments, of that depth at most; `branches` allows kinks and branches."""
    if depth == 0 or rng.random() < 0.1:
        name = str(rng.choice(names))
        return Scalar(name, name)
    if branches and rng.random() < 0.35:
        return _piecewise(rng, names, depth)
    table = (*SMOOTH, *SMOOTH, *PAIRS, *(KINKED if branches else ()))
    parts = [drawn(rng, names, depth - 1, branches) for _ in range(2)]
    return _filled(table[rng.integers(len(table))], parts)


def _filled(texts: tuple[str, str], parts: list[Scalar]) -> Scalar:
    """Both texts with these formulas in their places."""
    sympy, torch = texts
    return Scalar(
        sympy.format(*(part.sympy for part in parts)),
        torch.format(*(part.torch for part in parts)),
        tuple(parts),
    )


def _piecewise(rng: np.random.Generator, names: tuple[str, ...], depth: int) -> Scalar:
    value, other = (_branch(rng, names, depth - 1) for _ in range(2))
    condition = _condition(rng, names, 2)
    return Scalar(
        f"sympy.Piecewise(({value.sympy}, {condition.sympy}), ({other.sympy}, True))",
        f"torch.where({condition.torch}, {value.torch}, {other.torch})",
        (value, other),
    )


def _branch(rng: np.random.Generator, names: tuple[str, ...], depth: int) -> Scalar:
    """A formula or a number, which PyTorch wants as an array."""
    if rng.random() < 0.3:
        number = int(rng.integers(-1, 3))
        return Scalar(f"sympy.Integer({number})", f"torch.full_like({names[0]}, {number})")
    return drawn(rng, names, depth, rng.random() < 0.3)


def _condition(rng: np.random.Generator, names: tuple[str, ...], depth: int) -> Scalar:
    """A comparison with a number, or And, Or, Not of conditions."""
    word = rng.choice(["And", "Or", "Not", "compare", "compare"]) if depth else "compare"
    if word == "compare":
        table = KINKED if rng.random() < 0.5 else SMOOTH
        left = _filled(table[rng.integers(len(table))], [drawn(rng, names, 0, False) for _ in "ab"])
        sympy, torch = THRESHOLDS[rng.integers(len(THRESHOLDS))]
        sign = rng.choice(COMPARED)
        return Scalar(f"({left.sympy}) {sign} {sympy}", f"(({left.torch}) {sign} {torch})")
    first, second = (_condition(rng, names, depth - 1) for _ in range(2))
    if word == "Not":
        return Scalar(f"sympy.Not({first.sympy})", f"~({first.torch})")
    sign = "&" if word == "And" else "|"
    return Scalar(
        f"sympy.{word}({first.sympy}, {second.sympy})", f"({first.torch} {sign} {second.torch})"
    )
