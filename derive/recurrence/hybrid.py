"""The exact hybrid of BPTT and RTRL: the sum of lemma 5.1.6 split at the start of a block.

    J_{t0+k} = Lambda_{t0} . J_{t0} + sum_j Lambda_j . nabla f_j,    Lambda_j = D mu_{t0+k, j+1}

Lambda is the identity at the block's end and goes down by Lambda_{j-1} = Lambda_j . D f_j (lemma
5.1.4).  Lambda_j . nabla f_j is a product of factors: those with Lambda in them are kept for the
times of a block, the others are what a step is given, and the sum over j is one product.
Source: Schmidhuber 1992, cited by the thesis.

A time is *linked* to the block's end where no reset lies between.  What is not linked is selected
to be zero: factors, Lambda, and the influence at the block's start.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import sympy

from ..calculus.combining import added, summed
from ..calculus.lift import lift, lift_space
from ..calculus.terms import Term, fresh_access, total
from ..language.expressions import Argmax, Node, Variable, constant, variable, zero
from ..language.forms import Access
from ..language.spaces import Real
from ..language.walk import rebuild, rewrite, storage
from ..models.programs import BATCH, Program, Result
from ..vocabulary.selecting import only, select
from .blocks import StoredJacobian, identity
from .influence import Influence
from .selections import is_family
from .ties import Key
from .transitions import step

TIMES = sympy.Symbol("times", integer=True, nonnegative=True)


@dataclass(frozen=True, eq=False)
class Kept:
    """Lambda_j . nabla f_j for one array of J: a term whose factors are kept over the times."""

    store: StoredJacobian
    by: Node
    term: Term


class Hybrid:
    """Lambda, its recursion, and the influence at the end of a block."""

    def __init__(self, influence: Influence) -> None:
        self.influence, self.step = influence, influence.step
        self.transition = influence.transition
        self.one = identity(self.step.D.rows)
        self.stores = self.step.lambda_arrays(self._named)
        self.Lambda = self.one.holding(self.stores)
        self.before = {key: f"{s.variable.name}_before" for key, s in self.stores.items()}
        names, label = self.transition.names, self.transition.label
        self.linked, self.linking = names.mask(f"{label}_linked"), names.mask(f"{label}_linking")
        self.linked_before = f"{self.linked.name}_before"
        self.linking_times = names.variable(
            f"{self.linking.name}_times", lift_space(self.linking.space, TIMES)
        )
        self.kept = list(self._kept())
        self.factors: dict[Node, Variable] = {}
        self.stacks: dict[Node, Variable] = {}
        self.source_of: dict[Variable, str] = {self.linking_times: self.linking.name}
        constant_in_time = storage(self.transition.initial)
        nodes = [node for kept in self.kept for _, node in kept.term.factors]
        nodes += [_read_by(pick) for kept in self.kept for _, pick, _ in kept.term.bound]
        for node in dict.fromkeys(nodes):
            if is_family(node) and node not in constant_in_time:
                self._stack(node)

    def _stack(self, node: Node) -> None:
        """The values of a factor over a block: of an argument, a saved value, or kept for it."""
        names, source = self.transition.names, self.transition.saved.get(node, node)
        own = [s.variable for s in self.stores.values()]
        if not isinstance(source, Variable) or source in own:
            source = self.factors[node] = names.variable("factor", node.space)
        stack = names.variable(f"{source.name}_times", lift_space(node.space, TIMES))
        self.stacks[node], self.source_of[stack] = stack, source.name

    # --- Lambda

    def _named(self, key: Key, space: Real) -> Variable:
        several = "_{}{}".format(*key) if len(self.step.h) > 1 else ""
        return self.transition.names.variable(f"Lambda{several}", space)

    def start(self) -> Program:
        """Lambda = id, every sample linked."""
        first = self.one.held_by(self.stores)
        results = [Result(s.variable.name, first[key]) for key, s in self.stores.items()]
        results.append(Result(self.linked.name, constant(sympy.S.One, self.linked.space)))
        name = f"{self.transition.label}_identity"
        return step(self.transition.layer, name, "Lambda = id", results)

    def backward(self) -> Program:
        """Lambda_{j-1} = Lambda_j . D f_j, and the factors of Lambda_j . nabla f_j."""
        t = self.transition
        assert t.reset is not None
        linking, nothing = only(self.linked, t.active), zero(self.linked.space)
        through = self.Lambda.times(self.step.D).held_by(self.stores)
        results = [
            Result(self.before[key], select(linking, self._cut(through[key]), s.variable))
            for key, s in self.stores.items()
        ]
        results += [Result(x.name, only(linking, node)) for node, x in self.factors.items()]
        results.append(Result(self.linking.name, linking))
        results.append(Result(self.linked_before, t.hearing(nothing, self.linked, linking)))
        new = rewrite([r.node for r in results], t.saved.get)
        results = [replace(r, node=new[r.node]) for r in results]
        law = ["Lambda_before = Lambda . D f", "factors of Lambda . nabla f"]
        return step(t.layer, f"{t.label}_block_step", law, results, t.named)

    def _cut(self, node: Node) -> Node:
        """What goes down through a step that is not reset."""
        reset = self.transition.reset
        assert reset is not None
        return select(reset, zero(node.space), node)

    # --- J at the end of a block

    def _kept(self) -> Iterator[Kept]:
        """The terms of Lambda . nabla f, like ones added."""
        through = self.Lambda.times(self.step.nabla)
        for store in self.influence.stores:
            for x in store.by:
                terms = through.of((store.component, self.step.by.index(x)))
                for term in added(map(summed, terms), BATCH):
                    yield Kept(store, x, term)

    def end(self) -> Program:
        """J = Lambda . J + sum over the times of the kept factors."""
        t = self.transition
        moved, results = self.influence.held(self.Lambda.times(self.influence.J)), []
        for new, node in moved.items():
            over = [self._over_times(k) for k in self.kept if k.store is new]
            results.append(
                Result(self.influence.next[new], total(new.variable.space, [node, *over]))
            )
        law = "J_next = Lambda . J + sum over the block of Lambda_j . nabla f_j"
        return step(t.layer, f"{t.label}_block_end", law, results, extra=(TIMES,))

    def _over_times(self, kept: Kept) -> Node:
        (time,), extents = fresh_access((TIMES,))
        term, store = kept.term, kept.store
        factors = tuple(
            ((time, *access), self._linked(node)) if node in self.stacks else (access, node)
            for access, node in term.factors
        )
        moved = replace(
            term,
            into=store.entry(kept.by, term.into),
            factors=factors,
            extents=(*term.extents, *extents.items()),
            bound=tuple((i, *self._picked(time, node, at)) for i, node, at in term.bound),
        )
        return store.written(moved)

    def _linked(self, node: Node) -> Node:
        """The values of a factor over a block, zero where not linked; kept ones are so already."""
        stack = self.stacks[node]
        return stack if node in self.factors else only(self.linking_times, stack)

    def _picked(self, time: sympy.Symbol, selector: Node, access: Access) -> tuple[Node, Access]:
        """A selector over the times of a block, and the access with the time in it."""
        x = _read_by(selector)
        if x not in self.stacks:
            return selector, access
        stack = self.stacks[x]
        if x is selector:
            return stack, (time, *access)
        one = variable(stack.name, x.space)
        (lifted,), _ = lift([rebuild(selector, [one])], [one], TIMES)
        return lifted, (time, *access)


def _read_by(selector: Node) -> Node:
    """What is kept of a selector: itself, or the array whose largest entry it finds."""
    return selector.operand if isinstance(selector, Argmax) else selector
