"""The compiled algorithm, line by line as a kernel computes it, and its cost.

The lines are the comments of the kernel.  They are run with NumPy as they are printed, and their
results are compared with those of the derivation.
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

LONGEST = 64  # operations of the longest formula that is written out instead of named


@dataclass(frozen=True)
class Assignment:
    """target = right or target += right, in names; `saved` if it is saved for another kernel.

    `shown` is the right side with saved values written out as formulas; `named` says that the value
    saved here is read by its name.
    """

    target: Variable
    adds: bool
    right: Node
    shown: Node
    saved: bool
    named: bool = False


def assignments(kernel: Kernel, read: Container[str] = ()) -> Iterator[Assignment]:
    """The lines of a kernel in order, each once, in names defined before it.

    `read` are the names of the saved values that other kernels read by name (`read_by_name`).
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
    """Results that the lines compute under the name of a local."""
    for buffers, nodes in zip(kernel.results, kernel.result_nodes, strict=True):
        for buffer, node in zip(buffers, nodes, strict=True):
            name = kernel.names.get(node, "")
            if buffer.name not in known and name in known:
                value = variable(name, node.space)
                yield Assignment(variable(buffer.name, node.space), False, value, value, False)


def _kept_formulas(kernel: Kernel) -> dict[Node, Node]:
    """Values saved under a generated name, as formulas in the user's names.

    A formula that is too long for a line or two keeps the generated name.
    """
    own = {node: variable(name, node.space) for node, name in kernel.program.names.items()}
    kept = {node: x for node, x in saved_nodes(kernel).items() if node not in own}
    length: dict[Node, int] = {}  # length in names, measured without rewriting the formula
    for node in topological(*kept):
        length[node] = 1 if node in own else 1 + sum(length[x] for x in node.operands)
        if length[node] > LONGEST:
            length[node] = LONGEST + 1
            if node in kept:
                own[node], length[node] = kept[node], 1
    return {x: rewrite([node], own.get)[node] for node, x in kept.items() if node not in own}


def read_by_name(kernel: Kernel) -> set[str]:
    """The saved values that a kernel reads by name, because they are too long to be written out."""
    own, formulas = set(kernel.program.names), _kept_formulas(kernel)
    kept = saved_nodes(kernel).items()
    return {x.name for node, x in kept if x not in formulas and node not in own}


def saved_nodes(kernel: Kernel) -> dict[Node, Variable]:
    """The values saved by forward that a kernel reads, by name."""
    nodes = kernel.saved_nodes if kernel.program.reads_saved else ()
    return {node: variable(kernel.names[node], node.space) for node in nodes}


def _argument_nodes(kernel: Kernel) -> dict[Node, Variable]:
    """The arrays of the arguments; components have the user's names."""
    found: dict[Node, Variable] = {}
    for argument, buffers in zip(kernel.program.arguments, kernel.arguments, strict=True):
        for node, buffer in zip(storage(argument.variable), buffers, strict=True):
            found[node] = variable(kernel.names.get(node, buffer.name), node.space)
    return found


def _in_names(line: Line, variables: Mapping[Node, Variable]) -> Node:
    """The right side, with named parts as variables."""

    def inner(node: Node) -> Variable | None:
        x = variables.get(node)
        itself = x is not None and node is line.right and x.name == line.target
        return None if itself else x

    right = rewrite([line.right], inner)[line.right]
    return right if line.weight == 1 else linear_combination([(line.weight, right)])


# --- the lines, run


def run(kernel: Kernel, case: Case) -> dict[str, Array]:
    """The values of all printed lines, by name; accumulators start at zero."""
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
    """Check the lines against the reference; raises FalseEquation if they differ."""
    found, program = run(kernel, case), kernel.program
    for result in case.expected[program.name]:
        error = largest(found.get(result.name, 0.0) - result.value)
        allowed = EPS * (2 * result.bound + largest(result.value))  # own rounding, and theirs
        if not error <= allowed:
            raise FalseEquation(
                f"{program.layer.name}: the algorithm of {program.name} gives {result.name} off by "
                f"{error:.1e}, allowed {allowed:.1e}; nothing is written"
            )
