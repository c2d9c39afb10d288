"""What docs/recurrent.md claims of operations and of memory is what the derived programs take."""

from __future__ import annotations

from pathlib import Path

import pytest
import sympy
from test_recurrent_cost import block, costs, form, m, n, q

from derive import library
from derive.kernels.sequences.sequence_kernel import STEPS
from derive.kernels.sequences.steps import Steps
from derive.kernels.sequences.through_time import bptt
from derive.library.networks import elman
from derive.library.rnn import vanilla_rnn
from derive.models.programs import BATCH

PAGE = Path(__file__).parents[1] / "docs" / "recurrent.md"
COLUMNS = {"vanilla_rnn": 1, "lstm": 2}  # of the table
BY_INPUT = {"vanilla_rnn": 2 * n * m, "lstm": 8 * n * m}  # not in it, as the page says


def claimed(row: str, name: str) -> sympy.Expr:
    """A cell of the page's table; p is n + m but for the bias, which is of a lower degree."""
    (line,) = (x for x in PAGE.read_text("utf-8").splitlines() if x.startswith(f"| {row} |"))
    text = line.strip("| ").split(" | ")[COLUMNS[name]]
    for sign, power in (("²", "**2"), ("³", "**3")):
        text = text.replace(sign, power)
    numbers = sympy.sympify("*".join(text.split()).replace("*+*", " + ").replace("*/*", "/"))
    return sympy.expand(numbers.subs({"n": n, "p": q, "k": block}))


def leading(name: str, method: str, part: str = "") -> sympy.Expr:
    found = costs(name)[method]
    if not part:
        return form(found.leading)
    return form(next(p.leading for p in found.parts if p.part == part))


@pytest.mark.parametrize("name", COLUMNS)
def test_the_page_says_how_many_operations_the_methods_take(name: str) -> None:
    assert claimed("forward", name) == leading(name, "forward")
    steps = leading(name, "bptt", "cell_backward") + leading(name, "bptt", "cell_adjoints")
    assert claimed("BPTT", name) == sympy.expand(steps - BY_INPUT[name])
    assert claimed("RTRL", name) == leading(name, "rtrl", "influence_product")
    assert claimed("hybrid", name) == leading(name, "hybrid")


@pytest.mark.parametrize("name", COLUMNS)
def test_the_page_says_how_many_numbers_are_kept(name: str) -> None:
    kept = form(costs(name)["bptt"].numbers)
    assert claimed("numbers that BPTT keeps for each of T steps", name) == kept
    influence = form(costs(name)["rtrl"].numbers).subs(m, m - 1)  # p is n + m + 1
    assert claimed("numbers in the influence", name) == sympy.expand(influence)


@pytest.mark.parametrize("name", ["elman", "lstm_classifier"])
def test_what_is_kept_is_the_workspace_that_grows_with_the_steps(name: str) -> None:
    """The arrays of the kernel over a sequence with an axis of time, but for those of its steps."""
    kernel = bptt(Steps(library.layers()[name]))
    own = [buffer for buffer, _ in kernel.workspace if buffer.name != "scratch"]
    each = sum(sympy.diff(buffer.count, STEPS) for buffer in own).subs(BATCH, 1)
    names = {str(s): s for s in each.free_symbols}
    kept = form(costs(name)["bptt"].numbers)
    assert sympy.expand(each - kept.subs({s: names.get(str(s), s) for s in kept.free_symbols})) == 0
    sizes = {BATCH: 1, **{s: 20 if str(s) in "nm" else 2 for s in kernel.sizes if s != BATCH}}
    whole = [kernel.workspace_count.subs({**sizes, STEPS: steps}) for steps in (50, 51)]
    assert whole[1] - whole[0] == each.subs(sizes) + 20 + 2 * 20  # n + 2 m


def test_a_map_of_a_network_over_sequences_says_that_it_is_of_one_step() -> None:
    for map_ in (elman.D(), elman.D().adjoint, elman.nabla("cell_W"), elman.nabla2("cell_W")):
        assert map_.name.endswith(", one step") and ", one step" in str(map_)
    assert "one step" not in vanilla_rnn.D().name
    assert "derivatives of one step" in " ".join(type(elman).__doc__.split())
