r"""Derivatives of uninterpreted functions: D f(x; \theta) \cdot v and (v \lrcorner D^{2} f)^{*}.

D is the derivative by a state, \nabla by a parameter (thesis sections 2.2 and 2.3).  If there are
several arguments of a kind, the name or number of the argument is an index.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby

from ...language.expressions import Jet, Variable
from ...language.notation import APPLIED, ATOM, DOT, TIGHT, Writes, Written
from .typography import HOOK, enclosed, parenthesised

MAPPED = frozenset({ATOM, APPLIED, DOT})

IsParameter = Callable[[str, int], bool]
"""Whether a function's argument at that position is a parameter."""


def after_the_first(function: str, slot: int) -> bool:
    """The first argument is the state, the others are parameters."""
    return slot > 0


@dataclass(frozen=True)
class Jets:
    """The names of functions, and which of their arguments are parameters."""

    name: Callable[[str], str]
    is_parameter: IsParameter = after_the_first

    def write(self, w: Writes, node: Jet) -> Written:
        """f(x; theta), a derivative of it along directions, or the adjoint of one."""
        if node.cotangent is not None:
            return self._adjoint(w, node), DOT
        slots = [slot for slot, _ in node.directions]
        if not slots:
            return self._derivative(w, node, []), ATOM
        along = w(node.directions[0][1], MAPPED) if len(slots) == 1 else self._list(w, node)
        return rf"{self._derivative(w, node, slots)} \cdot {along}", DOT

    def _adjoint(self, w: Writes, node: Jet) -> str:
        """D* f . w, or (v _| D^2 f)* . w with all but one direction given."""
        assert node.opened is not None and node.cotangent is not None
        u, slots = w(node.cotangent, MAPPED), [slot for slot, _ in node.directions]
        if not slots:
            return rf"{self._derivative(w, node, [node.opened], star=True)} \cdot {u}"
        single = w(node.directions[0][1], TIGHT) if len(slots) == 1 else self._list(w, node)
        hooked = f"{single} {HOOK} {self._derivative(w, node, [*slots, node.opened])}"
        return rf"{parenthesised(hooked)}^{{*}} \cdot {u}"

    def _list(self, w: Writes, node: Jet) -> str:
        return parenthesised(", ".join(w(v) for _, v in node.directions))

    def _derivative(self, w: Writes, node: Jet, slots: list[int], star: bool = False) -> str:
        """D \nabla f(x; theta), the operators in the order of the slots, equal ones as a power."""
        operators = []
        for slot, same in groupby(slots):
            order = len(list(same))
            power = "*" if star else str(order) if order > 1 else ""
            operator = r"\nabla" if self.is_parameter(node.function, slot) else "D"
            raised = f"^{{{power}}}" if power else ""
            operators.append(f"{operator}{raised}{self._index(w, node, slot)}")
        name = self.name(node.function)
        gap = r" \," if name.startswith((r"\math", r"\operatorname")) and operators else " "
        return f"{' '.join(operators)}{gap}{name}{self._arguments(w, node)}".lstrip()

    def _arguments(self, w: Writes, node: Jet) -> str:
        sides: tuple[list[str], list[str]] = ([], [])
        for slot, x in enumerate(node.arguments):
            sides[self.is_parameter(node.function, slot)].append(w(x))
        return enclosed("(", "; ".join(", ".join(side) for side in sides if side), ")")

    def _index(self, w: Writes, node: Jet, slot: int) -> str:
        """The index of an argument, if there are several of its kind."""
        slots, kind = range(len(node.arguments)), self.is_parameter(node.function, slot)
        alike = [k for k in slots if self.is_parameter(node.function, k) == kind]
        x = node.arguments[slot]
        shown = w(x) if isinstance(x, Variable) else str(alike.index(slot) + 1)
        return f"_{{{shown}}}" if len(alike) > 1 else ""
