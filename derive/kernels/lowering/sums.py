"""Sums: a matrix product where the index sets are those of one, else loops."""

from __future__ import annotations

from collections.abc import Mapping

import sympy

from ...language.expressions import Contraction, Node, RunningSum
from ...language.forms import Access
from ...language.notation import Letters
from ...language.patterns import is_rearranged
from ..statements.loops import Accumulate, Fill, Gemm, Let, Matrix, Statement, Store
from ..statements.scalars import Buffer, Local, Number
from .loop_names import LoopNames
from .nests import in_loops
from .points import Memory, Points, placed, weighted
from .products import Summed, as_product, shown_indices, strided_base


def sum_statements(
    memory: Memory,
    names: Mapping[Node, str],
    indices: LoopNames,
    target: Buffer,
    weight: sympy.Expr,
    node: Summed,
    first: bool,
) -> list[Statement]:
    """target += weight * sum, or target = .. where it is the first that goes into the buffer."""
    if isinstance(node, RunningSum):
        return _running_sum(Points(memory, names, indices), target, weight, node, first)
    if as_product(node) and all(strided_base(x) in memory or x in memory for x in node.filled):
        fill = [Fill(target)] if first else []
        return [*fill, *_matrix_product(memory, indices, target, weight, node)]
    return _loop_sum(Points(memory, names, indices), target, weight, node, first)


def _loop_sum(
    points: Points, target: Buffer, weight: sympy.Expr, node: Contraction, first: bool
) -> list[Statement]:
    """A nest over all indices; those that are summed over go into a scalar where they come last."""
    order = _loop_order(node)
    extents = [node.form.extent(index) for index in order]
    symbols = points.indices.fresh(extents)
    moved: dict[sympy.Symbol, sympy.Expr] = dict(zip(order, symbols, strict=True))
    moved |= points.bound(node, moved)
    value = points.product(node, moved)
    place = placed(node.output, moved)
    guards = points.indices.outside(place, target.shape)
    summed = set(node.summed)
    trailing = next((k for k, i in enumerate(reversed(order)) if i not in summed), len(order))
    split = len(order) - trailing
    outer, inner = symbols[:split], symbols[split:]
    if trailing and node.form.is_plain(node.opened):
        total = points.indices.scalar("total", (), points.used)
        loops = in_loops(inner, extents[split:], [*points.lets, Accumulate(total, value)])
        scaled = weighted(weight, Local(total))
        # Set rather than cleared and added to, where each entry is met once.
        every = node.form.covers(node.opened, target.shape)
        alone = first and every and not set(order[:split]) & summed
        body = [Let(total, Number(sympy.S.Zero)), *loops, Store(target, place, scaled, not alone)]
        fill = [Fill(target)] if first and not alone else []
        return [*fill, *in_loops(outer, extents[:split], body)]
    store = Store(target, place, weighted(weight, value), True, guards)
    return [*([Fill(target)] if first else []), *in_loops(symbols, extents, [*points.lets, store])]


def _running_sum(
    points: Points, target: Buffer, weight: sympy.Expr, node: RunningSum, first: bool
) -> list[Statement]:
    """One loop along the last axis with the sum so far, inside loops over the other axes."""
    *rows, index = points.indices.fresh(target.shape)
    *outer, extent = target.shape
    place = (*rows, extent - 1 - index if node.reverse else index)
    total = points.indices.scalar("total", (), points.used)
    value = points.value(node.operand, place, root=True)
    store = Store(target, place, weighted(weight, Local(total)), not first)
    loop = in_loops([index], [extent], [*points.lets, Accumulate(total, value), store])
    return in_loops(rows, outer, [Let(total, Number(sympy.S.Zero)), *loop])


def loop_letters(indices: LoopNames) -> Letters:
    """The letters of a form's indices in a comment: those of the loops that compute it."""

    def letters(node: Contraction) -> dict[sympy.Symbol, str]:
        order = _lettered(node)
        names = indices.names([node.form.extent(index) for index in order])
        return dict(zip(order, names, strict=True))

    return letters


def _lettered(node: Contraction) -> list[sympy.Symbol]:
    """The running indices of a form in the order in which loops give them their letters."""
    if node.is_pointwise or as_product(node):
        running = set(node.form.free)
        shown = (e for e in node.output if e in running)
        return list(dict.fromkeys([*shown, *node.form.free]))
    return _loop_order(node)


def _loop_order(node: Contraction) -> list[sympy.Symbol]:
    """The running indices in the order in which the first operand is stored, then the others."""
    order: dict[sympy.Symbol, None] = {}
    for access in (*(node.access(k) for k in range(len(node.filled))), node.output):
        for entry in access:
            order.update(dict.fromkeys(i for i in node.form.free if i in entry.free_symbols))
    order.update(dict.fromkeys(node.form.free))
    return list(order)


def _matrix_product(
    memory: Memory, indices: LoopNames, target: Buffer, weight: sympy.Expr, node: Contraction
) -> list[Statement]:
    """C += weight A B, with loops over the indices that one matrix product can't take."""
    left, right = (_strides(memory, x, node.access(k)) for k, x in enumerate(node.filled))
    out = _strides_of(target, node.output)
    output = shown_indices(node)
    if output[-1] not in right.strides:
        left, right = right, left  # the last axis of the result is contiguous: it has the columns
    rows = [i for i in output if i not in right.strides]
    columns = [i for i in output if i not in left.strides]
    both = [i for i in output if i in left.strides and i in right.strides]
    m = _merged(rows, (left, out), node)
    n = _merged(columns, (right, out), node)
    k = _merged(
        [i for i in left.strides if i in right.strides and i not in output], (left, right), node
    )
    # a matrix product takes one index of each side: the last, which is contiguous where one is
    loops = [(i, node.form.extent(i)) for i in both] + m[:-1] + n[:-1] + k[:-1]
    symbols = indices.fresh([extent for _, extent in loops])
    values = {i: s for (i, _), s in zip(loops, symbols, strict=True)}
    (mi, M), (ni, N), (ki, K) = (g[-1] if g else (None, sympy.S.One) for g in (m, n, k))
    gemm = Gemm(
        M,
        N,
        K,
        weight,
        left.matrix(values, mi, ki),
        right.matrix(values, ki, ni),
        out.matrix(values, mi, ni),
    )
    return in_loops(symbols, [extent for _, extent in loops], [gemm])


class _Strided:
    """An array read at plain indices: its buffer, where it begins, and each index's stride."""

    def __init__(
        self, buffer: Buffer, start: sympy.Expr, strides: dict[sympy.Symbol, sympy.Expr]
    ) -> None:
        self.buffer, self.start, self.strides = buffer, start, strides

    def matrix(
        self, values: Mapping[sympy.Symbol, sympy.Expr], row: object, column: object
    ) -> Matrix:
        """The matrix of these rows and columns."""
        offset = self.start + sum(self.strides.get(i, 0) * s for i, s in values.items())
        strides = {None: sympy.S.One, **self.strides}
        zero = sympy.S.Zero
        return Matrix(self.buffer, offset, strides.get(row, zero), strides.get(column, zero))


def _strides(memory: Memory, node: Node, access: Access) -> _Strided:
    """The strides of an operand, through what only rearranges it."""
    shown = access
    while node not in memory and is_rearranged(node):
        assert isinstance(node, Contraction)
        moved = dict(zip(node.output, access, strict=True))
        access, node = placed(node.access(0), moved), node.operands[0]
    found = _strides_of(memory[node], access)
    for index in shown:  # what is repeated along an index has the stride 0 there
        if not index.is_number:
            found.strides.setdefault(index, sympy.S.Zero)
    return found


def _strides_of(buffer: Buffer, access: Access) -> _Strided:
    strides: dict[sympy.Symbol, sympy.Expr] = {}
    start = sympy.S.Zero
    for axis, entry in enumerate(access):
        rest = entry
        for index in (s for s in entry.free_symbols if not s.is_positive):
            step = sympy.expand(entry).coeff(index)
            strides[index] = strides.get(index, 0) + step * buffer.stride(axis)
            rest = rest.xreplace({index: sympy.S.Zero})
        start = start + rest * buffer.stride(axis)
    return _Strided(buffer, start, strides)


def _merged(
    group: list[sympy.Symbol], arrays: tuple[_Strided, ...], node: Contraction
) -> list[tuple[sympy.Symbol, sympy.Expr]]:
    """The indices of one side of a product, neighbours in memory taken as one index."""
    merged: list[tuple[sympy.Symbol, sympy.Expr]] = []
    for index in group:
        extent = node.form.extent(index)
        if merged and all(
            sympy.expand(a.strides.get(merged[-1][0], 0) - a.strides.get(index, 0) * extent) == 0
            for a in arrays
        ):
            merged[-1] = (index, merged[-1][1] * extent)
        else:
            merged.append((index, extent))
    return merged
