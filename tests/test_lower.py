"""Loops: sums, scatter, padding, strides and class indices; what is set, added to and guarded."""

import numpy as np
import sympy
from declared import LAYERS, H, X, conv1d, conv1d_strided, embedding, pooling
from kernels import every, kernels_of, on_every_kernel_of, unequal
from shipped import SINGLE

from derive import Hom, R, dims, form, indices, softmax, tanh, variable
from derive.kernels.lowering.lower import lower
from derive.kernels.statements.loops import (
    Accumulate,
    Asked,
    Commented,
    Fill,
    For,
    Gemm,
    Largest,
    Let,
    Select,
    Statement,
    Store,
)
from derive.kernels.statements.scalars import Buffer, Inside, Load, Local
from derive.models.layers import Layer
from derive.models.programs import BATCH, programs

n, m, k = dims("n m k")
i, j, s = indices("i j s")
ALL = LAYERS | SINGLE
on_every_kernel = on_every_kernel_of(ALL)


def guards_of(kernel):
    """The guarded entries of a kernel, of loads, of searches and of stores."""
    found = [inside.guards for inside in every(kernel.steps, Inside)]
    found += [search.guards for search in every(kernel.steps, Largest) if search.guards]
    return [*found, *(store.guards for store in every(kernel.steps, Store) if store.guards)]


def flattened(statements, loops=()):
    """Every plain statement with the loops around it."""
    for statement in statements:
        if isinstance(statement, For):
            yield from flattened(statement.body, (*loops, statement))
        elif isinstance(statement, (Commented, Asked)):
            yield from flattened(statement.body, loops)
        else:
            yield statement, loops


# --- laws of every kernel


@on_every_kernel
def test_a_place_has_an_entry_for_each_axis_and_only_indices_that_run_or_are_selected(kernel):
    for statement, loops in flattened(kernel.steps):
        known = {loop.index for loop in loops} | set(kernel.sizes)
        known |= set(selected_in(kernel.steps))
        known |= {index for found in every(statement, Largest) for index in found.running}
        for access in every(statement, (Load, Store, Select)):
            assert len(access.place) == len(access.buffer.shape)
            assert all(entry.free_symbols <= known for entry in access.place)


@on_every_kernel
def test_every_unguarded_place_is_inside_its_buffer(kernel):
    """At unequal sizes, at the corners of the loops around it; affine places are extreme there."""
    sizes = {BATCH: 2} | unequal(kernel.program.layer)
    selected = selected_in(kernel.steps)
    for statement, loops in flattened(kernel.steps):
        ranges = {loop.index: loop.extent for loop in loops} | selected
        for found in every(statement, Largest):
            ranges |= dict(zip(found.running, found.extents, strict=True))
        searches = [found for found in every(statement, Largest) if found.guards]
        under = [*every(statement, Inside), *searches]
        guarded = {place for inside in under for place in every(inside, Load)}
        accesses = [load for load in every(statement, Load) if load not in guarded]
        accesses += [store for store in every(statement, Store) if not store.guards]
        for access in accesses:
            for entry, extent in zip(access.place, access.buffer.shape, strict=True):
                low, high = corners(entry, ranges, sizes)
                assert low >= 0 and high < int(extent.subs(sizes)), (access.buffer.name, entry)


def selected_in(steps):
    """How many values each selected index has: those of the class, or of the window."""
    ranges = {found.index: found.extent for found in every(steps, Select)}
    for found in every(steps, Largest):
        ranges |= dict(zip(found.indices, found.extents, strict=True))
    return ranges


def corners(entry, ranges, sizes):
    """The least and the largest value of an affine entry."""
    values = [entry.subs(sizes)]
    for index, extent in ((i, e) for i, e in ranges.items() if i in entry.free_symbols):
        last = int(extent.subs(sizes)) - 1
        values = [value.subs(index, end) for value in values for end in (0, last)]
    return min(map(int, values)), max(map(int, values))


@on_every_kernel
def test_a_result_is_set_once_before_it_is_added_to_or_only_added_to(kernel):
    results = {buffer for group in kernel.results for buffer in group}
    first: dict[Buffer, bool] = {}
    for statement, _ in flattened(kernel.steps):
        if isinstance(statement, (Store, Fill, Gemm)):
            buffer = statement.C.buffer if isinstance(statement, Gemm) else statement.buffer
            adds = isinstance(statement, Gemm) or (isinstance(statement, Store) and statement.add)
            if buffer in results and kernel.program.accumulate:
                assert adds, f"{buffer.name} is overwritten"
            assert adds or not first.get(buffer), f"{buffer.name} is set after it was added to"
            if buffer.kind != "workspace" or adds:
                first[buffer] = first.get(buffer, False) or adds
            if adds and buffer.kind != "result":
                assert buffer in first
    if not kernel.program.accumulate:
        assert results <= set(first) | {b for b in results if buffer_is_zero(kernel, b)}


def buffer_is_zero(kernel, buffer):
    return any(fill.buffer == buffer for fill in every(kernel.steps, Fill))


@on_every_kernel
def test_scalars_are_set_before_they_are_read(kernel):
    """Under the guards of each result alone, and of all together."""
    leaves = [buffer.name for group in kernel.results for buffer in group]
    for asked in (*({leaf} for leaf in leaves), {*leaves, "saved"}):
        known: set[str] = set()
        for statement in run(kernel.steps, asked):
            if isinstance(statement, Largest):
                known |= {let.name for let in statement.lets} | {statement.candidate}
            read = {local.name for local in every(statement, Local)}
            assert read <= known, (asked, read - known)
            if isinstance(statement, (Let, Accumulate)):
                known.add(statement.name)


def run(statements, asked):
    for statement in statements:
        if not isinstance(statement, Asked) or set(statement.pointers) & asked:
            body = getattr(statement, "body", None)
            yield from run(body, asked) if body is not None else [statement]


@on_every_kernel
def test_every_step_has_its_formula(kernel):
    def bare(statements):
        for statement in statements:
            if isinstance(statement, Asked):
                yield from bare(statement.body)
            elif not isinstance(statement, Commented) or not statement.formulas:
                yield statement

    assert not list(bare(kernel.steps))


# --- sums


def test_a_sum_ends_in_one_scalar_where_its_indices_come_last():
    kernel = kernels_of(ALL["squared_loss"])["forward"]
    ((_statement, loops),) = [
        (a, around) for a, around in flattened(kernel.steps) if isinstance(a, Accumulate)
    ]
    assert [loop.extent for loop in loops] == [BATCH, *ALL["squared_loss"].sizes]


def test_a_sum_over_the_batch_is_added_in_the_order_of_memory():
    """b_bar += sum_s z_bar: rows outside, so that every access goes along memory."""
    kernel = kernels_of(ALL["dense"])["backward"]
    ((store, loops),) = [
        (found, around)
        for found, around in flattened(kernel.steps)
        if isinstance(found, Store) and found.buffer.name == "b_bar"
    ]
    assert store.add and [loop.extent for loop in loops] == [BATCH, *kernel.results[2][0].shape]


def test_a_mean_is_weighted_once_and_not_for_each_entry():
    kernel = kernels_of(Layer.of("f", state={"x": X}, output=lambda x: tanh(x)))["forward"]
    assert not list(every(kernel.steps, Accumulate))
    gradient = kernels_of(ALL["squared_loss"])["gradient"]
    weights = [
        store
        for store, loops in flattened(gradient.steps)
        if isinstance(store, Store) and store.buffer.name == "J" and not loops
    ]
    assert len(weights) == 1


# --- scatter


def test_a_slice_is_scattered_to_its_place():
    """The adjoint of b -> b[2] adds into row 2 of an array of four."""
    declared = Layer.of(
        "f", state={"x": H}, parameters={"b": R(4, n)}, output=lambda x, b: x * b[2]
    )
    kernel = kernels_of(declared)["backward"]
    rows = {store.place[0] for store in every(kernel.steps, Store) if store.buffer.name == "b_bar"}
    assert rows == {sympy.Integer(2)} and not guards_of(kernel)


def test_the_adjoint_of_a_look_up_adds_at_the_selected_row():
    kernel = kernels_of(embedding)["backward"]
    (selected,) = every(kernel.steps, Select)
    (store,) = [found for found in every(kernel.steps, Store) if found.buffer.name == "E_bar"]
    assert selected.buffer.kind == "index" and store.add and store.place[0] == selected.index
    assert not store.guards  # the edge has checked the index


def test_an_argmax_is_found_again_and_nothing_is_found_beyond_the_border():
    kernel = kernels_of(pooling)["forward"]
    (found,) = every(kernel.steps, Largest)
    (load,) = every(found.value, Load)
    assert found.guards == ((load.place[-1], load.buffer.shape[-1]),)  # the batch runs inside
    assert not [*every(found.value, Inside)]


# --- reads at an offset


def test_reads_are_guarded_only_where_they_may_be_outside():
    """x[i + s] with i < m - 1 and s < 2 is inside at every size, but that is not known here."""
    assert not guards_of(kernels_of(ALL["dense"])["forward"])
    assert not guards_of(kernels_of(ALL["lstm_step"])["backward"])
    for declared in (conv1d, conv1d_strided):
        for guards in guards_of(kernels_of(declared)["forward"]):
            assert all(not entry.is_Symbol for entry, _ in guards)


def test_padding_reads_zero_and_strides_are_in_the_place():
    kernel = kernels_of(conv1d_strided)["forward"]
    (inside,) = every(kernel.steps, Inside)
    ((entry, extent),) = inside.guards
    running = sorted(entry.free_symbols, key=str)
    assert extent == 2 * m
    assert sorted(int(entry.coeff(index)) for index in running) == [1, 2]
    assert entry.subs(dict.fromkeys(running, 0)) == -1


def test_the_adjoint_of_a_padded_read_is_a_guarded_store():
    kernel = kernels_of(conv1d_strided)["backward"]
    (store,) = [found for found in every(kernel.steps, Store) if found.buffer.name == "x_bar"]
    assert store.add and [extent for _, extent in store.guards] == [2 * m]


# --- sizes


def test_the_statements_do_not_grow_with_any_size():
    def statements(count):
        space, more = R(count), R(count + 1)
        W, b = variable("W", Hom(space, more)), variable("b", more)
        window = form("window", x=(2 * i + s - 1,), to=(i,), ranges={i: count, s: count})
        x = variable("x", space)
        declared = Layer.of(
            "f",
            state={"x": space},
            parameters={"W": Hom(space, more), "b": more},
            output=(softmax(W @ tanh(window(x)) + b)),
        )
        return [len(list(every(lower(p).steps, Statement))) for p in programs(declared)]

    assert statements(3) == statements(3000)


def test_extents_that_are_derived_are_formulas():
    (out,) = [group[0] for group in kernels_of(conv1d)["forward"].results]
    assert out.shape == (BATCH, n, m - 1)
    assert np.prod([int(e.subs({BATCH: 2, n: 3, m: 4})) for e in out.shape]) == 18
