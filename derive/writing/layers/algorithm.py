"""The algorithm that is compiled, line by line as a kernel computes it, and what it costs.

The lines are those that stand as comments in the kernel.  They are run, as they are printed, with
NumPy, and their results are compared with the derivation's.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Container, Iterator, Mapping, Set
from dataclasses import dataclass

from ...evidence.checks.cases import Case
from ...evidence.checks.findings import EPS, largest
from ...kernels.lowering.kernel import Kernel, Line
from ...kernels.lowering.workspace import in_order
from ...kernels.statements.loops import Commented
from ...language.expressions import Node, Variable, linear_combination, variable
from ...language.reference import Array, flat_arrays, values_of
from ...language.walk import rewrite, storage, topological
from .claims import FalseEquation

LONGEST = 64  # operations in a formula that is written out where a name would do


@dataclass(frozen=True)
class Assignment:
    """target = right or target += right, in names; `saved` where it is kept for another kernel.

    `shown` is the right side with what was kept as the formula that it is; `named` that what is
    kept here is read by its name.
    """

    target: Variable
    adds: bool
    right: Node
    shown: Node
    saved: bool
    named: bool = False


def assignments(kernel: Kernel, read: Container[str] = ()) -> Iterator[Assignment]:
    """The lines of a kernel in order, each of them once, in names that stand before it.

    `read` are the names of what other kernels read of what is kept here (`read_by_name`).
    """
    given = {**_argument_nodes(kernel), **saved_nodes(kernel)}
    saved = {buffer.name for buffer in kernel.saved}
    known = {x.name for x in given.values()}
    named = {n: variable(name, n.space) for n, name in kernel.names.items() if name in known}
    nodes: dict[str, list[Node]] = {}
    for node, name in kernel.names.items():
        nodes.setdefault(name, []).append(node)
    formulas = _kept_formulas(kernel)
    texts = dict.fromkeys(
        text
        for step in in_order(kernel.steps)
        if isinstance(step, Commented)
        for text in step.formulas
    )
    for line in (kernel.lines[text] for text in texts):
        target = variable(line.target, line.right.space)
        right = _in_names(line, ChainMap(given, named))
        shown = rewrite([right], formulas.get)[right]
        kept = line.target in saved
        by_name = kept and line.target in read
        yield Assignment(target, line.sign == "+=", right, shown, kept, by_name)
        known.add(line.target)
        named |= {n: variable(line.target, n.space) for n in nodes.get(line.target, ())}
    yield from _returned(kernel, known)


def _returned(kernel: Kernel, known: Set[str]) -> Iterator[Assignment]:
    """Results that the lines give under the name of a local."""
    for buffers, nodes in zip(kernel.results, kernel.result_nodes, strict=True):
        for buffer, node in zip(buffers, nodes, strict=True):
            name = kernel.names.get(node, "")
            if buffer.name not in known and name in known:
                value = variable(name, node.space)
                yield Assignment(variable(buffer.name, node.space), False, value, value, False)


def _kept_formulas(kernel: Kernel) -> dict[Node, Node]:
    """What was kept under a name that the user did not give, in the user's names.

    What is too long for a line or two keeps its name.
    """
    own = {node: variable(name, node.space) for node, name in kernel.program.names.items()}
    kept = {node: x for node, x in saved_nodes(kernel).items() if node not in own}
    length: dict[Node, int] = {}  # in names; no formula is rewritten only to be measured
    for node in topological(*kept):
        length[node] = 1 if node in own else 1 + sum(length[x] for x in node.operands)
        if length[node] > LONGEST:
            length[node] = LONGEST + 1
            if node in kept:
                own[node], length[node] = kept[node], 1
    return {x: rewrite([node], own.get)[node] for node, x in kept.items() if node not in own}


def read_by_name(kernel: Kernel) -> set[str]:
    """What a kernel reads of what was kept, too long to be written where it is read."""
    own, formulas = set(kernel.program.names), _kept_formulas(kernel)
    kept = saved_nodes(kernel).items()
    return {x.name for node, x in kept if x not in formulas and node not in own}


def saved_nodes(kernel: Kernel) -> dict[Node, Variable]:
    """What a kernel reads of what forward saved, by name."""
    nodes = kernel.saved_nodes if kernel.program.reads_saved else ()
    return {node: variable(kernel.names[node], node.space) for node in nodes}


def _argument_nodes(kernel: Kernel) -> dict[Node, Variable]:
    """The arrays of the arguments, a component by what the user calls it."""
    found: dict[Node, Variable] = {}
    for argument, buffers in zip(kernel.program.arguments, kernel.arguments, strict=True):
        for node, buffer in zip(storage(argument.variable), buffers, strict=True):
            found[node] = variable(kernel.names.get(node, buffer.name), node.space)
    return found


def _in_names(line: Line, variables: Mapping[Node, Variable]) -> Node:
    """The right side, its named parts as variables."""

    def inner(node: Node) -> Variable | None:
        x = variables.get(node)
        itself = x is not None and node is line.right and x.name == line.target
        return None if itself else x

    right = rewrite([line.right], inner)[line.right]
    return right if line.weight == 1 else linear_combination([(line.weight, right)])


# --- the lines, run


def run(kernel: Kernel, case: Case) -> dict[str, Array]:
    """All values of the lines as they are printed, by name; what is added to starts at zero."""
    known = dict(_arguments(kernel, case))
    if kernel.program.reads_saved:
        nodes = saved_nodes(kernel)
        found = values_of(list(nodes), case.values, case.sizes)
        known.update(zip(nodes.values(), found, strict=True))
    for line in assignments(kernel):
        names = (x for x in topological(line.right) if isinstance(x, Variable))
        read = {x: known[x] for x in names if x in known}
        (right,) = values_of([line.right], read, case.sizes)
        known[line.target] = known.get(line.target, 0.0) + right if line.adds else right
    return {x.name: value for x, value in known.items()}


def _arguments(kernel: Kernel, case: Case) -> Iterator[tuple[Variable, Array]]:
    """The arrays of the arguments under the names that they have in the lines."""
    nodes = _argument_nodes(kernel)
    for argument in kernel.program.arguments:
        x = argument.variable
        arrays = zip(storage(x), flat_arrays(case.values[x]), strict=True)
        yield from ((nodes[node], array) for node, array in arrays)


def check(kernel: Kernel, case: Case) -> None:
    """The lines give what the reference makes of the program; raises FalseEquation where not."""
    found, program = run(kernel, case), kernel.program
    for result in case.expected[program.name]:
        error = largest(found.get(result.name, 0.0) - result.value)
        allowed = EPS * (2 * result.bound + largest(result.value))  # own rounding, and theirs
        if not error <= allowed:
            raise FalseEquation(
                f"{program.layer.name}: the algorithm of {program.name} gives {result.name} off by "
                f"{error:.1e}, allowed {allowed:.1e}; nothing is written"
            )
