"""Interpreted kernels are the reference, and the interpreter refuses what no kernel may do."""

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import sympy
from declared import LAYERS
from shipped import SINGLE

from derive import R, broadcast, dims, layer, total_sum
from derive.evidence.checks.check import by_layer
from derive.evidence.checks.kernel_laws import KernelLaws
from derive.kernels.interpreting.interpret import InterpretationError, Interpreted
from derive.kernels.lowering.kernel import Kernel
from derive.kernels.lowering.lower import lower
from derive.kernels.statements.loops import Asked, Commented, Fill, For, Store
from derive.kernels.statements.scalars import Buffer, Load
from derive.models.programs import programs

EVERY = {**LAYERS, **SINGLE}
n = dims("n")


@pytest.mark.parametrize("name", EVERY)
def test_an_interpreted_kernel_is_the_reference(name: str) -> None:
    """Every load and store is in bounds, and nothing is read that was not written."""
    for own, made in by_layer(programs(EVERY[name])).items():
        kernels = SimpleNamespace(**{p.name: Interpreted(lower(p), thrifty=True) for p in made})
        laws = KernelLaws(own, kernels, made)
        for program in made:
            found = [*laws.alone(program, laws.cases.one, np.float64)]
            for case in (laws.cases.one, *laws.cases.small, *laws.cases.zero):
                found += laws.values(program, case, np.float64)
            assert [finding for finding in found if not finding.ok] == []


# --- what it refuses


@layer
def centred(x: R(n)) -> R(n):
    return x - broadcast(total_sum(x), R(n))


def forward(change: Callable[[Kernel], Kernel]) -> Interpreted:
    """The forward kernel of a layer, changed."""
    return Interpreted(change(lower(programs(centred)[0])))


def with_steps(*steps: Any) -> Callable[[Kernel], Kernel]:
    return lambda kernel: replace(kernel, steps=(*steps, *kernel.steps))


kernel = lower(programs(centred)[0])
((x,),), ((y,),), ((total, _),) = kernel.arguments, kernel.results, kernel.workspace
i = sympy.Symbol("i", integer=True, nonnegative=True)
last = (n - 1,)
one = Load(x, (sympy.S.Zero, sympy.S.Zero))


def entry(buffer: Buffer, *place: Any) -> Load:
    return Load(buffer, tuple(map(sympy.sympify, place)))


REFUSED = {
    "is outside of": Store(y, (sympy.S.Zero, n), one),
    "is outside": Store(y, (sympy.S.Zero, sympy.S.Zero), entry(x, 0, -1)),
    "is read and was not written": Store(y, (sympy.S.Zero, sympy.S.Zero), entry(total, 0)),
    "entry 0 is read and was not": Store(y, (sympy.S.Zero, sympy.S.Zero), one, add=True),
    "is written to and is an input": Store(x, (sympy.S.Zero, sympy.S.Zero), one),
    "x is written to": Fill(x),
}


@pytest.mark.parametrize("sentence", REFUSED)
def test_it_refuses(sentence: str) -> None:
    """Each with the sentence that says what is wrong."""
    damaged = forward(with_steps(Commented((), (REFUSED[sentence],))))
    with pytest.raises(InterpretationError, match=sentence):
        damaged(np.ones((2, 3)))


def test_it_refuses_what_another_buffer_has_left() -> None:
    """Two workspace buffers in one place: what the first has written is not of the second."""
    other = replace(total, name="other")
    both = (*kernel.workspace, (other, sympy.S.Zero))
    read = For(i, sympy.S.One, (Store(y, (i, i), Load(other, (i,))),))
    damaged = replace(kernel, workspace=both, steps=(*kernel.steps, Commented((), (read,))))
    with pytest.raises(InterpretationError, match="other: entry 0 is read"):
        Interpreted(damaged)(np.ones((2, 3)))


def test_it_refuses_null() -> None:
    backward = lower(programs(centred)[2])
    ((x_bar,),) = backward.results
    always = replace(backward, steps=tuple(_unguarded(step) for step in backward.steps))
    assert any(isinstance(step, Asked) for step in backward.steps) or x_bar.kind == "result"
    with pytest.raises(InterpretationError, match="x_bar is NULL"):
        Interpreted(always)(np.ones((2, 3)), np.ones((2, 3)), out=(None,))


def _unguarded(step: Any) -> Any:
    return Commented((), step.body) if isinstance(step, Asked) else step


def test_a_thrifty_kernel_computes_nothing_for_nobody() -> None:
    unread = Commented((), (Fill(replace(total, name="unread")),))
    scratch = (*kernel.workspace, (replace(total, name="unread"), kernel.workspace_count))
    count = kernel.workspace_count + total.count
    wasteful = replace(
        kernel, workspace=scratch, workspace_count=count, steps=(*kernel.steps, unread)
    )
    Interpreted(wasteful)(np.ones((2, 3)))
    with pytest.raises(InterpretationError, match="unread is computed and nothing reads it"):
        Interpreted(wasteful, thrifty=True)(np.ones((2, 3)))


def test_it_is_called_like_a_compiled_kernel() -> None:
    whole = Interpreted(kernel)
    assert whole.workspace_size(batch=2, n=3) == 2 and whole.saved_size(batch=2, n=3) == 0
    x_, out = np.array([1.0, 2.0, 4.0], np.float32), np.empty(3, np.float32)
    assert whole(x_, out=out) is out
    np.testing.assert_array_equal(out, x_ - 7)
    np.testing.assert_array_equal(whole(x=x_[None]), x_[None] - 7)
