"""No damaged statement survives the checks: each kind, in each way, wherever it stands."""

from collections.abc import Iterator
from copy import copy
from dataclasses import replace
from functools import cache
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from damaged_kernels import DAMAGES, damaged

from derive import (
    Index,
    R,
    broadcast,
    dims,
    entry,
    form,
    indices,
    layer,
    library,
    max_pool,
    mean,
    scale,
    sigmoid,
    tanh,
    total_sum,
)
from derive.evidence.checks.kernel_laws import KernelLaws
from derive.kernels.compiling.compile import compile_modules
from derive.kernels.compiling.modules import Module
from derive.kernels.interpreting.interpret import Interpreted
from derive.kernels.lowering.kernel import Kernel
from derive.kernels.lowering.lower import lower
from derive.kernels.printing.cython.emit import emit
from derive.kernels.statements.loops import (
    Call,
    Commented,
    Copy,
    Largest,
    Selected,
    Statement,
    Where,
)
from derive.models.layers import Layer
from derive.models.programs import programs
from derive.tools.build import build_runtime, load_kernels
from derive.vocabulary.rows import largest

n = dims("n")
H = R(n)
i, s = indices("i s")
smooth = form("smooth", K=(s,), x=(i + s - 1,), to=(i,), ranges={i: n})


@layer
def stencil(x: H, *, K: R(3)) -> H:
    """Padding on both sides, and an operation of two arguments."""
    return tanh(smooth(K, x)) / (2 + x * x)


@layer
def pick(x: H, k: Index(n), *, c: H) -> R():
    """Entries selected by a class index and by being largest."""
    return (1 + entry(x * c, k)) * largest(x)


@layer
def peaks(x: R(n + 1, 6)) -> R(n, 2):
    """The largest of windows of 2 x 3, whose place is two indices."""
    return max_pool(x, (2, 3), stride=(1, 3))


@layer
def padded_peaks(x: R(n + 1, 6)) -> R(n, 2):
    """The same with a border that is searched over. What is found is inside, so that the guards of
    what is read there are never needed: of its damages only those of the search can be seen."""
    return max_pool(x, (2, 3), stride=(1, 3), padding=(0, 1))


@layer
def damped(x: H, *, gamma: H) -> H:
    """Sums over one axis that are read again on all of it."""
    wave = gamma * tanh(x)
    return scale(sigmoid(mean(x * x * gamma)), wave) - broadcast(total_sum(wave), H)


softplus = library.layers()["dense_softplus"]
LAYERS = [stencil, pick, peaks, damped, softplus, padded_peaks]


class Subject:
    """A layer's kernels, interpreted, and their laws with the cases drawn once."""

    def __init__(self, own: Layer) -> None:
        made = programs(own)
        self.lowered = {p.name: lower(p) for p in made}
        self.kernels = {name: Interpreted(kernel, True) for name, kernel in self.lowered.items()}
        kernels = SimpleNamespace(**self.kernels)
        self.laws = KernelLaws(own, kernels, made, dtypes=[np.float64], large=False)

    def survives(self, name: str, kernel: Kernel) -> bool:
        """No law fails with this kernel in the place of that of its name."""
        laws = copy(self.laws)
        laws.kernels = {**self.kernels, name: Interpreted(kernel, thrifty=True)}
        return all(found.ok for found in laws.findings())


@cache
def subject(number: int) -> Subject:
    return Subject(LAYERS[number])


def kernels() -> Iterator[tuple[Subject, str, Kernel]]:
    for number in range(len(LAYERS)):
        for name, kernel in subject(number).lowered.items():
            yield subject(number), name, kernel


@pytest.mark.parametrize("number", range(len(LAYERS)), ids=[own.name for own in LAYERS])
def test_nothing_fails_where_nothing_is_damaged(number) -> None:
    assert [found for found in subject(number).laws.findings() if not found.ok] == []


def test_every_kind_of_statement_is_damaged() -> None:
    kinds = {kind for kind, _ in DAMAGES.values()}
    # of kernels over sequences: test_sequence_laws; what masks select: test_streams
    over_time = {Call, Copy, Selected, Where}
    assert set(Statement.__subclasses__()) - kinds - over_time == {
        Commented
    }  # which only holds others


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_statement(name: str) -> None:
    kind, change = DAMAGES[name]
    tried, survivors = 0, []
    for own, program, kernel in kernels():
        if kernel.program.layer is padded_peaks and kind is not Largest:
            continue
        for number, other in enumerate(damaged(kernel, kind, change)):
            tried += 1
            if own.survives(program, other):
                survivors.append(f"{kernel.program.layer.name}.{program}, number {number}")
    assert tried and not survivors, survivors


# --- what is laid out beside the statements


def workspace_in_one_place(kernel: Kernel) -> Kernel:
    return replace(kernel, workspace=tuple((buffer, 0 * at) for buffer, at in kernel.workspace))


def workspace_shorter(kernel: Kernel) -> Kernel:
    return replace(kernel, workspace_count=kernel.workspace_count - 1)


def saved_in_another_order(kernel: Kernel) -> Kernel:
    return replace(kernel, saved=kernel.saved[::-1])


def saved_with_another_shape(kernel: Kernel) -> Kernel:
    first, *rest = kernel.saved
    return replace(kernel, saved=(replace(first, shape=(*first.shape, n)), *rest))


LAYOUTS = [
    ("tangent_backward", workspace_in_one_place),
    ("forward", workspace_shorter),
    ("backward", workspace_shorter),
    ("forward", saved_in_another_order),
    ("backward", saved_in_another_order),
    ("backward", saved_with_another_shape),
]


@pytest.mark.parametrize(("program", "change"), LAYOUTS, ids=lambda x: getattr(x, "__name__", x))
def test_a_damaged_layout(program, change) -> None:
    own = subject(LAYERS.index(damped))
    assert not own.survives(program, change(own.lowered[program]))


# --- the texts that are compiled

FIRST, ALL = 1, -1
TEXTS = [
    ("a tie goes to the last", pick, "candidate > largest", "candidate >= largest", ALL),
    (
        "a NaN is not largest",
        pick,
        " or (candidate != candidate and largest == largest)",
        "",
        FIRST,
    ),
    ("no padding", stencil, "if 0 <= i + j - 1 < n else", "if n else", FIRST),
    ("strides exchanged", softplus, "<real>1, z_bar, 1, n, x", "<real>1, z_bar, n, 1, x", FIRST),
    ("set, not added to", softplus, "b_bar[i] += ", "b_bar[i] = ", FIRST),
]


@pytest.fixture(scope="module")
def compiled(tmp_path_factory) -> dict[str, ModuleType]:
    """Every damaged text as a module, and the texts as they are; compiled in one go."""
    folder = tmp_path_factory.mktemp("damaged")
    texts = {own.name: emit(own).pyx for own in {own for _, own, *_ in TEXTS}}
    for number, (_, own, old, new, count) in enumerate(TEXTS):
        assert old in texts[own.name]
        texts[f"damaged_{number}"] = texts[own.name].replace(old, new, count)
    for name, text in texts.items():
        (folder / f"{name}.pyx").write_text(text)
    modules = [Module(name, folder / f"{name}.pyx") for name in texts]
    build_runtime(lambda line: None)
    compile_modules(modules, flags=("-O0",))
    return {name: load_kernels(name, folder) for name in texts}


def fails(own: Layer, module: ModuleType) -> bool:
    return any(not found.ok for found in KernelLaws(own, module, programs(own)).findings())


@pytest.mark.parametrize("own", [pick, stencil, softplus], ids=lambda own: own.name)
def test_a_text_as_it_is_emitted(own: Layer, compiled) -> None:
    assert not fails(own, compiled[own.name])


@pytest.mark.parametrize("number", range(len(TEXTS)), ids=[name for name, *_ in TEXTS])
def test_a_damaged_text(number: int, compiled) -> None:
    assert fails(TEXTS[number][1], compiled[f"damaged_{number}"])
