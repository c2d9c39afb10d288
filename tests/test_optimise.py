"""Passes over statements keep what a kernel computes to the last bit; others are refused."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import sympy
from declared import LAYERS
from kernels import Sizes, filled, point, unequal
from shipped import SINGLE

from derive import dims
from derive.kernels.interpreting.interpret import Interpreted
from derive.kernels.lowering.kernel import Kernel
from derive.kernels.lowering.lower import lower
from derive.kernels.optimise.covering import covered
from derive.kernels.optimise.fusion import fused
from derive.kernels.optimise.pipeline import PASSES, optimised
from derive.kernels.statements.checking import IllFormed, check
from derive.kernels.statements.instances import instances
from derive.kernels.statements.loops import Commented, Fill, For, Let, Statement, Store
from derive.kernels.statements.scalars import Buffer, Load, Local, Number, Times
from derive.language.reference import flat_arrays, values_of
from derive.models.programs import BATCH, Program, programs

EVERY = {**LAYERS, **SINGLE}
n = dims("n")
one, two = Number(sympy.S.One), Number(sympy.S(2))
i, j = (sympy.Symbol(name, integer=True, nonnegative=True) for name in "ij")
a, b, c = (Buffer(name, (n,), "workspace") for name in "abc")
block = Buffer("block", (sympy.S(2), n), "workspace")


@pytest.mark.parametrize("name", EVERY)
def test_every_pass_keeps_every_bit(name: str) -> None:
    """Each pass after those before it, where it changes a statement; -0 and 0 are one."""
    f = EVERY[name]
    made, sizes = programs(f), {**unequal(f), BATCH: 2}
    for program in made:
        steps = [lower(program, PASSES[:count]) for count in range(len(PASSES) + 1)]
        for before, after in pairwise(steps):
            if before.steps != after.steps:
                pairs = zip(*(run(k, made, program, sizes) for k in (before, after)), strict=True)
                assert all(np.array_equal(x, y, equal_nan=True) for x, y in pairs), program.name


def run(kernel: Kernel, made: Sequence[Program], program: Program, sizes: Sizes) -> list[Any]:
    """The results of a kernel, those that are added to from ones on; forward saves for it."""
    values, known = point(program, sizes, np.float64), {str(k): v for k, v in sizes.items()}
    out = tuple(
        filled(e, 1.0 if program.accumulate else np.nan, np.float64)
        for e in values_of([r.node for r in program.results], values, sizes)
    )
    given: dict[str, Any] = {}
    if program.reads_saved:
        forward = Interpreted(lower(made[0]))
        given["saved"] = np.full(forward.saved_size(**known), np.nan)
        call(forward, made[0], values, known, saved=given["saved"])
    call(Interpreted(kernel), program, values, known, out=out, **given)
    return list(flat_arrays(out))


def call(kernel: Interpreted, program: Program, values: dict, sizes: dict, **given: Any) -> None:
    asked = {size: sizes[size] for size in kernel.declaration.asked}
    kernel(*(values[a.variable] for a in program.arguments), **given, **asked)


def nest(index: sympy.Symbol, *body: Statement) -> Commented:
    return Commented((), (For(index, n, body),))


def store(buffer: Buffer, value: Any, *place: Any, add: bool = False) -> Store:
    return Store(buffer, place, value, add)


def test_what_one_nest_names_is_not_computed_again() -> None:
    named = Let("r", Times((Load(a, (i,)), two)))
    again = Let("r", Times((Load(a, (j,)), two)))
    first = nest(i, named, store(b, Local("r"), i))
    (step,) = fused([first, nest(j, again, store(c, Local("r"), j))])
    assert step == nest(i, named, store(b, Local("r"), i), store(c, Local("r"), i))


def test_what_has_changed_is_computed_again() -> None:
    """The name holds a value of what is stored anew in between."""
    named = Let("r", Times((Load(a, (i,)), two)))
    (step,) = fused([nest(i, named, store(a, Local("r"), i)), nest(i, named, store(b, one, i))])
    assert len(list(instances(step, Let))) == 2


@pytest.mark.parametrize(
    "second",
    [
        nest(i, store(b, Load(a, (n - 1 - i,)), i)),  # reads what other points write
        nest(i, store(b, Load(a, (sympy.S.Zero,)), i)),
        nest(i, store(a, one, sympy.S.Zero)),  # all points write one entry
        Commented((), (Fill(a), For(i, n, (store(b, one, i),)))),  # cleared behind the first nest
        Commented((), (For(i, n + 1, (store(c, one, i),)),)),  # of other extents
    ],
)
def test_nests_that_may_meet_stay_apart(second: Commented) -> None:
    first = nest(i, store(a, one, i))
    assert fused([first, second]) == [first, second]


def test_what_is_added_to_at_every_place_once_is_set() -> None:
    halves = [store(block, Load(a, (i,)), sympy.S(k), i, add=True) for k in range(2)]
    cleared = Commented((), (Fill(block), For(i, n, tuple(halves))))
    (step,) = covered([cleared])
    assert step == nest(i, *(replace(half, add=False) for half in halves))
    for body in (halves[:1], [*halves, halves[0]], [halves[0], replace(halves[1], place=(i, i))]):
        assert covered([replace(cleared, body=(Fill(block), For(i, n, tuple(body))))])[0].body[
            0
        ] == Fill(block)


@pytest.mark.parametrize(
    "steps",
    [
        [nest(i, store(a, Local("r"), i)), nest(i, Let("r", one))],
        [nest(i, store(a, Local("r"), i), Let("r", one))],
        [nest(i, store(a, one, i)), nest(j, store(a, one, i))],
        [nest(i, store(block, one, i))],
        [nest(i, store(Buffer("x", (n,), "argument"), one, i))],
    ],
)
def test_statements_that_no_kernel_can_have(steps: list[Statement]) -> None:
    with pytest.raises(IllFormed):
        check(steps)


def test_a_pass_that_breaks_statements_is_found() -> None:
    def forgets(steps: Any) -> list[Statement]:
        return [
            replace(s, body=(For(i, n, (store(b, Local("r"), i), Let("r", one))),)) for s in steps
        ]

    with pytest.raises(IllFormed, match="'r'"):
        optimised([nest(i, store(b, one, i))], [forgets])


def test_the_lstm_makes_each_cotangent_in_one_nest() -> None:
    """c_next_bar: once for the state's cotangent, which may not be asked for, once for the rest."""
    kernel: Kernel = lower(programs(EVERY["lstm"])[2])
    assert sum(let.name == "c_next_bar" for let in instances(kernel.steps, Let)) == 2
