"""What is stored, shared and asked for, in every kernel of every layer; matrix products by their
index sets alone."""

from itertools import combinations

import sympy
from declared import LAYERS, H, X
from kernels import every, kernels_of, on_every_kernel_of, unequal
from shipped import SINGLE

from derive import (
    Hom,
    R,
    dims,
    exp,
    form,
    indices,
    inner,
    outer,
    scale,
    tanh,
    total_sum,
    variable,
)
from derive.kernels.lowering.preparing import prepared
from derive.kernels.lowering.products import as_product
from derive.kernels.lowering.schedule import scheduled
from derive.kernels.lowering.stored import Wanted
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
    Store,
)
from derive.kernels.statements.scalars import Apply, Buffer, Load, Local
from derive.language.expressions import Contraction, Elementwise
from derive.language.walk import storage, topological
from derive.models.layers import Layer
from derive.models.programs import BATCH

n, m, k, p = dims("n m k p")
i, j, s, t = indices("i j s t")
x, h, W = variable("x", X), variable("h", H), variable("W", Hom(X, H))
ALL = LAYERS | SINGLE
on_every_kernel = on_every_kernel_of(ALL)


def calls(kernel):
    """How often each operation is written in a kernel."""
    names = [apply.operation.name for apply in every(kernel.steps, Apply)]
    return {name: names.count(name) for name in names}


# --- matrix products


def product_of(name, *, to, ranges=None, **reads):
    """Whether a form of two operands is a matrix product, the operands being given arrays."""
    shapes = {
        "A": R(n, m),
        "B": R(n, m),
        "S": R(m, m),
        "x": X,
        "y": H,
        "T": R(p, n, m),
        "U": R(p, m, k),
    }
    operands = [variable(key, shapes[key]) for key in reads]
    node = form(name, to=to, ranges=ranges, **reads)(*operands)
    assert isinstance(node, Contraction)
    return as_product(node)


def test_a_product_is_known_by_its_index_sets():
    o = indices("o")[0]
    assert product_of("apply", A=(i, j), x=(j,), to=(i,))
    assert product_of("transposed", A=(i, j), y=(i,), to=(j,))
    assert product_of("compose", A=(i, j), B=(s, j), to=(i, s))
    assert product_of("compose in another order", A=(i, j), B=(s, j), to=(s, i))
    assert product_of("a batch of them", T=(s, i, j), U=(s, j, o), to=(s, i, o))
    assert product_of("outer", x=(i,), y=(j,), to=(i, j))


def test_what_is_no_product_is_none():
    assert not product_of("Hadamard", A=(i, j), B=(i, j), to=(i, j))
    assert not product_of("inner", A=(i, j), B=(i, j), to=())
    assert not product_of("sum of one alone", A=(i, j), x=(t,), to=(i, t))
    assert not product_of("diagonal", S=(i, i), y=(j,), to=(i, j))
    assert not product_of("offset", A=(i, j), x=(j + 1,), to=(i,))
    assert not product_of("stride", A=(i, j), x=(2 * j,), to=(i,))


def test_a_dense_layer_is_its_matrix_products():
    kernels = kernels_of(ALL["dense"])
    sizes = {
        name: [(g.M, g.N, g.K) for g in every(kernel.steps, Gemm)]
        for name, kernel in kernels.items()
    }
    rows, columns = ALL["dense"].sizes[1], ALL["dense"].sizes[0]  # n, m: x is of R(m)
    forward = (BATCH, rows, columns)
    into_x, into_W = (BATCH, columns, rows), (rows, columns, BATCH)
    assert sizes["forward"] == [forward]
    assert sizes["tangent"] == [forward] * 3
    assert sizes["backward"] == [into_x, into_W]
    assert sorted(sizes["tangent_backward"], key=str) == sorted(
        [forward] * 3 + [into_x, into_W] * 2, key=str
    )


def test_axes_that_are_neighbours_are_one():
    """Hom(R(2, n), R(m, k)) is one matrix of m k rows and 2 n columns, with no loop around."""
    (step,) = [s for s in kernels_of(LAYERS["tensors"])["forward"].steps if every_list(s, Gemm)]
    (gemm,) = every(step, Gemm)
    assert not every_list(step, For)
    assert sympy.expand(gemm.M * gemm.N * gemm.K - BATCH * m * k * 2 * n) == 0
    assert {gemm.M, gemm.N, gemm.K} == {BATCH, m * k, 2 * n}


def test_a_product_for_each_sample_is_a_loop_of_products():
    """(W x) y: W x is one product for all samples, times y one for each."""
    found = every_list(kernels_of(ALL["bilinear"])["forward"].steps, For)
    inside = [loop for loop in found if every_list(loop, Gemm)]
    assert [loop.extent for loop in inside] == [BATCH]
    assert len(every_list(kernels_of(ALL["bilinear"])["forward"].steps, Gemm)) == 2


def test_a_transpose_is_a_matter_of_strides():
    """No transposed or sliced matrix is copied."""
    transpose = form("transpose", A=(i, j), to=(j, i))
    layer_ = Layer.of(
        "f",
        state={"h": H, "x": X},
        parameters={"W": Hom(X, H), "V": R(4, n, m)},
        output=lambda h, x, W, V: (transpose(W) @ h, V[2] @ x),
    )
    kernel = kernels_of(layer_)["forward"]
    assert not kernel.workspace and not every_list(kernel.steps, Store)
    first, second = every(kernel.steps, Gemm)
    assert (first.B.row, first.B.column) == (m, 1)  # W[i, j] with i summed over
    assert second.B.offset == 2 * n * m and (second.B.row, second.B.column) == (1, m)


def test_what_is_reversed_is_copied_before_it_is_multiplied():
    kernel = kernels_of(LAYERS["rearranged"])["forward"]
    assert len(every_list(kernel.steps, Gemm)) == 3
    strides = [
        s
        for g in every(kernel.steps, Gemm)
        for part in (g.A, g.B, g.C)
        for s in (part.row, part.column)
    ]
    assert all(not stride.could_extract_minus_sign() for stride in strides)


def every_list(tree, kind):
    return list(every(tree, kind))


# --- sharing


@on_every_kernel
def test_an_elementwise_function_is_called_once_for_each_entry(kernel):
    """The calls counted in the loops are the entries of the different elementwise expressions."""
    sizes = {BATCH: 7} | unequal(kernel.program.layer)
    assert executed_calls(kernel.steps, sizes) == sum(
        int(node.space.dimension.subs(sizes)) for node in computed(kernel)
    )


def computed(kernel):
    """The elementwise expressions between a kernel's arguments or saved values and its results."""
    program = kernel.program
    roots = [result.node for result in program.results]
    roots += [] if program.reads_saved else program.saves
    plain = prepared([*roots, *program.saves, *program.names], program.names)
    known = {plain[node] for node in program.saves} if program.reads_saved else set()
    found, stack = {}, [part for root in roots for part in storage(plain[root])]
    while stack:
        node = stack.pop()
        if node not in found and node not in known:
            found[node] = None
            stack.extend(node.operands)
    return [node for node in found if isinstance(node, Elementwise)]


def executed_calls(statements, sizes):
    total = 0
    for statement in statements:
        if isinstance(statement, (Commented, Asked)):
            total += executed_calls(statement.body, sizes)
        elif isinstance(statement, For):
            total += int(statement.extent.subs(sizes)) * executed_calls(statement.body, sizes)
        elif isinstance(statement, Largest):
            inside = executed_calls(statement.lets, sizes) + len(every_list(statement.value, Apply))
            total += int(sympy.Mul(*statement.extents).subs(sizes)) * inside
        else:
            total += len(every_list(statement, Apply))
    return total


def test_dense_and_softmax_by_hand():
    dense, softmax = kernels_of(ALL["dense"]), kernels_of(ALL["dense_softmax"])
    assert calls(dense["forward"]) == {"tanh": 1, "tanh_d1": 1}
    assert calls(dense["tangent"]) == {"tanh_d1": 1}
    assert calls(dense["backward"]) == {}
    assert calls(dense["tangent_backward"]) == {"tanh_d1": 1, "tanh_d2": 1}
    assert calls(softmax["forward"])["exp"] == 1
    assert "exp" not in calls(softmax["backward"])


# --- only what is asked for


def leaves_of(kernel):
    return [buffer for group in kernel.results for buffer in group]


def taken(statements, asked):
    """The statements that are run where these results are asked for, loops and all."""
    for statement in statements:
        if isinstance(statement, Asked):
            if set(statement.pointers) & asked:
                yield from taken(statement.body, asked)
        elif isinstance(statement, (Commented, For)):
            yield from taken(statement.body, asked)
        else:
            yield statement


def written(statement):
    if isinstance(statement, (Store, Fill)):
        return statement.buffer
    return statement.C.buffer if isinstance(statement, Gemm) else None


def reads(statements):
    """For each buffer those that it is made of; a scalar stands for all that went into it."""
    scalars: dict[str, set[Buffer]] = {}
    made: dict[Buffer, set[Buffer]] = {}
    for statement in statements:
        loaded = {load.buffer for load in every(statement, (Load, Select))}
        loaded |= {part.buffer for gemm in every(statement, Gemm) for part in (gemm.A, gemm.B)}
        names = {
            str(symbol) for place in every(statement, sympy.Expr) for symbol in place.free_symbols
        }
        for name in names | {local.name for local in every(statement, Local)}:
            loaded |= scalars.get(name, set())
        if isinstance(statement, Accumulate):
            scalars[statement.name] |= loaded
        elif isinstance(statement, (Let, Select)):
            scalars[statement.name if isinstance(statement, Let) else str(statement.index)] = loaded
        elif isinstance(statement, Largest):
            scalars |= dict.fromkeys(map(str, statement.indices), loaded)
        elif (buffer := written(statement)) is not None:
            made.setdefault(buffer, set()).update(loaded)
    return made


@on_every_kernel
def test_only_what_is_asked_for_is_computed(kernel):
    """Where one result is asked for, every buffer that is written leads to it."""
    always = {leaf.name for leaf in leaves_of(kernel)} if not kernel.program.accumulate else set()
    choices = [{leaf.name} for leaf in leaves_of(kernel)] if not always else [always]
    for asked in choices:
        made = reads(list(taken(kernel.steps, asked)))
        needed, stack = set(), [leaf for leaf in leaves_of(kernel) if leaf.name in asked]
        while stack:
            buffer = stack.pop()
            if buffer not in needed:
                needed.add(buffer)
                stack.extend(made.get(buffer, ()))
        assert set(made) <= needed, (asked, sorted(b.name for b in set(made) - needed))


def test_a_statement_for_one_result_only_is_found_out():
    """The law above bites: without its guard, W's product is computed for whoever asks."""
    kernel = kernels_of(ALL["dense"])["backward"]
    (guarded,) = [s for s in kernel.steps if isinstance(s, Asked) and s.pointers == ("W_bar",)]
    bare = list(taken((*kernel.steps, *guarded.body), {"b_bar"}))
    assert any(buffer.name == "W_bar" for buffer in reads(bare))


# --- workspace


@on_every_kernel
def test_buffers_that_share_their_place_do_not_live_at_once(kernel):
    sizes = {BATCH: 3} | unequal(kernel.program.layer)
    total = int(sympy.sympify(kernel.workspace_count).subs(sizes))
    spans, lives = {}, {}
    in_order = list(every(kernel.steps, Commented))
    for buffer, offset in kernel.workspace:
        start = int(sympy.sympify(offset).subs(sizes))
        spans[buffer] = (start, start + int(sympy.sympify(buffer.count).subs(sizes)))
        assert spans[buffer][1] <= total
        used = [k for k, step in enumerate(in_order) if buffer in set(every(step, Buffer))]
        lives[buffer] = (used[0], used[-1])
    for one, other in combinations(spans, 2):
        together = spans[one][0] < spans[other][1] and spans[other][0] < spans[one][1]
        apart = lives[one][1] < lives[other][0] or lives[other][1] < lives[one][0]
        assert apart or not together, (one.name, other.name)


def test_a_place_is_used_again():
    kernel = kernels_of(ALL["layer_norm"])["tangent_backward"]
    sizes = {BATCH: 3} | unequal(ALL["layer_norm"])
    buffers = sum(buffer.count for buffer, _ in kernel.workspace)
    assert kernel.workspace_count.subs(sizes) < buffers.subs(sizes)


# --- what is stored


def stored(output, *, readable=True):
    """The expressions that a value of `output` stores on the way."""
    plain = prepared([output], {})[output]
    given = [v for v in topological(plain) if not v.operands]
    schedule = scheduled([Wanted("y", plain, readable)], given)
    return [node for node in schedule.stored if node is not plain]


def test_pointwise_expressions_are_not_stored():
    assert stored(tanh(x) * exp(x) + 3 * x) == []


def test_what_is_summed_over_is_stored_once_it_is_read_again():
    z = tanh(x)
    assert stored(W @ z) == [z]  # every row reads it
    assert stored(inner(z, x)) == []  # read once: it goes into the sum
    assert stored(outer(z, h)) == [z] or stored(outer(z, h)) == []


def test_a_sum_that_is_read_by_a_function_is_stored():
    total = total_sum(x)
    assert stored(tanh(total)) == [total]
    assert stored(scale(total, x)) == [total]


def test_a_function_of_a_scalar_is_not_called_for_each_entry():
    number = exp(total_sum(x))
    assert number in stored(scale(number, x))
