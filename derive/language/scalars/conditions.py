"""The conditions of a Piecewise, written with comparisons that are false for a NaN.

**A NaN stays a NaN.** A comparison with a NaN is false, so the last branch of a Piecewise would be
taken for it. Therefore a branch is taken only when all operands compared so far are ordered, and
where none is taken the value is the sum of the compared operands.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import sympy
from sympy.core.relational import Relational
from sympy.logic.boolalg import BooleanFunction, BooleanTrue

from .scalars import ScalarError, is_constant


@dataclass(frozen=True)
class Comparison:
    """left < right, or <=, >, >=, ==; never !=, which holds for a NaN."""

    relation: str
    left: sympy.Expr
    right: sympy.Expr


@dataclass(frozen=True)
class Junction:
    """All ("and") or some ("or") of the parts."""

    word: str
    parts: tuple[Condition, ...]


Condition = Comparison | Junction
_OPPOSITE = {"<": ">=", "<=": ">", ">": "<=", ">=": "<", "==": "!=", "!=": "=="}


def _junction(word: str, parts: Sequence[Condition]) -> Condition:
    return parts[0] if len(parts) == 1 else Junction(word, tuple(parts))


def _compared(relation: str, left: sympy.Expr, right: sympy.Expr) -> Condition:
    if relation == "!=":
        return Junction("or", (Comparison("<", left, right), Comparison(">", left, right)))
    return Comparison(relation, left, right)


def _condition(boolean: sympy.Basic, negated: bool = False) -> Condition:
    """A SymPy condition or its negation, the negations pushed into the comparisons."""
    if isinstance(boolean, sympy.Not):
        return _condition(boolean.args[0], not negated)
    if isinstance(boolean, sympy.And | sympy.Or):
        word = "and" if isinstance(boolean, sympy.And) != negated else "or"
        return _junction(word, [_condition(part, negated) for part in boolean.args])
    if isinstance(boolean, Relational) and boolean.rel_op in _OPPOSITE:
        relation = _OPPOSITE[boolean.rel_op] if negated else boolean.rel_op
        return _compared(relation, boolean.lhs, boolean.rhs)
    if isinstance(boolean, BooleanFunction):
        simple = boolean.to_nnf(simplify=False)  # ITE and Xor by And, Or and Not
        if simple != boolean:
            return _condition(simple, negated)
    raise ScalarError(
        f"condition {boolean}: expected <, <=, >, >=, Eq, Ne, And, Or, Not of scalars, got "
        f"{type(boolean).__name__}; write it with these"
    )


def comparisons(condition: Condition) -> Iterator[Comparison]:
    """The comparisons in a condition, in the order of its text."""
    if isinstance(condition, Comparison):
        yield condition
    else:
        for part in condition.parts:
            yield from comparisons(part)


def _sides(conditions: Sequence[Condition]) -> list[sympy.Expr]:
    """What the conditions compare, numbers left out, each once, in the order of the text."""
    pairs = ((c.left, c.right) for condition in conditions for c in comparisons(condition))
    return list(dict.fromkeys(side for pair in pairs for side in pair if not is_constant(side)))


def _symbols(expressions: Sequence[sympy.Expr]) -> list[sympy.Symbol]:
    """Their symbols, by name."""
    free = set().union(*(expression.free_symbols for expression in expressions))
    return sorted(free, key=str)


def _ordered(condition: Condition) -> set[sympy.Symbol]:
    """The symbols that are not NaN wherever the condition holds."""
    if isinstance(condition, Comparison):
        return set(_symbols([condition.left, condition.right]))
    parts = [_ordered(part) for part in condition.parts]
    return set.union(*parts) if condition.word == "and" else set.intersection(*parts)


def _guarded(parts: list[Condition], needed: Sequence[sympy.Symbol]) -> Condition:
    """All the parts, and x == x for each needed symbol that they allow to be NaN."""
    sure = set().union(*(_ordered(part) for part in parts))
    return _junction("and", parts + [Comparison("==", x, x) for x in needed if x not in sure])


def _otherwise(negations: Sequence[Condition], needed: Sequence[sympy.Symbol]) -> Condition:
    """All conditions before failed: only as many negations as exclude that an operand is NaN."""
    chosen: list[Condition] = []
    sure: set[sympy.Symbol] = set()
    for negation in reversed(negations):
        if not _ordered(negation) <= sure:
            chosen.append(negation)
            sure |= _ordered(negation)
    return _guarded(chosen, needed)


def _carried(expression: sympy.Basic) -> set[sympy.Symbol]:
    """The symbols whose NaN makes the expression a NaN."""
    if isinstance(expression, sympy.Symbol):
        return {expression}
    if isinstance(expression, sympy.Piecewise):
        conditions = [c for _, c in expression.args if not isinstance(c, BooleanTrue)]
        return set().union(*(condition.free_symbols for condition in conditions))
    if isinstance(expression, sympy.Pow):  # but pow(1, NaN) = pow(NaN, 0) = 1
        return _carried(expression.base) if expression.exp.is_number else set()
    return set().union(*(_carried(part) for part in expression.args))


@dataclass(frozen=True)
class Selection:
    """The first branch whose condition holds, else the sum of the terms `fallback`."""

    branches: tuple[tuple[sympy.Expr, Condition], ...]
    fallback: tuple[sympy.Expr, ...]


def selection(piecewise: sympy.Piecewise) -> Selection:
    """A Piecewise that keeps a NaN, and is NaN where no condition holds."""
    branches: list[tuple[sympy.Expr, Condition]] = []
    seen: list[Condition] = []
    negations: list[Condition] = []
    for value, boolean in piecewise.args:
        if isinstance(boolean, BooleanTrue):
            needed = _symbols(_sides(seen))
            if set(needed) <= _carried(value):
                return Selection(tuple(branches), (value,))
            branches.append((value, _otherwise(negations, needed)))
            return Selection(tuple(branches), tuple(_sides(seen)))
        seen.append(_condition(boolean))
        negations.append(_condition(boolean, negated=True))
        branches.append((value, _guarded([seen[-1]], _symbols(_sides(seen)))))
    return Selection(tuple(branches), (*_sides(seen), sympy.nan))
