"""What a kernel stores, and in which order: a program's expressions as stored arrays in stages.

An expression is *pointwise* where each of its entries is made from one entry of each operand; such
expressions are fused into one loop nest and not stored, but for what two nests would compute and is
a function's value or LONG.  What is summed over, what is read more than once at another place, and
the results are stored.  A *stored* array is a buffer with the expression
that goes into it: a pointwise part, set first, and sums that are added to it in place.

Stages order the stored arrays: in a stage first the loop nests, one for each shape, then the sums.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import sympy

from ...language.expressions import (
    Argmax,
    Contraction,
    Elementwise,
    LinearCombination,
    Node,
    is_zero,
    linear_combination,
)
from ...language.patterns import base, is_rearranged
from ...language.walk import topological
from .products import (
    Summed,
    as_product,
    is_sum,
    reads_in_place,
    strided_base,
    wants_memory,
)
from .stored import Stored, is_leaf

ALWAYS = "always"
LONG = 32  # operations that are not done again in another loop nest


class Schedule:
    """The stored arrays of a program and their stages.

    `results` are (pointer name, expression, readable): a result that is overwritten can be read
    back, one that is added to cannot.  `known` are expressions that lie in memory already.
    """

    def __init__(self, results: list[tuple[str, Node, bool]], known: Iterable[Node]) -> None:
        self.known = set(known)
        self.results = [(name, node, readable) for name, node, readable in results]
        added = [node for name, node, readable in results if not readable and name != "saved"]
        self.added = dict.fromkeys(added)
        self.order = topological(*(node for _, node, _ in results if not is_zero(node)))
        self.consumers = self._consumers()
        self.stored: dict[Node, Stored] = {}
        self.copies: list[Stored] = []
        self._choose()
        self._store_shared()
        self._ask()
        self._stages()

    @property
    def contents(self) -> list[Stored]:
        """All of them: the stored expressions in order, then results that are copies or sums."""
        return [*self.stored.values(), *self.copies]

    def in_memory(self, node: Node) -> bool:
        """The expression can be loaded from a buffer."""
        return is_leaf(node) or node in self.known or node in self.stored

    # --- what is stored

    def _live(self) -> Iterator[Node]:
        """The expressions that are computed at all: not those below what lies in memory."""
        roots = [n for _, n, _ in self.results if not is_zero(n)]
        seen: dict[Node, None] = {}
        stack = list(reversed(roots))
        while stack:
            node = stack.pop()
            if node not in seen:
                seen[node] = None
                if node not in self.known:
                    stack.extend(reversed(node.operands))
        return (node for node in self.order if node in seen)

    def _consumers(self) -> dict[Node, int]:
        count: dict[Node, int] = {}
        for node in self._live():
            if node not in self.known:
                for operand in node.operands:
                    count[operand] = count.get(operand, 0) + 1
        for _, node, _ in self.results:
            count[node] = count.get(node, 0) + 1
        return count

    def _choose(self) -> None:
        wanted: dict[Node, None] = {}
        for node in self._live():
            if node in self.known or is_leaf(node):
                continue
            for operand in self._read_from_memory(node):
                wanted[operand] = None
            if self._is_total(node) and not self._is_added(node):
                wanted[node] = None
        for _, node, readable in self.results:
            if readable and not is_leaf(node) and node not in self.known and not is_zero(node):
                wanted[node] = None
        absorbed = self._absorbed(wanted)
        for node in self.order:
            alone = is_sum(node) and node not in absorbed and node in self.consumers
            if (node in wanted or alone) and not self.in_memory(node):
                self.stored[node] = self._stored(node, absorbed, None)
        for name, node, readable in self.results:
            if is_zero(node):
                continue
            if readable and node in self.stored and self.stored[node].result is None:
                self.stored[node].result = name
            else:
                self.copies.append(self._stored(node, absorbed, name))

    def _is_total(self, node: Node) -> bool:
        """A sum of several sums that nothing else reads: they go into one buffer."""
        return isinstance(node, LinearCombination) and len(list(self._own_sums(node))) > 1

    def _is_added(self, node: Node) -> bool:
        """The sums go straight into a result that is added to."""
        return self.consumers[node] == 1 and node in self.added

    def _own_sums(self, node: Node) -> Iterator[Node]:
        if isinstance(node, LinearCombination):
            for _, term in node.terms:
                if is_sum(term) and term not in self.known and self.consumers[term] == 1:
                    yield term

    def _absorbed(self, wanted: Mapping[Node, None]) -> set[Node]:
        """Sums that go straight into the buffer of the combination or result they belong to."""
        absorbed: set[Node] = set()
        tops = [
            node
            for node in self.added
            if node not in wanted and node not in self.known and self.consumers[node] == 1
        ]
        for node in (*wanted, *tops):
            absorbed.update(term for term in self._own_sums(node) if term not in wanted)
        for node in tops:
            if is_sum(node):
                absorbed.add(node)
        return absorbed

    def _stored(self, node: Node, absorbed: set[Node], result: str | None) -> Stored:
        if result is not None and self.in_memory(node):
            return Stored(node, node, [], result)
        if is_sum(node):
            return Stored(node, None, [(sympy.S.One, node)], result)
        if isinstance(node, LinearCombination):
            own = [(w, t) for w, t in node.terms if t in absorbed]
            rest = [(w, t) for w, t in node.terms if t not in absorbed]
            if own:
                pointwise = linear_combination(rest) if rest else None
                return Stored(node, pointwise, own, result)  # type: ignore[arg-type]
        return Stored(node, node, [], result)

    def _read_from_memory(self, node: Node) -> Iterator[Node]:
        """The operands of an expression that must be stored for it."""
        product = isinstance(node, Contraction) and as_product(node)
        for position, operand in enumerate(node.operands):
            source = strided_base(operand) if product else base(operand)
            if self.in_memory(source) or is_zero(source):
                continue
            elsewhere = not reads_in_place(node, position) or is_rearranged(operand)
            if is_sum(node) and isinstance(node, Contraction):
                again = position < len(node.filled) and wants_memory(node, position)
                if product or again or (elsewhere and source is not operand):
                    yield source
                elif position >= len(node.filled):
                    yield from self._read_from_memory_of_selector(operand)
            elif isinstance(operand, Argmax):
                yield from self._read_from_memory_of_selector(operand)
            elif elsewhere:
                yield source

    def _read_from_memory_of_selector(self, operand: Node) -> Iterator[Node]:
        searched = isinstance(operand, Argmax) and not self.in_memory(operand)
        if searched and not self.in_memory(base(operand.operand)):  # type: ignore[attr-defined]
            yield base(operand.operand)  # type: ignore[attr-defined]

    def _store_shared(self) -> None:
        """Stores what two loop nests would compute: every value of some psi, and what is long.

        One that is found moves no stage, and nothing below it is computed twice any more that is
        not stored already: its operands come before it.
        """
        self._stages()
        nests, work = self._nests(), dict[Node, int]()
        for node in self.order:
            made = not self.in_memory(node)
            work[node] = min(LONG, 1 + sum(work[x] for x in node.operands)) if made else 0
            long = work[node] == LONG and isinstance(node, (LinearCombination, Contraction))
            costly = isinstance(node, Elementwise) or (long and not is_rearranged(node))
            if made and costly and len(nests.get(node, ())) > 1:
                self.stored[node] = Stored(node, node, [], None)
                work[node] = 0
        self.stored = {n: self.stored[n] for n in self.order if n in self.stored}
        self._stages()

    def _nests(self) -> dict[Node, set[tuple[object, ...]]]:
        """The loop nests that compute an expression in place, two of them where there are more."""
        nests: dict[Node, set[tuple[object, ...]]] = {}
        for stored in self.contents:
            for key, root in self._nests_of(stored):
                nests.setdefault(root, set()).add(key)
        roots = dict.fromkeys(nests)
        rests = [root for root in roots if root not in self._stage]  # of sums, without the sums
        for node in (*rests, *reversed(self.order)):
            if node in nests and (node in roots or not self.in_memory(node)):
                for operand in node.operands:
                    if not self.in_memory(operand):
                        own = nests.setdefault(operand, set())
                        own.update(list(nests[node] - own)[: 2 - len(own)])
        return nests

    def owner(self, node: Node) -> Stored | None:
        """The array that an expression is stored in."""
        return self.stored.get(node)

    def owns(self, stored: Stored) -> bool:
        """It makes its pointwise part itself, rather than copying what is stored."""
        return stored.pointwise is not None and (
            self.stored.get(stored.node) is stored or not self.in_memory(stored.pointwise)
        )

    def _nests_of(self, stored: Stored) -> Iterator[tuple[tuple[object, ...], Node]]:
        if stored.pointwise is not None and self.owns(stored):
            yield _nest_of(stored), stored.pointwise
        for _, total in stored.sums:
            for operand in total.operands:
                if not self.in_memory(operand):
                    yield ("sum", id(total)), operand

    # --- who asks

    def _ask(self) -> None:
        """Which results ask for each array; arrays that no result asks for are dropped.

        Results ask for themselves, and each array, those that read it before it, for what it loads.
        """
        readable = {name: is_readable for name, _, is_readable in self.results}
        guards: dict[Stored, set[str]] = {stored: set() for stored in self.contents}
        met: dict[tuple[Node, object], set[str]] = {}
        for stored in reversed(self.contents):
            if stored.result is not None:
                guards[stored].add(ALWAYS if readable[stored.result] else stored.result)
            for source in self._sources(stored, guards[stored], met):
                guards[source] |= guards[stored]
        self.stored = {node: stored for node, stored in self.stored.items() if guards[stored]}
        everyone = {name for name, _, readable in self.results if not readable and name != "saved"}
        if any(readable for _, _, readable in self.results):
            everyone = set()  # a call that asks for these alone is one, too
        for stored in self.contents:
            names = guards[stored]
            always = ALWAYS in names or (everyone and names >= everyone)
            stored.guards = frozenset() if always else frozenset(names)

    def _sources(
        self, stored: Stored, guards: set[str], met: dict[tuple[Node, object], set[str]]
    ) -> Iterator[Stored]:
        """The stored expressions that a stored one loads: not those that its own loop nest makes.

        What a nest has `met` for the same askers is not gone through again.
        """
        nest = _nest_of(stored)
        stack: list[tuple[Node, object]] = []
        stack += [(operand, None) for _, total in stored.sums for operand in total.operands]
        if stored.pointwise is not None:
            own = self.stored.get(stored.pointwise) is stored
            stack += [(x, nest) for x in (stored.pointwise.operands if own else [stored.pointwise])]
        while stack:
            node, within = stack.pop()
            before = met.setdefault((node, within), set())
            if node in self.known or before >= guards:
                continue
            before |= guards
            source = self.stored.get(node)
            if source is not None and not (within is not None and _at_hand(source, nest)):
                yield source
            else:
                stack.extend((operand, within) for operand in node.operands)

    # --- stages

    def _stages(self) -> None:
        self._stage: dict[Node, int] = {}
        for node in self.order:
            if node in self.stored:
                self._place(self.stored[node])
                self._stage[node] = self.stored[node].stage
            else:
                self._stage[node] = self._pointwise_stage(node)
        for stored in self.copies:
            self._place(stored)

    def _place(self, stored: Stored) -> None:
        """The stages: its pointwise part, then its sums, which must not come before."""
        node = stored.pointwise
        stored.pointwise_stage = 0 if node is None else self._own_stage(node)
        first = stored.pointwise_stage
        stored.sum_stages = tuple(max(first, self._sum_stage(total)) for _, total in stored.sums)

    def _own_stage(self, node: Node) -> int:
        """The stage of a pointwise part, which may be a stored expression that is copied."""
        if node in self._stage:
            return self._stage[node] + (self._has_sums(node))
        return self._pointwise_stage(node)

    def _pointwise_stage(self, node: Node) -> int:
        if is_leaf(node) or node in self.known:
            return 0
        stages = [0]
        for position, operand in enumerate(node.operands):
            stages.append(self._after(node, position, operand))
        return max(stages)

    def _after(self, node: Node, position: int, operand: Node) -> int:
        """The first stage in which a pointwise expression can read an operand."""
        if isinstance(operand, Argmax):
            return self._finished(self._searched(operand))
        if not reads_in_place(node, position) or is_rearranged(operand):
            return self._finished(self._read(operand))
        return self._stage.get(operand, 0) + self._has_sums(operand)

    def _read(self, node: Node) -> Node:
        """What is loaded for an expression read elsewhere: the nearest in memory, else its base."""
        while is_rearranged(node) and not self.in_memory(node):
            node = node.operands[0]
        return node

    def _searched(self, node: Argmax) -> Node:
        """What is loaded for the place of a largest entry: what is searched, or what was kept."""
        return node if self.in_memory(node) else self._read(node.operand)

    def _finished(self, node: Node) -> int:
        """The first stage after an expression is in memory."""
        if is_leaf(node) or node in self.known:
            return 0
        return self._stage[node] + 1

    def _has_sums(self, node: Node) -> int:
        return 1 if node in self.stored and self.stored[node].sums else 0

    def _sum_stage(self, node: Summed) -> int:
        stages = [0]
        for operand in node.operands:
            argmax = isinstance(operand, Argmax)
            source = self._searched(operand) if argmax else self._read(operand)  # type: ignore[arg-type]
            if not is_leaf(source) and source not in self.known:
                stages.append(self._stage[source] + self._has_sums(source))
        return max(stages)


def _nest_of(stored: Stored) -> tuple[object, ...]:
    """The loop nest that makes a pointwise part: one for each stage and shape."""
    return stored.pointwise_stage, stored.node.space.shape  # type: ignore[attr-defined]


def _at_hand(source: Stored, nest: tuple[object, ...]) -> bool:
    """The loop nest makes the source, so that its stored arrays need not load it."""
    return _nest_of(source) == nest and not source.sums
