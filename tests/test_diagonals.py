r"""Matrices with a diagonal as they are printed: diag(d) A, A diag(d), diag(d) (x) a, Q (x) a.

What a cell's blocks print is read again and computed, by a reader that shares nothing with them.
"""

import numpy as np
import pytest
from latex_reader import read
from recurrent_networks import NETWORKS
from test_notation_read import agree, operations_of

from derive import Hom, R, dims, indices, variable
from derive.calculus.maps import variables_of
from derive.evidence.checks.drawing import draw
from derive.language.expressions import contraction, tuple_of
from derive.language.form_names import FormNames
from derive.language.forms import FormName, make_form
from derive.language.reference import values_of
from derive.language.spaces import R as Real
from derive.writing.sequences.backward_section import BackwardSection
from derive.writing.sequences.network_problem import NetworkProblem
from derive.writing.sequences.online_section import OnlineSection
from derive.writing.typesetting.writer import latex_writer

n, m, k = dims("n m k")
i, j, s, t = indices("i j s t")
d, e, a = variable("d", R(n)), variable("e", R(n)), variable("a", R(m))
q, A, Q = variable("q", R()), variable("A", Hom(R(m), R(n))), variable("Q", Hom(R(n), R(n)))
T = variable("T", R(n, m, k))
EXTENTS = {i: n, j: m, s: k, t: n}


def product(*reads, to):
    """A form without a name: arrays read at indices."""
    used = {index for _, access in reads for index in access} | set(to)
    slots = [access for _, access in reads]
    made = make_form([*slots, to], {x: EXTENTS[x] for x in EXTENTS if x in used})
    return contraction(Real(*(EXTENTS[x] for x in to)), made, len(reads), [x for x, _ in reads])


def written(node, names: FormNames | None = None) -> str:
    """In LaTeX, forms without a name unless they are given."""
    return latex_writer({}, form_names=names).formula(node)


scaled = product((d, (i,)), (A, (i, j)), to=(i, j))

PRINTED = {
    r"\operatorname{diag}(d)": product((d, (i,)), to=(i, i)),
    r"q I": product((q, ()), to=(i, i)),
    r"\operatorname{diag}(d)\,A": scaled,
    r"A \operatorname{diag}(a)": product((a, (j,)), (A, (i, j)), to=(i, j)),
    r"\operatorname{diag}(d \odot e)\,A": product((scaled, (i, j)), (e, (i,)), to=(i, j)),
    r"\operatorname{diag}(d) \otimes a": product((d, (i,)), (a, (j,)), to=(i, i, j)),
    r"\operatorname{diag}(d)\,T": product((T, (i, j, s)), (d, (i,)), to=(i, j, s)),
    r"Q T": product((Q, (t, i)), (T, (i, j, s)), to=(t, j, s)),
    r"I \otimes a": product((a, (j,)), to=(i, i, j)),
    r"d \otimes e \otimes a": product((a, (j,)), (d, (i,)), (e, (t,)), to=(i, t, j)),
    r"Q \otimes a": product((Q, (i, t)), (a, (j,)), to=(i, t, j)),
}


@pytest.mark.parametrize("latex", PRINTED)
def test_a_matrix_with_a_diagonal(latex) -> None:
    assert written(PRINTED[latex]).replace(r"\,I", " I") == latex


def test_what_is_no_such_matrix_keeps_its_letter() -> None:
    """A vector on the middle axis of three, and a diagonal of two axes at a time."""
    middle = product((a, (j,)), (T, (i, j, s)), to=(i, j, s))
    twice = product((A, (i, j)), to=(i, j, i, j))
    summed = product((d, (i,)), (e, (t,)), (Q, (t, i)), to=(t,))
    found = [written(middle), written(twice), written(summed)]
    assert found == ["B_{1}(a, T)", "B_{1}(A)", "B_{1}(d, e, Q)"]


def test_a_form_with_a_name_is_called_by_it() -> None:
    from_user = FormNames(((scaled.form, FormName("weigh")),))
    assert written(scaled, from_user) == r"\operatorname{weigh}(d, A)"


# --- what blocks print is what they are

CELLS = ["vanilla_rnn", "leaky_rnn", "independent_rnn", "rotation_rnn", "lstm", "gru"]
CELLS += ["gru_reset_before", "deep_rnn", "tied", "linear", "normalised"]


def printed_blocks(section):
    """Blocks of D f and nabla f, and J by what has one axis, with what each is printed as."""
    names, one = section.names, section.one
    for key in one.D.terms:
        block = one.D.array(key)
        yield block, names.shown(block, own=block)
    for key in one.nabla.terms:
        block = one.nabla.array(key)
        yield block, names.shown(block, own=None if block in names.shared else block)
    for key in section.J:
        if len(one.columns[key[1]].direction.space.shape) == 1:
            yield section.carried(key), names.shown(section.carried(key))


def meanings(section):
    """What every name that is printed stands for."""
    names, cell, times, i_ = section.names, section.cell, section.times, section.i
    found = {times(x, f"{i_}-1", cell.label): x for x in cell.states}
    found |= {times(x, i_): x for x in cell.inputs}
    lines = cell.problem.definitions.lines
    found |= {times(x.variable, i_, cell.label): cell.closed(x.variable) for x in lines}
    found |= {x: node for node, x in names.named.items()}
    found |= {names.J_at(key, f"{i_}-1"): store.variable for key, store in section.J.items()}
    return found | {x: x for x in cell.parameters}


@pytest.mark.parametrize("name", CELLS)
def test_a_printed_block_is_what_it_is_read_as(name) -> None:
    problem = NetworkProblem(NETWORKS[name])
    section = OnlineSection(BackwardSection(problem))
    blocks, known, rng = list(printed_blocks(section)), meanings(section), np.random.default_rng(0)
    writer = latex_writer({}, symbols=problem.letters.looks | problem.times.symbols)
    nodes = [*known.values(), *(block for block, _ in blocks)]
    given = {x: draw(rng, x.space, problem.sizes) for x in variables_of(*nodes)}
    values = values_of(nodes, given, problem.sizes)
    symbols = {writer(x): value for x, value in zip(known, values[: len(known)], strict=True)}
    symbols["I"] = np.eye(problem.sizes[section.h[0].space.shape[0]])
    functions = operations_of(tuple_of(section.cell.outputs)) | {"diag": np.diag}
    count = max((int(x.space.shape[0]) for x in section.cell.parameters if stacked(x)), default=0)
    for (_, shown), value in zip(blocks, values[len(known) :], strict=True):
        assert agree(value, read(writer.formula(shown), symbols, functions, {}, stack=count))


def stacked(x) -> bool:
    """The first axis of a parameter has a number of slices."""
    return bool(x.space.shape) and x.space.shape[0].is_Integer


def test_another_block_would_be_seen() -> None:
    """The reader tells diag(d) A from A diag(d), and a vector from another one."""
    rng = np.random.default_rng(0)
    given = {x: draw(rng, x.space, {n: 3, m: 4}) for x in (d, e, Q)}
    symbols = {x.name: value for x, value in given.items()}
    meant = np.diag(symbols["d"]) @ symbols["Q"]
    for latex, same in (
        (r"\operatorname{diag}(d)\,Q", True),
        (r"Q \operatorname{diag}(d)", False),
        (r"\operatorname{diag}(e)\,Q", False),
    ):
        assert agree(meant, read(latex, symbols, {"diag": np.diag}, {})) == same
