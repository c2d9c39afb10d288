"""Costs of recurrent gradients in closed form: flops and numbers for one step of one sample.

Everything is counted in the lowered steps that the kernels over sequences call.  `leading` has the
terms of highest degree in the sizes, apart for every power of the block's length, which are those
that the literature states: 2 n^3 p of RTRL for a vanilla RNN, p = n + m + 1, is 2 n^3 (m + n).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import sympy

from ...language.expressions import Node
from ...language.spaces import leaves
from ...models.programs import BATCH, Program, Result
from ...recurrence.hybrid import TIMES, Hybrid
from ...recurrence.influence import Influence
from ...recurrence.observations import Observation
from ...recurrence.transitions import Transition, step
from ..lowering.cost import Count, closed_form, count
from ..lowering.kernel import Kernel

BLOCK = sympy.Symbol("block", integer=True, positive=True)
Lowered = Callable[[Program], Kernel]


@dataclass(frozen=True)
class PartCost:
    """What one part of a method computes, and what it takes at each step of one sample."""

    part: str
    law: tuple[str, ...]
    flops: str
    leading: str
    calls: str


@dataclass(frozen=True)
class MethodCost:
    """What a method takes at each step of one sample, and the numbers that it keeps of a sample.

    `numbers` are what is kept for each step (bptt), carried from step to step (rtrl) or kept for a
    block of steps (hybrid); `kept` says which.
    """

    method: str
    flops: str
    leading: str
    calls: str
    numbers: str
    kept: str
    parts: tuple[PartCost, ...]


def leading(expression: sympy.Expr) -> sympy.Expr:
    """The terms of highest degree in the sizes, for each power of the block's length.

    >>> n, m = sympy.symbols("n m")
    >>> found = leading(2 * n**3 + n * m + n**3 * m / BLOCK + n / BLOCK)
    >>> found == 2 * n**3 + n**3 * m / BLOCK
    True
    """
    terms = sympy.Add.make_args(sympy.expand(expression))
    highest: dict[sympy.Expr, int] = {}
    for term in terms:
        power, degree = _degrees(term)
        highest[power] = max(degree, highest.get(power, degree))
    return sympy.Add(*(t for t in terms if highest[_degrees(t)[0]] == _degrees(t)[1]))


def _degrees(term: sympy.Expr) -> tuple[sympy.Expr, int]:
    """The power of the block's length, and the degree in all sizes."""
    powers = term.as_powers_dict()
    return powers[BLOCK], sum(e for x, e in powers.items() if x.is_Symbol and x != BLOCK)


def numbers(nodes: Iterable[Node]) -> sympy.Expr:
    """The numbers of some arrays, for one sample where they have the batch axis."""
    shapes = [leaf.shape for node in nodes for leaf in leaves(node.space)]
    return sympy.Add(*(sympy.Mul(*shape).subs(BATCH, 1) for shape in shapes))


class Counted:
    """Parts of a method with their flops and calls, amortised over steps."""

    def __init__(self, lowered: Lowered) -> None:
        self.lowered = lowered
        self.parts: list[tuple[str, tuple[str, ...], Count]] = []

    def of(self, program: Program) -> Count:
        """The flops and calls of a program for one sample."""
        flops, calls = count(self.lowered(program))
        at = {BATCH: 1, TIMES: BLOCK}
        return sympy.expand(flops.subs(at)), sympy.expand(calls.subs(at))

    def add(self, program: Program, steps: sympy.Expr = sympy.S.One) -> None:
        """A program that is called once in so many steps."""
        self.part(program.name, program.law, _amortised(self.of(program), steps))

    def part(self, name: str, law: tuple[str, ...], found: Count) -> None:
        """A part that takes these flops and calls; nothing where there are none."""
        if any(found):
            self.parts.append((name, law, found))

    def cost(self, method: str, kept_numbers: sympy.Expr, kept: str) -> MethodCost:
        """The sum of the parts."""
        flops, calls = (sympy.Add(*(c[k] for *_, c in self.parts)) for k in (0, 1))
        parts = tuple(_part(name, law, *found) for name, law, found in self.parts)
        return MethodCost(
            method,
            closed_form(flops),
            closed_form(leading(flops)),
            closed_form(calls),
            closed_form(kept_numbers),
            kept,
            parts,
        )


def _amortised(found: Count, steps: sympy.Expr) -> Count:
    flops, calls = (sympy.expand(x / steps) for x in found)
    return flops, calls


def _part(name: str, law: tuple[str, ...], flops: sympy.Expr, calls: sympy.Expr) -> PartCost:
    return PartCost(name, law, closed_form(flops), closed_form(leading(flops)), closed_form(calls))


# --- the methods


def forward_cost(
    lowered: Lowered, transitions: Iterable[Transition], observations: Iterable[Observation]
) -> MethodCost:
    """States and predictions; of each step its states are kept."""
    counted, kept = Counted(lowered), sympy.S.Zero
    for t in transitions:
        counted.add(t.forward(saving=False))
        kept += numbers([t.h])
    for g in observations:
        counted.add(g.predict())
    return counted.cost("forward", kept, "for each step: the states")


def bptt_cost(
    lowered: Lowered, transitions: Iterable[Transition], seen: Iterable[Program]
) -> MethodCost:
    """One step forward, one step of eps down, the adjoints (thesis (5.14), (5.22))."""
    counted, kept = Counted(lowered), sympy.S.Zero
    for t in transitions:
        for program in (t.forward(saving=True), t.backward(), t.adjoints()):
            counted.add(program)
        kept += _for_each_step(t)
    for program in seen:
        counted.add(program)
    return counted.cost("bptt", kept, "for each step: states, saved values, cotangents")


def _for_each_step(t: Transition) -> sympy.Expr:
    """h, eps, the error of the prediction, what is saved and what the adjoints read; masks.

    The masks are two of what a loss hears of, and where the step is reached.
    """
    masks = [t.source, t.heard, t.reached]
    return 3 * numbers([t.h]) + numbers([*t.saved.values(), *t.deltas.values(), *masks])


def rtrl_cost(lowered: Lowered, influence: Influence, seen: Iterable[Program]) -> MethodCost:
    """The product D f . J, the rest of the step, J* . eps (thesis lemma 5.1.2, (5.12))."""
    counted = Counted(lowered)
    whole, product = (counted.of(p) for p in (influence.forward(), products(influence)))
    counted.part("influence_product", ("D f . J, D f formed for it",), product)
    rest = (sympy.expand(whole[0] - product[0]), sympy.expand(whole[1] - product[1]))
    counted.part("immediate_term", ("the new state, J_next = .. + nabla f",), rest)
    counted.add(influence.readout())
    for program in seen:
        counted.add(program)
    stored = numbers(s.variable for s in influence.stores)
    return counted.cost("rtrl", stored, "from step to step: the influence J")


def products(influence: Influence) -> Program:
    """D f . J alone, D f formed for it."""
    held = influence.held(influence.step.D.times(influence.J))
    results = [Result(influence.next[s], node) for s, node in held.items()]
    t = influence.transition
    return step(t.layer, f"{t.label}_products", "D f . J", results)


def hybrid_cost(lowered: Lowered, lemma: Hybrid, seen: Iterable[Program]) -> MethodCost:
    """BPTT in a block, Lambda down the block, and the influence once for all of its steps."""
    counted, influence, t = Counted(lowered), lemma.influence, lemma.transition
    for program in (t.forward(saving=True), t.backward(), t.adjoints(), lemma.backward()):
        counted.add(program)
    for program in (lemma.start(), lemma.end(), influence.readout()):
        counted.add(program, BLOCK)
    for program in seen:
        counted.add(program)
    carried = numbers(s.variable for s in (*influence.stores, *lemma.stores.values()))
    each = _for_each_step(t) + numbers(lemma.factors.values())
    return counted.cost("hybrid", carried + BLOCK * each, "for a block: J, Lambda, its steps")


# --- the lines of a kernel over a sequence


def called_costs(called: Iterable[Kernel]) -> Iterator[str]:
    """What each of the steps that a kernel calls costs, for one sample of one time."""
    for kernel in called:
        flops, calls = (closed_form(x.xreplace({BATCH: sympy.S.One})) for x in count(kernel))
        more = f" and {calls} calls" if calls != "0" else ""
        if f"{flops}{more}" != "0":
            yield f"cost of {kernel.program.name}: {flops} flops{more}"
