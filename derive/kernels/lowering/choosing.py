"""What has to be stored: results, what is read from memory, and sums.

All else is *pointwise*, made entry by entry inside the loop nest that reads it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace

import sympy

from ...language.expressions import LinearCombination, Node, is_zero, linear_combination
from .products import is_sum
from .stored import Demand, Schedule, Stored


def chosen(schedule: Schedule) -> Schedule:
    """A buffer for each expression that needs one, and for each result.

    Law: afterwards every read from memory finds its source there, and every sum has a buffer that
    it is added up in, its own or that of the combination it is a term of.
    """
    demand, wanted = schedule.demand, _wanted(schedule)
    absorbed = _absorbed(demand, wanted)
    stored: dict[Node, Stored] = {}
    for node in demand.order:
        alone = is_sum(node) and node not in absorbed
        if (node in wanted or alone) and not demand.is_given(node):
            stored[node] = _content(node, absorbed, None)
    return _with_results(replace(schedule, stored=stored), absorbed)


def _with_results(schedule: Schedule, absorbed: Collection[Node]) -> Schedule:
    """A result that can be read back is the buffer of its expression; others come after all."""
    stored, copies = dict(schedule.stored), list[Stored]()
    for name, node, readable in schedule.demand.results:
        if is_zero(node):
            continue  # filled once, with no stage of its own
        if readable and node in stored and stored[node].result is None:
            stored[node] = replace(stored[node], result=name)
        elif schedule.in_memory(node):
            copies.append(Stored(node, node, result=name))
        else:
            copies.append(_content(node, absorbed, name))
    return replace(schedule, stored=stored, copies=tuple(copies))


def _wanted(schedule: Schedule) -> dict[Node, None]:
    """What must lie in memory apart from single sums, in the order in which it is found."""
    demand, wanted = schedule.demand, dict[Node, None]()
    for node in demand.order:
        if not demand.is_given(node):
            wanted |= dict.fromkeys(_read_from_memory(schedule, node))
            # a combination of several sums is added up in one buffer, not in one for each
            if _is_total(demand, node) and not _is_added(demand, node):
                wanted[node] = None
    readable = (node for _, node, readable in demand.results if readable)
    return wanted | {node: None for node in readable if not demand.is_given(node)}


def _read_from_memory(schedule: Schedule, node: Node) -> Iterator[Node]:
    """What must be stored for an expression, where nothing can be loaded in its place."""
    for read in schedule.demand.reads(node):
        if read.from_memory and not schedule.in_memory(schedule.loaded(read)):
            yield read.source


# --- sums that share a buffer


def _own_sums(demand: Demand, node: Node) -> list[Node]:
    """The sums among the terms of a combination that nothing else reads."""
    terms = node.terms if isinstance(node, LinearCombination) else ()
    single = (term for _, term in terms if demand.consumers[term] == 1)
    return [term for term in single if is_sum(term) and term not in demand.known]


def _is_total(demand: Demand, node: Node) -> bool:
    """A combination of several sums that nothing else reads: they go into one buffer."""
    return len(_own_sums(demand, node)) > 1


def _is_added(demand: Demand, node: Node) -> bool:
    """The sums go straight into a result that is added to: nothing else reads them."""
    return demand.consumers[node] == 1 and node in demand.added


def _absorbed(demand: Demand, wanted: Collection[Node]) -> set[Node]:
    """Sums that go straight into the buffer of the combination or result that they belong to."""
    straight = (node for node in demand.added if _is_added(demand, node))
    tops = [node for node in straight if node not in wanted and node not in demand.known]
    terms = {term for node in (*wanted, *tops) for term in _own_sums(demand, node)}
    return {*(term for term in terms if term not in wanted), *filter(is_sum, tops)}


def _content(node: Node, absorbed: Collection[Node], result: str | None) -> Stored:
    """What goes into the buffer of an expression: the sums that are its own, and the rest."""
    if is_sum(node):
        return Stored(node, None, ((sympy.S.One, node),), result)
    terms = node.terms if isinstance(node, LinearCombination) else ()
    own = tuple((w, t) for w, t in terms if t in absorbed and is_sum(t))
    if not own:
        return Stored(node, node, result=result)
    rest = [(w, t) for w, t in terms if t not in absorbed]
    return Stored(node, linear_combination(rest) if rest else None, own, result)
