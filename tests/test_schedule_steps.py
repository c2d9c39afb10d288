"""The steps that make a schedule: the law of each, in every kernel of every layer."""

from collections.abc import Callable, Iterator
from functools import lru_cache

from declared import LAYERS
from kernels import on_every
from shipped import SINGLE

from derive.kernels.lowering.arrays import Arrays
from derive.kernels.lowering.asking import asked
from derive.kernels.lowering.choosing import chosen
from derive.kernels.lowering.products import is_sum
from derive.kernels.lowering.sharing import shared
from derive.kernels.lowering.staging import staged
from derive.kernels.lowering.stored import Demand, Schedule, Stored
from derive.language.expressions import Node
from derive.models.programs import Program, programs

on_every_program = on_every(LAYERS | SINGLE, programs)
Step = Callable[[Schedule], Schedule]
SETTLED = (chosen, staged, shared, staged)  # all steps but the last


@lru_cache(maxsize=64)  # a layer's programs, after each step
def after(program: Program, steps: tuple[Step, ...]) -> Schedule:
    """The schedule of a program after some steps."""
    if steps:
        return steps[-1](after(program, steps[:-1]))
    arrays = Arrays(program)
    return Schedule(Demand(tuple(arrays.wanted), frozenset(arrays.memory)))


def stages(schedule: Schedule) -> dict[Node, tuple[object, ...]]:
    return {n: (s.pointwise_stage, s.sum_stages) for n, s in schedule.stored.items()}


def of_copies(schedule: Schedule) -> list[tuple[object, ...]]:
    return [(s.node, s.pointwise_stage, s.sum_stages) for s in schedule.copies]


def loads(schedule: Schedule, stored: Stored) -> Iterator[Stored]:
    """The arrays that the pointwise part of one meets first on the way down."""
    assert stored.pointwise is not None
    own = schedule.stored.get(stored.pointwise) is stored
    stack = list(stored.pointwise.operands) if own else [stored.pointwise]
    met = set[Node]()
    while stack:
        node = stack.pop()
        if node in met or schedule.demand.is_given(node):
            continue
        met.add(node)
        if node in schedule.stored:
            yield schedule.stored[node]
        else:
            stack += node.operands


@on_every_program
def test_what_is_read_from_memory_is_there(program: Program) -> None:
    schedule = after(program, (chosen,))
    computed = [n for n in schedule.demand.order if not schedule.demand.is_given(n)]
    for node in computed:
        for read in schedule.demand.reads(node):
            assert not read.from_memory or schedule.in_memory(schedule.loaded(read))
    added_up = [total for stored in schedule.contents for _, total in stored.sums]
    assert {node for node in computed if is_sum(node)} == set(added_up)
    assert len(added_up) == len(set(added_up))


@on_every_program
def test_a_nest_loads_what_earlier_stages_made(program: Program) -> None:
    schedule = after(program, SETTLED)
    for stored in schedule.contents:
        assert all(stage >= stored.pointwise_stage for stage in stored.sum_stages)
        for source in loads(schedule, stored) if stored.pointwise is not None else ():
            made_here = source.is_at_hand(stored.nest)
            assert made_here or source.stage < stored.pointwise_stage


@on_every_program
def test_staging_again_changes_nothing(program: Program) -> None:
    schedule = after(program, SETTLED)
    again = staged(schedule)
    assert stages(again) == stages(schedule) and of_copies(again) == of_copies(schedule)


@on_every_program
def test_what_is_shared_moves_no_stage(program: Program) -> None:
    before = after(program, (chosen, staged))
    later = after(program, SETTLED)
    assert stages(before).items() <= stages(later).items()
    assert of_copies(before) == of_copies(later)


@on_every_program
def test_what_nobody_asks_for_moves_no_stage(program: Program) -> None:
    schedule = after(program, (*SETTLED, asked))
    again = staged(schedule)
    assert stages(again) == stages(schedule) and of_copies(again) == of_copies(schedule)


@on_every_program
def test_an_array_is_made_wherever_one_that_loads_it_is(program: Program) -> None:
    schedule = after(program, (*SETTLED, asked))
    for stored in schedule.contents:
        for source in loads(schedule, stored) if stored.pointwise is not None else ():
            if not source.is_at_hand(stored.nest):
                assert not source.guards or (stored.guards and stored.guards <= source.guards)
